//! The conditions.

mod certificates;
mod gateways;
mod sleep;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::api::{MarramClusterStatus, Phase};
use crate::step::Hold;
use crate::view::View;

use certificates::certified;
use gateways::{gateways, trouble as gateway_trouble};
use sleep::hibernated;
pub(super) use sleep::sleeps;

/// Longest sentence of a condition.
const MESSAGE_MAX: usize = 1000;
/// How full drives may be before it is said, in per cent.
const PRESSURE_PERCENT: i64 = 80;

/// What one condition says now.
pub(super) struct Said {
    kind: &'static str,
    holds: Option<bool>,
    reason: String,
    message: String,
}

fn said(kind: &'static str, holds: bool, reason: &str, message: impl Into<String>) -> Said {
    Said {
        kind,
        holds: Some(holds),
        reason: reason.to_owned(),
        message: message.into(),
    }
}

/// Whether the cluster serves with all of its nodes, and why not.
pub(super) fn ready(view: &View, status: &MarramClusterStatus, hold: Option<&Hold>) -> Said {
    if status.cluster_id.is_none() {
        return said("Ready", false, "Creating", sentence(view, status, hold));
    }
    if let Some(phase) =
        sleeps(status).filter(|phase| !matches!(phase, Phase::Closing | Phase::Verifying))
    {
        return said(
            "Ready",
            false,
            &phase.to_string(),
            sentence(view, status, hold),
        );
    }
    let Ok(cluster) = &view.cluster else {
        let why = view.cluster.as_ref().err().cloned().unwrap_or_default();
        return said(
            "Ready",
            false,
            "Unreachable",
            format!("the cluster does not answer: {why}"),
        );
    };
    let writable = cluster
        .status
        .redundancy
        .as_ref()
        .is_some_and(|r| r.writable);
    let nodes = status.nodes.unwrap_or(0);
    if !writable {
        return said(
            "Ready",
            false,
            "NotWritable",
            "new objects cannot be written",
        );
    }
    if status.ready_nodes < nodes {
        let message = format!("{} of {nodes} nodes answer", status.ready_nodes);
        return said("Ready", false, "NodesAway", message);
    }
    if nodes != view.spec.nodes() && hold.is_none() {
        let message = format!("{nodes} nodes serve, {} are wanted", view.spec.nodes());
        return said("Ready", true, "Scaling", message);
    }
    said(
        "Ready",
        true,
        "Serving",
        format!("all {nodes} nodes answer, and objects can be written"),
    )
}

/// Why objects cannot be written, in the cluster's words; none where they can.
fn not_writable(view: &View) -> Option<String> {
    let redundancy = view.cluster.as_ref().ok()?.status.redundancy.as_ref()?;
    let words = redundancy
        .sentences
        .iter()
        .find(|said| said.contains("cannot be written"));
    let plain = || "new objects cannot be written".to_owned();
    (!redundancy.writable).then(|| words.cloned().unwrap_or_else(plain))
}

/// The most important thing, for a person who looks at one line.
pub(super) fn sentence(view: &View, status: &MarramClusterStatus, hold: Option<&Hold>) -> String {
    let operation = status.operation.as_ref();
    let trouble = view
        .pods
        .values()
        .find_map(|pod| Some(format!("{}: {}", pod.name, pod.trouble.as_ref()?)));
    let trouble = trouble.or_else(|| view.set.as_ref()?.trouble.clone());
    let text = hold
        .map(|hold| hold.message.clone())
        .or(trouble)
        .or_else(|| {
            operation
                .filter(|op| !op.message.is_empty())
                .map(|op| op.message.clone())
        })
        .or_else(|| operation.map(|op| op.summary.clone()))
        .or_else(|| {
            status
                .upgrade
                .as_ref()
                .map(|upgrade| upgrade.reason.clone())
        })
        .or_else(|| view.cluster.as_ref().err().cloned())
        .or_else(|| not_writable(view))
        .or_else(|| view.fully_redundant().err())
        .or_else(|| gateway_trouble(view))
        .unwrap_or_else(|| "as it should be".to_owned());
    cut(&text)
}

fn cut(text: &str) -> String {
    text.chars().take(MESSAGE_MAX).collect()
}

/// All conditions.
pub(super) fn all(
    view: &View,
    status: &MarramClusterStatus,
    hold: Option<&Hold>,
    ready: Said,
) -> Vec<Said> {
    let held = |kind: &'static str, otherwise: &str| match hold {
        Some(hold) if hold.condition == kind => said(kind, true, hold.reason, &hold.message),
        _ => said(kind, false, "AsExpected", otherwise),
    };
    let mut all = vec![
        ready,
        reconciling(view, status),
        held("Stalled", "nothing stands still"),
        redundant(view, status),
        quorum(view),
        held("ScaleBlocked", "nothing stands against the number of nodes"),
        held("ExpansionBlocked", "nothing stands against larger volumes"),
        upgrade(status, hold),
        held("DataLossRisk", "no data is known to be at risk"),
        pods(view),
        pressure(status),
    ];
    if view.zones_are_mixed() || view.hosts.values().all(|host| host.zone.is_none()) {
        let message = format!(
            "not all Kubernetes nodes with pods have the label {}: each is a zone of its own",
            view.spec.zone_label()
        );
        all.push(said("ZonesKnown", false, "NoLabel", message));
    } else {
        all.push(said(
            "ZonesKnown",
            true,
            "Labels",
            "zones are those of the Kubernetes nodes",
        ));
    }
    all.push(hibernated(view, status, hold));
    if view.spec.hibernate {
        all.push(held("HibernationBlocked", "nothing stands against it"));
    }
    all.extend(gateways(view, status));
    all.extend(status.certificate.as_ref().map(|it| certified(view, it)));
    all
}

fn reconciling(view: &View, status: &MarramClusterStatus) -> Said {
    match &status.operation {
        Some(operation) if sleeps(status) == Some(Phase::Asleep) => {
            said("Reconciling", false, "Asleep", &operation.message)
        }
        Some(operation) if operation.message.is_empty() => said(
            "Reconciling",
            true,
            &operation.kind.to_string(),
            &operation.summary,
        ),
        Some(operation) => {
            let message = format!("{}: {}", operation.summary, operation.message);
            said("Reconciling", true, &operation.kind.to_string(), message)
        }
        None if view.spec.paused => said("Reconciling", false, "Paused", "spec.paused is true"),
        None => said("Reconciling", false, "AtRest", "no operation is under way"),
    }
}

fn redundant(view: &View, status: &MarramClusterStatus) -> Said {
    if sleeps(status) == Some(Phase::Asleep) {
        let message = "every object had all of its shards before the first pod stopped";
        return Said {
            holds: None,
            ..said("FullyRedundant", false, "Asleep", message)
        };
    }
    match (view.fully_redundant(), &view.cluster) {
        (Ok(()), _) => said(
            "FullyRedundant",
            true,
            "AllShards",
            "every object has all of its shards",
        ),
        (Err(why), Err(_)) => Said {
            holds: None,
            ..said("FullyRedundant", false, "Unknown", why)
        },
        (Err(why), Ok(_)) => said("FullyRedundant", false, "UnderWay", why),
    }
}

fn quorum(view: &View) -> Said {
    let Ok(cluster) = &view.cluster else {
        let why = view.cluster.as_ref().err().cloned().unwrap_or_default();
        return Said {
            holds: None,
            ..said("QuorumHealthy", false, "Unknown", why)
        };
    };
    let groups = &cluster.status.groups;
    let short: Vec<String> = groups
        .iter()
        .filter(|g| (g.voters_up as usize) < g.voter_node_ids.len())
        .map(|g| {
            format!(
                "{} ({} of {})",
                g.group,
                g.voters_up,
                g.voter_node_ids.len()
            )
        })
        .collect();
    if short.is_empty() {
        let message = format!("all voters of all {} metadata groups answer", groups.len());
        return said("QuorumHealthy", true, "AllVoters", message);
    }
    let message = format!(
        "metadata groups with voters that do not answer: {}",
        short.join(", ")
    );
    said("QuorumHealthy", false, "VotersAway", message)
}

fn upgrade(status: &MarramClusterStatus, hold: Option<&Hold>) -> Said {
    if let Some(hold) = hold.filter(|hold| hold.condition == "UpgradePaused") {
        return said("UpgradePaused", true, hold.reason, &hold.message);
    }
    match &status.upgrade {
        Some(upgrade) => {
            let message = format!(
                "{}; the pods before it were put back, until the resource changes",
                upgrade.reason
            );
            said("UpgradePaused", true, "PutBack", message)
        }
        None => said("UpgradePaused", false, "AsExpected", "no upgrade is paused"),
    }
}

fn pods(view: &View) -> Said {
    let mut troubled: Vec<String> = view
        .pods
        .values()
        .filter_map(|pod| Some(format!("{}: {}", pod.name, pod.trouble.as_ref()?)))
        .collect();
    troubled.extend(view.set.as_ref().and_then(|set| set.trouble.clone()));
    match troubled.is_empty() {
        true => said("PodsHealthy", true, "AsExpected", "no pod is in trouble"),
        false => said("PodsHealthy", false, "Trouble", troubled.join("; ")),
    }
}

fn pressure(status: &MarramClusterStatus) -> Said {
    let Some(capacity) = status.capacity.as_ref().filter(|c| c.total_bytes > 0) else {
        return Said {
            holds: None,
            ..said(
                "CapacityPressure",
                false,
                "Unknown",
                "the drives are not known",
            )
        };
    };
    let percent = capacity.used_bytes.saturating_mul(100) / capacity.total_bytes;
    let message = format!("{} of the drives is used", capacity.used);
    let reason = if percent >= PRESSURE_PERCENT {
        "AlmostFull"
    } else {
        "Room"
    };
    said(
        "CapacityPressure",
        percent >= PRESSURE_PERCENT,
        reason,
        message,
    )
}

/// What is said now, with the times of what was said before and has not changed.
pub(super) fn merge(
    before: &[Condition],
    now: Vec<Said>,
    generation: Option<i64>,
    time: i64,
) -> Vec<Condition> {
    let time = Time(Timestamp::from_second(time).unwrap_or_default());
    let condition = |said: Said| {
        let status = match said.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let old = before
            .iter()
            .find(|old| old.type_ == said.kind && old.status == status);
        Condition {
            type_: said.kind.to_owned(),
            status: status.to_owned(),
            reason: said.reason,
            message: cut(&said.message),
            observed_generation: generation,
            last_transition_time: old
                .map_or_else(|| time.clone(), |old| old.last_transition_time.clone()),
        }
    };
    now.into_iter().map(condition).collect()
}
