use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use marram_meta::{
    BUCKET_ENDINGS_SINCE, BucketState, COMMAND_VERSION, ClusterRecord, DriveJoin, Envelope,
    GroupRecord, MemKv, NodeJoin, ObjectAnswer, ObjectQuery, Refusal, apply_object, apply_root,
    stamp, view,
};
use marram_types::{BucketName, ClusterId};

use super::*;
use crate::consensus::Members;

const GROUPS: u16 = 3;
const TIME_MS: u64 = 1_000_000;
/// More proposals in a test are a loop without a pause.
const PROPOSALS_MAX: usize = 400;

#[derive(Default)]
struct Machine {
    kv: MemKv,
    index: u64,
}

#[derive(Default)]
struct State {
    root: Machine,
    groups: BTreeMap<GroupId, Machine>,
    /// Groups that cannot be reached with the last word about a bucket.
    deaf: BTreeSet<GroupId>,
    /// Groups whose answers to it are lost.
    mute: BTreeSet<GroupId>,
    /// Groups that refuse rows.
    refusing: BTreeSet<GroupId>,
    proposals: usize,
}

/// Root and object groups in memory, with the real state machines.
struct World {
    state: Mutex<State>,
    view: watch::Sender<Arc<ClusterView>>,
    /// How often rows were refused.
    refused: watch::Sender<usize>,
}

fn sealed(command: &impl marram_meta::Command) -> Vec<u8> {
    let mut entry = Envelope::seal_internal(command);
    stamp(&mut entry, TIME_MS).expect("an envelope");
    entry
}

fn lost(group: GroupId) -> ConsensusError {
    ConsensusError::Unavailable {
        group,
        reason: "a fault".into(),
    }
}

impl World {
    /// A cluster of one node and one bucket, not yet known to any group.
    fn new() -> Arc<Self> {
        let world = Arc::new(Self {
            state: Mutex::default(),
            view: watch::Sender::default(),
            refused: watch::Sender::default(),
        });
        let groups = || (1..=GROUPS).map(GroupId);
        world.state().groups = groups().map(|g| (g, Machine::default())).collect();
        world.root(&RootCommand::Bootstrap {
            cluster: ClusterRecord {
                cluster: ClusterId(7),
                name: "tests".into(),
                version: COMMAND_VERSION,
                object_groups: GROUPS,
                expected_nodes: 1,
                default_profile: None,
            },
            keys: Vec::new(),
        });
        let joined = world.root(&RootCommand::AddNode(NodeJoin {
            name: "node-1".into(),
            mesh_addr: "127.0.0.1:1".into(),
            api_addr: "127.0.0.1:2".into(),
            public_key: [1; 32],
            zone: String::new(),
            drives: vec![DriveJoin {
                ordinal: 0,
                capacity: 1 << 40,
            }],
        }));
        let RootOutcome::NodeAdded { node, .. } = joined else {
            panic!("{joined:?}");
        };
        let founder = true;
        world.root(&RootCommand::AddReplica { node, founder });
        let voters = || vec![marram_meta::FOUNDER];
        let records = groups().map(|group| GroupRecord::new(group, voters()));
        world.root(&RootCommand::CreateGroups(records.collect()));
        world
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked")
    }

    fn root(&self, command: &RootCommand) -> RootOutcome {
        let mut state = self.state();
        state.root.index += 1;
        let index = state.root.index;
        let outcome = apply_root(&mut state.root.kv, index, &sealed(command)).expect("applied");
        let seen = view(&state.root.kv).expect("a view");
        drop(state);
        self.view.send_replace(Arc::new(seen));
        RootOutcome::decode(&outcome).expect("an outcome")
    }

    fn object(&self, group: GroupId, command: &ObjectCommand) -> ObjectOutcome {
        let mut state = self.state();
        let machine = state.groups.get_mut(&group).expect("a group");
        machine.index += 1;
        let entry = sealed(command);
        let outcome = apply_object(&mut machine.kv, machine.index, &entry).expect("applied");
        ObjectOutcome::decode(&outcome).expect("an outcome")
    }

    /// What each group holds of a bucket: asked with a record that is older than all of them.
    fn held(&self, record: &BucketRecord) -> Vec<BucketState> {
        let old = BucketRecord {
            epoch: 0,
            ..record.clone()
        };
        let ask =
            |group| match self.object(GroupId(group), &ObjectCommand::BucketFence(old.clone())) {
                ObjectOutcome::Fenced { state, .. } => state,
                other => panic!("{other:?}"),
            };
        (1..=GROUPS).map(ask).collect()
    }

    fn controller(self: &Arc<Self>) -> Controller<Self> {
        let events = EventsKept {
            for_ms: 3_600_000,
            bytes: 1 << 30,
        };
        Controller::new(Arc::clone(self), self.view.subscribe(), events)
    }

    /// A bucket that every group knows, and the leader that told them.
    async fn with_bucket(self: &Arc<Self>) -> (Controller<Self>, BucketRecord) {
        let mut leader = self.controller();
        rounds(&mut leader, 20).await;
        let name = BucketName::new("photos").expect("a name");
        let (create, profile) = (name.clone(), None);
        self.root(&RootCommand::CreateBucket {
            name: create,
            profile,
        });
        rounds(&mut leader, 20).await;
        let record = self.view.borrow().buckets[&name].clone();
        assert_eq!(record.state, BucketState::Active);
        assert!(self.held(&record).iter().all(|s| s.accepts_writes()));
        (leader, record)
    }
}

/// Rounds until there is nothing to do, and no more than this many.
async fn rounds(leader: &mut Controller<World>, most: usize) {
    for _ in 0..most {
        if matches!(leader.round().await, Round::Idle) {
            return;
        }
    }
}

#[async_trait::async_trait]
impl Consensus for World {
    fn root_if_leading(&self) -> Option<Members> {
        let own = vec![marram_meta::FOUNDER];
        Some(Members {
            voters: own.clone(),
            learners: Vec::new(),
            following: own,
            settled: true,
        })
    }

    async fn propose_root(&self, command: RootCommand) -> Result<RootOutcome, ConsensusError> {
        Ok(self.root(&command))
    }

    async fn propose_object(
        &self,
        group: GroupId,
        command: ObjectCommand,
    ) -> Result<ObjectOutcome, ConsensusError> {
        {
            let mut state = self.state();
            state.proposals += 1;
            assert!(state.proposals < PROPOSALS_MAX, "a loop without a pause");
        }
        let last = matches!(&command, ObjectCommand::BucketFence(record)
            if record.state == BucketState::Deleted);
        if last && self.state().deaf.contains(&group) {
            return Err(lost(group));
        }
        let refuses = self.state().refusing.contains(&group);
        if refuses && matches!(command, ObjectCommand::LayoutFence { .. }) {
            self.refused.send_modify(|refused| *refused += 1);
            let refusal = marram_meta::Malformed::Pool.into();
            return Ok(ObjectOutcome::Refused(refusal));
        }
        let outcome = self.object(group, &command);
        if last && self.state().mute.contains(&group) {
            return Err(lost(group));
        }
        Ok(outcome)
    }

    async fn ask_object(&self, _: GroupId, _: ObjectQuery) -> Result<ObjectAnswer, ConsensusError> {
        unreachable!("the controller asks nothing")
    }

    async fn add_root_learner(&self, _: ReplicaId) -> Result<(), ConsensusError> {
        Ok(())
    }

    async fn set_root_voters(&self, _: Vec<ReplicaId>) -> Result<(), ConsensusError> {
        Ok(())
    }

    fn led_groups(&self) -> Vec<GroupId> {
        Vec::new()
    }

    fn own_replica(&self) -> ReplicaId {
        marram_meta::FOUNDER
    }

    fn is_up(&self, _: ReplicaId) -> bool {
        true
    }

    async fn hand_over(&self, _: GroupId, _: ReplicaId) -> Result<(), ConsensusError> {
        Ok(())
    }
}

/// The leader dies when some groups were told that a bucket is gone, one did not hear it, and of one
/// the answer was lost: the next leader tells them (rules.md 12).
#[tokio::test]
async fn the_next_leader_ends_a_deletion_that_another_one_began() {
    use BucketState::{Deleted, Deleting};
    let world = World::new();
    let (mut leader, record) = world.with_bucket().await;
    let name = record.name.clone();
    world.root(&RootCommand::DeleteBucket { name: name.clone() });
    world.state().deaf.insert(GroupId(2));
    world.state().mute.insert(GroupId(3));
    rounds(&mut leader, 20).await;
    assert_eq!(world.held(&record), [Deleted, Deleting, Deleted]);
    let kept = world.view.borrow().buckets.get(&name).cloned();
    let kept = kept.expect("the root keeps what is still to be told");
    assert_eq!((kept.bucket, kept.state), (record.bucket, Deleted));
    drop(leader);

    let mut next = world.controller();
    rounds(&mut next, 5).await;
    assert!(world.view.borrow().buckets.contains_key(&name));
    world.state().deaf.clear();
    world.state().mute.clear();
    rounds(&mut next, 20).await;
    assert_eq!(world.held(&record), [Deleted; 3]);
    assert!(world.view.borrow().buckets.is_empty(), "told, and gone");
    let late = ObjectCommand::BucketFence(record.clone());
    world.object(GroupId(2), &late);
    assert_eq!(world.held(&record), [Deleted; 3]);
}

/// A cluster with members of the last release does not have the newer commands: the record goes at once.
#[tokio::test]
async fn a_cluster_that_is_not_all_upgraded_ends_deletions_as_before() {
    let world = World::new();
    let (mut leader, record) = world.with_bucket().await;
    world.root(&RootCommand::DeleteBucket {
        name: record.name.clone(),
    });
    let mut before = ClusterView::clone(&world.view.borrow());
    let cluster = before.cluster.as_mut().expect("founded");
    cluster.version = BUCKET_ENDINGS_SINCE - 1;
    // What the leader sees; the state machine applies whatever is in its log.
    world.view.send_replace(Arc::new(before.clone()));
    leader.round().await;
    world.view.send_replace(Arc::new(before));
    leader.round().await;
    assert!(world.view.borrow().buckets.is_empty());
    assert_eq!(world.held(&record), [BucketState::Deleted; 3]);
    let gone = RootCommand::DeleteBucket { name: record.name };
    let gone = world.root(&gone);
    assert_eq!(gone, RootOutcome::Refused(Refusal::NoSuchBucket));
}

/// What is refused is tried again, and not at once: a group that refuses must not be asked a thousand
/// times in a second.
#[tokio::test]
async fn rows_that_a_group_refuses_are_tried_again_after_a_pause() {
    const REFUSALS: usize = 8;
    let world = World::new();
    world.state().refusing.insert(GroupId(2));
    let began = Instant::now();
    let runs = tokio::spawn(world.controller().run());
    let mut refused = world.refused.subscribe();
    let enough = refused.wait_for(|refused| *refused >= REFUSALS);
    enough.await.expect("it goes on");
    runs.abort();
    // Changes of the view end a pause early, and there are few of them.
    let pauses = u32::try_from(REFUSALS / 2).expect("few");
    let took = began.elapsed();
    assert!(
        took >= AFTER_FAILURE * pauses,
        "{REFUSALS} times in {took:?}"
    );
}
