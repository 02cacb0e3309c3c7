//! Nodes that are lost.

use super::*;
use crate::api::{Replacement, ReplacementMode};

/// One whose pod came back with a new volume.
fn emptied(nodes: i32, ordinal: i32) -> View {
    resting(nodes).with(|view| {
        view.dies(usize::try_from(ordinal).expect("not negative"), 30);
        let pod = view.pods.get_mut(&ordinal).expect("pod");
        (pod.waits_for_token, pod.ready) = (true, false);
        view.claims.get_mut(&ordinal).expect("claim").node_id = None;
    })
}

#[test]
fn a_lost_volume_is_fenced_before_its_name_is_given_again() {
    let view = emptied(4, 1);
    let op = recorded(next(&view));
    assert_eq!(
        (op.kind, op.phase),
        (OperationKind::Replace, Phase::Fencing)
    );
    assert_eq!(
        (op.node_id.as_deref(), op.summary.as_str()),
        (Some("2"), "Replace store-1 Fencing")
    );
    let view = view.at(op);
    let act = acted(next(&view));
    assert_eq!(
        act,
        Act::SetDuty {
            node: "2".into(),
            duty: NodeDuty::Fenced,
            narrower: false
        }
    );
    let view = view.with(|view| view.node_mut(1).duty = NodeDuty::Fenced);
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Clearing);
    let view = view.at(op);
    // The claim is new already.
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Joining);
    let view = view.at(op);
    assert_eq!(
        acted(next(&view)),
        Act::Mint {
            pod: "store-1".into(),
            zone: "z1".into()
        }
    );
    let view = view.with(|view| {
        let mut new = node(1);
        new.node_id = 9;
        view.cluster_mut().nodes.push(new);
    });
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Rebuilding);
    let view = view.at(op);
    assert_eq!(
        recorded(next(&view)).message,
        "100 slots of the old store-1 are rebuilt"
    );
    let view = view.with(|view| view.node_mut(1).slots = 0);
    assert_eq!(
        acted(next(&view)),
        Act::RemoveNode {
            node: "2".into(),
            narrower: false
        }
    );
    let view = view.with(|view| drop(view.cluster_mut().nodes.remove(1)));
    assert!(matches!(next(&view), Step::End(_)));
}

#[test]
fn a_volume_on_a_host_that_is_gone_goes_with_its_pod() {
    let view = resting(4).with(|view| {
        view.dies(1, 5);
        view.claims.get_mut(&1).expect("claim").host = Some("n9".into());
        view.pods.get_mut(&1).expect("pod").host = Some("n9".into());
    });
    let mut op = recorded(next(&view));
    assert_eq!(op.claim_uid.as_deref(), Some("claim-1"));
    op.phase = Phase::Clearing;
    let view = view.at(op);
    let act = acted(next(&view));
    assert_eq!(
        act,
        Act::DeleteClaim {
            claim: "data-store-1".into(),
            uid: "claim-1".into()
        }
    );
    let view = view.with(|view| view.claims.get_mut(&1).expect("claim").deleting = true);
    let act = acted(next(&view));
    assert_eq!(
        act,
        Act::DeletePod {
            pod: "store-1".into(),
            uid: "pod-1".into(),
            force: true
        }
    );
}

#[test]
fn silence_alone_is_waited_for() {
    let view = resting(4).with(|view| view.dies(1, 600));
    assert_eq!(next(&view), Step::Rest);
    let long = view.with(|view| view.dies(1, 1800));
    assert_eq!(recorded(next(&long)).kind, OperationKind::Replace);
    let manual = long.clone().with(|view| {
        let mode = Some(ReplacementMode::Manual);
        view.spec.replacement = Some(Replacement {
            mode,
            after_seconds: None,
        });
    });
    assert_eq!(next(&manual), Step::Rest);
    let out = resting(4).with(|view| {
        view.dies(1, 5);
        view.hosts.get_mut("n1").expect("host").out_of_service = true;
    });
    assert_eq!(recorded(next(&out)).kind, OperationKind::Replace);
    // One that comes back in the last moment is kept.
    let op = recorded(next(&long));
    assert!(matches!(next(&resting(4).at(op)), Step::End(_)));
}

#[test]
fn what_may_be_the_last_copy_is_not_given_up() {
    let view = emptied(4, 1).with(|view| {
        view.cluster_mut()
            .redundancy
            .as_mut()
            .expect("said")
            .tolerated_losses = -1;
    });
    let hold = held(next(&view));
    assert_eq!(
        (hold.condition, hold.reason),
        ("DataLossRisk", "TooManyNodesGone")
    );
    assert!(
        hold.message.contains("marram admin node fence store-1"),
        "{}",
        hold.message
    );
}

#[test]
fn a_loss_goes_before_everything_and_the_rest_goes_on_after_it() {
    let mut op = operation(OperationKind::Shrink, Phase::Draining, 4, 3);
    (op.pods, op.node_id) = (vec!["store-3".into()], Some("4".into()));
    let view = emptied(4, 1).wants(3).at(op);
    let urgent = recorded(next(&view));
    assert_eq!(
        (urgent.kind, urgent.suspended.len()),
        (OperationKind::Replace, 1)
    );
    let back = resumed(view.now, &urgent).expect("waits");
    assert_eq!(
        (back.kind, back.phase, back.node_id.as_deref()),
        (OperationKind::Shrink, Phase::Draining, Some("4"))
    );
    assert_eq!(resumed(view.now, &back), None);
    // The node that is emptied dies: it goes on going.
    let mut op = operation(OperationKind::Shrink, Phase::Draining, 4, 3);
    (op.pods, op.node_id) = (vec!["store-3".into()], Some("4".into()));
    let view = resting(4).wants(3).at(op).with(|view| view.dies(3, 5000));
    assert!(!matches!(next(&view), Step::Record(op) if op.kind == OperationKind::Replace));
    // Not while a pod is just going.
    let op = operation(OperationKind::Shrink, Phase::Shrinking, 4, 3);
    let view = emptied(4, 1).wants(3).at(op);
    assert_eq!(acted(next(&view)), Act::Shrink { from: 4, to: 3 });
    // A pod that is to join is no loss.
    let mut op = operation(OperationKind::Grow, Phase::Joining, 3, 4);
    op.pods = vec!["store-3".into()];
    let view = resting(4).at(op).with(|view| {
        view.cluster_mut().nodes.truncate(3);
        let pod = view.pods.get_mut(&3).expect("pod");
        (pod.waits_for_token, pod.ready) = (true, false);
    });
    assert!(matches!(acted(next(&view)), Act::Mint { .. }));
}
