//! Whether a group may hold more of a bucket, judged by its own lease of the bucket's quota (rules.md 13,
//! decision 0053).

use marram_types::BucketId;

use super::check::check_extents;
use super::displace::discard;
use super::lease_command::LeaseCommand;
use super::outcome::ObjectOutcome;
use crate::kinds::bucket::{BucketRecord, BucketState};
use crate::kinds::quota::{Amount, Lease, ser_key};
use crate::kinds::usage::Usage;
use crate::kv::{KvRead, Table};
use crate::refusal::{OverLease, QuotaRefusal, Refusal};
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

fn usage(kv: &dyn KvRead, bucket: BucketId) -> Result<Usage, StateError> {
    Ok(load(kv, Table::Usage, &ser_key(bucket))?.unwrap_or_default())
}

/// Whether the group may hold `added` instead of `freed`. What makes nothing larger is always allowed,
/// however much there is.
pub(super) fn judge(
    kv: &dyn KvRead,
    record: &BucketRecord,
    freed: Usage,
    added: Usage,
) -> Result<Result<(), Refusal>, StateError> {
    let Some(quota) = record.quota else {
        return Ok(Ok(()));
    };
    let usage = usage(kv, record.bucket)?;
    let lease: Option<Lease> = load(kv, Table::Leases, &ser_key(record.bucket))?;
    let lease = lease.filter(|lease| lease.since == quota.since);
    let lease = lease.unwrap_or_default();
    let before = usage.held();
    let after = usage.minus(freed).plus(added).held();
    let grows = after.minus(before).each();
    let mut lack = after.minus(lease.allotted()).each();
    for at in 0..lack.len() {
        if quota.limits()[at].is_none() || grows[at] == 0 {
            lack[at] = 0;
        }
    }
    let lack = Amount::of(lack);
    if lack == Amount::default() {
        return Ok(Ok(()));
    }
    let over = OverLease {
        quota,
        granted: lease.granted,
        lack,
        asked: after.minus(before),
    };
    Ok(Err(QuotaRefusal::OverLease(Box::new(over)).into()))
}

/// Follows a bucket's record: under a quota that is new to the group, it claims what it holds and no more.
pub(super) fn follow(apply: &mut Apply<'_>, record: &BucketRecord) -> Result<(), StateError> {
    let key = ser_key(record.bucket);
    let Some(quota) = record
        .quota
        .filter(|_| record.state != BucketState::Deleted)
    else {
        return Ok(apply.kv.delete(Table::Leases, &key)?);
    };
    let held: Option<Lease> = load(apply.kv, Table::Leases, &key)?;
    if held.is_some_and(|lease| lease.since == quota.since) {
        return Ok(());
    }
    let lease = Lease {
        since: quota.since,
        claimed: usage(apply.kv, record.bucket)?.held(),
        ..Lease::default()
    };
    Ok(store(apply.kv, Table::Leases, &key, &lease)?)
}

pub(super) fn run(
    apply: &mut Apply<'_>,
    command: &LeaseCommand,
) -> Result<ObjectOutcome, StateError> {
    match command {
        LeaseCommand::Settle {
            bucket,
            since,
            granted,
            give_back,
        } => settle(apply, *bucket, (*since, *granted), *give_back),
        LeaseCommand::GiveUp { extents } => {
            if let Err(what) = check_extents(extents, apply.index) {
                return Ok(ObjectOutcome::Refused(what.into()));
            }
            discard(apply, extents)?;
            Ok(ObjectOutcome::Done)
        }
    }
}

fn settle(
    apply: &mut Apply<'_>,
    bucket: BucketId,
    (since, granted): (u64, Amount),
    give_back: bool,
) -> Result<ObjectOutcome, StateError> {
    let key = ser_key(bucket);
    let held = usage(apply.kv, bucket)?.held();
    let Some(mut lease) = load::<Lease>(apply.kv, Table::Leases, &key)? else {
        return Ok(ObjectOutcome::Refused(QuotaRefusal::NotKnown.into()));
    };
    if lease.since == since {
        lease.granted = lease.granted.max(granted);
        if give_back {
            let unused = lease.allotted().minus(held);
            lease.returned = lease.returned.plus(unused);
        }
        store(apply.kv, Table::Leases, &key, &lease)?;
    }
    Ok(ObjectOutcome::Lease { lease, held })
}
