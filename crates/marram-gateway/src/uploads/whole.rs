//! What the parts that a caller names are together, and what is wrong with them.

use marram_meta::{PartItem, PartSums};
use marram_object::etag;
use marram_types::caps::{OBJECT_BYTES_MAX, PART_BYTES_MIN};
use marram_types::{Crc32c, Crc64Nvme, crc32c_joined};
use md5::{Digest, Md5};
use ring::digest::{Context, SHA256};

use crate::hex;
use crate::put::Known;
use crate::status::{Fault, Reason};

/// A part as the caller names it.
#[derive(Debug, Clone, Default)]
pub(super) struct WantedPart {
    pub(super) part: u16,
    /// Without quotes; empty: any.
    pub(super) etag: String,
    pub(super) known: Known,
}

/// What the object will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) size: u64,
    pub(super) crc64: u64,
    pub(super) etag: String,
    /// Of all bytes, where it follows from those of the parts.
    pub(super) crc32c: Option<u32>,
    /// Checksums of the checksums of the parts.
    pub(super) composite: PartSums,
}

/// Why the parts cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WholeError {
    #[error("part {part} was never uploaded")]
    Missing { part: u16 },
    #[error("part {part} has the entity tag \"{found}\", not \"{expected}\"")]
    Etag {
        part: u16,
        expected: String,
        found: String,
    },
    #[error("part {part} has another {kind} than was told, or it is not known")]
    Checksum { part: u16, kind: &'static str },
    #[error("part {part} has {size} bytes: every part but the last has at least {PART_BYTES_MIN}")]
    TooSmall { part: u16, size: u64 },
    #[error("the parts have {size} bytes together: an object has at most {OBJECT_BYTES_MAX}")]
    TooLarge { size: u64 },
    #[error("the parts have {found} bytes together, not {expected}")]
    Size { expected: u64, found: u64 },
    #[error("all bytes together do not have the {0} that was told, or it is not known")]
    WholeChecksum(&'static str),
}

impl Fault for WholeError {
    fn reason(&self) -> Reason {
        match self {
            Self::Missing { .. } | Self::Etag { .. } | Self::Checksum { .. } => Reason::InvalidPart,
            Self::TooSmall { .. } => Reason::PartTooSmall,
            Self::TooLarge { .. } => Reason::ObjectTooLarge,
            Self::Size { .. } => Reason::SizeMismatch,
            Self::WholeChecksum(_) => Reason::ObjectChecksumMismatch,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Missing { part } | Self::Checksum { part, .. } => {
                vec![("part", part.to_string())]
            }
            Self::Etag {
                part,
                expected,
                found,
            } => vec![
                ("part", part.to_string()),
                ("expected", expected.clone()),
                ("found", found.clone()),
            ],
            Self::TooSmall { part, size } => vec![
                ("part", part.to_string()),
                ("size", size.to_string()),
                ("min", PART_BYTES_MIN.to_string()),
            ],
            Self::TooLarge { size } => vec![
                ("size", size.to_string()),
                ("max", OBJECT_BYTES_MAX.to_string()),
            ],
            Self::Size { expected, found } => vec![
                ("expected", expected.to_string()),
                ("found", found.to_string()),
            ],
            Self::WholeChecksum(kind) => vec![("checksum", (*kind).to_owned())],
        }
    }
}

/// Puts the parts together that are wanted, of those that are stored; both ascend by number.
pub(super) fn whole(wanted: &[WantedPart], stored: &[PartItem]) -> Result<Whole, WholeError> {
    let mut parts = Vec::with_capacity(wanted.len());
    for (at, wanted_part) in wanted.iter().enumerate() {
        let part = wanted_part.part;
        let found = stored.binary_search_by_key(&part, |item| item.part);
        let item = &stored[found.map_err(|_| WholeError::Missing { part })?];
        check(wanted_part, item)?;
        if item.size < PART_BYTES_MIN && at + 1 < wanted.len() {
            let size = item.size;
            return Err(WholeError::TooSmall { part, size });
        }
        parts.push(item);
    }
    // No overflow: at most 10,000 times 5 GiB.
    let size = parts.iter().map(|item| item.size).sum();
    if size > OBJECT_BYTES_MAX {
        return Err(WholeError::TooLarge { size });
    }
    let join = |sum, item: &&PartItem| Crc64Nvme::joined(sum, item.crc64, item.size);
    let crc64 = parts.iter().fold(Crc64Nvme::default().value(), join);
    let composite = composite(&parts);
    Ok(Whole {
        size,
        crc64,
        etag: whole_etag(composite.md5, crc64, size, parts.len()),
        crc32c: parts
            .iter()
            .try_fold(Crc32c::default().value(), |sum, item| {
                Some(crc32c_joined(sum, item.sums.crc32c?, item.size))
            }),
        composite,
    })
}

/// The object's entity tag: as in S3 where every part has an MD5 (rules.md 15).
fn whole_etag(md5: Option<[u8; 16]>, crc64: u64, size: u64, parts: usize) -> String {
    match md5 {
        Some(md5) => format!("\"{}-{parts}\"", hex::encode(&md5)),
        None => format!("\"{}-{parts}\"", etag(crc64, size).trim_matches('"')),
    }
}

fn check(wanted: &WantedPart, item: &PartItem) -> Result<(), WholeError> {
    let part = item.part;
    let found = item.etag.trim_matches('"');
    if !wanted.etag.is_empty() && wanted.etag != found {
        return Err(WholeError::Etag {
            part,
            expected: wanted.etag.clone(),
            found: found.to_owned(),
        });
    }
    let known = &wanted.known;
    let kinds = [
        (
            "CRC64NVME",
            known.crc64nvme.is_none_or(|crc| crc == item.crc64),
        ),
        (
            "CRC32C",
            known.crc32c.is_none() || known.crc32c == item.sums.crc32c,
        ),
        (
            "SHA256",
            known.sha256.is_none() || known.sha256 == item.sums.sha256,
        ),
        ("MD5", known.md5.is_none() || known.md5 == item.sums.md5),
    ];
    match kinds.into_iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((kind, _)) => Err(WholeError::Checksum { part, kind }),
    }
}

fn composite(parts: &[&PartItem]) -> PartSums {
    let crc32c = parts.iter().try_fold(Crc32c::default(), |mut sum, item| {
        sum.update(&item.sums.crc32c?.to_be_bytes());
        Some(sum)
    });
    let sha256 = parts
        .iter()
        .try_fold(Context::new(&SHA256), |mut sum, item| {
            sum.update(&item.sums.sha256?);
            Some(sum)
        });
    let md5 = parts.iter().try_fold(Md5::new(), |mut sum, item| {
        sum.update(item.sums.md5?);
        Some(sum)
    });
    PartSums {
        crc32c: crc32c.map(|sum| sum.value()),
        sha256: sha256.and_then(|sum| sum.finish().as_ref().try_into().ok()),
        md5: md5.map(|sum| sum.finalize().into()),
    }
}

impl Whole {
    /// Whether the whole is what the caller says of it.
    pub(super) fn check(&self, known: &Known, size: Option<u64>) -> Result<(), WholeError> {
        if let Some(expected) = size.filter(|size| *size != self.size) {
            let found = self.size;
            return Err(WholeError::Size { expected, found });
        }
        if known.crc64nvme.is_some_and(|crc| crc != self.crc64) {
            return Err(WholeError::WholeChecksum("CRC64NVME"));
        }
        if known.crc32c.is_some() && known.crc32c != self.crc32c {
            return Err(WholeError::WholeChecksum("CRC32C"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
