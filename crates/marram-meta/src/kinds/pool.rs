//! `Pools`: pool -> table.

use marram_placement::PoolTable;
use marram_types::PoolId;
use marram_types::codec::{DecodeError, Reader, Writer};

use crate::stored::Stored;

pub(crate) fn ser_key(pool: PoolId) -> [u8; 2] {
    pool.0.to_be_bytes()
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
