//! `Pools` (root): pool -> table; `PoolFences` (object groups): pool -> epoch.

use marram_placement::PoolTable;
use marram_types::PoolId;
use marram_types::codec::{DecodeError, Reader, Writer};

use crate::stored::{Stored, deser_u16_key};

const FENCE_VERSION: u8 = 1;

pub(crate) fn ser_key(pool: PoolId) -> [u8; 2] {
    pool.0.to_be_bytes()
}

pub(crate) fn deser_key(key: &[u8]) -> Result<PoolId, DecodeError> {
    deser_u16_key(key).map(PoolId)
}

/// The table's encoding is its own crate's, version byte included.
impl Stored for PoolTable {
    fn encode(&self, out: &mut Writer) {
        Self::encode(self, out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(from)
    }
}

/// The newest epoch of a pool that an object group was told (placement-protocol.md, "who knows
/// what").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolFence {
    pub(crate) epoch: u64,
}

impl Stored for PoolFence {
    fn encode(&self, out: &mut Writer) {
        out.u8(FENCE_VERSION).varint(self.epoch);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("pool fence version", FENCE_VERSION)?;
        Ok(Self {
            epoch: from.varint()?,
        })
    }
}
