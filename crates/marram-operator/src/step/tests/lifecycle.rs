//! How clusters begin, grow and shrink.

use super::*;

fn empty(nodes: u16) -> View {
    resting(0).wants(nodes).with(|view| {
        view.set = None;
        view.status = MarramClusterStatus::default();
        view.keys_exist = false;
        view.cluster = Err("nobody is there".into());
    })
}

#[test]
fn a_cluster_is_founded_once_by_the_pod_that_was_written_down() {
    let view = empty(3);
    let op = recorded(next(&view));
    assert_eq!(
        (op.kind, op.phase, op.to),
        (OperationKind::Create, Phase::Keys, 3)
    );
    let view = view.at(op);
    assert_eq!(acted(next(&view)), Act::MakeKeys);
    // Keys that this operation made are no sign of an earlier cluster.
    let view = view.with(|view| view.keys_exist = true);
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Starting);
    let view = view.at(op).with(|view| {
        view.set = resting(3).set;
        view.pods = [(2, pod(2))].into();
        view.claims = resting(3).claims;
    });
    let op = recorded(next(&view));
    assert_eq!(
        (op.phase, op.pods.clone()),
        (Phase::Founding, vec!["store-2".to_owned()])
    );
    // Others start meanwhile: the same pod is asked.
    let view = view.at(op).with(|view| view.pods = resting(3).pods);
    let Act::Found { pod, zone, nodes } = acted(next(&view)) else {
        panic!("found")
    };
    assert_eq!((pod.as_str(), zone.as_str(), nodes), ("store-2", "z2", 3));
    // The id is written down: it is never founded again, whatever the cluster says.
    let view = view.with(|view| view.status.cluster_id = Some("c1".into()));
    assert_eq!(recorded(next(&view)).phase, Phase::Joining);
}

#[test]
fn members_get_tokens_with_the_zone_of_their_host_and_lose_them() {
    let op = operation(OperationKind::Create, Phase::Joining, 0, 3);
    let view = resting(3)
        .at(op)
        .with(|view| view.cluster_mut().nodes.truncate(1));
    let mint = acted(next(&view));
    assert_eq!(
        mint,
        Act::Mint {
            pod: "store-1".into(),
            zone: "z1".into()
        }
    );
    let view = view.with(|view| {
        view.tokens = [
            ("store-1".to_owned(), view.now),
            ("store-2".to_owned(), view.now),
        ]
        .into();
    });
    let waiting = recorded(next(&view));
    assert_eq!(waiting.message, "2 join: store-1, store-2");
    let old = view.clone().with(|view| view.now += 3100);
    assert!(
        matches!(acted(next(&old)), Act::Mint { .. }),
        "an old token is made anew"
    );
    let view = view.with(|view| view.cluster_mut().nodes = (0..3).map(node).collect());
    let drop = acted(next(&view));
    assert_eq!(
        drop,
        Act::DropTokens(vec!["store-1".into(), "store-2".into()])
    );
    let view = view.with(|view| view.tokens.clear());
    assert!(matches!(next(&view), Step::End(_)));
}

#[test]
fn volumes_that_are_there_are_taken_over_and_never_founded() {
    let view = empty(3).with(|view| view.claims = resting(4).claims);
    let hold = held(next(&view));
    assert_eq!(
        (hold.condition, hold.reason),
        ("DataLossRisk", "KeysMissing")
    );
    assert!(
        hold.message.starts_with("4 volumes of an earlier cluster"),
        "{}",
        hold.message
    );
    let view = view.with(|view| view.keys_exist = true);
    let op = recorded(next(&view));
    assert_eq!(
        (op.phase, op.to, op.node_id.as_deref()),
        (Phase::Starting, 4, Some("adopted"))
    );
    let view = view.at(op).with(|view| view.pods = resting(4).pods);
    let waiting = recorded(next(&view));
    assert!(waiting.message.contains("comes up"), "{}", waiting.message);
    let view = view.with(|view| view.cluster = resting(4).cluster);
    assert_eq!(
        acted(next(&view)),
        Act::Adopt {
            cluster_id: "c1".into()
        }
    );
    // Keys alone found nothing either.
    let view = empty(3).with(|view| view.keys_exist = true);
    let op = recorded(next(&view));
    let waiting = recorded(next(&view.at(op)));
    assert!(
        waiting.message.contains("delete the Secret to found"),
        "{}",
        waiting.message
    );
}

#[test]
fn a_cluster_without_any_volume_is_not_founded_again() {
    let view = resting(3).with(|view| {
        view.cluster = Err("nobody".into());
        for pod in view.pods.values_mut() {
            pod.waits_for_token = true;
        }
    });
    let hold = held(next(&view));
    assert_eq!(hold.reason, "AllVolumesEmpty");
}

#[test]
fn one_node_more() {
    let view = resting(3).wants(5);
    let op = recorded(next(&view));
    assert_eq!((op.kind, op.from, op.to), (OperationKind::Grow, 3, 4));
    assert_eq!(op.summary, "Grow 3->4 Clearing");
    let view = view.at(op);
    let with_old = view.clone().with(|view| {
        view.claims.insert(
            3,
            ClaimView {
                retired: true,
                ..claim(3)
            },
        );
    });
    let act = acted(next(&with_old));
    assert_eq!(
        act,
        Act::DeleteClaim {
            claim: "data-store-3".into(),
            uid: "claim-3".into()
        }
    );
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Starting);
    let view = view
        .at(op)
        .with(|view| view.set.as_mut().expect("set").replicas = 4);
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Joining);
    let view = view.at(op).with(|view| {
        let new = PodView {
            waits_for_token: true,
            ready: false,
            ..pod(3)
        };
        view.pods.insert(3, new);
    });
    let mint = acted(next(&view));
    assert_eq!(
        mint,
        Act::Mint {
            pod: "store-3".into(),
            zone: "z0".into()
        }
    );
    let view = view.with(|view| view.cluster_mut().nodes.push(node(3)));
    assert!(matches!(next(&view), Step::End(_)));
}

#[test]
fn a_pod_without_a_place_goes_again_when_it_is_not_wanted_any_more() {
    let op = operation(OperationKind::Grow, Phase::Joining, 3, 4);
    let view = resting(4).wants(4).at(op).with(|view| {
        view.cluster_mut().nodes.truncate(3);
        let new = view.pods.get_mut(&3).expect("pod");
        (new.host, new.ready) = (None, false);
        new.trouble = Some("0/3 nodes are available".into());
    });
    assert_eq!(
        recorded(next(&view)).message,
        "store-3: 0/3 nodes are available"
    );
    let op = recorded(next(&view.clone().wants(3)));
    assert_eq!(
        (op.kind, op.phase, op.from, op.to),
        (OperationKind::Shrink, Phase::Shrinking, 4, 3)
    );
    let with_token = view.wants(3).with(|view| {
        view.tokens.insert("store-3".into(), view.now);
    });
    assert!(
        recorded(next(&with_token)).kind == OperationKind::Grow,
        "it may be joining just now"
    );
}

#[test]
fn one_node_less_is_empty_before_its_pod_goes() {
    let view = resting(4).wants(3);
    let op = recorded(next(&view));
    assert_eq!(
        (op.kind, op.phase, op.node_id.as_deref()),
        (OperationKind::Shrink, Phase::Cordoning, Some("4"))
    );
    let duty = |view: &View| match acted(next(view)) {
        Act::SetDuty { node, duty, .. } => (node, duty),
        other => panic!("{other:?}"),
    };
    let view = view.at(op);
    assert_eq!(duty(&view), ("4".into(), NodeDuty::Cordoned));
    let view = view.with(|view| view.node_mut(3).duty = NodeDuty::Cordoned);
    let op = recorded(next(&view));
    let view = view.at(op);
    assert_eq!(duty(&view), ("4".into(), NodeDuty::Draining));
    let view = view.with(|view| view.node_mut(3).duty = NodeDuty::Draining);
    let op = recorded(next(&view));
    assert_eq!((op.phase, op.left), (Phase::Draining, Some(100)));
    let view = view.at(op).with(|view| view.node_mut(3).slots = 0);
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Verifying);
    let moving = view
        .clone()
        .at(op.clone())
        .with(|view| view.degrades("2 extents wait"));
    assert!(recorded(next(&moving)).message.contains("2 extents wait"));
    let view = view.at(op);
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Removing);
    let view = view.at(op);
    assert_eq!(
        acted(next(&view)),
        Act::RemoveNode {
            node: "4".into(),
            narrower: false
        }
    );
    let view = view.with(|view| view.cluster_mut().nodes.truncate(3));
    let op = recorded(next(&view));
    let view = view.at(op);
    assert_eq!(acted(next(&view)), Act::Shrink { from: 4, to: 3 });
    let view = view.with(|view| view.set.as_mut().expect("set").replicas = 3);
    assert_eq!(recorded(next(&view)).message, "store-3 stops");
    let view = view.with(|view| drop(view.pods.remove(&3)));
    let op = recorded(next(&view));
    let view = view.at(op);
    let Act::Retire { claim, delete, .. } = acted(next(&view)) else {
        panic!("retire")
    };
    assert_eq!((claim.as_str(), delete), ("data-store-3", false));
    let view = view.with(|view| view.claims.get_mut(&3).expect("claim").retired = true);
    assert!(matches!(next(&view), Step::End(_)));
}

#[test]
fn a_node_that_was_to_go_stays_when_it_is_wanted_again() {
    let mut op = operation(OperationKind::Shrink, Phase::Draining, 4, 3);
    (op.pods, op.node_id) = (vec!["store-3".into()], Some("4".into()));
    let view = resting(4)
        .at(op.clone())
        .with(|view| view.node_mut(3).duty = NodeDuty::Draining);
    let cancel = recorded(next(&view));
    assert_eq!(
        (cancel.kind, cancel.phase),
        (OperationKind::Cancel, Phase::Uncordoning)
    );
    let view = view.at(cancel);
    let act = acted(next(&view));
    assert_eq!(
        act,
        Act::SetDuty {
            node: "4".into(),
            duty: NodeDuty::Serving,
            narrower: false
        }
    );
    let view = view.with(|view| view.node_mut(3).duty = NodeDuty::Serving);
    assert_eq!(next(&view), Step::End("store-3 stays".into()));
    // Once it is being removed there is no way back: it goes, and a new one comes.
    op.phase = Phase::Removing;
    let view = resting(4)
        .at(op)
        .with(|view| view.node_mut(3).duty = NodeDuty::Draining);
    assert!(matches!(acted(next(&view)), Act::RemoveNode { .. }));
}

#[test]
fn a_drain_without_progress_is_said() {
    let mut op = operation(OperationKind::Shrink, Phase::Draining, 4, 3);
    (op.node_id, op.left) = (Some("4".into()), Some(100));
    let view = resting(4)
        .wants(3)
        .at(op)
        .with(|view| view.node_mut(3).duty = NodeDuty::Draining);
    let later = view.clone().with(|view| view.now += 901);
    let hold = held(next(&later));
    assert_eq!((hold.condition, hold.reason), ("Stalled", "DrainStalled"));
    assert!(
        hold.message.contains("still has 100 slots"),
        "{}",
        hold.message
    );
    let less = later.with(|view| view.node_mut(3).slots = 99);
    assert_eq!(recorded(next(&less)).left, Some(99));
}
