//! Situations and the steps that follow from them.

use marram_meta::{ClusterRecord, DriveRecord, NodeDuty};
use marram_types::caps::{EVENTS_KEPT_BYTES, EVENTS_KEPT_MS};
use marram_types::{BucketName, ClusterId, DriveId};

use super::*;
use crate::consensus::Members;
use crate::observed::{EventsKept, Fences};

fn node(id: u64) -> NodeRecord {
    NodeRecord {
        node: NodeId(id),
        name: format!("node-{id}"),
        mesh_addr: format!("127.0.0.1:{}", 7000 + id),
        api_addr: format!("127.0.0.1:{}", 8000 + id),
        public_key: [u8::try_from(id).expect("small"); 32],
        zone: "z".into(),
        drives: vec![DriveRecord::new(DriveId(100 + id), 0, 1 << 40)],
        replica: Some(ReplicaId(id)),
        replicas_past: Vec::new(),
        state: NodeState::Active,
        duty: NodeDuty::Serving,
        absence: marram_meta::Absence::default(),
    }
}

fn cluster(nodes: u64, expected: u16) -> ClusterView {
    ClusterView {
        index: 10,
        cluster: Some(ClusterRecord {
            cluster: ClusterId(7),
            name: "test".into(),
            version: 1,
            object_groups: 8,
            expected_nodes: expected,
            default_profile: None,
        }),
        nodes: (1..=nodes).map(|id| (NodeId(id), node(id))).collect(),
        ..ClusterView::default()
    }
}

fn members(
    voters: std::ops::RangeInclusive<u64>,
    learners: std::ops::RangeInclusive<u64>,
) -> Members {
    let following = voters
        .clone()
        .chain(learners.clone())
        .map(ReplicaId)
        .collect();
    Members {
        voters: voters.map(ReplicaId).collect(),
        learners: learners.map(ReplicaId).collect(),
        following,
        settled: true,
    }
}

const KEPT: EventsKept = EventsKept {
    for_ms: EVENTS_KEPT_MS,
    bytes: EVENTS_KEPT_BYTES,
};

fn steps(view: &ClusterView, root: &Members, quiet_s: u64, fences: &Fences) -> Vec<Step> {
    steps_keeping(KEPT, view, root, quiet_s, fences)
}

fn steps_keeping(
    events: EventsKept,
    view: &ClusterView,
    root: &Members,
    quiet_s: u64,
    fences: &Fences,
) -> Vec<Step> {
    let quiet = Duration::from_secs(quiet_s);
    let up = view.nodes.values().filter_map(|n| n.replica).collect();
    next_steps(&Observed {
        view,
        root,
        own: root.voters[0],
        up: &up,
        quiet,
        fences,
        events,
    })
    .expect("a pool can be planned")
}

/// Carries out everything but membership on the view and the fences, as the groups would.
fn settle(view: &mut ClusterView, root: &Members, fences: &mut Fences) {
    for _ in 0..20 {
        let todo = steps(view, root, 0, fences);
        if todo.is_empty() {
            return;
        }
        for step in todo {
            apply(view, fences, step);
        }
    }
    panic!("the steps do not come to an end");
}

fn apply(view: &mut ClusterView, fences: &mut Fences, step: Step) {
    match step {
        Step::Decide(RootCommand::CreateGroups(groups)) => {
            view.groups = groups.into_iter().map(|g| (g.group, g)).collect();
        }
        Step::Decide(RootCommand::UpdateGroup(record)) => {
            view.groups.insert(record.group, record);
        }
        Step::Decide(RootCommand::SetDefaultProfile(profile)) => {
            view.cluster.as_mut().expect("there is one").default_profile = Some(profile);
        }
        Step::Decide(RootCommand::CreatePool(table)) => {
            view.pools.insert(table.pool(), table);
        }
        Step::FenceRows { group, pool, rows } => {
            let held: Vec<_> = rows
                .iter()
                .map(|(index, row)| (*index, row.epoch))
                .collect();
            fences.note_rows(group, pool, &held);
        }
        Step::KeepEvents {
            group,
            for_ms,
            bytes,
        } => fences.note_events(group, for_ms, bytes),
        Step::FenceBucket { group, record } => {
            fences.note_bucket(group, record.bucket, record.epoch, record.state, 0);
        }
        Step::TellTombstone { group, tombstone } => {
            fences.note_tombstone(group, tombstone.node, tombstone.epoch);
        }
        Step::BucketActive { bucket, .. } => {
            let record = view
                .buckets
                .values_mut()
                .find(|b| b.bucket == bucket)
                .expect("known");
            record.state = BucketState::Active;
        }
        other => panic!("not expected here: {other:?}"),
    }
}

#[test]
fn six_nodes_come_up_in_order() {
    let mut view = cluster(6, 6);
    let fences = &mut Fences::default();
    let first = steps(&view, &members(1..=1, 0..=0), 0, fences);
    assert_eq!(first[0], Step::AddRootLearner(ReplicaId(2)));

    let grown = steps(&view, &members(1..=1, 2..=6), 0, fences);
    assert_eq!(
        grown[0],
        Step::SetRootVoters((1..=5).map(ReplicaId).collect())
    );

    let root = members(1..=5, 6..=6);
    settle(&mut view, &root, fences);
    assert_eq!(
        view.groups.len(),
        9,
        "eight object groups and the root group"
    );
    assert!(view.groups.values().all(|g| g.voters.len() == 5));
    let default = view.cluster.as_ref().expect("there is one").default_profile;
    assert_eq!(default, Some("4+2".parse().expect("valid")));
    let widths: Vec<u8> = view.pools.values().map(|p| p.width).collect();
    assert_eq!(widths, [3, 6], "whole copies and stripes");
}

/// The half of a change that a leader left behind.
#[test]
fn an_unfinished_change_is_finished_before_anything_else_changes() {
    let unsettled = Members {
        settled: false,
        ..members(1..=3, 4..=5)
    };
    let todo = steps(&cluster(6, 9), &unsettled, 0, &Fences::default());
    let voters = (1..=3).map(ReplicaId).collect();
    assert_eq!(todo, [Step::SetRootVoters(voters)]);
}

/// A node that was given a replica id and died before it ran.
#[test]
fn a_replica_that_never_ran_gets_no_vote_and_no_group() {
    let mut root = members(1..=1, 2..=6);
    root.following.retain(|r| *r != ReplicaId(3));
    let todo = steps(&cluster(6, 6), &root, 60, &Fences::default());
    let voters = [1, 2, 4, 5, 6].map(ReplicaId).to_vec();
    assert_eq!(todo, [Step::SetRootVoters(voters)]);
}

#[test]
fn groups_wait_for_the_expected_nodes_but_not_for_ever() {
    let root = members(1..=5, 0..=0);
    let fences = Fences::default();
    let created = |view: &ClusterView, quiet| {
        steps(view, &root, quiet, &fences)
            .iter()
            .any(|s| matches!(s, Step::Decide(RootCommand::CreateGroups(_))))
    };
    assert!(!created(&cluster(5, 6), 0));
    assert!(created(&cluster(5, 6), 60));
    assert!(
        !created(&cluster(4, 6), 60),
        "five of six are enough, four are not"
    );
    assert!(created(&cluster(1, 1), 0));
}

#[test]
fn a_bucket_is_active_only_after_every_group_knows_it_and_its_pools() {
    let mut view = cluster(6, 6);
    let root = members(1..=5, 6..=6);
    let fences = &mut Fences::default();
    settle(&mut view, &root, fences);
    let record = BucketRecord {
        bucket: BucketId(50),
        name: BucketName::new("photos").expect("valid"),
        epoch: 50,
        state: BucketState::Creating,
        profile: "2+1".parse().expect("valid"),
        created_ms: 0,
        versioning: marram_meta::Versioning::Off,
        quota: None,
        lifecycle: None,
        allowed: vec!["4+1".parse().expect("valid")],
    };
    view.buckets.insert(record.name.clone(), record.clone());

    let todo = steps(&view, &root, 0, fences);
    assert!(
        todo.iter()
            .all(|s| matches!(s, Step::Decide(RootCommand::CreatePool(_)))),
        "{todo:?}"
    );
    settle(&mut view, &root, fences);
    assert_eq!(view.buckets[&record.name].state, BucketState::Active);
    assert!(
        view.pools.values().any(|p| p.width == 2),
        "copies of 2+1 are 1+1"
    );
    assert!(
        view.pools.values().any(|p| p.width == 5),
        "writes may ask for 4+1"
    );
}

#[test]
fn a_deletion_is_taken_back_when_one_group_still_holds_something() {
    let mut view = cluster(6, 6);
    let root = members(1..=5, 6..=6);
    let fences = &mut Fences::default();
    settle(&mut view, &root, fences);
    let record = BucketRecord {
        bucket: BucketId(50),
        name: BucketName::new("photos").expect("valid"),
        epoch: 70,
        state: BucketState::Deleting,
        profile: "4+2".parse().expect("valid"),
        created_ms: 0,
        versioning: marram_meta::Versioning::Off,
        quota: None,
        lifecycle: None,
        allowed: Vec::new(),
    };
    view.buckets.insert(record.name.clone(), record.clone());
    assert_eq!(
        steps(&view, &root, 0, fences).len(),
        8,
        "every group is sealed first"
    );
    for group in 1..=8 {
        // An answer about an older epoch does not count.
        fences.note_bucket(GroupId(group), record.bucket, 69, BucketState::Deleting, 0);
    }
    assert_eq!(steps(&view, &root, 0, fences).len(), 8);
    for (group, live) in (1..=8).zip([0, 0, 0, 1, 0, 0, 0, 0]) {
        fences.note_bucket(
            GroupId(group),
            record.bucket,
            70,
            BucketState::Deleting,
            live,
        );
    }
    let todo = steps(&view, &root, 0, fences);
    assert!(
        matches!(todo.as_slice(), [Step::BucketSealed { nonempty: true, .. }]),
        "{todo:?}"
    );
}

/// Votes of the root group leave a node that is drained, once others can take them.
#[test]
fn root_votes_leave_nodes_that_give_up_what_they_have() {
    let mut view = cluster(6, 6);
    let duty = |view: &mut ClusterView, id: u64, duty| {
        view.nodes.get_mut(&NodeId(id)).expect("known").duty = duty;
    };
    let votes = |view: &ClusterView, root: &Members| {
        let todo = steps(view, root, 0, &Fences::default());
        todo.into_iter().find_map(|step| match step {
            Step::SetRootVoters(voters) => Some(voters),
            _ => None,
        })
    };
    let mut root = members(1..=5, 6..=6);
    duty(&mut view, 2, NodeDuty::Cordoned);
    assert_eq!(votes(&view, &root), None);
    duty(&mut view, 2, NodeDuty::Draining);
    let replaced = [1, 3, 4, 5, 6].map(ReplicaId).to_vec();
    assert_eq!(votes(&view, &root), Some(replaced));
    root.following.retain(|r| *r != ReplicaId(6));
    assert_eq!(votes(&view, &root), None, "nobody can take the vote");
    duty(&mut view, 6, NodeDuty::Draining);
    let left = [1, 3, 4, 5].map(ReplicaId).to_vec();
    assert_eq!(votes(&view, &root), Some(left), "and nobody will");

    // The only voter: the other one votes before the first goes.
    let mut view = cluster(2, 2);
    duty(&mut view, 1, NodeDuty::Draining);
    let both = [1, 2].map(ReplicaId).to_vec();
    assert_eq!(votes(&view, &members(1..=1, 2..=2)), Some(both));
    let second = vec![ReplicaId(2)];
    assert_eq!(votes(&view, &members(1..=2, 0..=0)), Some(second));
}

/// Votes of the root group and of new object groups go to other zones first.
#[test]
fn votes_are_spread_over_zones() {
    let mut view = cluster(9, 9);
    let zones = ["a", "a", "a", "a", "b", "b", "b", "c", "c"];
    for (node, zone) in view.nodes.values_mut().zip(zones) {
        zone.clone_into(&mut node.zone);
    }
    let first = |todo: Vec<Step>| match todo.into_iter().next() {
        Some(Step::SetRootVoters(voters)) => voters.iter().map(|r| r.0).collect(),
        _ => Vec::new(),
    };
    let none = &Fences::default();
    let grown = first(steps(&view, &members(1..=1, 2..=9), 0, none));
    assert_eq!(grown, [1, 2, 5, 6, 8]);

    // All votes in one zone and the next one, because the third came later: one goes there.
    let mut root = members(1..=5, 6..=9);
    assert_eq!(first(steps(&view, &root, 0, none)), [1, 2, 3, 5, 8]);
    root.following.retain(|r| r.0 < 8);
    assert_eq!(first(steps(&view, &root, 0, none)), [1, 2, 3, 5, 6]);
    root.voters = [1, 2, 5, 6, 8].map(ReplicaId).to_vec();
    root.learners = [3, 4, 7, 9].map(ReplicaId).into_iter().collect();
    settle(&mut view, &root, &mut Fences::default());
    for record in view.groups.values().filter(|g| g.group != GroupId::ROOT) {
        let zone = |r: &ReplicaId| zones[usize::try_from(r.0).expect("small") - 1];
        let count = |z| votes_in(record.voters.iter().map(zone), z);
        let mut votes = ["a", "b", "c"].map(count);
        votes.sort_unstable();
        assert_eq!(votes, [1, 2, 2], "{record:?}");
    }
}

#[test]
fn every_group_is_told_of_a_tombstone_and_that_it_was_taken_back() {
    let mut view = cluster(6, 6);
    let fences = &mut Fences::default();
    let root = members(1..=5, 6..=6);
    settle(&mut view, &root, fences);
    let node = *view.nodes.keys().next().expect("six of them");
    for (epoch, stands) in [(70, true), (90, false)] {
        let tombstone = Tombstone {
            node,
            epoch,
            stands,
            drives: Vec::new(),
        };
        view.tombstones.insert(node, tombstone.clone());
        let told = steps(&view, &root, 0, fences);
        assert_eq!(told.len(), view.groups.len() - 1, "{told:?}");
        for step in told {
            assert!(matches!(&step, Step::TellTombstone { tombstone: t, .. } if *t == tombstone));
            apply(&mut view, fences, step);
        }
        assert_eq!(steps(&view, &root, 0, fences), []);
    }
    let removed = view.nodes.get_mut(&node).expect("known");
    removed.state = NodeState::Tombstoned;
    let again = steps(&view, &root, 0, &Fences::default());
    let tells = |step: &Step| matches!(step, Step::TellTombstone { .. });
    assert!(!again.iter().any(tells), "it is gone, and all know it");
}

#[test]
fn groups_keep_events_when_every_server_knows_them() {
    let mut view = cluster(4, 4);
    let root = members(1..=3, 4..=4);
    let mut fences = Fences::default();
    settle(&mut view, &root, &mut fences);
    let keeps = |steps: &[Step]| {
        let of_events = |step: &&Step| matches!(step, Step::KeepEvents { .. });
        steps.iter().filter(of_events).count()
    };
    assert!(!fences.keeps_events(GroupId(1), EVENTS_KEPT_MS, EVENTS_KEPT_BYTES / 8));
    view.cluster.as_mut().expect("there is one").version = EVENTS_SINCE;
    assert_eq!(keeps(&steps(&view, &root, 0, &fences)), 8);
    settle(&mut view, &root, &mut fences);
    assert!(fences.keeps_events(GroupId(8), EVENTS_KEPT_MS, EVENTS_KEPT_BYTES / 8));
    let anew = steps(&view, &root, 0, &Fences::default());
    assert_eq!(keeps(&anew), 8, "another leader says it again");
    // A leader with other settings has the groups keep less, once.
    let less = EventsKept {
        for_ms: 7,
        bytes: 80,
    };
    let other = steps_keeping(less, &view, &root, 0, &fences);
    assert_eq!(keeps(&other), 8);
    for step in &other {
        assert!(
            matches!(
                step,
                Step::KeepEvents {
                    for_ms: 7,
                    bytes: 10,
                    ..
                }
            ),
            "{step:?}"
        );
    }
    other
        .into_iter()
        .for_each(|step| apply(&mut view, &mut fences, step));
    assert_eq!(steps_keeping(less, &view, &root, 0, &fences), []);
}
