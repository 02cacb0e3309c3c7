//! Volumes get larger, with their pods running: claims are told so, file systems follow, and at last the
//! StatefulSet is made anew around its pods, because the size in its template cannot change.

use crate::api::{Operation, OperationKind, Phase};
use crate::size::bytes;
use crate::step::{Act, Hold, Step, advanced, started, waits};
use crate::view::{ClaimView, PodView, View, is_up};

/// Seconds after which a pod whose volume waits for a restart is restarted: with most classes it grows without.
const RESTART_SECONDS: i64 = 300;

fn wanted(view: &View) -> u128 {
    bytes(&view.spec.storage.volume.size).unwrap_or(0)
}

/// The claims of the pods that are there to stay.
fn claims(view: &View) -> impl Iterator<Item = (i32, &ClaimView)> {
    let used = view.claims.range(0..view.replicas().max(0));
    let used = used.map(|(ordinal, claim)| (*ordinal, claim));
    used.filter(|(_, claim)| !claim.retired && !claim.deleting && !claim.lost)
}

fn is_smaller(size: Option<&String>, wanted: u128) -> bool {
    size.and_then(|size| bytes(size))
        .is_some_and(|size| size < wanted)
}

/// Whether any volume is smaller than it is wanted, or would be made so.
pub(crate) fn is_wanted(view: &View) -> bool {
    let wanted = wanted(view);
    let set = view.set.as_ref().filter(|set| !set.deleting);
    let Some(set) = set else {
        return false;
    };
    let smaller = |(_, claim): (i32, &ClaimView)| is_smaller(claim.requested.as_ref(), wanted);
    view.replicas() > 0
        && (is_smaller(set.claim_size.as_ref(), wanted) || claims(view).any(smaller))
}

/// Why they cannot get larger; none where they can.
pub(super) fn blocked(view: &View) -> Option<Hold> {
    let size = &view.spec.storage.volume.size;
    let hold = |reason, message| {
        Some(Hold {
            condition: "ExpansionBlocked",
            reason,
            message,
        })
    };
    let wanted = wanted(view);
    let mut smaller =
        claims(view).filter(|(_, claim)| is_smaller(claim.requested.as_ref(), wanted));
    smaller.find_map(|(_, claim)| {
        let name = &claim.name;
        let Some(class) = &claim.class else {
            return hold(
                "NoClass",
                format!("{name} is to have {size}, and has no StorageClass by which it could grow"),
            );
        };
        match view.classes.get(class) {
            Some(true) => None,
            Some(false) => hold(
                "ClassCannotExpand",
                format!(
                    "{name} is to have {size}, and its StorageClass {class} does not say \
                     allowVolumeExpansion: true: say so there, if its provisioner can do it; until then the \
                     volumes stay as they are"
                ),
            ),
            None => hold(
                "ClassMissing",
                format!("{name} is to have {size}, and its StorageClass {class} is not there"),
            ),
        }
    })
}

pub(super) fn begin(view: &View) -> Operation {
    let replicas = view.replicas();
    started(
        view,
        OperationKind::Expand,
        Phase::Resizing,
        (replicas, replicas),
    )
}

pub(super) fn step(view: &View, operation: &Operation) -> Step {
    match operation.phase {
        Phase::Resizing => resizing(view, operation),
        _ => templating(view, operation),
    }
}

/// Whether no volume has got larger for so long that it may never do so: other operations begin meanwhile.
pub(super) fn stands_still(view: &View, operation: &Operation) -> bool {
    let stall = view.spec.scale_down.clone().unwrap_or_default();
    operation.phase == Phase::Resizing && view.now - operation.progress_at > stall.stall_after()
}

fn resizing(view: &View, operation: &Operation) -> Step {
    let wanted = wanted(view);
    let size = view.spec.storage.volume.size.clone();
    let told = claims(view).find(|(_, claim)| is_smaller(claim.requested.as_ref(), wanted));
    if let Some((_, claim)) = told {
        return match blocked(view) {
            Some(hold) => Step::Hold(hold),
            None => Step::Act(Act::Resize {
                claim: claim.name.clone(),
                uid: claim.uid.clone(),
                size,
            }),
        };
    }
    let small: Vec<(i32, &ClaimView)> = claims(view)
        .filter(|(_, claim)| is_smaller(claim.capacity.as_ref(), wanted))
        .collect();
    let Some((_, first)) = small.first() else {
        return advanced(view, operation, Phase::Templating);
    };
    if let Some(step) = restart(view, operation, &small) {
        return step;
    }
    let count = claims(view).count();
    let names: Vec<&str> = small.iter().map(|(_, claim)| claim.name.as_str()).collect();
    let mut message = format!(
        "{} of {count} volumes have {size}; these grow: {}",
        count - small.len(),
        names.join(", ")
    );
    let trouble = small
        .iter()
        .find_map(|(_, claim)| Some((&claim.name, claim.resize_trouble.as_ref()?)));
    if let Some((name, trouble)) = trouble {
        message = format!("{name} does not grow: {trouble}");
    }
    let still = view.now - operation.progress_at;
    let left = i64::try_from(small.len()).unwrap_or(i64::MAX);
    let less = operation.left.is_none_or(|before| left < before);
    if !less && stands_still(view, operation) {
        return Step::Hold(Hold {
            condition: "Stalled",
            reason: "ResizeStalled",
            message: format!("{} has not got {size} for {still} s: {message}", first.name),
        });
    }
    super::left(view, operation, left, message)
}

/// A volume that grows only when its pod starts again: one pod at a time, each once, while all data is redundant.
fn restart(view: &View, operation: &Operation, small: &[(i32, &ClaimView)]) -> Option<Step> {
    let old = |pod: &&PodView| pod.created_at < operation.phase_since && !pod.deleting;
    let back = |pod: &PodView| {
        let member = view.member(&pod.name).filter(|member| is_up(member));
        member.is_some_and(|member| member.condition.maintenance_until_ms.is_some())
    };
    if let Some(pod) = view.pods.values().find(|pod| !old(pod) && back(pod)) {
        return Some(Step::Act(Act::Readmit(vec![pod.name.clone()])));
    }
    if view.now - operation.phase_since < RESTART_SECONDS || view.fully_redundant().is_err() {
        return None;
    }
    let waits = small.iter().filter(|(_, claim)| claim.resize_pending);
    let pod = waits
        .filter_map(|(ordinal, _)| view.pods.get(ordinal))
        .find(old)?;
    Some(Step::Act(Act::Restart {
        pods: vec![(pod.name.clone(), pod.uid.clone())],
        margin: 0,
    }))
}

/// The StatefulSet goes without its pods, and is made anew with the size that is wanted.
fn templating(view: &View, operation: &Operation) -> Step {
    let size = &view.spec.storage.volume.size;
    let Some(set) = &view.set else {
        return waits(operation, "the StatefulSet is made anew around its pods");
    };
    if set.deleting || !set.is_current {
        return waits(operation, "the StatefulSet takes its pods over");
    }
    if is_smaller(set.claim_size.as_ref(), wanted(view)) {
        return Step::Act(Act::Orphan {
            uid: set.uid.clone(),
        });
    }
    if view.pods.len() < usize::try_from(operation.from).unwrap_or(0) {
        return waits(operation, "the StatefulSet takes its pods over");
    }
    match is_wanted(view) {
        true => advanced(view, operation, Phase::Resizing),
        false => Step::End(format!("all volumes have {size}")),
    }
}
