//! The conditions of Buckets and AccessKeys, in kstatus' terms: `Ready`, `Reconciling` while something is under
//! way or waited for, `Stalled` where somebody has to do something.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::Hold;

/// Longest sentence of a condition.
const MESSAGE_MAX: usize = 1000;

/// How a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As it should be; in a sentence.
    Ready(String),
    /// Something was done, and is looked at again; in a sentence.
    Working(String),
    /// Something stands against it.
    Held(Hold),
}

/// A time as resources write it.
#[must_use]
pub fn time(seconds: i64) -> Time {
    Time(Timestamp::from_second(seconds).unwrap_or_default())
}

/// What is said now, with the times of what was said before and has not changed.
#[must_use]
pub fn conditions(
    before: &[Condition],
    state: &State,
    (generation, now): (Option<i64>, i64),
) -> Vec<Condition> {
    let condition = |kind: &str, holds: bool, reason: &str, message: &str| {
        let status = if holds { "True" } else { "False" };
        let old = before
            .iter()
            .find(|old| old.type_ == kind && old.status == status);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.chars().take(MESSAGE_MAX).collect(),
            observed_generation: generation,
            last_transition_time: old
                .map_or_else(|| time(now), |old| old.last_transition_time.clone()),
        }
    };
    let rests = ("AsExpected", "nothing is under way");
    let stands = ("AsExpected", "nothing stands still");
    let (ready, works, stalls) = match state {
        State::Ready(message) => (Some(message), None, None),
        State::Working(message) => (None, Some(("Working", message)), None),
        State::Held(hold) if hold.stalled => (None, None, Some((hold.reason, &hold.message))),
        State::Held(hold) => (None, Some((hold.reason, &hold.message)), None),
    };
    let (reason, message) = match (ready, works.or(stalls)) {
        (Some(message), _) => ("AsExpected", message.as_str()),
        (None, Some((reason, message))) => (reason, message.as_str()),
        (None, None) => rests,
    };
    let (work, stall) = (
        works.map(|(reason, message)| (reason, message.as_str())),
        stalls.map(|(reason, message)| (reason, message.as_str())),
    );
    let ((why_works, works_by), (why_stalls, stalls_by)) =
        (work.unwrap_or(rests), stall.unwrap_or(stands));
    vec![
        condition("Ready", ready.is_some(), reason, message),
        condition("Reconciling", work.is_some(), why_works, works_by),
        condition("Stalled", stall.is_some(), why_stalls, stalls_by),
    ]
}
