//! Leaderships over a consensus in memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use marram_meta::{
    GroupRecord, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery, RootCommand, RootOutcome,
};
use marram_types::NodeId;

use super::*;
use crate::consensus::{ConsensusError, Members};
use crate::health::testing::cluster;

/// Six groups over five replicas, led by replica 1; whoever is `deaf` takes nothing.
struct Fake {
    led: Mutex<BTreeSet<GroupId>>,
    taken: Mutex<Vec<(GroupId, ReplicaId)>>,
    deaf: BTreeSet<u64>,
    away: BTreeSet<u64>,
    slow: AtomicBool,
    /// Somebody has asked whether this one is slow.
    looked: AtomicBool,
}

fn unavailable(group: GroupId) -> ConsensusError {
    let reason = "not in these tests".to_owned();
    ConsensusError::Unavailable { group, reason }
}

#[async_trait]
impl Consensus for Fake {
    fn root_if_leading(&self) -> Option<Members> {
        None
    }

    async fn propose_root(&self, _: RootCommand) -> Result<RootOutcome, ConsensusError> {
        Err(unavailable(GroupId::ROOT))
    }

    async fn propose_object(
        &self,
        group: GroupId,
        _: ObjectCommand,
    ) -> Result<ObjectOutcome, ConsensusError> {
        Err(unavailable(group))
    }

    async fn ask_object(
        &self,
        group: GroupId,
        _: ObjectQuery,
    ) -> Result<ObjectAnswer, ConsensusError> {
        Err(unavailable(group))
    }

    async fn add_root_learner(&self, _: ReplicaId) -> Result<(), ConsensusError> {
        Err(unavailable(GroupId::ROOT))
    }

    async fn set_root_voters(&self, _: Vec<ReplicaId>) -> Result<(), ConsensusError> {
        Err(unavailable(GroupId::ROOT))
    }

    fn led_groups(&self) -> Vec<GroupId> {
        self.led.lock().unwrap().iter().copied().collect()
    }

    fn own_replica(&self) -> ReplicaId {
        ReplicaId(1)
    }

    fn is_up(&self, replica: ReplicaId) -> bool {
        !self.away.contains(&replica.0)
    }

    fn is_slow(&self, replica: ReplicaId) -> bool {
        self.looked.store(true, Ordering::SeqCst);
        replica == self.own_replica() && self.slow.load(Ordering::SeqCst)
    }

    async fn hand_over(&self, group: GroupId, to: ReplicaId) -> Result<(), ConsensusError> {
        if !self.deaf.contains(&to.0) {
            self.led.lock().unwrap().remove(&group);
            self.taken.lock().unwrap().push((group, to));
        }
        Ok(())
    }
}

fn world(deaf: &[u64], away: &[u64]) -> (Fake, ClusterView) {
    let mut view = cluster(5, 3);
    let groups = (0..6).map(GroupId);
    for group in groups.clone() {
        let voters = (1..=5).map(ReplicaId).collect();
        view.groups.insert(group, GroupRecord::new(group, voters));
    }
    let fake = Fake {
        led: Mutex::new(groups.collect()),
        taken: Mutex::default(),
        deaf: deaf.iter().copied().collect(),
        away: away.iter().copied().collect(),
        slow: AtomicBool::new(false),
        looked: AtomicBool::new(false),
    };
    (fake, view)
}

const WITHIN: Duration = Duration::from_secs(2);

#[tokio::test]
async fn everything_goes_to_several_others() {
    let (fake, view) = world(&[], &[]);
    let done = hand_over_all(&fake, &view, WITHIN).await;
    assert_eq!((done.handed.len(), done.kept.len()), (6, 0));
    let taken = fake.taken.lock().unwrap();
    let heirs: BTreeSet<_> = taken.iter().map(|(_, to)| *to).collect();
    assert_eq!(heirs, (2..=5).map(ReplicaId).collect());
}

#[tokio::test]
async fn who_takes_nothing_is_left_for_another_and_who_may_not_lead_is_not_asked() {
    let (fake, mut view) = world(&[2, 3], &[4]);
    let done = hand_over_all(&fake, &view, WITHIN).await;
    assert_eq!((done.handed.len(), done.kept.len()), (6, 0));
    let only = |fake: &Fake, to| {
        let taken = fake.taken.lock().unwrap();
        taken.iter().all(|(_, heir)| *heir == ReplicaId(to))
    };
    assert!(only(&fake, 5));

    let (fake, _) = world(&[], &[4]);
    for node in [2, 5] {
        let node = view.nodes.get_mut(&NodeId(node)).expect("known");
        node.absence.maintenance_until_ms = Some(1);
    }
    hand_over_all(&fake, &view, WITHIN).await;
    assert!(only(&fake, 3));
}

#[tokio::test]
async fn without_an_heir_nothing_is_waited_for() {
    let (fake, view) = world(&[], &[2, 3, 4, 5]);
    let began = Instant::now();
    let done = hand_over_all(&fake, &view, WITHIN).await;
    assert_eq!((done.handed.len(), done.kept.len()), (0, 6));
    assert!(began.elapsed() < Duration::from_millis(50));
    let (fake, view) = world(&[2, 3, 4, 5], &[]);
    let began = Instant::now();
    let done = hand_over_all(&fake, &view, WITHIN).await;
    assert_eq!(done.kept.len(), 6);
    assert!(began.elapsed() >= WITHIN && began.elapsed() < 2 * WITHIN);
}

#[tokio::test]
async fn a_leader_that_is_slow_gives_everything_away() {
    let (fake, view) = world(&[], &[]);
    let fake = Arc::new(fake);
    let (_sender, seen) = watch::channel(Arc::new(view));
    let spreads = tokio::spawn(spread_leaders(fake.clone(), seen));
    let began = Instant::now();
    while !fake.looked.load(Ordering::SeqCst) {
        assert!(began.elapsed() < Duration::from_secs(30), "nobody looks");
        tokio::time::sleep(TAKEN_EVERY).await;
    }
    assert_eq!(fake.led_groups().len(), 6, "it leads what it is to lead");
    fake.slow.store(true, Ordering::SeqCst);
    while !fake.led_groups().is_empty() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "it goes on leading"
        );
        tokio::time::sleep(TAKEN_EVERY).await;
    }
    spreads.abort();
}
