//! What an object group answers.

use bytes::Bytes;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{Generation, PoolId};

use crate::kinds::bucket::BucketRecord;
use crate::kinds::extent::Extent;
use crate::kinds::garbage::GarbageEntry;
use crate::kinds::object::VersionRow;
use crate::kinds::ticket::RepairTicket;
use crate::kinds::usage::Usage;
use crate::refusal::unknown;
use crate::stored::Stored;

pub(super) const VERSION: u8 = 1;
pub(super) const TAG_HEAD: u8 = 1;

/// An object's current version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadAnswer {
    /// The version; its body is never [`Body::Spilled`](crate::Body::Spilled).
    pub row: VersionRow,
    /// The bytes, when the body is inline; a slice of the answer's own bytes.
    pub inline: Option<Bytes>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// The key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Quotes included.
    pub etag: String,
    /// Leader time of the commit.
    pub modified_ms: u64,
    /// Its generation.
    pub generation: Generation,
}

/// An item of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListItem {
    /// An object.
    Object(ListEntry),
    /// A common prefix: at least one key begins with it.
    Prefix(String),
}

impl ListItem {
    /// The key or prefix: items of a page ascend by its bytes.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Object(entry) => &entry.key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// A page of one group, or of all merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The items, ascending.
    pub items: Vec<ListItem>,
    /// There is an item after the last one.
    pub more: bool,
}

/// What a write needs to begin: the token of placement-protocol.md 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeginAnswer {
    /// The group's applied index: the begin index of the write's data ids.
    pub index: u64,
    /// The group's copy of the bucket; none when the group does not know it.
    pub bucket: Option<BucketRecord>,
    /// The pools that the group knows: a commit may name only these.
    pub pools: Vec<(PoolId, u64)>,
}

/// What a group knows about an extent's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reference {
    /// Nothing: it was never committed, or it was collected. Deletable when its begin index is
    /// below the floor (rules.md 27).
    Unreferenced = 1,
    /// A version holds it.
    Live = 2,
    /// In the garbage queue: the queue says when it may go.
    Displaced = 3,
}

/// What a group holds beside objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupCounters {
    /// Index of the last command applied.
    pub applied: u64,
    /// The latest leader time.
    pub time_ms: u64,
    /// Commits begun below it are refused.
    pub gc_floor: u64,
    /// Data displaced below it has no readers left.
    pub read_floor: u64,
    /// Request records.
    pub requests: u64,
}

/// An answer of an object group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectAnswer {
    /// To `Head`; none: there is no such object.
    Head(Option<HeadAnswer>),
    /// To `List`.
    List(ListPage),
    /// To `Begin`.
    Begin(BeginAnswer),
    /// To `Usage`.
    Usage(Usage),
    /// To `Status`.
    Status(GroupCounters),
    /// To `Garbage`.
    Garbage(Vec<GarbageEntry>),
    /// To `References`, in the order asked.
    References(Vec<Reference>),
    /// To `Tickets`.
    Tickets(Vec<RepairTicket>),
}

impl ObjectAnswer {
    /// The form that crosses the mesh.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(256);
        out.u8(VERSION);
        encode_answer(&mut out, self);
        out.finish()
    }

    /// Reads what [`Self::encode`] wrote. Inline bytes stay where they are.
    ///
    /// # Errors
    /// When the bytes are damaged or of a newer release.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        from.version("answer version", VERSION)?;
        let answer = decode_answer(&mut from, bytes)?;
        from.finish()?;
        Ok(answer)
    }
}

fn encode_answer(out: &mut Writer, answer: &ObjectAnswer) {
    match answer {
        ObjectAnswer::Head(head) => {
            out.u8(TAG_HEAD).option(head.as_ref(), |out, head| {
                head.row.encode(out);
                out.option(head.inline.as_ref(), |out, bytes| {
                    out.bytes(bytes);
                });
            });
        }
        ObjectAnswer::List(page) => {
            out.u8(2).list(&page.items, encode_item).bool(page.more);
        }
        ObjectAnswer::Begin(begin) => {
            out.u8(3)
                .varint(begin.index)
                .option(begin.bucket.as_ref(), |out, bucket| bucket.encode(out))
                .list(&begin.pools, |out, (pool, epoch)| {
                    out.u16_be(pool.0).varint(*epoch);
                });
        }
        ObjectAnswer::Usage(usage) => usage.encode(out.u8(4)),
        ObjectAnswer::Status(counters) => {
            out.u8(5)
                .varint(counters.applied)
                .varint(counters.time_ms)
                .varint(counters.gc_floor)
                .varint(counters.read_floor)
                .varint(counters.requests);
        }
        ObjectAnswer::Garbage(entries) => {
            out.u8(6).list(entries, |out, entry| {
                out.varint(entry.at);
                entry.extent.encode(out);
            });
        }
        ObjectAnswer::References(found) => {
            out.u8(7).list(found, |out, reference| {
                out.u8(*reference as u8);
            });
        }
        ObjectAnswer::Tickets(tickets) => {
            out.u8(8).list(tickets, |out, ticket| ticket.encode(out));
        }
    }
}

fn decode_answer(from: &mut Reader<'_>, whole: &Bytes) -> Result<ObjectAnswer, DecodeError> {
    Ok(match from.u8()? {
        TAG_HEAD => ObjectAnswer::Head(from.option(|from| {
            Ok(HeadAnswer {
                row: VersionRow::decode(from)?,
                inline: from.option(Reader::bytes)?.map(|b| whole.slice_ref(b)),
            })
        })?),
        2 => ObjectAnswer::List(ListPage {
            items: from.list(decode_item)?,
            more: from.bool()?,
        }),
        3 => ObjectAnswer::Begin(BeginAnswer {
            index: from.varint()?,
            bucket: from.option(BucketRecord::decode)?,
            pools: from.list(|from| Ok((PoolId(from.u16_be()?), from.varint()?)))?,
        }),
        4 => ObjectAnswer::Usage(Usage::decode(from)?),
        5 => ObjectAnswer::Status(GroupCounters {
            applied: from.varint()?,
            time_ms: from.varint()?,
            gc_floor: from.varint()?,
            read_floor: from.varint()?,
            requests: from.varint()?,
        }),
        6 => ObjectAnswer::Garbage(from.list(|from| {
            Ok(GarbageEntry {
                at: from.varint()?,
                extent: Extent::decode(from)?,
            })
        })?),
        7 => ObjectAnswer::References(from.list(|from| match from.u8()? {
            1 => Ok(Reference::Unreferenced),
            2 => Ok(Reference::Live),
            3 => Ok(Reference::Displaced),
            other => Err(unknown("reference", other)),
        })?),
        8 => ObjectAnswer::Tickets(from.list(RepairTicket::decode)?),
        other => return Err(unknown("object answer", other)),
    })
}

fn encode_item(out: &mut Writer, item: &ListItem) {
    match item {
        ListItem::Object(entry) => {
            out.u8(1)
                .str(&entry.key)
                .varint(entry.size)
                .str(&entry.etag)
                .varint(entry.modified_ms)
                .varint(entry.generation.0);
        }
        ListItem::Prefix(prefix) => {
            out.u8(2).str(prefix);
        }
    }
}

fn decode_item(from: &mut Reader<'_>) -> Result<ListItem, DecodeError> {
    Ok(match from.u8()? {
        1 => ListItem::Object(ListEntry {
            key: from.str()?.to_owned(),
            size: from.varint()?,
            etag: from.str()?.to_owned(),
            modified_ms: from.varint()?,
            generation: Generation(from.varint()?),
        }),
        2 => ListItem::Prefix(from.str()?.to_owned()),
        other => return Err(unknown("list item", other)),
    })
}
