//! Rules about the root documents: they stay short, complete, and their links lead somewhere.

use std::collections::BTreeMap;

use crate::{Finding, Findings, Graph, Source, Tree};

/// Lines of the README at most: about one screen of a tall terminal.
const README_LINES_MAX: usize = 80;
/// Lines of ARCHITECTURE.md at most.
const ARCHITECTURE_LINES_MAX: usize = 300;

/// The README is about one screen and names its two commands.
#[must_use]
pub fn readme(file: &Source) -> Findings {
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if lines > README_LINES_MAX {
        let text = format!(
            "{lines} lines, at most {README_LINES_MAX}: move the details to ARCHITECTURE.md or docs/"
        );
        findings.push(Finding::of(&file.path, text));
    }
    for command in ["cargo run --release -- dev", "cargo test --workspace"] {
        if !file.text.contains(command) {
            let text = format!("must name the command `{command}`: a newcomer runs it first");
            findings.push(Finding::of(&file.path, text));
        }
    }
    findings
}

/// ARCHITECTURE.md is short and has a line for every crate.
#[must_use]
pub fn architecture(file: &Source, graph: &Graph) -> Findings {
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if lines >= ARCHITECTURE_LINES_MAX {
        let text = format!(
            "{lines} lines, fewer than {ARCHITECTURE_LINES_MAX} are allowed: move a part to docs/ \
             and link it"
        );
        findings.push(Finding::of(&file.path, text));
    }
    for name in graph.direct.keys() {
        if !file.text.contains(&format!("`{name}`")) {
            let text =
                format!("has no line for the crate `{name}`: add one to the table of crates");
            findings.push(Finding::of(&file.path, text));
        }
    }
    findings
}

/// Decisions have numbers of their own and a line in the index.
#[must_use]
pub fn decisions(tree: &Tree) -> Findings {
    const FOLDER: &str = "docs/decisions/";
    let index = tree
        .file("docs/decisions/README.md")
        .map_or("", |file| file.text.as_str());
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for file in &tree.files {
        let Some(name) = file.path.strip_prefix(FOLDER) else {
            continue;
        };
        let Some((number, _)) = name.split_once('-') else {
            continue;
        };
        if number.len() != 4 || !number.chars().all(|c| c.is_ascii_digit()) {
            continue;
        }
        if let Some(other) = numbers.insert(number, name) {
            let text = format!("has the number of {other}: take the next free one");
            findings.push(Finding::of(&file.path, text));
        }
        if !index.contains(&format!("({name})")) {
            let text = "is not in docs/decisions/README.md: add a line with a link there";
            findings.push(Finding::of(&file.path, text));
        }
    }
    findings
}

/// Links from one document to another file of the repository lead to a file or folder.
#[must_use]
pub fn links(tree: &Tree) -> Findings {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.has_extension("md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (index, line) in file.text.lines().enumerate() {
            for target in targets(line) {
                if !tree.root.join(folder).join(target).exists() {
                    let text = format!("the link to {target} leads nowhere: correct or remove it");
                    findings.push(Finding::at(&file.path, index + 1, text));
                }
            }
        }
    }
    findings
}

/// Documents that comments cite are there: in the root, in docs/ or among the decisions.
#[must_use]
pub fn citations(tree: &Tree) -> Findings {
    const CITING: [&str; 3] = ["rs", "toml", "proto"];
    let citing = |file: &&Source| {
        CITING.iter().any(|ext| file.has_extension(ext)) && !file.path.starts_with("tests/tidy/")
    };
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(citing) {
        for (index, line) in file.text.lines().enumerate() {
            for name in cited(line) {
                let places = ["", "docs/", "docs/decisions/"];
                if !places
                    .iter()
                    .any(|place| tree.root.join(place).join(name).exists())
                {
                    let text = format!("cites {name}, which is not in docs/: cite one that is");
                    findings.push(Finding::at(&file.path, index + 1, text));
                }
            }
        }
    }
    findings
}

/// The names of documents in a line.
fn cited(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || "./_-".contains(c)))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| word.len() > 3 && word.ends_with(".md"))
}

/// The relative targets of the links in a line of Markdown.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("](") {
        let Some((target, _)) = line[at + 2..].split_once(')') else {
            continue;
        };
        let path = target.split('#').next().unwrap_or(target);
        let outside = target.contains("://") || target.starts_with("mailto:");
        if !outside && !path.is_empty() {
            found.push(path);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_silent_readme_is_found() {
        let good = "cargo run --release -- dev\ncargo test --workspace\n";
        assert!(readme(&Source::new("README.md", good)).is_empty());
        assert_eq!(readme(&Source::new("README.md", "")).len(), 2);
        let long = format!("{good}{}", "x\n".repeat(80));
        assert_eq!(readme(&Source::new("README.md", &long)).len(), 1);
    }

    #[test]
    fn a_crate_without_a_line_is_found() {
        let mut graph = Graph::default();
        graph.direct.insert("marram-x".to_owned(), [].into());
        let silent = Source::new("ARCHITECTURE.md", "marram-xy");
        assert_eq!(architecture(&silent, &graph).len(), 1);
        let good = Source::new("ARCHITECTURE.md", "| `marram-x` | x |");
        assert!(architecture(&good, &graph).is_empty());
    }

    #[test]
    fn decisions_are_numbered_and_listed() {
        let file = |name: &str, text: &str| Source::new(&format!("docs/decisions/{name}"), text);
        let tree = Tree {
            root: "/".into(),
            files: vec![
                file("0001-a.md", ""),
                file("0001-b.md", ""),
                file("README.md", "- [a](0001-a.md)"),
                file("template.md", ""),
            ],
        };
        let found = decisions(&tree);
        assert_eq!(
            found.len(),
            2,
            "a number twice, and one not listed: {found:?}"
        );
    }

    #[test]
    fn cited_documents_are_seen() {
        let found: Vec<&str> =
            cited("// why (rules.md 18), see docs/decisions/0005-ring.md.").collect();
        assert_eq!(found, ["rules.md", "docs/decisions/0005-ring.md"]);
        let tree = Tree {
            root: "/nowhere".into(),
            files: vec![Source::new("crates/a/src/b.rs", "// lost.md 4\n// fine")],
        };
        assert_eq!(citations(&tree).len(), 1);
    }

    #[test]
    fn link_targets_are_seen() {
        let line = "see [a](a.md), [b](https://b) and [c](../c.md#part) or [d](#here)";
        assert_eq!(targets(line), ["a.md", "../c.md"]);
    }
}
