//! Answers a question from one view of a group's state.

use std::ops::{Bound, ControlFlow};

use marram_types::caps::LIST_PAGE_MAX;
use marram_types::codec::{DecodeError, Writer};
use marram_types::{BucketId, DataId, ObjectKey, PgId, PoolId};

use super::answer::{
    BeginAnswer, GroupCounters, HeadAnswer, ObjectAnswer, Reference, TAG_HEAD, VERSION,
};
use super::list::list;
use super::messages::ObjectQuery;
use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::garbage::{self, GarbageEntry};
use crate::kinds::object::{Body, BodyKind, VersionRow, deser_body_kind, ser_key};
use crate::kinds::pool::{self, PoolFence};
use crate::kinds::state::GroupState;
use crate::kinds::ticket::{self, RepairTicket};
use crate::kinds::usage::Usage;
use crate::kinds::{bucket, inline};
use crate::kv::{KvRead, Table};
use crate::object::spilled_chunks;
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
        // The row's bytes are the answer's bytes: nothing is decoded on the way.
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
        ObjectQuery::Begin { bucket } => ObjectAnswer::Begin(BeginAnswer {
            index: applied,
            bucket: load(kv, Table::Buckets, &bucket::ser_key(*bucket))?,
            pools: pools(kv)?,
        }),
        ObjectQuery::Usage { bucket } => ObjectAnswer::Usage(usage(kv, *bucket)?),
        ObjectQuery::Status => ObjectAnswer::Status(counters(kv)?),
        ObjectQuery::Garbage { limit } => ObjectAnswer::Garbage(garbage(kv, *limit)?),
        ObjectQuery::References(pairs) => ObjectAnswer::References(
            pairs
                .iter()
                .map(|pair| reference(kv, *pair))
                .collect::<Result<_, _>>()?,
        ),
        ObjectQuery::Tickets { after, limit } => {
            ObjectAnswer::Tickets(tickets(kv, *after, *limit)?)
        }
    })
}

/// An object's row and inline bytes, as encoded in an answer.
fn head_bytes(kv: &dyn KvRead, bucket: BucketId, key: &ObjectKey) -> Result<Vec<u8>, StateError> {
    let Some(row) = kv.get(Table::Objects, &ser_key(bucket, key.as_str()))? else {
        return Ok(ObjectAnswer::Head(None).encode());
    };
    let kind = deser_body_kind(&row).map_err(StateError::corrupt(Table::Objects))?;
    let inline = match kind {
        BodyKind::Inline(data) => Some(inline_value(kv, data)?),
        BodyKind::Extents => None,
        BodyKind::Spilled => return Ok(ObjectAnswer::Head(head(kv, bucket, key)?).encode()),
    };
    let inline = match &inline {
        None => None,
        Some(stored) => {
            Some(inline::deser_value(stored).map_err(StateError::corrupt(Table::Inline))?)
        }
    };
    let mut out = Writer::with_capacity(16 + row.len() + inline.map_or(0, <[u8]>::len));
    out.u8(VERSION).u8(TAG_HEAD).bool(true).raw(&row);
    out.option(inline.as_ref(), |out, bytes| {
        out.bytes(bytes);
    });
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
    if let Body::Spilled { .. } = row.body {
        row.body = Body::Extents(spilled_chunks(kv, row.version)?.concat());
    }
    Ok(row)
}

fn head(
    kv: &dyn KvRead,
    bucket: BucketId,
    key: &ObjectKey,
) -> Result<Option<HeadAnswer>, StateError> {
    let row_key = ser_key(bucket, key.as_str());
    let Some(row) = load::<VersionRow>(kv, Table::Objects, &row_key)? else {
        return Ok(None);
    };
    let inline = match row.body {
        Body::Inline { data } => {
            let stored = inline_value(kv, data)?;
            let bytes = inline::deser_value(&stored).map_err(StateError::corrupt(Table::Inline))?;
            Some(bytes.to_vec().into())
        }
        _ => None,
    };
    let row = resolve(kv, row)?;
    Ok(Some(HeadAnswer { row, inline }))
}

/// A whole table.
const ALL: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);

/// Collects what `each` makes of the rows of a table, until it has `most` or the table ends. Rows
/// that `each` makes nothing of do not count.
fn collect<T>(
    kv: &dyn KvRead,
    table: Table,
    (from, to): (Bound<&[u8]>, Bound<&[u8]>),
    most: u32,
    each: impl Fn(&[u8], &[u8]) -> Result<Option<T>, DecodeError>,
) -> Result<Vec<T>, StateError> {
    let most = usize::try_from(most).expect("a u32 fits a usize");
    let mut found = Vec::new();
    let mut damage = None;
    if most == 0 {
        return Ok(found);
    }
    kv.scan(table, from, to, &mut |key, value| {
        match each(key, value) {
            Ok(item) => found.extend(item),
            Err(source) => damage = Some(source),
        }
        if damage.is_none() && found.len() < most {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    match damage {
        None => Ok(found),
        Some(source) => Err(StateError::Corrupt { table, source }),
    }
}

fn pools(kv: &dyn KvRead) -> Result<Vec<(PoolId, u64)>, StateError> {
    let each = |key: &[u8], value: &[u8]| {
        let fence = PoolFence::deser_value(value)?;
        Ok(Some((pool::deser_key(key)?, fence.epoch)))
    };
    collect(kv, Table::PoolFences, ALL, u32::MAX, each)
}

fn usage(kv: &dyn KvRead, bucket: Option<BucketId>) -> Result<Usage, StateError> {
    if let Some(bucket) = bucket {
        return Ok(load(kv, Table::Usage, &bucket::ser_key(bucket))?.unwrap_or_default());
    }
    let each = |_: &[u8], value: &[u8]| Usage::deser_value(value).map(Some);
    let all = collect(kv, Table::Usage, ALL, u32::MAX, each)?;
    Ok(all.into_iter().fold(Usage::default(), Usage::plus))
}

fn counters(kv: &dyn KvRead) -> Result<GroupCounters, StateError> {
    let state = GroupState::load(kv)?;
    Ok(GroupCounters {
        applied: state.applied,
        time_ms: state.time_ms,
        gc_floor: state.gc_floor,
        read_floor: state.read_floor,
        requests: state.requests,
    })
}

fn garbage(kv: &dyn KvRead, limit: u32) -> Result<Vec<GarbageEntry>, StateError> {
    let state = GroupState::load(kv)?;
    // Ordered by the displacing index: everything from the read floor on may still have readers.
    let end = state.read_floor.to_be_bytes();
    let range = (Bound::Unbounded, Bound::Excluded(&end[..]));
    let each = |key: &[u8], value: &[u8]| {
        let (at, data) = garbage::deser_key(key)?;
        let extent = garbage::deser_value(value)?;
        Ok((data.begin < state.gc_floor).then_some(GarbageEntry { at, extent }))
    };
    collect(kv, Table::Garbage, range, limit.min(LIST_PAGE_MAX), each)
}

fn reference(kv: &dyn KvRead, (pg, data): (PgId, DataId)) -> Result<Reference, StateError> {
    let key = data_ref::ser_key(pg, data);
    Ok(match load(kv, Table::DataRefs, &key)? {
        None => Reference::Unreferenced,
        Some(DataRef::Live { .. }) => Reference::Live,
        // Both are in the garbage queue, which alone decides when they go.
        Some(DataRef::Displaced { .. } | DataRef::Discarded { .. }) => Reference::Displaced,
    })
}

fn tickets(
    kv: &dyn KvRead,
    after: Option<DataId>,
    limit: u32,
) -> Result<Vec<RepairTicket>, StateError> {
    let key = after.map(ticket::ser_key);
    let from = match &key {
        None => Bound::Unbounded,
        Some(key) => Bound::Excluded(&key[..]),
    };
    let each = |_: &[u8], value: &[u8]| RepairTicket::deser_value(value).map(Some);
    let range = (from, Bound::Unbounded);
    collect(kv, Table::Tickets, range, limit.min(LIST_PAGE_MAX), each)
}
