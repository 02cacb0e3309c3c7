//! What an object group can be told of versions that are not current.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Generation, ObjectKey};

use super::command::{Precondition, get_key};
use super::put_ref::{get_precondition, put_precondition};
use crate::kinds::noncurrent::{get_place, put_place};
use crate::refusal::unknown;

const TAG_DELETE: u8 = 175;
const TAG_JUDGE: u8 = 176;

/// A command about versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionCommand {
    /// Removes one version or delete marker for good; one that is absent is removed already. Needs a
    /// request id.
    Delete {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// Of the version.
        generation: Generation,
        /// What must hold of the current version.
        precondition: Precondition,
    },
    /// Judges the next noncurrent versions of a bucket by its changed profile, as
    /// [`JudgeVersions`](crate::ObjectCommand::JudgeVersions) does current ones.
    Judge {
        /// The bucket.
        bucket: BucketId,
        /// The last one that was judged, as the sender knows it: another one, and nothing is changed.
        after: Option<(String, Generation)>,
    },
}

impl VersionCommand {
    /// Users' mutations must carry a request id.
    pub(super) fn is_users(&self) -> bool {
        matches!(self, Self::Delete { .. })
    }

    pub(super) fn has_tag(tag: u8) -> bool {
        matches!(tag, TAG_DELETE | TAG_JUDGE)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Delete {
                bucket,
                key,
                generation,
                precondition,
            } => {
                out.u8(TAG_DELETE)
                    .u64_be(bucket.0)
                    .str(key.as_str())
                    .varint(generation.0);
                put_precondition(out, precondition);
            }
            Self::Judge { bucket, after } => {
                put_place(out.u8(TAG_JUDGE).u64_be(bucket.0), after.as_ref());
            }
        }
    }

    /// Reads a command after its tag.
    pub(super) fn decode(tag: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match tag {
            TAG_DELETE => Self::Delete {
                bucket: BucketId(from.u64_be()?),
                key: get_key(from)?,
                generation: Generation(from.varint()?),
                precondition: get_precondition(from)?.to_owned(),
            },
            TAG_JUDGE => Self::Judge {
                bucket: BucketId(from.u64_be()?),
                after: get_place(from)?,
            },
            other => return Err(unknown("version command", other)),
        })
    }
}
