//! The placement-group table of one pool. Its stored form:
//!
//! ```text
//! version u8 | width u8 | epoch u64 | spread: zones, nodes, most in zone, most in node, u8 each
//!         | count varint, that many rows in their own stored form
//! ```

use marram_types::caps::{POOL_PGS, PROFILE_K_MAX, PROFILE_M_MAX};
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, PgId, PoolId};

use crate::row::PgRow;

/// The stored form of a table. Version 1, without moves, was never released and is not read.
const TABLE_VERSION: u8 = 2;

/// The pool of a width: there is one pool per `k+m` (rules.md 22), so the width is its number.
#[must_use]
pub fn pool_of(width: usize) -> PoolId {
    PoolId(u16::try_from(width).expect("a profile has at most 40 shards"))
}

/// How many shards of one placement group share a failure domain, at worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// Distinct zones a row reaches, at worst.
    pub zones: u8,
    /// Distinct nodes a row reaches, at worst. Below the table's width, two shards of a placement
    /// group share a node, and losing that node loses both.
    pub nodes: u8,
    /// Most shards of one row in one zone.
    pub most_in_zone: u8,
    /// Most shards of one row in one node: with `m` parity shards, `m / most_in_node` nodes may be
    /// lost at least.
    pub most_in_node: u8,
}

/// A move to be begun: an element of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotMove {
    /// The placement group, an index into the table's rows.
    pub pg: u16,
    /// The slot, an index into the row's drives.
    pub slot: u8,
    /// The drive that holds it.
    pub from: DriveId,
    /// The drive that shall hold it.
    pub to: DriveId,
}

/// A pool: rows of drives, one row per placement group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolTable {
    /// Drives in each row: `k + m` of the profiles the pool serves.
    pub width: u8,
    /// Counts the changes of this table; a higher one replaces a lower one.
    pub epoch: u64,
    /// The rows, each with `width` drives.
    pub rows: Vec<PgRow>,
    /// The spread when the table was planned.
    pub domains: Spread,
}

impl PoolTable {
    /// The pool's id.
    #[must_use]
    pub fn pool(&self) -> PoolId {
        pool_of(usize::from(self.width))
    }

    /// The row of a placement group; `None` when it is not of this table.
    #[must_use]
    pub fn row(&self, pg: PgId) -> Option<&PgRow> {
        if pg.pool != self.pool() {
            return None;
        }
        self.rows.get(usize::from(pg.index))
    }

    /// The id of row `index`.
    #[must_use]
    pub fn pg(&self, index: u16) -> PgId {
        PgId {
            pool: self.pool(),
            index,
        }
    }

    /// Appends the stored form.
    pub fn encode(&self, out: &mut Writer) {
        out.u8(TABLE_VERSION).u8(self.width).u64_be(self.epoch);
        out.u8(self.domains.zones)
            .u8(self.domains.nodes)
            .u8(self.domains.most_in_zone)
            .u8(self.domains.most_in_node);
        out.list(&self.rows, |out, row| row.encode(out));
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When the bytes end early, a version is unknown, or a value is out of bounds.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let found = from.version("pool table", TABLE_VERSION)?;
        if found != TABLE_VERSION {
            return Err(DecodeError::Unknown {
                what: "pool table",
                found: u64::from(found),
            });
        }
        let width = from.u8()?;
        if width == 0 || width > PROFILE_K_MAX + PROFILE_M_MAX {
            return Err(DecodeError::Invalid("pool width"));
        }
        let epoch = from.u64_be()?;
        let domains = Spread {
            zones: from.u8()?,
            nodes: from.u8()?,
            most_in_zone: from.u8()?,
            most_in_node: from.u8()?,
        };
        let rows = from.list(PgRow::decode)?;
        let narrow = |row: &PgRow| row.drives.len() != usize::from(width);
        if rows.len() > usize::from(POOL_PGS) || rows.iter().any(narrow) {
            return Err(DecodeError::Invalid("pool rows"));
        }
        Ok(Self {
            width,
            epoch,
            rows,
            domains,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> PoolTable {
        PoolTable {
            width: 3,
            epoch: 9,
            rows: vec![
                PgRow::stable(1, [1, 300, u64::MAX].map(DriveId).into()),
                PgRow::stable(1, [7, 8, 9].map(DriveId).into())
                    .begin(1, DriveId(2), 9)
                    .expect("stable"),
            ],
            domains: Spread {
                zones: 1,
                nodes: 3,
                most_in_zone: 3,
                most_in_node: 1,
            },
        }
    }

    #[test]
    fn stored_form_round_trips_and_damage_is_an_error() {
        let mut out = Writer::new();
        table().encode(&mut out);
        let bytes = out.finish();
        let mut from = Reader::new(&bytes);
        assert_eq!(PoolTable::decode(&mut from), Ok(table()));
        assert_eq!(from.finish(), Ok(()));
        for cut in 0..bytes.len() {
            assert!(PoolTable::decode(&mut Reader::new(&bytes[..cut])).is_err());
        }
        for version in [TABLE_VERSION - 1, TABLE_VERSION + 1] {
            let mut other = bytes.clone();
            other[0] = version;
            let unknown = DecodeError::Unknown {
                what: "pool table",
                found: u64::from(version),
            };
            assert_eq!(PoolTable::decode(&mut Reader::new(&other)), Err(unknown));
        }
    }

    #[test]
    fn a_row_of_another_width_is_not_read() {
        let mut table = table();
        table.rows[1].drives.pop();
        let mut out = Writer::new();
        table.encode(&mut out);
        let read = PoolTable::decode(&mut Reader::new(out.as_slice()));
        assert_eq!(read, Err(DecodeError::Invalid("pool rows")));
    }

    #[test]
    fn rows_are_found_by_pg_of_this_pool_only() {
        let table = table();
        assert_eq!(table.row(table.pg(1)), Some(&table.rows[1]));
        assert_eq!(table.row(table.pg(2)), None);
        let other = PgId {
            pool: PoolId(6),
            index: 0,
        };
        assert_eq!(table.row(other), None);
    }
}
