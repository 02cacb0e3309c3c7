//! `marram admin support-bundle`: what a maintainer needs to understand a cluster, in one file.
//!
//! Nothing secret is collected, so nothing has to be taken out: servers tell their settings by a list
//! without secrets, log lines without names, and the answers of the API hold neither secrets nor keys.
//!
//! ```text
//! archive   the file: tar, compressed, complete or not there
//! ```

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream;
use marram_client::{Client, ClusterStatus, InspectOptions, NodeInspection};
use serde::Serialize;
use serde_json::{Value, json};

use super::{doctor, gateways};
use crate::cli::BundleArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::Paint;
use crate::units::{date, size};

mod archive;

use archive::Archive;

/// Nodes that are asked at once.
const NODES_AT_ONCE: usize = 4;

/// What stands in the bundle's README.
const README: &str = "\
What a cluster of Marram said of itself, for who is to find out what is wrong with it.

  about.json            when and by which release this was collected, and what did not answer
  status.json           nodes, drives, groups, and what their state means for the data
  doctor.txt, .json     what `marram admin doctor` found
  drives.json, scrub.json, garbage.json, certificates.json, layout.json
  nodes/NAME/facts.json       machine, data folders, replicas, settings with their origin
  nodes/NAME/metrics.txt      its metrics as Prometheus text
  nodes/NAME/log.txt          its newest log lines
  gateways/NAME/              the same of gateways without drives that were among the endpoints

There are no secrets in it: no keys, no tokens, no secrets of access keys, no object. Names of nodes, addresses and
paths of folders are. Names of buckets, objects and access keys are only where it was asked for (--names).
";

/// What came of it.
#[derive(Debug, Serialize)]
struct Made {
    file: String,
    bytes: u64,
    entries: usize,
    /// What did not answer, and why.
    missing: Vec<String>,
}

/// Collects it.
pub(super) async fn run(context: &Context<'_>, args: BundleArgs) -> Result<(), Failure> {
    let mut archive = Archive::create(&args.out, args.names)?;
    let client = context.client()?;
    let status = client.cluster_status().await;
    let status = status.map_err(Failure::at("cluster"))?;
    archive.text("README.txt", README)?;
    archive.json("status.json", &status)?;
    let mut missing = answers(&client, &mut archive).await?;
    missing.extend(nodes(&client, &args, &status, &mut archive).await?);
    for gateway in gateways::named(context, &status).await? {
        let said = gateway.client.inspect_node(&gateway.name, options(&args));
        let name = format!("gateways/{}", folder(&gateway.name));
        match said.await {
            Ok(said) => keep_node(&mut archive, &name, &said)?,
            Err(error) => missing.push(format!("{name}: {error}")),
        }
    }
    if args.names {
        missing.extend(names(&client, &mut archive).await?);
    }
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = now_ms.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    });
    let about = json!({
        "collected_at": format!("{} UTC", date(now_ms)),
        "release": env!("CARGO_PKG_VERSION"),
        "cluster_id": status.cluster_id,
        "with_names": args.names,
        "missing": missing,
    });
    archive.json("about.json", &about)?;
    let (entries, bytes) = archive.finish()?;
    let made = Made {
        file: args.out.display().to_string(),
        bytes,
        entries,
        missing,
    };
    context.output.done(&made, || {
        let mut said = format!("{}: {entries} files, {}", made.file, size(bytes));
        for missing in &made.missing {
            said.push_str(&format!("\nnot in it: {missing}"));
        }
        said
    })
}

/// What the cluster as a whole answers. One question without an answer does not keep the others out.
async fn answers(client: &Client, archive: &mut Archive) -> Result<Vec<String>, Failure> {
    let mut missing = Vec::new();
    let mut keep = |name: &str, answer: Result<Value, String>| match answer {
        Ok(value) => archive.json(name, &value),
        Err(error) => {
            missing.push(format!("{name}: {error}"));
            Ok(())
        }
    };
    let diagnosis = client.diagnose().await;
    let text = diagnosis.as_ref().map(|found| {
        let mut lines = doctor::lines(found, true, Paint::none()).join("\n");
        lines.push('\n');
        lines
    });
    let text = text.unwrap_or_else(|error| format!("no answer: {error}\n"));
    keep("doctor.json", value(diagnosis))?;
    keep("drives.json", value(client.list_drives(None).await))?;
    keep("scrub.json", value(client.scrub_status().await))?;
    keep("garbage.json", value(client.garbage_status().await))?;
    keep("certificates.json", value(client.ca_status().await))?;
    keep(
        "layout.json",
        value(client.plan_layout(&[], &[], &[]).await),
    )?;
    archive.text("doctor.txt", &text)?;
    Ok(missing)
}

fn value<T: Serialize, E: ToString>(answer: Result<T, E>) -> Result<Value, String> {
    let answer = answer.map_err(|error| error.to_string())?;
    serde_json::to_value(answer).map_err(|error| error.to_string())
}

/// What is asked of a process.
fn options(args: &BundleArgs) -> InspectOptions {
    InspectOptions {
        settings: true,
        log_lines: args.log_lines,
        metrics: Vec::new(),
        all_metrics: true,
        names: args.names,
    }
}

/// What every node says of itself.
async fn nodes(
    client: &Client,
    args: &BundleArgs,
    status: &ClusterStatus,
    archive: &mut Archive,
) -> Result<Vec<String>, Failure> {
    let asked = status.nodes.iter().map(|node| async move {
        let said = client
            .inspect_node(&node.node_id.to_string(), options(args))
            .await;
        (node, said)
    });
    let mut missing = Vec::new();
    // Kept one at a time, so that a large cluster does not have to fit into memory.
    let mut answers = stream::iter(asked).buffered(NODES_AT_ONCE);
    let mut taken = BTreeSet::new();
    while let Some((node, said)) = answers.next().await {
        let name = own_folder(&node.name, node.node_id, &mut taken);
        match said {
            Ok(said) => keep_node(archive, &format!("nodes/{name}"), &said)?,
            Err(error) => missing.push(format!("nodes/{name}: {error}")),
        }
    }
    Ok(missing)
}

fn keep_node(archive: &mut Archive, name: &str, said: &NodeInspection) -> Result<(), Failure> {
    archive.json(&format!("{name}/facts.json"), said)?;
    archive.text(&format!("{name}/metrics.txt"), &said.metrics)?;
    let mut log = said.log.join("\n");
    log.push('\n');
    archive.text(&format!("{name}/log.txt"), &log)
}

/// A name that is one folder and no other, whatever a server answers.
fn folder(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let safe = name
        .chars()
        .map(|c| if plain(c) || c == '.' { c } else { '_' });
    let safe: String = safe.collect();
    match safe.chars().any(plain) {
        true => safe,
        false => format!("node{safe}").replace('.', "_"),
    }
}

/// A folder that no other node has: a wiped machine is two nodes of one name for a while.
fn own_folder(name: &str, id: u64, taken: &mut BTreeSet<String>) -> String {
    let mut own = folder(name);
    while !taken.insert(own.to_lowercase()) {
        own = format!("{own}-{id}");
    }
    own
}

/// Lists of what has names: only where that was asked for.
async fn names(client: &Client, archive: &mut Archive) -> Result<Vec<String>, Failure> {
    let mut missing = Vec::new();
    let answers = [
        ("buckets.json", value(client.list_buckets("").await)),
        ("access-keys.json", value(client.access_keys().await)),
    ];
    for (name, answer) in answers {
        match answer {
            Ok(value) => archive.json(name, &value)?,
            Err(error) => missing.push(format!("{name}: {error}")),
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_are_names_of_folders() {
        for (name, expected) in [
            ("node-1.example", "node-1.example"),
            ("../../etc", ".._.._etc"),
            ("..", "node__"),
            ("", "node"),
            ("a/b\n", "a_b_"),
        ] {
            assert_eq!(folder(name), expected);
        }
    }

    #[test]
    fn two_nodes_of_one_name_have_a_folder_each() {
        let mut taken = BTreeSet::new();
        let named = [
            ("node-1", 5),
            ("node-2", 6),
            ("node-1", 77),
            ("NODE-1", 8),
            ("node/1", 9),
        ];
        let folders = named.map(|(name, id)| own_folder(name, id, &mut taken));
        assert_eq!(
            folders,
            ["node-1", "node-2", "node-1-77", "NODE-1-8", "node_1"]
        );
    }
}
