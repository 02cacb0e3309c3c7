//! The group's own copies of what the root decided (rules.md 11).

use marram_types::{BucketId, PoolId};

use super::outcome::ObjectOutcome;
use crate::kinds::bucket::{self, BucketRecord, BucketState};
use crate::kinds::pool::{self, PoolFence};
use crate::kinds::usage::Usage;
use crate::kv::{KvRead, Table};
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

/// The group's copy of a bucket that takes writes, or why there is none.
pub(super) fn open_bucket(
    kv: &dyn KvRead,
    bucket: BucketId,
) -> Result<Result<BucketRecord, Refusal>, StateError> {
    let copy: Option<BucketRecord> = load(kv, Table::Buckets, &bucket::ser_key(bucket))?;
    Ok(match copy {
        None => Err(Refusal::BucketUnknown { bucket }),
        Some(record) if record.state.accepts_writes() => Ok(record),
        Some(record) if record.state == BucketState::Deleted => {
            Err(Refusal::BucketDeleted { bucket })
        }
        Some(_) => Err(Refusal::BucketSealed { bucket }),
    })
}

/// Takes a bucket record if it is newer than the group's copy, and says which one the group holds
/// and how many objects are left (rules.md 12).
pub(super) fn bucket(
    apply: &mut Apply<'_>,
    record: &BucketRecord,
) -> Result<ObjectOutcome, StateError> {
    let key = bucket::ser_key(record.bucket);
    let held: Option<BucketRecord> = load(apply.kv, Table::Buckets, &key)?;
    let usage: Usage = load(apply.kv, Table::Usage, &key)?.unwrap_or_default();
    let held = match held {
        Some(held) if !record.is_newer_than(&held) => held,
        _ => {
            store(apply.kv, Table::Buckets, &key, record)?;
            record.clone()
        }
    };
    if held.state == BucketState::Deleted && usage == Usage::default() {
        apply.kv.delete(Table::Usage, &key)?;
    }
    Ok(ObjectOutcome::Fenced {
        live: usage.objects,
        epoch: held.epoch,
        state: held.state,
    })
}

/// Whether the group was told of a pool.
pub(super) fn pool_is_known(kv: &dyn KvRead, pool: PoolId) -> Result<bool, StateError> {
    Ok(kv.get(Table::PoolFences, &pool::ser_key(pool))?.is_some())
}

/// Takes a pool's epoch if it is newer than the one known.
pub(super) fn pool(
    apply: &mut Apply<'_>,
    pool: PoolId,
    epoch: u64,
) -> Result<ObjectOutcome, StateError> {
    let key = pool::ser_key(pool);
    let held: Option<PoolFence> = load(apply.kv, Table::PoolFences, &key)?;
    let epoch = held.map_or(epoch, |held| held.epoch.max(epoch));
    store(apply.kv, Table::PoolFences, &key, &PoolFence { epoch })?;
    Ok(ObjectOutcome::PoolFenced { epoch })
}
