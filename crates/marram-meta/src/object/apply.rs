//! Applies one entry to an object group's state.

use std::cell::RefCell;

use marram_types::codec::{DecodeError, Reader};
use marram_types::{Crc64Nvme, ObjectKey};

use super::command::{ObjectCommand, TAG_PUT, TAG_PUT_ASKED, TAG_PUT_OWN, TAG_PUT_TAGGED};
use super::displace::discard;
use super::outcome::ObjectOutcome;
use super::put_ref::{NewBodyRef, PutRef};
use super::shard::{self, Named};
use super::upload_command::{TAG_PART, TAG_RUN};
use super::version_command::VersionCommand;
use super::witness::{Seen, Witness};
use super::{
    annotate, delete, events, expire, fence, floors, gone, profile, put, quota, reencode, upload,
};
use crate::envelope::{Envelope, EnvelopeError};
use crate::kv::KvWrite;
use crate::refusal::Refusal;
use crate::requests::{Admission, Apply, ApplyError};
use crate::stored::{StateError, Stored};

/// A command as it lies in its entry: puts, the frequent ones, are not copied out.
enum CommandRef<'a> {
    Put(PutRef<'a>),
    Other(ObjectCommand),
}

impl<'a> CommandRef<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(body);
        let Some(&tag @ (TAG_PUT | TAG_PUT_TAGGED | TAG_PUT_ASKED | TAG_PUT_OWN)) = body.first()
        else {
            return ObjectCommand::deser_value(body).map(Self::Other);
        };
        from.u8()?;
        let put = PutRef::decode(tag, &mut from)?;
        from.finish()?;
        Ok(Self::Put(put))
    }

    /// A digest of what the client asked. Version id, data ids and places are an attempt's own
    /// (rules.md 14).
    fn asked(&self, body: &[u8]) -> u64 {
        match self {
            Self::Put(put) => put.asked(),
            Self::Other(ObjectCommand::Upload(command)) => {
                command.asked().unwrap_or_else(|| Crc64Nvme::of(body))
            }
            Self::Other(_) => Crc64Nvme::of(body),
        }
    }

    /// Users' mutations must carry a request id (rules.md 14); fences and the like repeat
    /// harmlessly.
    fn needs_request(&self) -> bool {
        match self {
            Self::Put(_) | Self::Other(ObjectCommand::Delete { .. }) => true,
            Self::Other(ObjectCommand::Upload(command)) => command.is_users(),
            Self::Other(ObjectCommand::Version(command)) => command.is_users(),
            Self::Other(ObjectCommand::Annotate(_)) => true,
            Self::Other(_) => false,
        }
    }
}

/// Applies the entry at `index`, a sealed [`ObjectCommand`], and returns its encoded
/// [`ObjectOutcome`]. Every entry must be applied exactly once, in the order of the log, and its
/// writes must become visible together.
///
/// # Errors
/// What must stop this replica; `kv` must be thrown away then.
pub fn apply_object(kv: &mut dyn KvWrite, index: u64, entry: &[u8]) -> Result<Vec<u8>, ApplyError> {
    let envelope = Envelope::decode(entry)?;
    let command = CommandRef::decode(envelope.body).map_err(ApplyError::bad_command)?;
    let asked = command.asked(envelope.body);
    let seen = RefCell::new(None);
    let mut witness = Witness::new(kv, &seen);
    let mut apply = Apply::begin(&mut witness, index, &envelope, asked)?;
    if apply.state.events.is_some() {
        seen.replace(Some(Seen::new()));
    }
    let answer = match apply.admit(command.needs_request())? {
        Admission::Repeated(outcome) => {
            discard_data(&mut apply, &command)?;
            outcome
        }
        Admission::Refused(refusal) => {
            // A deadline that has passed has passed for ever, and an id in use is not free in time
            // for this attempt: nobody can commit the data any more.
            if matches!(refusal, Refusal::DeadlinePassed | Refusal::RequestIdReused) {
                discard_data(&mut apply, &command)?;
            }
            ObjectOutcome::Refused(refusal).encode()
        }
        Admission::Run => run(&mut apply, &command)?,
    };
    if let Some(seen) = seen.take() {
        events::record(&mut apply, seen)?;
    }
    apply.finish()?;
    Ok(answer)
}

/// Runs an admitted command and remembers what came of it, unless the same request may fare better
/// later.
fn run(apply: &mut Apply<'_>, command: &CommandRef<'_>) -> Result<Vec<u8>, StateError> {
    let outcome = match command {
        CommandRef::Put(new) => put::apply(apply, new)?,
        CommandRef::Other(other) => run_other(apply, other)?,
    };
    let answer = outcome.encode();
    match &outcome {
        ObjectOutcome::Refused(Refusal::DataDiscarded) => {
            // What else the attempt wrote can not be committed either.
            discard_data(apply, command)?;
            return Ok(answer);
        }
        ObjectOutcome::Refused(refusal) if refusal.is_retryable() => return Ok(answer),
        // Data of a malformed command may be anybody's.
        ObjectOutcome::Refused(Refusal::Malformed(_)) => {}
        ObjectOutcome::Refused(_) => discard_data(apply, command)?,
        _ => {}
    }
    apply.record(&answer)?;
    Ok(answer)
}

fn run_other(apply: &mut Apply<'_>, command: &ObjectCommand) -> Result<ObjectOutcome, StateError> {
    match command {
        ObjectCommand::Put { .. } => unreachable!("puts are read by reference"),
        ObjectCommand::Delete {
            bucket,
            key,
            precondition,
        } => delete::apply(apply, *bucket, key.as_str(), precondition),
        ObjectCommand::BucketFence(record) => fence::bucket(apply, record),
        ObjectCommand::LayoutFence { pool, rows } => fence::layout(apply, *pool, rows),
        ObjectCommand::RaiseFloors {
            gc_floor,
            read_floor,
        } => Ok(floors::raise(apply, *gc_floor, *read_floor)),
        ObjectCommand::Collected(entries) => floors::collected(apply, entries),
        ObjectCommand::ShardPlaced {
            pg,
            data,
            shard,
            at,
            seen,
        } => {
            let (pg, data, shard) = (*pg, *data, *shard);
            shard::placed(apply, Named { pg, data, shard }, at, *seen)
        }
        ObjectCommand::ShardMissing {
            pg,
            data,
            shard,
            at,
        } => {
            let (pg, data, shard) = (*pg, *data, *shard);
            shard::missing(apply, Named { pg, data, shard }, *at)
        }
        ObjectCommand::Reencode { pg, data, extents } => {
            reencode::apply(apply, (*pg, *data), extents)
        }
        ObjectCommand::KeepEvents { for_ms, bytes } => Ok(events::keep(apply, *for_ms, *bytes)),
        ObjectCommand::HoldReads {
            server,
            index,
            for_ms,
        } => Ok(floors::hold_reads(apply, *server, (*index, *for_ms))),
        ObjectCommand::HoldFloors { until_ms } => Ok(floors::hold(apply, *until_ms)),
        ObjectCommand::Tombstone(tombstone) => gone::tombstone(apply, tombstone),
        ObjectCommand::Upload(command) => upload::apply(apply, command),
        ObjectCommand::Version(command) => run_version(apply, command),
        ObjectCommand::Annotate(command) => annotate::apply(apply, command),
        ObjectCommand::Lease(command) => quota::run(apply, command),
        ObjectCommand::Expire(command) => expire::apply(apply, command),
        ObjectCommand::JudgeVersions { bucket, after } => {
            profile::judge(apply, *bucket, after.as_ref().map(ObjectKey::as_str))
        }
    }
}

fn run_version(
    apply: &mut Apply<'_>,
    command: &VersionCommand,
) -> Result<ObjectOutcome, StateError> {
    match command {
        VersionCommand::Delete {
            bucket,
            key,
            generation,
            precondition,
        } => delete::version(apply, (*bucket, key.as_str()), *generation, precondition),
        VersionCommand::Judge { bucket, after } => {
            profile::judge_noncurrent(apply, *bucket, after.as_ref())
        }
    }
}

fn discard_data(apply: &mut Apply<'_>, command: &CommandRef<'_>) -> Result<(), StateError> {
    match command {
        CommandRef::Put(PutRef {
            body: NewBodyRef::Extents(extents),
            ..
        }) => discard(apply, extents),
        CommandRef::Other(ObjectCommand::Upload(command)) => discard(apply, command.extents()),
        _ => Ok(()),
    }
}

/// Whether a sealed command adds a version or a part: what is refused first where space runs out.
#[must_use]
pub fn adds_data(entry: &[u8]) -> bool {
    let envelope = Envelope::decode(entry);
    envelope.is_ok_and(|envelope| {
        matches!(
            envelope.body.first(),
            Some(&(TAG_PUT | TAG_PUT_TAGGED | TAG_PUT_ASKED | TAG_PUT_OWN | TAG_PART | TAG_RUN))
        )
    })
}

/// Checks that a sealed command can be applied by this release, before it is proposed: an entry
/// that cannot be would stop every replica of the group.
///
/// # Errors
/// Bytes that are not a sealed [`ObjectCommand`], or one of a newer release.
pub fn check_object(entry: &[u8]) -> Result<(), EnvelopeError> {
    let envelope = Envelope::decode(entry)?;
    CommandRef::decode(envelope.body)?;
    Ok(())
}
