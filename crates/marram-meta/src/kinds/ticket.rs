//! `Tickets`: data id -> what is to be done for it.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DataId, PgId, Profile};

use crate::stored::{Stored, get_pg, get_profile, put_pg, put_profile};

const VERSION: u8 = 1;

/// Why an extent needs work, the most urgent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TicketReason {
    /// Fewer data shards than the bucket asks for: as safe, but larger (rules.md 18).
    Narrowed = 1,
    /// Fewer parity shards than the bucket asks for: repaired first (rules.md 18).
    UnderProtected = 2,
}

/// Work that an extent waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairTicket {
    /// The extent's data.
    pub data: DataId,
    /// Its placement group: with the data id the key of its back reference.
    pub pg: PgId,
    /// Why.
    pub reason: TicketReason,
    /// The profile to bring it to.
    pub nominal: Profile,
    /// The index that filed the ticket.
    pub since: u64,
}

pub(crate) fn ser_key(data: DataId) -> [u8; DataId::BYTES] {
    data.to_bytes()
}

impl Stored for RepairTicket {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION);
        self.data.encode(out);
        put_pg(out, self.pg);
        out.u8(self.reason as u8);
        put_profile(out, self.nominal);
        out.varint(self.since);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("repair ticket version", VERSION)?;
        Ok(Self {
            data: DataId::decode(from)?,
            pg: get_pg(from)?,
            reason: match from.u8()? {
                1 => TicketReason::Narrowed,
                2 => TicketReason::UnderProtected,
                _ => return Err(DecodeError::Invalid("ticket reason")),
            },
            nominal: get_profile(from)?,
            since: from.varint()?,
        })
    }
}
