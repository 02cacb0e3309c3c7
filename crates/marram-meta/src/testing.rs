//! What the tests of this crate share: a group to apply commands to, and strategies.

pub(crate) mod arb;
pub(crate) mod forms;

use bytes::Bytes;
use marram_placement::PgRow;
use marram_types::{
    BucketId, BucketName, DataId, DriveId, Generation, GroupId, ObjectKey, PgId, PoolId, Profile,
    RequestId, VersionId,
};

use crate::{
    AnnotateCommand, BucketRecord, BucketState, Envelope, Extent, MemKv, NewBody, NewExtent,
    NewVersion, ObjectCommand, ObjectOutcome, Precondition, UploadCommand, VersionCommand,
    Versioning, apply_object, stamp,
};

pub(crate) const BUCKET: BucketId = BucketId(7);
/// Deadline of requests, this much after the time of their entry.
pub(crate) const DEADLINE_AHEAD_MS: u64 = 30_000;

pub(crate) fn profile(text: &str) -> Profile {
    text.parse().expect("a profile")
}

pub(crate) fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("a key")
}

pub(crate) fn request(sequence: u64) -> RequestId {
    RequestId {
        client: 1,
        sequence,
    }
}

pub(crate) fn data(begin: u64, random: u64) -> DataId {
    DataId {
        group: GroupId(1),
        begin,
        random,
    }
}

/// The pool that test groups know, and how many rows it has.
pub(crate) const POOL: PoolId = PoolId(6);
pub(crate) const PGS: u16 = 4;

pub(crate) fn pg(index: u16) -> PgId {
    PgId { pool: POOL, index }
}

/// A row as test groups know it at first: six of nine drives.
pub(crate) fn first_row(index: u16) -> PgRow {
    let first = u64::from(index) * 3;
    PgRow::stable(
        1,
        (0..6).map(|slot| DriveId(1 + (first + slot) % 9)).collect(),
    )
}

/// An extent of which every shard was written where a row wants it.
pub(crate) fn wrote_by(row: &PgRow, extent: Extent) -> NewExtent {
    let places = |(shard, slot)| {
        let wanted = row.must_hold(slot).expect("a slot of the row");
        wanted.iter().map(move |drive| (shard, drive))
    };
    let wrote = extent.shards().flat_map(places).collect();
    NewExtent { extent, wrote }
}

/// An extent of which every shard was written where its row wanted it at first.
pub(crate) fn wrote(extent: Extent) -> NewExtent {
    wrote_by(&first_row(extent.pg.index), extent)
}

/// A fence of one placement group.
pub(crate) fn fence(index: u16, row: PgRow) -> ObjectCommand {
    ObjectCommand::LayoutFence {
        pool: POOL,
        rows: vec![(index, row)],
    }
}

/// An extent of pool 6, the one that test groups know.
pub(crate) fn extent(data: DataId, profile: Profile, length: u64) -> Extent {
    Extent {
        data,
        pg: pg(u16::try_from(data.random % u64::from(PGS)).expect("below 4")),
        profile,
        cell: 65_536,
        length,
        slots: (0..u8::try_from(profile.width()).expect("small")).collect(),
        missing: 0,
        overrides: Vec::new(),
    }
}

pub(crate) fn bucket_record(epoch: u64, state: BucketState) -> BucketRecord {
    BucketRecord {
        bucket: BUCKET,
        name: BucketName::new("photos").expect("a name"),
        epoch,
        state,
        profile: profile("4+2"),
        created_ms: 5,
        versioning: Versioning::Off,
        quota: None,
        lifecycle: None,
        allowed: Vec::new(),
    }
}

pub(crate) fn put(name: &str, version: u128, body: NewBody) -> ObjectCommand {
    let size = match &body {
        NewBody::Inline { bytes, .. } => bytes.len() as u64,
        NewBody::Extents(extents) => extents.iter().map(|e| e.extent.length).sum(),
    };
    ObjectCommand::Put {
        bucket: BUCKET,
        key: key(name),
        content: NewVersion {
            version: VersionId(version),
            size,
            crc64: 77,
            etag: format!("\"{version:x}-{size}\""),
            content_type: "text/plain".to_owned(),
            metadata: vec![("a".to_owned(), "b".to_owned())],
            tags: Vec::new(),
            asked: None,
            own: None,
            body,
        },
        precondition: Precondition::default(),
    }
}

pub(crate) fn inline(random: u64, bytes: &'static [u8]) -> NewBody {
    NewBody::Inline {
        data: data(0, random),
        bytes: Bytes::from_static(bytes),
    }
}

pub(crate) fn delete(name: &str) -> ObjectCommand {
    ObjectCommand::Delete {
        bucket: BUCKET,
        key: key(name),
        precondition: Precondition::default(),
    }
}

/// A record of the bucket that keeps versions, or did.
pub(crate) fn versioned(epoch: u64, versioning: Versioning) -> ObjectCommand {
    ObjectCommand::BucketFence(BucketRecord {
        versioning,
        ..bucket_record(epoch, BucketState::Active)
    })
}

/// The deletion of one version.
pub(crate) fn delete_version(name: &str, generation: u64) -> ObjectCommand {
    ObjectCommand::Version(VersionCommand::Delete {
        bucket: BUCKET,
        key: key(name),
        generation: Generation(generation),
        precondition: Precondition::default(),
    })
}

/// The same command under a precondition.
pub(crate) fn given(mut command: ObjectCommand, wanted: Precondition) -> ObjectCommand {
    match &mut command {
        ObjectCommand::Put { precondition, .. }
        | ObjectCommand::Delete { precondition, .. }
        | ObjectCommand::Annotate(
            AnnotateCommand::SetTags { precondition, .. }
            | AnnotateCommand::Describe { precondition, .. },
        )
        | ObjectCommand::Version(VersionCommand::Delete { precondition, .. }) => {
            *precondition = wanted;
        }
        ObjectCommand::Upload(UploadCommand::Complete { precondition, .. }) => {
            *precondition = wanted;
        }
        _ => unreachable!("only mutations have preconditions"),
    }
    command
}

/// An object group that applies what it is given.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) kv: MemKv,
    pub(crate) index: u64,
    pub(crate) time_ms: u64,
    sequence: u64,
}

impl Group {
    /// A group that knows nothing.
    pub(crate) fn empty() -> Self {
        Self {
            kv: MemKv::new(),
            index: 10,
            time_ms: 1_000_000,
            sequence: 0,
        }
    }

    /// A group that knows an active bucket of 4+2 and the pool of width 6.
    pub(crate) fn ready() -> Self {
        let mut group = Self::empty();
        group.run(&ObjectCommand::BucketFence(bucket_record(
            1,
            BucketState::Active,
        )));
        group.run(&ObjectCommand::LayoutFence {
            pool: POOL,
            rows: (0..PGS).map(|index| (index, first_row(index))).collect(),
        });
        group
    }

    /// Seals a command with the group's time and a deadline that is not near.
    pub(crate) fn seal(&self, request: Option<RequestId>, command: &ObjectCommand) -> Vec<u8> {
        let deadline_ms = request.map_or(0, |_| self.time_ms + DEADLINE_AHEAD_MS);
        let mut entry = Envelope::seal(request, deadline_ms, command);
        stamp(&mut entry, self.time_ms).expect("an envelope");
        entry
    }

    /// Applies an entry at the next index.
    pub(crate) fn apply(&mut self, entry: &[u8]) -> ObjectOutcome {
        self.index += 1;
        let outcome = apply_object(&mut self.kv, self.index, entry).expect("applies");
        ObjectOutcome::decode(&outcome).expect("an outcome")
    }

    pub(crate) fn run_as(&mut self, request: RequestId, command: &ObjectCommand) -> ObjectOutcome {
        let entry = self.seal(Some(request), command);
        self.apply(&entry)
    }

    /// Runs a command, under a fresh request id if it is a user's.
    pub(crate) fn run(&mut self, command: &ObjectCommand) -> ObjectOutcome {
        self.sequence += 1;
        let is_users = matches!(
            command,
            ObjectCommand::Put { .. }
                | ObjectCommand::Delete { .. }
                | ObjectCommand::Annotate(_)
                | ObjectCommand::Version(VersionCommand::Delete { .. })
        ) || matches!(command, ObjectCommand::Upload(c) if *c != UploadCommand::Drop);
        let request = is_users.then_some(RequestId {
            client: 2,
            sequence: self.sequence,
        });
        let entry = self.seal(request, command);
        self.apply(&entry)
    }
}
