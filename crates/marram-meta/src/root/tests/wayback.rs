//! Replicas that lost their log, the version gate, a layout that rests, and what is known of backups.

use marram_placement::SlotMove;
use marram_types::RequestId;

use super::*;
use crate::{BackupNote, NodeDuty};

fn nodes(root: &Root) -> Vec<NodeId> {
    root.view().nodes.keys().copied().collect()
}

#[test]
fn a_node_that_lost_its_log_gets_a_fresh_replica_and_the_old_one_never_returns() {
    let mut root = Root::ready(2, 1);
    let node = nodes(&root)[1];
    let given = |outcome| match outcome {
        RootOutcome::ReplicaAdded { replica } => replica,
        other => panic!("{other:?}"),
    };
    let add = RootCommand::AddReplica {
        node,
        founder: false,
    };
    let lost = given(root.run(&add));
    let renew = RootCommand::RenewReplica { node, lost };
    let request = RequestId {
        client: 9,
        sequence: 1,
    };
    let mut entry = Envelope::seal(Some(request), 5_000, &renew);
    stamp(&mut entry, 1_000).unwrap();
    let fresh = given(root.apply(&entry));
    assert_ne!(fresh, lost);
    assert_eq!(given(root.apply(&entry)), fresh, "the same attempt, late");
    let record = root.view().nodes[&node].clone();
    assert_eq!(record.replica, Some(fresh));
    assert_eq!(record.replicas_past, [lost]);
    // Another start asks anew: nobody can know whether the last id was used.
    let next = given(root.run(&RootCommand::RenewReplica { node, lost: fresh }));
    let record = root.view().nodes[&node].clone();
    assert_eq!(
        (record.replica, record.replicas_past),
        (Some(next), vec![lost, fresh])
    );
    let unknown = NodeId(999);
    let nobody = RootCommand::RenewReplica {
        node: unknown,
        lost,
    };
    assert_eq!(
        root.refused(&nobody),
        Refusal::NodeUnknown { node: unknown }
    );
}

/// A cluster that was founded by the release before this one.
fn older() -> Root {
    let mut root = Root::empty();
    let RootCommand::Bootstrap { mut cluster, keys } = bootstrap() else {
        unreachable!("it is one");
    };
    cluster.version = COMMAND_VERSION - 1;
    root.run(&RootCommand::Bootstrap { cluster, keys });
    for n in 0..3 {
        root.run(&RootCommand::AddNode(join(n)));
    }
    root
}

#[test]
fn the_version_gate_rises_when_every_member_knows_the_version() {
    let mut root = older();
    let nodes = nodes(&root);
    let finalize = RootCommand::FinalizeVersion {
        version: COMMAND_VERSION,
    };
    let report = |node, version| RootCommand::ReportVersion { node, version };
    root.run(&report(nodes[0], COMMAND_VERSION));
    root.run(&report(nodes[1], COMMAND_VERSION - 1));
    let behind = |node, version| Refusal::NodeTooOld { node, version };
    let older = COMMAND_VERSION - 1;
    assert_eq!(root.refused(&finalize), behind(nodes[1], older));
    root.run(&report(nodes[1], COMMAND_VERSION));
    assert_eq!(
        root.refused(&finalize),
        behind(nodes[2], 0),
        "it never said"
    );
    assert_eq!(root.view().cluster.unwrap().version, older);
    // A node that was given up is not waited for.
    root.run(&RootCommand::SetDuty {
        node: nodes[2],
        duty: NodeDuty::Fenced,
    });
    assert_eq!(root.run(&finalize), RootOutcome::Done);
    let seen = root.view();
    assert_eq!(seen.cluster.unwrap().version, COMMAND_VERSION);
    assert_eq!(seen.versions[&nodes[1]], COMMAND_VERSION);
    let nobody = NodeId(999);
    let refused = root.refused(&report(nobody, 9));
    assert_eq!(refused, Refusal::NodeUnknown { node: nobody });
}

#[test]
fn no_move_takes_a_step_while_the_layout_is_held() {
    let mut root = Root::ready(3, 1);
    let drives: Vec<_> = root
        .view()
        .nodes
        .values()
        .map(|n| n.drives[0].drive)
        .collect();
    root.run(&RootCommand::CreatePool(PoolTable {
        width: 2,
        epoch: 1,
        rows: vec![PgRow::stable(1, drives[..2].to_vec())],
        domains: Spread::default(),
    }));
    let pool = PoolId(2);
    let start = RootCommand::StartMoves {
        pool,
        moves: vec![SlotMove {
            pg: 0,
            slot: 0,
            from: drives[0],
            to: drives[2],
        }],
    };
    root.run(&RootCommand::HoldLayout { until_ms: 1_500 });
    let held = Refusal::LayoutHeld { until_ms: 1_500 };
    let before = root.view().pools;
    assert_eq!(root.refused(&start), held);
    for step in [
        RootCommand::CutMoves { pool, pgs: vec![] },
        RootCommand::EndMoves { pool, pgs: vec![] },
        RootCommand::CancelMoves { pool, pgs: vec![] },
    ] {
        assert_eq!(root.refused(&step), held);
    }
    assert_eq!(root.view().pools, before);
    // It ends by itself ...
    let mut later = Envelope::seal_internal(&start);
    stamp(&mut later, 1_500).unwrap();
    let moved = root.apply(&later);
    assert!(
        matches!(moved, RootOutcome::Moved { applied: 1, .. }),
        "{moved:?}"
    );
    // ... and never lasts long, whatever is asked for.
    root.run(&RootCommand::HoldLayout { until_ms: u64::MAX });
    let Refusal::LayoutHeld { until_ms } = root.refused(&start) else {
        panic!("it is held");
    };
    assert!(until_ms <= 1_500 + 10 * 60 * 1000);
    root.run(&RootCommand::HoldLayout { until_ms: 0 });
    assert!(matches!(root.run(&start), RootOutcome::Moved { .. }));
}

#[test]
fn the_newest_backup_is_remembered_by_the_leaders_clock() {
    let mut root = Root::ready(1, 1);
    assert_eq!(root.view().upkeep.backup, None);
    let kept = |made_ms, kept_until_ms| BackupNote {
        made_ms,
        kept_until_ms,
        bytes: 5,
        root_index: 6,
    };
    let made = |made_ms| kept(made_ms, 80_000);
    let mut tell = |backup: BackupNote, now_ms| {
        let mut sealed = Envelope::seal_internal(&RootCommand::NoteBackup(backup));
        stamp(&mut sealed, now_ms).unwrap();
        assert_eq!(root.apply(&sealed), RootOutcome::Done);
        root.view()
    };
    let mut note = |made_ms, now_ms| tell(made(made_ms), now_ms);
    assert_eq!(note(400, 1_000).upkeep.backup, Some(made(400)));
    assert_eq!(note(300, 1_100).upkeep.backup, Some(made(400)), "older");
    let view = note(9_000, 1_200);
    let dated = view.upkeep.backup;
    assert_eq!(dated, Some(made(1_200)), "not of the future");
    assert_eq!(
        ClusterView::decode(&view.encode()).unwrap().upkeep.backup,
        dated
    );
    // What it names was let go; a repeated note of it keeps that.
    let let_go = tell(kept(1_200, 1_300), 1_300).upkeep.backup;
    assert_eq!(let_go, Some(kept(1_200, 1_300)));
    let again = tell(made(1_200), 1_400).upkeep.backup;
    assert_eq!(again, let_go);
    // Kept for long, and then another one for a short time: the groups keep both.
    tell(kept(1_500, 90_000), 1_500);
    let short = tell(kept(1_600, 1_700), 1_600).upkeep.backup;
    assert_eq!(short, Some(kept(1_600, 90_000)));
}
