//! Single drives, and what is paused.

use marram_placement::SlotMove;

use super::*;
use crate::{DriveCommand, DriveDuty, DriveRefusal, NodeDuty, Pausable};

fn drives(command: DriveCommand) -> RootCommand {
    RootCommand::Drives(command)
}

fn add(root: &mut Root, node: NodeId, label: u128) -> DriveId {
    let capacity = 700;
    let command = drives(DriveCommand::Add {
        node,
        label,
        capacity,
    });
    match root.run(&command) {
        RootOutcome::DriveAdded { drive } => drive,
        other => panic!("{other:?}"),
    }
}

fn set(drive: DriveId, duty: DriveDuty) -> RootCommand {
    drives(DriveCommand::SetDuty { drive, duty })
}

fn remove(drive: DriveId) -> RootCommand {
    drives(DriveCommand::Remove { drive })
}

fn refused(root: &mut Root, command: &RootCommand) -> DriveRefusal {
    match root.refused(command) {
        Refusal::Drive(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn node(root: &Root) -> NodeId {
    *root.view().nodes.keys().next().expect("a node")
}

#[test]
fn a_label_is_one_drive_and_ids_are_never_used_again() {
    let mut root = Root::ready(1, 1);
    let node = node(&root);
    let first = add(&mut root, node, 5);
    assert_eq!(add(&mut root, node, 5), first, "an answer was lost");
    let second = add(&mut root, node, 6);
    let record = root.view().nodes[&node].clone();
    let of = |drive| record.drive(drive).expect("its own").clone();
    assert_eq!((of(first).ordinal, of(second).ordinal), (1, 2));
    assert_eq!(
        (of(first).duty, of(first).capacity),
        (DriveDuty::Serving, 700)
    );
    // The number within the node comes back, the id does not.
    root.run(&set(first, DriveDuty::Failed));
    assert_eq!(root.run(&remove(first)), RootOutcome::Done);
    let third = add(&mut root, node, 7);
    let record = root.view().nodes[&node].clone();
    assert_eq!(record.drive(third).expect("there").ordinal, 1);
    assert!(third != first && record.present_drives().all(|d| d.drive != first));
    assert_eq!(
        add(&mut root, node, 5),
        first,
        "even a removed one is not another"
    );
    let nobody = drives(DriveCommand::Add {
        node: NodeId(99),
        label: 8,
        capacity: 1,
    });
    assert_eq!(
        root.refused(&nobody),
        Refusal::NodeUnknown { node: NodeId(99) }
    );
}

#[test]
fn a_node_has_no_more_drives_than_it_may() {
    let mut root = Root::ready(1, 1);
    let node = node(&root);
    for label in 1..64 {
        add(&mut root, node, label);
    }
    let one_more = drives(DriveCommand::Add {
        node,
        label: 64,
        capacity: 1,
    });
    assert_eq!(
        refused(&mut root, &one_more),
        DriveRefusal::TooMany { node }
    );
}

#[test]
fn duties_of_a_drive_change_by_their_rules() {
    use DriveDuty::{Away, AwayDraining, Draining, Failed, Removed, Serving};
    let mut root = Root::ready(1, 1);
    let node = node(&root);
    let drive = add(&mut root, node, 1);
    for (from, to) in [
        (Serving, Draining),
        (Draining, Serving),
        (Serving, Away),
        (Away, Serving),
        (Serving, Draining),
        (Draining, AwayDraining),
        (AwayDraining, Draining),
        (Draining, AwayDraining),
        (AwayDraining, Serving),
        (Serving, Failed),
    ] {
        assert_eq!(root.run(&set(drive, to)), RootOutcome::Done, "{from:?}");
        assert_eq!(root.run(&set(drive, to)), RootOutcome::Done, "again");
        assert_eq!(root.view().nodes[&node].drive(drive).unwrap().duty, to);
    }
    for to in [Serving, Draining, Away, AwayDraining, Removed] {
        let from = Failed;
        let refusal = DriveRefusal::DutyChange { drive, from, to };
        assert_eq!(refused(&mut root, &set(drive, to)), refusal);
    }
    let unknown = DriveId(1);
    let refusal = DriveRefusal::Unknown { drive: unknown };
    assert_eq!(refused(&mut root, &set(unknown, Draining)), refusal);
}

#[test]
fn a_drive_in_the_layout_stays_and_takes_data_only_while_it_serves() {
    let mut root = Root::ready(2, 1);
    let view = root.view();
    let mut nodes = view.nodes.values();
    let (a, b) = (nodes.next().unwrap().clone(), nodes.next().unwrap().clone());
    let (held, kept) = (a.drives[0].drive, b.drives[0].drive);
    let new = add(&mut root, a.node, 1);
    let table = PoolTable {
        width: 2,
        epoch: 1,
        rows: vec![PgRow::stable(1, vec![held, kept])],
        domains: Spread::default(),
    };
    let pool = table.pool();
    root.run(&RootCommand::CreatePool(table));
    let moves = || {
        vec![SlotMove {
            pg: 0,
            slot: 0,
            from: held,
            to: new,
        }]
    };
    let start = || RootCommand::StartMoves {
        pool,
        moves: moves(),
    };
    root.run(&set(new, DriveDuty::Draining));
    let RootOutcome::Moved { applied: 0, .. } = root.run(&start()) else {
        panic!("a draining drive takes nothing");
    };
    root.run(&set(new, DriveDuty::Serving));
    let RootOutcome::Moved { applied: 1, epoch } = root.run(&start()) else {
        panic!("it serves");
    };
    root.run(&set(new, DriveDuty::Failed));
    let pg = marram_types::PgId { pool, index: 0 };
    let in_layout = DriveRefusal::InLayout { drive: new, pg };
    assert_eq!(refused(&mut root, &remove(new)), in_layout);
    let pgs = vec![(0, epoch)];
    let RootOutcome::Moved { epoch, .. } = root.run(&RootCommand::CancelMoves { pool, pgs }) else {
        panic!("taken back");
    };
    assert_eq!(
        refused(&mut root, &remove(new)),
        in_layout,
        "it is cleaned first"
    );
    let pgs = vec![(0, epoch)];
    root.run(&RootCommand::EndMoves { pool, pgs });
    assert_eq!(root.run(&remove(new)), RootOutcome::Done);
    assert_eq!(root.run(&remove(new)), RootOutcome::Done, "again");
    let in_layout = DriveRefusal::InLayout { drive: held, pg };
    assert_eq!(refused(&mut root, &remove(held)), in_layout);
}

#[test]
fn a_metadata_drive_and_one_that_serves_are_not_removed() {
    let mut root = Root::ready(1, 1);
    let node = node(&root);
    let drive = add(&mut root, node, 1);
    let serves = DriveRefusal::Serves { drive };
    assert_eq!(refused(&mut root, &remove(drive)), serves);
    let metadata = root.view().nodes[&node].drives[0].drive;
    root.run(&set(metadata, DriveDuty::Draining));
    let refusal = DriveRefusal::Metadata { drive: metadata };
    assert_eq!(refused(&mut root, &remove(metadata)), refusal);
    let unknown = DriveRefusal::Unknown { drive: DriveId(1) };
    assert_eq!(refused(&mut root, &remove(DriveId(1))), unknown);
}

#[test]
fn a_drive_that_grew_weighs_more() {
    let mut root = Root::ready(1, 1);
    let node = node(&root);
    let drive = add(&mut root, node, 1);
    let capacity = 1 << 40;
    root.run(&drives(DriveCommand::SetCapacity { drive, capacity }));
    assert_eq!(
        root.view().nodes[&node].drive(drive).unwrap().capacity,
        capacity
    );
}

#[test]
fn what_is_paused_says_since_when_and_goes_on() {
    let mut root = Root::ready(1, 1);
    let pause = |work, paused| drives(DriveCommand::SetPaused { work, paused });
    root.run(&pause(Pausable::Garbage, true));
    let mut later = Envelope::seal_internal(&pause(Pausable::Garbage, true));
    stamp(&mut later, 9_000).unwrap();
    root.apply(&later);
    let upkeep = root.view().upkeep;
    assert_eq!(
        upkeep.paused(Pausable::Garbage),
        Some(1_000),
        "again changes nothing"
    );
    assert_eq!(upkeep.paused(Pausable::Scrub), None);
    root.run(&pause(Pausable::Scrub, true));
    root.run(&pause(Pausable::Garbage, false));
    let upkeep = root.view().upkeep;
    assert_eq!(upkeep.paused(Pausable::Garbage), None);
    assert!(upkeep.paused(Pausable::Scrub).is_some());
    let decoded = ClusterView::decode(&root.view().encode());
    assert_eq!(decoded.unwrap().upkeep, upkeep);
}

#[test]
fn drives_of_a_node_that_does_not_serve_take_nothing() {
    let mut root = Root::ready(1, 1);
    let node = node(&root);
    let drive = add(&mut root, node, 1);
    assert!(root.view().nodes[&node].drive_takes_data(drive));
    root.run(&RootCommand::SetDuty {
        node,
        duty: NodeDuty::Cordoned,
    });
    assert!(!root.view().nodes[&node].drive_takes_data(drive));
    assert!(!root.view().nodes[&node].drive_takes_data(DriveId(1)));
}
