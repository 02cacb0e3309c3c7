//! `docs/metrics.md` is what the catalogue says. When this fails, run
//! `MARRAM_REGENERATE=1 cargo test -p marram-metrics --test drift` and commit the result.

use std::fs;
use std::path::Path;

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
