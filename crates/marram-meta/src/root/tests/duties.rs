//! What nodes are there for, and how they go.

use marram_placement::{PgRow, PoolTable, SlotMove, Spread};
use marram_types::{DriveId, GroupId, NodeId, PgId, PoolId, ReplicaId};

use super::{Root, create, join};
use crate::testing::profile;
use crate::{DriveJoin, GroupRecord, NodeDuty, NodeState, Refusal, RootCommand, RootOutcome};

fn nodes(root: &Root) -> Vec<NodeId> {
    root.view().nodes.into_keys().collect()
}

fn duty(node: NodeId, duty: NodeDuty) -> RootCommand {
    RootCommand::SetDuty { node, duty }
}

fn removal(node: NodeId, tombstone: u64) -> RootCommand {
    RootCommand::RemoveNode { node, tombstone }
}

fn burial(node: NodeId, if_epoch: Option<u64>) -> RootCommand {
    RootCommand::BuryNode { node, if_epoch }
}

/// As an operator has it done: the tombstone first, for the object groups to be told.
fn remove_buried(root: &mut Root, node: NodeId) -> RootOutcome {
    root.run(&burial(node, None));
    let tombstone = root.view().tombstones[&node].epoch;
    root.run(&removal(node, tombstone))
}

#[test]
fn a_node_goes_only_under_the_tombstone_that_everybody_was_told_of() {
    let mut root = Root::ready(2, 1);
    let node = nodes(&root)[1];
    assert_eq!(
        root.refused(&burial(node, None)),
        Refusal::NodeServes { node }
    );
    root.run(&duty(node, NodeDuty::Cordoned));
    let epoch = 0;
    let refusal = root.refused(&removal(node, epoch));
    assert_eq!(refusal, Refusal::NotBuried { node, epoch });
    root.run(&burial(node, None));
    let first = root.view().tombstones[&node].clone();
    assert!(first.stands && first.drives == [DriveId(node.0 << 8)]);
    root.run(&burial(node, None));
    assert_eq!(root.view().tombstones[&node], first, "it stands already");
    // The node is to stay after all: whoever was about to remove it has to begin anew.
    root.run(&duty(node, NodeDuty::Serving));
    let back = root.view().tombstones[&node].clone();
    assert!(!back.stands && back.epoch > first.epoch);
    root.run(&duty(node, NodeDuty::Cordoned));
    let epoch = first.epoch;
    let refusal = root.refused(&removal(node, epoch));
    assert_eq!(refusal, Refusal::NotBuried { node, epoch });
    assert_eq!(remove_buried(&mut root, node), RootOutcome::Done);
    assert!(root.view().tombstones[&node].stands);
}

#[test]
fn who_decides_by_an_old_status_is_refused() {
    use NodeDuty::{Cordoned, Draining, Serving};
    let mut root = Root::ready(3, 1);
    let [node, other] = [nodes(&root)[0], nodes(&root)[1]];
    let change = |from, to, if_epoch| RootCommand::ChangeDuty {
        node,
        from,
        to,
        if_epoch,
    };
    let seen = root.view().layout.epoch;
    root.run(&duty(other, Cordoned));
    let epoch = root.view().layout.epoch;
    assert!(epoch > seen);
    let moved = Refusal::LayoutMoved { given: seen, epoch };
    assert_eq!(
        root.refused(&change(Serving, Cordoned, Some(seen))),
        moved.clone()
    );
    let outcome = root.run(&change(Serving, Cordoned, Some(epoch)));
    assert_eq!(outcome, RootOutcome::Done);
    // A lost answer, and the same wish again.
    let outcome = root.run(&change(Serving, Cordoned, Some(epoch)));
    assert_eq!(outcome, RootOutcome::Done);
    assert_eq!(root.refused(&burial(other, Some(seen))), {
        let epoch = root.view().layout.epoch;
        Refusal::LayoutMoved { given: seen, epoch }
    });
    // Two operators saw it cordoned: one drains it, the other lets it serve and is told.
    root.run(&change(Cordoned, Draining, None));
    let refusal = root.refused(&change(Cordoned, Serving, None));
    let (now, expected) = (Draining, Cordoned);
    assert_eq!(
        refusal,
        Refusal::DutyChanged {
            node,
            now,
            expected
        }
    );
    let quiet = root.view().layout.epoch;
    root.run(&create("bucket", None));
    assert_eq!(root.view().layout.epoch, quiet, "buckets do not count");
}

#[test]
fn duties_change_step_by_step_and_fencing_is_for_ever() {
    use NodeDuty::{Cordoned, Draining, Fenced, Serving};
    let mut root = Root::ready(2, 1);
    let node = nodes(&root)[0];
    let allowed = [
        (Serving, Cordoned),
        (Cordoned, Draining),
        (Draining, Cordoned),
        (Cordoned, Serving),
    ];
    for from in [Serving, Cordoned, Draining, Fenced] {
        for to in [Serving, Cordoned, Draining, Fenced] {
            let expected = from == to || to == Fenced || allowed.contains(&(from, to));
            assert_eq!(from.may_become(to), expected, "{from:?} to {to:?}");
        }
    }
    assert_eq!(root.view().nodes[&node].duty, Serving);
    assert_eq!(root.run(&duty(node, Cordoned)), RootOutcome::Done);
    assert_eq!(root.run(&duty(node, Cordoned)), RootOutcome::Done);
    assert!(!root.view().nodes[&node].takes_data());
    root.run(&duty(node, Draining));
    let refusal = root.refused(&duty(node, Serving));
    let (from, to) = (Draining, Serving);
    assert_eq!(refusal, Refusal::DutyChange { node, from, to });
    root.run(&duty(node, Fenced));
    for to in [Serving, Cordoned, Draining] {
        let from = Fenced;
        let refusal = root.refused(&duty(node, to));
        assert_eq!(refusal, Refusal::DutyChange { node, from, to });
    }
    let node = NodeId(77);
    let unknown = root.refused(&duty(node, Cordoned));
    assert_eq!(unknown, Refusal::NodeUnknown { node });
}

#[test]
fn a_node_in_the_layout_stays() {
    let mut root = Root::ready(4, 1);
    let all = nodes(&root);
    let drives: Vec<_> = all.iter().map(|n| DriveId(n.0 << 8)).collect();
    let node = all[0];
    let drive = drives[0];
    root.run(&RootCommand::CreatePool(PoolTable {
        width: 3,
        epoch: 1,
        rows: vec![PgRow::stable(1, drives[..3].to_vec())],
        domains: Spread::default(),
    }));
    let remove = removal(node, 0);
    assert_eq!(root.refused(&remove), Refusal::NodeServes { node });
    root.run(&duty(node, NodeDuty::Cordoned));
    let pool = PoolId(3);
    let pg = PgId { pool, index: 0 };
    let held = root.refused(&remove);
    assert_eq!(held, Refusal::NodeInLayout { node, pg, drive });

    let moves = vec![SlotMove {
        pg: 0,
        slot: 0,
        from: drive,
        to: drives[3],
    }];
    root.run(&RootCommand::StartMoves { pool, moves });
    let pgs = |root: &Root| vec![(0, root.view().pools[&pool].epoch)];
    let cut = RootCommand::CutMoves {
        pool,
        pgs: pgs(&root),
    };
    root.run(&cut);
    let moving = root.refused(&remove);
    assert_eq!(moving, Refusal::NodeInMove { node, pg, drive });
    let end = RootCommand::EndMoves {
        pool,
        pgs: pgs(&root),
    };
    root.run(&end);
    assert_eq!(remove_buried(&mut root, node), RootOutcome::Done);
}

#[test]
fn a_node_that_votes_stays_and_then_goes_for_ever() {
    let mut root = Root::ready(2, 1);
    let node = nodes(&root)[0];
    let replica = ReplicaId(1);
    root.run(&RootCommand::AddReplica {
        node,
        founder: true,
    });
    root.run(&duty(node, NodeDuty::Fenced));
    let remove = removal(node, 0);
    let group = GroupId(1);
    let votes = Refusal::NodeVotes {
        node,
        group,
        replica,
    };
    assert_eq!(root.refused(&remove), votes);
    // A past replica that votes is a vote of the node.
    root.run(&RootCommand::AddReplica {
        node,
        founder: false,
    });
    assert_eq!(root.refused(&remove), votes);
    for group in [1, 2] {
        let voters = vec![ReplicaId(99)];
        let record = GroupRecord::new(GroupId(group), voters);
        root.run(&RootCommand::UpdateGroup(record));
    }
    assert_eq!(remove_buried(&mut root, node), RootOutcome::Done);
    assert_eq!(root.run(&remove), RootOutcome::Done, "again");
    let record = root.view().nodes[&node].clone();
    assert_eq!(record.state, NodeState::Tombstoned);
    assert!(!record.takes_data());
    let back = root.refused(&RootCommand::AddNode(join(0)));
    assert_eq!(back, Refusal::NodeTombstoned { node });
    let dead = root.refused(&duty(node, NodeDuty::Fenced));
    assert_eq!(dead, Refusal::NodeUnknown { node });
    let node = NodeId(77);
    let unknown = root.refused(&removal(node, 0));
    assert_eq!(unknown, Refusal::NodeUnknown { node });
}

#[test]
fn with_several_nodes_a_profile_needs_a_node_for_each_shard() {
    let two_drives = |n| {
        let mut join = join(n);
        join.drives.push(DriveJoin {
            ordinal: 1,
            capacity: 1 << 40,
        });
        RootCommand::AddNode(join)
    };
    let mut root = Root::ready(0, 5);
    root.run(&two_drives(0));
    root.bucket(&create("one", Some(profile("1+1"))));
    let wide = root.refused(&create("abc", Some(profile("2+1"))));
    let (width, drives) = (3, 2);
    assert_eq!(wide, Refusal::ProfileTooWide { width, drives });
    for n in 1..3 {
        root.run(&two_drives(n));
    }
    root.bucket(&create("three", Some(profile("2+1"))));
    let wide = root.refused(&create("abc", Some(profile("2+2"))));
    let (width, nodes) = (4, 3);
    assert_eq!(wide, Refusal::ProfileNeedsNodes { width, nodes });
    // A node on its way out does not count, a cordoned one does.
    let leaving = self::nodes(&root)[0];
    root.run(&duty(leaving, NodeDuty::Cordoned));
    root.bucket(&create("still-three", Some(profile("2+1"))));
    root.run(&RootCommand::AcceptNarrower { node: leaving });
    root.run(&duty(leaving, NodeDuty::Draining));
    let wide = root.refused(&create("abc", Some(profile("2+1"))));
    let (width, nodes) = (3, 2);
    assert_eq!(wide, Refusal::ProfileNeedsNodes { width, nodes });
}

#[test]
fn a_rebalance_is_begun_once_and_only_as_planned() {
    let mut root = Root::ready(2, 1);
    let rebalance = |on, if_epoch| RootCommand::Rebalance { on, if_epoch };
    let given = root.view().layout.epoch;
    root.run(&duty(nodes(&root)[0], NodeDuty::Cordoned));
    let epoch = root.view().layout.epoch;
    let refusal = root.refused(&rebalance(true, Some(given)));
    assert_eq!(refusal, Refusal::LayoutMoved { given, epoch });
    assert_eq!(root.view().layout.rebalance, 0);
    root.run(&rebalance(true, Some(epoch)));
    let since = root.view().layout.rebalance;
    assert!(since > 0);
    root.run(&rebalance(true, None));
    assert_eq!(root.view().layout.rebalance, since);
    root.run(&rebalance(false, None));
    assert_eq!(root.view().layout.rebalance, 0);
    assert_eq!(root.view().layout.epoch, epoch, "nothing was moved");
}

#[test]
fn too_few_nodes_for_a_bucket_are_left_only_where_narrower_stripes_are_accepted() {
    let mut root = Root::ready(4, 5);
    root.bucket(&create("small", Some(profile("1+2"))));
    root.bucket(&create("wide", Some(profile("2+2"))));
    let all = nodes(&root);
    root.run(&duty(all[0], NodeDuty::Cordoned));
    let refusal = root.refused(&duty(all[0], NodeDuty::Draining));
    let said = "would leave 3 nodes; profile 2+2 of bucket wide needs 4, or accept narrower stripes: \
                --allow-narrower";
    assert_eq!(refusal.to_string(), said);
    root.run(&RootCommand::AcceptNarrower { node: all[0] });
    assert_eq!(
        root.run(&duty(all[0], NodeDuty::Draining)),
        RootOutcome::Done
    );
    assert_eq!(
        root.run(&duty(all[0], NodeDuty::Draining)),
        RootOutcome::Done
    );
    // Parity does not shrink, whatever is accepted.
    root.run(&RootCommand::AcceptNarrower { node: all[1] });
    root.run(&duty(all[1], NodeDuty::Cordoned));
    let refusal = root.refused(&duty(all[1], NodeDuty::Draining));
    assert!(
        refusal
            .to_string()
            .ends_with("and with narrower stripes still 3: add a node first")
    );
    // A node that stays after all is asked about anew.
    assert_eq!(root.view().narrower, [all[0], all[1]].into());
    root.run(&duty(all[0], NodeDuty::Cordoned));
    root.run(&duty(all[0], NodeDuty::Serving));
    assert_eq!(root.view().narrower, [all[1]].into());
    root.run(&duty(all[0], NodeDuty::Cordoned));
    root.refused(&duty(all[0], NodeDuty::Draining));
}

/// Narrower stripes are accepted with the drain, or not at all: an acceptance that stays behind would count
/// when somebody removes the node without a word about stripes.
#[test]
fn narrower_stripes_are_accepted_only_with_the_drain() {
    use NodeDuty::{Cordoned, Draining, Serving};
    let mut root = Root::ready(4, 5);
    root.bucket(&create("wide", Some(profile("2+2"))));
    let all = nodes(&root);
    let node = all[0];
    let drain = |from, if_epoch| RootCommand::DrainNarrower {
        node,
        from,
        if_epoch,
    };
    let seen = root.view().layout.epoch;
    root.run(&duty(node, Cordoned));
    let epoch = root.view().layout.epoch;
    let moved = Refusal::LayoutMoved { given: seen, epoch };
    assert_eq!(root.refused(&drain(Cordoned, Some(seen))), moved);
    let (now, expected) = (Cordoned, Serving);
    let changed = Refusal::DutyChanged {
        node,
        now,
        expected,
    };
    assert_eq!(root.refused(&drain(Serving, None)), changed);
    assert!(root.view().narrower.is_empty(), "refused: nothing is noted");
    root.refused(&duty(node, Draining));
    assert_eq!(root.run(&drain(Cordoned, Some(epoch))), RootOutcome::Done);
    let view = root.view();
    assert_eq!(
        (view.nodes[&node].duty, view.narrower),
        (Draining, [node].into())
    );
    assert_eq!(root.run(&drain(Cordoned, None)), RootOutcome::Done, "again");
    // Parity does not shrink, whatever is accepted, and a refusal notes nothing.
    let node = all[1];
    root.run(&duty(node, Cordoned));
    root.refused(&RootCommand::DrainNarrower {
        node,
        from: Cordoned,
        if_epoch: None,
    });
    assert_eq!(root.view().narrower, [all[0]].into());
}

#[test]
fn a_slot_is_left_without_a_drive_only_when_its_node_goes() {
    let mut root = Root::ready(3, 1);
    let all = nodes(&root);
    let drives: Vec<_> = all.iter().map(|n| DriveId(n.0 << 8)).collect();
    let pool = PoolId(3);
    root.run(&RootCommand::CreatePool(PoolTable {
        width: 3,
        epoch: 1,
        rows: vec![PgRow::stable(1, drives.clone())],
        domains: Spread::default(),
    }));
    let vacate = |to| RootCommand::StartMoves {
        pool,
        moves: vec![SlotMove {
            pg: 0,
            slot: 0,
            from: drives[0],
            to,
        }],
    };
    let begun = |root: &mut Root, to| match root.run(&vacate(to)) {
        RootOutcome::Moved { applied, .. } => applied,
        other => panic!("{other:?}"),
    };
    let vacant = DriveId::vacant(0);
    assert_eq!(begun(&mut root, vacant), 0, "it serves");
    root.run(&duty(all[0], NodeDuty::Cordoned));
    root.run(&duty(all[0], NodeDuty::Draining));
    assert_eq!(
        begun(&mut root, vacant),
        0,
        "nobody accepted narrower stripes"
    );
    root.run(&RootCommand::AcceptNarrower { node: all[0] });
    assert_eq!(begun(&mut root, DriveId::vacant(1)), 0, "another slot's");
    assert_eq!(begun(&mut root, vacant), 1);
    for step in [
        |pool, pgs| RootCommand::CutMoves { pool, pgs },
        |pool, pgs| RootCommand::EndMoves { pool, pgs },
    ] {
        let epoch = root.view().pools[&pool].epoch;
        root.run(&step(pool, vec![(0, epoch)]));
    }
    assert_eq!(
        root.view().pools[&pool].rows[0].drives,
        [vacant, drives[1], drives[2]]
    );
    let node = all[0];
    root.run(&RootCommand::BuryNode {
        node,
        if_epoch: None,
    });
    let tombstone = root.view().tombstones[&node].epoch;
    assert_eq!(
        root.run(&RootCommand::RemoveNode { node, tombstone }),
        RootOutcome::Done
    );
    assert!(root.view().narrower.is_empty());
}
