//! Quotas as the root decides them: what a bucket may hold, and how much of that each object group has
//! (rules.md 13, decision 0053). The leases together are never more than the quota, unless groups held
//! more than that when it came.

use marram_types::{BucketId, BucketName, GroupId};

use super::apply::Ran;
use super::buckets::{all_buckets, change, open};
use super::outcome::RootOutcome;
use super::quota_command::QuotaCommand;
use crate::kinds::bucket::{self, BucketRecord, BucketState};
use crate::kinds::cluster::ClusterRecord;
use crate::kinds::quota::{Amount, Lease, Quota, QuotaLeases, ser_key};
use crate::kv::{KvRead, KvWrite, Table};
use crate::refusal::{QuotaRefusal, Refusal};
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

/// A group that asks gets at least what it lacks, and else this part of what is free, divided by the
/// number of groups: so that it does not ask for each object, and the others find something.
const PARTS: u128 = 4;

pub(super) fn run(apply: &mut Apply<'_>, cluster: &ClusterRecord, command: QuotaCommand) -> Ran {
    let groups = cluster.object_groups;
    match command {
        QuotaCommand::Set {
            name,
            bytes,
            objects,
        } => set(apply, &name, bytes, objects),
        QuotaCommand::Ask {
            bucket,
            group,
            since,
            seen,
            lack,
        } => ask(apply, groups, (bucket, group, since), (seen, lack)),
        QuotaCommand::Report { bucket, leases } => report(apply, groups, bucket, &leases),
    }
}

/// Whether what groups may hold by leases of `old` could be more than `new` allows.
fn begins_anew(old: Option<Quota>, new: [Option<u64>; 2]) -> bool {
    let old = old.map_or([None, None], |quota| quota.limits());
    old.into_iter().zip(new).any(|limits| match limits {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(old), Some(new)) => new < old,
    })
}

fn set(apply: &mut Apply<'_>, name: &BucketName, bytes: Option<u64>, objects: Option<u64>) -> Ran {
    let mut record = match open(apply.kv, name)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let old = record.quota;
    if old.map_or([None, None], |quota| quota.limits()) == [bytes, objects] {
        return Ok(Ok(RootOutcome::Bucket(record)));
    }
    record.quota = if bytes.is_none() && objects.is_none() {
        apply
            .kv
            .delete(Table::QuotaLeases, &ser_key(record.bucket))?;
        None
    } else {
        let since = match old {
            Some(old) if !begins_anew(Some(old), [bytes, objects]) => old.since,
            _ => record.epoch + 1,
        };
        Some(Quota {
            bytes,
            objects,
            since,
        })
    };
    Ok(Ok(change(apply, record)?))
}

/// The quota of a bucket, and its leases so far.
fn find(
    kv: &dyn KvRead,
    bucket: BucketId,
) -> Result<Result<(Quota, QuotaLeases), Refusal>, StateError> {
    let record: Option<BucketRecord> = load(kv, Table::Buckets, &bucket::ser_key(bucket))?;
    let Some(record) = record else {
        return Ok(Err(Refusal::NoSuchBucket));
    };
    let Some(quota) = record.quota else {
        return Ok(Err(QuotaRefusal::NotKnown.into()));
    };
    let leases = load(kv, Table::QuotaLeases, &ser_key(bucket))?;
    Ok(Ok((
        quota,
        leases.unwrap_or_else(|| QuotaLeases::new(bucket)),
    )))
}

fn ask(
    apply: &mut Apply<'_>,
    groups: u16,
    (bucket, group, since): (BucketId, GroupId, u64),
    (seen, lack): (Amount, Amount),
) -> Ran {
    let (quota, mut leases) = match find(apply.kv, bucket)? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // What groups held when the quota came is theirs: nothing is free before all of it is known.
    if quota.since != since || !leases.is_complete(groups, since) {
        return Ok(Err(QuotaRefusal::NotKnown.into()));
    }
    let allotted = leases.allotted();
    let Some(lease) = leases.groups.get_mut(&group) else {
        return Ok(Err(QuotaRefusal::NotKnown.into()));
    };
    if lease.granted == seen
        && let Some(more) = part_of(&quota, allotted, lack, groups)
    {
        lease.granted = lease.granted.plus(more);
        store(apply.kv, Table::QuotaLeases, &ser_key(bucket), &leases)?;
    }
    Ok(Ok(RootOutcome::Leases(leases)))
}

/// What a group is granted that lacks so much; nothing where too little is free.
fn part_of(quota: &Quota, allotted: Amount, lack: Amount, groups: u16) -> Option<Amount> {
    let mut more = [0; 2];
    for (at, limit) in quota.limits().into_iter().enumerate() {
        let Some(limit) = limit else { continue };
        let free = u128::from(limit).saturating_sub(allotted.each()[at]);
        let lack = lack.each()[at];
        if lack > free {
            return None;
        }
        if lack > 0 {
            more[at] = lack.max(free / (PARTS * u128::from(groups.max(1))));
        }
    }
    Some(Amount::of(more))
}

/// Has all quotas begin anew where groups and root go on from states that do not belong together: what a
/// group gave back after its own state is forgotten there, and not here.
pub(crate) fn begin_all_anew(kv: &mut dyn KvWrite) -> Result<(), StateError> {
    for mut record in all_buckets(kv)? {
        let Some(quota) = &mut record.quota else {
            continue;
        };
        record.epoch += 1;
        quota.since = record.epoch;
        if record.state == BucketState::Active {
            record.state = BucketState::Changing;
        }
        store(kv, Table::Buckets, &bucket::ser_key(record.bucket), &record)?;
    }
    Ok(())
}

fn report(apply: &mut Apply<'_>, groups: u16, bucket: BucketId, told: &[(GroupId, Lease)]) -> Ran {
    let (quota, mut leases) = match find(apply.kv, bucket)? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let known = |group: GroupId| (1..=groups).contains(&group.0);
    for (group, lease) in told {
        if known(*group) && lease.since == quota.since {
            leases.groups.entry(*group).or_default().learn(lease);
        }
    }
    store(apply.kv, Table::QuotaLeases, &ser_key(bucket), &leases)?;
    Ok(Ok(RootOutcome::Leases(leases)))
}
