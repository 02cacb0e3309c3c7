//! `LayoutRows`: pg -> the placement group's row as the group was told it, and when.

use marram_placement::PgRow;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{PgId, PoolId};

use crate::stored::{Stored, only_version};

const VERSION: u8 = 1;

/// A placement group's row as an object group knows it: commits are judged by it alone
/// (placement-protocol.md, "who knows what").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayoutRow {
    /// The index of the fence that brought it. What was found out about shards before it may not
    /// hold any more (rules.md 24).
    pub(crate) fenced_at: u64,
    /// The row.
    pub(crate) row: PgRow,
}

pub(crate) fn ser_key(pg: PgId) -> [u8; 4] {
    let mut key = [0; 4];
    key[..2].copy_from_slice(&pg.pool.0.to_be_bytes());
    key[2..].copy_from_slice(&pg.index.to_be_bytes());
    key
}

/// Reads what [`ser_key`] wrote.
pub(crate) fn deser_key(key: &[u8]) -> Result<PgId, DecodeError> {
    let mut from = Reader::new(key);
    let pg = PgId {
        pool: PoolId(from.u16_be()?),
        index: from.u16_be()?,
    };
    from.finish()?;
    Ok(pg)
}

/// The row's encoding is its own crate's, version byte included.
impl Stored for PgRow {
    fn encode(&self, out: &mut Writer) {
        Self::encode(self, out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(from)
    }
}

impl Stored for LayoutRow {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION).varint(self.fenced_at);
        self.row.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "layout row version", VERSION)?;
        Ok(Self {
            fenced_at: from.varint()?,
            row: PgRow::decode(from)?,
        })
    }
}
