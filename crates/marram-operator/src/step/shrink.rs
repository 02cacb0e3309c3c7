//! One node less: the last one takes no new data, gives away what it has, is proven to be empty, is removed from
//! the cluster, and only then its pod goes.

use marram_client::{NodeDuty, NodeStatus};

use crate::api::{Operation, OperationKind, Phase, RetentionPolicy};
use crate::step::{Act, Hold, Step, advanced, left, started, waits};
use crate::view::View;

/// The operation; it is about the member that the last pod is.
pub(super) fn begin(view: &View) -> Operation {
    let from = view.replicas();
    let pod = view.names.pod(from - 1);
    let node_id = view.member(&pod).map(|node| node.node_id.to_string());
    // A pod that is no member has nothing to give away.
    let phase = match node_id {
        Some(_) => Phase::Cordoning,
        None => Phase::Shrinking,
    };
    let mut operation = started(view, OperationKind::Shrink, phase, (from, from - 1));
    (operation.pods, operation.node_id) = (vec![pod], node_id);
    operation
}

/// Whether the node may still stay: it is wanted again, and still a member.
pub(super) fn may_cancel(view: &View, operation: &Operation) -> bool {
    use Phase::{Cordoning, Draining, Verifying};
    view.spec.nodes() >= operation.from
        && matches!(operation.phase, Cordoning | Draining | Verifying)
}

/// The node that was to go stays.
pub(super) fn cancellation(view: &View, operation: &Operation) -> Operation {
    let (from, to) = (operation.to, operation.from);
    let mut cancel = started(view, OperationKind::Cancel, Phase::Uncordoning, (from, to));
    (cancel.pods, cancel.node_id) = (operation.pods.clone(), operation.node_id.clone());
    cancel.suspended = operation.suspended.clone();
    cancel
}

pub(super) fn cancel(view: &View, operation: &Operation) -> Step {
    let id = operation.node_id.clone().unwrap_or_default();
    match view.member_by_id(&id) {
        Some(node) if node.duty == NodeDuty::Serving => Step::End(format!("{} stays", node.name)),
        Some(_) => duty(view, &id, NodeDuty::Serving),
        None => waits(operation, "the cluster does not answer"),
    }
}

pub(super) fn step(view: &View, operation: &Operation) -> Step {
    let id = operation.node_id.clone().unwrap_or_default();
    if matches!(operation.phase, Phase::Shrinking | Phase::Retiring) {
        return without_pod(view, operation);
    }
    if let Err(why) = &view.cluster {
        return waits(operation, format!("the cluster does not answer: {why}"));
    }
    let Some(node) = view.member_by_id(&id) else {
        // It is removed, and the answer was lost or the operator was.
        return advanced(view, operation, Phase::Shrinking);
    };
    match (operation.phase, node.duty) {
        (Phase::Cordoning, NodeDuty::Serving) => duty(view, &id, NodeDuty::Cordoned),
        (Phase::Cordoning, _) => advanced(view, operation, Phase::Draining),
        (Phase::Draining, NodeDuty::Draining) if node.slots == 0 => {
            advanced(view, operation, Phase::Verifying)
        }
        (Phase::Draining, NodeDuty::Draining) => draining(view, operation, node),
        (Phase::Draining, _) => duty(view, &id, NodeDuty::Draining),
        (Phase::Verifying, _) => verifying(view, operation, node),
        _ => Step::Act(Act::RemoveNode {
            node: id,
            narrower: narrower(view),
        }),
    }
}

fn narrower(view: &View) -> bool {
    view.spec
        .scale_down
        .as_ref()
        .is_some_and(|down| down.allow_narrower)
}

pub(super) fn duty(view: &View, node: &str, duty: NodeDuty) -> Step {
    Step::Act(Act::SetDuty {
        node: node.to_owned(),
        duty,
        narrower: duty == NodeDuty::Draining && narrower(view),
    })
}

/// It gives its data away; what does not go on for long is said, with the cluster's own words.
fn draining(view: &View, operation: &Operation, node: &NodeStatus) -> Step {
    let down = view.spec.scale_down.clone().unwrap_or_default();
    let slots = i64::try_from(node.slots).unwrap_or(i64::MAX);
    let still = view.now - operation.progress_at;
    let less = operation.left.is_none_or(|before| slots < before);
    if !less && still > down.stall_after() {
        let work = view
            .cluster
            .as_ref()
            .ok()
            .and_then(|cluster| cluster.status.work.clone());
        let notes = work.map(|work| work.notes.join(" ")).unwrap_or_default();
        return Step::Hold(Hold {
            condition: "Stalled",
            reason: "DrainStalled",
            message: format!(
                "{} still has {slots} slots, as {still} s ago; set spec.storage.nodes to {} to keep it. {notes}",
                node.name, operation.from
            ),
        });
    }
    left(
        view,
        operation,
        slots,
        format!("{} gives away {slots} slots", node.name),
    )
}

fn verifying(view: &View, operation: &Operation, node: &NodeStatus) -> Step {
    if node.slots > 0 {
        return advanced(view, operation, Phase::Draining);
    }
    match view.fully_redundant() {
        Ok(()) => advanced(view, operation, Phase::Removing),
        Err(why) => waits(operation, format!("{} is empty, but: {why}", node.name)),
    }
}

/// The member is removed: its pod goes, then its claim is marked.
fn without_pod(view: &View, operation: &Operation) -> Step {
    let ordinal = operation.to.min(operation.from);
    if operation.phase == Phase::Shrinking {
        if view.replicas() == operation.from {
            return Step::Act(Act::Shrink {
                from: operation.from,
                to: operation.to,
            });
        }
        return match view.pods.get(&ordinal) {
            Some(pod) => waits(operation, format!("{} stops", pod.name)),
            None => advanced(view, operation, Phase::Retiring),
        };
    }
    let retention = view.spec.volume_retention.clone().unwrap_or_default();
    match view.claims.get(&ordinal) {
        Some(claim) if !claim.retired && !claim.deleting => Step::Act(Act::Retire {
            claim: claim.name.clone(),
            uid: claim.uid.clone(),
            delete: retention.on_scale_down == Some(RetentionPolicy::Delete),
        }),
        _ => Step::End(format!(
            "{} is gone: {} nodes",
            view.names.pod(ordinal),
            operation.to
        )),
    }
}
