//! Situations and the steps that follow from them, one by one and played to their end.

use marram_meta::{ClusterRecord, DriveRecord, NodeDuty};
use marram_types::{ClusterId, DriveId, NodeId};

use super::*;

const GROUP: GroupId = GroupId(3);

fn ids(of: &[u64]) -> Vec<ReplicaId> {
    of.iter().copied().map(ReplicaId).collect()
}

fn node(id: u64, zone: &str) -> NodeRecord {
    NodeRecord {
        node: NodeId(id),
        name: format!("node-{id}"),
        mesh_addr: String::new(),
        api_addr: String::new(),
        public_key: [u8::try_from(id).expect("small"); 32],
        zone: zone.into(),
        drives: vec![DriveRecord::new(DriveId(100 + id), 0, 1 << 40)],
        replica: Some(ReplicaId(id)),
        replicas_past: Vec::new(),
        state: NodeState::Active,
        duty: NodeDuty::Serving,
        absence: marram_meta::Absence::default(),
    }
}

/// A group of a cluster: what the root's record says, and what the group itself knows.
struct World {
    view: ClusterView,
    own: ReplicaId,
    standing: Standing,
    up: BTreeSet<ReplicaId>,
}

impl World {
    fn new(nodes: u64, voters: &[u64]) -> Self {
        let mut view = ClusterView {
            index: 10,
            cluster: Some(ClusterRecord {
                cluster: ClusterId(7),
                name: "test".into(),
                version: 1,
                object_groups: 8,
                expected_nodes: 1,
                default_profile: None,
            }),
            nodes: (1..=nodes).map(|id| (NodeId(id), node(id, ""))).collect(),
            ..ClusterView::default()
        };
        let record = GroupRecord::new(GROUP, ids(voters));
        view.groups.insert(GROUP, record);
        let mut sorted = ids(voters);
        sorted.sort_unstable();
        Self {
            view,
            own: ReplicaId(voters[0]),
            standing: Standing {
                voters: sorted.clone(),
                target: sorted,
                committed: true,
                ..Standing::default()
            },
            up: (1..=nodes).map(ReplicaId).collect(),
        }
    }

    fn duty(&mut self, id: u64, duty: NodeDuty) {
        self.view.nodes.get_mut(&NodeId(id)).expect("known").duty = duty;
    }

    fn down(&mut self, id: u64) {
        self.up.remove(&ReplicaId(id));
    }

    fn record(&self) -> &GroupRecord {
        &self.view.groups[&GROUP]
    }

    fn next(&self) -> Option<VoterStep> {
        let mut up = self.up.clone();
        up.insert(self.own);
        next_step(&self.view, GROUP, self.own, &self.standing, &up, true)
    }

    fn living(&self, voters: &[ReplicaId]) -> usize {
        voters.iter().filter(|r| self.up.contains(r)).count()
    }

    /// Carries a step out as the group and the root would, and checks what must hold at each.
    fn apply(&mut self, step: VoterStep) {
        match step {
            VoterStep::Record(record) => {
                assert!(record.at >= self.record().at, "the record never goes back");
                self.view.groups.insert(GROUP, record);
            }
            VoterStep::Follow(replica) => {
                assert!(self.record().joining.contains(&replica), "its node knows");
                assert!(!self.standing.voters.contains(&replica));
                self.standing.learners.push(replica);
                self.standing.at += 1;
            }
            VoterStep::Unfollow(replica) => {
                self.standing.learners.retain(|r| *r != replica);
                self.standing.at += 1;
            }
            VoterStep::HandOver(to) => {
                assert!(self.standing.voters.contains(&to) && self.up.contains(&to));
                assert!(keeps_vote(&self.view, to));
                self.own = to;
            }
            VoterStep::Vote(voters) => self.vote(voters),
        }
    }

    fn vote(&mut self, mut voters: Vec<ReplicaId>) {
        let come: Vec<_> = { voters.iter() }
            .filter(|r| !self.standing.voters.contains(r))
            .collect();
        let gone: Vec<_> = { self.standing.voters.iter() }
            .filter(|r| !voters.contains(r))
            .collect();
        assert!(come.len() <= 1 && gone.len() <= 1, "one change at a time");
        assert!(come.iter().all(|r| self.standing.close.contains(r)));
        let votes = |r: ReplicaId| {
            let zones = self.standing.voters.iter().map(|v| zone_of(&self.view, *v));
            votes_in(zones, zone_of(&self.view, r))
        };
        let evens_out = |r: ReplicaId| come.iter().all(|c| votes(r) >= votes(**c) + 2);
        assert!(
            { gone.iter() }.all(|r| !keeps_vote(&self.view, **r) || evens_out(**r)),
            "a vote leaves a node that serves only for a zone with fewer"
        );
        assert!(!gone.contains(&&self.own), "its leader would lose its vote");
        assert!(self.living(&voters) * 2 > voters.len(), "they can decide");
        voters.sort_unstable();
        self.standing.learners.retain(|r| !voters.contains(r));
        self.standing.at += 2;
        self.standing.voters.clone_from(&voters);
        self.standing.target = voters;
    }

    /// Plays until there is nothing to do. Learners that are up follow at once.
    fn settle(&mut self) {
        for _ in 0..200 {
            let learners = self.standing.learners.iter();
            let close = learners.filter(|r| self.up.contains(r)).copied();
            self.standing.close = close.collect();
            if !self.up.contains(&self.own) && self.living(&self.standing.voters) > 0 {
                let mut living = self.standing.voters.iter();
                self.own = *living.find(|r| self.up.contains(r)).expect("counted");
            }
            let Some(step) = self.next() else {
                return;
            };
            self.apply(step);
        }
        panic!("the steps do not come to an end: {:?}", self.next());
    }
}

#[test]
fn nothing_happens_while_all_serve() {
    assert_eq!(World::new(6, &[1, 2, 3, 4, 5]).next(), None);
    assert_eq!(World::new(4, &[1, 2, 3]).next(), None);
    assert_eq!(World::new(1, &[1]).next(), None);
    let mut cordoned = World::new(6, &[1, 2, 3, 4, 5]);
    cordoned.duty(2, NodeDuty::Cordoned);
    assert_eq!(cordoned.next(), None, "a cordoned node keeps its vote");
    cordoned.down(3);
    assert_eq!(cordoned.next(), None, "and so does one that is down");
}

#[test]
fn a_drained_voter_is_replaced_step_by_step() {
    let mut world = World::new(6, &[1, 2, 3, 4, 5]);
    world.duty(3, NodeDuty::Draining);
    let record = GroupRecord {
        joining: ids(&[6]),
        ..world.record().clone()
    };
    assert_eq!(world.next(), Some(VoterStep::Record(record.clone())));
    world.apply(VoterStep::Record(record));
    assert_eq!(world.next(), Some(VoterStep::Follow(ReplicaId(6))));
    world.apply(VoterStep::Follow(ReplicaId(6)));
    assert_eq!(world.next(), None, "until it is close");
    world.standing.close = ids(&[6]);
    let vote = VoterStep::Vote(ids(&[1, 2, 4, 5, 6]));
    assert_eq!(world.next(), Some(vote.clone()));
    world.apply(vote);
    world.standing.committed = false;
    assert_eq!(world.next(), None, "until it is committed");
    world.standing.committed = true;
    world.settle();
    let record = world.record();
    assert_eq!(
        record.voters,
        ids(&[1, 2, 6, 4, 5]),
        "in the place of the third"
    );
    assert!(record.joining.is_empty() && record.at == 3);
}

#[test]
fn half_a_change_is_finished_first() {
    let mut world = World::new(6, &[1, 2, 3]);
    world.standing.changing = true;
    world.standing.voters = ids(&[1, 2, 3, 4]);
    world.standing.target = ids(&[1, 2, 4]);
    world.duty(1, NodeDuty::Fenced);
    assert_eq!(world.next(), Some(VoterStep::Vote(ids(&[1, 2, 4]))));
}

#[test]
fn a_leader_that_is_drained_hands_over_first() {
    let mut world = World::new(6, &[1, 2, 3, 4, 5]);
    world.duty(1, NodeDuty::Draining);
    world.down(2);
    assert_eq!(world.next(), Some(VoterStep::HandOver(ReplicaId(3))));
    world.settle();
    assert_eq!(world.record().voters, ids(&[6, 2, 3, 4, 5]));

    // The only voter of a small cluster: the other one votes before the first goes.
    let mut world = World::new(2, &[1]);
    world.duty(1, NodeDuty::Draining);
    world.settle();
    assert_eq!(world.record().voters, ids(&[2]));
    assert_eq!(world.own, ReplicaId(2));
}

#[test]
fn a_dead_voter_waits_for_somebody_who_can_take_its_vote() {
    let mut world = World::new(6, &[1, 2, 3, 4, 5]);
    world.down(3);
    world.down(6);
    world.duty(3, NodeDuty::Fenced);
    world.settle();
    assert_eq!(world.standing.voters, ids(&[1, 2, 3, 4, 5]));
    world.up.insert(ReplicaId(6));
    world.settle();
    assert_eq!(world.standing.voters, ids(&[1, 2, 4, 5, 6]));

    // Nobody is left who could.
    let mut world = World::new(3, &[1, 2, 3]);
    world.down(3);
    world.duty(3, NodeDuty::Fenced);
    world.settle();
    assert_eq!(world.record().voters, ids(&[1, 2]));
}

#[test]
fn a_change_that_could_not_be_decided_is_not_begun() {
    let mut world = World::new(4, &[1, 2, 3]);
    world.duty(2, NodeDuty::Draining);
    world.down(3);
    world.down(4);
    world.settle();
    assert_eq!(
        world.standing.voters,
        ids(&[1, 2, 3]),
        "1 of {{1, 3}} is no majority"
    );
}

#[test]
fn votes_come_with_nodes_and_with_promises() {
    let mut world = World::new(2, &[1]);
    assert_eq!(world.next(), None);
    for id in 3..=7 {
        world.view.nodes.insert(NodeId(id), node(id, ""));
        world.up.insert(ReplicaId(id));
        world.settle();
        let expected = if id < 5 { 3 } else { 5 };
        assert_eq!(world.record().voters.len(), expected, "{id} nodes");
    }
    let cluster = world.view.cluster.as_mut().expect("there is one");
    cluster.default_profile = Some("4+3".parse().expect("valid"));
    world.settle();
    assert_eq!(world.record().voters.len(), 7);
}

#[test]
fn other_zones_first_and_then_those_with_fewest_votes() {
    let mut world = World::new(7, &[1, 2, 3, 4, 5]);
    for (id, zone) in [
        (1, "a"),
        (2, "a"),
        (3, "b"),
        (4, "b"),
        (5, "c"),
        (6, "a"),
        (7, "c"),
    ] {
        world.view.nodes.insert(NodeId(id), node(id, zone));
    }
    world.duty(5, NodeDuty::Draining);
    let plan = next_voters(&world.view, GROUP, &world.standing.voters, &[]);
    assert_eq!(plan.candidates, ids(&[7, 6]), "no zone c is left otherwise");
    assert_eq!((plan.leave, plan.missing), (ids(&[5]), 1));
    for id in 1..=7 {
        world.view.nodes.insert(NodeId(id), node(id, ""));
    }
    world.duty(5, NodeDuty::Draining);
    for (group, voter) in [(4, 6), (5, 7), (6, 7)] {
        let record = GroupRecord::new(GroupId(group), ids(&[voter]));
        world.view.groups.insert(GroupId(group), record);
    }
    let plan = next_voters(&world.view, GROUP, &world.standing.voters, &[]);
    assert_eq!(plan.candidates, ids(&[6, 7]));
    let begun = next_voters(&world.view, GROUP, &world.standing.voters, &ids(&[7]));
    assert_eq!(begun.candidates, ids(&[7, 6]), "who has begun goes on");
}

/// All votes are in the first zone, because there was no other; then two more zones come.
#[test]
fn votes_move_out_of_a_crowded_zone_one_at_a_time() {
    let mut world = World::new(5, &[1, 2, 3, 4, 5]);
    for id in 1..=5 {
        world.view.nodes.insert(NodeId(id), node(id, "a"));
    }
    assert_eq!(world.next(), None, "there is no other zone");
    world.view.nodes.insert(NodeId(6), node(6, "b"));
    world.settle();
    assert_eq!(
        world.standing.voters,
        ids(&[1, 2, 3, 4, 5]),
        "who is not up does not get a vote"
    );
    world.up.insert(ReplicaId(6));
    world.settle();
    assert_eq!(world.record().voters, ids(&[1, 2, 3, 4, 6]));
    for (id, zone) in [(7, "b"), (8, "c"), (9, "c")] {
        world.view.nodes.insert(NodeId(id), node(id, zone));
        world.up.insert(ReplicaId(id));
    }
    world.settle();
    let votes = |zone: &str| {
        let zones = world
            .standing
            .voters
            .iter()
            .map(|r| zone_of(&world.view, *r));
        votes_in(zones, zone)
    };
    let mut spread = ["a", "b", "c"].map(votes);
    spread.sort_unstable();
    assert_eq!(spread, [1, 2, 2]);
    assert_eq!(world.own, ReplicaId(1), "the leader stayed where it was");
    assert_eq!(world.record().voters[0], ReplicaId(1));
}

#[test]
fn learners_of_nobodys_plan_go() {
    let mut world = World::new(6, &[1, 2, 3, 4, 5]);
    world.standing.learners = ids(&[6]);
    world.settle();
    assert!(world.standing.learners.is_empty() && world.record().joining.is_empty());

    // One that is only away for a moment stays.
    world.duty(1, NodeDuty::Draining);
    world.own = ReplicaId(2);
    world.down(6);
    world.standing.learners = ids(&[6]);
    world.settle();
    assert_eq!(world.standing.learners, ids(&[6]));
    assert_eq!(
        world.record().joining,
        ids(&[6]),
        "and its node keeps the replica"
    );
}

#[test]
fn a_replica_that_its_node_gave_up_is_replaced_by_its_next() {
    let mut world = World::new(3, &[1, 2, 3]);
    let node = world.view.nodes.get_mut(&NodeId(3)).expect("known");
    node.replicas_past.push(ReplicaId(3));
    node.replica = Some(ReplicaId(30));
    world.down(3);
    world.up.insert(ReplicaId(30));
    world.settle();
    assert_eq!(world.record().voters, ids(&[1, 2, 30]));
}

#[test]
fn the_root_leader_hands_over_and_forgets_the_removed() {
    let mut world = World::new(4, &[1, 2, 3]);
    world.standing.learners = ids(&[4, 77]);
    let next = |world: &World| {
        let (own, standing) = (world.own, &world.standing);
        next_root_step(&world.view, own, standing, &world.up, true)
    };
    assert_eq!(next(&world), None, "77 joined a moment ago");
    world.duty(1, NodeDuty::Draining);
    assert_eq!(next(&world), Some(VoterStep::HandOver(ReplicaId(2))));
    world.own = ReplicaId(2);
    assert_eq!(next(&world), None);
    let removed = world.view.nodes.get_mut(&NodeId(4)).expect("known");
    removed.state = NodeState::Tombstoned;
    assert_eq!(next(&world), Some(VoterStep::Unfollow(ReplicaId(4))));
}

/// Duties and losses in any order: every step is checked by [`World::apply`], and once all that
/// serve are up, exactly nodes that keep votes have them.
#[test]
fn whatever_happens_it_ends_well() {
    for seed in 1..400_u64 {
        let mut random = seed;
        let mut roll = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let nodes = 5 + roll(5);
        let mut world = World::new(nodes, &[1, 2, 3, 4, 5]);
        let zones = 1 + roll(3);
        for id in 1..=nodes {
            let zone = format!("z{}", roll(zones));
            world.view.nodes.insert(NodeId(id), node(id, &zone));
        }
        for _ in 0..6 {
            let id = 1 + roll(nodes);
            let duties = [
                NodeDuty::Serving,
                NodeDuty::Cordoned,
                NodeDuty::Draining,
                NodeDuty::Fenced,
            ];
            let serving = world.view.nodes.values().filter(|n| n.takes_data()).count();
            let duty = duties[usize::try_from(roll(4)).expect("small")];
            if duty == NodeDuty::Serving || serving > 3 {
                world.duty(id, duty);
            }
            // Any number of steps, then something else happens.
            for _ in 0..roll(6) {
                world.standing.close.clone_from(&world.standing.learners);
                if let Some(step) = world.next() {
                    world.apply(step);
                }
            }
        }
        world.settle();
        let voters = world.standing.voters.clone();
        assert!(
            voters.iter().all(|r| keeps_vote(&world.view, *r)),
            "{seed}: {voters:?}"
        );
        let plan = next_voters(&world.view, GROUP, &voters, &[]);
        assert_eq!(plan.missing, 0, "{seed}: nor has a zone too many");
        let mut recorded = world.record().voters.clone();
        recorded.sort_unstable();
        assert_eq!(recorded, voters, "{seed}");
        assert!(world.record().joining.is_empty(), "{seed}");
    }
}
