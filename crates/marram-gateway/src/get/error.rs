//! Why a read failed.

use marram_erasure::GeometryError;
use marram_object::Unreadable;
use marram_types::caps::RANGES_BYTES_MAX;

use crate::core::Busy;
use crate::objects::LookupError;
use crate::status::{Fault, Reason};
use crate::validate::InvalidField;

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("the range begins at or beyond the object's end: it has {size} bytes")]
    Range { size: u64 },
    #[error("range {index} begins at or beyond the object's end: it has {size} bytes")]
    OneRange { index: usize, size: u64 },
    #[error("the ranges have {bytes} bytes together: at most {RANGES_BYTES_MAX} are allowed")]
    RangesTooLarge { bytes: u64 },
    #[error("bytes of the object cannot be read now: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("the object was replaced while it was read")]
    Changed,
    #[error("the bytes do not have the object's checksum")]
    Checksum { expected: u64, found: u64 },
    #[error("the object's bytes are not with its row")]
    InlineMissing,
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("the object's row is damaged: {0}")]
    Row(#[from] GeometryError),
}

impl Fault for GetError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Lookup(error) => error.reason(),
            Self::Range { .. } | Self::OneRange { .. } => Reason::RangeNotSatisfiable,
            Self::RangesTooLarge { .. } => Reason::InvalidArgument,
            Self::Unreadable(_) => Reason::DataUnavailable,
            Self::Changed => Reason::ObjectChanged,
            Self::Checksum { .. } => Reason::ObjectChecksumMismatch,
            Self::Busy(_) => Reason::Overloaded,
            Self::InlineMissing | Self::Row(_) => Reason::Internal,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Lookup(error) => error.details(),
            Self::Range { size } => vec![("size", size.to_string())],
            Self::OneRange { index, size } => {
                vec![("range", index.to_string()), ("size", size.to_string())]
            }
            Self::RangesTooLarge { bytes } => vec![
                ("field", "ranges".to_owned()),
                ("bytes", bytes.to_string()),
                ("max", RANGES_BYTES_MAX.to_string()),
            ],
            Self::Unreadable(error) => vec![
                ("left", error.left.to_string()),
                ("need", error.need.to_string()),
                ("width", error.width.to_string()),
            ],
            Self::Checksum { expected, found } => vec![
                ("expected", format!("{expected:016x}")),
                ("found", format!("{found:016x}")),
            ],
            Self::Changed | Self::InlineMissing | Self::Busy(_) | Self::Row(_) => Vec::new(),
        }
    }
}
