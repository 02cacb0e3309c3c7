//! Where shards are while placement groups move, one test a rule.

use marram_placement::PgRow;
use marram_types::{DataId, DriveId};

use super::{ask, head, refused, striped};
use crate::kv::Table;
use crate::testing::{
    Group, data, delete, extent, fence, first_row, pg, profile, put, wrote, wrote_by,
};
use crate::{
    Body, Extent, GarbageEntry, Malformed, NewBody, NewExtent, ObjectAnswer, ObjectCommand,
    ObjectOutcome, ObjectQuery, Reference, Refusal, RowsAnswer, TicketReason,
};

mod lost;

/// The placement group of the tests; its drives are 4 to 9 at first, and slot 0 moves to drive 1.
const PG: u16 = 1;
const OLD: DriveId = DriveId(4);
const NEW: DriveId = DriveId(1);
const DATA: u64 = 1;

fn id() -> DataId {
    data(5, DATA)
}

fn stable() -> PgRow {
    first_row(PG)
}

fn dual() -> PgRow {
    stable().begin(0, NEW, 2).unwrap()
}

fn cut() -> PgRow {
    dual().cut(3).unwrap()
}

fn cancelled() -> PgRow {
    dual().cancel(3).unwrap()
}

/// A group in which the placement group went through these rows.
fn group(rows: &[PgRow]) -> Group {
    let mut group = Group::ready();
    for row in rows {
        group.run(&fence(PG, row.clone()));
    }
    group
}

fn one() -> Extent {
    extent(id(), profile("4+2"), 1 << 20)
}

fn commit(group: &mut Group, written: NewExtent) {
    let outcome = group.run(&put("a", 1, NewBody::Extents(vec![written])));
    assert!(
        matches!(outcome, ObjectOutcome::Committed { .. }),
        "{outcome:?}"
    );
}

/// Written where a row wants it, but slot 0 only at these drives.
fn wrote_at(drives: &[DriveId]) -> NewExtent {
    let mut new = wrote_by(&stable(), one());
    new.wrote.retain(|(shard, _)| *shard != 0);
    new.wrote.extend(drives.iter().map(|drive| (0, *drive)));
    new
}

fn held(group: &Group) -> (Extent, Vec<DriveId>) {
    let head = head(group, "a").unwrap();
    match head.row.body {
        Body::Extents(mut extents) => (extents.remove(0), head.places[0].clone()),
        other => panic!("{other:?}"),
    }
}

fn placed(shard: u8, at: &[DriveId], seen: u64) -> ObjectCommand {
    ObjectCommand::ShardPlaced {
        pg: pg(PG),
        data: id(),
        shard,
        at: at.to_vec(),
        seen,
    }
}

fn missing(shard: u8, at: DriveId) -> ObjectCommand {
    ObjectCommand::ShardMissing {
        pg: pg(PG),
        data: id(),
        shard,
        at,
    }
}

fn reasons(group: &Group) -> Vec<TicketReason> {
    let query = ObjectQuery::Tickets {
        after: None,
        limit: 10,
    };
    match ask(group, &query) {
        ObjectAnswer::Tickets(mut page) => match page.tickets.pop() {
            Some(item) => item.ticket.reasons.iter().collect(),
            None => Vec::new(),
        },
        other => panic!("{other:?}"),
    }
}

fn rows(group: &Group) -> RowsAnswer {
    let query = ObjectQuery::Rows {
        pg: pg(PG),
        after: None,
        limit: 10,
    };
    match ask(group, &query) {
        ObjectAnswer::Rows(rows) => rows,
        other => panic!("{other:?}"),
    }
}

fn garbage(group: &mut Group) -> Vec<GarbageEntry> {
    let index = group.index;
    group.run(&ObjectCommand::RaiseFloors {
        gc_floor: index + 1,
        read_floor: index + 1,
    });
    match ask(
        group,
        &ObjectQuery::Garbage {
            after: None,
            limit: 10,
        },
    ) {
        ObjectAnswer::Garbage(entries) => entries,
        other => panic!("{other:?}"),
    }
}

/// What the group knows, where the shard was written, the override and where readers look.
type Case<'a> = (&'a [PgRow], &'a [DriveId], Option<DriveId>, DriveId);

/// placement-protocol.md 5, every phase with every way to have written.
#[test]
fn a_row_names_the_places_that_the_layout_does_not_tell() {
    let elsewhere = DriveId(2);
    let stable_again = [dual(), cut(), cut().end(4).unwrap()];
    let cases: [Case<'_>; 13] = [
        (&[], &[OLD], None, OLD),
        (&[], &[OLD, NEW], None, OLD),
        (&[], &[NEW], Some(NEW), NEW),
        (&[dual()], &[OLD, NEW], None, OLD),
        (&[dual()], &[OLD], Some(OLD), OLD),
        (&[dual()], &[NEW], Some(NEW), NEW),
        (&[dual()], &[elsewhere, NEW], Some(NEW), NEW),
        (&[dual()], &[elsewhere], Some(elsewhere), elsewhere),
        (&[dual(), cut()], &[OLD], Some(OLD), OLD),
        (&[dual(), cut()], &[OLD, NEW], None, NEW),
        (&stable_again, &[OLD], Some(OLD), OLD),
        (&[dual(), cancelled()], &[OLD, NEW], None, OLD),
        (&[dual(), cancelled()], &[NEW], Some(NEW), NEW),
    ];
    for (fences, written, expected, place) in cases {
        let mut group = group(fences);
        commit(&mut group, wrote_at(written));
        let (extent, places) = held(&group);
        assert_eq!(extent.override_of(0), expected, "{fences:?} {written:?}");
        assert_eq!(places[0], place);
        assert_eq!(places[1..], stable().drives[1..]);
        let wanted: &[_] = match expected {
            Some(_) => &[TicketReason::Misplaced],
            None => &[],
        };
        assert_eq!(reasons(&group), wanted);
        let live = &rows(&group).extents[0];
        assert_eq!((&live.extent, &live.places), (&extent, &places));
    }
}

#[test]
fn an_override_stays_when_the_layout_goes_on_and_goes_when_all_is_in_place() {
    let mut group = group(&[]);
    commit(&mut group, wrote_at(&[OLD]));
    // Late: it wrote the old place only.
    let late = NewExtent {
        extent: Extent {
            data: data(5, DATA + 4),
            ..one()
        },
        wrote: wrote_at(&[OLD]).wrote,
    };
    group.run(&fence(PG, dual()));
    group.run(&put("b", 2, NewBody::Extents(vec![late])));
    group.run(&fence(PG, cut()));
    assert_eq!(held(&group).1[0], NEW, "it was copied");
    let of_b = head(&group, "b").unwrap();
    assert_eq!(of_b.places[0][0], OLD);
    let seen = group.index;
    let done = ObjectCommand::ShardPlaced {
        pg: pg(PG),
        data: data(5, DATA + 4),
        shard: 0,
        at: vec![NEW],
        seen,
    };
    let expected = ObjectOutcome::Shard {
        place: NEW,
        missing: false,
        overridden: false,
    };
    assert_eq!(group.run(&done), expected);
    assert_eq!(group.run(&done), expected, "again");
    assert_eq!(head(&group, "b").unwrap().places[0][0], NEW);
    assert!(group.kv.is_empty(Table::Tickets));
}

#[test]
fn a_lost_shard_is_reported_where_readers_look_and_found_again() {
    let mut group = group(&[]);
    commit(&mut group, wrote_at(&[OLD]));
    let now = |lost| ObjectOutcome::Shard {
        place: OLD,
        missing: lost,
        overridden: false,
    };
    assert_eq!(
        group.run(&missing(0, NEW)),
        now(false),
        "nobody looks there"
    );
    assert_eq!(group.run(&missing(0, OLD)), now(true));
    assert_eq!(group.run(&missing(0, OLD)), now(true), "again");
    assert_eq!(held(&group).0.missing, 1);
    assert_eq!(reasons(&group), [TicketReason::Missing]);
    let seen = group.index;
    assert_eq!(
        group.run(&placed(0, &[NEW], seen)),
        now(true),
        "not a place for it"
    );
    assert_eq!(group.run(&placed(0, &[OLD], seen)), now(false));
    assert!(group.kv.is_empty(Table::Tickets));
    // In the Dual phase it must be at both ends, or the row names the one.
    group.run(&fence(PG, dual()));
    group.run(&missing(0, OLD));
    let seen = group.index;
    let at_target = ObjectOutcome::Shard {
        place: NEW,
        missing: false,
        overridden: true,
    };
    assert_eq!(group.run(&placed(0, &[NEW], seen)), at_target);
    assert_eq!(reasons(&group), [TicketReason::Misplaced]);
    assert_eq!(group.run(&placed(0, &[OLD, NEW], seen)), now(false));
    assert!(group.kv.is_empty(Table::Tickets));
}

/// rules.md 17 and 24: what was seen before a change is not claimed after it.
#[test]
fn a_claim_from_before_a_fence_or_a_report_is_void() {
    let mut group = group(&[]);
    commit(&mut group, wrote_at(&[NEW]));
    let seen = group.index;
    group.run(&fence(PG, dual()));
    let since = group.index;
    let stale = Refusal::Stale { since };
    assert_eq!(refused(group.run(&placed(0, &[OLD], seen))), stale);
    assert_eq!(held(&group).1[0], NEW);
    group.run(&placed(0, &[OLD, NEW], since));
    assert_eq!(held(&group).0.overrides, []);
    // The same row again is no change.
    group.run(&fence(PG, dual()));
    group.run(&missing(1, stable().drives[1]));
    let seen = group.index;
    group.run(&missing(1, stable().drives[1]));
    let stale = Refusal::Stale { since: group.index };
    let back = placed(1, &[stable().drives[1]], seen);
    assert_eq!(refused(group.run(&back)), stale);
    assert_eq!(held(&group).0.missing, 2);
    let future = placed(1, &[stable().drives[1]], group.index + 1);
    let index = Refusal::Malformed(Malformed::Index);
    assert_eq!(refused(group.run(&future)), index);
    let no_shard = placed(6, &[OLD], group.index);
    let shard = Refusal::Malformed(Malformed::Shard);
    assert_eq!(refused(group.run(&no_shard)), shard);
    group.run(&delete("a"));
    let late = placed(1, &[stable().drives[1]], group.index);
    assert_eq!(group.run(&late), ObjectOutcome::NotLive);
    let late = missing(1, stable().drives[1]);
    assert_eq!(group.run(&late), ObjectOutcome::NotLive);
}

/// A place that the layout does not want may have been told to clean up: finding a copy there does
/// not make it one that counts.
#[test]
fn only_wanted_places_and_the_one_that_is_read_count() {
    let mut group = group(&[dual(), cut()]);
    commit(&mut group, wrote_at(&[OLD]));
    let third = DriveId(2);
    let seen = group.index;
    let unchanged = ObjectOutcome::Shard {
        place: OLD,
        missing: false,
        overridden: true,
    };
    assert_eq!(group.run(&placed(0, &[third], seen)), unchanged);
    assert_eq!(group.run(&placed(0, &[OLD], seen)), unchanged);
    group.run(&missing(0, OLD));
    let seen = group.index;
    let lost = ObjectOutcome::Shard {
        place: OLD,
        missing: true,
        overridden: true,
    };
    assert_eq!(group.run(&placed(0, &[third], seen)), lost);
    assert_eq!(
        reasons(&group),
        [TicketReason::Misplaced, TicketReason::Missing]
    );
    // Readers look there: it holds the shard again after all.
    assert_eq!(group.run(&placed(0, &[OLD], seen)), unchanged);
    let home = ObjectOutcome::Shard {
        place: NEW,
        missing: false,
        overridden: false,
    };
    assert_eq!(group.run(&placed(0, &[third, NEW], seen)), home);
}

#[test]
fn older_rows_change_nothing_and_gaps_are_refused() {
    let mut group = group(&[]);
    let outcome = |epoch| ObjectOutcome::LayoutFenced { epoch };
    assert_eq!(group.run(&fence(PG, dual())), outcome(2));
    assert_eq!(group.run(&fence(PG, stable())), outcome(2), "older");
    assert_eq!(rows(&group).row, Some(dual()));
    // The fences of a whole move and the Dual phase of the next were left out.
    let next = cut().end(4).unwrap().begin(1, DriveId(2), 5).unwrap();
    let gap = next.cut(6).unwrap();
    let refusal = refused(group.run(&fence(PG, gap)));
    let (pg, epoch) = (pg(PG), 2);
    assert_eq!(refusal, Refusal::LayoutGap { pg, epoch });
    assert_eq!(rows(&group).row, Some(dual()));
    // To stay at, or go to, a place that was written all the time is no gap.
    assert_eq!(group.run(&fence(PG, cancelled())), outcome(3));
    let none = ObjectCommand::LayoutFence {
        pool: crate::testing::POOL,
        rows: vec![],
    };
    assert_eq!(group.run(&none), outcome(0));
    let narrow = PgRow::stable(9, vec![OLD, NEW]);
    let refusal = refused(group.run(&fence(PG, narrow)));
    assert_eq!(refusal, Refusal::Malformed(Malformed::Pool));
    // One entry, all or nothing.
    let both = ObjectCommand::LayoutFence {
        pool: crate::testing::POOL,
        rows: vec![
            (0, first_row(0).begin(0, DriveId(9), 7).unwrap()),
            (PG, PgRow::stable(8, (11..17).map(DriveId).collect())),
        ],
    };
    assert!(matches!(
        refused(group.run(&both)),
        Refusal::LayoutGap { .. }
    ));
    assert_eq!(group.run(&fence(0, first_row(0))), outcome(1));
}

#[test]
fn garbage_is_where_its_shards_were_by_then() {
    let places = |rows: &[PgRow], written: &[DriveId]| {
        let mut group = group(rows);
        commit(&mut group, wrote_at(written));
        group.run(&delete("a"));
        // The layout goes on without it.
        let entries = garbage(&mut group);
        assert_eq!(entries.len(), 1);
        let mut places = entries[0].places.clone();
        places.iter_mut().for_each(|drives| drives.sort_unstable());
        assert_eq!(places[1], [stable().drives[1]]);
        places.remove(0)
    };
    let far = DriveId(2);
    assert_eq!(places(&[], &[OLD]), [OLD]);
    assert_eq!(places(&[dual()], &[OLD, NEW]), [NEW, OLD]);
    assert_eq!(places(&[dual(), cut()], &[NEW]), [NEW, OLD]);
    assert_eq!(places(&[dual(), cut()], &[far]), [NEW, far, OLD]);
    let end = cut().end(4).unwrap();
    assert_eq!(places(&[dual(), cut(), end], &[far]), [NEW, far]);
    // Discarded data is where it was written.
    let mut group = group(&[dual()]);
    let command = put("a", 1, NewBody::Extents(vec![wrote_at(&[far, OLD])]));
    let entry = group.seal(Some(crate::testing::request(1)), &command);
    group.time_ms += crate::testing::DEADLINE_AHEAD_MS + 1;
    group.run(&fence(PG, dual()));
    assert_eq!(refused(group.apply(&entry)), Refusal::DeadlinePassed);
    let entries = garbage(&mut group);
    assert_eq!(entries[0].places[0], [far, OLD]);
    assert_eq!(entries[0].extent, one());
}

#[test]
fn a_node_learns_which_shards_are_wanted_from_it() {
    let reference = |group: &Group| {
        let query = ObjectQuery::References(vec![(pg(PG), id()), (pg(PG), data(1, 1))]);
        match ask(group, &query) {
            ObjectAnswer::References(mut found) => {
                assert_eq!(found.pop(), Some(Reference::Unreferenced));
                found.pop().unwrap()
            }
            other => panic!("{other:?}"),
        }
    };
    let mut group = group(&[dual()]);
    commit(&mut group, wrote_at(&[OLD]));
    group.run(&missing(2, stable().drives[2]));
    let wanted = |group: &Group| match reference(group) {
        Reference::Live {
            epoch,
            missing,
            belongs,
        } => {
            assert_eq!(missing, 4);
            assert_eq!(belongs[1..3], [[DriveId(5)], [DriveId(6)]]);
            (epoch, belongs[0].clone())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(wanted(&group), (2, vec![OLD, NEW]));
    group.run(&fence(PG, cut()));
    assert_eq!(wanted(&group), (3, vec![OLD, NEW]), "an override");
    let seen = group.index;
    group.run(&placed(0, &[NEW], seen));
    assert_eq!(wanted(&group), (3, vec![NEW]));
    group.run(&delete("a"));
    assert_eq!(reference(&group), Reference::Displaced);
}

#[test]
fn rows_come_in_pages_and_only_of_their_group() {
    let mut group = group(&[]);
    for n in 0..30_u64 {
        let one = extent(data(5, n), profile("4+2"), 1 << 20);
        let row = first_row(one.pg.index);
        let name = format!("k{n}");
        let body = NewBody::Extents(vec![wrote_by(&row, one)]);
        group.run(&put(&name, u128::from(n + 1), body));
        if n % 3 == 0 {
            group.run(&delete(&name));
        }
    }
    let expected: Vec<_> = (0..30).filter(|n| n % 4 == 1 && n % 3 != 0).collect();
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let query = ObjectQuery::Rows {
            pg: pg(1),
            after,
            limit: 2,
        };
        let ObjectAnswer::Rows(page) = ask(&group, &query) else {
            panic!("asked for rows");
        };
        assert_eq!(page.index, group.index);
        for live in &page.extents {
            let n = live.extent.data.random;
            assert_eq!(live.key, format!("k{n}"));
            assert_eq!(live.version.0, u128::from(n + 1));
            found.push(n);
        }
        after = page.extents.last().map(|live| live.extent.data);
        if !page.more {
            break;
        }
        assert_eq!(page.extents.len(), 2);
    }
    assert_eq!(found, expected);
    let unknown = ObjectQuery::Rows {
        pg: pg(99),
        after: None,
        limit: 2,
    };
    let ObjectAnswer::Rows(page) = ask(&group, &unknown) else {
        panic!("asked for rows");
    };
    assert_eq!((page.row, page.extents.len(), page.more), (None, 0, false));
}

/// What a drive should hold comes in pages over all placement groups, as readers see it.
#[test]
fn a_drive_learns_what_readers_look_for_on_it() {
    let mut group = group(&[]);
    for n in 0..40_u64 {
        let one = extent(data(5, n), profile("4+2"), 1 << 20);
        let row = first_row(one.pg.index);
        let name = format!("k{n}");
        let body = NewBody::Extents(vec![wrote_by(&row, one)]);
        group.run(&put(&name, u128::from(n + 1), body));
        if n % 5 == 0 {
            group.run(&delete(&name));
        }
    }
    let all = |group: &Group, drive: DriveId, limit| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let query = ObjectQuery::OnDrive {
                drive,
                after,
                limit,
            };
            let ObjectAnswer::OnDrive(page) = ask(group, &query) else {
                panic!("asked for what is on a drive");
            };
            assert!(page.extents.len() <= limit as usize);
            found.extend(
                page.extents
                    .into_iter()
                    .map(|on| (on.extent.data.random, on.shards)),
            );
            match page.next {
                Some(next) => {
                    assert!(after.is_none_or(|after| after < next), "it goes on");
                    after = Some(next);
                }
                None => return found,
            }
        }
    };
    for drive in (1..=9).map(DriveId) {
        let holds = |n: &u64| {
            let row = first_row(u16::try_from(n % 4).unwrap());
            let slot = row.drives.iter().position(|d| *d == drive)?;
            (!n.is_multiple_of(5)).then_some((*n, vec![u8::try_from(slot).unwrap()]))
        };
        let mut wanted: Vec<_> = (0..40).filter_map(|n| holds(&n)).collect();
        wanted.sort_by_key(|(n, _)| (n % 4, *n));
        for limit in [1, 3, 1000] {
            assert_eq!(all(&group, drive, limit), wanted, "{drive} by {limit}");
        }
    }
    // What is known to be lost is not looked for there, and a move's other end not before the cut.
    group.run(&missing(1, first_row(PG).drives[1]));
    assert!(
        all(&group, first_row(PG).drives[1], 9)
            .iter()
            .all(|(n, _)| *n != DATA)
    );
    group.run(&fence(PG, dual()));
    let before = all(&group, OLD, 9);
    assert!(before.iter().any(|(n, _)| *n == DATA));
    assert!(all(&group, NEW, 9).iter().all(|(n, _)| *n != DATA));
    group.run(&fence(PG, cut()));
    assert!(all(&group, OLD, 9).iter().all(|(n, _)| *n != DATA));
    assert!(all(&group, NEW, 9).iter().any(|(n, _)| *n == DATA));
}

#[test]
fn garbage_is_counted_with_its_age() {
    let mut group = group(&[]);
    let totals = |group: &Group| match ask(group, &ObjectQuery::GarbageTotals) {
        ObjectAnswer::GarbageTotals(totals) => totals,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (totals(&group).entries, totals(&group).oldest_ms),
        (0, None)
    );
    commit(&mut group, wrote_by(&stable(), one()));
    group.run(&delete("a"));
    let waits = totals(&group);
    assert_eq!((waits.entries, waits.due, waits.more), (1, 0, false));
    assert_eq!(waits.bytes, 6 << 18, "six shards of a quarter");
    assert!(
        waits
            .oldest_ms
            .is_some_and(|at| at > 0 && at <= waits.now_ms)
    );
    let _due = garbage(&mut group);
    assert_eq!(totals(&group).due, 1);
}

/// A slot on its way to no drive: what is written there names its place, what does not use it does not,
/// and garbage is not looked for at a place that is none.
#[test]
fn a_slot_without_a_drive_holds_nothing() {
    let mut group = Group::ready();
    let vacant = DriveId::vacant(0);
    let dual = first_row(1).begin(0, vacant, 2).unwrap();
    group.run(&striped("before", 1, "4+2", 5));
    group.run(&fence(1, dual.clone()));
    // Written before the fence came, or by a gateway that did not know of it.
    let late = extent(data(5, 5), profile("4+2"), 1 << 20);
    let place = first_row(1).drives[0];
    group.run(&put("late", 2, NewBody::Extents(vec![wrote(late)])));
    let over = |group: &Group, name: &str| match head(group, name).unwrap().row.body {
        Body::Extents(extents) => extents[0].overrides.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(over(&group, "late"), [(0, place)]);
    assert_eq!(over(&group, "before"), []);
    group.run(&fence(1, dual.cut(3).unwrap()));
    group.run(&fence(1, dual.cut(3).unwrap().end(4).unwrap()));
    assert_eq!(head(&group, "late").unwrap().places[0][0], place);
    let floors = ObjectCommand::RaiseFloors {
        gc_floor: u64::MAX,
        read_floor: u64::MAX,
    };
    group.run(&delete("late"));
    group.run(&floors);
    group.run(&floors);
    let query = ObjectQuery::Garbage {
        after: None,
        limit: 10,
    };
    let ObjectAnswer::Garbage(entries) = ask(&group, &query) else {
        panic!("asked for garbage");
    };
    let places: Vec<DriveId> = entries
        .iter()
        .flat_map(|e| &e.places)
        .flatten()
        .copied()
        .collect();
    assert!(places.contains(&place) && !places.iter().any(|drive| drive.is_vacant()));
}
