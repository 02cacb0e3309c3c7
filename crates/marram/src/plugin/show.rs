//! What is printed of a cluster.

use std::fmt::Write as _;

use serde::Serialize;

use super::cluster::{Cluster, Condition, Member, Pod};
use crate::units::size;

/// Conditions that are bad news when they hold; others are when they do not.
const BAD: [&str; 7] = [
    "Stalled",
    "ScaleBlocked",
    "UpgradePaused",
    "DataLossRisk",
    "ExpansionBlocked",
    "CapacityPressure",
    "HibernationBlocked",
];
/// Conditions that are no news: the first line says what they say.
const PLAIN: [&str; 4] = ["Ready", "Reconciling", "Hibernated", "FullyRedundant"];

/// What the operator saw last.
pub(super) fn status(cluster: &Cluster) -> String {
    let status = &cluster.status;
    let mut text = String::new();
    let phase = if status.phase.is_empty() {
        "Unknown"
    } else {
        &status.phase
    };
    let message = match status.message.as_str() {
        "" => "the operator has not looked at it yet",
        message => message,
    };
    let _ = writeln!(
        text,
        "{} in {}: {phase}: {message}",
        cluster.name, cluster.namespace
    );
    let mut line = |what: &str, said: String| {
        let _ = writeln!(text, "  {what:<10} {said}");
    };
    let wanted = cluster.whole["spec"]["storage"]["nodes"].as_i64();
    let wanted = wanted.filter(|wanted| Some(*wanted) != status.nodes);
    let wanted = wanted.map(|wanted| format!(", {wanted} wanted"));
    if let Some(nodes) = status.nodes {
        let wanted = wanted.unwrap_or_default();
        line(
            "nodes",
            format!("{} of {nodes} answer{wanted}", status.ready_nodes),
        );
    }
    if let Some(redundancy) = &status.redundancy {
        line(
            "redundant",
            redundant(redundancy.fully_redundant, redundancy.tolerated_losses),
        );
    }
    if !status.version.is_empty() {
        line("version", status.version.clone());
    }
    if let Some(capacity) = &status.capacity {
        line(
            "used",
            format!("{} of {}", capacity.used, size(capacity.total_bytes)),
        );
    }
    if let Some(operation) = &status.operation {
        let mut said = format!(
            "{} ({}): {}",
            operation.kind, operation.phase, operation.summary
        );
        if !operation.message.is_empty() {
            let _ = write!(said, ": {}", operation.message);
        }
        line("operation", said);
    }
    for condition in status.conditions.iter().filter(|it| is_news(it)) {
        line(
            "attention",
            format!("{}: {}", condition.kind, condition.message),
        );
    }
    text
}

fn is_news(condition: &Condition) -> bool {
    let kind = condition.kind.as_str();
    let bad = if BAD.contains(&kind) { "True" } else { "False" };
    !PLAIN.contains(&kind) && condition.status == bad
}

fn redundant(fully: bool, losses: i64) -> String {
    let bears = match losses {
        i64::MIN..0 => "some objects may not be readable".to_owned(),
        0 => "no further loss is borne".to_owned(),
        1 => "the loss of any node is borne".to_owned(),
        losses => format!("the loss of any {losses} nodes is borne"),
    };
    format!(
        "{}; {bears}",
        if fully { "all of it" } else { "NOT all of it" }
    )
}

/// A node, as it is listed.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    pod: String,
    restarts: u32,
    host: String,
    zone: String,
    health: String,
    duty: String,
    slots: i64,
    node_id: String,
}

/// All members, and pods that are none yet.
pub(super) fn members(cluster: &Cluster, pods: &[Pod]) -> Vec<Row> {
    let row = |name: &str, member: Option<&Member>, pod: Option<&Pod>| {
        let of = member.cloned().unwrap_or_default();
        Row {
            name: name.to_owned(),
            pod: pod.map_or_else(|| "none".to_owned(), Pod::state),
            restarts: pod.map_or(0, Pod::restarts),
            host: pod.map(|pod| pod.host().to_owned()).unwrap_or_default(),
            zone: of.zone,
            health: match member {
                Some(_) => of.health,
                None => "no member".to_owned(),
            },
            duty: of.duty,
            slots: of.slots,
            node_id: of.node_id,
        }
    };
    let members = &cluster.status.members;
    let mut rows: Vec<Row> = members
        .iter()
        .map(|member| {
            let pod = pods.iter().find(|pod| pod.metadata.name == member.name);
            row(&member.name, Some(member), pod)
        })
        .collect();
    let strangers = pods
        .iter()
        .filter(|pod| !members.iter().any(|it| it.name == pod.metadata.name));
    rows.extend(strangers.map(|pod| row(&pod.metadata.name, None, Some(pod))));
    rows.sort_by_key(|row| (ordinal(&row.name), row.name.clone()));
    rows
}

/// The number at the end of a pod's name: store-10 comes after store-9.
fn ordinal(name: &str) -> u64 {
    let number = name.rsplit('-').next().and_then(|text| text.parse().ok());
    number.unwrap_or(u64::MAX)
}

/// Rows as JSON, one a line.
pub(super) fn as_json(rows: &[Row]) -> String {
    rows.iter()
        .map(|row| serde_json::to_string(row).expect("plain fields are JSON") + "\n")
        .collect()
}

/// Rows in columns.
pub(super) fn table(rows: &[Row]) -> String {
    let head = [
        "NODE", "POD", "RESTARTS", "HOST", "DOMAIN", "HEALTH", "DUTY", "SLOTS", "ID",
    ];
    let mut cells = vec![head.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
        [
            row.name.clone(),
            row.pod.clone(),
            row.restarts.to_string(),
            or_dash(&row.host),
            or_dash(&row.zone),
            or_dash(&row.health),
            or_dash(&row.duty),
            row.slots.to_string(),
            or_dash(&row.node_id),
        ]
    }));
    let width = |column: usize| cells.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let columns = row.iter().zip(&widths);
        let line: String = columns
            .map(|(cell, width)| format!("{cell:<width$}  "))
            .collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::cluster::tests::{cluster, pod};
    use super::*;

    #[test]
    fn what_is_wrong_is_said_and_what_is_not_is_not() {
        let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "message": format!("{kind} {status}") });
        let cluster = cluster(&json!({
            "phase": "Degraded", "message": "2 of 3 nodes answer", "nodes": 3, "readyNodes": 2,
            "redundancy": { "fullyRedundant": false, "toleratedLosses": 0 },
            "capacity": { "totalBytes": 12_u64 << 30, "used": "25%" },
            "operation": { "kind": "Replace", "phase": "Joining", "summary": "store-1 is replaced", "message": "it joins" },
            "conditions": [
                condition("Ready", "False"), condition("PodsHealthy", "False"), condition("QuorumHealthy", "True"),
                condition("ScaleBlocked", "True"), condition("Stalled", "False"),
            ],
        }));
        let text = status(&cluster);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "store in data: Degraded: 2 of 3 nodes answer");
        assert!(text.contains("nodes      2 of 3 answer\n"), "{text}");
        assert!(
            text.contains("NOT all of it; no further loss is borne"),
            "{text}"
        );
        assert!(text.contains("25% of 12.0 GiB"), "{text}");
        assert!(
            text.contains("Replace (Joining): store-1 is replaced: it joins"),
            "{text}"
        );
        let attention: Vec<&str> = lines
            .iter()
            .copied()
            .filter(|it| it.contains("attention"))
            .collect();
        assert_eq!(attention.len(), 2, "{text}");
        assert!(
            text.contains("PodsHealthy: PodsHealthy False")
                && text.contains("ScaleBlocked: ScaleBlocked True")
        );
    }

    #[test]
    fn pods_that_are_no_members_and_members_without_pods_are_listed() {
        let member = |name: &str| json!({ "name": name, "nodeId": "7", "zone": "z1", "health": "up", "duty": "serving", "slots": 5 });
        let cluster = cluster(&json!({ "members": [member("store-10"), member("store-2")] }));
        let running = json!({ "phase": "Running" });
        let rows = members(
            &cluster,
            &[pod("store-2", &running), pod("store-11", &running)],
        );
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["store-2", "store-10", "store-11"]);
        assert_eq!(
            (rows[1].pod.as_str(), rows[1].health.as_str()),
            ("none", "up")
        );
        assert_eq!(
            (rows[2].pod.as_str(), rows[2].health.as_str()),
            ("NotReady", "no member")
        );
        let table = table(&rows);
        assert!(
            table.starts_with("NODE      POD       RESTARTS  HOST"),
            "{table}"
        );
        assert_eq!(as_json(&rows).lines().count(), 3);
    }
}
