//! Pods that are replaced by such of another template.

use super::*;

fn changed(nodes: i32) -> View {
    resting(nodes).with(|view| {
        view.set.as_mut().expect("set").update_revision = "store-b".into();
        view.template_hash = "t2".into();
    })
}

fn begun(nodes: i32) -> View {
    let view = changed(nodes);
    let op = recorded(next(&view));
    assert_eq!(
        (op.kind, op.phase),
        (OperationKind::Upgrade, Phase::Choosing)
    );
    assert_eq!(op.proven_revision.as_deref(), Some("store-a"));
    view.at(op)
}

fn fresh(ordinal: i32) -> PodView {
    PodView {
        revision: "store-b".into(),
        uid: format!("new-{ordinal}"),
        created_at: 1_000_000,
        ..pod(ordinal)
    }
}

#[test]
fn pods_restart_one_by_one_the_leaders_domain_last() {
    let view = begun(6);
    // store-0 leads the root group, and store-3 is in its domain.
    let mut order = Vec::new();
    let mut view = view;
    for _ in 0..6 {
        let op = recorded(next(&view));
        assert_eq!(op.phase, Phase::Restarting);
        let name = op.pods[0].clone();
        view = view.at(op);
        let Act::Restart { pods, .. } = acted(next(&view)) else {
            panic!("restart")
        };
        assert_eq!(pods[0].0, name);
        let ordinal = view.names.ordinal(&name).expect("a pod");
        order.push(ordinal);
        let index = usize::try_from(ordinal).expect("not negative");
        view = view.with(|view| {
            view.pods.insert(ordinal, fresh(ordinal));
            view.node_mut(index).condition.maintenance_until_ms = Some(1);
        });
        // It is excused no longer before the next is asked for.
        assert_eq!(acted(next(&view)), Act::Readmit(vec![name]));
        view = view.with(|view| view.node_mut(index).condition.maintenance_until_ms = None);
        let op = recorded(next(&view));
        assert_eq!(op.phase, Phase::Choosing);
        view = view.at(op);
    }
    assert_eq!(order, [1, 4, 2, 5, 3, 0]);
    assert!(matches!(next(&view), Step::End(_)));
}

#[test]
fn the_next_pod_waits_until_all_data_is_redundant() {
    let view = begun(3).with(|view| view.degrades("5 extents wait"));
    assert_eq!(
        recorded(next(&view)).message,
        "before store-1 restarts: 5 extents wait"
    );
    let mut op = operation(OperationKind::Upgrade, Phase::Restarting, 3, 3);
    (op.pods, op.template_hash) = (vec!["store-1".into()], Some("t2".into()));
    let view = changed(3).at(op).with(|view| {
        view.pods.insert(1, fresh(1));
        view.degrades("5 extents wait");
    });
    assert_eq!(
        recorded(next(&view)).message,
        "store-1 is back: 5 extents wait"
    );
}

#[test]
fn a_pod_that_does_not_come_back_gives_the_upgrade_up() {
    let mut op = operation(OperationKind::Upgrade, Phase::Restarting, 3, 3);
    (op.pods, op.template_hash) = (vec!["store-1".into()], Some("t2".into()));
    op.proven_revision = Some("store-a".into());
    let view = changed(3).at(op.clone()).with(|view| {
        let trouble = Some("ImagePullBackOff: no such image".to_owned());
        view.pods.insert(
            1,
            PodView {
                ready: false,
                trouble,
                ..fresh(1)
            },
        );
        view.dies(1, 100);
    });
    assert_eq!(
        recorded(next(&view)).message,
        "store-1 starts: ImagePullBackOff: no such image"
    );
    let late = view.with(|view| view.now += 901);
    let Act::PutBack { reason, revision } = acted(next(&late)) else {
        panic!("put back")
    };
    assert_eq!(revision, "store-a");
    assert_eq!(
        reason,
        "store-1 did not come back within 900 s: ImagePullBackOff: no such image"
    );
    op.proven_revision = None;
    assert_eq!(held(next(&late.at(op))).reason, "NothingProven");
}

#[test]
fn a_broken_pod_is_replaced_first_and_holds_nothing_up() {
    // The template before was put back: the pod of the failed one is stale now.
    let view = resting(3).with(|view| {
        view.pods.insert(
            1,
            PodView {
                ready: false,
                ..fresh(1)
            },
        );
        view.dies(1, 1000);
    });
    let op = recorded(next(&view));
    assert_eq!(op.kind, OperationKind::Upgrade);
    let act = acted(next(&view.at(op)));
    assert_eq!(
        act,
        Act::DeletePod {
            pod: "store-1".into(),
            uid: "new-1".into(),
            force: false
        }
    );
}

#[test]
fn nothing_is_stale_before_the_controller_has_seen_the_template() {
    let view = changed(3).with(|view| view.set.as_mut().expect("set").is_current = false);
    assert_eq!(next(&view), Step::Rest);
}

#[test]
fn a_node_more_goes_before_the_next_restart() {
    let view = begun(3).wants(4);
    let op = recorded(next(&view));
    assert_eq!(
        (op.kind, op.suspended[0].kind),
        (OperationKind::Grow, OperationKind::Upgrade)
    );
}
