//! The next bytes of a stream, to be recorded (rules.md 33).

use marram_types::codec::{DecodeError, Reader, Writer};

use super::new_extent::{NewExtent, get_new_extents, put_new_extents};
use crate::stored::Stored;

/// The next bytes of a stream, every shard of them durable (rules.md 18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// The writer's epoch: another one that began later is the one that is heard.
    pub epoch: u64,
    /// What is recorded must end here.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// CRC64/NVME of them.
    pub crc64: u64,
    /// CRC32C of them.
    pub crc32c: u32,
    /// Where they are. None only where a stream of no bytes gets its one empty part.
    pub extents: Vec<NewExtent>,
}

impl NewRun {
    /// What its sender was given, the same on all attempts (rules.md 14).
    pub(super) fn put_asked(&self, out: &mut Writer) {
        out.varint(self.epoch)
            .varint(self.offset)
            .varint(self.size)
            .u64_be(self.crc64)
            .u32_be(self.crc32c);
    }
}

impl Stored for NewRun {
    fn encode(&self, out: &mut Writer) {
        self.put_asked(out);
        put_new_extents(out, &self.extents);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: from.varint()?,
            offset: from.varint()?,
            size: from.varint()?,
            crc64: from.u64_be()?,
            crc32c: from.u32_be()?,
            extents: get_new_extents(from)?,
        })
    }
}
