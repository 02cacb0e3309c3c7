//! One mutation of an object, with patience for a bucket that is sealed for a moment.

use std::time::{Duration, Instant};

use marram_meta::{ObjectCommand, ObjectOutcome, Refusal};
use marram_types::{GroupId, RequestId};

use crate::core::Core;
use crate::groups::GroupError;
use crate::pace;

/// How long a mutation waits for a seal to be lifted, or for its group to learn of the bucket
/// (rules.md 12).
const SEAL_WAIT: Duration = Duration::from_secs(2);

/// Has a group carry out `command`.
pub(crate) async fn mutate(
    core: &Core,
    group: GroupId,
    request: RequestId,
    command: &ObjectCommand,
) -> Result<ObjectOutcome, GroupError> {
    let deadline = Instant::now() + SEAL_WAIT;
    loop {
        let outcome = core.command(group, request, command).await?;
        match &outcome {
            ObjectOutcome::Refused(refusal) if may_pass(refusal) && Instant::now() < deadline => {
                pace::seal_poll().await;
            }
            _ => return Ok(outcome),
        }
    }
}

/// Refusals that the next moment may lift.
fn may_pass(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::BucketSealed { .. } | Refusal::BucketUnknown { .. } | Refusal::PoolUnknown { .. }
    )
}
