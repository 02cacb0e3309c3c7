//! A node whose data is gone is replaced. The cluster is told first that it never comes back (fenced); only
//! then a new volume gets its name.

use marram_client::NodeDuty;

use crate::api::{Operation, OperationKind, Phase, ReplacementMode};
use crate::step::{Act, Hold, Step, advanced, create, requests, started, tokens, waits};
use crate::view::{View, dead_for, is_up};

/// A node that is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    ordinal: i32,
    /// The member that is gone; none where it was removed already.
    node_id: Option<String>,
    /// The claim that has to go.
    claim_uid: Option<String>,
    /// What happened, in words.
    pub(super) why: String,
}

/// The first node that is gone for good. Before that is sure, the cluster's own repair acts.
pub(super) fn loss(view: &View) -> Option<Loss> {
    if view.cluster.is_err() {
        return None;
    }
    (0..view.replicas()).find_map(|ordinal| loss_of(view, ordinal))
}

fn loss_of(view: &View, ordinal: i32) -> Option<Loss> {
    let name = view.names.pod(ordinal);
    let loss = |node_id: Option<String>, claim_uid: Option<String>, why: &str| {
        Some(Loss {
            ordinal,
            node_id,
            claim_uid,
            why: format!("{name}: {why}"),
        })
    };
    let Some(member) = view.member(&name) else {
        let waits = view
            .pods
            .get(&ordinal)
            .is_some_and(|pod| pod.waits_for_token);
        return if waits {
            loss(
                None,
                None,
                "its member was removed, and its pod waits to join",
            )
        } else {
            None
        };
    };
    if is_up(member) {
        return None;
    }
    let id = Some(member.node_id.to_string());
    let pod = view.pods.get(&ordinal);
    let claim = view.claims.get(&ordinal);
    if pod.is_some_and(|pod| pod.waits_for_token && !pod.deleting) {
        return loss(id, None, "its volume is new and empty");
    }
    let auto = view.spec.replacement.clone().unwrap_or_default();
    if auto.mode == Some(ReplacementMode::Manual) {
        return None;
    }
    let Some(claim) = claim else {
        let without = pod.is_some_and(|pod| pod.host.is_none() && !pod.deleting);
        return if without {
            loss(id, None, "its claim is gone")
        } else {
            None
        };
    };
    let uid = Some(claim.uid.clone());
    if claim.lost {
        return loss(id, uid, "its volume is gone");
    }
    if claim
        .host
        .as_ref()
        .is_some_and(|host| !view.hosts.contains_key(host))
    {
        return loss(id, uid, "its volume was on a Kubernetes node that is gone");
    }
    let silent = dead_for(member)?;
    let host = pod.and_then(|pod| view.hosts.get(pod.host.as_ref()?));
    if host.is_some_and(|host| host.out_of_service) {
        return loss(id, uid, "its Kubernetes node is out of service");
    }
    if silent >= auto.after() {
        return loss(
            id,
            uid,
            "its peers have not reached it for spec.replacement.afterSeconds",
        );
    }
    None
}

/// A node that somebody wants to be replaced, as it is.
pub(super) fn asked(view: &View, ordinal: i32) -> Loss {
    let name = view.names.pod(ordinal);
    let claim = view.claims.get(&ordinal);
    Loss {
        ordinal,
        node_id: view.member(&name).map(|node| node.node_id.to_string()),
        claim_uid: claim.map(|claim| claim.uid.clone()),
        why: format!("{name} is given up, because a ClusterOperation says so"),
    }
}

/// Giving a node up is refused while its data may be the last there is.
pub(super) fn refused(view: &View, loss: &Loss) -> Option<Hold> {
    loss.node_id.as_ref()?;
    let redundancy = view.cluster.as_ref().ok()?.status.redundancy.clone()?;
    (redundancy.tolerated_losses < 0).then(|| Hold {
        condition: "DataLossRisk",
        reason: "TooManyNodesGone",
        message: format!(
            "{}; but with it away some objects cannot be read, so it is not given up: bring any of the nodes that \
             are away back, or give it up by `marram admin node fence {}`",
            loss.why,
            view.names.pod(loss.ordinal)
        ),
    })
}

pub(super) fn begin(view: &View, loss: Loss) -> Operation {
    let phase = match loss.node_id {
        Some(_) => Phase::Fencing,
        None => Phase::Joining,
    };
    let replicas = view.replicas();
    let mut operation = started(view, OperationKind::Replace, phase, (replicas, replicas));
    operation.pods = vec![view.names.pod(loss.ordinal)];
    (operation.node_id, operation.claim_uid) = (loss.node_id, loss.claim_uid);
    operation.summary = super::summary(&operation);
    operation.message = loss.why;
    operation
}

pub(super) fn step(view: &View, operation: &Operation) -> Step {
    if let Err(why) = &view.cluster {
        return waits(operation, format!("the cluster does not answer: {why}"));
    }
    let name = operation.pods.first().cloned().unwrap_or_default();
    let Some(ordinal) = view.names.ordinal(&name) else {
        return Step::End(format!("{name} is no pod of this cluster"));
    };
    match operation.phase {
        Phase::Fencing => fencing(view, operation),
        Phase::Clearing => clearing(view, operation, ordinal),
        Phase::Joining => joining(view, operation, &name),
        _ => rebuilding(view, operation, &name),
    }
}

fn fencing(view: &View, operation: &Operation) -> Step {
    let id = operation.node_id.clone().unwrap_or_default();
    let member = view.member_by_id(&id);
    // What bore it when this began may not bear it now: another node may have gone since.
    if member.is_some_and(|node| node.duty != NodeDuty::Fenced)
        && let Some(why) = requests::stands_against(view, operation)
    {
        return waits(operation, why);
    }
    match member {
        // Somebody said that it is to go.
        Some(node)
            if node.duty != NodeDuty::Fenced && is_up(node) && operation.request.is_some() =>
        {
            Step::Act(Act::GiveUp { node: id })
        }
        Some(node) if node.duty != NodeDuty::Fenced && is_up(node) => {
            Step::End(format!("{} came back and is not replaced", node.name))
        }
        Some(node) if node.duty != NodeDuty::Fenced => Step::Act(Act::SetDuty {
            node: id,
            duty: NodeDuty::Fenced,
            narrower: false,
        }),
        _ => advanced(view, operation, Phase::Clearing),
    }
}

/// The old claim goes, and with it the pod that holds on to it; the StatefulSet makes both anew.
fn clearing(view: &View, operation: &Operation, ordinal: i32) -> Step {
    let pod = view.pods.get(&ordinal).filter(|pod| !pod.deleting);
    let delete_pod = |force_without_host: bool| {
        let pod = pod?;
        let gone = pod
            .host
            .as_ref()
            .is_some_and(|host| view.hosts.get(host).is_none_or(|host| host.out_of_service));
        Some(Step::Act(Act::DeletePod {
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            force: force_without_host && gone,
        }))
    };
    let goes = || {
        waits(
            operation,
            format!("the volume of {} goes", view.names.pod(ordinal)),
        )
    };
    match view.claims.get(&ordinal) {
        None => delete_pod(true).unwrap_or_else(goes),
        Some(claim) if Some(&claim.uid) != operation.claim_uid.as_ref() => {
            advanced(view, operation, Phase::Joining)
        }
        Some(claim) if claim.deleting => delete_pod(true).unwrap_or_else(goes),
        Some(claim) => Step::Act(Act::DeleteClaim {
            claim: claim.name.clone(),
            uid: claim.uid.clone(),
        }),
    }
}

fn joining(view: &View, operation: &Operation, name: &String) -> Step {
    if let Some(step) = tokens::tokens(view, std::slice::from_ref(name)) {
        return step;
    }
    if view.member(name).is_some_and(is_up) {
        return advanced(view, operation, Phase::Rebuilding);
    }
    let why = create::trouble(view).unwrap_or_else(|| format!("a new {name} joins"));
    waits(operation, why)
}

/// What the old node had is rebuilt; then nothing names it any more, and it is removed.
fn rebuilding(view: &View, operation: &Operation, name: &str) -> Step {
    let old = operation
        .node_id
        .as_ref()
        .and_then(|id| view.member_by_id(id));
    match old {
        None => Step::End(format!("{name} is replaced")),
        Some(old) if old.slots > 0 => {
            let slots = i64::try_from(old.slots).unwrap_or(i64::MAX);
            let message = format!("{slots} slots of the old {name} are rebuilt");
            super::left(view, operation, slots, message)
        }
        Some(old) => Step::Act(Act::RemoveNode {
            node: old.node_id.to_string(),
            narrower: false,
        }),
    }
}
