//! Nodes that are given up and taken back, and pauses.

use marram_types::NodeId;
use marram_types::caps::PAUSE_MS_MAX;

use super::Root;
use crate::{
    Absence, Envelope, Lost, NodeDuty, NodeRecord, Pause, Refusal, RootCommand, RootOutcome, stamp,
};

fn at(root: &mut Root, time_ms: u64, command: &RootCommand) -> RootOutcome {
    let mut entry = Envelope::seal_internal(command);
    stamp(&mut entry, time_ms).unwrap();
    root.apply(&entry)
}

fn record(root: &Root, node: NodeId) -> NodeRecord {
    root.view().nodes[&node].clone()
}

fn two() -> (Root, NodeId, NodeId) {
    let root = Root::ready(2, 1);
    let nodes: Vec<NodeId> = root.view().nodes.into_keys().collect();
    (root, nodes[0], nodes[1])
}

#[test]
fn a_node_that_is_given_up_loses_its_votes_then_its_slots_and_gets_all_of_it_back() {
    let (mut root, node, other) = two();
    let give_up = |rebuild| RootCommand::GiveUp { node, rebuild };
    assert_eq!(at(&mut root, 2_000, &give_up(false)), RootOutcome::Done);
    let held = record(&root, node);
    let lost = Lost {
        since_ms: 2_000,
        rebuild: false,
    };
    assert_eq!(held.absence.lost, Some(lost));
    assert!(!held.takes_data() && !held.keeps_votes());
    assert!(held.keeps_slots() && !held.is_gone());

    at(&mut root, 3_000, &give_up(true));
    at(&mut root, 4_000, &give_up(false));
    let held = record(&root, node);
    let lost = Lost {
        rebuild: true,
        ..lost
    };
    assert_eq!(
        held.absence.lost,
        Some(lost),
        "the first time, and no way back"
    );
    assert!(held.is_gone() && !held.keeps_slots());
    assert_eq!(held.duty, NodeDuty::Serving);
    assert_eq!(record(&root, other).absence, Absence::default());

    let back = RootCommand::TakeBack { node };
    assert_eq!(root.run(&back), RootOutcome::Done);
    assert_eq!(root.run(&back), RootOutcome::Done, "again");
    assert!(record(&root, node).takes_data() && record(&root, node).keeps_votes());
    let node = NodeId(77);
    let unknown = Refusal::NodeUnknown { node };
    assert_eq!(root.refused(&RootCommand::TakeBack { node }), unknown);
    let give_up = RootCommand::GiveUp {
        node,
        rebuild: true,
    };
    assert_eq!(root.refused(&give_up), unknown);
}

#[test]
fn what_is_fenced_is_given_up_for_good_already() {
    let (mut root, node, _) = two();
    let duty = NodeDuty::Fenced;
    root.run(&RootCommand::SetDuty { node, duty });
    let rebuild = true;
    root.run(&RootCommand::GiveUp { node, rebuild });
    assert_eq!(record(&root, node).absence, Absence::default());
    assert!(record(&root, node).is_gone());
}

#[test]
fn maintenance_protects_until_its_time_has_come() {
    let (mut root, node, other) = two();
    let begin = RootCommand::Pause {
        nodes: vec![node, other],
        pause: Pause::Maintenance,
        ttl_ms: 500,
    };
    at(&mut root, 2_000, &begin);
    let until_ms = 2_500;
    for node in [node, other] {
        let absence = record(&root, node).absence;
        assert_eq!(absence.maintenance_until_ms, Some(until_ms));
        assert!(absence.leads_not());
        assert!(record(&root, node).takes_data(), "it serves meanwhile");
    }
    let rebuild = true;
    let excused = root.refused(&RootCommand::GiveUp { node, rebuild });
    assert_eq!(excused, Refusal::NodeExcused { node, until_ms });

    let expire = |only| RootCommand::EndPause {
        node,
        pause: Pause::Maintenance,
        only,
    };
    at(&mut root, 2_499, &expire(Some(until_ms)));
    assert!(record(&root, node).absence.leads_not(), "too early");
    // Prolonged meanwhile: the old end is not its end.
    at(&mut root, 2_499, &begin);
    at(&mut root, 2_600, &expire(Some(until_ms)));
    assert_eq!(
        record(&root, node).absence.maintenance_until_ms,
        Some(2_999)
    );
    at(&mut root, 2_999, &expire(Some(2_999)));
    assert_eq!(record(&root, node).absence, Absence::default());
    root.run(&RootCommand::GiveUp { node, rebuild });
    assert!(record(&root, node).is_gone());
    let end = RootCommand::EndPause {
        node: other,
        pause: Pause::Maintenance,
        only: None,
    };
    root.run(&end);
    assert_eq!(record(&root, other).absence, Absence::default());
}

#[test]
fn pauses_are_all_or_none_bounded_and_apart() {
    let (mut root, node, _) = two();
    let pause = |nodes: Vec<NodeId>, pause| RootCommand::Pause {
        nodes,
        pause,
        ttl_ms: u64::MAX,
    };
    let stranger = NodeId(77);
    let refused = root.refused(&pause(vec![node, stranger], Pause::Leading));
    assert_eq!(refused, Refusal::NodeUnknown { node: stranger });
    assert_eq!(record(&root, node).absence, Absence::default());
    at(&mut root, 5_000, &pause(vec![node], Pause::Leading));
    let absence = record(&root, node).absence;
    assert_eq!(absence.leads_not_until_ms, Some(5_000 + PAUSE_MS_MAX));
    assert_eq!(absence.until_ms(Pause::Maintenance), None);
    assert!(absence.leads_not());
}
