//! ClusterOperations: written, and waited for. The operator does them in their turn.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::cli::{DomainArgs, ReplaceArgs, ScrubArgs, WaitArgs};
use super::cluster::Cluster;
use super::error::PluginError;
use super::kubectl::Kubectl;

/// How often it is asked how far one is.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Failed questions in a row after which nobody waits any longer.
const FAILED_MAX: u32 = 60;

/// A failure domain is emptied, or takes data again.
pub(super) fn domain(
    kubectl: &Kubectl,
    cluster: &Cluster,
    drains: bool,
    args: &DomainArgs,
) -> Result<(), PluginError> {
    known_domain(cluster, &args.domain)?;
    let (what, kind) = match drains {
        true => ("drain", "DrainDomain"),
        false => ("restore", "RestoreDomain"),
    };
    let spec = json!({ "type": kind, "domain": args.domain });
    begin(kubectl, cluster, (what, spec), &args.wait)
}

/// A node is given up for a new one.
pub(super) fn replace(
    kubectl: &Kubectl,
    cluster: &Cluster,
    args: &ReplaceArgs,
) -> Result<(), PluginError> {
    known_node(cluster, &args.node)?;
    let mut spec = json!({ "type": "ReplaceNode", "node": args.node });
    if args.accept_data_loss {
        spec["acceptDataLoss"] = json!(true);
    }
    begin(kubectl, cluster, ("replace", spec), &args.wait)
}

/// All data is read, or that of one node.
pub(super) fn scrub(
    kubectl: &Kubectl,
    cluster: &Cluster,
    args: &ScrubArgs,
) -> Result<(), PluginError> {
    let mut spec = json!({ "type": "Scrub" });
    if let Some(node) = &args.node {
        known_node(cluster, node)?;
        spec["node"] = json!(node);
    }
    begin(kubectl, cluster, ("scrub", spec), &args.wait)
}

/// Data moves until all hold their share.
pub(super) fn rebalance(
    kubectl: &Kubectl,
    cluster: &Cluster,
    wait: &WaitArgs,
) -> Result<(), PluginError> {
    let spec = json!({ "type": "Rebalance" });
    begin(kubectl, cluster, ("rebalance", spec), wait)
}

fn known_domain(cluster: &Cluster, wanted: &str) -> Result<(), PluginError> {
    let members = &cluster.status.members;
    let mut there: Vec<&str> = members.iter().map(|it| it.zone.as_str()).collect();
    if there.contains(&wanted) {
        return Ok(());
    }
    there.sort_unstable();
    there.dedup();
    let node = members.iter().find(|it| it.name == wanted);
    let hint = node.map(|it| format!("; the node {wanted} is in {}", it.zone));
    Err(PluginError::NoDomain {
        wanted: wanted.to_owned(),
        there: there.join(", "),
        hint: hint.unwrap_or_default(),
    })
}

fn known_node(cluster: &Cluster, wanted: &str) -> Result<(), PluginError> {
    let mut names = cluster.status.members.iter().map(|it| it.name.as_str());
    if names.clone().any(|name| name == wanted) {
        return Ok(());
    }
    let first = names.next().into_iter().chain(names);
    Err(PluginError::NoNode {
        wanted: wanted.to_owned(),
        there: first.collect::<Vec<_>>().join(", "),
    })
}

/// The resource that is written.
fn document(cluster: &Cluster, what: &str, mut spec: Value) -> Value {
    spec["clusterRef"] = json!({ "name": cluster.name });
    json!({
        "apiVersion": "marram.dev/v1alpha1",
        "kind": "ClusterOperation",
        "metadata": { "generateName": format!("{what}-"), "namespace": cluster.namespace },
        "spec": spec,
    })
}

fn begin(
    kubectl: &Kubectl,
    cluster: &Cluster,
    (what, spec): (&str, Value),
    wait: &WaitArgs,
) -> Result<(), PluginError> {
    let document = document(cluster, what, spec).to_string();
    let created = kubectl.ask(&["create", "-f", "-", "-o", "name"], Some(&document))?;
    let name = created.trim();
    let name = name.rsplit('/').next().unwrap_or(name);
    if !wait.wait {
        return super::print(&format!(
            "{name} waits for its turn: kubectl get clusteroperation {name} -w\nto take it back: kubectl delete \
             clusteroperation {name}\n"
        ));
    }
    super::print(&format!("{name}\n"))?;
    until_over(kubectl, name)
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Told {
    phase: String,
    progress: String,
    message: String,
}

#[derive(Debug, Deserialize)]
struct Items {
    items: Vec<Asked>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    status: Told,
}

/// What is new of it, in a line.
fn line(told: &Told) -> String {
    let parts = [&told.phase, &told.progress, &told.message];
    let parts: Vec<&str> = parts.into_iter().map(String::as_str).collect();
    let said: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    said.join(": ")
}

fn until_over(kubectl: &Kubectl, name: &str) -> Result<(), PluginError> {
    let mut before = Told::default();
    let mut failed = 0;
    let only = format!("metadata.name={name}");
    loop {
        let found = kubectl.json::<Items>(&["get", "clusteroperations", "--field-selector", &only]);
        let found = match found {
            Ok(found) => found,
            // The API server restarts, a login is renewed: the operation goes on meanwhile.
            Err(error) if failed < FAILED_MAX => {
                failed += 1;
                eprintln!("{error}; it is asked again");
                std::thread::sleep(ASK_EVERY);
                continue;
            }
            Err(error) => {
                eprintln!("{name} goes on: kubectl get clusteroperation {name} -w");
                return Err(error);
            }
        };
        failed = 0;
        let Some(asked) = found.items.into_iter().next() else {
            return Err(PluginError::Gone(name.to_owned()));
        };
        if asked.status != before {
            super::print(&format!("{}\n", line(&asked.status)))?;
        }
        match asked.status.phase.as_str() {
            "Succeeded" => return Ok(()),
            "Failed" => {
                return Err(PluginError::Failed {
                    name: name.to_owned(),
                    message: asked.status.message,
                });
            }
            _ => before = asked.status,
        }
        std::thread::sleep(ASK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::super::cluster::tests::cluster;
    use super::*;

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let member = |name: &str, zone: &str| json!({ "name": name, "zone": zone });
        let members = [member("store-0", "z2"), member("store-1", "z1")];
        let cluster = cluster(&json!({ "members": members }));
        assert!(known_domain(&cluster, "z1").is_ok() && known_node(&cluster, "store-1").is_ok());
        let wrong = known_domain(&cluster, "z9").expect_err("none").to_string();
        assert_eq!(wrong, "there is no failure domain z9: there are z1, z2");
        let node = known_domain(&cluster, "store-1")
            .expect_err("none")
            .to_string();
        assert!(node.ends_with("the node store-1 is in z1"), "{node}");
        let wrong = known_node(&cluster, "store-9")
            .expect_err("none")
            .to_string();
        assert_eq!(
            wrong,
            "there is no node store-9: there are store-0, store-1"
        );
    }

    #[test]
    fn the_resource_is_of_this_cluster() {
        let cluster = cluster(&json!({}));
        let written = document(&cluster, "scrub", json!({ "type": "Scrub" }));
        assert_eq!(written["metadata"]["generateName"], "scrub-");
        assert_eq!(written["metadata"]["namespace"], "data");
        assert_eq!(
            written["spec"],
            json!({ "type": "Scrub", "clusterRef": { "name": "store" } })
        );
    }

    #[test]
    fn how_far_it_is_stands_in_a_line() {
        let told = |phase: &str, progress: &str, message: &str| Told {
            phase: phase.into(),
            progress: progress.into(),
            message: message.into(),
        };
        assert_eq!(
            line(&told("Running", "40%", "3 drives")),
            "Running: 40%: 3 drives"
        );
        assert_eq!(line(&told("Pending", "", "")), "Pending");
    }
}
