//! What buckets may hold: set by the root group, judged by each object group by its own lease, and leases
//! brought to where they are needed (decision 0053).
//!
//! Nothing here decides whether an object may be written. A group whose lease does not reach refuses, and this
//! asks the root for more of the quota in its name; where too little is free, other groups are asked to give
//! back what they do not use. The write is sent again then, and judged again.

use futures::future::try_join_all;
use futures::{StreamExt, stream};
use marram_meta::{
    Amount, Lease, LeaseCommand, Measure, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery,
    OverLease, QUOTA_SINCE, Quota, QuotaCommand, QuotaLeases, QuotaRefusal, RootCommand,
    RootOutcome, Usage,
};
use marram_metrics::QuotaFound;
use marram_proto::v1;
use marram_types::{BucketId, BucketName, GroupId};

use crate::core::Core;
use crate::decision::{DecisionError, decide};
use crate::groups::GroupError;
use crate::validate::{self, InvalidField};

/// Groups that are told to give back at once.
const RECLAIMS_AT_ONCE_MAX: usize = 16;

/// Says what a bucket may hold; answers when every object group knows it (rules.md 11).
pub(crate) async fn set(
    core: &Core,
    request: v1::SetQuotaRequest,
) -> Result<v1::Bucket, DecisionError> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let id = validate::request_id(request.request_id.as_ref())?;
    let quota = request.quota.unwrap_or_default();
    let limit =
        |limit: Option<u64>| limit.map_or_else(|| "any".to_owned(), |most| most.to_string());
    let (bytes, objects) = (limit(quota.bytes), limit(quota.objects));
    let command = RootCommand::Quota(QuotaCommand::Set {
        name: name.clone(),
        bytes: quota.bytes,
        objects: quota.objects,
    });
    let what = format!("quota of {bytes} bytes and {objects} objects");
    decide(core, (name, id), QUOTA_SINCE, &command, &what).await
}

/// What came of looking for a part of a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Room {
    /// The group's lease reaches further now.
    Made,
    /// Somebody else was faster, or not all is known yet: look again in a moment.
    Later,
    /// There is nothing left to be had.
    Full(QuotaRefusal),
}

/// Looks for a part of a bucket's quota, for a group whose lease does not reach.
pub(crate) async fn make_room(
    core: &Core,
    group: GroupId,
    bucket: BucketId,
    over: &OverLease,
) -> Result<Room, GroupError> {
    let (room, found) = look_for_room(core, group, bucket, over).await?;
    core.calls.quota_room(found);
    Ok(room)
}

async fn look_for_room(
    core: &Core,
    group: GroupId,
    bucket: BucketId,
    over: &OverLease,
) -> Result<(Room, QuotaFound), GroupError> {
    let _one_of_few = core.room_makers.acquire().await;
    let held = survey(core, bucket).await?;
    let used = held.iter().map(|(_, usage)| usage.held());
    let used = used.fold(Amount::default(), Amount::plus);
    if let Some(full) = exceeded(&over.quota, used, over.asked) {
        return Ok((Room::Full(full), QuotaFound::Full));
    }
    let Some(leases) = ask(core, group, bucket, over).await? else {
        return Ok((Room::Later, QuotaFound::Later));
    };
    if settled(core, group, over, &leases).await? {
        return Ok((Room::Made, QuotaFound::Free));
    }
    reclaim(core, group, over, &leases, &held).await?;
    match ask(core, group, bucket, over).await? {
        Some(leases) if settled(core, group, over, &leases).await? => {
            Ok((Room::Made, QuotaFound::Reclaimed))
        }
        _ => Ok((Room::Later, QuotaFound::Later)),
    }
}

/// What every group holds of a bucket.
async fn survey(core: &Core, bucket: BucketId) -> Result<Vec<(GroupId, Usage)>, GroupError> {
    let groups = core
        .object_groups()
        .map_err(|_| GroupError::Unavailable(GroupId::ROOT))?;
    let asked = (1..=groups).map(|group| of_group(core, GroupId(group), bucket));
    let asked: Vec<_> = asked.collect();
    try_join_all(asked).await
}

async fn of_group(
    core: &Core,
    group: GroupId,
    bucket: BucketId,
) -> Result<(GroupId, Usage), GroupError> {
    let query = ObjectQuery::Lease { bucket };
    match core.ask(group, &query, true).await? {
        ObjectAnswer::Lease { usage, .. } => Ok((group, usage)),
        _ => Err(GroupError::Kind(group)),
    }
}

/// Which limit would be exceeded, if any.
fn exceeded(quota: &Quota, used: Amount, asked: Amount) -> Option<QuotaRefusal> {
    let small = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
    let kinds = [Measure::Bytes, Measure::Objects].into_iter();
    let limits = kinds.zip(quota.limits());
    let amounts = used.each().into_iter().zip(asked.each());
    limits
        .zip(amounts)
        .find_map(|((what, limit), (used, asked))| {
            let limit = limit.filter(|limit| asked > 0 && used + asked > u128::from(*limit))?;
            Some(QuotaRefusal::Exceeded {
                what,
                limit,
                used: small(used),
                asked: small(asked),
            })
        })
}

/// Asks the root for what a group lacks. None while the root does not know yet what all groups hold.
async fn ask(
    core: &Core,
    group: GroupId,
    bucket: BucketId,
    over: &OverLease,
) -> Result<Option<QuotaLeases>, GroupError> {
    let command = RootCommand::Quota(QuotaCommand::Ask {
        bucket,
        group,
        since: over.quota.since,
        seen: over.granted,
        lack: over.lack,
    });
    match core.root_decision(&command).await? {
        RootOutcome::Leases(leases) => Ok(Some(leases)),
        RootOutcome::Refused(refusal) => {
            tracing::debug!(%bucket, %refusal, "the root does not share a quota now");
            Ok(None)
        }
        _ => Err(GroupError::Kind(GroupId::ROOT)),
    }
}

/// Tells the group what was granted to it, if that is more than it knew.
async fn settled(
    core: &Core,
    group: GroupId,
    over: &OverLease,
    leases: &QuotaLeases,
) -> Result<bool, GroupError> {
    let Some(lease) = leases.groups.get(&group) else {
        return Ok(false);
    };
    if lease.granted == over.granted {
        return Ok(false);
    }
    let settle = LeaseCommand::Settle {
        bucket: leases.bucket,
        since: over.quota.since,
        granted: lease.granted,
        give_back: false,
    };
    core.internal_command(group, &ObjectCommand::Lease(settle))
        .await?;
    Ok(true)
}

/// Has the other groups give back what they do not use, and tells the root.
async fn reclaim(
    core: &Core,
    group: GroupId,
    over: &OverLease,
    leases: &QuotaLeases,
    held: &[(GroupId, Usage)],
) -> Result<(), GroupError> {
    let idle = held.iter().filter_map(|(other, usage)| {
        let lease = leases.groups.get(other)?;
        let unused = lease.allotted().minus(usage.held());
        (*other != group && unused != Amount::default()).then_some((*other, lease.granted))
    });
    let asked: Vec<_> = idle
        .map(|(other, granted)| {
            let settle = LeaseCommand::Settle {
                bucket: leases.bucket,
                since: over.quota.since,
                granted,
                give_back: true,
            };
            give_back(core, other, settle)
        })
        .collect();
    let told: Vec<_> = stream::iter(asked)
        .buffer_unordered(RECLAIMS_AT_ONCE_MAX)
        .collect()
        .await;
    let told: Vec<Option<(GroupId, Lease)>> = told.into_iter().collect::<Result<_, _>>()?;
    let now: Vec<(GroupId, Lease)> = told.into_iter().flatten().collect();
    let command = RootCommand::Quota(QuotaCommand::Report {
        bucket: leases.bucket,
        leases: now,
    });
    core.root_decision(&command).await?;
    Ok(())
}

/// The lease of a group after it gave back what it does not use.
async fn give_back(
    core: &Core,
    group: GroupId,
    settle: LeaseCommand,
) -> Result<Option<(GroupId, Lease)>, GroupError> {
    let command = ObjectCommand::Lease(settle);
    match core.internal_command(group, &command).await? {
        ObjectOutcome::Lease { lease, .. } => Ok(Some((group, lease))),
        ObjectOutcome::Refused(_) => Ok(None),
        _ => Err(GroupError::Kind(group)),
    }
}

/// Takes the data of a command that will not be sent again out of use. What cannot be told now is found by
/// scans, later.
pub(crate) async fn give_up(core: &Core, group: GroupId, command: &ObjectCommand) {
    let Some((_, extents)) = command.adds_to().filter(|(_, extents)| !extents.is_empty()) else {
        return;
    };
    let give_up = LeaseCommand::GiveUp {
        extents: extents.to_vec(),
    };
    let command = ObjectCommand::Lease(give_up);
    if let Err(error) = core.internal_command(group, &command).await {
        tracing::info!(%group, %error, "data that a quota keeps out is not taken out of use yet");
    }
}
