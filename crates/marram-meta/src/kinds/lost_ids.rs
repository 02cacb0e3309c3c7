//! `Meta`/`lost_ids`: which indexes of the root group a new beginning jumped over (decision 0078).
//!
//! A cluster that began anew from an old state never had these entries, and gives none of their ids out.
//! What bears such an id was admitted after the state was taken, by entries that are lost.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, NodeId};

use crate::kv::{KvRead, KvWrite, Table};
use crate::stored::{StateError, Stored, load, store};

const VERSION: u8 = 1;
const KEY: &[u8] = b"lost_ids";
/// Beginnings that are remembered: one more forgets the oldest, whose nodes had their time to return.
const BEGINNINGS_MAX: usize = 64;

/// The indexes that were jumped over, the oldest beginning first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LostIds {
    /// Each behind the last index of the old state and before the first of the new log.
    between: Vec<(u64, u64)>,
}

impl LostIds {
    pub(crate) fn load(kv: &dyn KvRead) -> Result<Self, StateError> {
        Ok(load(kv, Table::Meta, KEY)?.unwrap_or_default())
    }

    /// Notes a beginning whose state ends at `last` and whose log begins at `first`.
    pub(crate) fn note(kv: &mut dyn KvWrite, last: u64, first: u64) -> Result<(), StateError> {
        let mut lost = Self::load(kv)?;
        if lost.between.len() >= BEGINNINGS_MAX {
            lost.between.remove(0);
        }
        lost.between.push((last, first));
        store(kv, Table::Meta, KEY, &lost)?;
        Ok(())
    }

    fn has(&self, index: u64) -> bool {
        let mut between = self.between.iter();
        between.any(|(last, first)| *last < index && index < *first)
    }

    /// Whether this cluster cannot have given the node's id out.
    pub(crate) fn has_node(&self, node: NodeId) -> bool {
        self.has(node.0)
    }

    /// The same of a drive, whose id is an index with a number in the low byte.
    pub(crate) fn has_drive(&self, drive: DriveId) -> bool {
        self.has(drive.0 >> 8)
    }
}

impl Stored for LostIds {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION).list(&self.between, |out, (last, first)| {
            out.varint(*last).varint(*first);
        });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("lost ids version", VERSION)?;
        Ok(Self {
            between: from.list(|from| Ok((from.varint()?, from.varint()?)))?,
        })
    }
}
