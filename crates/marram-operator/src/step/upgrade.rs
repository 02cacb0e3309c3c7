//! Pods of an old template are replaced, one after the other, domain after domain. A pod that does not come
//! back, with all data redundant, gives the whole upgrade up: the pods before it are proven.

use std::collections::BTreeMap;

use marram_client::NodeStatus;

use crate::api::{Operation, OperationKind, Phase};
use crate::step::{Act, Hold, Step, advanced, started, waits};
use crate::view::{PodView, SetView, View, is_up};

/// The pods of an old template; none while the StatefulSet's controller has not seen the newest.
fn stale(view: &View) -> Vec<&PodView> {
    let Some(set) = view.set.as_ref().filter(|set| set.is_current) else {
        return Vec::new();
    };
    let old = |pod: &&PodView| pod.revision != set.update_revision && !pod.deleting;
    view.pods.values().filter(old).collect()
}

/// Whether there is anything to replace.
pub(super) fn is_wanted(view: &View) -> bool {
    !stale(view).is_empty()
}

pub(super) fn begin(view: &View) -> Operation {
    let replicas = view.replicas();
    let mut operation = started(
        view,
        OperationKind::Upgrade,
        Phase::Choosing,
        (replicas, replicas),
    );
    operation.proven_revision = running(stale(view));
    operation.template_hash = Some(view.template_hash.clone());
    operation
}

/// What most of the healthy of these pods run: it is known to work.
pub(super) fn running<'a>(pods: impl IntoIterator<Item = &'a PodView>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in pods.into_iter().filter(|pod| pod.ready) {
        *counts.entry(&pod.revision).or_default() += 1;
    }
    let proven = counts.into_iter().max_by_key(|(_, count)| *count);
    proven.map(|(revision, _)| revision.to_owned())
}

pub(super) fn step(view: &View, operation: &Operation) -> Step {
    let Some(set) = view.set.as_ref().filter(|set| set.is_current) else {
        return waits(
            operation,
            "the StatefulSet's controller takes the template up",
        );
    };
    // Another template is wanted now: what was proven is still the same.
    if operation.template_hash.as_ref() != Some(&view.template_hash) {
        let mut next = operation.clone();
        next.template_hash = Some(view.template_hash.clone());
        next.pods.clear();
        return advanced(view, &next, Phase::Choosing);
    }
    match operation.phase {
        Phase::Restarting => restarting(view, operation, set),
        _ => choosing(view, operation, set),
    }
}

fn choosing(view: &View, operation: &Operation, set: &SetView) -> Step {
    let stale = stale(view);
    let member_is_up = |pod: &PodView| view.member(&pod.name).is_some_and(is_up);
    // A pod that is broken has nothing to lose, and must not stand in its own way.
    if let Some(pod) = stale.iter().find(|pod| !pod.ready && !member_is_up(pod)) {
        return Step::Act(Act::DeletePod {
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            force: false,
        });
    }
    let away: Vec<&str> = view
        .pods
        .values()
        .filter(|pod| pod.deleting || !member_is_up(pod))
        .map(|pod| pod.name.as_str())
        .collect();
    if !away.is_empty() || view.pods.len() < usize::try_from(set.replicas).unwrap_or(0) {
        if let Some(step) = overdue(view, operation, set) {
            return step;
        }
        return waits(
            operation,
            format!("all members answer first: not {}", away.join(", ")),
        );
    }
    let Some(pod) = first(view, &stale) else {
        return Step::End(format!("all {} pods run the new template", view.pods.len()));
    };
    if let Err(why) = view.fully_redundant() {
        return waits(operation, format!("before {} restarts: {why}", pod.name));
    }
    let mut next = operation.clone();
    next.pods = vec![pod.name.clone()];
    advanced(view, &next, Phase::Restarting)
}

/// The pod that is next: one of a domain that was begun with, and of the root group's leader's domain last.
fn first<'a>(view: &View, stale: &[&'a PodView]) -> Option<&'a PodView> {
    let zone = |pod: &PodView| view.zone(pod).unwrap_or_default();
    let leader = view.cluster.as_ref().ok().and_then(|cluster| {
        let root = cluster
            .status
            .groups
            .iter()
            .find(|group| group.group == 0)?;
        let leader = root.leader_node_id?;
        cluster
            .status
            .nodes
            .iter()
            .find(|node| node.node_id == leader)
    });
    let leads = |pod: &PodView| leader.is_some_and(|leader| leader.name == pod.name);
    let leads_in = |pod: &PodView| leader.is_some_and(|leader| leader.zone == zone(pod));
    let begun = |pod: &PodView| {
        let fresh = |other: &&PodView| !stale.iter().any(|s| s.name == other.name);
        view.pods
            .values()
            .filter(fresh)
            .any(|other| zone(other) == zone(pod))
    };
    let urgency = |pod: &&&PodView| {
        (
            leads(pod),
            leads_in(pod),
            !begun(pod),
            zone(pod),
            pod.name.clone(),
        )
    };
    stale.iter().min_by_key(urgency).copied()
}

fn restarting(view: &View, operation: &Operation, set: &SetView) -> Step {
    let name = operation.pods.first().cloned().unwrap_or_default();
    let pod = view
        .names
        .ordinal(&name)
        .and_then(|ordinal| view.pods.get(&ordinal));
    let Some(pod) = pod.filter(|pod| !pod.deleting) else {
        return waits(operation, format!("{name} stops"));
    };
    if pod.revision != set.update_revision {
        return Step::Act(Act::Restart {
            pods: vec![(name, pod.uid.clone())],
            margin: 0,
        });
    }
    let is_back = pod.ready && view.member(&name).is_some_and(is_up);
    let excused = |member: &NodeStatus| member.condition.maintenance_until_ms.is_some();
    if is_back && view.member(&name).is_some_and(excused) {
        return Step::Act(Act::Readmit(vec![name]));
    }
    let why = match (is_back, view.fully_redundant()) {
        (true, Ok(())) => return advanced(view, operation, Phase::Choosing),
        (true, Err(why)) => format!("{name} is back: {why}"),
        (false, _) => {
            let trouble = pod.trouble.clone();
            format!(
                "{name} starts{}",
                trouble.map(|t| format!(": {t}")).unwrap_or_default()
            )
        }
    };
    overdue(view, operation, set).unwrap_or_else(|| waits(operation, why))
}

/// What is done when a new pod does not come back in its time.
fn overdue(view: &View, operation: &Operation, set: &SetView) -> Option<Step> {
    let timeout = view.spec.upgrade.clone().unwrap_or_default().node_timeout();
    let fails = |pod: &&PodView| {
        pod.revision == set.update_revision
            && !pod.deleting
            && view.now - pod.created_at > timeout
            && !(pod.ready && view.member(&pod.name).is_some_and(is_up))
    };
    let pod = view.pods.values().find(fails)?;
    let trouble = pod
        .trouble
        .clone()
        .unwrap_or_else(|| "it is not ready".to_owned());
    let reason = format!(
        "{} did not come back within {timeout} s: {trouble}",
        pod.name
    );
    Some(match &operation.proven_revision {
        Some(revision) if *revision != set.update_revision => Step::Act(Act::PutBack {
            reason,
            revision: revision.clone(),
        }),
        _ => Step::Hold(Hold {
            condition: "UpgradePaused",
            reason: "NothingProven",
            message: format!("{reason}; and no pods before it are known to have worked"),
        }),
    })
}
