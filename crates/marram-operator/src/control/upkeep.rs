//! What follows from what is seen, without an operation: labels of pods, marks of claims, budgets.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;

use super::error::ReconcileError;
use super::kube_api::{LABELS, Objects};
use super::observe::Seen;
use crate::api::OperationKind;
use crate::build;
use crate::names::{DOMAIN_LABEL, NODE_ANNOTATION};
use crate::view::{View, is_up};

/// Labels pods with their failure domain, and marks claims with the member whose data is on them.
pub(super) async fn labels(objects: &Objects, view: &View) -> Result<(), ReconcileError> {
    for (ordinal, pod) in &view.pods {
        let zone = view
            .zone(pod)
            .filter(|zone| pod.domain.as_ref() != Some(zone));
        if let Some(zone) = zone.filter(|_| !pod.deleting) {
            let patch = json!({ "metadata": { "labels": { DOMAIN_LABEL: zone } } });
            objects.merge::<Pod>(&pod.name, LABELS, &patch).await?;
        }
        let up = view
            .member(&pod.name)
            .filter(|member| is_up(member) && pod.ready && !pod.deleting);
        let (Some(member), Some(claim)) = (up, view.claims.get(ordinal)) else {
            continue;
        };
        let id = member.node_id.to_string();
        if claim.node_id.as_ref() != Some(&id) && !claim.deleting {
            let patch = json!({ "metadata": { "annotations": { NODE_ANNOTATION: id } } });
            objects
                .merge::<PersistentVolumeClaim>(&claim.name, LABELS, &patch)
                .await?;
        }
    }
    Ok(())
}

/// The failure domain that may be emptied now: the one that was begun with, until all of it is back and all
/// data is redundant; else one of a host that is being drained.
pub(super) fn open_domain(view: &View) -> Option<String> {
    let drained = |zone: &str| {
        view.pods.values().any(|pod| {
            let host = pod.host.as_ref().and_then(|host| view.hosts.get(host));
            host.is_some_and(|host| host.cordoned) && view.zone(pod).as_deref() == Some(zone)
        })
    };
    let away = |zone: &str| {
        view.members()
            .any(|member| member.zone == zone && !is_up(member))
    };
    let open = view.status.open_domain.as_ref();
    if let Some(zone) = open
        && (drained(zone) || away(zone) || view.fully_redundant().is_err())
    {
        return Some(zone.clone());
    }
    if view.fully_redundant().is_err() {
        return None;
    }
    let mut zones: Vec<String> = view
        .pods
        .values()
        .filter_map(|pod| view.zone(pod))
        .collect();
    zones.sort();
    zones.into_iter().find(|zone| drained(zone))
}

/// Applies the budgets, and deletes those of domains that are no more.
pub(super) async fn budgets(objects: &Objects, seen: &Seen) -> Result<(), ReconcileError> {
    let view = &seen.view;
    let mut pods: BTreeMap<String, usize> = BTreeMap::new();
    for pod in view.pods.values() {
        if let Some(domain) = pod.domain.clone().or_else(|| view.zone(pod)) {
            *pods.entry(domain).or_default() += 1;
        }
    }
    let wanted = match view.spec.disruption.clone().unwrap_or_default().budgets() {
        true => {
            let open = view.status.open_domain.as_deref();
            let whole = match open {
                Some(zone) => may_stop(seen, zone).await,
                None => false,
            };
            let closed = view.fully_redundant().is_err() || changes(view);
            build::budgets(&pods, open.map(|zone| (zone, whole)), closed)
        }
        false => Vec::new(),
    };
    for budget in &wanted {
        objects.apply(&build::budget(&view.names, budget)).await?;
    }
    let names: Vec<String> = wanted
        .iter()
        .map(|b| view.names.budget(&b.domain))
        .collect();
    let selected = ListParams::default().labels(&view.names.selector_text());
    let there = objects.of::<PodDisruptionBudget>().list(&selected).await;
    let there = there.map_err(ReconcileError::kubernetes("list the budgets"))?;
    for budget in there {
        let (name, uid) = (budget.name_any(), budget.uid().unwrap_or_default());
        if !names.contains(&name) {
            objects
                .delete::<PodDisruptionBudget>(&name, &uid, false)
                .await?;
        }
    }
    Ok(())
}

/// Whether an operation is under way that bears no eviction. Reading and moving data do, for as long as all of
/// it is redundant: they may take days.
fn changes(view: &View) -> bool {
    let operation = view.status.operation.as_ref();
    operation.is_some_and(|it| !matches!(it.kind, OperationKind::Rebalance | OperationKind::Scrub))
}

/// Whether all of a domain may stop at once.
async fn may_stop(seen: &Seen, zone: &str) -> bool {
    let Some(client) = &seen.cluster else {
        return false;
    };
    let members = seen.view.members().filter(|member| member.zone == zone);
    let names: Vec<String> = members.map(|member| member.name.clone()).collect();
    client
        .ok_to_stop(&names, 0)
        .await
        .is_ok_and(|answer| answer.ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Phase;
    use crate::step::tests::{operation, resting};

    #[test]
    fn what_takes_days_stands_against_no_eviction() {
        let at = |kind, phase| resting(3).at(operation(kind, phase, 3, 3));
        assert!(!changes(&resting(3)));
        assert!(!changes(&at(OperationKind::Scrub, Phase::Reading)));
        assert!(!changes(&at(OperationKind::Rebalance, Phase::Moving)));
        assert!(changes(&at(OperationKind::Drain, Phase::Draining)));
        assert!(changes(&at(OperationKind::Upgrade, Phase::Restarting)));
    }

    #[test]
    fn one_domain_is_open_until_it_is_whole_again() {
        let view = resting(6);
        assert_eq!(open_domain(&view), None);
        let drained = view.with(|view| view.hosts.get_mut("n1").expect("host").cordoned = true);
        assert_eq!(open_domain(&drained).as_deref(), Some("z1"));
        // Another host is drained meanwhile: its domain waits.
        let both = drained.with(|view| {
            view.status.open_domain = Some("z1".into());
            view.hosts.get_mut("n0").expect("host").cordoned = true;
        });
        assert_eq!(open_domain(&both).as_deref(), Some("z1"));
        let back = both.with(|view| view.hosts.get_mut("n1").expect("host").cordoned = false);
        let away = back.clone().with(|view| view.dies(1, 5));
        assert_eq!(open_domain(&away).as_deref(), Some("z1"));
        let moving = back.clone().with(|view| view.degrades("repairs wait"));
        assert_eq!(open_domain(&moving).as_deref(), Some("z1"));
        assert_eq!(
            open_domain(&back).as_deref(),
            Some("z0"),
            "whole again: the next"
        );
        // None is opened while data is not redundant.
        let never = resting(6).with(|view| {
            view.hosts.get_mut("n1").expect("host").cordoned = true;
            view.degrades("repairs wait");
        });
        assert_eq!(open_domain(&never), None);
    }
}
