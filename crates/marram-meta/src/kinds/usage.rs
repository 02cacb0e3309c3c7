//! `Usage`: bucket -> counters, changed in the same apply as what they count (rules.md 13).

use marram_types::codec::{DecodeError, Reader, Writer};

use crate::stored::{Stored, only_version};

/// Version 1 did not count versions of another profile.
const VERSION: u8 = 2;

/// What a group holds of a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Current versions.
    pub objects: u64,
    /// Their sizes together.
    pub bytes: u64,
    /// Versions with an extent narrower than the bucket asks for (rules.md 19).
    pub narrowed: u64,
    /// Versions with fewer parity shards than the bucket asks for (rules.md 18).
    pub under_protected: u64,
    /// Versions with an extent of another profile than the bucket asks for, those above included.
    pub off_profile: u64,
}

impl Usage {
    /// The difference, for what is not counted any more.
    #[must_use]
    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            objects: self.objects - other.objects,
            bytes: self.bytes - other.bytes,
            narrowed: self.narrowed - other.narrowed,
            under_protected: self.under_protected - other.under_protected,
            off_profile: self.off_profile - other.off_profile,
        }
    }

    /// The sum, for totals over buckets or groups.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            objects: self.objects + other.objects,
            bytes: self.bytes + other.bytes,
            narrowed: self.narrowed + other.narrowed,
            under_protected: self.under_protected + other.under_protected,
            off_profile: self.off_profile + other.off_profile,
        }
    }
}

impl Stored for Usage {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .varint(self.objects)
            .varint(self.bytes)
            .varint(self.narrowed)
            .varint(self.under_protected)
            .varint(self.off_profile);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "usage version", VERSION)?;
        Ok(Self {
            objects: from.varint()?,
            bytes: from.varint()?,
            narrowed: from.varint()?,
            under_protected: from.varint()?,
            off_profile: from.varint()?,
        })
    }
}
