//! Encodes one extent of an object anew: widening, narrowing, a change of profile
//! (placement-protocol.md 13).
//!
//! ```text
//! the row -> k shards of the old data -> windows -> k+m shards under a new data id
//!         -> a look at every new shard -> one entry, which compares the old data id
//! ```
//! The object can be read and overwritten all the while; memory is bounded by two windows and two
//! steps. Every byte is read and written at the pace of moves and repairs ([`paced`]). A try that breaks off before its entry was sent removes what it wrote; one that sent it
//! never does (rules.md 27). Nothing is kept between tries, so that any server goes on at any time.

mod look;
pub(crate) mod paced;
mod source;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use marram_erasure::GeometryError;
use marram_meta::{
    BucketRecord, Extent, NewExtent, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery,
};
use marram_types::{BucketId, DataId, GroupId, ObjectKey, PgId, Profile};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::begin::Begin;
use crate::core::{Busy, Core};
use crate::drives::DriveError;
use crate::groups::GroupError;
use crate::put::{self, PutError, Wanted};
use look::look_at_all;
use source::ExtentSource;

/// Extents that one server encodes anew at once.
const REENCODINGS_AT_ONCE: usize = 2;

/// An extent, and what it shall become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReencodeJob {
    /// The object's group.
    pub group: GroupId,
    /// The object's bucket.
    pub bucket: BucketId,
    /// The object's key.
    pub key: ObjectKey,
    /// The extent's placement group.
    pub pg: PgId,
    /// The extent's data.
    pub data: DataId,
    /// The profile that it shall have.
    pub profile: Profile,
}

/// What became of an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reencoded {
    /// The object holds the new data.
    Done {
        /// Bytes of shards that were written.
        written: u64,
    },
    /// The object does not hold the old data any more: there is nothing to do.
    NotLive,
}

/// Why an extent was not encoded anew. The same job may be given again.
#[derive(Debug, thiserror::Error)]
pub enum ReencodeError {
    /// This server is at as many extents as it may be.
    #[error("this server encodes {REENCODINGS_AT_ONCE} extents anew already")]
    Busy,
    /// This server is at the extent already.
    #[error("this server is at the extent already")]
    UnderWay,
    /// It cannot be done now.
    #[error("{0}")]
    NotNow(String),
}

/// How fast background work may go over this server's link. The drives of all nodes, and the links of the
/// others, are their nodes' to pace.
#[async_trait]
pub trait WorkPace: Send + Sync {
    /// Waits until so many bytes may come from other nodes. What is given up meanwhile counts for nothing.
    async fn receive(&self, bytes: u64);

    /// Waits until so many bytes may go to other nodes.
    async fn send(&self, bytes: u64);

    /// Told when all of an extent is written and seen, right before its group is asked to take it.
    fn before_commit(&self) {}
}

/// What stopped a try.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Write(#[from] PutError),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("the extent's row is damaged: {0}")]
    Row(#[from] GeometryError),
    #[error("the bytes read do not have the object's checksum")]
    Checksum,
    #[error("drives failed meanwhile: it would have become {0} only")]
    Narrower(Profile),
    #[error("a new shard could not be looked at: {0}")]
    Look(DriveError),
    #[error("a new shard was not there when it was looked at")]
    Lost,
    #[error("the group refused the new data: {0}")]
    Refused(marram_meta::Refusal),
}

/// Encodes extents anew, some at once. Clones share their work.
#[derive(Clone)]
pub struct Reencoder {
    core: Arc<Core>,
    pace: Arc<dyn WorkPace>,
    at_once: Arc<Semaphore>,
    under_way: Arc<Mutex<HashSet<DataId>>>,
}

impl std::fmt::Debug for Reencoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reencoder").finish_non_exhaustive()
    }
}

/// An extent that is being encoded anew; the mark goes with it.
struct Mark {
    all: Arc<Mutex<HashSet<DataId>>>,
    data: DataId,
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.all.lock().remove(&self.data);
    }
}

impl Reencoder {
    pub(crate) fn new(core: Arc<Core>, pace: Arc<dyn WorkPace>) -> Self {
        Self {
            core,
            pace,
            at_once: Arc::new(Semaphore::new(REENCODINGS_AT_ONCE)),
            under_way: Arc::default(),
        }
    }

    /// Encodes an extent anew. Goes on to its end when the caller is gone: it would leave shards
    /// behind that only a scan finds.
    ///
    /// # Errors
    /// When it is not done; see [`ReencodeError`].
    pub async fn run(&self, job: ReencodeJob) -> Result<Reencoded, ReencodeError> {
        if !self.under_way.lock().insert(job.data) {
            return Err(ReencodeError::UnderWay);
        }
        let mark = Mark {
            all: Arc::clone(&self.under_way),
            data: job.data,
        };
        let place = Arc::clone(&self.at_once).try_acquire_owned();
        let place = place.map_err(|_| ReencodeError::Busy)?;
        let (core, pace) = (Arc::clone(&self.core), Arc::clone(&self.pace));
        let working = self.core.tasks.spawn(async move {
            let done = reencode(&core, &pace, &job).await;
            if let Err(why) = &done {
                tracing::info!(data = %job.data, profile = %job.profile, %why, "an extent keeps its data for now");
            }
            drop((mark, place));
            done
        });
        match working.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(why)) => Err(ReencodeError::NotNow(why.to_string())),
            Err(_) => Err(ReencodeError::NotNow("the server is stopping".to_owned())),
        }
    }
}

/// The extent as its row has it now, with where to read each shard.
struct Old {
    extent: Extent,
    /// The checksum of its bytes, where they are all of the object's.
    crc64: Option<u64>,
}

async fn find(core: &Core, job: &ReencodeJob) -> Result<Option<Old>, Stop> {
    let query = ObjectQuery::Live {
        pg: job.pg,
        data: job.data,
    };
    let ObjectAnswer::Live(live) = core.ask(job.group, &query, true).await? else {
        return Err(GroupError::Kind(job.group).into());
    };
    Ok(live.map(|live| Old {
        crc64: live.crc64,
        extent: Extent {
            // Read where the group says, whatever this server knows of the layout.
            overrides: (0..=u8::MAX).zip(live.places).collect(),
            ..live.extent
        },
    }))
}

async fn reencode(
    core: &Arc<Core>,
    pace: &Arc<dyn WorkPace>,
    job: &ReencodeJob,
) -> Result<Reencoded, Stop> {
    let Some(old) = find(core, job).await? else {
        return Ok(Reencoded::NotLive);
    };
    let extents = write_anew(core, pace, job, old).await?;
    if let Err(why) = check(core, job, &extents).await {
        put::abandon(core, &extents);
        return Err(why);
    }
    let shard_bytes = |new: &NewExtent| {
        let len = look::shard_len(&new.extent).unwrap_or(0);
        len * new.wrote.len() as u64
    };
    let written = extents.iter().map(shard_bytes).sum();
    let command = ObjectCommand::Reencode {
        pg: job.pg,
        data: job.data,
        extents,
    };
    pace.before_commit();
    // From here on nothing is dropped, whatever the answer: a copy of the entry may be applied yet.
    match core.internal_command(job.group, &command).await? {
        ObjectOutcome::Reencoded | ObjectOutcome::AlreadyCommitted => {
            tracing::info!(data = %job.data, profile = %job.profile, written, "an extent is encoded anew");
            Ok(Reencoded::Done { written })
        }
        ObjectOutcome::Superseded => Ok(Reencoded::NotLive),
        ObjectOutcome::Refused(refusal) => {
            core.begins.forget(job.group);
            Err(Stop::Refused(refusal))
        }
        _ => Err(GroupError::Kind(job.group).into()),
    }
}

/// Reads the old data and writes it under new data ids, every shard durable.
async fn write_anew(
    core: &Arc<Core>,
    pace: &Arc<dyn WorkPace>,
    job: &ReencodeJob,
    old: Old,
) -> Result<Vec<NewExtent>, Stop> {
    let place = Arc::new(Some(core.memory.transfer()?));
    let begin = Begin::at(core, job.group, job.bucket).await?;
    let mut source = ExtentSource::new(core, pace, old.extent)?;
    let view = core.view();
    let bucket = view.buckets.values().find(|b| b.bucket == job.bucket);
    let wanted = Wanted {
        bucket: bucket.map_or(job.profile, |bucket| wide_enough(bucket, job.profile)),
        object: job.profile,
        whole: true,
    };
    let first = BytesMut::new();
    let completed = put::write(core, wanted, begin, first, &mut source, &place).await?;
    let is_right = old.crc64.is_none_or(|sum| sum == source.crc64());
    if !is_right {
        tracing::error!(data = %job.data, "an extent's bytes do not have the object's checksum");
        put::abandon(core, &completed.extents);
        return Err(Stop::Checksum);
    }
    Ok(completed.extents)
}

/// Of the profiles that a bucket's objects may have, that with the fewest shards that are enough for another
/// one: the extent's own profile may be narrower than any, and have no pool.
fn wide_enough(bucket: &BucketRecord, profile: Profile) -> Profile {
    let enough = bucket
        .profiles()
        .filter(|other| other.width() >= profile.width());
    let least = enough.min_by_key(|other| other.width());
    least.unwrap_or(bucket.profile)
}

/// Whether the new extents are what was asked for, and every shard of them is there.
async fn check(core: &Core, job: &ReencodeJob, extents: &[NewExtent]) -> Result<(), Stop> {
    let other = extents.iter().map(|new| new.extent.profile);
    if let Some(other) = other.filter(|profile| *profile != job.profile).min() {
        return Err(Stop::Narrower(other));
    }
    look_at_all(core, extents).await
}
