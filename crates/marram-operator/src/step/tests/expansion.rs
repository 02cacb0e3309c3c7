//! Volumes get larger.

use super::*;

fn larger() -> View {
    resting(3).with(|view| {
        view.spec.storage.volume.size = "8Gi".into();
        view.classes = [("fast".to_owned(), true)].into();
    })
}

fn expanding(phase: Phase) -> View {
    larger().at(operation(OperationKind::Expand, phase, 3, 3))
}

fn told(view: View, capacity: &[&str]) -> View {
    view.with(|view| {
        for (claim, capacity) in view.claims.values_mut().zip(capacity) {
            claim.requested = Some("8Gi".into());
            claim.capacity = Some((*capacity).to_owned());
        }
    })
}

#[test]
fn claims_are_told_volumes_follow_and_the_statefulset_is_made_anew() {
    let op = recorded(next(&larger()));
    assert_eq!(
        (op.kind, op.phase),
        (OperationKind::Expand, Phase::Resizing)
    );
    assert_eq!(op.summary, "Expand 3->3 Resizing");
    let view = larger().at(op);
    let resize = Act::Resize {
        claim: "data-store-0".into(),
        uid: "claim-0".into(),
        size: "8Gi".into(),
    };
    assert_eq!(acted(next(&view)), resize);
    // What the kubelet writes is bytes.
    let view = told(view, &["8589934592", "4Gi", "8Gi"]);
    let op = recorded(next(&view));
    assert_eq!(
        op.message,
        "2 of 3 volumes have 8Gi; these grow: data-store-1"
    );
    let view = told(view.at(op), &["8Gi", "8Gi", "8Gi"]);
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Templating);
    let view = view.at(op);
    assert_eq!(
        acted(next(&view)),
        Act::Orphan {
            uid: "set-1".into()
        }
    );
    // The operator is killed here: the next one makes it, with as many replicas as before.
    let gone = view.clone().with(|view| view.set = None);
    assert!(recorded(next(&gone)).message.contains("made anew"));
    let count = crate::replicas::replicas(None, gone.status.operation.as_ref(), Some(3));
    assert_eq!(count, 3);
    let made = gone.with(|view| {
        view.set = resting(3).set;
        view.set.as_mut().expect("set").claim_size = Some("8Gi".into());
    });
    let fresh = made
        .clone()
        .with(|view| view.set.as_mut().expect("set").is_current = false);
    assert!(
        recorded(next(&fresh))
            .message
            .contains("takes its pods over")
    );
    assert_eq!(next(&made), Step::End("all volumes have 8Gi".into()));
    let done = made.with(|view| view.status.operation = None);
    assert_eq!(next(&done), Step::Rest);
}

#[test]
fn what_cannot_grow_is_said_and_holds_nothing_else_up() {
    let refused = |change: &dyn Fn(&mut View)| {
        let hold = held(next(&larger().with(|view| change(view))));
        assert_eq!(hold.condition, "ExpansionBlocked");
        (hold.reason, hold.message)
    };
    let (reason, message) = refused(&|view| view.classes = [("fast".to_owned(), false)].into());
    assert_eq!(reason, "ClassCannotExpand");
    let begins = "data-store-0 is to have 8Gi, and its StorageClass fast does not say \
                  allowVolumeExpansion: true";
    assert!(message.starts_with(begins), "{message}");
    assert_eq!(refused(&|view| view.classes.clear()).0, "ClassMissing");
    let classless = |view: &mut View| view.claims.get_mut(&0).expect("claim").class = None;
    assert_eq!(refused(&classless).0, "NoClass");
    let grows = larger().wants(4).with(|view| view.classes.clear());
    assert_eq!(recorded(next(&grows)).kind, OperationKind::Grow);
}

#[test]
fn larger_volumes_come_before_more_nodes_and_after_lost_ones() {
    assert_eq!(
        recorded(next(&larger().wants(4))).kind,
        OperationKind::Expand
    );
    let lost = |view: View| {
        view.with(|view| {
            view.dies(1, 5);
            view.claims.get_mut(&1).expect("claim").lost = true;
        })
    };
    assert_eq!(recorded(next(&lost(larger()))).kind, OperationKind::Replace);
    let op = recorded(next(&lost(expanding(Phase::Resizing))));
    assert_eq!((op.kind, op.suspended.len()), (OperationKind::Replace, 1));
    // Volumes of nodes that were emptied are left alone, and the size may be written otherwise.
    let same = resting(3).with(|view| {
        view.spec.storage.volume.size = "4096Mi".into();
        let retired = ClaimView {
            retired: true,
            requested: Some("1Gi".into()),
            ..claim(3)
        };
        view.claims.insert(3, retired);
    });
    assert_eq!(next(&same), Step::Rest);
}

#[test]
fn a_volume_that_waits_for_its_pod_gets_it_restarted_once() {
    let view = |now: i64| {
        told(expanding(Phase::Resizing), &["8Gi", "4Gi", "4Gi"]).with(|view| {
            view.now += now;
            let claim = view.claims.get_mut(&1).expect("claim");
            claim.resize_pending = true;
        })
    };
    assert!(
        matches!(next(&view(60)), Step::Record(_)),
        "it may grow without"
    );
    let Act::Restart { pods, margin } = acted(next(&view(301))) else {
        panic!("restarted")
    };
    assert_eq!((pods[0].0.as_str(), margin), ("store-1", 0));
    let busy = view(301).with(|view| view.degrades("1 repair waits"));
    assert!(matches!(next(&busy), Step::Record(_)));
    // It is back: it is excused no longer, and not restarted again.
    let back = view(400).with(|view| {
        view.pods.get_mut(&1).expect("pod").created_at = view.now - 50;
        view.node_mut(1).condition.maintenance_until_ms = Some(1);
    });
    assert_eq!(acted(next(&back)), Act::Readmit(vec!["store-1".into()]));
    let readmitted = back.with(|view| view.node_mut(1).condition.maintenance_until_ms = None);
    assert!(matches!(next(&readmitted), Step::Record(_)));
}

#[test]
fn a_volume_that_does_not_grow_is_said() {
    let view = told(expanding(Phase::Resizing), &["8Gi", "8Gi", "4Gi"]).with(|view| {
        let trouble = Some("quota of the array".to_owned());
        view.claims.get_mut(&2).expect("claim").resize_trouble = trouble;
    });
    let op = recorded(next(&view));
    assert_eq!(op.message, "data-store-2 does not grow: quota of the array");
    let late = view.at(op).with(|view| view.now += 901);
    let hold = held(next(&late));
    assert_eq!((hold.condition, hold.reason), ("Stalled", "ResizeStalled"));
    assert!(
        hold.message
            .starts_with("data-store-2 has not got 8Gi for 901 s")
    );
}

#[test]
fn full_drives_are_mended_before_what_waits_for_them_goes_on() {
    for (kind, phase) in [
        (OperationKind::Upgrade, Phase::Choosing),
        (OperationKind::Shrink, Phase::Draining),
    ] {
        let view = larger().wants(2).at(operation(kind, phase, 3, 2));
        let op = recorded(next(&view));
        assert_eq!((op.kind, op.suspended.len()), (OperationKind::Expand, 1));
        assert_eq!(op.suspended[0].kind, kind);
        let cannot = view.with(|view| view.classes.clear());
        let step = next(&cannot);
        let other = matches!(&step, Step::Record(op) if op.kind == OperationKind::Expand);
        assert!(!other, "{step:?}");
    }
}

#[test]
fn what_does_not_grow_holds_nothing_up() {
    let stuck = told(expanding(Phase::Resizing), &["8Gi", "8Gi", "4Gi"]).wants(4);
    let soon = stuck.clone().with(|view| view.now += 100);
    assert_eq!(recorded(next(&soon)).kind, OperationKind::Expand);
    let late = stuck.with(|view| view.now += 901);
    let op = recorded(next(&late));
    assert_eq!((op.kind, op.suspended.len()), (OperationKind::Grow, 1));
    // And is not begun again beside itself.
    let choosing = operation(OperationKind::Upgrade, Phase::Choosing, 3, 3);
    let upgrades = late.wants(3).with(|view| {
        let expands = view.status.operation.take().expect("under way");
        let mut choosing = choosing;
        choosing.suspended = vec![suspended(&expands)];
        view.status.operation = Some(choosing);
    });
    let step = next(&upgrades);
    let again = matches!(&step, Step::Record(op) if op.kind == OperationKind::Expand);
    assert!(!again, "{step:?}");
}
