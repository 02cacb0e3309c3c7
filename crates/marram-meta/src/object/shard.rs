//! What workers found out about one shard of a live extent (placement-protocol.md 5, 14).
//!
//! A finding may be applied long after it was made, and more than once. What it claims must hold by
//! then, so a claim that a shard *is* somewhere carries the group's applied index from before the
//! shard was looked at, and is void once the placement group's row has changed, or a shard of the
//! extent was reported lost, after that index: the drive may have been told to clean up what it
//! held (rules.md 24), or have lost it again.

use marram_placement::Places;
use marram_types::{DataId, DriveId, PgId};

use super::gone::is_gone;
use super::outcome::ObjectOutcome;
use super::tickets;
use crate::kinds::extent::Extent;
use crate::layout::{Layout, read_place};
use crate::live::{self, Held};
use crate::refusal::{Malformed, Refusal};
use crate::requests::Apply;
use crate::stored::StateError;

/// Which shard a finding is about.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) pg: PgId,
    pub(super) data: DataId,
    pub(super) shard: u8,
}

/// What the group holds of a shard.
struct Now {
    held: Held,
    /// Where the layout wants it.
    wanted: Places,
    /// Where a reader looks.
    place: DriveId,
    /// Index of the fence that brought the placement group's row.
    fenced_at: u64,
}

/// What to answer when there is nothing to change.
type Found = Result<Now, ObjectOutcome>;

fn look(apply: &Apply<'_>, named: Named) -> Result<Found, StateError> {
    let Some(held) = live::find(apply.kv, named.pg, named.data)? else {
        return Ok(Err(ObjectOutcome::NotLive));
    };
    let mut layout = Layout::default();
    let known = layout.held(apply.kv, named.pg)?;
    let extent = held.extent();
    let slot = extent.slots.get(usize::from(named.shard));
    let wanted = slot.and_then(|slot| known.row.must_hold(*slot));
    let place = read_place(extent, &known.row, named.shard);
    let (Some(wanted), Some(place)) = (wanted, place) else {
        return Ok(Err(ObjectOutcome::Refused(Malformed::Shard.into())));
    };
    Ok(Ok(Now {
        held,
        wanted,
        place,
        fenced_at: known.fenced_at,
    }))
}

/// A shard is durable and verified at these places. One that is about to go does not count.
pub(super) fn placed(
    apply: &mut Apply<'_>,
    named: Named,
    at: &[DriveId],
    seen: u64,
) -> Result<ObjectOutcome, StateError> {
    if seen >= apply.index {
        return Ok(ObjectOutcome::Refused(Malformed::Index.into()));
    }
    let mut here = Vec::with_capacity(at.len());
    for drive in at {
        if !is_gone(apply.kv, *drive)? {
            here.push(*drive);
        }
    }
    let at = &here[..];
    let now = match look(apply, named)? {
        Ok(now) => now,
        Err(answer) => return Ok(answer),
    };
    let since = now
        .fenced_at
        .max(tickets::missing_at(apply, now.held.extent())?);
    if since > seen {
        return Ok(ObjectOutcome::Refused(Refusal::Stale { since }));
    }
    let Some(place) = place_after(&now, named.shard, at) else {
        return answer(named.shard, now.held.extent(), now.place);
    };
    let mut changed = now.held.extent().clone();
    changed.missing &= !(1 << named.shard);
    changed.set_override(named.shard, place);
    write(apply, now, changed, named.shard, None)
}

/// The override that a shard verified at `at` shall have, `Some(None)` for none; `None` when the
/// finding tells nothing that the row could use.
fn place_after(now: &Now, shard: u8, at: &[DriveId]) -> Option<Option<DriveId>> {
    if now.wanted.covered_by(at) {
        return Some(None);
    }
    let extent = now.held.extent();
    let held = extent.override_of(shard);
    if at.contains(&now.place) && (extent.is_missing(shard) || held.is_some()) {
        // Where readers look already. In a Dual phase only one end was seen: the other end counts
        // as not written, so the row keeps naming this one.
        return Some(Some(now.place));
    }
    let is_there = !extent.is_missing(shard);
    if is_there && held.is_none_or(|place| now.wanted.contains(place)) {
        // A shard that nothing is wrong with: its slot's move goes on by the layout.
        return None;
    }
    // One end of a move is better than a place that the layout does not name at all. Other drives
    // of `at` do not count: they may have been told that nobody wants the shard there.
    let found = at.iter().find(|drive| now.wanted.contains(**drive));
    found.map(|drive| Some(*drive))
}

/// A shard was looked for at a drive that answers, and is not there.
pub(super) fn missing(
    apply: &mut Apply<'_>,
    named: Named,
    at: DriveId,
) -> Result<ObjectOutcome, StateError> {
    let now = match look(apply, named)? {
        Ok(now) => now,
        Err(answer) => return Ok(answer),
    };
    if now.place != at {
        return answer(named.shard, now.held.extent(), now.place);
    }
    let mut changed = now.held.extent().clone();
    changed.missing |= 1 << named.shard;
    let reported = Some(apply.index);
    write(apply, now, changed, named.shard, reported)
}

fn write(
    apply: &mut Apply<'_>,
    now: Now,
    changed: Extent,
    shard: u8,
    missing_at: Option<u64>,
) -> Result<ObjectOutcome, StateError> {
    tickets::refresh(apply, &changed, now.held.nominal(), missing_at)?;
    let mut layout = Layout::default();
    let row = &layout.held(apply.kv, changed.pg)?.row;
    let place = read_place(&changed, row, shard).unwrap_or(now.place);
    let outcome = answer(shard, &changed, place);
    if *now.held.extent() != changed {
        now.held.update(apply.kv, |extent| *extent = changed)?;
    }
    outcome
}

#[expect(clippy::unnecessary_wraps, reason = "what apply functions return")]
fn answer(shard: u8, extent: &Extent, place: DriveId) -> Result<ObjectOutcome, StateError> {
    Ok(ObjectOutcome::Shard {
        place,
        missing: extent.is_missing(shard),
        overridden: extent.override_of(shard).is_some(),
    })
}
