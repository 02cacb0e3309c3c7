//! Two drains at once: whichever comes second is judged with the first.

use super::{Root, create};
use crate::testing::profile;
use crate::{
    DrainCommand, DriveCommand, DriveDuty, DriveRefusal, NodeDuty, Refusal, RootCommand,
    RootOutcome, leaving,
};
use marram_types::{DriveId, NodeId};

const BUCKET: &str = "wide";

type Drain = Box<dyn Fn(Option<u32>) -> RootCommand>;

/// Nodes of two drives each, and a bucket over three nodes.
fn cluster(nodes: u8) -> (Root, Vec<(NodeId, [DriveId; 2])>) {
    let mut root = Root::ready(nodes, 3);
    for (label, node) in (1..).zip(ids(&root)) {
        let add = DriveCommand::Add {
            node,
            label,
            capacity: 1,
        };
        root.run(&RootCommand::Drives(add));
    }
    root.bucket(&create(BUCKET, Some(profile("2+1"))));
    let held = root.view().nodes.into_values().map(|record| {
        let drives: Vec<DriveId> = record.drives.iter().map(|held| held.drive).collect();
        (record.node, drives.try_into().expect("two"))
    });
    let held = held.collect();
    (root, held)
}

/// A node is cordoned before it is drained, and after.
fn cordon(root: &mut Root, node: NodeId) {
    let duty = NodeDuty::Cordoned;
    let done = root.run(&RootCommand::SetDuty { node, duty });
    assert_eq!(done, RootOutcome::Done);
}

fn ids(root: &Root) -> Vec<NodeId> {
    root.view().nodes.into_keys().collect()
}

fn seen(root: &Root) -> u32 {
    leaving(root.view().nodes.values())
}

fn of_drive(drive: DriveId, leaving: Option<u32>) -> RootCommand {
    RootCommand::Drain(DrainCommand::Drive { drive, leaving })
}

fn of_node(node: NodeId, leaving: Option<u32>) -> RootCommand {
    RootCommand::Drain(DrainCommand::Node {
        node,
        from: NodeDuty::Cordoned,
        if_epoch: None,
        leaving,
    })
}

/// Of two drains that were each looked at before either began, only the first may begin without another look.
#[test]
fn a_drain_that_was_looked_at_before_another_one_began_is_looked_at_again() {
    let others = Refusal::Drive(DriveRefusal::OthersLeave);
    let (_, held) = cluster(5);
    let ((node, [first, second]), (other, [third, _])) = (held[0], held[1]);
    let drains: Vec<[Drain; 2]> = vec![
        [
            Box::new(move |seen| of_drive(first, seen)),
            Box::new(move |seen| of_drive(second, seen)),
        ],
        [
            Box::new(move |seen| of_drive(first, seen)),
            Box::new(move |seen| of_drive(third, seen)),
        ],
        [
            Box::new(move |seen| of_node(node, seen)),
            Box::new(move |seen| of_node(other, seen)),
        ],
        [
            Box::new(move |seen| of_drive(third, seen)),
            Box::new(move |seen| of_node(node, seen)),
        ],
    ];
    for [one, two] in &drains {
        for (one, two) in [(one, two), (two, one)] {
            let (mut root, _) = cluster(5);
            cordon(&mut root, node);
            cordon(&mut root, other);
            let before = Some(seen(&root));
            assert_eq!(root.run(&one(before)), RootOutcome::Done);
            assert_eq!(root.refused(&two(before)), others);
            assert_eq!(
                root.run(&one(before)),
                RootOutcome::Done,
                "an answer was lost"
            );
            let now = Some(seen(&root));
            assert_ne!(now, before);
            assert_eq!(root.run(&two(now)), RootOutcome::Done, "looked at again");
        }
    }
}

/// How many nodes stay is counted as the entry is applied, whatever anybody saw.
#[test]
fn too_few_nodes_stay_in_no_order_of_two_drains() {
    let refused = |root: &mut Root, command: &RootCommand| {
        let refusal = root.refused(command);
        assert!(
            matches!(refusal, Refusal::LeavesTooFew { .. }),
            "{refusal:?}"
        );
    };
    // Both drives of one node of three.
    for order in [[0, 1], [1, 0]] {
        let (mut root, held) = cluster(3);
        let drives = order.map(|at: usize| held[2].1[at]);
        assert_eq!(root.run(&of_drive(drives[0], None)), RootOutcome::Done);
        refused(&mut root, &of_drive(drives[1], None));
        let record = &root.view().nodes[&held[2].0];
        let duty = |drive| record.drive(drive).expect("its own").duty;
        assert_eq!(duty(drives[0]), DriveDuty::Draining);
        assert_eq!(duty(drives[1]), DriveDuty::Serving);
    }
    // One node of four, and all drives of another: as two nodes of four.
    let four = || {
        let (mut root, held) = cluster(4);
        cordon(&mut root, held[0].0);
        cordon(&mut root, held[1].0);
        (root, held)
    };
    let (mut root, held) = four();
    assert_eq!(root.run(&of_node(held[0].0, None)), RootOutcome::Done);
    assert_eq!(root.run(&of_drive(held[1].1[0], None)), RootOutcome::Done);
    refused(&mut root, &of_drive(held[1].1[1], None));
    refused(&mut root, &of_node(held[1].0, None));
    let (mut root, held) = four();
    for drive in held[1].1 {
        assert_eq!(root.run(&of_drive(drive, None)), RootOutcome::Done);
    }
    refused(&mut root, &of_node(held[0].0, None));
    // The node whose drives leave may itself go: nobody is fewer for it.
    assert_eq!(root.run(&of_node(held[1].0, None)), RootOutcome::Done);
    // A drain that is taken back counts no more.
    let (mut root, held) = four();
    root.run(&of_node(held[0].0, None));
    refused(&mut root, &of_node(held[1].0, None));
    cordon(&mut root, held[0].0);
    assert_eq!(root.run(&of_node(held[1].0, None)), RootOutcome::Done);
}

#[test]
fn a_drive_that_cannot_be_drained_is_refused_as_ever() {
    let (mut root, held) = cluster(5);
    let drive = DriveId(7);
    let refusal = root.refused(&of_drive(drive, None));
    assert_eq!(refusal, Refusal::Drive(DriveRefusal::Unknown { drive }));
    let drive = held[0].1[1];
    let duty = DriveDuty::Failed;
    root.run(&RootCommand::Drives(DriveCommand::SetDuty { drive, duty }));
    let refusal = root.refused(&of_drive(drive, Some(0)));
    let (from, to) = (DriveDuty::Failed, DriveDuty::Draining);
    let change = DriveRefusal::DutyChange { drive, from, to };
    assert_eq!(refusal, Refusal::Drive(change));
    let node = NodeId(999);
    assert_eq!(
        root.refused(&of_node(node, None)),
        Refusal::NodeUnknown { node }
    );
    let (node, _) = held[1];
    let refusal = root.refused(&of_node(node, None));
    assert!(
        matches!(refusal, Refusal::DutyChanged { .. }),
        "{refusal:?}"
    );
}
