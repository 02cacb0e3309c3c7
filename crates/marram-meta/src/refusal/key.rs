//! Why a command about an access key changed nothing.

use marram_types::caps::{
    ACCESS_KEYS_MAX, GRANT_BYTES_PER_KEY_MAX, GRANTS_PER_KEY_MAX, KEY_NOTE_BYTES_MAX,
    OLD_SECRETS_MAX,
};
use marram_types::codec::{DecodeError, Reader, Writer};

use super::unknown;

/// Why a command about an access key changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// No such key.
    #[error("there is no such access key")]
    Unknown,
    /// A key of this id exists.
    #[error("there is an access key of this id already")]
    Exists,
    /// Nobody could operate the cluster any more.
    #[error(
        "this is the last access key with admin on everything that is enabled and does not expire: \
         make another one first"
    )]
    LastAdmin,
    /// The cluster keeps as many keys as it may.
    #[error("there are {ACCESS_KEYS_MAX} access keys already: delete one first")]
    TooMany,
    /// The key has as many grants as it may.
    #[error(
        "an access key has at most {GRANTS_PER_KEY_MAX} grants, whose buckets and prefixes have \
         {GRANT_BYTES_PER_KEY_MAX} bytes together at most"
    )]
    TooManyGrants,
    /// Rotated too often while old secrets still hold.
    #[error(
        "{OLD_SECRETS_MAX} old secrets of this key still hold: wait until one has ended, or rotate \
         without an overlap"
    )]
    TooManySecrets,
    /// Text out of range.
    #[error("an access key has an id, and a note of at most {KEY_NOTE_BYTES_MAX} bytes")]
    Malformed,
}

impl KeyRefusal {
    pub(super) fn encode<'a>(&self, out: &'a mut Writer) -> &'a mut Writer {
        match self {
            Self::Unknown => out.u8(1),
            Self::Exists => out.u8(2),
            Self::LastAdmin => out.u8(3),
            Self::TooMany => out.u8(4),
            Self::TooManyGrants => out.u8(5),
            Self::TooManySecrets => out.u8(6),
            // 7 was a grant that is not there, which is no refusal any more.
            Self::Malformed => out.u8(8),
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Unknown,
            2 => Self::Exists,
            3 => Self::LastAdmin,
            4 => Self::TooMany,
            5 => Self::TooManyGrants,
            6 => Self::TooManySecrets,
            8 => Self::Malformed,
            other => return Err(unknown("refusal of an access key", other)),
        })
    }
}
