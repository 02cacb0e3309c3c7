//! The repository keeps its own rules. One test a rule; a failure says where, what, and how to
//! mend it.

use marram_tidy_tests as tidy;
use marram_tidy_tests::{Findings, Graph, Source, Tree};

fn tree() -> Tree {
    Tree::read().expect("the repository can be read")
}

fn graph() -> Graph {
    Graph::read(&tree().root).expect("cargo can read the workspace")
}

#[track_caller]
fn check(findings: Findings) {
    assert!(
        findings.is_empty(),
        "{} to mend:{}\n",
        findings.len(),
        tidy::report(findings)
    );
}

/// Runs a rule on each Rust file that a person wrote.
#[track_caller]
fn check_rust(rule: fn(&Source) -> Findings) {
    let tree = tree();
    assert!(tree.rust().count() > 50, "the sources were found");
    check(tree.rust().flat_map(rule).collect());
}

#[test]
fn dependencies_point_down() {
    check(tidy::layer_table(&graph()));
}

#[test]
fn pure_crates_link_nothing_impure() {
    check(tidy::linked_crates(&graph()));
}

#[test]
fn pure_crates_do_nothing_impure() {
    check_rust(tidy::pure_sources);
}

#[test]
fn message_types_stop_at_the_edge() {
    check_rust(tidy::wire_types);
}

#[test]
fn s3_is_known_to_the_gateway_only() {
    check_rust(tidy::s3_words);
}

#[test]
fn files_are_short() {
    check_rust(tidy::file_sizes);
}

#[test]
fn functions_are_short() {
    check_rust(tidy::function_sizes);
}

#[test]
fn nothing_is_left_undone_or_skipped() {
    check_rust(tidy::forbidden_words);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    check_rust(tidy::module_headers);
}

#[test]
fn files_are_named_after_what_they_hold() {
    check_rust(tidy::file_names);
}

#[test]
fn texts_are_ascii() {
    check(tree().files.iter().flat_map(tidy::ascii).collect());
}

#[test]
fn every_dependency_has_its_reason() {
    let tree = tree();
    let members = tree
        .files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml") && !file.text.contains("[workspace]"));
    let mut findings: Findings = members.flat_map(tidy::member_manifests).collect();
    let root = tree.file("Cargo.toml").expect("the root manifest");
    findings.extend(tidy::workspace_manifest(root));
    check(findings);
}

#[test]
fn every_dependency_is_used() {
    let tree = tree();
    let root = tree.file("Cargo.toml").expect("the root manifest");
    check(tidy::unused_dependencies(root, &graph()));
}

#[test]
fn the_documents_are_short_and_complete() {
    let tree = tree();
    let file = |path: &str| {
        tree.file(path)
            .unwrap_or_else(|| panic!("{path} is missing"))
    };
    let mut findings = tidy::readme(file("README.md"));
    findings.extend(tidy::architecture(file("ARCHITECTURE.md"), &graph()));
    findings.extend(tidy::decisions(&tree));
    findings.extend(tidy::links(&tree));
    findings.extend(tidy::citations(&tree));
    for path in [
        "CONTRIBUTING.md",
        "LICENSE",
        "docs/decisions/template.md",
        "deny.toml",
        ".ci/run",
    ] {
        file(path);
    }
    check(findings);
}
