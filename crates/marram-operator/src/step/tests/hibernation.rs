//! A cluster is put to sleep and comes back.

use super::*;

fn tired() -> View {
    resting(3).with(|view| view.spec.hibernate = true)
}

fn excused(view: View) -> View {
    view.with(|view| {
        for node in &mut view.cluster_mut().nodes {
            node.condition.maintenance_until_ms = Some(1);
        }
    })
}

fn hibernating(phase: Phase) -> Operation {
    operation(OperationKind::Hibernate, phase, 3, 0)
}

fn asleep() -> View {
    tired().at(hibernating(Phase::Asleep)).with(|view| {
        view.cluster = Err("no pod is ready".into());
        view.pods.clear();
        view.set.as_mut().expect("set").replicas = 0;
    })
}

#[test]
fn gateways_stop_first_then_all_is_proven_then_pods_stop_one_by_one() {
    let op = recorded(next(&tired()));
    assert_eq!(
        (op.kind, op.phase),
        (OperationKind::Hibernate, Phase::Closing)
    );
    assert_eq!(
        (op.from, op.to, op.summary.as_str()),
        (3, 0, "Hibernate 3->0 Closing")
    );
    assert_eq!(op.proven_revision.as_deref(), Some("store-a"));
    assert_eq!(op.template_hash.as_deref(), Some("t1"));
    let view = tired().at(op).with(|view| {
        view.gateways.replicas = Some(0);
        view.gateways.pods = vec![pod(0)];
    });
    assert_eq!(recorded(next(&view)).message, "1 gateways end their calls");
    let view = view.with(|view| view.gateways.pods.clear());
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Verifying);
    // What was written last is not redundant yet.
    let view = view.at(op);
    let early = view.clone().with(|view| view.degrades("1 extent waits"));
    assert!(recorded(next(&early)).message.ends_with("1 extent waits"));
    let Act::Excuse(members) = acted(next(&view)) else {
        panic!("excused")
    };
    assert_eq!(members, ["store-0", "store-1", "store-2"]);
    let view = excused(view);
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Stopping);
    let mut view = view.at(op);
    for (from, to) in [(3, 2), (2, 1), (1, 0)] {
        assert_eq!(acted(next(&view)), Act::Shrink { from, to });
        view.set.as_mut().expect("set").replicas = to;
        // The others do not answer any more: they stop all the same.
        view.cluster = Err("no quorum".into());
    }
    assert_eq!(recorded(next(&view)).message, "3 pods stop");
    let view = view.with(|view| view.pods.clear());
    assert_eq!(recorded(next(&view)).phase, Phase::Asleep);
}

#[test]
fn it_is_refused_in_sentences() {
    let refused = |view: View| {
        let hold = held(next(&view));
        assert_eq!(hold.condition, "HibernationBlocked");
        (hold.reason, hold.message)
    };
    let away = refused(tired().with(|view| view.dies(1, 5)));
    assert_eq!(away.0, "MembersAway");
    assert!(
        away.1.starts_with("1 of 3 members do not answer: store-1;"),
        "{}",
        away.1
    );
    let degraded = refused(tired().with(|view| view.degrades("2 repairs wait")));
    assert_eq!(degraded.0, "NotRedundant");
    let silent = refused(tired().with(|view| view.cluster = Err("timeout".into())));
    assert_eq!(silent.0, "ClusterUnavailable");
}

#[test]
fn what_mends_the_cluster_comes_before_its_sleep() {
    let lost = tired().with(|view| {
        view.dies(1, 5);
        view.claims.get_mut(&1).expect("claim").lost = true;
    });
    assert_eq!(recorded(next(&lost)).kind, OperationKind::Replace);
    // It is not redundant because one node of two is too few: one more mends that.
    let narrow = tired().wants(4).with(|view| view.degrades("too few nodes"));
    assert_eq!(recorded(next(&narrow)).kind, OperationKind::Grow);
    let ready = tired().wants(4);
    assert_eq!(recorded(next(&ready)).kind, OperationKind::Hibernate);
    // What is under way goes on to its end.
    let grows = tired().at(operation(OperationKind::Grow, Phase::Joining, 3, 4));
    assert_ne!(recorded(next(&grows)).kind, OperationKind::Hibernate);
}

#[test]
fn whoever_changes_their_mind_is_heard() {
    let early = resting(3).at(hibernating(Phase::Verifying));
    assert_eq!(next(&early), Step::End("the cluster stays awake".into()));
    // Who was excused by then is not any more.
    let Act::Readmit(members) = acted(next(&excused(early))) else {
        panic!("readmitted")
    };
    assert_eq!(members.len(), 3);
    let half_way = resting(3).at(hibernating(Phase::Stopping));
    assert_eq!(recorded(next(&half_way)).phase, Phase::Waking);
}

#[test]
fn nothing_else_is_done_while_it_sleeps() {
    let said = recorded(next(&asleep()));
    assert!(
        said.message
            .starts_with("no pod runs, and 3 volumes are kept"),
        "{}",
        said.message
    );
    let view = asleep().at(said).wants(9).with(|view| {
        view.template_hash = "t2".into();
        view.claims.get_mut(&1).expect("claim").lost = true;
    });
    assert_eq!(next(&view), Step::Rest);
}

#[test]
fn it_comes_back_with_all_of_its_nodes() {
    let view = asleep().with(|view| view.spec.hibernate = false);
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Waking);
    let view = view.at(op);
    assert_eq!(recorded(next(&view)).message, "3 pods are made");
    let view = view.with(|view| {
        view.set.as_mut().expect("set").replicas = 3;
        view.pods = resting(3).pods;
    });
    assert!(
        recorded(next(&view))
            .message
            .starts_with("the cluster comes up")
    );
    let view = excused(view.with(|view| view.cluster = resting(3).cluster));
    let starting = view.clone().with(|view| view.dies(2, 5));
    let Act::Readmit(members) = acted(next(&starting)) else {
        panic!("readmitted")
    };
    assert_eq!(members, ["store-0", "store-1"]);
    let view = view.with(|view| view.cluster = resting(3).cluster);
    assert_eq!(next(&view), Step::End("all 3 nodes are back".into()));
}

#[test]
fn who_does_not_come_back_is_waited_for_so_long_and_then_replaced() {
    let waking = |now: i64| {
        resting(3).at(hibernating(Phase::Waking)).with(|view| {
            view.now += now;
            view.dies(1, 5);
        })
    };
    assert_eq!(
        recorded(next(&waking(60))).message,
        "these come back: store-1"
    );
    let Step::End(note) = next(&waking(901)) else {
        panic!("it ends")
    };
    assert_eq!(
        note,
        "the cluster is awake, without 1 of its 3 nodes: store-1"
    );
    // A volume that was lost meanwhile is found at once.
    let lost = waking(60).with(|view| view.claims.get_mut(&1).expect("claim").lost = true);
    let op = recorded(next(&lost));
    assert_eq!(op.kind, OperationKind::Replace);
    assert_eq!(op.suspended[0].kind, OperationKind::Hibernate);
    let back = resumed(lost.now, &op).expect("it waited");
    assert_eq!(
        (back.kind, back.phase, back.from),
        (OperationKind::Hibernate, Phase::Waking, 3)
    );
}

#[test]
fn what_was_proven_long_ago_is_proven_again_before_the_first_pod_stops() {
    let stopping = |view: View| view.at(hibernating(Phase::Stopping));
    let ready = stopping(excused(tired()));
    assert_eq!(acted(next(&ready)), Act::Shrink { from: 3, to: 2 });
    let hole = ready.with(|view| view.degrades("a volume was lost"));
    assert_eq!(recorded(next(&hole)).phase, Phase::Verifying);
    assert_eq!(recorded(next(&stopping(tired()))).phase, Phase::Verifying);
    // Gateways that served while something else was done end their calls first.
    let served = tired().at(hibernating(Phase::Verifying));
    let served = served.with(|view| view.gateways.pods = vec![pod(0)]);
    assert_eq!(recorded(next(&served)).phase, Phase::Closing);
}

#[test]
fn a_cluster_that_cannot_wake_can_be_mended_by_its_specification() {
    let waking = resting(3).at(hibernating(Phase::Waking)).with(|view| {
        view.cluster = Err("no pod is ready".into());
    });
    assert!(matches!(next(&waking), Step::Record(_)), "it is waited for");
    let late = waking.with(|view| view.now += 901);
    let Step::End(note) = next(&late) else {
        panic!("it is over")
    };
    assert!(note.ends_with("after its sleep: no pod is ready"), "{note}");
    // Another image: pods that never came up make room for such of it.
    let mended = late.with(|view| {
        view.status.operation = None;
        view.set.as_mut().expect("set").update_revision = "store-b".into();
        view.template_hash = "t2".into();
        view.pods.values_mut().for_each(|pod| pod.ready = false);
    });
    let op = recorded(next(&mended));
    assert_eq!(op.kind, OperationKind::Upgrade);
    let Act::DeletePod { pod, .. } = acted(next(&mended.at(op))) else {
        panic!("a pod goes")
    };
    assert_eq!(pod, "store-0");
}
