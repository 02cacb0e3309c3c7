//! What of a group names drives, as the proof before a removal asks it (rules.md 25).

use std::ops::{Bound, ControlFlow};

use marram_types::DriveId;
use marram_types::caps::LIST_PAGE_MAX;
use marram_types::codec::{DecodeError, Reader, Writer};

use crate::kinds::garbage;
use crate::kinds::layout_row::LayoutRow;
use crate::kinds::ticket::RepairTicket;
use crate::kinds::tombstone::{GoneDrive, ser_drive_key};
use crate::kv::{KvRead, Table};
use crate::live;
use crate::stored::{StateError, Stored, load};

/// The tables that name drives, in the order in which they are gone through. Overrides stand in
/// rows, and every row with one has a ticket.
const TABLES: [Table; 3] = [Table::LayoutRows, Table::Tickets, Table::Garbage];

/// Where a walk goes on: a table, and the last key that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCursor {
    /// An index into the tables of the walk.
    pub table: u8,
    /// The key; nothing was looked at when it is empty.
    pub key: Vec<u8>,
}

/// What names drives, of the part of the group that one question went through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedAnswer {
    /// The lowest epoch of the tombstones that stand on the drives; 0 when one has none, as the
    /// group knows.
    pub tombstone: u64,
    /// Placement groups that a drive is in, or moves into or out of.
    pub rows: u64,
    /// Shards that lie there against the layout.
    pub overrides: u64,
    /// Entries of the garbage queue with a shard there.
    pub queued: u64,
    /// Where to go on; none when all was gone through.
    pub next: Option<NamedCursor>,
}

/// Goes through at most `limit` rows from `after` on.
pub(super) fn named(
    kv: &dyn KvRead,
    drives: &[DriveId],
    after: Option<&NamedCursor>,
    limit: u32,
) -> Result<NamedAnswer, StateError> {
    let mut answer = NamedAnswer {
        tombstone: tombstone(kv, drives)?,
        ..NamedAnswer::default()
    };
    let mut left = usize::try_from(limit.clamp(1, LIST_PAGE_MAX)).expect("small");
    let first = after.map_or(0, |cursor| usize::from(cursor.table));
    for (at, table) in (0_u8..).zip(TABLES).skip(first) {
        let after = after.filter(|cursor| cursor.table == at && !cursor.key.is_empty());
        let keys = after.map(|cursor| &cursor.key[..]);
        let rows = walk(kv, table, keys, &mut left)?;
        for (_, value) in &rows {
            count(kv, table, value, drives, &mut answer)?;
        }
        if let Some((key, _)) = rows.into_iter().next_back().filter(|_| left == 0) {
            answer.next = Some(NamedCursor { table: at, key });
            return Ok(answer);
        }
    }
    Ok(answer)
}

fn tombstone(kv: &dyn KvRead, drives: &[DriveId]) -> Result<u64, StateError> {
    let mut lowest = u64::MAX;
    for drive in drives {
        let held: Option<GoneDrive> = load(kv, Table::GoneDrives, &ser_drive_key(*drive))?;
        let stands = held.filter(|held| held.stands);
        lowest = lowest.min(stands.map_or(0, |held| held.epoch));
    }
    Ok(lowest)
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn walk(
    kv: &dyn KvRead,
    table: Table,
    after: Option<&[u8]>,
    left: &mut usize,
) -> Result<Pairs, StateError> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rows = Vec::new();
    kv.scan(table, from, Bound::Unbounded, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        *left -= 1;
        if *left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(rows)
}

fn count(
    kv: &dyn KvRead,
    table: Table,
    value: &[u8],
    drives: &[DriveId],
    answer: &mut NamedAnswer,
) -> Result<(), StateError> {
    match table {
        Table::LayoutRows => {
            let row = LayoutRow::deser_value(value)
                .map_err(StateError::corrupt(table))?
                .row;
            answer.rows += u64::from(drives.iter().any(|drive| row.names(*drive)));
        }
        Table::Tickets => {
            let ticket = RepairTicket::deser_value(value).map_err(StateError::corrupt(table))?;
            // Tickets go with their extents.
            let held = live::find(kv, ticket.pg, ticket.data)?.ok_or_else(live::dangling)?;
            let there = |(_, drive): &&(u8, DriveId)| drives.contains(drive);
            answer.overrides += held.extent().overrides.iter().filter(there).count() as u64;
        }
        _ => {
            // Where the entry stands in the queue does not matter here.
            let entry = garbage::deser_value(0, value).map_err(StateError::corrupt(table))?;
            let named = entry
                .places
                .iter()
                .flatten()
                .any(|drive| drives.contains(drive));
            answer.queued += u64::from(named);
        }
    }
    Ok(())
}

impl Stored for NamedCursor {
    fn encode(&self, out: &mut Writer) {
        out.u8(self.table).bytes(&self.key);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            table: from.u8()?,
            key: from.bytes()?.to_vec(),
        })
    }
}

impl Stored for NamedAnswer {
    fn encode(&self, out: &mut Writer) {
        out.varint(self.tombstone)
            .varint(self.rows)
            .varint(self.overrides)
            .varint(self.queued)
            .option(self.next.as_ref(), |out, next| next.encode(out));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            tombstone: from.varint()?,
            rows: from.varint()?,
            overrides: from.varint()?,
            queued: from.varint()?,
            next: from.option(NamedCursor::decode)?,
        })
    }
}
