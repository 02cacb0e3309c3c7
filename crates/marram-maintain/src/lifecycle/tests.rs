//! The worker over one group's real state machine, with a clock of the test.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use marram_meta::{
    DAY_MS, Envelope, Expiry, Lifecycle, LifecycleRule, MemKv, NewBody, NewVersion, ObjectOutcome,
    Precondition, RootCommand, RootOutcome, RuleFilter, Versioning, answer_object, apply_object,
    stamp,
};
use marram_types::{BucketName, DataId, ObjectKey, ReplicaId, RequestId, VersionId};

use super::*;
use crate::consensus::Members;

const BUCKET: BucketId = BucketId(7);
const GROUP: GroupId = GroupId(1);

/// What time it is, for all tests of this file: they only ever look at what was before it.
static NOW_MS: AtomicU64 = AtomicU64::new(20_000 * DAY_MS);

fn now_ms() -> u64 {
    NOW_MS.load(Ordering::SeqCst)
}

/// By how much the time between walks is ahead: only one test looks at it.
static LATER_S: AtomicU64 = AtomicU64::new(0);

fn steady() -> Instant {
    Instant::now() + Duration::from_secs(LATER_S.load(Ordering::SeqCst))
}

struct Group {
    kv: Mutex<(MemKv, u64)>,
    led: Mutex<Vec<GroupId>>,
    proposed: Mutex<Vec<usize>>,
}

impl Group {
    fn apply(&self, request: Option<u64>, time_ms: u64, command: &ObjectCommand) -> ObjectOutcome {
        let mut state = self.kv.lock().unwrap();
        state.1 += 1;
        let index = state.1;
        let request = request.map(|sequence| RequestId {
            client: 1,
            sequence,
        });
        let deadline_ms = request.map_or(0, |_| time_ms + 1000);
        let mut entry = Envelope::seal(request, deadline_ms, command);
        stamp(&mut entry, time_ms).unwrap();
        let outcome = apply_object(&mut state.0, index, &entry).unwrap();
        ObjectOutcome::decode(&outcome).unwrap()
    }

    fn put(&self, key: &str, sequence: u64, time_ms: u64) {
        let data = DataId {
            group: GROUP,
            begin: 0,
            random: sequence,
        };
        let command = ObjectCommand::Put {
            bucket: BUCKET,
            key: ObjectKey::new(key).unwrap(),
            content: NewVersion {
                version: VersionId(u128::from(sequence)),
                size: 3,
                crc64: 0,
                etag: "\"e\"".to_owned(),
                content_type: String::new(),
                metadata: Vec::new(),
                tags: Vec::new(),
                asked: None,
                own: None,
                body: NewBody::Inline {
                    data,
                    bytes: b"abc".to_vec().into(),
                },
            },
            precondition: Precondition::default(),
        };
        let done = self.apply(Some(sequence), time_ms, &command);
        assert!(matches!(done, ObjectOutcome::Committed { .. }), "{done:?}");
    }

    fn objects(&self) -> u64 {
        let query = ObjectQuery::Usage {
            bucket: Some(BUCKET),
        };
        match self.ask(&query) {
            ObjectAnswer::Usage(usage) => usage.objects,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, query: &ObjectQuery) -> ObjectAnswer {
        let state = self.kv.lock().unwrap();
        let answer = answer_object(&state.0, state.1, &query.encode()).unwrap();
        ObjectAnswer::decode(&answer.into()).unwrap()
    }
}

#[async_trait::async_trait]
impl Consensus for Group {
    fn root_if_leading(&self) -> Option<Members> {
        None
    }

    async fn propose_root(&self, _: RootCommand) -> Result<RootOutcome, ConsensusError> {
        unreachable!("the worker asks groups only")
    }

    async fn propose_object(
        &self,
        _: GroupId,
        command: ObjectCommand,
    ) -> Result<ObjectOutcome, ConsensusError> {
        if let ObjectCommand::Expire(command) = &command {
            self.proposed.lock().unwrap().push(command.due.len());
        }
        Ok(self.apply(None, now_ms(), &command))
    }

    async fn ask_object(
        &self,
        _: GroupId,
        query: ObjectQuery,
    ) -> Result<ObjectAnswer, ConsensusError> {
        Ok(self.ask(&query))
    }

    async fn add_root_learner(&self, _: ReplicaId) -> Result<(), ConsensusError> {
        Ok(())
    }

    async fn set_root_voters(&self, _: Vec<ReplicaId>) -> Result<(), ConsensusError> {
        Ok(())
    }

    fn led_groups(&self) -> Vec<GroupId> {
        self.led.lock().unwrap().clone()
    }

    fn own_replica(&self) -> ReplicaId {
        ReplicaId(1)
    }

    fn is_up(&self, _: ReplicaId) -> bool {
        true
    }

    async fn hand_over(&self, _: GroupId, _: ReplicaId) -> Result<(), ConsensusError> {
        Ok(())
    }
}

fn record(epoch: u64, days: Option<u32>) -> BucketRecord {
    let rule = |days| LifecycleRule {
        id: "old".to_owned(),
        enabled: true,
        filter: RuleFilter::default(),
        expire: Some(Expiry::AfterDays(days)),
        noncurrent: None,
        expired_markers: false,
        abort_after_days: None,
    };
    BucketRecord {
        bucket: BUCKET,
        name: BucketName::new("photos").unwrap(),
        epoch,
        state: BucketState::Active,
        profile: "1+0".parse().unwrap(),
        created_ms: 1,
        versioning: Versioning::Off,
        quota: None,
        allowed: Vec::new(),
        lifecycle: days.map(|days| {
            let rules = vec![rule(days)];
            Arc::new(Lifecycle { rules })
        }),
    }
}

struct World {
    group: Arc<Group>,
    view: watch::Sender<Arc<ClusterView>>,
    worker: LifecycleWorker<Group>,
}

impl World {
    fn new() -> Self {
        let group = Arc::new(Group {
            kv: Mutex::new((MemKv::new(), 100)),
            led: Mutex::new(vec![GroupId::ROOT, GROUP]),
            proposed: Mutex::default(),
        });
        let (view, watched) = watch::channel(Arc::default());
        let clock = LifecycleClock { steady, now_ms };
        let every = Duration::from_hours(1);
        let worker = LifecycleWorker::new(Arc::clone(&group), watched, every, clock);
        Self {
            group,
            view,
            worker,
        }
    }

    /// The record is known to the root and the group.
    fn know(&self, record: BucketRecord) {
        let fence = ObjectCommand::BucketFence(record.clone());
        self.group.apply(None, now_ms() - 90 * DAY_MS, &fence);
        let mut view = ClusterView::default();
        view.buckets.insert(record.name.clone(), record);
        self.view.send_replace(Arc::new(view));
    }

    async fn work(&mut self) {
        while self.worker.round().await {}
    }
}

#[tokio::test]
async fn what_is_due_goes_and_the_rest_stays() {
    let mut world = World::new();
    world.know(record(1, Some(30)));
    for n in 0..250 {
        world
            .group
            .put(&format!("old/{n}"), n, now_ms() - 60 * DAY_MS);
    }
    for n in 250..260 {
        world
            .group
            .put(&format!("new/{n}"), n, now_ms() - 10 * DAY_MS);
    }
    let report = world.worker.report();
    world.work().await;
    assert_eq!(world.group.objects(), 10);
    assert_eq!(report.borrow().expired.current, 250);
    assert_eq!(report.borrow().expired.bytes, 750);
    let entries = world.group.proposed.lock().unwrap().clone();
    assert_eq!(entries.iter().sum::<usize>(), 250);
    assert!(
        entries.iter().all(|count| *count <= EXPIRED_PER_ENTRY),
        "{entries:?}"
    );
    assert_eq!(report.borrow().ended_ms.get(&GROUP), Some(&now_ms()));
}

#[tokio::test]
async fn a_walk_begins_with_new_rules_and_once_in_a_while() {
    let mut world = World::new();
    world.know(record(1, Some(30)));
    world.work().await;
    world.group.put("old", 1, now_ms() - 60 * DAY_MS);
    world.group.put("younger", 2, now_ms() - 20 * DAY_MS);
    world.work().await;
    assert_eq!(
        world.group.objects(),
        2,
        "it was walked through a moment ago"
    );
    LATER_S.store(3600, Ordering::SeqCst);
    world.work().await;
    assert_eq!(world.group.objects(), 1);
    world.know(record(2, Some(10)));
    world.work().await;
    assert_eq!(world.group.objects(), 0, "other rules are for now");
}

#[tokio::test]
async fn only_a_leader_works_and_only_where_rules_are() {
    let mut world = World::new();
    world.know(record(1, None));
    world.group.put("old", 1, now_ms() - 60 * DAY_MS);
    world.work().await;
    world.know(record(2, Some(30)));
    world.group.led.lock().unwrap().clear();
    world.work().await;
    assert_eq!(world.group.objects(), 1);
    assert!(world.worker.report().borrow().ended_ms.is_empty());
    *world.group.led.lock().unwrap() = vec![GROUP];
    world.work().await;
    assert_eq!(world.group.objects(), 0);
}
