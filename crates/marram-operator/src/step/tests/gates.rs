//! What stands against a smaller cluster.

use super::*;
use crate::api::ScaleDown;

fn refusal(view: &View) -> (&'static str, String) {
    let hold = held(next(view));
    assert_eq!(hold.condition, "ScaleBlocked");
    (hold.reason, hold.message)
}

#[test]
fn a_profile_that_would_not_fit_blocks_with_its_numbers() {
    let view = resting(3).wants(2);
    let (reason, said) = refusal(&view);
    assert_eq!(reason, "ProfileTooWide");
    assert_eq!(
        said,
        "2 nodes are wanted and 2 would be next: bucket photos (2+1) needs 3 nodes; change its profile or \
         set spec.scaleDown.allowNarrower"
    );
    let allowed = view.with(|view| {
        view.spec.scale_down = Some(ScaleDown {
            allow_narrower: true,
            ..ScaleDown::default()
        });
    });
    assert_eq!(recorded(next(&allowed)).kind, OperationKind::Shrink);
}

#[test]
fn the_widest_bucket_is_named() {
    let view = resting(6).wants(4).with(|view| {
        let cluster = view.cluster.as_mut().expect("answers");
        for (name, profile, nodes) in [("a", "3+2", 5), ("b", "4+2", 6)] {
            let (name, profile) = (name.to_owned(), profile.to_owned());
            cluster.buckets.push(BucketNeed {
                name,
                profile,
                nodes,
            });
        }
    });
    assert!(refusal(&view).1.contains("bucket b (4+2) needs 6 nodes"));
}

#[test]
fn what_is_not_whole_does_not_shrink() {
    let view = resting(4).wants(3);
    let away = view.clone().with(|view| view.dies(0, 5));
    assert_eq!(
        refusal(&away),
        (
            "MembersAway",
            "1 of 4 members do not answer: store-0".into()
        )
    );
    let moving = view
        .clone()
        .with(|view| view.degrades("3 placement groups move"));
    let said = "not all data is redundant: 3 placement groups move";
    assert_eq!(refusal(&moving), ("NotRedundant", said.into()));
    let silent = view.with(|view| view.cluster = Err("connection refused".into()));
    assert_eq!(refusal(&silent).0, "ClusterUnavailable");
}

#[test]
fn nodes_that_stay_are_not_filled_up() {
    let full = resting(4).wants(3).with(|view| {
        for n in 0..4 {
            view.node_mut(n).drives[0].free_bytes = GB;
        }
    });
    let (reason, said) = refusal(&full);
    assert_eq!(reason, "TooFull");
    assert!(
        said.starts_with("without store-3 the other nodes would be 83 % full, and at most 80 %"),
        "{said}"
    );
}

#[test]
fn an_autoscaler_does_not_go_to_and_fro() {
    let view = resting(4).wants(3).with(|view| {
        view.status.scaled_at = Some(view.now - 100);
        view.spec.scale_down = Some(ScaleDown {
            cool_down_seconds: Some(600),
            ..ScaleDown::default()
        });
    });
    let (reason, said) = refusal(&view);
    assert_eq!(reason, "CoolDown");
    assert!(said.ends_with("4 stay for 500 s more"), "{said}");
    assert_eq!(
        recorded(next(&view.with(|view| view.now += 500))).kind,
        OperationKind::Shrink
    );
}

#[test]
fn the_last_node_stays() {
    let view = resting(1)
        .wants(1)
        .with(|view| view.spec.storage.nodes = Some(0));
    assert_eq!(refusal(&view).0, "LastNode");
}

#[test]
fn nodes_that_are_emptied_take_nothing_and_count_for_nothing() {
    let domain_goes = |full: u64| {
        resting(6).wants(5).with(|view| {
            for n in 0..6 {
                let drive = &mut view.node_mut(n).drives[0];
                drive.free_bytes = drive.capacity_bytes * (100 - full) / 100;
                drive.record_bytes = drive.capacity_bytes * full / 100;
            }
            view.node_mut(0).duty = NodeDuty::Draining;
            view.node_mut(1).duty = NodeDuty::Draining;
        })
    };
    // Three that serve would have the data of six, not of one more.
    let (reason, said) = refusal(&domain_goes(45));
    assert_eq!(reason, "TooFull");
    assert!(said.contains("would be 90 % full"), "{said}");
    assert_eq!(recorded(next(&domain_goes(30))).kind, OperationKind::Shrink);
    let wide = domain_goes(30).with(|view| {
        let cluster = view.cluster.as_mut().expect("it answers");
        cluster.buckets[0].nodes = 4;
    });
    assert_eq!(refusal(&wide).0, "ProfileTooWide");
}
