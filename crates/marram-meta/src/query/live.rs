//! Live extents with their places, as workers and scrubbing nodes ask for them.

use std::ops::Bound;

use marram_types::caps::LIST_PAGE_MAX;
use marram_types::{DataId, PgId};

use super::answer::{LiveExtent, Reference, RowsAnswer, TicketItem, TicketsAnswer};
use super::run::{Page, page};
use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::ticket::{self, RepairTicket, TicketWork};
use crate::kv::{KvRead, Table};
use crate::layout::Layout;
use crate::live::{self, Held};
use crate::stored::{StateError, Stored, load};

/// The live extents of one placement group, in the order of data ids. References to garbage are
/// passed over: it does not move.
pub(super) fn rows(
    kv: &dyn KvRead,
    applied: u64,
    (pg, after): (PgId, Option<DataId>),
    limit: u32,
) -> Result<RowsAnswer, StateError> {
    let mut layout = Layout::default();
    let row = layout.row(kv, pg)?.map(|known| known.row.clone());
    let from = data_ref::ser_key(pg, after.unwrap_or(data_ref::FIRST));
    let to = data_ref::ser_key(pg, data_ref::LAST);
    let from = match after {
        None => Bound::Included(&from[..]),
        Some(_) => Bound::Excluded(&from[..]),
    };
    let each = |key: &[u8], value: &[u8]| {
        let data = data_ref::deser_key(key)?.1;
        let reference = DataRef::deser_value(value)?;
        Ok(reference.is_held().then_some((data, reference)))
    };
    let range = (from, Bound::Included(&to[..]));
    let limit = limit.min(LIST_PAGE_MAX);
    let Page { items, more } = page(kv, Table::DataRefs, range, limit, each)?;
    let extents = items.into_iter().map(|(data, reference)| {
        let held = live::held_by(kv, reference, (pg, data))?;
        live_extent(kv, &mut layout, held.ok_or_else(live::dangling)?)
    });
    Ok(RowsAnswer {
        index: applied,
        row,
        extents: extents.collect::<Result<_, _>>()?,
        more,
    })
}

fn live_extent(kv: &dyn KvRead, layout: &mut Layout, held: Held) -> Result<LiveExtent, StateError> {
    let extent = held.extent().clone();
    Ok(LiveExtent {
        places: layout.read_places(kv, &extent)?,
        nominal: held.nominal(),
        version: held.version(),
        crc64: held.crc64(),
        bucket: held.bucket,
        key: held.key,
        extent,
    })
}

/// Repair tickets with the extents that they are about.
pub(super) fn tickets(
    kv: &dyn KvRead,
    applied: u64,
    after: Option<DataId>,
    limit: u32,
) -> Result<TicketsAnswer, StateError> {
    let key = after.map(ticket::ser_key);
    let from = match &key {
        None => Bound::Unbounded,
        Some(key) => Bound::Excluded(&key[..]),
    };
    let each = |_: &[u8], value: &[u8]| RepairTicket::deser_value(value).map(Some);
    let range = (from, Bound::Unbounded);
    let limit = limit.min(LIST_PAGE_MAX);
    let page = page(kv, Table::Tickets, range, limit, each)?;
    with_extents(kv, applied, page)
}

/// The same for those that wait for some kinds of work.
pub(super) fn queue(
    kv: &dyn KvRead,
    applied: u64,
    (first, last): (TicketWork, TicketWork),
    after: Option<(TicketWork, DataId)>,
    limit: u32,
) -> Result<TicketsAnswer, StateError> {
    let from = match after {
        None => ticket::ser_queue_key(first, data_ref::FIRST),
        Some((work, data)) => ticket::ser_queue_key(work.max(first), data),
    };
    let to = ticket::ser_queue_key(last, data_ref::LAST);
    let from = match after {
        Some((work, _)) if work >= first => Bound::Excluded(&from[..]),
        _ => Bound::Included(&from[..]),
    };
    let each = |key: &[u8], _: &[u8]| ticket::deser_queue_key(key).map(|pair| Some(pair.1));
    let range = (from, Bound::Included(&to[..]));
    let limit = limit.min(LIST_PAGE_MAX);
    let Page { items, more } = page(kv, Table::TicketQueue, range, limit, each)?;
    let tickets = items.into_iter().map(|data| {
        let held = load(kv, Table::Tickets, &ticket::ser_key(data))?;
        held.ok_or_else(live::dangling)
    });
    let items = tickets.collect::<Result<_, _>>()?;
    with_extents(kv, applied, Page { items, more })
}

fn with_extents(
    kv: &dyn KvRead,
    applied: u64,
    Page { items, more }: Page<RepairTicket>,
) -> Result<TicketsAnswer, StateError> {
    let mut layout = Layout::default();
    let tickets = items.into_iter().map(|ticket| {
        // Tickets go with their extents.
        let held = live::find(kv, ticket.pg, ticket.data)?.ok_or_else(live::dangling)?;
        Ok(TicketItem {
            extent: live_extent(kv, &mut layout, held)?,
            row: layout.held(kv, ticket.pg)?.row.clone(),
            ticket,
        })
    });
    Ok(TicketsAnswer {
        index: applied,
        tickets: tickets.collect::<Result<_, StateError>>()?,
        more,
    })
}

/// What the group knows about the data of a shard that a node holds.
pub(super) fn reference(
    kv: &dyn KvRead,
    layout: &mut Layout,
    (pg, data): (PgId, DataId),
) -> Result<Reference, StateError> {
    let key = data_ref::ser_key(pg, data);
    let Some(reference) = load(kv, Table::DataRefs, &key)? else {
        return Ok(Reference::Unreferenced);
    };
    Ok(match live::held_by(kv, reference, (pg, data))? {
        Some(held) => Reference::Live {
            epoch: layout.held(kv, pg)?.row.epoch,
            missing: held.extent().missing,
            belongs: layout.wanted_places(kv, held.extent())?,
        },
        // In the garbage queue, which alone decides when it goes.
        None => Reference::Displaced,
    })
}

/// The extent of this data as something holds it now.
pub(super) fn live(
    kv: &dyn KvRead,
    (pg, data): (PgId, DataId),
) -> Result<Option<LiveExtent>, StateError> {
    let held = live::find(kv, pg, data)?;
    held.map(|held| live_extent(kv, &mut Layout::default(), held))
        .transpose()
}
