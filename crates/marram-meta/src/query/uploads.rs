//! Multipart uploads that are under way, and their parts.

use std::ops::Bound;

use marram_types::caps::LIST_PAGE_MAX;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Generation, UploadId};

use super::list::successor;
use super::run::page;
use crate::kinds::part::{self, PartRow, PartSums};
use crate::kinds::upload::{UploadRow, deser_key, ser_key, ser_prefix};
use crate::kv::{KvRead, Table};
use crate::live;
use crate::object::upload_command::UploadName;
use crate::refusal::unknown;
use crate::stored::{StateError, Stored, load};

/// Asks for an upload and a page of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadQuery {
    /// The upload.
    pub name: UploadName,
    /// Only parts behind this number.
    pub after: u16,
    /// Most parts, at most a page; 0: only the upload.
    pub limit: u32,
}

/// A part, without where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartItem {
    /// Its number.
    pub part: u16,
    /// Bytes.
    pub size: u64,
    /// CRC64/NVME of them.
    pub crc64: u64,
    /// Quotes included.
    pub etag: String,
    /// Other checksums.
    pub sums: PartSums,
    /// Leader time of the commit.
    pub modified_ms: u64,
}

/// An upload and a page of its parts, of one view: the row's revision is that of the parts too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadAnswer {
    /// The upload.
    pub row: UploadRow,
    /// The parts, by number.
    pub parts: Vec<PartItem>,
    /// There are parts after the last one.
    pub more: bool,
}

/// What became of an upload so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadFound {
    /// It takes parts.
    Open(UploadAnswer),
    /// It is the current version of its object.
    Completed(Generation),
    /// It was never begun, or was ended, or the object that it became is not there any more.
    Unknown,
}

/// Asks for a page of uploads, in the order of keys, then of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsQuery {
    /// The bucket.
    pub bucket: BucketId,
    /// Only uploads of keys that begin so.
    pub prefix: String,
    /// Only those behind this key and upload.
    pub after: Option<(String, UploadId)>,
    /// Most of them; at most a page is given.
    pub limit: u32,
}

/// An upload in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadItem {
    /// The key.
    pub key: String,
    /// The upload.
    pub upload: UploadId,
    /// Leader time of its creation.
    pub created_ms: u64,
    /// Its parts so far.
    pub parts: u32,
    /// Their bytes.
    pub bytes: u64,
    /// It is one stream, and its parts are the runs that are recorded.
    pub stream: bool,
}

/// A page of uploads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadsAnswer {
    /// The uploads.
    pub uploads: Vec<UploadItem>,
    /// There are uploads after the last one.
    pub more: bool,
}

pub(super) fn upload(kv: &dyn KvRead, query: &UploadQuery) -> Result<UploadFound, StateError> {
    let name = &query.name;
    let key = ser_key(name.bucket, name.key.as_str(), name.upload);
    let Some(row) = load(kv, Table::Uploads, &key)? else {
        return became(kv, name);
    };
    let mut answer = UploadAnswer {
        row,
        parts: Vec::new(),
        more: false,
    };
    if query.limit == 0 {
        return Ok(UploadFound::Open(answer));
    }
    let (from, to) = (
        part::ser_key(name.upload, query.after),
        part::ser_key(name.upload, u16::MAX),
    );
    let range = (Bound::Excluded(&from[..]), Bound::Included(&to[..]));
    let each = |key: &[u8], value: &[u8]| {
        let row = PartRow::deser_value(value)?;
        Ok(Some(PartItem {
            part: part::deser_number(key)?,
            size: row.size,
            crc64: row.crc64,
            etag: row.etag,
            sums: row.sums,
            modified_ms: row.modified_ms,
        }))
    };
    let limit = query.limit.min(LIST_PAGE_MAX);
    let found = page(kv, Table::UploadParts, range, limit, each)?;
    (answer.parts, answer.more) = (found.items, found.more);
    Ok(UploadFound::Open(answer))
}

/// What an upload is that is not under way.
fn became(kv: &dyn KvRead, name: &UploadName) -> Result<UploadFound, StateError> {
    let version = live::became(kv, (name.bucket, name.key.as_str()), name.upload)?;
    Ok(match version {
        Some((row, _)) => UploadFound::Completed(row.generation),
        None => UploadFound::Unknown,
    })
}

pub(super) fn uploads(kv: &dyn KvRead, query: &UploadsQuery) -> Result<UploadsAnswer, StateError> {
    let prefix = ser_prefix(query.bucket, &query.prefix);
    let after = query
        .after
        .as_ref()
        .map(|(key, upload)| ser_key(query.bucket, key, *upload))
        .filter(|after| *after >= prefix);
    let from = match &after {
        None => Bound::Included(&prefix[..]),
        Some(after) => Bound::Excluded(&after[..]),
    };
    let end = successor(prefix.clone());
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let each = |key: &[u8], value: &[u8]| {
        let (_, key, upload) = deser_key(key)?;
        let row = UploadRow::deser_value(value)?;
        Ok(Some(UploadItem {
            key,
            upload,
            created_ms: row.created_ms,
            parts: row.totals.parts,
            bytes: row.totals.bytes,
            stream: row.stream.is_some(),
        }))
    };
    let limit = query.limit.min(LIST_PAGE_MAX);
    let found = page(kv, Table::Uploads, (from, to), limit, each)?;
    Ok(UploadsAnswer {
        uploads: found.items,
        more: found.more,
    })
}

fn get_u32(from: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(from.varint()?).map_err(|_| DecodeError::Invalid("number"))
}

impl Stored for UploadQuery {
    fn encode(&self, out: &mut Writer) {
        self.name.encode(out);
        out.u16_be(self.after).varint(u64::from(self.limit));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: UploadName::decode(from)?,
            after: from.u16_be()?,
            limit: get_u32(from)?,
        })
    }
}

impl Stored for UploadsQuery {
    fn encode(&self, out: &mut Writer) {
        out.u64_be(self.bucket.0)
            .str(&self.prefix)
            .option(self.after.as_ref(), |out, (key, upload)| {
                out.str(key).u128_be(upload.0);
            })
            .varint(u64::from(self.limit));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            bucket: BucketId(from.u64_be()?),
            prefix: from.str()?.to_owned(),
            after: from.option(|from| Ok((from.str()?.to_owned(), UploadId(from.u128_be()?))))?,
            limit: get_u32(from)?,
        })
    }
}

impl Stored for PartItem {
    fn encode(&self, out: &mut Writer) {
        out.u16_be(self.part)
            .varint(self.size)
            .u64_be(self.crc64)
            .str(&self.etag);
        self.sums.encode(out);
        out.varint(self.modified_ms);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            part: from.u16_be()?,
            size: from.varint()?,
            crc64: from.u64_be()?,
            etag: from.str()?.to_owned(),
            sums: PartSums::decode(from)?,
            modified_ms: from.varint()?,
        })
    }
}

impl Stored for UploadAnswer {
    fn encode(&self, out: &mut Writer) {
        self.row.encode(out);
        out.list(&self.parts, |out, part| part.encode(out))
            .bool(self.more);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            row: UploadRow::decode(from)?,
            parts: from.list(PartItem::decode)?,
            more: from.bool()?,
        })
    }
}

impl Stored for UploadFound {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Open(answer) => answer.encode(out.u8(1)),
            Self::Completed(generation) => {
                out.u8(2).varint(generation.0);
            }
            Self::Unknown => {
                out.u8(3);
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Open(UploadAnswer::decode(from)?),
            2 => Self::Completed(Generation(from.varint()?)),
            3 => Self::Unknown,
            other => return Err(unknown("upload", other)),
        })
    }
}

/// Of the byte behind the uploads: there are more; which are streams is told behind it.
const MORE: u8 = 1;
const STREAMS: u8 = 2;

impl Stored for UploadsAnswer {
    fn encode(&self, out: &mut Writer) {
        // They are there only where every member knows of them.
        let streams = self.uploads.iter().any(|item| item.stream);
        out.list(&self.uploads, |out, item| {
            out.str(&item.key)
                .u128_be(item.upload.0)
                .varint(item.created_ms)
                .varint(u64::from(item.parts))
                .varint(item.bytes);
        })
        .u8(u8::from(self.more) | if streams { STREAMS } else { 0 });
        if streams {
            for item in &self.uploads {
                out.bool(item.stream);
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let item = |from: &mut Reader<'_>| {
            Ok(UploadItem {
                key: from.str()?.to_owned(),
                upload: UploadId(from.u128_be()?),
                created_ms: from.varint()?,
                parts: get_u32(from)?,
                bytes: from.varint()?,
                stream: false,
            })
        };
        let uploads = from.list(item)?;
        let flags = from.u8()?;
        if flags > MORE | STREAMS {
            return Err(DecodeError::Invalid("uploads"));
        }
        let mut answer = Self {
            uploads,
            more: flags & MORE != 0,
        };
        if flags & STREAMS != 0 {
            for item in &mut answer.uploads {
                item.stream = from.bool()?;
            }
        }
        Ok(answer)
    }
}
