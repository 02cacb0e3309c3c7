//! Moves as the root decides them: each element alone, and only if it fits.

use marram_placement::{PgRow, Phase, PoolTable, SlotMove, Spread};
use marram_types::{DriveId, PoolId};

use super::Root;
use crate::{DriveCommand, Malformed, NodeDuty, Refusal, RootCommand, RootOutcome};

const POOL: PoolId = PoolId(3);

/// Six nodes with a drive each, and a pool of three rows over the first four of them.
fn ready() -> (Root, Vec<DriveId>) {
    let mut root = Root::ready(6, 1);
    let drives: Vec<_> = root
        .view()
        .nodes
        .keys()
        .map(|n| DriveId(n.0 << 8))
        .collect();
    let row = |at: usize| PgRow::stable(1, (0..3).map(|i| drives[(at + i) % 4]).collect());
    root.run(&RootCommand::CreatePool(PoolTable {
        width: 3,
        epoch: 1,
        rows: (0..3).map(row).collect(),
        domains: Spread::default(),
    }));
    (root, drives)
}

fn table(root: &Root) -> PoolTable {
    root.view().pools[&POOL].clone()
}

fn moved(outcome: RootOutcome) -> (u32, u64) {
    match outcome {
        RootOutcome::Moved { applied, epoch } => (applied, epoch),
        other => panic!("{other:?}"),
    }
}

fn slot(pg: u16, slot: u8, from: DriveId, to: DriveId) -> SlotMove {
    SlotMove { pg, slot, from, to }
}

/// Slots that may be left without a drive: of nodes that were given up, and beside another of their node.
#[test]
fn rows_become_narrower_only_where_a_node_is_gone_or_shared() {
    let (mut root, drives) = ready();
    let all: Vec<_> = root.view().nodes.into_keys().collect();
    let vacate = |pg, at: u8, from| slot(pg, at, from, DriveId::vacant(at));
    let narrow = |moves| RootCommand::NarrowRows { pool: POOL, moves };
    let first = vacate(0, 0, drives[0]);
    assert_eq!(moved(root.run(&narrow(vec![first]))).0, 0, "it serves");
    root.run(&RootCommand::GiveUp {
        node: all[0],
        rebuild: false,
    });
    assert_eq!(moved(root.run(&narrow(vec![first]))).0, 0, "for its votes");
    root.run(&RootCommand::GiveUp {
        node: all[0],
        rebuild: true,
    });
    let elsewhere = slot(0, 0, drives[0], drives[4]);
    let of_another = slot(0, 0, drives[0], DriveId::vacant(1));
    let serves = vacate(0, 1, drives[1]);
    let none = narrow(vec![elsewhere, of_another, serves, vacate(0, 1, drives[0])]);
    assert_eq!(moved(root.run(&none)).0, 0);
    let start = RootCommand::StartMoves {
        pool: POOL,
        moves: vec![first],
    };
    assert_eq!(moved(root.run(&start)).0, 0, "as in the last release");
    assert_eq!(moved(root.run(&narrow(vec![first]))).0, 1);
    let row = table(&root).rows[0].clone();
    assert_eq!(
        row.moving.map(|m| (m.phase, m.to)),
        Some((Phase::Dual, first.to))
    );

    // A second drive of the node that has the second slot, in the third.
    let node = all[1];
    let added = DriveCommand::Add {
        node,
        label: 7,
        capacity: 1 << 30,
    };
    root.run(&RootCommand::Drives(added));
    let second = root.view().nodes[&node].drives[1].drive;
    let shares = slot(1, 1, drives[2], second);
    let start = RootCommand::StartMoves {
        pool: POOL,
        moves: vec![shares],
    };
    let (count, epoch) = moved(root.run(&start));
    assert_eq!(count, 1);
    let pgs = vec![(1, epoch)];
    let (_, epoch) = moved(root.run(&RootCommand::CutMoves { pool: POOL, pgs }));
    let pgs = vec![(1, epoch)];
    root.run(&RootCommand::EndMoves { pool: POOL, pgs });
    assert_eq!(table(&root).rows[1].drives[..2], [drives[1], second]);
    let shared = narrow(vec![vacate(1, 2, drives[3]), vacate(1, 1, second)]);
    assert_eq!(moved(root.run(&shared)).0, 1, "the one beside another");
    assert_eq!(table(&root).rows[1].moving.map(|m| m.slot), Some(1));
}

#[test]
fn each_move_applies_alone_and_only_if_it_fits() {
    let (mut root, drives) = ready();
    let cordoned = root.view().nodes.into_keys().nth(5).unwrap();
    root.run(&RootCommand::SetDuty {
        node: cordoned,
        duty: NodeDuty::Cordoned,
    });
    let moves = vec![
        slot(0, 0, drives[0], drives[4]),
        slot(0, 1, drives[1], drives[3]),
        slot(1, 0, drives[0], drives[4]),
        slot(1, 0, drives[1], drives[5]),
        slot(1, 0, drives[1], DriveId(77)),
        slot(1, 0, drives[1], drives[2]),
        slot(1, 9, drives[1], drives[4]),
        slot(9, 0, drives[1], drives[4]),
        slot(2, 2, drives[0], drives[4]),
    ];
    let start = RootCommand::StartMoves { pool: POOL, moves };
    assert_eq!(moved(root.run(&start)), (2, 2), "the first and the last");
    let after = table(&root);
    assert_eq!(after.epoch, 2);
    let epochs: Vec<_> = after.rows.iter().map(|r| r.epoch).collect();
    assert_eq!(epochs, [2, 1, 2]);
    assert_eq!(after.rows[0].moving.unwrap().phase, Phase::Dual);
    assert!(after.rows[1].moving.is_none());
    assert_eq!(moved(root.run(&start)), (0, 2), "again");
    assert_eq!(table(&root), after);

    let pgs = vec![(0, 2), (1, 1), (2, 1), (9, 2)];
    let cut = RootCommand::CutMoves { pool: POOL, pgs };
    assert_eq!(
        moved(root.run(&cut)),
        (1, 3),
        "the others are old or stable"
    );
    assert_eq!(table(&root).rows[0].drives[0], drives[4]);
    assert_eq!(moved(root.run(&cut)), (0, 3), "again");
    let pgs = vec![(0, 3), (2, 2)];
    let cancel = RootCommand::CancelMoves { pool: POOL, pgs };
    assert_eq!(moved(root.run(&cancel)), (1, 4), "one is cut already");
    let back = table(&root).rows[2].moving.unwrap();
    assert_eq!((back.from, back.to), (drives[4], drives[0]));
    let pgs = vec![(0, 3), (1, 1), (2, 4)];
    let end = RootCommand::EndMoves { pool: POOL, pgs };
    assert_eq!(moved(root.run(&end)), (2, 5));
    let after = table(&root);
    assert!(after.rows.iter().all(|row| row.moving.is_none()));
    assert_eq!(after.rows[0].drives, [drives[4], drives[1], drives[2]]);
    assert_eq!(after.rows[2].drives, [drives[2], drives[3], drives[0]]);
}

#[test]
fn pools_are_checked() {
    let (mut root, drives) = ready();
    let pool = PoolId(9);
    let unknown = root.refused(&RootCommand::EndMoves { pool, pgs: vec![] });
    assert_eq!(unknown, Refusal::PoolUnknown { pool });
    let stable = PgRow::stable(1, drives[..2].to_vec());
    let moving = stable.begin(0, drives[3], 2).unwrap();
    let narrow = PgRow::stable(1, drives[..1].to_vec());
    for rows in [vec![], vec![moving], vec![stable, narrow]] {
        // Only what decodes is applied, so the narrow row does not get as far.
        let table = PoolTable {
            width: 2,
            epoch: 1,
            rows,
            domains: Spread::default(),
        };
        let entry = crate::Envelope::seal_internal(&RootCommand::CreatePool(table.clone()));
        if crate::check_root(&entry).is_ok() {
            let refusal = root.refused(&RootCommand::CreatePool(table));
            assert_eq!(refusal, Refusal::Malformed(Malformed::Pool));
        }
    }
    assert_eq!(root.view().pools.len(), 1);
}
