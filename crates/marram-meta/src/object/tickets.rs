//! Repair tickets: filed and taken back in the same apply as their reasons, so that none is
//! forgotten and none stays.

use marram_types::Profile;

use crate::kinds::extent::Extent;
use crate::kinds::ticket::{self, RepairTicket, TicketReasons};
use crate::kv::Table;
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

/// Files the ticket of a new extent, if it needs one.
pub(super) fn file(
    apply: &mut Apply<'_>,
    extent: &Extent,
    nominal: Profile,
) -> Result<(), StateError> {
    if TicketReasons::of(extent, nominal).is_empty() {
        return Ok(());
    }
    refresh(apply, extent, nominal, None)
}

/// Brings the ticket of an extent in line with it. `missing_at` is the index of a new report of a
/// lost shard.
pub(super) fn refresh(
    apply: &mut Apply<'_>,
    extent: &Extent,
    nominal: Profile,
    missing_at: Option<u64>,
) -> Result<(), StateError> {
    let key = ticket::ser_key(extent.data);
    let reasons = TicketReasons::of(extent, nominal);
    if reasons.is_empty() {
        return Ok(apply.kv.delete(Table::Tickets, &key)?);
    }
    let held: Option<RepairTicket> = load(apply.kv, Table::Tickets, &key)?;
    let (since, reported) = held.map_or((apply.index, 0), |held| (held.since, held.missing_at));
    let ticket = RepairTicket {
        data: extent.data,
        pg: extent.pg,
        reasons,
        nominal,
        since,
        missing_at: missing_at.unwrap_or(reported),
    };
    Ok(store(apply.kv, Table::Tickets, &key, &ticket)?)
}

/// The index of the last report that a shard of this extent is lost; 0 without one.
pub(super) fn missing_at(apply: &Apply<'_>, extent: &Extent) -> Result<u64, StateError> {
    let key = ticket::ser_key(extent.data);
    let held: Option<RepairTicket> = load(apply.kv, Table::Tickets, &key)?;
    Ok(held.map_or(0, |held| held.missing_at))
}
