//! What those ask who look after drives: what a drive should hold, and how much waits to be removed.

use std::ops::{Bound, ControlFlow};

use marram_types::caps::LIST_PAGE_MAX;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DataId, DriveId, PgId};

use super::run::page;
use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::extent::Extent;
use crate::kinds::garbage;
use crate::kinds::layout_row::{LayoutRow, ser_key};
use crate::kinds::state::GroupState;
use crate::kv::{KvRead, Table};
use crate::layout::read_place;
use crate::live;
use crate::stored::{StateError, Stored, get_pg};

/// References looked at for one answer: it must not take long however few of them are on the drive.
const REFERENCES_PER_ANSWER: usize = 4 * LIST_PAGE_MAX as usize;
/// Garbage is counted up to here: whoever asks wants to know about how much there is.
pub const GARBAGE_COUNTED_MAX: u32 = 10_000;

/// The shards of one extent that readers look for on a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDrive {
    /// The extent.
    pub extent: Extent,
    /// Which of its shards; none that is known to be missing.
    pub shards: Vec<u8>,
}

/// A page of what a drive should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnDriveAnswer {
    /// The extents, in the order of placement groups and data ids.
    pub extents: Vec<OnDrive>,
    /// Where to go on; none at the end.
    pub next: Option<(PgId, DataId)>,
}

/// How much waits to be removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GarbageTotals {
    /// Entries of the queue, no more than [`GARBAGE_COUNTED_MAX`].
    pub entries: u64,
    /// About how many bytes their shards have.
    pub bytes: u64,
    /// Those of the entries that may go now.
    pub due: u64,
    /// Leader time of the oldest entry in milliseconds; none when there is no entry.
    pub oldest_ms: Option<u64>,
    /// The latest leader time, to compare that with.
    pub now_ms: u64,
    /// There are more entries than were counted.
    pub more: bool,
}

impl Stored for OnDriveAnswer {
    fn encode(&self, out: &mut Writer) {
        out.list(&self.extents, |out, on| {
            on.extent.encode(out);
            out.bytes(&on.shards);
        });
        out.option(self.next.as_ref(), |out, pair| {
            data_ref::put_pair(out, *pair);
        });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            extents: from.list(|from| {
                Ok(OnDrive {
                    extent: Extent::decode(from)?,
                    shards: from.bytes()?.to_vec(),
                })
            })?,
            next: from.option(data_ref::get_pair)?,
        })
    }
}

impl Stored for GarbageTotals {
    fn encode(&self, out: &mut Writer) {
        out.varint(self.entries).varint(self.bytes).varint(self.due);
        out.option(self.oldest_ms.as_ref(), |out, ms| {
            out.varint(*ms);
        });
        out.varint(self.now_ms).bool(self.more);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            entries: from.varint()?,
            bytes: from.varint()?,
            due: from.varint()?,
            oldest_ms: from.option(Reader::varint)?,
            now_ms: from.varint()?,
            more: from.bool()?,
        })
    }
}

/// What readers look for on a drive by the group's copy of the layout. Shards that lie elsewhere than
/// the layout says have tickets, and are left to those.
pub(super) fn on_drive(
    kv: &dyn KvRead,
    (drive, after): (DriveId, Option<(PgId, DataId)>),
    limit: u32,
) -> Result<OnDriveAnswer, StateError> {
    let limit = usize::try_from(limit.clamp(1, LIST_PAGE_MAX)).expect("a u32 fits a usize");
    let mut answer = OnDriveAnswer::default();
    let mut looked = 0;
    for (pg, row) in rows_of(kv, drive, after.map(|(pg, _)| pg))? {
        let from = after.filter(|(of, _)| *of == pg).map(|(_, data)| data);
        let most = REFERENCES_PER_ANSWER - looked;
        let (references, more) = references(kv, (pg, from), most)?;
        looked += references.len();
        for (data, reference) in references {
            if answer.extents.len() == limit {
                return Ok(answer);
            }
            answer.next = Some((pg, data));
            let Some(held) = live::held_by(kv, reference, (pg, data))? else {
                continue;
            };
            let extent = held.extent();
            let here = |shard: &u8| {
                !extent.is_missing(*shard) && read_place(extent, &row.row, *shard) == Some(drive)
            };
            let shards: Vec<u8> = extent
                .shards()
                .map(|(shard, _)| shard)
                .filter(here)
                .collect();
            if !shards.is_empty() {
                let extent = extent.clone();
                answer.extents.push(OnDrive { extent, shards });
            }
        }
        if more || looked >= REFERENCES_PER_ANSWER {
            return Ok(answer);
        }
    }
    answer.next = None;
    Ok(answer)
}

/// The placement groups from `from` on that have a drive, with their rows.
fn rows_of(
    kv: &dyn KvRead,
    drive: DriveId,
    from: Option<PgId>,
) -> Result<Vec<(PgId, LayoutRow)>, StateError> {
    let from = from.map(ser_key);
    let start = match &from {
        None => Bound::Unbounded,
        Some(key) => Bound::Included(&key[..]),
    };
    let each = |key: &[u8], value: &[u8]| {
        let row = LayoutRow::deser_value(value)?;
        let pg = get_pg(&mut Reader::new(key))?;
        Ok(row.row.drives.contains(&drive).then_some((pg, row)))
    };
    let range = (start, Bound::Unbounded);
    Ok(page(kv, Table::LayoutRows, range, u32::MAX, each)?.items)
}

/// References of a placement group, and whether there are more.
type References = (Vec<(DataId, DataRef)>, bool);

fn references(
    kv: &dyn KvRead,
    (pg, after): (PgId, Option<DataId>),
    most: usize,
) -> Result<References, StateError> {
    let from = data_ref::ser_key(pg, after.unwrap_or(data_ref::FIRST));
    let to = data_ref::ser_key(pg, data_ref::LAST);
    let from = match after {
        None => Bound::Included(&from[..]),
        Some(_) => Bound::Excluded(&from[..]),
    };
    let each = |key: &[u8], value: &[u8]| {
        let data = data_ref::deser_key(key)?.1;
        Ok(Some((data, DataRef::deser_value(value)?)))
    };
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let found = page(
        kv,
        Table::DataRefs,
        (from, Bound::Included(&to[..])),
        most,
        each,
    )?;
    Ok((found.items, found.more))
}

/// Counts the garbage queue, oldest first.
pub(super) fn garbage_totals(kv: &dyn KvRead) -> Result<GarbageTotals, StateError> {
    let state = GroupState::load(kv)?;
    let mut totals = GarbageTotals {
        now_ms: state.time_ms,
        ..GarbageTotals::default()
    };
    let mut damage = None;
    let all = (Bound::Unbounded, Bound::Unbounded);
    kv.scan(Table::Garbage, all.0, all.1, &mut |key, value| {
        if totals.entries == u64::from(GARBAGE_COUNTED_MAX) {
            totals.more = true;
            return ControlFlow::Break(());
        }
        let entry = garbage::deser_key(key)
            .and_then(|(at, data)| Ok((data, garbage::deser_value(at, value)?)));
        match entry {
            Ok((data, entry)) => {
                totals.entries += 1;
                totals.bytes += stored_bytes(&entry.extent);
                totals.oldest_ms = totals.oldest_ms.or(Some(entry.since_ms));
                if data.begin < state.gc_floor && entry.at < state.read_floor {
                    totals.due += 1;
                }
                ControlFlow::Continue(())
            }
            Err(source) => {
                damage = Some(source);
                ControlFlow::Break(())
            }
        }
    })?;
    match damage {
        None => Ok(totals),
        Some(source) => Err(StateError::corrupt(Table::Garbage)(source)),
    }
}

/// About how many bytes the shards of an extent have.
fn stored_bytes(extent: &Extent) -> u64 {
    let (k, width) = (extent.profile.k() as u64, extent.profile.width() as u64);
    extent.length.div_ceil(k.max(1)).saturating_mul(width)
}
