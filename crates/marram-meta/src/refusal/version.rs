//! Why a command about a version that must be there changed nothing.

use marram_types::Generation;
use marram_types::codec::{DecodeError, Reader, Writer};

use super::{Refusal, unknown};

/// Why a command about a version that must be there changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionRefusal {
    /// There is no object of this key.
    #[error("there is no such object")]
    Absent,
    /// The object is deleted, and versions of it may be there.
    #[error("the object is deleted: generation {generation} is its delete marker")]
    Deleted {
        /// Of the marker.
        generation: Generation,
    },
    /// The key has no version of this generation.
    #[error("the object has no version of generation {generation}")]
    Unknown {
        /// What was asked for.
        generation: Generation,
    },
    /// What has this generation is a delete marker.
    #[error("generation {generation} of the key is a delete marker")]
    Marker {
        /// What was asked for.
        generation: Generation,
    },
}

impl From<VersionRefusal> for Refusal {
    fn from(refusal: VersionRefusal) -> Self {
        Self::Version(refusal)
    }
}

impl VersionRefusal {
    pub(super) fn encode(self, out: &mut Writer) -> &mut Writer {
        match self {
            Self::Absent => out.u8(1),
            Self::Deleted { generation } => out.u8(2).varint(generation.0),
            Self::Unknown { generation } => out.u8(3).varint(generation.0),
            Self::Marker { generation } => out.u8(4).varint(generation.0),
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let generation = |from: &mut Reader<'_>| from.varint().map(Generation);
        Ok(match from.u8()? {
            1 => Self::Absent,
            2 => Self::Deleted {
                generation: generation(from)?,
            },
            3 => Self::Unknown {
                generation: generation(from)?,
            },
            4 => Self::Marker {
                generation: generation(from)?,
            },
            other => return Err(unknown("refusal of a version", other)),
        })
    }
}
