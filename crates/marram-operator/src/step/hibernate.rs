//! All pods stop, and their volumes stay: the gateways first, then, when all data is proven to be redundant, the storage
//! pods, the last one first. Then the operation waits, written down, until the cluster is wanted again.

use crate::api::{Operation, OperationKind, Phase};
use crate::step::{Act, Hold, Step, advanced, started, upgrade, waits};
use crate::view::{View, is_up};

fn hold(reason: &'static str, message: String) -> Hold {
    Hold {
        condition: "HibernationBlocked",
        reason,
        message,
    }
}

/// Why the cluster cannot be put to sleep now; none where it can.
pub(super) fn blocked(view: &View) -> Option<Hold> {
    if let Err(why) = &view.cluster {
        return Some(hold(
            "ClusterUnavailable",
            format!(
                "the cluster does not answer, so nobody knows whether its data is redundant: {why}"
            ),
        ));
    }
    let members = view.members().count();
    let away: Vec<&str> = view
        .members()
        .filter(|node| !is_up(node))
        .map(|node| node.name.as_str())
        .collect();
    if !away.is_empty() {
        let message = format!(
            "{} of {members} members do not answer: {}; bring them back, or have them replaced, before the \
             cluster sleeps",
            away.len(),
            away.join(", ")
        );
        return Some(hold("MembersAway", message));
    }
    let why = view.fully_redundant().err()?;
    Some(hold(
        "NotRedundant",
        format!("not all data is redundant, and nothing would repair it meanwhile: {why}"),
    ))
}

/// It is written down which revision the pods run: they come back with it, and what was changed meanwhile is
/// rolled out then, pod by pod.
pub(super) fn begin(view: &View) -> Operation {
    let replicas = view.replicas();
    let mut operation = started(
        view,
        OperationKind::Hibernate,
        Phase::Closing,
        (replicas, 0),
    );
    operation.proven_revision = upgrade::running(view.pods.values());
    // Where they do not run it yet, the wanted template is none that they run.
    let applied = view.set.as_ref().and_then(|set| set.template.clone());
    operation.template_hash = applied.filter(|_| !upgrade::is_wanted(view));
    operation
}

pub(super) fn step(view: &View, operation: &Operation) -> Step {
    let early = matches!(operation.phase, Phase::Closing | Phase::Verifying);
    if early && !view.spec.hibernate {
        // Who was excused is not any more, or nothing would be rebuilt for it.
        let excused = excused(view);
        return match excused.is_empty() {
            true => Step::End("the cluster stays awake".to_owned()),
            false => Step::Act(Act::Readmit(excused)),
        };
    }
    match operation.phase {
        Phase::Closing => closing(view, operation),
        Phase::Verifying => verifying(view, operation),
        Phase::Stopping => stopping(view, operation),
        Phase::Asleep => asleep(view, operation),
        _ => waking(view, operation),
    }
}

/// Applications lose the gateways first: what they wrote by then is in what is proven.
fn closing(view: &View, operation: &Operation) -> Step {
    let left = view.gateways.pods.len();
    match left {
        0 if view.gateways.replicas.unwrap_or(0) == 0 => {
            advanced(view, operation, Phase::Verifying)
        }
        _ => waits(operation, format!("{left} gateways end their calls")),
    }
}

/// The members that answer, and would be excused for a while if they did not.
fn excused(view: &View) -> Vec<String> {
    view.members()
        .filter(|node| node.condition.maintenance_until_ms.is_some() && is_up(node))
        .map(|node| node.name.clone())
        .collect()
}

/// All data is redundant, and every member is excused, so that nothing is rebuilt because others stopped
/// before.
fn verifying(view: &View, operation: &Operation) -> Step {
    // Something more urgent may have been done meanwhile, and gateways served during it.
    if !view.gateways.pods.is_empty() {
        return advanced(view, operation, Phase::Closing);
    }
    if let Some(hold) = blocked(view) {
        return waits(operation, hold.message);
    }
    let excused: Vec<String> = view
        .members()
        .filter(|node| node.condition.maintenance_until_ms.is_none())
        .map(|node| node.name.clone())
        .collect();
    match excused.is_empty() {
        true => advanced(view, operation, Phase::Stopping),
        false => Step::Act(Act::Excuse(excused)),
    }
}

fn stopping(view: &View, operation: &Operation) -> Step {
    if !view.spec.hibernate {
        return advanced(view, operation, Phase::Waking);
    }
    let replicas = view.replicas();
    // Nothing has stopped yet: what was proven may have been long ago, if the operator was away since.
    let proven = || {
        let mut members = view.members();
        blocked(view).is_none() && members.all(|node| node.condition.maintenance_until_ms.is_some())
    };
    if replicas == operation.from && !proven() {
        return advanced(view, operation, Phase::Verifying);
    }
    if replicas > operation.to {
        return Step::Act(Act::Shrink {
            from: replicas,
            to: replicas - 1,
        });
    }
    match view.pods.len() {
        0 => advanced(view, operation, Phase::Asleep),
        left => waits(operation, format!("{left} pods stop")),
    }
}

fn asleep(view: &View, operation: &Operation) -> Step {
    if !view.spec.hibernate {
        return advanced(view, operation, Phase::Waking);
    }
    waits(
        operation,
        format!(
            "no pod runs, and {} volumes are kept; set spec.hibernate to false to wake the cluster",
            view.claims.values().filter(|claim| !claim.retired).count()
        ),
    )
}

/// The replicas follow from the phase. Who does not come back in its time is left to what replaces nodes.
fn waking(view: &View, operation: &Operation) -> Step {
    if view.replicas() < operation.from {
        return waits(operation, format!("{} pods are made", operation.from));
    }
    let timeout = view.spec.upgrade.clone().unwrap_or_default().node_timeout();
    let late = view.now - operation.phase_since > timeout;
    if let Err(why) = &view.cluster {
        if late {
            // Only a change of the specification may mend it, and none is rolled out before this ends.
            return Step::End(format!(
                "the cluster does not answer after its sleep: {why}"
            ));
        }
        let trouble = crate::step::create::trouble(view);
        return waits(
            operation,
            trouble.unwrap_or_else(|| format!("the cluster comes up: {why}")),
        );
    }
    let excused = excused(view);
    if !excused.is_empty() {
        return Step::Act(Act::Readmit(excused));
    }
    let away: Vec<String> = (0..operation.from)
        .map(|ordinal| view.names.pod(ordinal))
        .filter(|name| !view.member(name).is_some_and(is_up))
        .collect();
    if away.is_empty() {
        return Step::End(format!("all {} nodes are back", operation.from));
    }
    let empty = |name: &String| {
        let pod = view.names.ordinal(name).and_then(|n| view.pods.get(&n));
        pod.is_some_and(|pod| pod.waits_for_token)
    };
    // A volume that is empty fills by replacing its node, which is an operation of its own.
    match late || away.iter().all(empty) {
        true => Step::End(format!(
            "the cluster is awake, without {} of its {} nodes: {}",
            away.len(),
            operation.from,
            away.join(", ")
        )),
        false => {
            let trouble = crate::step::create::trouble(view);
            waits(
                operation,
                trouble.unwrap_or_else(|| format!("these come back: {}", away.join(", "))),
            )
        }
    }
}
