//! `Usage`: bucket -> counters, changed in the same apply as what they count (rules.md 13).

use marram_types::codec::{DecodeError, Reader, Writer};

use super::quota::Amount;
use crate::stored::Stored;

/// Version 1 did not count versions of another profile, and was never released. Version 3 counts what a
/// bucket keeps beside its current versions, version 4 the parts of uploads; without any of that the earlier
/// one is written.
const VERSION: u8 = 4;
const OLDEST: u8 = 2;

/// What a group holds of a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Current versions.
    pub objects: u64,
    /// Their sizes together.
    pub bytes: u64,
    /// Versions with an extent narrower than the bucket asks for, current or not (rules.md 19).
    pub narrowed: u64,
    /// Versions with fewer parity shards than the bucket asks for, current or not (rules.md 18).
    pub under_protected: u64,
    /// Versions with an extent of another profile than the bucket asks for, those above included.
    pub off_profile: u64,
    /// Versions that are not current.
    pub noncurrent: u64,
    /// Their sizes together.
    pub noncurrent_bytes: u64,
    /// Delete markers, current or not.
    pub markers: u64,
    /// Bytes of the parts of uploads that are under way.
    pub part_bytes: u64,
}

impl Usage {
    /// Versions, current or not.
    #[must_use]
    pub fn versions(&self) -> u64 {
        self.objects + self.noncurrent
    }

    /// What counts against the bucket's quota: all bytes that were written and not deleted, and
    /// versions, but no delete markers.
    #[must_use]
    pub fn held(&self) -> Amount {
        let bytes = [self.bytes, self.noncurrent_bytes, self.part_bytes];
        Amount {
            bytes: bytes.into_iter().map(u128::from).sum(),
            objects: u128::from(self.versions()),
        }
    }

    /// Everything that keeps a bucket from being removed (rules.md 12).
    #[must_use]
    pub(crate) fn left(&self) -> u64 {
        self.versions() + self.markers
    }

    /// The difference, for what is not counted any more.
    #[must_use]
    pub(crate) fn minus(self, other: Self) -> Self {
        self.each(other, |a, b| a - b)
    }

    /// The sum, for totals over buckets or groups.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.each(other, |a, b| a + b)
    }

    fn each(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            objects: with(self.objects, other.objects),
            bytes: with(self.bytes, other.bytes),
            narrowed: with(self.narrowed, other.narrowed),
            under_protected: with(self.under_protected, other.under_protected),
            off_profile: with(self.off_profile, other.off_profile),
            noncurrent: with(self.noncurrent, other.noncurrent),
            noncurrent_bytes: with(self.noncurrent_bytes, other.noncurrent_bytes),
            markers: with(self.markers, other.markers),
            part_bytes: with(self.part_bytes, other.part_bytes),
        }
    }
}

impl Stored for Usage {
    fn encode(&self, out: &mut Writer) {
        let keeps = self.noncurrent > 0 || self.noncurrent_bytes > 0 || self.markers > 0;
        let version = match (self.part_bytes, keeps) {
            (0, false) => OLDEST,
            (0, true) => 3,
            _ => VERSION,
        };
        out.u8(version)
            .varint(self.objects)
            .varint(self.bytes)
            .varint(self.narrowed)
            .varint(self.under_protected)
            .varint(self.off_profile);
        if version > OLDEST {
            out.varint(self.noncurrent)
                .varint(self.noncurrent_bytes)
                .varint(self.markers);
        }
        if version == VERSION {
            out.varint(self.part_bytes);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = from.version("usage version", VERSION)?;
        if version < OLDEST {
            return Err(DecodeError::Unknown {
                what: "usage version",
                found: u64::from(version),
            });
        }
        let mut usage = Self {
            objects: from.varint()?,
            bytes: from.varint()?,
            narrowed: from.varint()?,
            under_protected: from.varint()?,
            off_profile: from.varint()?,
            ..Self::default()
        };
        if version > OLDEST {
            usage.noncurrent = from.varint()?;
            usage.noncurrent_bytes = from.varint()?;
            usage.markers = from.varint()?;
        }
        if version == VERSION {
            usage.part_bytes = from.varint()?;
        }
        Ok(usage)
    }
}
