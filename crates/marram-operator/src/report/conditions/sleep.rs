//! Whether a cluster sleeps.

use super::{Said, said};
use crate::api::{MarramClusterStatus, OperationKind, Phase};
use crate::step::Hold;
use crate::view::View;

/// How far a hibernation is; none while the cluster is awake.
pub(in super::super) fn sleeps(status: &MarramClusterStatus) -> Option<Phase> {
    let operation = status.operation.as_ref()?;
    (operation.kind == OperationKind::Hibernate).then_some(operation.phase)
}

/// Whether the cluster sleeps, and what it waits for on the way.
pub(super) fn hibernated(view: &View, status: &MarramClusterStatus, hold: Option<&Hold>) -> Said {
    let operation = status.operation.as_ref();
    if let (Some(phase), Some(operation)) = (sleeps(status), operation) {
        let message = match operation.message.as_str() {
            "" => &operation.summary,
            message => message,
        };
        let asleep = phase == Phase::Asleep;
        return said("Hibernated", asleep, &phase.to_string(), message);
    }
    if !view.spec.hibernate {
        return said("Hibernated", false, "Awake", "the cluster is not to sleep");
    }
    if let Some(hold) = hold.filter(|hold| hold.condition == "HibernationBlocked") {
        return said("Hibernated", false, hold.reason, &hold.message);
    }
    let message = match operation {
        Some(operation) => format!("first comes what is under way: {}", operation.summary),
        None => "the cluster is about to sleep".to_owned(),
    };
    said("Hibernated", false, "Waiting", message)
}
