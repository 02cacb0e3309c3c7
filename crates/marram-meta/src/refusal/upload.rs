//! Why a command about a multipart upload changed nothing.

use marram_types::Generation;
use marram_types::caps::UPLOAD_EXTENTS_MAX;
use marram_types::codec::{DecodeError, Reader, Writer};

use super::{Refusal, unknown};

/// Why a command about a multipart upload changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadRefusal {
    /// No such upload: there never was one, or it was ended.
    #[error("there is no such upload of this key: it was never begun, or ended already")]
    Unknown,
    /// It is the object by now.
    #[error("the upload is completed: it became generation {generation} of its key")]
    Completed {
        /// Of the object.
        generation: Generation,
    },
    /// Its parts are not those that the sender saw. The same request may be tried again.
    #[error("parts of the upload were changed meanwhile")]
    Changed,
    /// Failures split its parts too often.
    #[error(
        "the upload is in more than {UPLOAD_EXTENTS_MAX} pieces: upload larger parts, or this object \
         in fewer of them"
    )]
    TooManyExtents,
    /// It is a stream, which has no parts that a client numbers.
    #[error("the upload is one stream: write, ask and finish it by WriteService")]
    IsStream,
    /// It is a multipart upload.
    #[error("the upload has parts: it was not begun by StartWrite")]
    NotStream,
    /// Somebody else goes on with the stream.
    #[error(
        "another writer goes on with this upload since entry {epoch}: this one is not heard any more"
    )]
    StaleWriter {
        /// The epoch of the writer that is heard.
        epoch: u64,
    },
    /// The bytes do not follow those that are recorded.
    #[error("the upload has {persisted} bytes: it goes on there, and nowhere else")]
    WrongOffset {
        /// How many are recorded.
        persisted: u64,
    },
}

impl From<UploadRefusal> for Refusal {
    fn from(refusal: UploadRefusal) -> Self {
        Self::Upload(refusal)
    }
}

impl UploadRefusal {
    pub(super) fn encode(self, out: &mut Writer) -> &mut Writer {
        match self {
            Self::Unknown => out.u8(1),
            Self::Completed { generation } => out.u8(2).varint(generation.0),
            Self::Changed => out.u8(3),
            Self::TooManyExtents => out.u8(4),
            Self::IsStream => out.u8(5),
            Self::NotStream => out.u8(6),
            Self::StaleWriter { epoch } => out.u8(7).varint(epoch),
            Self::WrongOffset { persisted } => out.u8(8).varint(persisted),
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Unknown,
            2 => Self::Completed {
                generation: Generation(from.varint()?),
            },
            3 => Self::Changed,
            4 => Self::TooManyExtents,
            5 => Self::IsStream,
            6 => Self::NotStream,
            7 => Self::StaleWriter {
                epoch: from.varint()?,
            },
            8 => Self::WrongOffset {
                persisted: from.varint()?,
            },
            other => return Err(unknown("refusal of an upload", other)),
        })
    }
}
