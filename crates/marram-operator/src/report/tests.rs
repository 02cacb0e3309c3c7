use super::*;
use crate::api::Phase;
use crate::step::tests::{operation, pod, resting};
use crate::step::{Step, next};

fn condition<'a>(status: &'a MarramClusterStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    let found = status
        .conditions
        .iter()
        .find(|c| c.type_ == kind)
        .expect("said");
    (
        found.status.as_str(),
        found.reason.as_str(),
        found.message.as_str(),
    )
}

#[test]
fn at_rest_all_is_well() {
    let status = report(&resting(3), Some(4), None);
    assert_eq!(
        (status.phase, status.ready_nodes, status.nodes),
        (Some(ClusterPhase::Ready), 3, Some(3))
    );
    assert_eq!(
        (status.version.as_str(), status.message.as_str()),
        ("1.0", "as it should be")
    );
    assert_eq!(status.capacity.as_ref().expect("known").used, "25%");
    assert_eq!(condition(&status, "Ready").0, "True");
    assert_eq!(condition(&status, "FullyRedundant").0, "True");
    for kind in [
        "Stalled",
        "Reconciling",
        "ScaleBlocked",
        "DataLossRisk",
        "UpgradePaused",
    ] {
        assert_eq!(condition(&status, kind).0, "False", "{kind}");
    }
    for condition in &status.conditions {
        assert!(!condition.message.is_empty() && !condition.reason.is_empty());
        assert_eq!(condition.observed_generation, Some(4));
    }
}

#[test]
fn the_same_said_again_changes_nothing() {
    let view = resting(3);
    let first = report(&view, Some(1), None);
    let later = view.with(|view| {
        view.status = first.clone();
        view.now += 60;
    });
    assert_eq!(report(&later, Some(1), None), first);
    let away = later.with(|view| view.dies(1, 5));
    let status = report(&away, Some(1), None);
    assert_eq!(
        condition(&status, "Ready"),
        ("False", "NodesAway", "2 of 3 nodes answer")
    );
    assert_eq!(status.phase, Some(ClusterPhase::Degraded));
    let time = |status: &MarramClusterStatus, kind: &str| {
        let found = status
            .conditions
            .iter()
            .find(|c| c.type_ == kind)
            .expect("said");
        found.last_transition_time.clone()
    };
    assert_ne!(time(&status, "Ready"), time(&first, "Ready"));
    assert_eq!(time(&status, "Stalled"), time(&first, "Stalled"));
}

#[test]
fn what_is_held_is_said_with_its_reason() {
    let view = resting(3).wants(2);
    let Step::Hold(hold) = next(&view) else {
        panic!("held")
    };
    let status = report(&view, Some(1), Some(&hold));
    let (holds, reason, message) = condition(&status, "ScaleBlocked");
    assert_eq!((holds, reason), ("True", "ProfileTooWide"));
    assert_eq!(message, status.message);
    assert_eq!(condition(&status, "Ready").0, "True", "it serves");
}

#[test]
fn what_is_under_way_is_said() {
    let mut op = operation(OperationKind::Grow, Phase::Joining, 3, 4);
    op.message = "store-3 joins".into();
    let view = resting(3).at(op).with(|view| {
        view.pods.insert(3, pod(3));
    });
    let status = report(&view, Some(1), None);
    assert_eq!(status.phase, Some(ClusterPhase::Changing));
    let said = condition(&status, "Reconciling");
    assert_eq!(said, ("True", "Grow", "Grow 3->4 Joining: store-3 joins"));
}

#[test]
fn a_cluster_that_does_not_answer_is_not_known_to_be_redundant() {
    let view = resting(3).with(|view| view.cluster = Err("connection refused".into()));
    let status = report(&view, Some(1), None);
    assert_eq!(status.phase, Some(ClusterPhase::Unavailable));
    assert_eq!(condition(&status, "FullyRedundant").0, "Unknown");
    assert_eq!(condition(&status, "Ready").1, "Unreachable");
}

#[test]
fn full_drives_are_said_in_the_clusters_words() {
    let view = resting(3).with(|view| {
        let redundancy = view.cluster_mut().redundancy.as_mut().expect("said");
        redundancy.writable = false;
        let words = "New objects of 1+2 cannot be written: too few drives can take data.";
        redundancy.sentences = vec!["All 3 nodes answer.".into(), words.into()];
    });
    let status = report(&view, Some(1), None);
    assert_eq!(status.phase, Some(ClusterPhase::Unavailable));
    assert!(
        status.message.starts_with("New objects of 1+2"),
        "{}",
        status.message
    );
    assert_eq!(condition(&status, "Ready").1, "NotWritable");
}

#[test]
fn gateways_are_said_where_there_are_any() {
    let view = resting(3);
    let of = |status: &MarramClusterStatus| {
        let found = status
            .conditions
            .iter()
            .find(|c| c.type_ == "GatewaysReady");
        found.map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
    };
    assert_eq!(of(&report(&view, Some(1), None)), None);
    let with = |wanted, ready, serving, trouble: Option<&str>| {
        let view = view.clone().with(|view| {
            view.spec.image = Some("marram:2".into());
            view.spec.gateway = wanted;
            view.status.gateway = Some(crate::api::GatewayStatus {
                replicas: 2,
                ready_replicas: ready,
                serving,
                image: "marram:1".into(),
            });
            view.gateways.trouble = trouble.map(Into::into);
        });
        of(&report(&view, Some(1), None)).expect("said")
    };
    let on = Some(crate::api::GatewaySpec {
        enabled: true,
        ..Default::default()
    });
    let (holds, reason, message) = with(on.clone(), 1, false, Some("quota exceeded"));
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "Trouble"));
    let expected =
        "1 of 2 gateways are ready; the Service goes to the storage pods: quota exceeded";
    assert_eq!(message, expected);
    assert_eq!(with(on.clone(), 1, true, None).1, "Starting");
    let (holds, reason, message) = with(on, 2, true, None);
    assert_eq!((holds.as_str(), reason.as_str()), ("True", "StorageFirst"));
    assert!(message.contains("keep the image marram:1"), "{message}");
    assert_eq!(with(None, 0, false, None).1, "Going");
}

#[test]
fn a_cluster_that_sleeps_is_no_cluster_in_trouble() {
    let mut op = operation(OperationKind::Hibernate, Phase::Asleep, 3, 0);
    op.message = "no pod runs, and 3 volumes are kept".into();
    let view = resting(3).at(op).with(|view| {
        view.spec.hibernate = true;
        view.cluster = Err("no pod is ready".into());
        view.pods.clear();
        view.set.as_mut().expect("set").replicas = 0;
    });
    let status = report(&view, Some(1), None);
    assert_eq!(status.phase, Some(ClusterPhase::Hibernated));
    assert_eq!(status.message, "no pod runs, and 3 volumes are kept");
    assert_eq!(condition(&status, "Hibernated").0, "True");
    let (holds, reason, _) = condition(&status, "Ready");
    assert_eq!((holds, reason), ("False", "Asleep"));
    assert_eq!(condition(&status, "Reconciling").1, "Asleep");
    assert_eq!(condition(&status, "FullyRedundant").1, "Asleep");
    assert_eq!(condition(&status, "Stalled").0, "False");
}

#[test]
fn what_stands_against_sleep_is_said() {
    let view = resting(3).with(|view| {
        view.spec.hibernate = true;
        view.degrades("2 repairs wait");
    });
    let Step::Hold(hold) = next(&view) else {
        panic!("held")
    };
    let status = report(&view, Some(1), Some(&hold));
    assert_eq!(condition(&status, "HibernationBlocked").0, "True");
    let (holds, reason, message) = condition(&status, "Hibernated");
    assert_eq!((holds, reason), ("False", "NotRedundant"));
    assert!(message.ends_with("2 repairs wait"), "{message}");
    let grows = resting(3)
        .at(operation(OperationKind::Grow, Phase::Joining, 3, 4))
        .with(|view| view.spec.hibernate = true);
    let status = report(&grows, Some(1), None);
    let (_, reason, message) = condition(&status, "Hibernated");
    assert_eq!(reason, "Waiting");
    assert!(message.contains("Grow 3->4 Joining"), "{message}");
    let awake = report(&resting(3), Some(1), None);
    assert_eq!(condition(&awake, "Hibernated").1, "Awake");
    assert!(
        !awake
            .conditions
            .iter()
            .any(|c| c.type_ == "HibernationBlocked")
    );
}

#[test]
fn how_far_the_ca_is_replaced_is_said() {
    use crate::api::{AuthorityState, AuthorityStatus, CertificateStatus};
    let said = |state, next_step_at| {
        let view = resting(3).with(|view| {
            view.status.certificate = Some(CertificateStatus {
                not_after: view.now + 1000,
                renew_at: view.now + 500,
                authority: Some(AuthorityStatus {
                    not_after: view.now + 9000,
                    state,
                    next_step_at,
                    waits_for: String::new(),
                }),
                trouble: String::new(),
            });
        });
        let status = report(&view, Some(1), None);
        let (holds, reason, message) = condition(&status, "CertificatesReady");
        assert_eq!((holds, reason), ("True", "Good"));
        message.to_owned()
    };
    assert!(!said(AuthorityState::AtRest, None).contains("CA"));
    let announced = said(AuthorityState::NextTrusted, Some(86_400));
    assert!(
        announced.ends_with("trusted already, and issues from 1970-01-02T00:00:00Z"),
        "{announced}"
    );
    let unpublished = said(AuthorityState::NextTrusted, None);
    assert!(
        unpublished.ends_with("issues when this is published for long enough"),
        "{unpublished}"
    );
    let switched = said(AuthorityState::PreviousTrusted, Some(86_400));
    assert!(
        switched.ends_with("not trusted any more from 1970-01-02T00:00:00Z"),
        "{switched}"
    );
}
