//! What an object group can be told to do.

use bytes::Bytes;
use marram_placement::PgRow;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{
    BucketId, DataId, DriveId, Generation, ObjectKey, PgId, PoolId, Profile, VersionId,
};

use super::annotate_command::AnnotateCommand;
use super::expire_command::{ExpireCommand, TAG_EXPIRE};
use super::lease_command::LeaseCommand;
use super::new_extent::{NewExtent, get_new_extents, put_new_extents};
use super::put_ref::{PutRef, get_precondition, put_precondition};
use super::upload_command::UploadCommand;
use super::version_command::VersionCommand;
use crate::envelope::{
    COMMAND_VERSION_OLDEST, COPIES_SINCE, Command, EVENTS_SINCE, LIFECYCLE_SINCE, LONG_READS_SINCE,
    OWN_PROFILES_SINCE, QUOTA_SINCE, TAGS_SINCE, VERSIONING_SINCE, WRITES_SINCE,
};
use crate::kinds::bucket::BucketRecord;
use crate::kinds::data_ref::{get_pair, put_pair};
use crate::kinds::object::{put_metadata, tag_bytes};
use crate::kinds::tombstone::Tombstone;
use crate::kinds::versioning::Versioning;
use crate::refusal::unknown;
use crate::stored::{Stored, get_drives, put_drives, put_profile};

// 132 was a fence of a pool, in no release: the number is not used again.
pub(super) const TAG_PUT: u8 = 129;
/// A put whose version has tags, which come last.
pub(super) const TAG_PUT_TAGGED: u8 = 177;
/// A put that says what was asked: as one with tags, and then the digest.
pub(super) const TAG_PUT_ASKED: u8 = 212;
/// A put with a profile of its own: as one with tags, then the digest of what was asked, if it says it, and
/// the profile.
pub(super) const TAG_PUT_OWN: u8 = 200;
pub(super) const TAG_DELETE: u8 = 130;
const TAG_BUCKET_FENCE: u8 = 131;
const TAG_RAISE_FLOORS: u8 = 133;
const TAG_COLLECTED: u8 = 134;
const TAG_LAYOUT_FENCE: u8 = 135;
const TAG_SHARD_PLACED: u8 = 136;
const TAG_SHARD_MISSING: u8 = 137;
const TAG_REENCODE: u8 = 138;
const TAG_HOLD_FLOORS: u8 = 150;
const TAG_TOMBSTONE: u8 = 155;
const TAG_JUDGE_VERSIONS: u8 = 139;
const TAG_KEEP_EVENTS: u8 = 187;
const TAG_HOLD_READS: u8 = 209;

/// Where a new version's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewBody {
    /// Here, at most `INLINE_BYTES_MAX`.
    Inline {
        /// Names them.
        data: DataId,
        /// The bytes.
        bytes: Bytes,
    },
    /// On drives already, every shard durable (rules.md 18); at least one extent.
    Extents(Vec<NewExtent>),
}

/// A version to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// Fresh for every attempt (rules.md 14).
    pub version: VersionId,
    /// Bytes, the sum of the body's parts.
    pub size: u64,
    /// CRC64/NVME of all bytes.
    pub crc64: u64,
    /// Quotes included.
    pub etag: String,
    /// What the writer said.
    pub content_type: String,
    /// User metadata.
    pub metadata: Vec<(String, String)>,
    /// Tags, in the order of their keys.
    pub tags: Vec<(String, String)>,
    /// Where the bytes are.
    pub body: NewBody,
    /// A digest of what the client asked, where it did not send the bytes: those of a copy may be others at
    /// the next attempt (rules.md 14).
    pub asked: Option<u64>,
    /// The profile that it shall have, instead of the bucket's.
    pub own: Option<Profile>,
}

/// What must hold of the present version for a mutation to happen. All given parts must hold; the
/// default asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Precondition {
    /// The present generation is this one; 0: there is no object (rules.md 15).
    pub if_generation_match: Option<Generation>,
    /// The present generation is another one; 0: there is an object.
    pub if_generation_not_match: Option<Generation>,
    /// There is an object and its `ETag` is this one; `*`: any.
    pub if_etag_match: Option<String>,
    /// There is no object, or its `ETag` is another one; `*`: there is none.
    pub if_etag_none_match: Option<String>,
}

/// One entry that a collector has finished with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectedEntry {
    /// The index that displaced the data.
    pub at: u64,
    /// The extent's data.
    pub data: DataId,
}

/// A command of an object group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectCommand {
    /// Commits a version. Needs a request id.
    Put {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The version.
        content: NewVersion,
        /// What must hold.
        precondition: Precondition,
    },
    /// Removes an object; one that is absent is removed already. Needs a request id.
    Delete {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// What must hold.
        precondition: Precondition,
    },
    /// Brings a root decision about a bucket (rules.md 11).
    BucketFence(BucketRecord),
    /// Brings root decisions about placement groups of a pool (placement-protocol.md, "who knows
    /// what"). The group takes every row whose epoch is higher than that of its own copy.
    LayoutFence {
        /// The pool.
        pool: PoolId,
        /// Rows by their index in its table.
        rows: Vec<(u16, PgRow)>,
    },
    /// Raises the floors; they never fall (rules.md 27, 28).
    RaiseFloors {
        /// Commits begun below it are refused from now on.
        gc_floor: u64,
        /// Data displaced below it has no readers left.
        read_floor: u64,
    },
    /// The shards of these garbage entries are gone. Entries whose data begins at or above the
    /// `gc_floor` stay (placement-protocol.md 10).
    Collected(Vec<CollectedEntry>),
    /// A shard of a live extent is durable at these places, where it was just verified. To be sent
    /// only when all shards that the row will then claim were seen (placement-protocol.md 14).
    ShardPlaced {
        /// The extent's placement group.
        pg: PgId,
        /// Its data.
        data: DataId,
        /// Which shard.
        shard: u8,
        /// Every place where it was seen.
        at: Vec<DriveId>,
        /// The group's applied index from before it was looked at, as query answers tell it. The
        /// claim is void when the placement group was fenced, or the extent reported, since.
        seen: u64,
    },
    /// A shard of a live extent is not at a place that could be reached (placement-protocol.md 14).
    ShardMissing {
        /// The extent's placement group.
        pg: PgId,
        /// Its data.
        data: DataId,
        /// Which shard.
        shard: u8,
        /// Where it was looked for: it counts only if that is where readers look.
        at: DriveId,
    },
    /// Replaces the data of a live extent by these extents with the same object bytes, all shards
    /// of them durable and looked at again after the last write (placement-protocol.md 13).
    Reencode {
        /// The old extent's placement group.
        pg: PgId,
        /// The old data.
        data: DataId,
        /// What takes its place, in the order of the object's bytes.
        extents: Vec<NewExtent>,
    },
    /// Keeps the data of every version that is there at this entry, whatever displaces it, until a
    /// leader time: a backup names it. An earlier hold that still lasts goes on; 0 ends all.
    HoldFloors {
        /// Milliseconds since 1970.
        until_ms: u64,
    },
    /// Keeps what a server's long reads may still need, for a while: data that is displaced after `index`.
    /// Takes the place of what the server held before (rules.md 28).
    HoldReads {
        /// The server, by a number that it drew when it started.
        server: u64,
        /// The applied index of the oldest of its reads' look-ups.
        index: u64,
        /// For how long, unless it is said again; 0: it has no such read any more.
        for_ms: u64,
    },
    /// Brings the root's decision that a node is about to be removed, or not any more (rules.md
    /// 25). The group takes it if its epoch is higher than what it knows of the drives.
    Tombstone(Tombstone),
    /// Begins, changes or ends a multipart upload.
    Upload(UploadCommand),
    /// Removes or judges versions that are not current.
    Version(VersionCommand),
    /// Changes what is said of a version beside its bytes.
    Annotate(AnnotateCommand),
    /// Removes what is due of a bucket by its rules.
    Expire(ExpireCommand),
    /// Settles the group's part of a bucket's quota.
    Lease(LeaseCommand),
    /// Judges the next versions of a bucket by its changed profile: counters and tickets follow.
    JudgeVersions {
        /// The bucket.
        bucket: BucketId,
        /// The last version that was judged, as the sender knows it: another one, and nothing is
        /// changed.
        after: Option<ObjectKey>,
    },
    /// Has the group write down what its entries change about objects, for those who watch: from the
    /// next entry on, if it did not before (rules.md 30).
    KeepEvents {
        /// How long events are kept, in milliseconds.
        for_ms: u64,
        /// How many bytes of them; whichever ends first.
        bytes: u64,
    },
}

impl ObjectCommand {
    /// The bucket that a user's command adds something to, and the data that it would commit.
    #[must_use]
    pub fn adds_to(&self) -> Option<(BucketId, &[NewExtent])> {
        match self {
            Self::Put {
                bucket, content, ..
            } => match &content.body {
                NewBody::Inline { .. } => Some((*bucket, &[])),
                NewBody::Extents(extents) => Some((*bucket, extents)),
            },
            Self::Upload(UploadCommand::Part { name, content }) => {
                Some((name.bucket, &content.extents))
            }
            Self::Upload(UploadCommand::Run { name, content }) => {
                Some((name.bucket, &content.extents))
            }
            Self::Upload(UploadCommand::Complete { name, .. }) => Some((name.bucket, &[])),
            _ => None,
        }
    }
}

fn extents_hint(extents: &[NewExtent]) -> usize {
    let one = |new: &NewExtent| 64 + 8 * new.wrote.len();
    extents.iter().map(one).sum()
}

impl Command for ObjectCommand {
    fn version(&self) -> u8 {
        match self {
            Self::Version(_) => VERSIONING_SINCE,
            Self::KeepEvents { .. } => EVENTS_SINCE,
            Self::HoldReads { .. } => LONG_READS_SINCE,
            Self::Annotate(_) => TAGS_SINCE,
            Self::Put { content, .. } if content.own.is_some() => OWN_PROFILES_SINCE,
            Self::Put { content, .. } if content.asked.is_some() => COPIES_SINCE,
            Self::Put { content, .. } if !content.tags.is_empty() => TAGS_SINCE,
            Self::Upload(command) if command.has_own_profile() => OWN_PROFILES_SINCE,
            Self::Upload(command) if command.is_of_stream() => WRITES_SINCE,
            Self::Upload(command) if command.has_tags() => TAGS_SINCE,
            Self::Lease(_) => QUOTA_SINCE,
            Self::Expire(_) => LIFECYCLE_SINCE,
            Self::BucketFence(record) if !record.allowed.is_empty() => OWN_PROFILES_SINCE,
            Self::BucketFence(record) if record.lifecycle.is_some() => LIFECYCLE_SINCE,
            Self::BucketFence(record) if record.quota.is_some() => QUOTA_SINCE,
            Self::BucketFence(record) if record.versioning != Versioning::Off => VERSIONING_SINCE,
            _ => COMMAND_VERSION_OLDEST,
        }
    }

    fn encode_command(&self, out: &mut Writer) {
        self.encode(out);
    }

    fn size_hint(&self) -> usize {
        let (key, content) = match self {
            Self::Put { key, content, .. } => (key, content),
            Self::LayoutFence { rows, .. } => {
                let row = |(_, row): &(u16, PgRow)| 32 + 8 * row.drives.len();
                return 64 + rows.iter().map(row).sum::<usize>();
            }
            Self::Reencode { extents, .. } | Self::Lease(LeaseCommand::GiveUp { extents }) => {
                return 64 + extents_hint(extents);
            }
            Self::Upload(command) => return 512 + extents_hint(command.extents()),
            _ => return 256,
        };
        let body = match &content.body {
            NewBody::Inline { bytes, .. } => bytes.len(),
            NewBody::Extents(extents) => extents_hint(extents),
        };
        let metadata: usize = content
            .metadata
            .iter()
            .chain(&content.tags)
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        256 + key.as_str().len() + body + metadata
    }
}

fn encode_put(
    out: &mut Writer,
    (bucket, key): (BucketId, &ObjectKey),
    content: &NewVersion,
    precondition: &Precondition,
) {
    let tag = match (content.own, content.asked, content.tags.is_empty()) {
        (Some(_), _, _) => TAG_PUT_OWN,
        (None, Some(_), _) => TAG_PUT_ASKED,
        (None, None, false) => TAG_PUT_TAGGED,
        (None, None, true) => TAG_PUT,
    };
    out.u8(tag).u64_be(bucket.0).str(key.as_str());
    put_precondition(out, precondition);
    encode_content(out, content);
    match (content.asked, content.own) {
        (None, None) => {
            out.raw(&tag_bytes(&content.tags));
        }
        (Some(asked), None) => {
            put_metadata(out, &content.tags);
            out.u64_be(asked);
        }
        (asked, Some(own)) => {
            put_metadata(out, &content.tags);
            out.option(asked.as_ref(), |out, asked| {
                out.u64_be(*asked);
            });
            put_profile(out, own);
        }
    }
}

fn encode_content(out: &mut Writer, content: &NewVersion) {
    out.u128_be(content.version.0)
        .varint(content.size)
        .u64_be(content.crc64)
        .str(&content.etag)
        .str(&content.content_type);
    put_metadata(out, &content.metadata);
    match &content.body {
        NewBody::Inline { data, bytes } => {
            out.u8(1);
            data.encode(out);
            out.bytes(bytes);
        }
        NewBody::Extents(extents) => {
            out.u8(2);
            put_new_extents(out, extents);
        }
    }
}

impl Stored for CollectedEntry {
    fn encode(&self, out: &mut Writer) {
        self.data.encode(out.varint(self.at));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            at: from.varint()?,
            data: DataId::decode(from)?,
        })
    }
}

/// Commands that have files of their own.
fn encode_family(out: &mut Writer, command: &ObjectCommand) {
    match command {
        ObjectCommand::Upload(command) => command.encode(out),
        ObjectCommand::Version(command) => command.encode(out),
        ObjectCommand::Annotate(command) => command.encode(out),
        ObjectCommand::Lease(command) => command.encode(out),
        ObjectCommand::Expire(command) => command.encode(out.u8(TAG_EXPIRE)),
        _ => unreachable!("encoded by the caller"),
    }
}

/// Appends the key that something has come to.
fn put_last(out: &mut Writer, last: Option<&ObjectKey>) {
    out.option(last, |out, key| {
        out.str(key.as_str());
    });
}

fn put_two(out: &mut Writer, first: u64, second: u64) {
    out.varint(first).varint(second);
}

/// Reads an object key, which must be a valid one.
pub(crate) fn get_key(from: &mut Reader<'_>) -> Result<ObjectKey, DecodeError> {
    ObjectKey::new(from.str()?).map_err(|_| DecodeError::Invalid("object key"))
}

impl Stored for ObjectCommand {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Put {
                bucket,
                key,
                content,
                precondition,
            } => {
                let target = (*bucket, key);
                encode_put(out, target, content, precondition);
            }
            Self::Delete {
                bucket,
                key,
                precondition,
            } => {
                out.u8(TAG_DELETE).u64_be(bucket.0).str(key.as_str());
                put_precondition(out, precondition);
            }
            Self::BucketFence(record) => record.encode(out.u8(TAG_BUCKET_FENCE)),
            Self::RaiseFloors {
                gc_floor,
                read_floor,
            } => put_two(out.u8(TAG_RAISE_FLOORS), *gc_floor, *read_floor),
            Self::Collected(entries) => {
                out.u8(TAG_COLLECTED)
                    .list(entries, |out, entry| entry.encode(out));
            }
            Self::LayoutFence { pool, rows } => {
                out.u8(TAG_LAYOUT_FENCE).u16_be(pool.0);
                out.list(rows, |out, (index, row)| row.encode(out.u16_be(*index)));
            }
            Self::ShardPlaced {
                pg,
                data,
                shard,
                at,
                seen,
            } => {
                put_pair(out.u8(TAG_SHARD_PLACED), (*pg, *data));
                put_drives(out.u8(*shard), at);
                out.varint(*seen);
            }
            Self::ShardMissing {
                pg,
                data,
                shard,
                at,
            } => {
                put_pair(out.u8(TAG_SHARD_MISSING), (*pg, *data));
                out.u8(*shard).varint(at.0);
            }
            Self::Reencode { pg, data, extents } => {
                put_pair(out.u8(TAG_REENCODE), (*pg, *data));
                put_new_extents(out, extents);
            }
            Self::HoldFloors { until_ms } => {
                out.u8(TAG_HOLD_FLOORS).varint(*until_ms);
            }
            Self::Tombstone(tombstone) => tombstone.encode(out.u8(TAG_TOMBSTONE)),
            Self::HoldReads {
                server,
                index,
                for_ms,
            } => put_two(out.u8(TAG_HOLD_READS).u64_be(*server), *index, *for_ms),
            Self::KeepEvents { for_ms, bytes } => put_two(out.u8(TAG_KEEP_EVENTS), *for_ms, *bytes),
            Self::JudgeVersions { bucket, after } => {
                put_last(out.u8(TAG_JUDGE_VERSIONS).u64_be(bucket.0), after.as_ref());
            }
            family => encode_family(out, family),
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            tag @ (TAG_PUT | TAG_PUT_TAGGED | TAG_PUT_ASKED | TAG_PUT_OWN) => {
                PutRef::decode(tag, from)?.to_command()?
            }
            TAG_DELETE => Self::Delete {
                bucket: BucketId(from.u64_be()?),
                key: get_key(from)?,
                precondition: get_precondition(from)?.to_owned(),
            },
            TAG_BUCKET_FENCE => Self::BucketFence(BucketRecord::decode(from)?),
            TAG_RAISE_FLOORS => Self::RaiseFloors {
                gc_floor: from.varint()?,
                read_floor: from.varint()?,
            },
            TAG_COLLECTED => Self::Collected(from.list(CollectedEntry::decode)?),
            TAG_LAYOUT_FENCE => Self::LayoutFence {
                pool: PoolId(from.u16_be()?),
                rows: from.list(|from| Ok((from.u16_be()?, PgRow::decode(from)?)))?,
            },
            tag @ (TAG_SHARD_PLACED | TAG_SHARD_MISSING) => get_shard(tag, from)?,
            TAG_REENCODE => {
                let (pg, data) = get_pair(from)?;
                let extents = get_new_extents(from)?;
                Self::Reencode { pg, data, extents }
            }
            TAG_HOLD_FLOORS => Self::HoldFloors {
                until_ms: from.varint()?,
            },
            TAG_TOMBSTONE => Self::Tombstone(Tombstone::decode(from)?),
            TAG_JUDGE_VERSIONS => Self::JudgeVersions {
                bucket: BucketId(from.u64_be()?),
                after: from.option(get_key)?,
            },
            TAG_HOLD_READS => Self::HoldReads {
                server: from.u64_be()?,
                index: from.varint()?,
                for_ms: from.varint()?,
            },
            TAG_KEEP_EVENTS => Self::KeepEvents {
                for_ms: from.varint()?,
                bytes: from.varint()?,
            },
            tag if VersionCommand::has_tag(tag) => {
                Self::Version(VersionCommand::decode(tag, from)?)
            }
            tag if AnnotateCommand::has_tag(tag) => {
                Self::Annotate(AnnotateCommand::decode(tag, from)?)
            }
            TAG_EXPIRE => Self::Expire(ExpireCommand::decode(from)?),
            tag if LeaseCommand::has_tag(tag) => Self::Lease(LeaseCommand::decode(tag, from)?),
            tag if UploadCommand::has_tag(tag) => Self::Upload(UploadCommand::decode(tag, from)?),
            other => return Err(unknown("object command", other)),
        })
    }
}

/// Reads where a shard is, or that it is nowhere, after its tag.
fn get_shard(tag: u8, from: &mut Reader<'_>) -> Result<ObjectCommand, DecodeError> {
    let (pg, data) = get_pair(from)?;
    let shard = from.u8()?;
    Ok(if tag == TAG_SHARD_PLACED {
        ObjectCommand::ShardPlaced {
            pg,
            data,
            shard,
            at: get_drives(from)?,
            seen: from.varint()?,
        }
    } else {
        ObjectCommand::ShardMissing {
            pg,
            data,
            shard,
            at: DriveId(from.varint()?),
        }
    })
}
