//! What an object group answers.

use bytes::Bytes;
use marram_placement::PgRow;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, DriveId, Generation, Profile, VersionId};

use super::due::DueAnswer;
use super::events::EventsAnswer;
use super::lost::LostTotals;
use super::named::NamedAnswer;
use super::upkeep::{GarbageTotals, OnDriveAnswer};
use super::uploads::{UploadFound, UploadsAnswer};
use super::usages::UsagesAnswer;
use super::versions::{VersionAnswer, VersionEntry};
use crate::kinds::bucket::BucketRecord;
use crate::kinds::extent::Extent;
use crate::kinds::garbage::GarbageEntry;
use crate::kinds::noncurrent::{get_place, put_place};
use crate::kinds::object::VersionRow;
use crate::kinds::quota::Lease;
use crate::kinds::ticket::RepairTicket;
use crate::kinds::usage::Usage;
use crate::refusal::unknown;
use crate::stored::{
    Stored, get_drives, get_places, get_profile, only_version, put_drives, put_places, put_profile,
};

/// Version of the messages, raised with any change of their form. Only this one is read.
pub(super) const VERSION: u8 = 2;
pub(super) const TAG_HEAD: u8 = 1;

/// An object's current version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadAnswer {
    /// The version; its body is never [`Body::Spilled`](crate::Body::Spilled).
    pub row: VersionRow,
    /// The bytes, when the body is inline; a slice of the answer's own bytes.
    pub inline: Option<Bytes>,
    /// By extent and shard, where to read it: the row's override, else what the group knows of the
    /// layout (placement-protocol.md 5). Empty when the body is inline.
    pub places: Vec<Vec<DriveId>>,
}

impl HeadAnswer {
    pub(super) fn encode(&self, out: &mut Writer) {
        self.row.encode(out);
        encode_head_rest(out, self.inline.as_deref(), &self.places);
    }

    /// Inline bytes stay where they are in `whole`.
    pub(super) fn decode(from: &mut Reader<'_>, whole: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            row: VersionRow::decode(from)?,
            inline: from.option(Reader::bytes)?.map(|b| whole.slice_ref(b)),
            places: get_places(from)?,
        })
    }
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
    /// A version or delete marker.
    Version(VersionEntry),
}

impl ListItem {
    /// The key or prefix: items of a page ascend by its bytes.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Object(entry) => &entry.key,
            Self::Prefix(prefix) => prefix,
            Self::Version(entry) => &entry.key,
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
    /// The group's time, which deadlines are compared with: a leader whose clock was fast has moved
    /// it on for all after it. A deadline is counted from the later of this and one's own clock.
    pub time_ms: u64,
}

/// What a group knows about an extent's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// Nothing: it was never committed, or it was collected. Deletable when its begin index is
    /// below the floor (rules.md 27).
    Unreferenced,
    /// A version holds it.
    Live {
        /// The epoch of the placement group's row that the answer is from: a permission to clean up
        /// is bound to it (rules.md 24).
        epoch: u64,
        /// Bit `i` set: shard `i` is known to be lost where readers look. A copy of it elsewhere
        /// may be what a repair needs.
        missing: u64,
        /// By shard, the drives that it must not be taken from: where readers look for it, and
        /// where the layout wants it. On any other drive it is left over from a move.
        belongs: Vec<Vec<DriveId>>,
    },
    /// In the garbage queue: the queue says when it may go.
    Displaced,
}

/// An extent that a version holds, with what work on it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveExtent {
    /// The object's bucket.
    pub bucket: BucketId,
    /// Its key.
    pub key: String,
    /// Its version, which background work never changes; of a part its upload.
    pub version: VersionId,
    /// The profile that the object should have.
    pub nominal: Profile,
    /// The extent, with what is missing.
    pub extent: Extent,
    /// CRC64/NVME of its bytes, where they are all of the version or of the part.
    pub crc64: Option<u64>,
    /// By shard, where to read it.
    pub places: Vec<DriveId>,
}

/// A page of the live extents of one placement group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsAnswer {
    /// The group's applied index of this view: what is found out from it is `seen` at this index.
    pub index: u64,
    /// The group's copy of the placement group's row; none when it was not told of it.
    pub row: Option<PgRow>,
    /// The extents, by data id.
    pub extents: Vec<LiveExtent>,
    /// There are extents after the last one.
    pub more: bool,
}

/// A repair ticket with what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketItem {
    /// The ticket.
    pub ticket: RepairTicket,
    /// The extent.
    pub extent: LiveExtent,
    /// The group's copy of its placement group's row.
    pub row: PgRow,
}

/// A page of repair tickets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketsAnswer {
    /// The group's applied index of this view: what is found out from it is `seen` at this index.
    pub index: u64,
    /// The tickets, by data id.
    pub tickets: Vec<TicketItem>,
    /// There are tickets after the last one.
    pub more: bool,
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
    /// Repair tickets of extents that survive fewer losses than they should, or may; those that are
    /// only narrower than asked for do not count. No more than [`TICKETS_COUNTED_MAX`].
    pub tickets: u64,
    /// Extents that are to be encoded anew, because they have another profile than their bucket
    /// asks for. No more than [`TICKETS_COUNTED_MAX`].
    pub reencodings: u64,
    /// Buckets whose profile was changed and whose versions have not all been judged by it yet.
    pub judging: u64,
}

/// Tickets are counted up to here: whoever asks wants to know whether there are any, and about how
/// many.
pub const TICKETS_COUNTED_MAX: u32 = 10_000;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAnswer {
    /// A digest of what was asked.
    pub asked: Option<u64>,
    /// The outcome, in the encoding of [`ObjectOutcome`](crate::ObjectOutcome).
    pub outcome: Vec<u8>,
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
    /// To `Due`.
    Due(DueAnswer),
    /// To `Lease`; none: the bucket has no quota here.
    Lease {
        /// What the group holds.
        usage: Usage,
        /// Its part of the quota.
        lease: Option<Lease>,
    },
    /// To `Status`.
    Status(GroupCounters),
    /// To `Garbage`.
    Garbage(Vec<GarbageEntry>),
    /// To `References`, in the order asked.
    References(Vec<Reference>),
    /// To `Tickets`.
    Tickets(TicketsAnswer),
    /// To `Rows`.
    Rows(RowsAnswer),
    /// To `OnDrive`.
    OnDrive(OnDriveAnswer),
    /// To `Events`.
    Events(EventsAnswer),
    /// To `GarbageTotals`.
    GarbageTotals(GarbageTotals),
    /// To `Usages`.
    Usages(UsagesAnswer),
    /// To `LostTotals`.
    LostTotals(LostTotals),
    /// To `Named`.
    Named(NamedAnswer),
    /// To `Request`; none: it was not carried out, or that is forgotten.
    Request(Option<RequestAnswer>),
    /// To `Live`; none: nothing holds the data.
    Live(Option<LiveExtent>),
    /// To `Upload`.
    Upload(UploadFound),
    /// To `Uploads`.
    Uploads(UploadsAnswer),
    /// To `Drops`.
    Drops(bool),
    /// To `Version`.
    Version(VersionAnswer),
    /// To `JudgingNoncurrent`: the buckets, each with the last version that was judged; at most a page.
    JudgingNoncurrent(Vec<(BucketId, Option<(String, Generation)>)>),
    /// To `Judging`: the buckets, each with the last version that was judged; at most a page.
    Judging(Vec<(BucketId, Option<String>)>),
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
        only_version(&mut from, "answer version", VERSION)?;
        let answer = decode_answer(&mut from, bytes)?;
        from.finish()?;
        Ok(answer)
    }
}

fn encode_answer(out: &mut Writer, answer: &ObjectAnswer) {
    match answer {
        ObjectAnswer::Head(head) => {
            out.u8(TAG_HEAD).option(head.as_ref(), |out, head| {
                head.encode(out);
            });
        }
        ObjectAnswer::List(page) => {
            out.u8(2).list(&page.items, encode_item).bool(page.more);
        }
        ObjectAnswer::Begin(begin) => {
            out.u8(3)
                .varint(begin.index)
                .option(begin.bucket.as_ref(), |out, bucket| bucket.encode(out))
                .varint(begin.time_ms);
        }
        ObjectAnswer::Usage(usage) => usage.encode(out.u8(4)),
        ObjectAnswer::Due(found) => found.encode(out.u8(199)),
        ObjectAnswer::Lease { usage, lease } => {
            usage.encode(out.u8(197));
            out.option(lease.as_ref(), |out, lease| lease.encode(out));
        }
        ObjectAnswer::Status(counters) => {
            out.u8(5)
                .varint(counters.applied)
                .varint(counters.time_ms)
                .varint(counters.gc_floor)
                .varint(counters.read_floor)
                .varint(counters.requests)
                .varint(counters.tickets)
                .varint(counters.reencodings)
                .varint(counters.judging);
        }
        ObjectAnswer::Garbage(entries) => {
            out.u8(6).list(entries, |out, entry| entry.encode(out));
        }
        ObjectAnswer::References(found) => {
            out.u8(7)
                .list(found, |out, reference| reference.encode(out));
        }
        ObjectAnswer::Tickets(page) => {
            out.u8(8)
                .varint(page.index)
                .list(&page.tickets, |out, item| item.encode(out))
                .bool(page.more);
        }
        ObjectAnswer::Judging(buckets) => {
            out.u8(41).list(buckets, |out, (bucket, after)| {
                out.u64_be(bucket.0).option(after.as_ref(), |out, key| {
                    out.str(key);
                });
            });
        }
        ObjectAnswer::Rows(page) => {
            out.u8(9)
                .varint(page.index)
                .option(page.row.as_ref(), |out, row| row.encode(out))
                .list(&page.extents, |out, extent| extent.encode(out))
                .bool(page.more);
        }
        ObjectAnswer::OnDrive(page) => page.encode(out.u8(60)),
        ObjectAnswer::GarbageTotals(totals) => totals.encode(out.u8(61)),
        ObjectAnswer::Usages(found) => found.encode(out.u8(111)),
        ObjectAnswer::LostTotals(totals) => totals.encode(out.u8(110)),
        ObjectAnswer::Named(named) => named.encode(out.u8(55)),
        uploads => encode_uploads(out, uploads),
    }
}

fn encode_uploads(out: &mut Writer, answer: &ObjectAnswer) {
    match answer {
        ObjectAnswer::Live(live) => {
            out.u8(70)
                .option(live.as_ref(), |out, live| live.encode(out));
        }
        ObjectAnswer::Upload(found) => found.encode(out.u8(71)),
        ObjectAnswer::Uploads(page) => page.encode(out.u8(72)),
        ObjectAnswer::Drops(any) => {
            out.u8(73).bool(*any);
        }
        ObjectAnswer::Version(found) => found.encode(out.u8(80)),
        ObjectAnswer::Request(found) => {
            out.u8(213).option(found.as_ref(), |out, found| {
                out.option(found.asked.as_ref(), |out, asked| {
                    out.u64_be(*asked);
                })
                .bytes(&found.outcome);
            });
        }
        ObjectAnswer::Events(page) => page.encode(out.u8(90)),
        ObjectAnswer::JudgingNoncurrent(buckets) => {
            out.u8(82).list(buckets, |out, (bucket, after)| {
                put_place(out.u64_be(bucket.0), after.as_ref());
            });
        }
        _ => unreachable!("encoded by the caller"),
    }
}

/// Appends what follows a row in the answer to `Head`.
pub(super) fn encode_head_rest(out: &mut Writer, inline: Option<&[u8]>, places: &[Vec<DriveId>]) {
    out.option(inline.as_ref(), |out, bytes| {
        out.bytes(bytes);
    });
    put_places(out, places);
}

fn decode_answer(from: &mut Reader<'_>, whole: &Bytes) -> Result<ObjectAnswer, DecodeError> {
    Ok(match from.u8()? {
        TAG_HEAD => ObjectAnswer::Head(from.option(|from| HeadAnswer::decode(from, whole))?),
        2 => ObjectAnswer::List(ListPage {
            items: from.list(decode_item)?,
            more: from.bool()?,
        }),
        3 => ObjectAnswer::Begin(BeginAnswer {
            index: from.varint()?,
            bucket: from.option(BucketRecord::decode)?,
            time_ms: from.varint()?,
        }),
        4 => ObjectAnswer::Usage(Usage::decode(from)?),
        199 => ObjectAnswer::Due(DueAnswer::decode(from)?),
        213 => ObjectAnswer::Request(from.option(|from| {
            Ok(RequestAnswer {
                asked: from.option(Reader::u64_be)?,
                outcome: from.bytes()?.to_vec(),
            })
        })?),
        197 => ObjectAnswer::Lease {
            usage: Usage::decode(from)?,
            lease: from.option(Lease::decode)?,
        },
        5 => ObjectAnswer::Status(GroupCounters {
            applied: from.varint()?,
            time_ms: from.varint()?,
            gc_floor: from.varint()?,
            read_floor: from.varint()?,
            requests: from.varint()?,
            tickets: from.varint()?,
            reencodings: from.varint()?,
            judging: from.varint()?,
        }),
        6 => ObjectAnswer::Garbage(from.list(GarbageEntry::decode)?),
        7 => ObjectAnswer::References(from.list(Reference::decode)?),
        8 => ObjectAnswer::Tickets(TicketsAnswer {
            index: from.varint()?,
            tickets: from.list(TicketItem::decode)?,
            more: from.bool()?,
        }),
        9 => ObjectAnswer::Rows(RowsAnswer {
            index: from.varint()?,
            row: from.option(PgRow::decode)?,
            extents: from.list(LiveExtent::decode)?,
            more: from.bool()?,
        }),
        60 => ObjectAnswer::OnDrive(OnDriveAnswer::decode(from)?),
        61 => ObjectAnswer::GarbageTotals(GarbageTotals::decode(from)?),
        111 => ObjectAnswer::Usages(UsagesAnswer::decode(from)?),
        110 => ObjectAnswer::LostTotals(LostTotals::decode(from)?),
        55 => ObjectAnswer::Named(NamedAnswer::decode(from)?),
        70 => ObjectAnswer::Live(from.option(LiveExtent::decode)?),
        71 => ObjectAnswer::Upload(UploadFound::decode(from)?),
        72 => ObjectAnswer::Uploads(UploadsAnswer::decode(from)?),
        73 => ObjectAnswer::Drops(from.bool()?),
        80 => ObjectAnswer::Version(VersionAnswer::decode(from, whole)?),
        90 => ObjectAnswer::Events(EventsAnswer::decode(from)?),
        82 => ObjectAnswer::JudgingNoncurrent(
            from.list(|from| Ok((BucketId(from.u64_be()?), get_place(from)?)))?,
        ),
        41 => ObjectAnswer::Judging(from.list(|from| {
            let bucket = BucketId(from.u64_be()?);
            let after = from.option(|from| from.str().map(str::to_owned))?;
            Ok((bucket, after))
        })?),
        other => return Err(unknown("object answer", other)),
    })
}

impl Stored for Reference {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Unreferenced => {
                out.u8(1);
            }
            Self::Live {
                epoch,
                missing,
                belongs,
            } => {
                out.u8(2).varint(*epoch).varint(*missing);
                put_places(out, belongs);
            }
            Self::Displaced => {
                out.u8(3);
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Unreferenced,
            2 => Self::Live {
                epoch: from.varint()?,
                missing: from.varint()?,
                belongs: get_places(from)?,
            },
            3 => Self::Displaced,
            other => return Err(unknown("reference", other)),
        })
    }
}

impl Stored for LiveExtent {
    fn encode(&self, out: &mut Writer) {
        out.u64_be(self.bucket.0)
            .str(&self.key)
            .u128_be(self.version.0);
        put_profile(out, self.nominal);
        self.extent.encode(out);
        out.option(self.crc64.as_ref(), |out, crc| {
            out.u64_be(*crc);
        });
        put_drives(out, &self.places);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            bucket: BucketId(from.u64_be()?),
            key: from.str()?.to_owned(),
            version: VersionId(from.u128_be()?),
            nominal: get_profile(from)?,
            extent: Extent::decode(from)?,
            crc64: from.option(Reader::u64_be)?,
            places: get_drives(from)?,
        })
    }
}

impl Stored for TicketItem {
    fn encode(&self, out: &mut Writer) {
        self.ticket.encode(out);
        self.extent.encode(out);
        self.row.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            ticket: RepairTicket::decode(from)?,
            extent: LiveExtent::decode(from)?,
            row: PgRow::decode(from)?,
        })
    }
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
        ListItem::Version(entry) => entry.encode(out.u8(3)),
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
        3 => ListItem::Version(VersionEntry::decode(from)?),
        other => return Err(unknown("list item", other)),
    })
}
