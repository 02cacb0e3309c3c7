//! One mutation of an object, with patience for a bucket that is sealed for a moment.

use std::time::{Duration, Instant};

use marram_meta::{ObjectCommand, ObjectOutcome, QuotaRefusal, Refusal};
use marram_types::{GroupId, RequestId};

use crate::core::Core;
use crate::groups::GroupError;
use crate::pace;
use crate::quota::{self, Room};

/// How long a mutation waits for a seal to be lifted, or for its group to learn of the bucket
/// (rules.md 12).
const SEAL_WAIT: Duration = Duration::from_secs(2);

/// How long a mutation waits for parts of its bucket's quota that other groups have.
const ROOM_WAIT: Duration = Duration::from_secs(8);

/// Has a group carry out `command`.
pub(crate) async fn mutate(
    core: &Core,
    group: GroupId,
    request: RequestId,
    command: &ObjectCommand,
) -> Result<ObjectOutcome, GroupError> {
    let began = Instant::now();
    let deadline = began + SEAL_WAIT;
    loop {
        let outcome = core.command(group, request, command).await?;
        match &outcome {
            ObjectOutcome::Refused(Refusal::Quota(QuotaRefusal::OverLease(over))) => {
                let room = match command.adds_to() {
                    Some((bucket, _)) => quota::make_room(core, group, bucket, over).await,
                    None => Ok(Room::Later),
                };
                match room {
                    Ok(Room::Made) if began.elapsed() < ROOM_WAIT => {}
                    Ok(Room::Later) if began.elapsed() < ROOM_WAIT => pace::seal_poll().await,
                    room => {
                        // Nothing will be sent again: what was written goes (rules.md 27).
                        quota::give_up(core, group, command).await;
                        return match room? {
                            Room::Full(full) => Ok(ObjectOutcome::Refused(full.into())),
                            Room::Made | Room::Later => Ok(outcome),
                        };
                    }
                }
            }
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
