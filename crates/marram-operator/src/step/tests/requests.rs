//! ClusterOperations, in their turn.

use marram_client::{DriveScrub, FullScrub, ScrubFindings, ScrubStage, ScrubStatus};

use super::*;
use crate::api::{OperationType, Request};
use crate::view::RequestView;

/// A ClusterOperation called `one`.
pub(crate) fn asks(kind: OperationType, node: Option<&str>) -> RequestView {
    RequestView {
        request: Request {
            name: "one".into(),
            uid: "u1".into(),
        },
        kind,
        node: node.map(Into::into),
        domain: None,
        accept_data_loss: false,
        over: false,
        deleting: false,
    }
}

fn about_domain(kind: OperationType, domain: &str) -> RequestView {
    RequestView {
        domain: Some(domain.into()),
        ..asks(kind, None)
    }
}

fn asked(nodes: i32, request: RequestView) -> View {
    resting(nodes).with(|view| view.requests = vec![request])
}

fn begun(view: View) -> View {
    let op = recorded(next(&view));
    assert!(op.request.is_some(), "{op:?}");
    view.at(op)
}

fn waits_for(view: &View) -> String {
    match verdict(view, &view.requests[0]) {
        Verdict::Waits(why) => why,
        other => panic!("it waits: {other:?}"),
    }
}

fn in_phase(view: View, phase: Phase) -> View {
    view.with(|view| view.status.operation.as_mut().expect("one").phase = phase)
}

#[test]
fn the_oldest_that_nothing_stands_against_comes_first() {
    let view = asked(3, about_domain(OperationType::DrainDomain, "z1")).with(|view| {
        let mut second = asks(OperationType::Rebalance, None);
        second.request.uid = "u2".into();
        view.requests.push(second);
    });
    // 2+1 needs three nodes: the first waits.
    let expected = "2 nodes would stay: bucket photos (2+1) needs 3 nodes; change its profile or set \
                    spec.scaleDown.allowNarrower";
    assert_eq!(waits_for(&view), expected);
    let op = recorded(next(&view));
    assert_eq!(
        (op.kind, op.phase),
        (OperationKind::Rebalance, Phase::Starting)
    );
    assert_eq!(op.request.expect("one").uid, "u2");
    // What the cluster needs by itself comes before, and what is over or goes does not come again.
    assert_eq!(
        recorded(next(&view.clone().wants(4))).kind,
        OperationKind::Grow
    );
    let over = view.with(|view| {
        view.requests[1].over = true;
        view.requests[0].deleting = true;
    });
    assert_eq!(next(&over), Step::Rest);
}

#[test]
fn what_is_held_for_want_of_nodes_is_not_in_the_way() {
    let held = asked(3, asks(OperationType::Scrub, None)).wants(2);
    assert_eq!(recorded(next(&held)).kind, OperationKind::Scrub);
}

#[test]
fn something_more_urgent_suspends_it() {
    let view = in_phase(
        begun(asked(3, asks(OperationType::Rebalance, None))),
        Phase::Moving,
    );
    let grows = recorded(next(&view.clone().wants(4)));
    assert_eq!(grows.kind, OperationKind::Grow);
    assert_eq!(
        grows.suspended[0].request.as_ref().expect("kept").name,
        "one"
    );
    let back = resumed(view.now, &grows).expect("it waited");
    assert_eq!(
        (back.kind, back.phase),
        (OperationKind::Rebalance, Phase::Moving)
    );
    assert!(back.request.is_some());
    // So is one that could not begin yet.
    let refused = in_phase(view.clone(), Phase::Starting).wants(4);
    assert_eq!(recorded(next(&refused)).kind, OperationKind::Grow);
    let sleeps = view.with(|view| view.spec.hibernate = true);
    assert_eq!(recorded(next(&sleeps)).kind, OperationKind::Hibernate);
}

#[test]
fn data_moves_until_it_is_balanced_or_not_wanted_to_be() {
    let view = begun(asked(3, asks(OperationType::Rebalance, None)));
    assert_eq!(acted(next(&view)), Act::Rebalance);
    let view = in_phase(view, Phase::Moving).with(|view| {
        view.cluster_mut().rebalancing = true;
        view.cluster_mut().placement_groups_to_move = 7;
    });
    let op = recorded(next(&view));
    assert_eq!(op.left, Some(7));
    let view = view.at(op);
    let deleted = view.clone().with(|view| view.requests.clear());
    assert_eq!(acted(next(&deleted)), Act::StopRebalance);
    let stopped = deleted.with(|view| view.cluster_mut().rebalancing = false);
    assert!(matches!(next(&stopped), Step::End(note) if note.contains("was deleted")));
    let done = view.with(|view| view.cluster_mut().rebalancing = false);
    assert!(matches!(next(&done), Step::End(note) if note.contains("holds its share")));
}

#[test]
fn one_that_is_over_is_not_done_again() {
    // The operator was killed between saying so there and here.
    let view = begun(asked(3, about_domain(OperationType::RestoreDomain, "z1")));
    let over = view.with(|view| view.requests[0].over = true);
    assert_eq!(next(&over), Step::End("one is over".into()));
}

fn drive(node: i32, ended: Option<u64>) -> DriveScrub {
    let found = ScrubFindings {
        damaged: 1,
        tickets: 1,
        bytes: GB / 4,
        ..ScrubFindings::default()
    };
    DriveScrub {
        node_id: u64::try_from(node).expect("not negative") + 1,
        node: format!("store-{node}"),
        drive_id: 1,
        stage: ScrubStage::Reading,
        since_ms: 0,
        found,
        last: ended.map(|seconds| FullScrub {
            began_ms: 0,
            ended_ms: seconds * 1000,
            found,
        }),
        total_bytes: GB,
        bytes_per_s: 0,
        seconds_left: None,
        stuck: false,
    }
}

#[test]
fn all_drives_are_read_after_it_began() {
    let view = begun(asked(3, asks(OperationType::Scrub, None)));
    assert_eq!(acted(next(&view)), Act::Scrub { node: None });
    let reads = |drives: Vec<DriveScrub>, away: &[&str]| {
        in_phase(view.clone(), Phase::Reading).with(|view| {
            view.scrub = Some(ScrubStatus {
                paused_since_ms: None,
                drives,
                scans: Vec::new(),
                comparisons: Vec::new(),
                away: away.iter().map(|&name| name.to_owned()).collect(),
            });
        })
    };
    // One was read before, one since: the view's time is 1,000,000 s.
    let some = reads(
        vec![drive(0, Some(999_999)), drive(1, Some(1_000_001))],
        &[],
    );
    let op = recorded(next(&some));
    assert_eq!(op.message, "1 of 2 drives are read");
    assert_eq!(
        op.left,
        Some(37),
        "three quarters of one of two, in per cent"
    );
    let all = vec![drive(0, Some(1_000_001)), drive(1, Some(1_000_002))];
    let away = recorded(next(&reads(all.clone(), &["store-2"])));
    assert!(
        away.message.ends_with("do not answer: store-2"),
        "{}",
        away.message
    );
    let Step::End(note) = next(&reads(all, &[])) else {
        panic!("read")
    };
    assert!(
        note.starts_with("2 drives are read: 2 runs were damaged"),
        "{note}"
    );
}

#[test]
fn a_scrub_of_one_node_is_about_its_drives_only() {
    let view = begun(asked(3, asks(OperationType::Scrub, Some("store-1"))));
    let node = Some("store-1".to_owned());
    assert_eq!(acted(next(&view)), Act::Scrub { node });
    let view = in_phase(view, Phase::Reading).with(|view| {
        view.scrub = Some(ScrubStatus {
            paused_since_ms: None,
            drives: vec![drive(0, None), drive(1, Some(1_000_001))],
            scans: Vec::new(),
            comparisons: Vec::new(),
            away: vec!["store-0".into()],
        });
    });
    assert!(matches!(next(&view), Step::End(_)));
    let unknown = asked(3, asks(OperationType::Scrub, Some("store-7")));
    assert_eq!(next(&unknown), Step::Rest);
}

#[test]
fn the_nodes_of_a_domain_are_emptied_and_come_back() {
    // store-1 and store-4 are in z1; four stay.
    let view = begun(asked(6, about_domain(OperationType::DrainDomain, "z1")));
    let op = view.status.operation.as_ref().expect("one");
    assert_eq!(op.pods, ["store-1", "store-4"]);
    assert_eq!(op.summary, "Drain store-1,store-4 Cordoning");
    let duty = |node: &str, duty| Act::SetDuty {
        node: node.into(),
        duty,
        narrower: false,
    };
    assert_eq!(acted(next(&view)), duty("2", NodeDuty::Cordoned));
    let all = |view: View, duty: NodeDuty, slots: u64| {
        view.with(|view| {
            for n in [1, 4] {
                view.node_mut(n).duty = duty;
                view.node_mut(n).slots = slots;
            }
        })
    };
    let view = all(view, NodeDuty::Cordoned, 100);
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Draining);
    let view = view.at(op);
    assert_eq!(acted(next(&view)), duty("2", NodeDuty::Draining));
    let view = all(view, NodeDuty::Draining, 40);
    assert_eq!(recorded(next(&view)).left, Some(80));
    // Whoever deletes it wants them back.
    let deleted = view.clone().with(|view| view.requests.clear());
    let back = recorded(next(&deleted));
    assert_eq!(back.phase, Phase::Uncordoning);
    assert_eq!(acted(next(&deleted.at(back))), duty("2", NodeDuty::Serving));
    let view = all(view, NodeDuty::Draining, 0);
    let op = recorded(next(&view));
    assert_eq!(op.phase, Phase::Verifying);
    let view = view.at(op);
    let busy = view.clone().with(|view| view.degrades("1 repair waits"));
    assert_eq!(
        recorded(next(&busy)).message,
        "they are empty, but: 1 repair waits"
    );
    assert!(matches!(next(&view), Step::End(note) if note.contains("are empty")));
    let restore = view.with(|view| {
        view.status.operation = None;
        view.requests = vec![about_domain(OperationType::RestoreDomain, "z1")];
    });
    let restore = begun(restore);
    assert_eq!(acted(next(&restore)), duty("2", NodeDuty::Serving));
    let restored = all(restore, NodeDuty::Serving, 0);
    assert_eq!(
        next(&restored),
        Step::End("store-1, store-4 take data".into())
    );
}

#[test]
fn a_domain_that_is_not_there_cannot_be_drained() {
    let view = asked(3, about_domain(OperationType::DrainDomain, "z9"));
    let expected = "no node is in the failure domain z9: there are z0, z1, z2";
    assert_eq!(
        verdict(&view, &view.requests[0]),
        Verdict::Fails(expected.into())
    );
    let full = asked(6, about_domain(OperationType::DrainDomain, "z1")).with(|view| {
        for n in 0..6 {
            view.node_mut(n).drives[0].free_bytes = GB;
            view.node_mut(n).drives[0].record_bytes = 3 * GB;
        }
    });
    assert!(
        waits_for(&full).contains("would be 112 % full"),
        "{}",
        waits_for(&full)
    );
}

#[test]
fn a_node_that_answers_is_given_up_when_somebody_says_so_and_the_data_bears_it() {
    let request = || asks(OperationType::ReplaceNode, Some("store-1"));
    let poor = asked(3, request()).with(|view| {
        view.cluster_mut()
            .redundancy
            .as_mut()
            .expect("said")
            .tolerated_losses = 0;
    });
    assert!(waits_for(&poor).starts_with("store-1 answers, and objects would be lost"));
    let busy = asked(3, request()).with(|view| view.degrades("1 repair waits"));
    assert_eq!(
        waits_for(&busy),
        "not all data is redundant: 1 repair waits"
    );
    let view = begun(asked(3, request()));
    let op = view.status.operation.as_ref().expect("one");
    assert_eq!(
        (op.kind, op.phase),
        (OperationKind::Replace, Phase::Fencing)
    );
    assert_eq!(op.claim_uid.as_deref(), Some("claim-1"));
    assert_eq!(acted(next(&view)), Act::GiveUp { node: "2".into() });
    // Another node may have gone since it began.
    let gone = view.clone().with(|view| view.degrades("store-2 is away"));
    assert_eq!(
        recorded(next(&gone)).message,
        "not all data is redundant: store-2 is away"
    );
    // Before it is given up, whoever deletes it keeps the node; after, it is replaced.
    let deleted = view.clone().with(|view| view.requests.clear());
    assert!(matches!(next(&deleted), Step::End(note) if note.ends_with("the node stays")));
    let fenced = deleted.with(|view| view.node_mut(1).duty = NodeDuty::Fenced);
    assert_eq!(recorded(next(&fenced)).phase, Phase::Clearing);
}

#[test]
fn data_is_given_up_only_with_somebodys_word() {
    let lost = |accept| {
        let request = RequestView {
            accept_data_loss: accept,
            ..asks(OperationType::ReplaceNode, Some("store-1"))
        };
        asked(3, request).with(|view| {
            for n in [1, 2] {
                view.dies(n, 5);
            }
            view.claims.get_mut(&1).expect("claim").lost = true;
            view.cluster_mut()
                .redundancy
                .as_mut()
                .expect("said")
                .tolerated_losses = -1;
        })
    };
    assert_eq!(held(next(&lost(false))).condition, "DataLossRisk");
    assert!(waits_for(&lost(false)).ends_with("or say spec.acceptDataLoss"));
    let op = recorded(next(&lost(true)));
    assert_eq!(
        (op.kind, op.pods[0].as_str()),
        (OperationKind::Replace, "store-1")
    );
    assert!(op.request.is_some());
}
