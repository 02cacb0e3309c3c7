//! What the root group can be told to do.

use marram_placement::{PoolTable, SlotMove};
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, BucketName, DriveId, NodeId, PoolId, Profile, ReplicaId};

use super::absence_command;
use super::drain::{self, DrainCommand};
use super::drive_command::{self, DriveCommand};
use super::ending_command::{self, EndingCommand};
use super::key_command::{self, KeyCommand};
use super::profile_command::{self, ProfileCommand};
use super::quota_command::{self, QuotaCommand};
use crate::envelope::{
    AWAY_DRAINING_SINCE, BACKUP_NOTES_SINCE, BUCKET_ENDINGS_SINCE, COMMAND_VERSION_OLDEST, Command,
    DRAIN_NARROWER_SINCE, DRAINS_SINCE, KEY_REMOVALS_SINCE, LIFECYCLE_SINCE, NARROW_SINCE,
    OWN_PROFILES_SINCE, QUOTA_SINCE, RETURNS_SINCE, VERSIONING_SINCE, WORK_PAUSES_SINCE,
};
use crate::kinds::absence::Pause;
use crate::kinds::access_key::AccessKeyRecord;
use crate::kinds::bucket::get_name;
use crate::kinds::cluster::ClusterRecord;
use crate::kinds::drive::DriveDuty;
use crate::kinds::group::GroupRecord;
use crate::kinds::lifecycle::Lifecycle;
use crate::kinds::node::{NodeDuty, get_fingerprint};
use crate::kinds::upkeep::BackupNote;
use crate::kinds::versioning::Versioning;
use crate::root::identity::command::{IdentityCommand, Newcomer};
use crate::stored::{Stored, get_profile, put_profile};

/// A drive that a joining node brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveJoin {
    /// Its place in the node's list of data folders; 0 is the metadata drive.
    pub ordinal: u8,
    /// Bytes that it offers.
    pub capacity: u64,
}

/// What a joining node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeJoin {
    /// For people.
    pub name: String,
    /// `host:port` of its mesh listener.
    pub mesh_addr: String,
    /// `host:port` of its public API.
    pub api_addr: String,
    /// SHA-256 of its public key (SPKI).
    pub public_key: [u8; 32],
    /// Its zone, empty when none is configured.
    pub zone: String,
    /// Its drives.
    pub drives: Vec<DriveJoin>,
}

const JOIN_VERSION: u8 = 1;

impl NodeJoin {
    /// The form that crosses the mesh.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.ser_value()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are damaged or of a newer release.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::deser_value(bytes)
    }
}

impl Stored for NodeJoin {
    fn encode(&self, out: &mut Writer) {
        out.u8(JOIN_VERSION)
            .str(&self.name)
            .str(&self.mesh_addr)
            .str(&self.api_addr)
            .raw(&self.public_key)
            .str(&self.zone)
            .list(&self.drives, |out, drive| {
                out.u8(drive.ordinal).varint(drive.capacity);
            });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("node join version", JOIN_VERSION)?;
        Ok(Self {
            name: from.str()?.to_owned(),
            mesh_addr: from.str()?.to_owned(),
            api_addr: from.str()?.to_owned(),
            public_key: get_fingerprint(from)?,
            zone: from.str()?.to_owned(),
            drives: from.list(|from| {
                Ok(DriveJoin {
                    ordinal: from.u8()?,
                    capacity: from.varint()?,
                })
            })?,
        })
    }
}

/// A command of the root group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCommand {
    /// Makes the cluster (rules.md 3). Refused when there is one.
    Bootstrap {
        /// The cluster.
        cluster: ClusterRecord,
        /// Its first access keys.
        keys: Vec<AccessKeyRecord>,
    },
    /// Admits a node and its drives. The same public key again is answered with the ids that it
    /// has, and brings the addresses up to date.
    AddNode(NodeJoin),
    /// Gives a node a fresh replica id (rules.md 2); the one it had is past from now on.
    AddReplica {
        /// The node.
        node: NodeId,
        /// The replica is [`FOUNDER`](crate::FOUNDER), which made the root group before it could
        /// ask for an id (rules.md 3).
        founder: bool,
    },
    /// Changes a node's addresses.
    UpdateNode {
        /// The node.
        node: NodeId,
        /// `host:port` of its mesh listener.
        mesh_addr: String,
        /// `host:port` of its public API.
        api_addr: String,
    },
    /// Makes the object groups, once (rules.md 3, 7).
    CreateGroups(Vec<GroupRecord>),
    /// Records the voters of a group after its membership changed; the root group's too.
    UpdateGroup(GroupRecord),
    /// Makes the pool of a width (rules.md 22).
    CreatePool(PoolTable),
    /// Sets the profile of buckets that do not name one.
    SetDefaultProfile(Profile),
    /// Makes a bucket, pending until every object group knows it.
    CreateBucket {
        /// Its name.
        name: BucketName,
        /// Its profile, else the default.
        profile: Option<Profile>,
    },
    /// Every object group has applied the pending record of this epoch: the bucket is in use.
    BucketActive {
        /// The bucket.
        bucket: BucketId,
        /// The epoch that the groups hold.
        epoch: u64,
    },
    /// Begins a deletion (rules.md 12). A deletion under way is answered with its record.
    DeleteBucket {
        /// The bucket's name.
        name: BucketName,
    },
    /// Every object group is sealed at this epoch and has counted.
    BucketSealed {
        /// The bucket.
        bucket: BucketId,
        /// The epoch that the groups hold.
        epoch: u64,
        /// Something is left: the deletion is taken back.
        nonempty: bool,
    },
    /// Adds or replaces an access key.
    PutAccessKey(AccessKeyRecord),
    /// Raises the version gate (rules.md 9).
    FinalizeVersion {
        /// The new version.
        version: u8,
    },
    /// Changes what a node is there for, step by step: see [`NodeDuty::may_become`].
    SetDuty {
        /// The node.
        node: NodeId,
        /// What it shall be.
        duty: NodeDuty,
    },
    /// Changes what a node is there for, if it is still what the caller saw. A tombstone that stands
    /// on the node is taken back.
    ChangeDuty {
        /// The node.
        node: NodeId,
        /// What it was seen to be.
        from: NodeDuty,
        /// What it shall be.
        to: NodeDuty,
        /// The layout's epoch that the caller acts on, where it says.
        if_epoch: Option<u64>,
    },
    /// Has moves made for balance even when they are not worth it by themselves, until there are
    /// none left; or no longer.
    Rebalance {
        /// Begin, else end.
        on: bool,
        /// The layout's epoch that the caller acts on, where it says.
        if_epoch: Option<u64>,
    },
    /// Sets a tombstone on a node that nothing in the root names any more, for the object groups to
    /// be told (rules.md 25). One that stands is answered again.
    BuryNode {
        /// The node.
        node: NodeId,
        /// The layout's epoch that the caller acts on, where it says.
        if_epoch: Option<u64>,
    },
    /// Removes a node for ever, when nothing in the root names it any more and its tombstone still
    /// stands (rules.md 25). What the object groups and its drives hold was proven to be nothing
    /// after each group had applied the tombstone.
    RemoveNode {
        /// The node.
        node: NodeId,
        /// The tombstone's epoch.
        tombstone: u64,
    },
    /// Begins moves (placement-protocol.md 3). Each applies alone, if its row is stable and its
    /// slot where the plan found it, and the target's node takes data.
    StartMoves {
        /// The pool.
        pool: PoolId,
        /// What moves where.
        moves: Vec<SlotMove>,
    },
    /// Begins to take slots out of use (rules.md 19): such whose drive or node is gone, given up ones
    /// included, or drained with narrower stripes accepted, and such that share a node with another slot of
    /// their row. Each applies alone, if its row is stable and its slot where the plan found it.
    NarrowRows {
        /// The pool.
        pool: PoolId,
        /// The slots, each on its way to no drive.
        moves: Vec<SlotMove>,
    },
    /// Sends readers of these placement groups to the new places. Only when every object group was
    /// fenced at the Dual phase and everything was copied and verified.
    CutMoves {
        /// The pool.
        pool: PoolId,
        /// Rows by index, each with the epoch that the sender acts on.
        pgs: Vec<(u16, u64)>,
    },
    /// Ends moves whose old places are clean.
    EndMoves {
        /// The pool.
        pool: PoolId,
        /// Rows by index, each with the epoch that the sender acts on.
        pgs: Vec<(u16, u64)>,
    },
    /// Tokens, CAs and certificates.
    Identity(IdentityCommand),
    /// Takes moves back that are in the Dual phase.
    CancelMoves {
        /// The pool.
        pool: PoolId,
        /// Rows by index, each with the epoch that the sender acts on.
        pgs: Vec<(u16, u64)>,
    },
    /// Gives a node a fresh replica id in the place of one whose log it has lost, which never
    /// returns (rules.md 2). Sent with a request id: an attempt that arrives late must not take the
    /// id away that an earlier one brought.
    RenewReplica {
        /// The node.
        node: NodeId,
        /// The replica whose log is gone.
        lost: ReplicaId,
    },
    /// A node says up to which version it knows commands (rules.md 9).
    ReportVersion {
        /// The node.
        node: NodeId,
        /// The newest version that it knows.
        version: u8,
    },
    /// Lets no move begin, turn or end before this leader time: a backup wants one layout in all
    /// groups. 0 takes that back.
    HoldLayout {
        /// Milliseconds since 1970.
        until_ms: u64,
    },
    /// There is a whole backup of the metadata. An older one than the one that is known changes nothing.
    NoteBackup(BackupNote),
    /// Single drives, and work on them.
    Drives(DriveCommand),
    /// Drains that are decided by what leaves already.
    Drain(DrainCommand),
    /// Access keys.
    Keys(KeyCommand),
    /// Says by which rules what a bucket holds goes by itself, pending until every object group knows them.
    SetLifecycle {
        /// The bucket's name.
        name: BucketName,
        /// The rules; none: nothing goes.
        lifecycle: Lifecycle,
    },
    /// What buckets may hold.
    Quota(QuotaCommand),
    /// The end of a bucket's deletion.
    Ending(EndingCommand),
    /// Profiles that writes to a bucket may ask for.
    Profiles(ProfileCommand),
    /// Gives a bucket another profile, pending until every object group knows it; its versions are
    /// encoded anew in the background.
    SetBucketProfile {
        /// The bucket's name.
        name: BucketName,
        /// Its profile from now on.
        profile: Profile,
    },
    /// Has a bucket keep versions or not, pending until every object group knows it.
    SetVersioning {
        /// The bucket's name.
        name: BucketName,
        /// From now on; a bucket that kept versions once is never off again.
        versioning: Versioning,
    },
    /// An operator accepts narrower stripes (rules.md 19) for what a node holds, should it be
    /// emptied and leave too few nodes. Lapses when the node keeps its data after all.
    AcceptNarrower {
        /// The node.
        node: NodeId,
    },
    /// Both in one decision: a node is drained, as by [`Self::ChangeDuty`], and narrower stripes are accepted
    /// for what it holds, as by [`Self::AcceptNarrower`]; or neither.
    DrainNarrower {
        /// The node.
        node: NodeId,
        /// What it is there for as the operator saw it.
        from: NodeDuty,
        /// Only while the layout's epoch is this one.
        if_epoch: Option<u64>,
    },
    /// Gives a node up that has been dead for longer than the grace, until it returns. Refused while
    /// it is in maintenance.
    GiveUp {
        /// The node.
        node: NodeId,
        /// What it had is rebuilt elsewhere; else only its votes go.
        rebuild: bool,
    },
    /// A node that was given up has returned.
    TakeBack {
        /// The node.
        node: NodeId,
    },
    /// Pauses nodes for a while from now on, in leader time; all of them or none.
    Pause {
        /// The nodes.
        nodes: Vec<NodeId>,
        /// In which way.
        pause: Pause,
        /// For how long, at most [`PAUSE_MS_MAX`](marram_types::caps::PAUSE_MS_MAX).
        ttl_ms: u64,
    },
    /// Ends a pause.
    EndPause {
        /// The node.
        node: NodeId,
        /// Which pause.
        pause: Pause,
        /// Only the one that lasts until this time, and only when that time has come.
        only: Option<u64>,
    },
}

impl Command for RootCommand {
    fn version(&self) -> u8 {
        match self {
            Self::SetVersioning { .. } => VERSIONING_SINCE,
            Self::NarrowRows { .. } => NARROW_SINCE,
            Self::Drives(DriveCommand::SetPaused { work, .. }) if work.is_newer() => {
                WORK_PAUSES_SINCE
            }
            Self::Drives(DriveCommand::SetDuty {
                duty: DriveDuty::AwayDraining,
                ..
            }) => AWAY_DRAINING_SINCE,
            Self::Quota(_) => QUOTA_SINCE,
            Self::Ending(_) => BUCKET_ENDINGS_SINCE,
            Self::NoteBackup(_) => BACKUP_NOTES_SINCE,
            Self::Profiles(_) => OWN_PROFILES_SINCE,
            Self::Identity(IdentityCommand::Redeem {
                newcomer: Newcomer::Returning { .. },
                ..
            }) => RETURNS_SINCE,
            Self::DrainNarrower { .. } => DRAIN_NARROWER_SINCE,
            Self::Drain(_) => DRAINS_SINCE,
            Self::Keys(KeyCommand::Remove { .. }) => KEY_REMOVALS_SINCE,
            Self::SetLifecycle { .. } => LIFECYCLE_SINCE,
            _ => COMMAND_VERSION_OLDEST,
        }
    }

    fn encode_command(&self, out: &mut Writer) {
        self.encode(out);
    }

    fn size_hint(&self) -> usize {
        match self {
            Self::CreatePool(table) => 64 + 8 * table.rows.len() * usize::from(table.width),
            Self::StartMoves { moves, .. } | Self::NarrowRows { moves, .. } => {
                64 + 16 * moves.len()
            }
            Self::CutMoves { pgs, .. }
            | Self::EndMoves { pgs, .. }
            | Self::CancelMoves { pgs, .. } => 64 + 8 * pgs.len(),
            _ => 256,
        }
    }
}

/// Tags are below 128 here and above in object groups, so that a command that strays into the wrong
/// kind of group is recognised; but for 132, which no command of object groups has.
impl Stored for RootCommand {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Bootstrap { cluster, keys } => {
                out.u8(1);
                cluster.encode(out);
                out.list(keys, |out, key| key.encode(out));
            }
            Self::AddNode(join) => Stored::encode(join, out.u8(2)),
            Self::AddReplica { node, founder } => {
                out.u8(3).varint(node.0).bool(*founder);
            }
            Self::UpdateNode {
                node,
                mesh_addr,
                api_addr,
            } => {
                out.u8(4).varint(node.0).str(mesh_addr).str(api_addr);
            }
            Self::CreateGroups(groups) => {
                out.u8(5).list(groups, |out, group| group.encode(out));
            }
            Self::CreatePool(table) => Stored::encode(table, out.u8(6)),
            Self::SetDefaultProfile(profile) => put_profile(out.u8(7), *profile),
            Self::CreateBucket { name, profile } => {
                out.u8(8).str(name.as_str());
                out.option(profile.as_ref(), |out, p| put_profile(out, *p));
            }
            Self::BucketActive { bucket, epoch } => {
                out.u8(9).varint(bucket.0).varint(*epoch);
            }
            Self::DeleteBucket { name } => {
                out.u8(10).str(name.as_str());
            }
            Self::BucketSealed {
                bucket,
                epoch,
                nonempty,
            } => {
                out.u8(11).varint(bucket.0).varint(*epoch).bool(*nonempty);
            }
            Self::PutAccessKey(key) => key.encode(out.u8(12)),
            Self::FinalizeVersion { version } => {
                out.u8(13).u8(*version);
            }
            Self::UpdateGroup(group) => group.encode(out.u8(14)),
            Self::Drives(command) => command.encode(out),
            Self::Drain(command) => command.encode(out),
            Self::Identity(command) => command.encode(out),
            Self::Keys(command) => command.encode(out),
            Self::Quota(command) => command.encode(out),
            Self::Ending(command) => command.encode(out),
            Self::Profiles(command) => command.encode(out),
            Self::SetLifecycle { name, lifecycle } => {
                lifecycle.encode(out.u8(108).str(name.as_str()));
            }
            layout => encode_layout(out, layout),
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Bootstrap {
                cluster: ClusterRecord::decode(from)?,
                keys: from.list(AccessKeyRecord::decode)?,
            },
            2 => Self::AddNode(Stored::decode(from)?),
            3 => Self::AddReplica {
                node: NodeId(from.varint()?),
                founder: from.bool()?,
            },
            4 => Self::UpdateNode {
                node: NodeId(from.varint()?),
                mesh_addr: from.str()?.to_owned(),
                api_addr: from.str()?.to_owned(),
            },
            5 => Self::CreateGroups(from.list(GroupRecord::decode)?),
            6 => Self::CreatePool(Stored::decode(from)?),
            7 => Self::SetDefaultProfile(get_profile(from)?),
            8 => Self::CreateBucket {
                name: get_name(from)?,
                profile: from.option(get_profile)?,
            },
            9 => Self::BucketActive {
                bucket: BucketId(from.varint()?),
                epoch: from.varint()?,
            },
            10 => Self::DeleteBucket {
                name: get_name(from)?,
            },
            11 => Self::BucketSealed {
                bucket: BucketId(from.varint()?),
                epoch: from.varint()?,
                nonempty: from.bool()?,
            },
            12 => Self::PutAccessKey(AccessKeyRecord::decode(from)?),
            13 => Self::FinalizeVersion {
                version: from.u8()?,
            },
            14 => Self::UpdateGroup(GroupRecord::decode(from)?),
            tag if drive_command::TAGS.contains(&tag) => {
                Self::Drives(DriveCommand::decode(tag, from)?)
            }
            tag if drain::TAGS.contains(&tag) => Self::Drain(DrainCommand::decode(tag, from)?),
            tag if key_command::TAGS.contains(&tag) || tag == key_command::TAG_REMOVE => {
                Self::Keys(KeyCommand::decode(tag, from)?)
            }
            108 => Self::SetLifecycle {
                name: get_name(from)?,
                lifecycle: Lifecycle::decode(from)?,
            },
            tag if quota_command::TAGS.contains(&tag) => {
                Self::Quota(QuotaCommand::decode(tag, from)?)
            }
            tag if ending_command::TAGS.contains(&tag) => {
                Self::Ending(EndingCommand::decode(tag, from)?)
            }
            profile_command::TAG => Self::Profiles(ProfileCommand::decode(from)?),
            122 => Self::DrainNarrower {
                node: NodeId(from.varint()?),
                from: NodeDuty::from_byte(from.u8()?)?,
                if_epoch: from.option(Reader::varint)?,
            },
            tag @ 21..=29 => Self::Identity(IdentityCommand::decode(tag, from)?),
            layout => return decode_layout(layout, from),
        })
    }
}

/// Commands about duties and moves.
fn encode_layout(out: &mut Writer, command: &RootCommand) {
    match command {
        RootCommand::SetDuty { node, duty } => {
            out.u8(15).varint(node.0).u8(*duty as u8);
        }
        RootCommand::RemoveNode { node, tombstone } => {
            out.u8(16).varint(node.0).varint(*tombstone);
        }
        RootCommand::ChangeDuty {
            node,
            from,
            to,
            if_epoch,
        } => {
            out.u8(55).varint(node.0).u8(*from as u8).u8(*to as u8);
            put_epoch(out, *if_epoch);
        }
        RootCommand::Rebalance { on, if_epoch } => put_epoch(out.u8(57).bool(*on), *if_epoch),
        RootCommand::BuryNode { node, if_epoch } => {
            put_epoch(out.u8(56).varint(node.0), *if_epoch);
        }
        RootCommand::StartMoves { pool, moves } => put_moves(out.u8(17), *pool, moves),
        RootCommand::NarrowRows { pool, moves } => put_moves(out.u8(115), *pool, moves),
        RootCommand::CutMoves { pool, pgs } => put_steps(out.u8(18), *pool, pgs),
        RootCommand::EndMoves { pool, pgs } => put_steps(out.u8(19), *pool, pgs),
        RootCommand::CancelMoves { pool, pgs } => put_steps(out.u8(20), *pool, pgs),
        RootCommand::RenewReplica { node, lost } => {
            out.u8(50).varint(node.0).varint(lost.0);
        }
        RootCommand::ReportVersion { node, version } => {
            out.u8(51).varint(node.0).u8(*version);
        }
        RootCommand::HoldLayout { until_ms } => {
            out.u8(52).varint(*until_ms);
        }
        RootCommand::NoteBackup(backup) => backup.encode(out.u8(126)),
        RootCommand::SetBucketProfile { name, profile } => {
            put_profile(out.u8(40).str(name.as_str()), *profile);
        }
        RootCommand::AcceptNarrower { node } => {
            out.u8(41).varint(node.0);
        }
        RootCommand::DrainNarrower {
            node,
            from,
            if_epoch,
        } => put_epoch(out.u8(122).varint(node.0).u8(*from as u8), *if_epoch),
        RootCommand::SetVersioning { name, versioning } => {
            out.u8(104).str(name.as_str()).u8(*versioning as u8);
        }
        absence => absence_command::encode(out, absence),
    }
}

fn decode_layout(tag: u8, from: &mut Reader<'_>) -> Result<RootCommand, DecodeError> {
    let node = |from: &mut Reader<'_>| from.varint().map(NodeId);
    Ok(match tag {
        15 => RootCommand::SetDuty {
            node: node(from)?,
            duty: NodeDuty::from_byte(from.u8()?)?,
        },
        16 => RootCommand::RemoveNode {
            node: node(from)?,
            tombstone: from.varint()?,
        },
        55 => RootCommand::ChangeDuty {
            node: node(from)?,
            from: NodeDuty::from_byte(from.u8()?)?,
            to: NodeDuty::from_byte(from.u8()?)?,
            if_epoch: from.option(Reader::varint)?,
        },
        57 => RootCommand::Rebalance {
            on: from.bool()?,
            if_epoch: from.option(Reader::varint)?,
        },
        56 => RootCommand::BuryNode {
            node: node(from)?,
            if_epoch: from.option(Reader::varint)?,
        },
        17 => RootCommand::StartMoves {
            pool: PoolId(from.u16_be()?),
            moves: from.list(get_move)?,
        },
        115 => RootCommand::NarrowRows {
            pool: PoolId(from.u16_be()?),
            moves: from.list(get_move)?,
        },
        50 => RootCommand::RenewReplica {
            node: node(from)?,
            lost: ReplicaId(from.varint()?),
        },
        51 => RootCommand::ReportVersion {
            node: node(from)?,
            version: from.u8()?,
        },
        52 => RootCommand::HoldLayout {
            until_ms: from.varint()?,
        },
        126 => RootCommand::NoteBackup(BackupNote::decode(from)?),
        18..=20 => {
            let pool = PoolId(from.u16_be()?);
            let pgs = from.list(|from| Ok((from.u16_be()?, from.varint()?)))?;
            match tag {
                18 => RootCommand::CutMoves { pool, pgs },
                19 => RootCommand::EndMoves { pool, pgs },
                _ => RootCommand::CancelMoves { pool, pgs },
            }
        }
        40 => RootCommand::SetBucketProfile {
            name: get_name(from)?,
            profile: get_profile(from)?,
        },
        41 => RootCommand::AcceptNarrower { node: node(from)? },
        104 => RootCommand::SetVersioning {
            name: get_name(from)?,
            versioning: Versioning::from_byte(from.u8()?)?,
        },
        other => return absence_command::decode(other, from),
    })
}

fn put_epoch(out: &mut Writer, epoch: Option<u64>) {
    out.option(epoch.as_ref(), |out, epoch| {
        out.varint(*epoch);
    });
}

fn put_moves(out: &mut Writer, pool: PoolId, moves: &[SlotMove]) {
    out.u16_be(pool.0).list(moves, |out, planned| {
        out.u16_be(planned.pg).u8(planned.slot);
        out.varint(planned.from.0).varint(planned.to.0);
    });
}

fn get_move(from: &mut Reader<'_>) -> Result<SlotMove, DecodeError> {
    Ok(SlotMove {
        pg: from.u16_be()?,
        slot: from.u8()?,
        from: DriveId(from.varint()?),
        to: DriveId(from.varint()?),
    })
}

fn put_steps(out: &mut Writer, pool: PoolId, pgs: &[(u16, u64)]) {
    out.u16_be(pool.0).list(pgs, |out, (index, epoch)| {
        out.u16_be(*index).varint(*epoch);
    });
}
