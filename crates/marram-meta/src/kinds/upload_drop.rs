//! `UploadDrops`: what entries are to take out of use, some parts with each: all uploads of a deleted
//! bucket, or the parts of an upload that the current version of its object does not have.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, UploadId};

use crate::stored::{Stored, only_version};

const VERSION: u8 = 1;

/// Uploads of a deleted bucket come first: they become drops of uploads.
const KIND_BUCKET: u8 = 1;
const KIND_UPLOAD: u8 = 2;

/// What is to be taken out of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// All uploads of a bucket.
    Bucket(BucketId),
    /// Parts of an upload.
    Upload(UploadId),
}

/// Whose upload it is, and how far its parts were gone through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UploadDrop {
    /// The object's bucket.
    pub(crate) bucket: u64,
    /// Its key.
    pub(crate) key: String,
    /// The last part that was looked at; 0 at first.
    pub(crate) after: u16,
}

pub(crate) fn ser_key(dropped: Dropped) -> Vec<u8> {
    let mut out = Writer::with_capacity(17);
    match dropped {
        Dropped::Bucket(bucket) => out.u8(KIND_BUCKET).u64_be(bucket.0),
        Dropped::Upload(upload) => out.u8(KIND_UPLOAD).u128_be(upload.0),
    };
    out.finish()
}

pub(crate) fn deser_key(key: &[u8]) -> Result<Dropped, DecodeError> {
    let mut from = Reader::new(key);
    let dropped = match from.u8()? {
        KIND_BUCKET => Dropped::Bucket(BucketId(from.u64_be()?)),
        KIND_UPLOAD => Dropped::Upload(UploadId(from.u128_be()?)),
        _ => return Err(DecodeError::Invalid("upload drop")),
    };
    from.finish()?;
    Ok(dropped)
}

impl Stored for UploadDrop {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .u64_be(self.bucket)
            .str(&self.key)
            .u16_be(self.after);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "upload drop version", VERSION)?;
        Ok(Self {
            bucket: from.u64_be()?,
            key: from.str()?.to_owned(),
            after: from.u16_be()?,
        })
    }
}
