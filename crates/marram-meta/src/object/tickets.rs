//! Repair tickets: filed and taken back in the same apply as their reasons, so that none is
//! forgotten and none stays.

use marram_types::{DataId, Profile};

use crate::kinds::extent::Extent;
use crate::kinds::ticket::{self, RepairTicket, TicketReasons};
use crate::kv::{KvError, Table};
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
    let reasons = TicketReasons::of(extent, nominal);
    if reasons.is_empty() {
        return take_back(apply, extent.data);
    }
    let key = ticket::ser_key(extent.data);
    let held: Option<RepairTicket> = load(apply.kv, Table::Tickets, &key)?;
    let before = held.as_ref().map(|held| held.reasons).unwrap_or_default();
    enqueue(apply, extent.data, before, reasons)?;
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

/// Takes the ticket of an extent back, if there is one.
pub(super) fn take_back(apply: &mut Apply<'_>, data: DataId) -> Result<(), StateError> {
    let key = ticket::ser_key(data);
    let Some(held) = load::<RepairTicket>(apply.kv, Table::Tickets, &key)? else {
        return Ok(());
    };
    enqueue(apply, data, held.reasons, TicketReasons::default())?;
    Ok(apply.kv.delete(Table::Tickets, &key)?)
}

/// Brings the queue from one set of reasons to another.
fn enqueue(
    apply: &mut Apply<'_>,
    data: DataId,
    before: TicketReasons,
    after: TicketReasons,
) -> Result<(), KvError> {
    for work in before
        .works()
        .filter(|old| after.works().all(|w| w != *old))
    {
        let key = ticket::ser_queue_key(work, data);
        apply.kv.delete(Table::TicketQueue, &key)?;
    }
    for work in after
        .works()
        .filter(|new| before.works().all(|w| w != *new))
    {
        let key = ticket::ser_queue_key(work, data);
        apply.kv.put(Table::TicketQueue, &key, &[])?;
    }
    Ok(())
}

/// The index of the last report that a shard of this extent is lost; 0 without one.
pub(super) fn missing_at(apply: &Apply<'_>, extent: &Extent) -> Result<u64, StateError> {
    let key = ticket::ser_key(extent.data);
    let held: Option<RepairTicket> = load(apply.kv, Table::Tickets, &key)?;
    Ok(held.map_or(0, |held| held.missing_at))
}
