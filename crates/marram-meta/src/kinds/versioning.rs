//! Whether a bucket keeps the versions that others replace.

use marram_types::codec::DecodeError;

/// Whether a bucket keeps the versions that others replace, as in S3. The numbers are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Versioning {
    /// It never did: a version that is replaced or deleted is gone.
    #[default]
    Off = 0,
    /// Every version is kept until it is deleted by its generation.
    On = 1,
    /// What was kept stays; what is written now takes the place of the null version.
    Suspended = 2,
}

impl Versioning {
    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            0 => Self::Off,
            1 => Self::On,
            2 => Self::Suspended,
            other => {
                return Err(DecodeError::Unknown {
                    what: "versioning",
                    found: u64::from(other),
                });
            }
        })
    }
}

impl std::fmt::Display for Versioning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Suspended => "suspended",
        })
    }
}
