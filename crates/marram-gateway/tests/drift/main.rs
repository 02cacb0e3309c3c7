//! `docs/api.md` is what the protos' comments and the table of reasons say, `docs/limits.md` what the table of limits
//! says. When this fails, run
//! `MARRAM_REGENERATE=1 cargo test --workspace --test drift` and commit the result.

#![allow(clippy::unwrap_used, clippy::panic)] // a test says what is wrong by panicking

mod limits;
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
    current("docs/api.md", &page::write(&Api::read(&root.join("proto"))));
}

fn current(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(file);
    if std::env::var_os("MARRAM_REGENERATE").is_some() {
        fs::write(&path, made).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == made,
        "{file} is not what the code says: run MARRAM_REGENERATE=1 cargo test --workspace \
         --test drift, and commit the result"
    );
}

#[test]
fn the_table_of_limits_is_current() {
    current("docs/limits.md", &limits::write());
}

/// Each limit has a test that reaches it, under the name that the table says.
#[test]
fn every_limit_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for limit in marram_gateway::limits()
        .iter()
        .flat_map(|group| &group.limits)
    {
        let text = fs::read_to_string(root.join(limit.file)).unwrap_or_default();
        let there = text.contains(&format!("fn {}(", limit.test));
        assert!(
            there,
            "{}: there is no {} in {}",
            limit.of, limit.test, limit.file
        );
    }
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
    // Of gRPC health, whose proto is not ours.
    named.insert("SERVICE_NOT_FOUND".to_owned());
    let known: BTreeSet<String> = reasons().map(|reason| reason.name.to_owned()).collect();
    assert_eq!(named, known);
}
