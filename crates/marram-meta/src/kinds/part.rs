//! `UploadParts`: (upload, part) -> a part's row. When the upload is completed its parts become those of
//! the version where they lie: nothing of them is written again (decision 0041).

use marram_types::caps::UPLOAD_PARTS_MAX;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{Profile, UploadId};

use super::extent::{Extent, get_extents, put_extents};
use crate::stored::{Stored, get_profile, only_version, put_profile};

const VERSION: u8 = 1;

/// Checksums of a part beside the CRC64/NVME that each has: those that its writer told or asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartSums {
    /// CRC32C.
    pub crc32c: Option<u32>,
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// MD5.
    pub md5: Option<[u8; 16]>,
}

/// A part of an upload, or of the version that it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRow {
    /// Bytes.
    pub size: u64,
    /// CRC64/NVME of them.
    pub crc64: u64,
    /// Its entity tag, quotes included.
    pub etag: String,
    /// Other checksums of the bytes.
    pub sums: PartSums,
    /// Leader time of the commit.
    pub modified_ms: u64,
    /// The profile that the bucket asks for, for a part of this size.
    pub nominal: Profile,
    /// Where the bytes are; none of an empty part.
    pub extents: Vec<Extent>,
}

/// How many parts have an extent that is not as it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartTally {
    /// With fewer shards than asked for.
    pub narrowed: u32,
    /// With fewer parity shards than asked for.
    pub under_protected: u32,
    /// With another profile than asked for.
    pub off_profile: u32,
}

/// What many parts are together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartTotals {
    /// How many there are.
    pub parts: u32,
    /// Their extents.
    pub extents: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Those that are not as they should be.
    pub tally: PartTally,
}

/// Which parts of an upload a version has, and what they are together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartsBody {
    /// Whose parts they are.
    pub upload: UploadId,
    /// Their numbers: first and last of each run.
    pub ranges: PartRanges,
    /// What they are together.
    pub totals: PartTotals,
}

/// Numbers of parts as ascending runs, so that the usual 1 to n is short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartRanges(Vec<(u16, u16)>);

impl PartRanges {
    /// The runs of ascending numbers; none when they do not ascend, or one is not 1 to 10,000.
    #[must_use]
    pub fn new(numbers: impl IntoIterator<Item = u16>) -> Option<Self> {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for number in numbers {
            match runs.last_mut() {
                Some((_, last)) if *last >= number => return None,
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => runs.push((number, number)),
            }
        }
        Some(Self(runs)).filter(Self::is_well_formed)
    }

    /// First and last number of each run.
    #[must_use]
    pub fn runs(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        let run = |(first, last): &(u16, u16)| u32::from(*last) - u32::from(*first) + 1;
        self.0.iter().map(run).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a number is among them.
    #[must_use]
    pub fn contains(&self, number: u16) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= number);
        behind > 0 && self.0[behind - 1].1 >= number
    }

    fn is_well_formed(&self) -> bool {
        let ordered = |pair: &[(u16, u16)]| u32::from(pair[0].1) + 1 < u32::from(pair[1].0);
        let sound =
            |(first, last): &(u16, u16)| *first >= 1 && first <= last && *last <= UPLOAD_PARTS_MAX;
        self.0.iter().all(sound) && self.0.windows(2).all(ordered)
    }
}

impl PartRow {
    /// What the part adds to the totals.
    pub(crate) fn totals(&self) -> PartTotals {
        let any = |is: &dyn Fn(&Extent) -> bool| u32::from(self.extents.iter().any(is));
        let nominal = self.nominal;
        PartTotals {
            parts: 1,
            extents: u32::try_from(self.extents.len()).expect("at most PART_EXTENTS_MAX"),
            bytes: self.size,
            tally: PartTally {
                narrowed: any(&|e| e.is_narrower_than(nominal)),
                under_protected: any(&|e| e.profile.m() < nominal.m()),
                off_profile: any(&|e| e.profile != nominal),
            },
        }
    }
}

impl PartTotals {
    /// The totals with a part more, or with those of more parts.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            parts: self.parts + other.parts,
            extents: self.extents + other.extents,
            bytes: self.bytes + other.bytes,
            tally: PartTally {
                narrowed: self.tally.narrowed + other.tally.narrowed,
                under_protected: self.tally.under_protected + other.tally.under_protected,
                off_profile: self.tally.off_profile + other.tally.off_profile,
            },
        }
    }

    /// The totals without what they hold of other parts.
    #[must_use]
    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            parts: self.parts - other.parts,
            extents: self.extents - other.extents,
            bytes: self.bytes - other.bytes,
            tally: PartTally {
                narrowed: self.tally.narrowed - other.tally.narrowed,
                under_protected: self.tally.under_protected - other.tally.under_protected,
                off_profile: self.tally.off_profile - other.tally.off_profile,
            },
        }
    }
}

pub(crate) fn ser_key(upload: UploadId, part: u16) -> [u8; 18] {
    let mut key = [0; 18];
    key[..16].copy_from_slice(&upload.0.to_be_bytes());
    key[16..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The number of the part.
pub(crate) fn deser_number(key: &[u8]) -> Result<u16, DecodeError> {
    let mut from = Reader::new(key);
    from.u128_be()?;
    let number = from.u16_be()?;
    from.finish()?;
    Ok(number)
}

impl Stored for PartSums {
    fn encode(&self, out: &mut Writer) {
        out.option(self.crc32c.as_ref(), |out, crc| {
            out.varint(u64::from(*crc));
        })
        .option(self.sha256.as_ref(), |out, digest| {
            out.raw(digest);
        })
        .option(self.md5.as_ref(), |out, digest| {
            out.raw(digest);
        });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let crc32c = from.option(Reader::varint)?.map(u32::try_from).transpose();
        Ok(Self {
            crc32c: crc32c.map_err(|_| DecodeError::Invalid("crc32c"))?,
            sha256: from.option(digest)?,
            md5: from.option(digest)?,
        })
    }
}

fn digest<const N: usize>(from: &mut Reader<'_>) -> Result<[u8; N], DecodeError> {
    let bytes = from.raw(N)?;
    bytes.try_into().map_err(|_| DecodeError::Short)
}

impl Stored for PartTotals {
    fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.parts))
            .varint(u64::from(self.extents))
            .varint(self.bytes)
            .varint(u64::from(self.tally.narrowed))
            .varint(u64::from(self.tally.under_protected))
            .varint(u64::from(self.tally.off_profile));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let small = |from: &mut Reader<'_>| {
            u32::try_from(from.varint()?).map_err(|_| DecodeError::Invalid("part totals"))
        };
        Ok(Self {
            parts: small(from)?,
            extents: small(from)?,
            bytes: from.varint()?,
            tally: PartTally {
                narrowed: small(from)?,
                under_protected: small(from)?,
                off_profile: small(from)?,
            },
        })
    }
}

impl Stored for PartRanges {
    fn encode(&self, out: &mut Writer) {
        out.list(&self.0, |out, (first, last)| {
            out.u16_be(*first).u16_be(*last);
        });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let ranges = Self(from.list(|from| Ok((from.u16_be()?, from.u16_be()?)))?);
        if ranges.is_well_formed() {
            Ok(ranges)
        } else {
            Err(DecodeError::Invalid("part numbers"))
        }
    }
}

impl Stored for PartsBody {
    fn encode(&self, out: &mut Writer) {
        self.ranges.encode(out.u128_be(self.upload.0));
        self.totals.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            upload: UploadId(from.u128_be()?),
            ranges: PartRanges::decode(from)?,
            totals: PartTotals::decode(from)?,
        })
    }
}

impl Stored for PartRow {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .varint(self.size)
            .u64_be(self.crc64)
            .str(&self.etag);
        self.sums.encode(out);
        put_profile(out.varint(self.modified_ms), self.nominal);
        put_extents(out, &self.extents);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "part row version", VERSION)?;
        Ok(Self {
            size: from.varint()?,
            crc64: from.u64_be()?,
            etag: from.str()?.to_owned(),
            sums: PartSums::decode(from)?,
            modified_ms: from.varint()?,
            nominal: get_profile(from)?,
            extents: get_extents(from)?,
        })
    }
}
