//! `docs/api.md` is what the protos' comments and the table of reasons say. When this fails, run
//! `MARRAM_REGENERATE=1 cargo test --workspace --test drift` and commit the result.

#![allow(clippy::unwrap_used, clippy::panic)] // a test says what is wrong by panicking

mod page;
mod protos;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use marram_gateway::reasons;
use protos::Api;

#[test]
fn the_api_reference_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let made = page::write(&Api::read(&root.join("proto")));
    let file = root.join("docs/api.md");
    if std::env::var_os("MARRAM_REGENERATE").is_some() {
        fs::write(&file, &made).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap_or_default() == made,
        "docs/api.md is not what the protos say: run MARRAM_REGENERATE=1 cargo test --workspace \
         --test drift, and commit the result"
    );
}

/// The protos name reasons that there are, and every reason has a call that ends with it.
#[test]
fn the_protos_name_every_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let api = Api::read(&root);
    let mut named: BTreeSet<String> = page::ANY_CALL.map(str::to_owned).into();
    for service in &api.services {
        named.extend(service.about.errors.iter().cloned());
        for method in &service.methods {
            named.extend(method.about.errors.iter().cloned());
        }
    }
    let known: BTreeSet<String> = reasons().map(|reason| reason.name.to_owned()).collect();
    assert_eq!(named, known);
}
