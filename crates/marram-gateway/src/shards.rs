//! Parts of shards of this node, for clients that read an object from its nodes themselves: a ticket
//! of a read plan is redeemed here (rules.md 31).

use std::sync::Arc;

use bytes::Bytes;
use marram_proto::v1;
use marram_types::caps::API_DATA_BYTES_MAX;
use marram_types::crc32c;

use crate::auth::Caller;
use crate::core::Core;
use crate::drives::{DriveError, Part};
use crate::status::{Fault, Reason};
use crate::ticket::{self, TicketError};

/// Why a part of a shard was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShardError {
    #[error(transparent)]
    Ticket(#[from] TicketError),
    #[error("the ticket allows bytes {start} to {end} of the shard, 1 to 1 MiB of them at a time")]
    Range { start: u64, end: u64 },
    #[error("the shard is not on a drive of this node: ask for a new read plan")]
    Elsewhere,
    #[error("the part cannot be read here: {0}")]
    Drive(DriveError),
}

impl Fault for ShardError {
    fn reason(&self) -> Reason {
        match self {
            Self::Ticket(_) => Reason::TicketInvalid,
            Self::Range { .. } => Reason::InvalidArgument,
            Self::Elsewhere | Self::Drive(DriveError::NotFound) => Reason::ShardNotFound,
            Self::Drive(DriveError::Corrupt) => Reason::ShardCorrupt,
            Self::Drive(DriveError::Overloaded) => Reason::Overloaded,
            Self::Drive(_) => Reason::DataUnavailable,
        }
    }
}

/// Reads what a ticket allows.
pub(crate) async fn read(
    core: Arc<Core>,
    caller: &Caller,
    request: v1::ReadShardRequest,
) -> Result<v1::Chunk, ShardError> {
    let now_ms = (core.now_ms)();
    let ticket = ticket::redeem(&core.kek, caller, &request.ticket, now_ms)?;
    let end = request.offset.saturating_add(u64::from(request.length));
    let most = u32::try_from(API_DATA_BYTES_MAX).expect("1 MiB");
    let allowed = ticket.bytes.start <= request.offset && end <= ticket.bytes.end;
    if !allowed || !(1..=most).contains(&request.length) {
        let (start, end) = (ticket.bytes.start, ticket.bytes.end);
        return Err(ShardError::Range { start, end });
    }
    let place = core.places().place(ticket.drive);
    let place = place.filter(|place| core.drives.is_near(place.node));
    let part = Part {
        in_background: false,
        place: place.ok_or(ShardError::Elsewhere)?,
        shard: ticket.shard,
        offset: request.offset,
        len: request.length,
    };
    let within = core.conditions.fetch_deadline();
    let data: Bytes = core
        .drives
        .read(part, within)
        .await
        .map_err(ShardError::Drive)?;
    let crc32c = crc32c(&data);
    Ok(v1::Chunk { data, crc32c })
}
