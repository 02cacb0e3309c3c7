//! The frame of every command in a Raft entry.
//!
//! ```text
//! 0      version   of command encodings (rules.md 9)
//! 1..9   time_ms   big-endian; 0 until the leader stamps it
//! 9..17  deadline  big-endian, leader time; 0 = none
//! 17     1 when a request id follows
//! 18..42 request id
//! then   the command
//! ```

use marram_types::RequestId;
use marram_types::codec::{DecodeError, Reader, Writer};

/// The newest command encoding that this release knows. Version 4 was not released yet: what is new until then needs
/// no number of its own.
pub const COMMAND_VERSION: u8 = 4;

/// The oldest one. Version 1, without places and moves, was never released and is not read.
pub const COMMAND_VERSION_OLDEST: u8 = 2;

/// The version of commands about versioning, and of bucket records that tell of it: a cluster takes them
/// when each of its members knows them (rules.md 9).
pub const VERSIONING_SINCE: u8 = 3;

/// The version of commands about events, and of the group states that say how they are kept.
pub const EVENTS_SINCE: u8 = 4;
/// The version of pauses of repairs and moves, and of upkeep records that tell of them.
pub const WORK_PAUSES_SINCE: u8 = 4;
/// The version of commands that make rows narrower whose nodes were given up.
pub const NARROW_SINCE: u8 = 4;
/// The version of commands about quotas, and of bucket records that tell of one.
pub const QUOTA_SINCE: u8 = 4;

/// The version of commands about tags and metadata of objects that are there.
pub const TAGS_SINCE: u8 = 4;
/// The version of commands about what goes by itself, and of bucket records with rules for it.
pub const LIFECYCLE_SINCE: u8 = 4;
/// The version of the duty of a drive that was away while it was drained, and of node records with it.
pub const AWAY_DRAINING_SINCE: u8 = 4;
/// The version of deletions of buckets that end only when each object group was told.
pub const BUCKET_ENDINGS_SINCE: u8 = 4;
/// The version of draining a node and accepting narrower stripes for it in one decision.
pub const DRAIN_NARROWER_SINCE: u8 = 4;
/// The version of drains that are decided by what leaves already.
pub const DRAINS_SINCE: u8 = 4;
/// The version of removals of access keys that say whether there was one.
pub const KEY_REMOVALS_SINCE: u8 = 4;
/// The version of notes of backups, and of upkeep records that tell of one.
pub const BACKUP_NOTES_SINCE: u8 = 4;
/// The version of writes with a profile of their own, and of bucket records that allow some.
pub const OWN_PROFILES_SINCE: u8 = 4;
/// The version of puts that say what was asked, where that is not their bytes: copies.
pub const COPIES_SINCE: u8 = 4;

/// The version of commands of long reads, and of group states that know of some.
pub const LONG_READS_SINCE: u8 = 4;

/// The version of commands about resumable writes, and of upload rows that tell of one.
pub const WRITES_SINCE: u8 = 4;

/// The version of a node's return after the cluster began anew from a state that does not know it.
pub const RETURNS_SINCE: u8 = 4;

const TIME_AT: std::ops::Range<usize> = 1..9;

/// A command that can be sealed into an envelope: [`RootCommand`](crate::RootCommand) or
/// [`ObjectCommand`](crate::ObjectCommand).
pub trait Command {
    /// Appends the command's encoding.
    fn encode_command(&self, out: &mut Writer);

    /// The version that a replica must know to apply it: that of the release that brought the command.
    fn version(&self) -> u8 {
        COMMAND_VERSION_OLDEST
    }

    /// About how many bytes that will be.
    fn size_hint(&self) -> usize {
        256
    }
}

/// A command's frame as it lies in an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Version of the command's encoding.
    pub version: u8,
    /// Leader time, 0 before [`stamp`].
    pub time_ms: u64,
    /// The logical mutation this is an attempt of; none for commands that repeat harmlessly.
    pub request: Option<RequestId>,
    /// Leader time after which the command is refused; 0 = none, allowed only without a request.
    pub deadline_ms: u64,
    /// The encoded command.
    pub body: &'a [u8],
}

/// Why an envelope could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// A command of another release (rules.md 9).
    #[error(
        "the command has version {found}, this release knows versions {COMMAND_VERSION_OLDEST} to \
         {COMMAND_VERSION}"
    )]
    UnknownVersion {
        /// Its version.
        found: u8,
    },
    /// Not an envelope.
    #[error("the command's envelope is damaged: {0}")]
    Corrupt(#[from] DecodeError),
}

impl<'a> Envelope<'a> {
    /// Encodes a command with its frame, time not yet stamped.
    #[must_use]
    pub fn seal(request: Option<RequestId>, deadline_ms: u64, command: &impl Command) -> Vec<u8> {
        let mut out = Writer::with_capacity(42 + command.size_hint());
        out.u8(command.version()).u64_be(0).u64_be(deadline_ms);
        out.option(request.as_ref(), |out, request| {
            out.raw(&request.to_bytes());
        });
        command.encode_command(&mut out);
        out.finish()
    }

    /// Encodes a command of the system itself: it has no request id and no deadline, because
    /// applying it twice does no harm.
    #[must_use]
    pub fn seal_internal(command: &impl Command) -> Vec<u8> {
        Self::seal(None, 0, command)
    }

    /// Encodes the envelope as it is, body included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(42 + self.body.len());
        out.u8(self.version)
            .u64_be(self.time_ms)
            .u64_be(self.deadline_ms)
            .option(self.request.as_ref(), |out, request| {
                out.raw(&request.to_bytes());
            })
            .raw(self.body);
        out.finish()
    }

    /// Reads the frame; the body stays where it is.
    ///
    /// # Errors
    /// A version that this release does not know, or damaged bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let mut from = Reader::new(bytes);
        let version = from.u8()?;
        if !(COMMAND_VERSION_OLDEST..=COMMAND_VERSION).contains(&version) {
            return Err(EnvelopeError::UnknownVersion { found: version });
        }
        Ok(Self {
            version,
            time_ms: from.u64_be()?,
            deadline_ms: from.u64_be()?,
            request: from.option(RequestId::decode)?,
            body: from.rest(),
        })
    }
}

/// Writes the leader's time into a sealed command, without reading the rest (rules.md 15).
///
/// # Errors
/// When the bytes are too short to be an envelope.
pub fn stamp(envelope: &mut [u8], time_ms: u64) -> Result<(), DecodeError> {
    let place = envelope.get_mut(TIME_AT).ok_or(DecodeError::Short)?;
    place.copy_from_slice(&time_ms.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Raw(&'static [u8]);

    impl Command for Raw {
        fn encode_command(&self, out: &mut Writer) {
            out.raw(self.0);
        }
    }

    #[test]
    fn the_stamp_changes_the_time_and_nothing_else() {
        let request = RequestId {
            client: 1 << 99,
            sequence: 7,
        };
        for request in [None, Some(request)] {
            let mut bytes = Envelope::seal(request, 42, &Raw(b"body"));
            stamp(&mut bytes, 1_000).unwrap();
            let envelope = Envelope::decode(&bytes).unwrap();
            let expected = Envelope {
                version: COMMAND_VERSION_OLDEST,
                time_ms: 1_000,
                request,
                deadline_ms: 42,
                body: b"body",
            };
            assert_eq!(envelope, expected);
            assert_eq!(envelope.encode(), bytes);
        }
        assert!(stamp(&mut [0; 8], 1).is_err());
    }

    #[test]
    fn other_and_damaged_envelopes_are_told_apart() {
        let mut bytes = Envelope::seal_internal(&Raw(b""));
        assert!(matches!(
            Envelope::decode(&bytes[..10]),
            Err(EnvelopeError::Corrupt(_))
        ));
        for found in [0, COMMAND_VERSION_OLDEST - 1, COMMAND_VERSION + 1] {
            bytes[0] = found;
            let unknown = EnvelopeError::UnknownVersion { found };
            assert_eq!(Envelope::decode(&bytes), Err(unknown));
        }
    }
}
