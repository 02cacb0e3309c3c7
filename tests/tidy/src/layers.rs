//! Which crate may depend on which, and what the pure crates may link.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::{Finding, Findings};

/// The crates without I/O, clock, randomness and async: layers L0 and L1.
pub(crate) const PURE: [&str; 5] = [
    "marram-types",
    "marram-erasure",
    "marram-placement",
    "marram-meta",
    "marram-object",
];

/// The crates that may see generated message types.
pub(crate) const WIRE: [&str; 6] = [
    "marram-proto",
    "marram-mesh",
    "marram-raft",
    "marram-gateway",
    "marram-client",
    "marram",
];

/// The crates that know nothing of S3.
pub(crate) const BELOW_L4: [&str; 10] = [
    "marram-types",
    "marram-erasure",
    "marram-placement",
    "marram-meta",
    "marram-object",
    "marram-proto",
    "marram-store",
    "marram-mesh",
    "marram-metrics",
    "marram-raft",
];

/// The layer table: a crate, its layer, and the crates of the workspace that it may depend on.
/// It is the picture in ARCHITECTURE.md; change both together, with a decision in docs/decisions/.
const TABLE: [(&str, u8, &[&str]); 17] = [
    ("marram-types", 0, &[]),
    // Models of the protocols: they stand for themselves and use none of the code.
    ("marram-models", 1, &[]),
    ("marram-erasure", 1, &["types"]),
    ("marram-placement", 1, &["types"]),
    ("marram-meta", 1, &["types", "placement"]),
    (
        "marram-object",
        1,
        &["types", "erasure", "placement", "meta"],
    ),
    // Spans know nothing of what they are about.
    ("marram-trace", 2, &[]),
    ("marram-proto", 2, &["types"]),
    ("marram-store", 2, &["types"]),
    ("marram-mesh", 2, &["types", "trace", "proto"]),
    // Metrics and health know nothing of the cluster: those who have values write them down.
    ("marram-metrics", 2, &[]),
    (
        "marram-raft",
        3,
        &[
            "types",
            "trace",
            "placement",
            "meta",
            "proto",
            "store",
            "mesh",
        ],
    ),
    (
        "marram-gateway",
        4,
        &[
            "types",
            "trace",
            "erasure",
            "placement",
            "meta",
            "object",
            "proto",
            "mesh",
            "metrics",
            "raft",
        ],
    ),
    (
        "marram-maintain",
        4,
        &[
            "types",
            "erasure",
            "placement",
            "meta",
            "object",
            "proto",
            "store",
            "mesh",
            "raft",
        ],
    ),
    ("marram-client", 4, &["types", "meta", "object", "proto"]),
    (
        "marram",
        5,
        &[
            "types",
            "trace",
            "erasure",
            "placement",
            "meta",
            "object",
            "proto",
            "store",
            "mesh",
            "metrics",
            "raft",
            "gateway",
            "maintain",
            "client",
        ],
    ),
    // The operator knows clusters by their API only.
    ("marram-operator", 5, &["types", "metrics", "client"]),
];

/// What the pure crates must never link: runtimes, sockets, files, randomness, wire formats.
const IMPURE: [&str; 20] = [
    "async-trait",
    "chrono",
    "futures",
    "getrandom",
    "h2",
    "hyper",
    "libc",
    "mio",
    "openraft",
    "prost",
    "rand",
    "rand_core",
    "redb",
    "ring",
    "rustix",
    "rustls",
    "socket2",
    "time",
    "tokio",
    "tonic",
];

/// The dependency graph could not be read.
#[derive(Debug)]
pub struct GraphError {
    /// Why, as cargo says it.
    pub reason: String,
}

/// The workspace's crates and what they depend on.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Graph {
    /// What each member names in `[dependencies]` and `[build-dependencies]`.
    pub direct: BTreeMap<String, BTreeSet<String>>,
    /// What each member names in `[dev-dependencies]`.
    pub dev: BTreeMap<String, BTreeSet<String>>,
    /// Everything that each member links, directly or not.
    pub linked: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Reads the graph of the workspace at `root` from cargo, as built on this machine.
    ///
    /// # Errors
    /// [`GraphError`] when cargo fails, for example because `Cargo.lock` is not current.
    pub fn read(root: &Path) -> Result<Self, GraphError> {
        let reason = |error: String| GraphError { reason: error };
        let host = host_triple().map_err(reason)?;
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), host])
            .exec()
            .map_err(|error| reason(error.to_string()))?;
        Ok(Self::of(&metadata))
    }

    fn of(metadata: &Metadata) -> Self {
        let names: BTreeMap<&PackageId, String> = metadata
            .packages
            .iter()
            .map(|p| (&p.id, p.name.to_string()))
            .collect();
        let edges = normal_edges(metadata);
        let mut graph = Self::default();
        for package in metadata.workspace_packages() {
            let of_kind = |wanted: fn(&DependencyKind) -> bool| {
                let chosen = package.dependencies.iter().filter(|d| wanted(&d.kind));
                chosen.map(|d| d.name.clone()).collect::<BTreeSet<String>>()
            };
            let name = package.name.to_string();
            graph
                .direct
                .insert(name.clone(), of_kind(|k| *k != DependencyKind::Development));
            graph
                .dev
                .insert(name.clone(), of_kind(|k| *k == DependencyKind::Development));
            let mut linked = BTreeSet::new();
            let mut waiting = vec![&package.id];
            while let Some(id) = waiting.pop() {
                for next in edges.get(id).into_iter().flatten() {
                    if linked.insert(names[*next].clone()) {
                        waiting.push(next);
                    }
                }
            }
            graph.linked.insert(name, linked);
        }
        graph
    }
}

/// What each package links. Procedural macros and build scripts run on the builder's machine
/// only, so neither they nor what they need is part of a crate.
fn normal_edges(metadata: &Metadata) -> BTreeMap<&PackageId, Vec<&PackageId>> {
    let macros: BTreeSet<&PackageId> = metadata
        .packages
        .iter()
        .filter(|package| {
            package
                .targets
                .iter()
                .any(cargo_metadata::Target::is_proc_macro)
        })
        .map(|package| &package.id)
        .collect();
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let mut edges = BTreeMap::new();
    for node in nodes {
        let normal = node.deps.iter().filter(|dep| {
            let kinds = &dep.dep_kinds;
            kinds.iter().any(|info| info.kind == DependencyKind::Normal)
                && !macros.contains(&dep.pkg)
        });
        edges.insert(&node.id, normal.map(|dep| &dep.pkg).collect());
    }
    edges
}

fn host_triple() -> Result<String, String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| "rustc -vV names no host".to_owned())
}

/// Dependencies between the workspace's crates are those of the table; tests may use any crate of
/// a lower layer as well.
#[must_use]
pub fn layer_table(graph: &Graph) -> Findings {
    let layers: BTreeMap<&str, (u8, &[&str])> = TABLE
        .iter()
        .map(|(name, layer, allowed)| (*name, (*layer, *allowed)))
        .collect();
    let mut findings = Vec::new();
    for (name, direct) in &graph.direct {
        let Some((layer, allowed)) = layers.get(name.as_str()) else {
            if !is_test_package(name) {
                let text = "not in the layer table: give it a row there (tests/tidy/src/layers.rs) \
                            and a line in ARCHITECTURE.md";
                findings.push(Finding::of(name, text));
            }
            continue;
        };
        let known = |other: &&String| layers.contains_key(other.as_str());
        for other in direct.iter().filter(known) {
            let short = other.strip_prefix("marram-").unwrap_or(other);
            if !allowed.contains(&short) {
                let text = format!(
                    "must not depend on {other}: dependencies point down (ARCHITECTURE.md). Move the \
                     code to a layer that may, or pass what is needed in as an argument or trait"
                );
                findings.push(Finding::of(name, text));
            }
        }
        for other in graph.dev.get(name).into_iter().flatten().filter(known) {
            let short = other.strip_prefix("marram-").unwrap_or(other);
            let below = layers
                .get(other.as_str())
                .is_some_and(|(theirs, _)| theirs < layer);
            if !below && !allowed.contains(&short) {
                let text = format!(
                    "its tests must not depend on {other}, which is not below it: move the test to \
                     the higher crate, or to tests/"
                );
                findings.push(Finding::of(name, text));
            }
        }
    }
    findings
}

fn is_test_package(name: &str) -> bool {
    name.starts_with("marram-") && name.ends_with("-tests")
}

/// The pure crates link no runtime, socket, file, clock or random number library.
#[must_use]
pub fn linked_crates(graph: &Graph) -> Findings {
    let mut findings = Vec::new();
    for name in PURE {
        for linked in graph.linked.get(name).into_iter().flatten() {
            if IMPURE.contains(&linked.as_str()) {
                let text = format!(
                    "links {linked} (see `cargo tree -p {name} -e normal -i {linked}`): this crate \
                     is pure. Do that work in layer L2 or above and pass the result in"
                );
                findings.push(Finding::of(name, text));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(direct: &[(&str, &[&str])], dev: &[(&str, &[&str])]) -> Graph {
        let map = |rows: &[(&str, &[&str])]| {
            let rows = rows.iter().map(|(name, others)| {
                let others = others.iter().map(|other| (*other).to_owned()).collect();
                ((*name).to_owned(), others)
            });
            rows.collect::<BTreeMap<String, BTreeSet<String>>>()
        };
        Graph {
            direct: map(direct),
            dev: map(dev),
            linked: map(direct),
        }
    }

    #[test]
    fn the_table_points_down() {
        let layer = |wanted: &str| {
            let row = TABLE
                .iter()
                .position(|(name, _, _)| *name == format!("marram-{wanted}"));
            row.expect("in the table")
        };
        for (at, (name, _, allowed)) in TABLE.iter().enumerate() {
            for other in *allowed {
                assert!(layer(other) < at, "{name} -> {other} points up");
            }
        }
    }

    #[test]
    fn edges_against_the_table_are_found() {
        let fine = graph(&[("marram-gateway", &["marram-mesh", "tonic"])], &[]);
        assert!(layer_table(&fine).is_empty());
        let store = graph(&[("marram-gateway", &["marram-store"])], &[]);
        assert_eq!(layer_table(&store).len(), 1);
        let up = graph(&[("marram-types", &["marram-meta"])], &[]);
        assert_eq!(layer_table(&up).len(), 1);
        let unknown = graph(&[("marram-common", &[])], &[]);
        assert_eq!(layer_table(&unknown).len(), 1);
        let tests = graph(&[("marram-cluster-tests", &["marram-client"])], &[]);
        assert!(layer_table(&tests).is_empty());
    }

    #[test]
    fn tests_may_look_down_only() {
        let nothing: (&str, &[&str]) = ("marram-raft", &[]);
        let down = graph(&[nothing], &[("marram-raft", &["marram-object"])]);
        assert!(layer_table(&down).is_empty());
        let up = graph(&[nothing], &[("marram-raft", &["marram-gateway"])]);
        assert_eq!(layer_table(&up).len(), 1);
    }

    #[test]
    fn impure_libraries_are_found() {
        let graph = graph(
            &[("marram-meta", &["tokio"]), ("marram-store", &["redb"])],
            &[],
        );
        assert_eq!(linked_crates(&graph).len(), 1);
    }
}
