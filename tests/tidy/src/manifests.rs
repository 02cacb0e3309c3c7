//! Rules about manifests: each dependency has its reason beside it, and versions and features
//! stand in one place.

use std::collections::BTreeSet;

use crate::{Finding, Findings, Graph, Source};

/// A line of a dependency table.
struct Line<'a> {
    number: usize,
    key: &'a str,
    value: &'a str,
    reason: Option<&'a str>,
}

/// The lines of all tables whose name ends in `dependencies`.
fn dependency_lines(text: &str) -> Vec<Line<'_>> {
    let mut inside = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line.trim_end_matches(']').ends_with("dependencies");
            continue;
        }
        if !inside || line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (entry, reason) = match line.split_once(" #") {
            Some((entry, reason)) => (entry.trim(), Some(reason.trim())),
            None => (line, None),
        };
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        lines.push(Line {
            number: index + 1,
            key: key.trim(),
            value: value.trim(),
            reason: reason.filter(|reason| reason.len() > 2),
        });
    }
    lines
}

/// What a line says of a dependency that only a feature needs.
const OPTIONAL: &str = "{ workspace = true, optional = true }";

/// Every line of a member's dependency tables is `name.workspace = true   # reason`, or says that it is optional.
#[must_use]
pub fn member_manifests(file: &Source) -> Findings {
    let mut findings = Vec::new();
    if let Err(error) = file.text.parse::<toml::Table>() {
        return vec![Finding::of(
            &file.path,
            format!("is not valid TOML: {error}"),
        )];
    }
    for line in dependency_lines(&file.text) {
        let at = |text: String| Finding::at(&file.path, line.number, text);
        let always = line.key.ends_with(".workspace") && line.value == "true";
        if !always && line.value != OPTIONAL {
            findings.push(at(format!(
                "write `{}.workspace = true   # reason` on one line; version and features go to \
                 [workspace.dependencies] in the root Cargo.toml",
                line.key
            )));
        } else if line.reason.is_none() {
            let name = line.key.trim_end_matches(".workspace");
            findings.push(at(format!(
                "say behind a # on this line what {name} is for in this crate"
            )));
        }
    }
    findings
}

/// Every line of the workspace's dependency table that names an outside crate has its reason.
#[must_use]
pub fn workspace_manifest(file: &Source) -> Findings {
    let outside = dependency_lines(&file.text)
        .into_iter()
        .filter(|line| !line.value.contains("path =") && line.reason.is_none());
    outside
        .map(|line| {
            let text = format!(
                "say behind a # on this line why the workspace has {}",
                line.key
            );
            Finding::at(&file.path, line.number, text)
        })
        .collect()
}

/// Every entry of the workspace's dependency table is used by a member.
#[must_use]
pub fn unused_dependencies(file: &Source, graph: &Graph) -> Findings {
    let used: BTreeSet<&String> = graph
        .direct
        .values()
        .chain(graph.dev.values())
        .flatten()
        .collect();
    let unused = dependency_lines(&file.text)
        .into_iter()
        .filter(|line| !used.contains(&line.key.to_owned()));
    unused
        .map(|line| {
            let text = format!("no crate uses {}: remove the line", line.key);
            Finding::at(&file.path, line.number, text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(line: &str) -> Source {
        Source::new(
            "crates/a/Cargo.toml",
            &format!("[package]\nname = \"a\"\n[dependencies]\n{line}\n"),
        )
    }

    #[test]
    fn a_dependency_needs_its_reason() {
        for good in [
            "bytes.workspace = true # shared buffers",
            "bytes = { workspace = true, optional = true } # shared buffers",
        ] {
            assert!(member_manifests(&manifest(good)).is_empty(), "{good}");
        }
        for bad in [
            "bytes = { workspace = true, optional = true }",
            "bytes.workspace = true",
            "bytes.workspace = true #",
            "bytes = \"1\" # shared buffers",
            "bytes = { workspace = true, features = [\"serde\"] } # shared buffers",
        ] {
            assert_eq!(member_manifests(&manifest(bad)).len(), 1, "{bad}");
        }
    }

    #[test]
    fn dev_dependencies_count_too() {
        let file = Source::new(
            "a/Cargo.toml",
            "[dev-dependencies]\ntempfile.workspace = true\n",
        );
        assert_eq!(member_manifests(&file).len(), 1);
    }

    #[test]
    fn the_workspace_says_why() {
        let text =
            "[workspace.dependencies]\na = { path = \"crates/a\" }\nb = \"1\" # why it is here\n";
        let file = Source::new("Cargo.toml", text);
        assert!(workspace_manifest(&file).is_empty());
        let bare = Source::new("Cargo.toml", "[workspace.dependencies]\nb = \"1\"\n");
        assert_eq!(workspace_manifest(&bare).len(), 1);
    }

    #[test]
    fn unused_entries_are_found() {
        let file = Source::new(
            "Cargo.toml",
            "[workspace.dependencies]\nb = \"1\" # why\nc = \"1\" # why\n",
        );
        let mut graph = Graph::default();
        graph
            .direct
            .insert("a".to_owned(), BTreeSet::from(["b".to_owned()]));
        let found = unused_dependencies(&file, &graph);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 3);
    }
}
