//! A cluster comes to be: keys, pods, one foundation, members. Or it was there already and is taken over with
//! its volumes, and never founded again.

use crate::api::{Operation, Phase};
use crate::step::{Act, Hold, Step, advanced, tokens, waits};
use crate::view::{View, is_up};

/// Whether volumes or keys of an earlier cluster are there: then nothing is founded.
pub(super) fn is_adopted(view: &View) -> bool {
    view.keys_exist || view.claims.values().any(|claim| !claim.retired)
}

/// Volumes without their keys: what is on them cannot be read, and must not be written over.
pub(super) fn without_keys(view: &View) -> Option<Hold> {
    let claims = view.claims.values().filter(|claim| !claim.retired).count();
    (claims > 0 && !view.keys_exist).then(|| Hold {
        condition: "DataLossRisk",
        reason: "KeysMissing",
        message: format!(
            "{claims} volumes of an earlier cluster are there, but not the Secret {} with its keys: restore \
             the Secret, or delete the claims data-{}-* to begin anew",
            view.names.keys(),
            view.names.name
        ),
    })
}

pub(super) fn step(view: &View, operation: &Operation) -> Step {
    match operation.phase {
        Phase::Keys if view.keys_exist => advanced(view, operation, Phase::Starting),
        Phase::Keys => Step::Act(Act::MakeKeys),
        Phase::Starting => starting(view, operation),
        Phase::Founding => founding(view, operation),
        _ => joining(view, operation),
    }
}

/// One of the pods that run founds the cluster: which one does not matter, but it is written down, so that
/// an operator that was killed asks the same one again.
fn starting(view: &View, operation: &Operation) -> Step {
    if view.status.cluster_id.is_some() {
        return advanced(view, operation, Phase::Joining);
    }
    if operation.node_id.as_deref() == Some(ADOPTED) {
        return adopting(view, operation);
    }
    let running = view.pods.values().find(|pod| {
        pod.running_since.is_some()
            && !pod.deleting
            && pod.address.is_some()
            && view.zone(pod).is_some()
    });
    let Some(pod) = running else {
        return waits(
            operation,
            trouble(view).unwrap_or_else(|| "pods start".to_owned()),
        );
    };
    if view.zones_are_mixed() {
        return waits(operation, mixed(view));
    }
    let mut next = operation.clone();
    next.pods = vec![pod.name.clone()];
    advanced(view, &next, Phase::Founding)
}

/// What stands for the member of an operation that takes volumes over.
pub(super) const ADOPTED: &str = "adopted";

fn adopting(view: &View, operation: &Operation) -> Step {
    match &view.cluster {
        Ok(cluster) => Step::Act(Act::Adopt {
            cluster_id: cluster.status.cluster_id.clone(),
        }),
        Err(why) if view.claims.is_empty() => waits(
            operation,
            format!(
                "the Secret {} of an earlier cluster is there, and no volume: delete the Secret to found a \
                 new cluster, or restore the volumes ({why})",
                view.names.keys()
            ),
        ),
        Err(why) => waits(
            operation,
            trouble(view).unwrap_or_else(|| {
                format!("the cluster on the volumes that were there comes up: {why}")
            }),
        ),
    }
}

fn founding(view: &View, operation: &Operation) -> Step {
    if view.status.cluster_id.is_some() {
        return advanced(view, operation, Phase::Joining);
    }
    let name = operation.pods.first().cloned().unwrap_or_default();
    let pod = view
        .names
        .ordinal(&name)
        .and_then(|ordinal| view.pods.get(&ordinal));
    match pod.and_then(|pod| Some((pod, view.zone(pod)?))) {
        Some((pod, zone)) if pod.running_since.is_some() && pod.address.is_some() => {
            Step::Act(Act::Found {
                pod: name,
                zone,
                nodes: u32::try_from(operation.to).unwrap_or(1),
            })
        }
        _ => waits(operation, format!("{name} starts, to found the cluster")),
    }
}

fn joining(view: &View, operation: &Operation) -> Step {
    if let Err(why) = &view.cluster {
        return waits(operation, format!("the cluster does not answer yet: {why}"));
    }
    if view.zones_are_mixed() {
        return waits(operation, mixed(view));
    }
    let pods: Vec<String> = (0..view.replicas()).map(|n| view.names.pod(n)).collect();
    if let Some(step) = tokens::tokens(view, &pods) {
        return step;
    }
    let missing: Vec<&str> = pods
        .iter()
        .filter(|pod| !view.member(pod).is_some_and(is_up))
        .map(String::as_str)
        .collect();
    if missing.is_empty() && view.replicas() >= operation.to {
        return Step::End(format!("the cluster has its {} nodes", pods.len()));
    }
    let waiting = format!("{} join: {}", missing.len(), missing.join(", "));
    waits(operation, trouble(view).unwrap_or(waiting))
}

/// What keeps a pod from running, with its name.
pub(super) fn trouble(view: &View) -> Option<String> {
    let troubled = |pod: &crate::view::PodView| {
        let trouble = pod.trouble.as_ref()?;
        Some(format!("{}: {trouble}", pod.name))
    };
    let of_set = || view.set.as_ref().and_then(|set| set.trouble.clone());
    view.pods.values().find_map(troubled).or_else(of_set)
}

pub(super) fn mixed(view: &View) -> String {
    format!(
        "some of the Kubernetes nodes with pods have the label {} and others do not: label all or none",
        view.spec.zone_label()
    )
}
