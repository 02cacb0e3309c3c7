//! Checksums over the bytes of a put: CRC64/NVME always, others where the caller knows them, will
//! know them, or wants an MD5 as entity tag. All are checked before anything is committed.

use marram_meta::PartSums;
use marram_object::etag;
use marram_proto::v1;
use marram_types::{Crc32c, Crc64Nvme};
use md5::{Digest, Md5};
use ring::digest::{Context, SHA256};

use crate::hex;
use crate::validate::InvalidField;

/// Which checksums are computed, and what the caller knows of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checks {
    known: Known,
    crc32c: bool,
    sha256: bool,
    md5: bool,
}

/// Checksums as a caller told them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    pub(crate) crc32c: Option<u32>,
    pub(crate) crc64nvme: Option<u64>,
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) md5: Option<[u8; 16]>,
}

/// Bytes that are not what the caller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Which checksum differs.
    pub(crate) kind: &'static str,
    /// What the caller said.
    pub(crate) expected: String,
    /// What was received.
    pub(crate) found: String,
}

/// What a commit needs to know of the bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    /// CRC64/NVME.
    pub(crate) crc64: u64,
    /// The others that were computed.
    pub(crate) sums: PartSums,
}

/// Checksums of the bytes so far.
pub(crate) struct Sums {
    known: Known,
    crc64: Crc64Nvme,
    crc32c: Option<Crc32c>,
    sha256: Option<Context>,
    md5: Option<Md5>,
}

impl Known {
    pub(crate) fn new(given: Option<&v1::Checksums>) -> Result<Self, InvalidField> {
        let Some(given) = given else {
            return Ok(Self::default());
        };
        Ok(Self {
            crc32c: given.crc32c,
            crc64nvme: given.crc64nvme,
            sha256: sized(given.sha256.as_deref(), "sha256 must have 32 bytes")?,
            md5: sized(given.md5.as_deref(), "md5 must have 16 bytes")?,
        })
    }
}

/// A digest of its one length.
fn sized<const N: usize>(
    given: Option<&[u8]>,
    rule: &'static str,
) -> Result<Option<[u8; N]>, InvalidField> {
    let wrong = |_| InvalidField::Wrong {
        field: "checksums",
        rule,
    };
    given.map(|d| d.try_into().map_err(wrong)).transpose()
}

impl Checks {
    /// What a put's header asks for.
    pub(crate) fn new(
        given: Option<&v1::Checksums>,
        compute: &[i32],
    ) -> Result<Self, InvalidField> {
        let known = Known::new(given)?;
        let mut checks = Self {
            known,
            crc32c: known.crc32c.is_some(),
            sha256: known.sha256.is_some(),
            md5: known.md5.is_some(),
        };
        for kind in compute {
            match v1::ChecksumKind::try_from(*kind) {
                Ok(v1::ChecksumKind::Crc32c) => checks.crc32c = true,
                Ok(v1::ChecksumKind::Sha256) => checks.sha256 = true,
                Ok(v1::ChecksumKind::Md5) => checks.md5 = true,
                Ok(v1::ChecksumKind::Unspecified) | Err(_) => {
                    return Err(InvalidField::Wrong {
                        field: "compute",
                        rule: "it names a kind of checksum that is not known here",
                    });
                }
            }
        }
        Ok(checks)
    }
}

impl Sums {
    pub(crate) fn new(checks: &Checks) -> Self {
        Self {
            known: checks.known,
            crc64: Crc64Nvme::default(),
            crc32c: checks.crc32c.then(Crc32c::default),
            sha256: checks.sha256.then(|| Context::new(&SHA256)),
            md5: checks.md5.then(Md5::new),
        }
    }

    /// Adds the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.crc64.update(bytes);
        if let Some(crc32c) = &mut self.crc32c {
            crc32c.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    pub(crate) fn crc64(&self) -> u64 {
        self.crc64.value()
    }

    fn md5(&self) -> Option<[u8; 16]> {
        let digest = self.md5.clone()?.finalize();
        Some(digest.into())
    }

    fn sha256(&self) -> Option<[u8; 32]> {
        let digest = self.sha256.clone()?.finish();
        digest.as_ref().try_into().ok()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            crc64: self.crc64(),
            sums: PartSums {
                crc32c: self.crc32c.as_ref().map(Crc32c::value),
                sha256: self.sha256(),
                md5: self.md5(),
            },
        }
    }

    /// Whether all bytes are what header and trailer say of them.
    pub(crate) fn check(&self, trailer: Option<&v1::PutObjectTrailer>) -> Result<(), SumError> {
        let always = Known {
            crc64nvme: trailer.and_then(|trailer| trailer.crc64nvme),
            ..Known::default()
        };
        let told = Known::new(trailer.and_then(|trailer| trailer.checksums.as_ref()))?;
        for known in [self.known, always, told] {
            self.check_one(&known)?;
        }
        Ok(())
    }

    fn check_one(&self, known: &Known) -> Result<(), SumError> {
        let wide = u64::to_be_bytes;
        same(
            "CRC64NVME",
            known.crc64nvme.map(wide),
            Some(wide(self.crc64())),
        )?;
        let crc32c = self.crc32c.as_ref().map(|sum| sum.value().to_be_bytes());
        same("CRC32C", known.crc32c.map(u32::to_be_bytes), crc32c)?;
        same("SHA256", known.sha256, self.sha256())?;
        same("MD5", known.md5, self.md5())
    }
}

/// Compares one checksum, where it was told.
fn same(
    kind: &'static str,
    told: Option<impl AsRef<[u8]>>,
    found: Option<impl AsRef<[u8]>>,
) -> Result<(), SumError> {
    let Some(told) = told else {
        return Ok(());
    };
    let Some(found) = found else {
        return Err(SumError::NotComputed(InvalidField::Wrong {
            field: "trailer",
            rule: "the header must name the checksums that the trailer will tell",
        }));
    };
    let (told, found) = (told.as_ref(), found.as_ref());
    if told == found {
        return Ok(());
    }
    Err(SumError::Mismatch(Mismatch {
        kind,
        expected: hex::encode(told),
        found: hex::encode(found),
    }))
}

/// Why the bytes are not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SumError {
    /// They are others than the caller says.
    Mismatch(Mismatch),
    /// The caller tells what nobody computed, or what is no checksum.
    NotComputed(InvalidField),
}

impl From<InvalidField> for SumError {
    fn from(field: InvalidField) -> Self {
        Self::NotComputed(field)
    }
}

impl Totals {
    /// The entity tag: the MD5 where there is one (rules.md 15).
    pub(crate) fn etag(&self, size: u64) -> String {
        match self.sums.md5 {
            Some(md5) => format!("\"{}\"", hex::encode(&md5)),
            None => etag(self.crc64, size),
        }
    }
}

#[cfg(test)]
mod tests;
