//! What is said of a ClusterOperation.

use crate::api::{
    ClusterOperation, ClusterOperationStatus, MarramClusterStatus, Operation, Request, RequestPhase,
};
use crate::step::{Verdict, verdict};
use crate::tenant::Hold;
use crate::tenant::said::{State, conditions, time};
use crate::view::{RequestView, View};

/// Longest sentence.
const MESSAGE_MAX: usize = 1000;

/// What is said of it now. `status` is the cluster's as it will be written; `ended` says how the operation
/// that was done for it ended, where it did just now.
#[must_use]
pub fn request(
    view: &View,
    status: &MarramClusterStatus,
    (resource, request): (&ClusterOperation, &RequestView),
    ended: Option<&str>,
) -> (ClusterOperationStatus, State) {
    let before = resource.status.clone().unwrap_or_default();
    let operation = status.operation.as_ref();
    let is = |asked: Option<&Request>| asked == Some(&request.request);
    let own = operation.filter(|operation| is(operation.request.as_ref()));
    let waits = operation.is_some_and(|operation| {
        let mut waiting = operation.suspended.iter();
        waiting.any(|waiting| is(waiting.request.as_ref()))
    });
    let (phase, message) = match (ended, own) {
        (Some(note), _) => (RequestPhase::Succeeded, note.to_owned()),
        (None, Some(operation)) => (RequestPhase::Running, doing(operation)),
        (None, None) if waits => (RequestPhase::Running, turn(operation)),
        (None, None) => match verdict(view, request) {
            Verdict::Begins => (RequestPhase::Pending, turn(operation)),
            Verdict::Waits(why) => (RequestPhase::Pending, why),
            Verdict::Fails(why) => (RequestPhase::Failed, why),
        },
    };
    let mut next = before.clone();
    next.observed_generation = resource.metadata.generation;
    next.phase = phase;
    next.message = message.chars().take(MESSAGE_MAX).collect();
    if phase != RequestPhase::Pending && next.started_at.is_none() {
        next.started_at = Some(time(view.now));
    }
    if let Some(left) = own.and_then(|operation| operation.left) {
        let total = before.total.unwrap_or(0).max(left);
        next.total = Some(total);
        next.progress = ((total - left) * 100)
            .checked_div(total)
            .map(|share| format!("{share}%"));
    }
    let over = matches!(phase, RequestPhase::Succeeded | RequestPhase::Failed);
    if over {
        next.finished_at = Some(time(view.now));
    }
    if phase == RequestPhase::Succeeded {
        next.progress = Some("100%".to_owned());
    }
    let state = match phase {
        RequestPhase::Succeeded => State::Ready(next.message.clone()),
        RequestPhase::Failed => State::Held(Hold::stalled("Failed", next.message.clone())),
        RequestPhase::Pending => State::Held(Hold::waits("Pending", next.message.clone())),
        RequestPhase::Running => State::Working(next.message.clone()),
    };
    let when = (resource.metadata.generation, view.now);
    next.conditions = conditions(&before.conditions, &state, when);
    (next, state)
}

fn doing(operation: &Operation) -> String {
    match operation.message.as_str() {
        "" => operation.summary.clone(),
        message => format!("{}: {message}", operation.summary),
    }
}

fn turn(operation: Option<&Operation>) -> String {
    match operation {
        Some(operation) => format!("first comes what is under way: {}", operation.summary),
        None => "its turn comes".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{OperationKind, OperationType, Phase};
    use crate::step::tests::requests::asks;
    use crate::step::tests::{operation, resting};

    fn resource() -> ClusterOperation {
        serde_json::from_str(
            r#"{"metadata":{"name":"one","namespace":"data","generation":1},
                "spec":{"clusterRef":{"name":"store"},"type":"Rebalance"}}"#,
        )
        .expect("valid")
    }

    fn said(
        view: &View,
        resource: &ClusterOperation,
        ended: Option<&str>,
    ) -> ClusterOperationStatus {
        let request_view = asks(OperationType::Rebalance, None);
        request(view, &view.status, (resource, &request_view), ended).0
    }

    #[test]
    fn it_waits_runs_and_is_over() {
        let grows = resting(3).at(operation(OperationKind::Grow, Phase::Joining, 3, 4));
        let status = said(&grows, &resource(), None);
        assert_eq!(status.phase, RequestPhase::Pending);
        assert_eq!(
            status.message,
            "first comes what is under way: Grow 3->4 Joining"
        );
        assert!(status.started_at.is_none());

        let mut op = operation(OperationKind::Rebalance, Phase::Moving, 3, 3);
        op.request = Some(asks(OperationType::Rebalance, None).request);
        (op.left, op.message) = (Some(8), "8 groups move".into());
        let status = said(&resting(3).at(op.clone()), &resource(), None);
        assert_eq!(
            (status.phase, status.total),
            (RequestPhase::Running, Some(8))
        );
        assert_eq!(status.progress.as_deref(), Some("0%"));
        assert!(
            status.message.ends_with(": 8 groups move"),
            "{}",
            status.message
        );

        let mut resource = resource();
        resource.status = Some(status.clone());
        op.left = Some(2);
        let later = said(&resting(3).at(op), &resource, None);
        assert_eq!(later.progress.as_deref(), Some("75%"));
        assert_eq!(later.started_at, status.started_at);

        let over = said(&resting(3), &resource, Some("balanced"));
        assert_eq!(over.phase, RequestPhase::Succeeded);
        assert_eq!(over.message, "balanced");
        assert!(over.finished_at.is_some());
        let ready = over.conditions.iter().find(|c| c.type_ == "Ready");
        assert_eq!(ready.expect("said").status, "True");
    }

    #[test]
    fn one_that_cannot_be_is_over_at_once() {
        let view = resting(3);
        let request_view = asks(OperationType::ReplaceNode, Some("store-9"));
        let (status, _) = request(&view, &view.status, (&resource(), &request_view), None);
        assert_eq!(status.phase, RequestPhase::Failed);
        assert_eq!(
            status.message,
            "there is no node store-9: they are called store-0 to store-2"
        );
        let stalled = status.conditions.iter().find(|c| c.type_ == "Stalled");
        assert_eq!(stalled.expect("said").status, "True");
    }
}
