//! Commits that rest on a node that is about to be removed (rules.md 25).

use marram_placement::PgRow;
use marram_types::{DataId, DriveId, NodeId};

use super::{ask, refused};
use crate::testing::{Group, PGS, data, extent, fence, first_row, pg, profile, put};
use crate::{
    NamedAnswer, NewBody, NewExtent, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery,
    Refusal, Tombstone,
};

const PG: u16 = 1;
/// The node's drive, which has slot 0 at first, and where that moves to.
const GOING: DriveId = DriveId(4);
const STAYS: DriveId = DriveId(1);

fn stone(epoch: u64, stands: bool) -> ObjectCommand {
    ObjectCommand::Tombstone(Tombstone {
        node: NodeId(1),
        epoch,
        stands,
        drives: vec![GOING],
    })
}

/// Data in the placement group of the tests.
fn id(number: u64) -> DataId {
    data(5, number * u64::from(PGS) + u64::from(PG))
}

/// Written as a gateway does whose view is from before the move: to the drives of the first row.
fn written(number: u64, places: &[DriveId]) -> NewExtent {
    let extent = extent(id(number), profile("4+2"), 1 << 20);
    let rest = first_row(PG).drives.into_iter().skip(1);
    let mut wrote: Vec<(u8, DriveId)> = (1..).zip(rest).collect();
    wrote.extend(places.iter().map(|place| (0, *place)));
    NewExtent { extent, wrote }
}

fn commit(key: &str, number: u64, places: &[DriveId]) -> ObjectCommand {
    put(
        key,
        u128::from(number),
        NewBody::Extents(vec![written(number, places)]),
    )
}

fn moved_on() -> Group {
    let mut group = Group::ready();
    let dual = first_row(PG).begin(0, STAYS, 2).unwrap();
    let cut = dual.cut(3).unwrap();
    let stable = cut.end(4).unwrap();
    for row in [dual, cut, stable] {
        group.run(&fence(PG, row));
    }
    group
}

fn named(group: &Group) -> NamedAnswer {
    let mut all = NamedAnswer::default();
    loop {
        let query = ObjectQuery::Named {
            drives: vec![GOING],
            after: all.next.take(),
            limit: 1,
        };
        let ObjectAnswer::Named(page) = ask(group, &query) else {
            panic!("another answer");
        };
        all.tombstone = page.tombstone;
        all.rows += page.rows;
        all.overrides += page.overrides;
        all.queued += page.queued;
        all.next = page.next;
        if all.next.is_none() {
            return all;
        }
    }
}

#[test]
fn a_gateway_with_an_old_view_commits_before_the_tombstone_and_not_after_it() {
    let mut group = moved_on();
    let before = group.run(&commit("a", 1, &[GOING]));
    assert!(
        matches!(before, ObjectOutcome::Committed { .. }),
        "{before:?}"
    );
    // The late commit names its own place, which keeps the node.
    let held = named(&group);
    let others = rows_with(GOING) - 1;
    assert_eq!((held.tombstone, held.rows, held.overrides), (0, others, 1));

    group.run(&stone(9, true));
    assert_eq!(named(&group).tombstone, 9);
    let after = refused(group.run(&commit("b", 2, &[GOING])));
    assert_eq!(after, Refusal::DriveGone { drive: GOING });
    assert!(after.is_retryable(), "the same put may be written again");
    // Both ends of the move were written: the one that stays will do.
    let both = group.run(&commit("c", 3, &[GOING, STAYS]));
    assert!(matches!(both, ObjectOutcome::Committed { .. }), "{both:?}");
    let again = group.run(&commit("b", 4, &[STAYS]));
    assert!(
        matches!(again, ObjectOutcome::Committed { .. }),
        "{again:?}"
    );
    assert_eq!(named(&group).overrides, 1);
}

#[test]
fn a_repair_does_not_rest_on_the_node() {
    let mut group = Group::ready();
    group.run(&commit("a", 1, &[GOING]));
    let (pg, data, shard) = (pg(PG), id(1), 0);
    group.run(&ObjectCommand::ShardMissing {
        pg,
        data,
        shard,
        at: GOING,
    });
    let placed = |group: &mut Group| {
        let found = ObjectCommand::ShardPlaced {
            pg,
            data,
            shard,
            at: vec![GOING],
            seen: group.index,
        };
        match group.run(&found) {
            ObjectOutcome::Shard { missing, .. } => !missing,
            other => panic!("{other:?}"),
        }
    };
    group.run(&stone(9, true));
    assert!(!placed(&mut group), "it is about to go");
    group.run(&stone(10, false));
    assert!(placed(&mut group));
}

#[test]
fn the_newest_word_on_a_drive_counts() {
    let mut group = moved_on();
    group.run(&stone(9, true));
    group.run(&stone(8, false));
    assert_eq!(named(&group).tombstone, 9, "an old word changes nothing");
    refused(group.run(&commit("a", 1, &[GOING])));
    group.run(&stone(12, false));
    assert_eq!(named(&group).tombstone, 0);
    let back = group.run(&commit("a", 2, &[GOING]));
    assert!(matches!(back, ObjectOutcome::Committed { .. }), "{back:?}");
    group.run(&stone(12, true));
    assert_eq!(named(&group).tombstone, 0);
}

#[test]
fn rows_overrides_and_the_queue_are_all_asked() {
    let mut group = Group::ready();
    group.run(&commit("a", 1, &[GOING]));
    group.run(&stone(9, true));
    let held = named(&group);
    assert_eq!(
        (held.rows, held.overrides, held.queued),
        (rows_with(GOING), 0, 0)
    );
    group.run(&commit("a", 2, &[STAYS]));
    assert_eq!(named(&group).queued, 1, "what was displaced lies there");
}

/// Rows of a fresh group that name a drive.
fn rows_with(drive: DriveId) -> u64 {
    let names = |row: &PgRow| row.names(drive);
    (0..PGS).map(first_row).filter(names).count() as u64
}
