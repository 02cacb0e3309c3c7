//! `docs/metrics.md` is what the catalogue says. When this fails, run
//! `MARRAM_REGENERATE=1 cargo test -p marram-metrics --test drift` and commit the result.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use marram_metrics::catalogue;

#[test]
fn the_documents_are_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let made = marram_metrics::documents();
    if std::env::var_os("MARRAM_REGENERATE").is_some() {
        fs::write(&file, &made).expect("written");
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == made,
        "docs/metrics.md is not what the catalogue says: run MARRAM_REGENERATE=1 cargo test -p \
         marram-metrics --test drift, and commit the result"
    );
}

/// What alerts and their documents ask for is in the catalogue, and each alert has its runbook.
#[test]
fn alerts_and_runbooks_name_what_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let rules = ["marram.rules.yaml", "marram-operator.rules.yaml"]
        .map(|name| fs::read_to_string(root.join("deploy/prometheus").join(name)).expect("rules"))
        .concat();
    let mut texts = vec![rules.clone()];
    texts.push(fs::read_to_string(root.join("docs/operations.md")).expect("the manual"));
    for file in fs::read_dir(root.join("docs/runbooks")).expect("runbooks") {
        let path = file.expect("an entry").path();
        texts.push(fs::read_to_string(path).expect("a runbook"));
    }
    let crates: BTreeSet<String> = fs::read_dir(root.join("crates"))
        .expect("the crates")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().replace('-', "_"))
        .collect();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut seen = 0;
    for word in texts.iter().flat_map(|text| text.split(|c| !is_word(c))) {
        // Crates are targets of logs.
        let is_family = word.starts_with("marram_") && !crates.contains(word);
        if !is_family {
            continue;
        }
        seen += 1;
        let parts = ["_bucket", "_sum", "_count"];
        let whole = parts.iter().find_map(|part| word.strip_suffix(part));
        let known = |name: &str| catalogue::families().any(|family| family.name == name);
        assert!(
            known(word) || whole.is_some_and(known),
            "there is no {word}"
        );
    }
    assert!(seen > 60, "{seen}");
    let alerts = rules.matches("- alert: ").count();
    let links = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook_url: "));
    let links: Vec<&str> = links.collect();
    assert_eq!(links.len(), alerts);
    for link in links {
        let file = link
            .split_once("/blob/main/")
            .expect("into the repository")
            .1;
        assert!(root.join(file).is_file(), "{link}");
    }
}
