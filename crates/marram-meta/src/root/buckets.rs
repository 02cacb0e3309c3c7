//! The life of a bucket, as the root decides it (rules.md 11, 12).
//!
//! ```text
//! CreateBucket -> Creating --BucketActive--> Active --DeleteBucket--> Deleting
//!                                              ^                         |
//!                                        BucketActive      BucketSealed or Ending::Begin
//!                                              |                         |
//!                                          Changing <-- something left --+-- empty --> Deleted
//!                                                                                         |
//!                                                                 gone <-- Ending::End ---+
//! ```
//! A new profile, a change of versioning, a quota, and rules are a record with a higher epoch too: Active
//! --SetBucketProfile--> Changing.
//! Pending states (Creating, Changing, Deleting, Deleted) are brought to every object group by the root's
//! leader, which may stop at any moment: the record says what is still to be done. Before version 4 of
//! the commands, an empty bucket's record was gone at once by `BucketSealed`, and the groups were told
//! as well as that went; it still does that, for entries of that time.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use marram_placement::pool_of;
use marram_types::caps::{ALLOWED_PROFILES_MAX, BUCKETS_MAX};
use marram_types::{BucketId, BucketName, GroupId, NodeId, Profile};

use super::apply::{Ran, count};
use super::command::RootCommand;
use super::ending_command::EndingCommand;
use super::nodes::all_nodes;
use super::outcome::RootOutcome;
use super::profile_command::ProfileCommand;
use crate::kinds::bucket::{self, BucketRecord, BucketState};
use crate::kinds::cluster::{self, ClusterRecord};
use crate::kinds::group::{self, GroupRecord};
use crate::kinds::lifecycle::Lifecycle;
use crate::kinds::node::NodeRecord;
use crate::kinds::pool;
use crate::kinds::versioning::Versioning;
use crate::kv::{KvError, KvRead, Table};
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, store};
use crate::view::too_few_without;

pub(super) fn create(
    apply: &mut Apply<'_>,
    cluster: &ClusterRecord,
    name: BucketName,
    profile: Option<Profile>,
) -> Ran {
    let name_key = name.as_str().to_owned();
    if let Some(id) = apply.kv.get(Table::BucketNames, name_key.as_bytes())? {
        let bucket = bucket::deser_id(&id).map_err(StateError::corrupt(Table::BucketNames))?;
        return Ok(Err(Refusal::BucketExists { bucket }));
    }
    if count(apply.kv, Table::Buckets, BUCKETS_MAX)? == BUCKETS_MAX {
        return Ok(Err(Refusal::TooManyBuckets));
    }
    let profile = match choose_profile(apply.kv, cluster, profile)? {
        Ok(profile) => profile,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let record = BucketRecord {
        bucket: BucketId(apply.index),
        name,
        epoch: 1,
        state: BucketState::Creating,
        profile,
        created_ms: apply.now_ms(),
        versioning: Versioning::Off,
        quota: None,
        lifecycle: None,
        allowed: Vec::new(),
    };
    let key = bucket::ser_key(record.bucket);
    apply
        .kv
        .put(Table::BucketNames, name_key.as_bytes(), &key)?;
    Ok(Ok(put(apply, record)?))
}

/// The cluster's own default is always allowed: it is what a cluster of this size can have. Any
/// other profile must find its places, and metadata that survive as many losses (rules.md 7).
fn choose_profile(
    kv: &dyn KvRead,
    cluster: &ClusterRecord,
    asked: Option<Profile>,
) -> Result<Result<Profile, Refusal>, StateError> {
    let Some(profile) = asked.or(cluster.default_profile) else {
        return Ok(Err(Refusal::NoProfile));
    };
    if cluster.default_profile == Some(profile) {
        return Ok(Ok(profile));
    }
    if let Some(refusal) = too_wide(kv, profile)? {
        return Ok(Err(refusal));
    }
    let default_m = cluster.default_profile.map_or(0, Profile::m);
    let first: Option<GroupRecord> = load(kv, Table::Groups, &group::ser_key(GroupId(1)))?;
    let voters = first.map_or(0, |group| group.voters.len());
    let needed = 2 * profile.m() + 1;
    if profile.m() > default_m && voters < needed {
        return Ok(Err(Refusal::TooFewVoters {
            m: small(profile.m()),
            voters: small(voters),
            needed: small(needed),
        }));
    }
    Ok(Ok(profile))
}

fn small(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// Whether a profile finds the places that it needs. With several nodes a placement group has at
/// most one shard on each, so nodes count and not drives; one node codes over its drives. What is
/// on its way out does not count.
fn too_wide(kv: &dyn KvRead, profile: Profile) -> Result<Option<Refusal>, StateError> {
    let nodes = staying_nodes(kv)?;
    let drives: usize = nodes.iter().map(|node| node.present_drives().count()).sum();
    let width = small(profile.width());
    Ok(if nodes.len() > 1 {
        (profile.width() > nodes.len()).then_some(Refusal::ProfileNeedsNodes {
            width,
            nodes: small(nodes.len()),
        })
    } else {
        (profile.width() > drives).then_some(Refusal::ProfileTooWide {
            width,
            drives: small(drives),
        })
    })
}

fn put(apply: &mut Apply<'_>, record: BucketRecord) -> Result<RootOutcome, KvError> {
    let key = bucket::ser_key(record.bucket);
    store(apply.kv, Table::Buckets, &key, &record)?;
    Ok(RootOutcome::Bucket(record))
}

/// The record that a command about `bucket` at `epoch` means, or why it means none.
fn at_epoch(
    kv: &dyn KvRead,
    bucket: BucketId,
    epoch: u64,
) -> Result<Result<BucketRecord, Refusal>, StateError> {
    let record: Option<BucketRecord> = load(kv, Table::Buckets, &bucket::ser_key(bucket))?;
    Ok(match record {
        None => Err(Refusal::NoSuchBucket),
        Some(record) if record.epoch != epoch => Err(Refusal::StaleEpoch {
            epoch: record.epoch,
        }),
        Some(record) => Ok(record),
    })
}

pub(super) fn active(apply: &mut Apply<'_>, bucket: BucketId, epoch: u64) -> Ran {
    let mut record = match at_epoch(apply.kv, bucket, epoch)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if matches!(record.state, BucketState::Creating | BucketState::Changing) {
        record.state = BucketState::Active;
    }
    Ok(Ok(put(apply, record)?))
}

pub(super) fn delete(apply: &mut Apply<'_>, name: &BucketName) -> Ran {
    let Some(id) = apply.kv.get(Table::BucketNames, name.as_str().as_bytes())? else {
        return Ok(Err(Refusal::NoSuchBucket));
    };
    let Some(mut record) = load::<BucketRecord>(apply.kv, Table::Buckets, &id)? else {
        return Ok(Err(Refusal::NoSuchBucket));
    };
    if !matches!(record.state, BucketState::Deleting | BucketState::Deleted) {
        record.state = BucketState::Deleting;
        record.epoch += 1;
    }
    Ok(Ok(put(apply, record)?))
}

/// The record of a bucket that takes changes, or why there is none.
pub(super) fn open(
    kv: &dyn KvRead,
    name: &BucketName,
) -> Result<Result<BucketRecord, Refusal>, StateError> {
    let Some(id) = kv.get(Table::BucketNames, name.as_str().as_bytes())? else {
        return Ok(Err(Refusal::NoSuchBucket));
    };
    let record: Option<BucketRecord> = load(kv, Table::Buckets, &id)?;
    Ok(match record {
        None => Err(Refusal::NoSuchBucket),
        Some(record) if record.state == BucketState::Deleted => Err(Refusal::NoSuchBucket),
        Some(record) if record.state == BucketState::Deleting => Err(Refusal::BucketSealed {
            bucket: record.bucket,
        }),
        Some(record) => Ok(record),
    })
}

/// Writes a changed record, to be brought to every object group.
pub(super) fn change(
    apply: &mut Apply<'_>,
    mut record: BucketRecord,
) -> Result<RootOutcome, KvError> {
    record.epoch += 1;
    if record.state == BucketState::Active {
        record.state = BucketState::Changing;
    }
    put(apply, record)
}

/// Changes how a bucket keeps what it holds.
pub(super) fn set(apply: &mut Apply<'_>, command: RootCommand) -> Ran {
    match command {
        RootCommand::SetVersioning { name, versioning } => set_versioning(apply, &name, versioning),
        RootCommand::SetLifecycle { name, lifecycle } => set_lifecycle(apply, &name, lifecycle),
        _ => unreachable!("the caller knows what it sends here"),
    }
}

/// Has a bucket keep versions, or not any more. Once it kept some they are there, and a bucket whose
/// versioning is off has none: so there is no way back to that.
fn set_versioning(apply: &mut Apply<'_>, name: &BucketName, versioning: Versioning) -> Ran {
    let mut record = match open(apply.kv, name)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if record.versioning == versioning {
        return Ok(Ok(RootOutcome::Bucket(record)));
    }
    if versioning == Versioning::Off {
        return Ok(Err(Refusal::VersioningStays));
    }
    record.versioning = versioning;
    Ok(Ok(change(apply, record)?))
}

/// Says by which rules what a bucket holds goes by itself.
fn set_lifecycle(apply: &mut Apply<'_>, name: &BucketName, lifecycle: Lifecycle) -> Ran {
    if lifecycle.check().is_err() {
        return Ok(Err(Refusal::LifecycleMalformed));
    }
    let mut record = match open(apply.kv, name)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let lifecycle = (!lifecycle.rules.is_empty()).then(|| Arc::new(lifecycle));
    if record.lifecycle == lifecycle {
        return Ok(Ok(RootOutcome::Bucket(record)));
    }
    record.lifecycle = lifecycle;
    Ok(Ok(change(apply, record)?))
}

/// Gives a bucket another profile. The pools of it must be there: gateways write by it as soon as they
/// see the record. What has the profile already keeps its record, whatever it is on its way to.
pub(super) fn set_profile(apply: &mut Apply<'_>, name: &BucketName, profile: Profile) -> Ran {
    let mut record = match open(apply.kv, name)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if record.profile == profile {
        return Ok(Ok(RootOutcome::Bucket(record)));
    }
    if let Some(refusal) = cannot_be_kept(apply.kv, profile)? {
        return Ok(Err(refusal));
    }
    record.profile = profile;
    Ok(Ok(change(apply, record)?))
}

/// Lets writes ask for a profile, under what holds for that of a bucket; or not any more.
pub(super) fn allow(apply: &mut Apply<'_>, command: &ProfileCommand) -> Ran {
    let (ProfileCommand::Allow { name, profile } | ProfileCommand::Withdraw { name, profile }) =
        command;
    let mut record = match open(apply.kv, name)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let place = record.allowed.binary_search(profile);
    match (command, place) {
        (ProfileCommand::Withdraw { .. }, Ok(at)) => {
            record.allowed.remove(at);
        }
        (ProfileCommand::Allow { .. }, Err(at)) => {
            if record.allowed.len() >= ALLOWED_PROFILES_MAX {
                return Ok(Err(Refusal::TooManyProfiles));
            }
            if let Some(refusal) = cannot_be_kept(apply.kv, *profile)? {
                return Ok(Err(refusal));
            }
            record.allowed.insert(at, *profile);
        }
        _ => return Ok(Ok(RootOutcome::Bucket(record))),
    }
    Ok(Ok(change(apply, record)?))
}

/// Why a bucket that is there cannot have a profile, now: it lacks places, votes or a pool.
fn cannot_be_kept(kv: &dyn KvRead, profile: Profile) -> Result<Option<Refusal>, StateError> {
    let cluster: Option<ClusterRecord> = load(kv, Table::Meta, cluster::KEY)?;
    let cluster = cluster.expect("commands run in a cluster only");
    if let Err(refusal) = choose_profile(kv, &cluster, Some(profile))? {
        return Ok(Some(refusal));
    }
    for width in [profile.width(), profile.as_copies().width()] {
        let pool = pool_of(width);
        if kv.get(Table::Pools, &pool::ser_key(pool))?.is_none() {
            return Ok(Some(Refusal::PoolUnknown { pool }));
        }
    }
    Ok(None)
}

/// Why a node may not be emptied: what stays is too few for a bucket. `narrower` says that narrower
/// stripes are accepted.
pub(super) fn leaves_too_few(
    kv: &dyn KvRead,
    node: NodeId,
    narrower: bool,
) -> Result<Option<Refusal>, StateError> {
    let (nodes, buckets) = (all_nodes(kv)?, all_buckets(kv)?);
    Ok(too_few_without(
        nodes.iter(),
        buckets.iter(),
        node,
        narrower,
    ))
}

pub(super) fn all_buckets(kv: &dyn KvRead) -> Result<Vec<BucketRecord>, StateError> {
    let mut found = Vec::new();
    let all = (Bound::Unbounded, Bound::Unbounded);
    kv.scan(Table::Buckets, all.0, all.1, &mut |_, bytes| {
        found.push(BucketRecord::deser_value(bytes));
        ControlFlow::Continue(())
    })?;
    let found = found.into_iter().collect::<Result<_, _>>();
    found.map_err(StateError::corrupt(Table::Buckets))
}

/// Nodes that keep what they have, whether they take more or not.
fn staying_nodes(kv: &dyn KvRead) -> Result<Vec<NodeRecord>, StateError> {
    let mut nodes = all_nodes(kv)?;
    nodes.retain(NodeRecord::keeps_data);
    Ok(nodes)
}

/// Ends a deletion: the groups are sealed and have counted, so nothing can come in any more.
pub(super) fn sealed(apply: &mut Apply<'_>, bucket: BucketId, epoch: u64, nonempty: bool) -> Ran {
    let mut record = match at_epoch(apply.kv, bucket, epoch)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if record.state != BucketState::Deleting {
        return Ok(Err(Refusal::StaleEpoch {
            epoch: record.epoch,
        }));
    }
    if nonempty {
        record.state = BucketState::Changing;
        record.epoch += 1;
        return Ok(Ok(put(apply, record)?));
    }
    record.state = BucketState::Deleted;
    Ok(Ok(forget(apply, record)?))
}

fn forget(apply: &mut Apply<'_>, record: BucketRecord) -> Result<RootOutcome, KvError> {
    let key = bucket::ser_key(record.bucket);
    apply.kv.delete(Table::Buckets, &key)?;
    apply.kv.delete(Table::QuotaLeases, &key)?;
    apply
        .kv
        .delete(Table::BucketNames, record.name.as_str().as_bytes())?;
    Ok(RootOutcome::BucketRemoved(record))
}

/// The end of a deletion, in two steps: what is decided is kept until every group was told of it.
pub(super) fn ending(apply: &mut Apply<'_>, command: EndingCommand) -> Ran {
    let (bucket, epoch, expected) = match command {
        EndingCommand::Begin { bucket, epoch } => (bucket, epoch, BucketState::Deleting),
        EndingCommand::End { bucket, epoch } => (bucket, epoch, BucketState::Deleted),
    };
    let mut record = match at_epoch(apply.kv, bucket, epoch)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if record.state == BucketState::Deleted && expected == BucketState::Deleting {
        return Ok(Ok(RootOutcome::Bucket(record)));
    }
    if record.state != expected {
        return Ok(Err(Refusal::StaleEpoch {
            epoch: record.epoch,
        }));
    }
    if expected == BucketState::Deleted {
        return Ok(Ok(forget(apply, record)?));
    }
    record.state = BucketState::Deleted;
    Ok(Ok(put(apply, record)?))
}
