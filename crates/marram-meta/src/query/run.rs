//! Answers a question from one view of a group's state.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use marram_types::caps::LIST_PAGE_MAX;
use marram_types::codec::{DecodeError, Writer};
use marram_types::{BucketId, DataId, DriveId, Generation, ObjectKey, RequestId};

use super::answer::{
    BeginAnswer, GroupCounters, HeadAnswer, ObjectAnswer, RequestAnswer, TAG_HEAD,
    TICKETS_COUNTED_MAX, VERSION, encode_head_rest,
};
use super::due::due;
use super::events::events;
use super::list::list;
use super::live::{live, queue, reference, rows, tickets};
use super::lost::lost_totals;
use super::messages::ObjectQuery;
use super::named::named;
use super::upkeep::{garbage_totals, on_drive};
use super::uploads::{upload, uploads};
use super::usages::usages;
use super::versions::{list_versions, version};
use crate::kinds::extent::Extent;
use crate::kinds::garbage::{self, GarbageEntry};
use crate::kinds::noncurrent::NoncurrentCursor;
use crate::kinds::object::{Body, BodyKind, VersionRow, deser_body_kind, ser_key};
use crate::kinds::profile_cursor::ProfileCursor;
use crate::kinds::state::GroupState;
use crate::kinds::ticket::{self, TicketWork};
use crate::kinds::usage::Usage;
use crate::kinds::{bucket, data_ref, inline, request as request_row};
use crate::kv::{KvRead, Table};
use crate::layout::Layout;
use crate::object::drops;
use crate::object::extents::row_extents;
use crate::stored::{StateError, Stored, load};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The question does not decode.
    #[error("the query is damaged or of a newer release: {0}")]
    BadQuery(#[from] DecodeError),
    /// The group's state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Answers an encoded [`ObjectQuery`] with an encoded [`ObjectAnswer`]. `applied` is the group's
/// applied index of this view: writes begin at it.
///
/// # Errors
/// A question that does not decode, or a state that cannot be read.
pub fn answer_object(kv: &dyn KvRead, applied: u64, query: &[u8]) -> Result<Vec<u8>, QueryError> {
    match ObjectQuery::decode(query)? {
        // A small object's row and bytes are the answer's: nothing is decoded on the way.
        ObjectQuery::Head { bucket, key } => Ok(head_bytes(kv, bucket, &key)?),
        query => Ok(answer(kv, applied, &query)?.encode()),
    }
}

/// Answers a question. `applied` is the group's applied index of this view.
///
/// # Errors
/// A state that cannot be read.
pub fn answer(
    kv: &dyn KvRead,
    applied: u64,
    query: &ObjectQuery,
) -> Result<ObjectAnswer, StateError> {
    Ok(match query {
        ObjectQuery::Head { bucket, key } => ObjectAnswer::Head(head(kv, *bucket, key)?),
        ObjectQuery::List(query) => ObjectAnswer::List(list(kv, query)?),
        ObjectQuery::ListVersions(query) => ObjectAnswer::List(list_versions(kv, query)?),
        ObjectQuery::Version {
            bucket,
            key,
            generation,
        } => ObjectAnswer::Version(version(kv, *bucket, key, *generation)?),
        ObjectQuery::JudgingNoncurrent => ObjectAnswer::JudgingNoncurrent(judging_noncurrent(kv)?),
        ObjectQuery::Begin { bucket } => ObjectAnswer::Begin(BeginAnswer {
            index: applied,
            bucket: load(kv, Table::Buckets, &bucket::ser_key(*bucket))?,
            time_ms: GroupState::load(kv)?.time_ms,
        }),
        ObjectQuery::Request(id) => ObjectAnswer::Request(request(kv, *id)?),
        ObjectQuery::Usage { bucket } => ObjectAnswer::Usage(usage(kv, *bucket)?),
        ObjectQuery::Due(query) => ObjectAnswer::Due(due(kv, query)?),
        ObjectQuery::Lease { bucket } => ObjectAnswer::Lease {
            usage: usage(kv, Some(*bucket))?,
            lease: load(kv, Table::Leases, &bucket::ser_key(*bucket))?,
        },
        ObjectQuery::Status => ObjectAnswer::Status(counters(kv)?),
        ObjectQuery::Garbage { after, limit } => {
            ObjectAnswer::Garbage(garbage(kv, *after, *limit)?)
        }
        ObjectQuery::References(pairs) => {
            let mut layout = Layout::default();
            let found = pairs.iter().map(|pair| reference(kv, &mut layout, *pair));
            ObjectAnswer::References(found.collect::<Result<_, _>>()?)
        }
        ObjectQuery::Tickets { after, limit } => {
            ObjectAnswer::Tickets(tickets(kv, applied, *after, *limit)?)
        }
        ObjectQuery::Queue {
            from,
            to,
            after,
            limit,
        } => ObjectAnswer::Tickets(queue(kv, applied, (*from, *to), *after, *limit)?),
        ObjectQuery::Judging => ObjectAnswer::Judging(judging(kv)?),
        ObjectQuery::Rows { pg, after, limit } => {
            ObjectAnswer::Rows(rows(kv, applied, (*pg, *after), *limit)?)
        }
        ObjectQuery::OnDrive {
            drive,
            after,
            limit,
        } => ObjectAnswer::OnDrive(on_drive(kv, (*drive, *after), *limit)?),
        ObjectQuery::Live { pg, data } => ObjectAnswer::Live(live(kv, (*pg, *data))?),
        ObjectQuery::Upload(query) => ObjectAnswer::Upload(upload(kv, query)?),
        ObjectQuery::Uploads(query) => ObjectAnswer::Uploads(uploads(kv, query)?),
        ObjectQuery::Drops => ObjectAnswer::Drops(drops::any(kv)?),
        ObjectQuery::Events(query) => ObjectAnswer::Events(events(kv, applied, query)?),
        ObjectQuery::GarbageTotals => ObjectAnswer::GarbageTotals(garbage_totals(kv)?),
        ObjectQuery::Usages { after, limit } => ObjectAnswer::Usages(usages(kv, *after, *limit)?),
        ObjectQuery::LostTotals => ObjectAnswer::LostTotals(lost_totals(kv, applied)?),
        ObjectQuery::Named {
            drives,
            after,
            limit,
        } => ObjectAnswer::Named(named(kv, drives, after.as_ref(), *limit)?),
    })
}

/// An object's row, inline bytes and places, as encoded in an answer.
fn head_bytes(kv: &dyn KvRead, bucket: BucketId, key: &ObjectKey) -> Result<Vec<u8>, StateError> {
    let Some(row) = kv.get(Table::Objects, &ser_key(bucket, key.as_str()))? else {
        return Ok(ObjectAnswer::Head(None).encode());
    };
    let kind = deser_body_kind(&row).map_err(StateError::corrupt(Table::Objects))?;
    let BodyKind::Inline(data) = kind else {
        return Ok(ObjectAnswer::Head(head(kv, bucket, key)?).encode());
    };
    let stored = inline_value(kv, data)?;
    let bytes = inline::deser_value(&stored).map_err(StateError::corrupt(Table::Inline))?;
    let mut out = Writer::with_capacity(16 + row.len() + bytes.len());
    out.u8(VERSION).u8(TAG_HEAD).bool(true).raw(&row);
    encode_head_rest(&mut out, Some(bytes), &[]);
    Ok(out.finish())
}

fn inline_value(kv: &dyn KvRead, data: DataId) -> Result<Vec<u8>, StateError> {
    kv.get(Table::Inline, &inline::ser_key(data))?
        .ok_or(StateError::Corrupt {
            table: Table::Inline,
            source: DecodeError::Short,
        })
}

/// Brings a version's extents back into its row.
fn resolve(kv: &dyn KvRead, mut row: VersionRow) -> Result<VersionRow, StateError> {
    if matches!(row.body, Body::Spilled { .. } | Body::Parts(_)) {
        row.body = Body::Extents(row_extents(kv, &row)?);
    }
    Ok(row)
}

fn head(
    kv: &dyn KvRead,
    bucket: BucketId,
    key: &ObjectKey,
) -> Result<Option<HeadAnswer>, StateError> {
    let row_key = ser_key(bucket, key.as_str());
    let row: Option<VersionRow> = load(kv, Table::Objects, &row_key)?;
    row.map(|row| head_of(kv, row)).transpose()
}

/// A version with its bytes where they are inline, and with where the others are.
pub(super) fn head_of(kv: &dyn KvRead, row: VersionRow) -> Result<HeadAnswer, StateError> {
    let inline = match row.body {
        Body::Inline { data } => {
            let stored = inline_value(kv, data)?;
            let bytes = inline::deser_value(&stored).map_err(StateError::corrupt(Table::Inline))?;
            Some(bytes.to_vec().into())
        }
        _ => None,
    };
    let row = resolve(kv, row)?;
    let places = match &row.body {
        Body::Extents(extents) => places(kv, extents)?,
        Body::Inline { .. } | Body::Spilled { .. } | Body::Parts(_) => Vec::new(),
    };
    Ok(HeadAnswer {
        row,
        inline,
        places,
    })
}

fn places(kv: &dyn KvRead, extents: &[Extent]) -> Result<Vec<Vec<DriveId>>, StateError> {
    let mut layout = Layout::default();
    let places = extents.iter().map(|e| layout.read_places(kv, e));
    places.collect()
}

/// A whole table.
const ALL: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);

/// Some of what a table holds.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// There is more after them.
    pub(super) more: bool,
}

/// Collects what `each` makes of the rows of a table, until it has `most` or the table ends. Rows
/// that `each` makes nothing of do not count.
pub(super) fn page<T>(
    kv: &dyn KvRead,
    table: Table,
    (from, to): (Bound<&[u8]>, Bound<&[u8]>),
    most: u32,
    each: impl Fn(&[u8], &[u8]) -> Result<Option<T>, DecodeError>,
) -> Result<Page<T>, StateError> {
    let most = usize::try_from(most).expect("a u32 fits a usize");
    let mut items = Vec::new();
    let mut more = false;
    let mut damage = None;
    kv.scan(table, from, to, &mut |key, value| {
        match each(key, value) {
            Ok(None) => {}
            Ok(Some(_)) if items.len() == most => more = true,
            Ok(item) => items.extend(item),
            Err(source) => damage = Some(source),
        }
        if damage.is_none() && !more {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    match damage {
        None => Ok(Page { items, more }),
        Some(source) => Err(StateError::Corrupt { table, source }),
    }
}

fn usage(kv: &dyn KvRead, bucket: Option<BucketId>) -> Result<Usage, StateError> {
    if let Some(bucket) = bucket {
        return Ok(load(kv, Table::Usage, &bucket::ser_key(bucket))?.unwrap_or_default());
    }
    let each = |_: &[u8], value: &[u8]| Usage::deser_value(value).map(Some);
    let all = page(kv, Table::Usage, ALL, u32::MAX, each)?;
    Ok(all.items.into_iter().fold(Usage::default(), Usage::plus))
}

fn counters(kv: &dyn KvRead) -> Result<GroupCounters, StateError> {
    let state = GroupState::load(kv)?;
    Ok(GroupCounters {
        applied: state.applied,
        time_ms: state.time_ms,
        gc_floor: state.gc_floor,
        read_floor: state.read_floor,
        requests: state.requests,
        tickets: queued(kv, TicketWork::Missing, TicketWork::UnderProtected)?,
        reencodings: queued(kv, TicketWork::UnderProtected, TicketWork::Reshape)?,
        judging: (judging(kv)?.len() + judging_noncurrent(kv)?.len()) as u64,
    })
}

/// Tickets that wait for these kinds of work, each counted by its first one.
fn queued(kv: &dyn KvRead, from: TicketWork, to: TicketWork) -> Result<u64, StateError> {
    let start = ticket::ser_queue_key(from, data_ref::FIRST);
    let end = ticket::ser_queue_key(to, data_ref::LAST);
    let range = (Bound::Included(&start[..]), Bound::Included(&end[..]));
    let each = |key: &[u8], _: &[u8]| ticket::deser_queue_key(key).map(|pair| Some(pair.1));
    let found = page(kv, Table::TicketQueue, range, TICKETS_COUNTED_MAX, each)?;
    let distinct: BTreeSet<DataId> = found.items.into_iter().collect();
    Ok(distinct.len() as u64)
}

/// Buckets whose versions have not all been judged by their changed profile.
fn judging(kv: &dyn KvRead) -> Result<Vec<(BucketId, Option<String>)>, StateError> {
    let each = |key: &[u8], value: &[u8]| {
        let bucket = bucket::deser_id(key)?;
        let cursor = ProfileCursor::deser_value(value)?;
        Ok(Some((bucket, cursor.after)))
    };
    Ok(page(kv, Table::ProfileCursors, ALL, LIST_PAGE_MAX, each)?.items)
}

/// The same of noncurrent versions.
fn judging_noncurrent(kv: &dyn KvRead) -> Result<JudgingNoncurrent, StateError> {
    let each = |key: &[u8], value: &[u8]| {
        let bucket = bucket::deser_id(key)?;
        let cursor = NoncurrentCursor::deser_value(value)?;
        Ok(Some((bucket, cursor.after)))
    };
    Ok(page(kv, Table::NoncurrentCursors, ALL, LIST_PAGE_MAX, each)?.items)
}

/// Buckets, each with the last version that was judged.
type JudgingNoncurrent = Vec<(BucketId, Option<(String, Generation)>)>;

fn garbage(
    kv: &dyn KvRead,
    after: Option<(u64, DataId)>,
    limit: u32,
) -> Result<Vec<GarbageEntry>, StateError> {
    let state = GroupState::load(kv)?;
    let after = after.map(|(at, data)| garbage::ser_key(at, data));
    let start = match &after {
        None => Bound::Unbounded,
        Some(key) => Bound::Excluded(&key[..]),
    };
    // Ordered by the begin index: everything from the floor on may be committed again. What was
    // displaced since the read floor may still have readers.
    let end = state.gc_floor.to_be_bytes();
    let range = (start, Bound::Excluded(&end[..]));
    let each = |key: &[u8], value: &[u8]| {
        let (at, _) = garbage::deser_key(key)?;
        let entry = garbage::deser_value(at, value)?;
        Ok((at < state.read_floor).then_some(entry))
    };
    let limit = limit.min(LIST_PAGE_MAX);
    Ok(page(kv, Table::Garbage, range, limit, each)?.items)
}

/// What came of a request, as long as its record lives (rules.md 14).
fn request(kv: &dyn KvRead, id: RequestId) -> Result<Option<RequestAnswer>, StateError> {
    let Some(row) = kv.get(Table::Requests, &request_row::ser_key(id))? else {
        return Ok(None);
    };
    let read = request_row::deser_value(&row).map_err(StateError::corrupt(Table::Requests))?;
    Ok(Some(RequestAnswer {
        asked: read.0,
        outcome: read.1.to_vec(),
    }))
}
