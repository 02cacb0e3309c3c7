//! Why a command changed nothing, told to whoever sent it.

mod drive;
mod identity;
mod key;
mod malformed;
mod quota;
mod upload;
mod version;

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{
    BucketId, BucketName, ClusterId, DriveId, Generation, GroupId, NodeId, PgId, PoolId, Profile,
    ReplicaId,
};

use crate::kinds::bucket::get_name;
use crate::kinds::node::NodeDuty;
use crate::stored::{Stored, get_pg, get_profile, put_pg, put_profile};

pub use drive::DriveRefusal;
pub use identity::IdentityRefusal;
pub(crate) use identity::NAMED_MAX;
pub use key::KeyRefusal;
pub use malformed::Malformed;
pub use quota::{Measure, OverLease, QuotaRefusal};
pub use upload::UploadRefusal;
pub use version::VersionRefusal;

/// Why a command changed nothing. [`Self::is_retryable`] says whether the same request may be tried
/// again and fare better.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The deadline had passed in leader time: nothing was done and nothing will be.
    #[error("the deadline passed before the command was applied")]
    DeadlinePassed,
    /// The group keeps as many request records as it may (rules.md 14).
    #[error("too many requests are remembered; try again later")]
    TooManyRequests,
    /// The command is wrong in itself.
    #[error("{0}")]
    Malformed(Malformed),
    /// A precondition does not hold.
    #[error("a precondition does not hold: the current generation is {current}")]
    PreconditionFailed {
        /// The object's generation, 0 when there is no object.
        current: Generation,
    },
    /// The group does not know the bucket, yet or any more (rules.md 11).
    #[error("bucket {bucket} is not known to the group")]
    BucketUnknown {
        /// Which.
        bucket: BucketId,
    },
    /// The bucket is sealed: it is being deleted, or a deletion is being taken back.
    #[error("bucket {bucket} is being deleted")]
    BucketSealed {
        /// Which.
        bucket: BucketId,
    },
    /// A bucket that kept versions is not asked to have none any more.
    #[error("a bucket that kept versions stays versioned: suspend its versioning instead")]
    VersioningStays,
    /// The bucket was deleted.
    #[error("bucket {bucket} was deleted")]
    BucketDeleted {
        /// Which.
        bucket: BucketId,
    },
    /// There is no such pool, yet.
    #[error("there is no pool {}", .pool.0)]
    PoolUnknown {
        /// Which.
        pool: PoolId,
    },
    /// The write began below the group's `gc_floor` (rules.md 27): write it again.
    #[error("the write began below index {floor}, too long ago: write it again")]
    BelowFloor {
        /// The floor.
        floor: u64,
    },
    /// The request id belongs to another request, which the group remembers (rules.md 14): the
    /// caller must take a fresh one. Never remembered itself.
    #[error("the request id was used for another request")]
    RequestIdReused,
    /// The data of the write was given up, in an attempt that was not committed: write it again.
    #[error("the data of the write was discarded before it was committed: write it again")]
    DataDiscarded,
    /// No cluster was made here yet.
    #[error("the cluster is not bootstrapped")]
    NotBootstrapped,
    /// There is a cluster already.
    #[error("cluster {cluster} exists already")]
    AlreadyBootstrapped {
        /// Which.
        cluster: ClusterId,
    },
    /// No such node, or it was removed.
    #[error("node {node} is not a member")]
    NodeUnknown {
        /// Which.
        node: NodeId,
    },
    /// The node's key belongs to a node that was removed for ever.
    #[error("the key belongs to node {node}, which was removed")]
    NodeTombstoned {
        /// Which.
        node: NodeId,
    },
    /// The founder's replica id is taken.
    #[error("replica {replica} exists already")]
    ReplicaExists {
        /// Which.
        replica: ReplicaId,
    },
    /// Object groups are made once (rules.md 7).
    #[error("the object groups exist already")]
    GroupsExist,
    /// The pool was made already.
    #[error("pool {} exists already at epoch {epoch}", .pool.0)]
    PoolExists {
        /// Which.
        pool: PoolId,
        /// Its epoch.
        epoch: u64,
    },
    /// A bucket of this name exists.
    #[error("a bucket of this name exists")]
    BucketExists {
        /// Which.
        bucket: BucketId,
    },
    /// No bucket of this name or id.
    #[error("there is no such bucket")]
    NoSuchBucket,
    /// The epoch of the bucket or group is another one: the caller acts on an old decision.
    #[error("it is at epoch {epoch} now")]
    StaleEpoch {
        /// The epoch now.
        epoch: u64,
    },
    /// The cluster has as many buckets as it may.
    #[error("the cluster has as many buckets as it may")]
    TooManyBuckets,
    /// No profile given and no default set yet.
    #[error("the cluster has no default profile yet: wait for its nodes, or name a profile")]
    NoProfile,
    /// The profile needs more drives than there are.
    #[error("the profile needs {width} drives, the cluster has {drives}")]
    ProfileTooWide {
        /// Drives needed.
        width: u16,
        /// Drives there are.
        drives: u16,
    },
    /// The profile promises more losses than the metadata survives (rules.md 7).
    #[error("{m} parity shards need groups of {needed} voters, the cluster has {voters}")]
    TooFewVoters {
        /// Parity shards asked for.
        m: u16,
        /// Voters there are.
        voters: u16,
        /// Voters needed.
        needed: u16,
    },
    /// The group was not yet told of the placement group.
    #[error("placement group {pg} is not known to the group")]
    PgUnknown {
        /// Which.
        pg: PgId,
    },
    /// What was found out about a shard may not hold any more: look at it again
    /// (placement-protocol.md 14, rules.md 24).
    #[error("the shard's place changed, or it was reported lost, at index {since}: look again")]
    Stale {
        /// The index of the change.
        since: u64,
    },
    /// The row sends readers of a slot to another drive, and the group never was in the Dual phase
    /// of that move: fences were left out (placement-protocol.md 3).
    #[error("placement group {pg} is at epoch {epoch} in the group, which the row does not follow")]
    LayoutGap {
        /// Which.
        pg: PgId,
        /// The epoch that the group holds.
        epoch: u64,
    },
    /// The profile needs more nodes than there are: with several nodes, each of its shards is on a
    /// node of its own.
    #[error("the profile needs {width} nodes, the cluster has {nodes}")]
    ProfileNeedsNodes {
        /// Nodes needed.
        width: u16,
        /// Nodes there are.
        nodes: u16,
    },
    /// Duties change step by step.
    #[error("node {node} is {from:?} and cannot become {to:?} from there")]
    DutyChange {
        /// Which.
        node: NodeId,
        /// What it is.
        from: NodeDuty,
        /// What was asked for.
        to: NodeDuty,
    },
    /// A serving node is not removed: cordon and drain it, or fence it.
    #[error("node {node} is serving: drain or fence it first")]
    NodeServes {
        /// Which.
        node: NodeId,
    },
    /// A row of the layout names a drive of the node.
    #[error("placement group {pg} is on drive {drive} of node {node}")]
    NodeInLayout {
        /// Which node.
        node: NodeId,
        /// A placement group.
        pg: PgId,
        /// A drive of its row, in the node.
        drive: DriveId,
    },
    /// A move that is not over names a drive of the node.
    #[error("a move of placement group {pg} to or from drive {drive} of node {node} is not over")]
    NodeInMove {
        /// Which node.
        node: NodeId,
        /// A placement group.
        pg: PgId,
        /// The drive.
        drive: DriveId,
    },
    /// A replica of the node is a voter, or is about to become one.
    #[error("replica {replica} of node {node} is a member of group {group}")]
    NodeVotes {
        /// Which node.
        node: NodeId,
        /// A group.
        group: GroupId,
        /// The voter.
        replica: ReplicaId,
    },
    /// About a drive.
    #[error("{0}")]
    Drive(DriveRefusal),
    /// A shard of the write is only on a drive whose node is about to be removed (rules.md 25).
    #[error("drive {drive} holds the only copy of a shard and is about to go: write it again")]
    DriveGone {
        /// Which.
        drive: DriveId,
    },
    /// The layout, or what it is made from, changed since the caller looked at it.
    #[error("the layout is at epoch {epoch} now, not {given} any more: look again")]
    LayoutMoved {
        /// What the caller acts on.
        given: u64,
        /// The epoch now.
        epoch: u64,
    },
    /// Somebody else changed the node's duty since the caller looked at it.
    #[error("node {node} is {now:?} by now, not {expected:?}: somebody else changed it")]
    DutyChanged {
        /// Which.
        node: NodeId,
        /// What it is.
        now: NodeDuty,
        /// What the caller acts on.
        expected: NodeDuty,
    },
    /// The node has no tombstone of this epoch (rules.md 25): it was taken back, or never set.
    #[error("node {node} is not about to be removed, or not by the decision of epoch {epoch}")]
    NotBuried {
        /// Which.
        node: NodeId,
        /// The epoch that the caller proved to be told everywhere.
        epoch: u64,
    },
    /// Tokens, CAs or certificates stand against it.
    #[error("{0}")]
    Identity(IdentityRefusal),
    /// Access keys stand against it.
    #[error("{0}")]
    Key(KeyRefusal),
    /// A multipart upload is not as the command wants it.
    #[error("{0}")]
    Upload(UploadRefusal),
    /// About a version that must be there.
    #[error("{0}")]
    Version(VersionRefusal),
    /// The bucket's quota stands against it.
    #[error("{0}")]
    Quota(QuotaRefusal),
    /// Rules of a bucket that cannot be. Whoever sends them has checked them before.
    #[error("the rules of the bucket are not well formed")]
    LifecycleMalformed,
    /// The bucket does not allow the profile that the write asks for.
    #[error("the bucket does not allow writes to ask for profile {profile}")]
    ProfileNotAllowed {
        /// What was asked for.
        profile: Profile,
    },
    /// The bucket allows as many profiles as it may.
    #[error(
        "a bucket allows at most {} profiles beside its own",
        marram_types::caps::ALLOWED_PROFILES_MAX
    )]
    TooManyProfiles,
    /// A node cannot be emptied: too few nodes would be left for a bucket.
    #[error(
        "would leave {left} nodes; profile {profile} of bucket {bucket} needs {}, {}",
        .profile.width(),
        remedy(*.left, *.profile)
    )]
    LeavesTooFew {
        /// Nodes that would be left.
        left: u16,
        /// A bucket.
        bucket: BucketName,
        /// Its profile, or one that it allows.
        profile: Profile,
    },
    /// The node is in maintenance: its absence is no reason for anything.
    #[error("node {node} is in maintenance until {until_ms} ms in leader time")]
    NodeExcused {
        /// Which.
        node: NodeId,
        /// Until when, in milliseconds.
        until_ms: u64,
    },
    /// The version gate only rises (rules.md 9).
    #[error("the cluster is at version {current} already")]
    VersionNotHigher {
        /// The version now.
        current: u8,
    },
    /// A member does not know the version yet (rules.md 9).
    #[error("node {node} knows commands up to version {version} only: give it a newer release")]
    NodeTooOld {
        /// Which.
        node: NodeId,
        /// The newest version that it has reported; 0 when it never did.
        version: u8,
    },
    /// A backup is being made: no move takes a step meanwhile.
    #[error("the layout rests until leader time {until_ms} ms, for a backup of the metadata")]
    LayoutHeld {
        /// Until when, in milliseconds since 1970.
        until_ms: u64,
    },
}

/// What an operator can do where nodes are too few: narrower stripes have fewer data shards, not fewer
/// parity shards.
fn remedy(left: u16, profile: Profile) -> String {
    let least = profile.m() + 1;
    if usize::from(left) >= least {
        "or accept narrower stripes: --allow-narrower".to_owned()
    } else {
        format!("and with narrower stripes still {least}: add a node first")
    }
}

impl Refusal {
    /// Whether the same request, sent again with the same request id, may succeed, some only with
    /// its data written again. Such refusals are not remembered by request id.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::TooManyRequests
                | Self::BucketUnknown { .. }
                | Self::BucketSealed { .. }
                | Self::PoolUnknown { .. }
                | Self::PgUnknown { .. }
                | Self::BelowFloor { .. }
                | Self::DataDiscarded
                | Self::DriveGone { .. }
                | Self::NotBootstrapped
                | Self::NoProfile
                | Self::LayoutHeld { .. }
                | Self::Upload(UploadRefusal::Changed)
                | Self::Quota(QuotaRefusal::OverLease(_) | QuotaRefusal::NotKnown)
        )
    }
}

impl From<Malformed> for Refusal {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

fn put_wanting<'a>(out: &'a mut Writer, bucket: &BucketName, profile: Profile) -> &'a mut Writer {
    put_profile(out.str(bucket.as_str()), profile);
    out
}

/// Refusals that have an enumeration of their own.
fn encode_grouped<'a>(out: &'a mut Writer, refusal: &Refusal) -> &'a mut Writer {
    match refusal {
        Refusal::Identity(refusal) => put_identity(out.u8(60), refusal),
        Refusal::Key(refusal) => refusal.encode(out.u8(160)),
        Refusal::Upload(refusal) => refusal.encode(out.u8(180)),
        Refusal::Quota(refusal) => refusal.encode(out.u8(196)),
        Refusal::LifecycleMalformed => out.u8(197),
        Refusal::ProfileNotAllowed { profile } => put_only(out.u8(200), *profile),
        Refusal::TooManyProfiles => out.u8(201),
        Refusal::Version(refusal) => refusal.encode(out.u8(183)),
        Refusal::Drive(refusal) => put_drive(out.u8(45), *refusal),
        _ => unreachable!("encoded by the caller"),
    }
}

fn put_only(out: &mut Writer, profile: Profile) -> &mut Writer {
    put_profile(out, profile);
    out
}

fn put_identity<'a>(out: &'a mut Writer, refusal: &IdentityRefusal) -> &'a mut Writer {
    refusal.encode(out);
    out
}

fn put_drive(out: &mut Writer, refusal: DriveRefusal) -> &mut Writer {
    refusal.encode(out);
    out
}

impl Stored for Refusal {
    fn encode(&self, out: &mut Writer) {
        match *self {
            Self::DeadlinePassed => out.u8(1),
            Self::TooManyRequests => out.u8(2),
            Self::Malformed(what) => out.u8(3).u8(what as u8),
            Self::PreconditionFailed { current } => out.u8(4).varint(current.0),
            Self::BucketUnknown { bucket } => out.u8(5).varint(bucket.0),
            Self::BucketSealed { bucket } => out.u8(6).varint(bucket.0),
            Self::BucketDeleted { bucket } => out.u8(7).varint(bucket.0),
            Self::PoolUnknown { pool } => out.u8(8).u16_be(pool.0),
            Self::BelowFloor { floor } => out.u8(9).varint(floor),
            Self::NotBootstrapped => out.u8(10),
            Self::AlreadyBootstrapped { cluster } => out.u8(11).u128_be(cluster.0),
            Self::NodeUnknown { node } => out.u8(12).varint(node.0),
            Self::NodeTombstoned { node } => out.u8(13).varint(node.0),
            Self::ReplicaExists { replica } => out.u8(14).varint(replica.0),
            Self::GroupsExist => out.u8(15),
            Self::PoolExists { pool, epoch } => out.u8(16).u16_be(pool.0).varint(epoch),
            Self::BucketExists { bucket } => out.u8(17).varint(bucket.0),
            Self::NoSuchBucket => out.u8(18),
            Self::StaleEpoch { epoch } => out.u8(19).varint(epoch),
            Self::TooManyBuckets => out.u8(20),
            Self::NoProfile => out.u8(21),
            Self::ProfileTooWide { width, drives } => out.u8(22).u16_be(width).u16_be(drives),
            Self::TooFewVoters { m, voters, needed } => {
                out.u8(23).u16_be(m).u16_be(voters).u16_be(needed)
            }
            Self::VersionNotHigher { current } => out.u8(24).u8(current),
            Self::LeavesTooFew {
                left,
                ref bucket,
                profile,
            } => put_wanting(out.u8(40).u16_be(left), bucket, profile),
            Self::RequestIdReused => out.u8(25),
            Self::DataDiscarded => out.u8(26),
            Self::PgUnknown { pg } => pg_in(out.u8(27), pg),
            Self::Stale { since } => out.u8(28).varint(since),
            Self::LayoutGap { pg, epoch } => pg_in(out.u8(29), pg).varint(epoch),
            Self::ProfileNeedsNodes { width, nodes } => out.u8(30).u16_be(width).u16_be(nodes),
            Self::DutyChange { node, from, to } => {
                out.u8(31).varint(node.0).u8(from as u8).u8(to as u8)
            }
            Self::NodeServes { node } => out.u8(32).varint(node.0),
            Self::NodeInLayout { node, pg, drive } => {
                pg_in(out.u8(33).varint(node.0), pg).varint(drive.0)
            }
            Self::NodeInMove { node, pg, drive } => {
                pg_in(out.u8(34).varint(node.0), pg).varint(drive.0)
            }
            Self::NodeVotes {
                node,
                group,
                replica,
            } => out.u8(35).varint(node.0).u16_be(group.0).varint(replica.0),
            Self::NodeTooOld { node, version } => out.u8(100).varint(node.0).u8(version),
            Self::LayoutHeld { until_ms } => out.u8(101).varint(until_ms),
            Self::NodeExcused { node, until_ms } => out.u8(110).varint(node.0).varint(until_ms),
            Self::DriveGone { drive } => out.u8(55).varint(drive.0),
            Self::LayoutMoved { given, epoch } => out.u8(56).varint(given).varint(epoch),
            Self::DutyChanged {
                node,
                now,
                expected,
            } => out.u8(57).varint(node.0).u8(now as u8).u8(expected as u8),
            Self::VersioningStays => out.u8(181),
            Self::NotBuried { node, epoch } => out.u8(58).varint(node.0).varint(epoch),
            ref grouped => encode_grouped(out, grouped),
        };
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bucket = |from: &mut Reader<'_>| from.varint().map(BucketId);
        let node = |from: &mut Reader<'_>| from.varint().map(NodeId);
        let pool = |from: &mut Reader<'_>| from.u16_be().map(PoolId);
        Ok(match from.u8()? {
            181 => Self::VersioningStays,
            1 => Self::DeadlinePassed,
            2 => Self::TooManyRequests,
            3 => Self::Malformed(Malformed::from_byte(from.u8()?)?),
            4 => Self::PreconditionFailed {
                current: Generation(from.varint()?),
            },
            5 => Self::BucketUnknown {
                bucket: bucket(from)?,
            },
            6 => Self::BucketSealed {
                bucket: bucket(from)?,
            },
            7 => Self::BucketDeleted {
                bucket: bucket(from)?,
            },
            8 => Self::PoolUnknown { pool: pool(from)? },
            9 => Self::BelowFloor {
                floor: from.varint()?,
            },
            10 => Self::NotBootstrapped,
            11 => Self::AlreadyBootstrapped {
                cluster: ClusterId(from.u128_be()?),
            },
            12 => Self::NodeUnknown { node: node(from)? },
            13 => Self::NodeTombstoned { node: node(from)? },
            14 => Self::ReplicaExists {
                replica: ReplicaId(from.varint()?),
            },
            15 => Self::GroupsExist,
            16 => Self::PoolExists {
                pool: pool(from)?,
                epoch: from.varint()?,
            },
            17 => Self::BucketExists {
                bucket: bucket(from)?,
            },
            18 => Self::NoSuchBucket,
            19 => Self::StaleEpoch {
                epoch: from.varint()?,
            },
            20 => Self::TooManyBuckets,
            21 => Self::NoProfile,
            22 => Self::ProfileTooWide {
                width: from.u16_be()?,
                drives: from.u16_be()?,
            },
            23 => Self::TooFewVoters {
                m: from.u16_be()?,
                voters: from.u16_be()?,
                needed: from.u16_be()?,
            },
            24 => Self::VersionNotHigher {
                current: from.u8()?,
            },
            25 => Self::RequestIdReused,
            26 => Self::DataDiscarded,
            later => return decode_layout(later, from),
        })
    }
}

/// Appends a placement group.
fn pg_in(out: &mut Writer, pg: PgId) -> &mut Writer {
    put_pg(out, pg);
    out
}

/// Refusals of what changes the layout and its nodes.
fn decode_layout(tag: u8, from: &mut Reader<'_>) -> Result<Refusal, DecodeError> {
    let node = |from: &mut Reader<'_>| from.varint().map(NodeId);
    let drive = |from: &mut Reader<'_>| from.varint().map(DriveId);
    Ok(match tag {
        27 => Refusal::PgUnknown { pg: get_pg(from)? },
        28 => Refusal::Stale {
            since: from.varint()?,
        },
        29 => Refusal::LayoutGap {
            pg: get_pg(from)?,
            epoch: from.varint()?,
        },
        30 => Refusal::ProfileNeedsNodes {
            width: from.u16_be()?,
            nodes: from.u16_be()?,
        },
        31 => Refusal::DutyChange {
            node: node(from)?,
            from: NodeDuty::from_byte(from.u8()?)?,
            to: NodeDuty::from_byte(from.u8()?)?,
        },
        32 => Refusal::NodeServes { node: node(from)? },
        33 => Refusal::NodeInLayout {
            node: node(from)?,
            pg: get_pg(from)?,
            drive: drive(from)?,
        },
        34 => Refusal::NodeInMove {
            node: node(from)?,
            pg: get_pg(from)?,
            drive: drive(from)?,
        },
        35 => Refusal::NodeVotes {
            node: node(from)?,
            group: GroupId(from.u16_be()?),
            replica: ReplicaId(from.varint()?),
        },
        55 => Refusal::DriveGone {
            drive: drive(from)?,
        },
        56 => Refusal::LayoutMoved {
            given: from.varint()?,
            epoch: from.varint()?,
        },
        57 => Refusal::DutyChanged {
            node: node(from)?,
            now: NodeDuty::from_byte(from.u8()?)?,
            expected: NodeDuty::from_byte(from.u8()?)?,
        },
        58 => Refusal::NotBuried {
            node: node(from)?,
            epoch: from.varint()?,
        },
        100 => Refusal::NodeTooOld {
            node: node(from)?,
            version: from.u8()?,
        },
        101 => Refusal::LayoutHeld {
            until_ms: from.varint()?,
        },
        60 => Refusal::Identity(IdentityRefusal::decode(from)?),
        40 => Refusal::LeavesTooFew {
            left: from.u16_be()?,
            bucket: get_name(from)?,
            profile: get_profile(from)?,
        },
        45 => Refusal::Drive(DriveRefusal::decode(from)?),
        other => return decode_more(other, from),
    })
}

/// Refusals about nodes that are away, and those that have files of their own.
fn decode_more(tag: u8, from: &mut Reader<'_>) -> Result<Refusal, DecodeError> {
    Ok(match tag {
        160 => Refusal::Key(KeyRefusal::decode(from)?),
        180 => Refusal::Upload(UploadRefusal::decode(from)?),
        196 => Refusal::Quota(QuotaRefusal::decode(from)?),
        197 => Refusal::LifecycleMalformed,
        200 => Refusal::ProfileNotAllowed {
            profile: get_profile(from)?,
        },
        201 => Refusal::TooManyProfiles,
        110 => Refusal::NodeExcused {
            node: NodeId(from.varint()?),
            until_ms: from.varint()?,
        },
        183 => Refusal::Version(VersionRefusal::decode(from)?),
        other => return Err(unknown("refusal", other)),
    })
}

/// A tag of a newer release.
pub(crate) fn unknown(what: &'static str, found: u8) -> DecodeError {
    DecodeError::Unknown {
        what,
        found: u64::from(found),
    }
}
