//! One object group of real metadata, six nodes with a drive each, and a clock that stands still.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use marram_meta::{
    BucketRecord, BucketState, ClusterView, DriveRecord, Envelope, Extent, GroupCounters,
    GroupRecord, MemKv, NewBody, NewExtent, NewVersion, NodeDuty, NodeRecord, NodeState,
    ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery, Precondition, RootCommand,
    RootOutcome, VersionCommand, Versioning, answer, apply_object, stamp,
};
use marram_placement::{PgRow, PoolTable, Spread};
use marram_types::{
    BucketId, BucketName, DataId, DriveId, Generation, GroupId, NodeId, ObjectKey, PgId, PoolId,
    Profile, ReplicaId, RequestId, ShardId, VersionId,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::consensus::{Consensus, ConsensusError, Members};
use crate::scan::{HeldShard, OwnDriveError, OwnDrives};
use crate::shards::{Restored, Seen, Shards, ShardsError, Wanted};

pub(crate) const GROUP: GroupId = GroupId(1);
const BUCKET: BucketId = BucketId(7);
pub(crate) const PG: PgId = PgId {
    pool: PoolId(6),
    index: 0,
};

struct Group {
    kv: MemKv,
    index: u64,
    random: u64,
}

type Held = BTreeMap<ShardId, PgId>;

/// Called between two questions of the one under test.
type Hook = Box<dyn Fn(&World, &ObjectQuery) + Send + Sync>;

pub(crate) struct World {
    group: Mutex<Group>,
    drives: Mutex<BTreeMap<DriveId, Held>>,
    away: Mutex<BTreeSet<NodeId>>,
    failing: Mutex<BTreeSet<DriveId>>,
    pub(crate) damaged: Mutex<BTreeSet<DriveId>>,
    pub(crate) before_query: Mutex<Option<Hook>>,
    pub(crate) view: watch::Sender<Arc<ClusterView>>,
    start: Instant,
    seconds: AtomicU64,
    drops: AtomicUsize,
    leads: AtomicBool,
    loses_answers: AtomicBool,
}

fn profile() -> Profile {
    Profile::new(4, 2).expect("valid")
}

/// An extent of full width in the one placement group.
pub(crate) fn extent(data: DataId) -> Extent {
    Extent {
        data,
        pg: PG,
        profile: profile(),
        cell: 65_536,
        length: 1000,
        slots: (0..6).collect(),
        missing: 0,
        overrides: Vec::new(),
    }
}

fn node(id: u64) -> NodeRecord {
    NodeRecord {
        node: NodeId(id),
        name: format!("node-{id}"),
        mesh_addr: String::new(),
        api_addr: String::new(),
        public_key: [u8::try_from(id).expect("small"); 32],
        zone: "z".into(),
        drives: vec![DriveRecord::new(DriveId(id), 0, 1 << 40)],
        replica: Some(ReplicaId(id)),
        replicas_past: Vec::new(),
        state: NodeState::Active,
        duty: NodeDuty::Serving,
        absence: marram_meta::Absence::default(),
    }
}

fn view() -> ClusterView {
    let row = PgRow::stable(1, (1..=6).map(DriveId).collect());
    let table = PoolTable {
        width: 6,
        epoch: 1,
        rows: vec![row],
        domains: Spread::default(),
    };
    let group = GroupRecord::new(GROUP, vec![ReplicaId(1)]);
    ClusterView {
        index: 1,
        nodes: (1..=7).map(|id| (NodeId(id), node(id))).collect(),
        groups: [(GROUP, group)].into(),
        pools: [(PoolId(6), table)].into(),
        ..ClusterView::default()
    }
}

fn bucket() -> BucketRecord {
    BucketRecord {
        bucket: BUCKET,
        name: BucketName::new("photos").expect("a name"),
        epoch: 1,
        state: BucketState::Active,
        profile: profile(),
        created_ms: 5,
        versioning: Versioning::Off,
        quota: None,
        lifecycle: None,
        allowed: Vec::new(),
    }
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        let world = Self {
            group: Mutex::new(Group {
                kv: MemKv::new(),
                index: 10,
                random: 0,
            }),
            drives: Mutex::default(),
            away: Mutex::default(),
            failing: Mutex::default(),
            damaged: Mutex::default(),
            before_query: Mutex::default(),
            view: watch::channel(Arc::new(view())).0,
            start: Instant::now(),
            seconds: AtomicU64::new(0),
            drops: AtomicUsize::new(0),
            leads: AtomicBool::new(true),
            loses_answers: AtomicBool::new(false),
        };
        world.run(&ObjectCommand::BucketFence(bucket()));
        let row = world.view.borrow().pools[&PoolId(6)].rows[0].clone();
        world.fence(row);
        Arc::new(world)
    }

    pub(crate) fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.seconds.load(Ordering::Relaxed))
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn run(&self, command: &ObjectCommand) -> ObjectOutcome {
        let mut group = self.group.lock().unwrap();
        group.index += 1;
        let sequence = group.index;
        let time_ms = 1_000_000 + 1000 * self.seconds.load(Ordering::Relaxed);
        let is_users = matches!(
            command,
            ObjectCommand::Put { .. }
                | ObjectCommand::Delete { .. }
                | ObjectCommand::Version(VersionCommand::Delete { .. })
        );
        let request = is_users.then_some(RequestId {
            client: 1,
            sequence,
        });
        let deadline_ms = if is_users { time_ms + 30_000 } else { 0 };
        let mut entry = Envelope::seal(request, deadline_ms, command);
        stamp(&mut entry, time_ms).expect("an envelope");
        let outcome = apply_object(&mut group.kv, sequence, &entry).expect("applies");
        ObjectOutcome::decode(&outcome).expect("an outcome")
    }

    pub(crate) fn ask(&self, query: &ObjectQuery) -> ObjectAnswer {
        let group = self.group.lock().unwrap();
        answer(&group.kv, group.index, query).expect("an answer")
    }

    /// Brings a row to the group and to everybody's view.
    /// Gives the last node, which holds nothing, a duty.
    pub(crate) fn set_duty(&self, duty: NodeDuty) {
        self.view.send_modify(|view| {
            let nodes = &mut Arc::make_mut(view).nodes;
            nodes.get_mut(&NodeId(7)).expect("it is there").duty = duty;
        });
    }

    pub(crate) fn fence(&self, row: PgRow) {
        self.view.send_modify(|view| {
            let mut changed = ClusterView::clone(view);
            changed.pools.get_mut(&PoolId(6)).expect("there").rows[0] = row.clone();
            *view = Arc::new(changed);
        });
        self.fence_group(row);
    }

    /// Brings a row to the group alone.
    pub(crate) fn fence_group(&self, row: PgRow) {
        self.run(&ObjectCommand::LayoutFence {
            pool: PoolId(6),
            rows: vec![(0, row)],
        });
    }

    /// The row as the view has it.
    pub(crate) fn row(&self) -> PgRow {
        self.view.borrow().pools[&PoolId(6)].rows[0].clone()
    }

    pub(crate) fn change_node(&self, id: u64, change: impl Fn(&mut NodeRecord)) {
        self.view.send_modify(|view| {
            let mut changed = ClusterView::clone(view);
            change(changed.nodes.get_mut(&NodeId(id)).expect("there"));
            *view = Arc::new(changed);
        });
    }

    /// A write begins now.
    pub(crate) fn begin(&self) -> DataId {
        let mut group = self.group.lock().unwrap();
        group.random += 1;
        DataId {
            group: GROUP,
            begin: group.index,
            random: group.random,
        }
    }

    /// Writes every shard where the view's row wants it.
    pub(crate) fn write(&self, extent: &Extent) -> Vec<(u8, DriveId)> {
        let row = self.row();
        let places = |(shard, slot)| {
            let wanted = row.must_hold(slot).expect("a slot");
            wanted.iter().map(move |drive| (shard, drive))
        };
        let wrote: Vec<_> = extent.shards().flat_map(places).collect();
        for (shard, drive) in &wrote {
            self.hold(*drive, extent.data, *shard);
        }
        wrote
    }

    pub(crate) fn hold(&self, drive: DriveId, data: DataId, slot: u8) {
        let repair = 0;
        let shard = ShardId { data, slot, repair };
        let mut drives = self.drives.lock().unwrap();
        drives.entry(drive).or_default().insert(shard, PG);
    }

    pub(crate) fn lose(&self, drive: DriveId, data: DataId) {
        let mut drives = self.drives.lock().unwrap();
        let held = drives.entry(drive).or_default();
        held.retain(|shard, _| shard.data != data);
    }

    /// Writes and commits data that began before; false when it is refused.
    pub(crate) fn commit(&self, key: &str, data: DataId) -> bool {
        self.commit_extent(key, extent(data))
    }

    fn commit_extent(&self, key: &str, extent: Extent) -> bool {
        let wrote = self.write(&extent);
        self.commit_wrote(key, extent, wrote)
    }

    /// Commits an extent that was written to these places.
    pub(crate) fn commit_wrote(
        &self,
        key: &str,
        extent: Extent,
        wrote: Vec<(u8, DriveId)>,
    ) -> bool {
        let command = ObjectCommand::Put {
            bucket: BUCKET,
            key: ObjectKey::new(key).expect("a key"),
            content: NewVersion {
                version: VersionId(u128::from(extent.data.random)),
                size: extent.length,
                crc64: 1,
                etag: "\"e\"".into(),
                content_type: String::new(),
                metadata: Vec::new(),
                tags: Vec::new(),
                asked: None,
                own: None,
                body: NewBody::Extents(vec![NewExtent { extent, wrote }]),
            },
            precondition: Precondition::default(),
        };
        matches!(self.run(&command), ObjectOutcome::Committed { .. })
    }

    pub(crate) fn put(&self, key: &str) -> DataId {
        let data = self.begin();
        assert!(self.commit(key, data));
        data
    }

    /// Puts an object of which nothing lies on drive 1.
    pub(crate) fn put_narrow(&self, key: &str) -> DataId {
        let data = self.begin();
        let extent = Extent {
            profile: Profile::new(3, 2).expect("valid"),
            slots: (1..6).collect(),
            ..extent(data)
        };
        assert!(self.commit_extent(key, extent));
        data
    }

    /// The bucket keeps versions from now on.
    pub(crate) fn keep_versions(&self) {
        self.run(&ObjectCommand::BucketFence(BucketRecord {
            epoch: 2,
            versioning: Versioning::On,
            quota: None,
            lifecycle: None,
            ..bucket()
        }));
    }

    /// Removes one version for good.
    pub(crate) fn delete_version(&self, key: &str, generation: Generation) {
        let command = VersionCommand::Delete {
            bucket: BUCKET,
            key: ObjectKey::new(key).expect("a key"),
            generation,
            precondition: Precondition::default(),
        };
        self.run(&ObjectCommand::Version(command));
    }

    /// The generation of the current version.
    pub(crate) fn generation(&self, key: &str) -> Generation {
        let query = ObjectQuery::Head {
            bucket: BUCKET,
            key: ObjectKey::new(key).expect("a key"),
        };
        match self.ask(&query) {
            ObjectAnswer::Head(Some(head)) => head.row.generation,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn delete(&self, key: &str) {
        self.run(&ObjectCommand::Delete {
            bucket: BUCKET,
            key: ObjectKey::new(key).expect("a key"),
            precondition: Precondition::default(),
        });
    }

    /// Garbage in the queue, due or not.
    pub(crate) fn queued(&self) -> usize {
        use marram_meta::{KvRead, Table};
        let group = self.group.lock().unwrap();
        let mut count = 0;
        let all = std::ops::Bound::Unbounded;
        let scanned = group.kv.scan(Table::Garbage, all, all, &mut |_, _| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        });
        scanned.expect("memory does not fail");
        count
    }

    pub(crate) fn counters(&self) -> GroupCounters {
        match self.ask(&ObjectQuery::Status) {
            ObjectAnswer::Status(counters) => counters,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn drives_with(&self, data: DataId) -> usize {
        let drives = self.drives.lock().unwrap();
        let has = |held: &&Held| held.keys().any(|shard| shard.data == data);
        drives.values().filter(has).count()
    }

    pub(crate) fn has(&self, drive: DriveId, data: DataId) -> bool {
        let drives = self.drives.lock().unwrap();
        let held = drives.get(&drive);
        held.is_some_and(|held| held.keys().any(|shard| shard.data == data))
    }

    pub(crate) fn set_up(&self, node: u64, up: bool) {
        let mut away = self.away.lock().unwrap();
        if up {
            away.remove(&NodeId(node));
        } else {
            away.insert(NodeId(node));
        }
    }

    pub(crate) fn fail(&self, drive: u64, fails: bool) {
        let mut failing = self.failing.lock().unwrap();
        if fails {
            failing.insert(DriveId(drive));
        } else {
            failing.remove(&DriveId(drive));
        }
    }

    pub(crate) fn lead(&self, leads: bool) {
        self.leads.store(leads, Ordering::Relaxed);
    }

    pub(crate) fn lose_answers(&self, loses: bool) {
        self.loses_answers.store(loses, Ordering::Relaxed);
    }

    /// Requests to drop something so far.
    pub(crate) fn drops(&self) -> usize {
        self.drops.load(Ordering::Relaxed)
    }

    fn reach(&self, node: NodeId, drive: DriveId) -> Result<(), ShardsError> {
        assert_eq!(node.0, drive.0, "a drive is asked for at its node");
        if !Shards::is_up(self, node) {
            return Err(ShardsError::Away);
        }
        if self.failing.lock().unwrap().contains(&drive) {
            return Err(ShardsError::Refused);
        }
        Ok(())
    }
}

#[async_trait]
impl Consensus for World {
    fn root_if_leading(&self) -> Option<Members> {
        None
    }

    async fn propose_root(&self, _: RootCommand) -> Result<RootOutcome, ConsensusError> {
        unreachable!("not the collector's")
    }

    async fn propose_object(
        &self,
        group: GroupId,
        command: ObjectCommand,
    ) -> Result<ObjectOutcome, ConsensusError> {
        assert_eq!(group, GROUP);
        let outcome = self.run(&command);
        if self.loses_answers.load(Ordering::Relaxed) {
            let reason = "the answer was lost".into();
            return Err(ConsensusError::Unavailable { group, reason });
        }
        Ok(outcome)
    }

    async fn ask_object(
        &self,
        group: GroupId,
        query: ObjectQuery,
    ) -> Result<ObjectAnswer, ConsensusError> {
        assert_eq!(group, GROUP);
        if let Some(hook) = self.before_query.lock().unwrap().as_ref() {
            hook(self, &query);
        }
        Ok(self.ask(&query))
    }

    async fn add_root_learner(&self, _: ReplicaId) -> Result<(), ConsensusError> {
        unreachable!("not the collector's")
    }

    async fn set_root_voters(&self, _: Vec<ReplicaId>) -> Result<(), ConsensusError> {
        unreachable!("not the collector's")
    }

    fn led_groups(&self) -> Vec<GroupId> {
        let led = self.leads.load(Ordering::Relaxed).then_some(GROUP);
        led.into_iter().chain([GroupId::ROOT]).collect()
    }

    fn own_replica(&self) -> ReplicaId {
        ReplicaId(1)
    }

    fn is_up(&self, replica: ReplicaId) -> bool {
        Shards::is_up(self, NodeId(replica.0))
    }

    async fn hand_over(&self, _: GroupId, _: ReplicaId) -> Result<(), ConsensusError> {
        unreachable!("not the collector's")
    }
}

#[async_trait]
impl Shards for World {
    fn is_up(&self, node: NodeId) -> bool {
        !self.away.lock().unwrap().contains(&node)
    }

    async fn restore(
        &self,
        node: NodeId,
        drive: DriveId,
        (pg, _): (PgId, u64),
        wanted: Vec<Wanted>,
    ) -> Result<Vec<Restored>, ShardsError> {
        self.reach(node, drive)?;
        let mut drives = self.drives.lock().unwrap();
        let mut bring = |wanted: &Wanted| {
            let shard = ShardId {
                data: wanted.extent.data,
                slot: wanted.shard,
                repair: 0,
            };
            let from = wanted.places[usize::from(wanted.shard)];
            let there = drives
                .get(&from)
                .is_some_and(|held| held.contains_key(&shard));
            if !there {
                return Restored::NoSource;
            }
            drives.entry(drive).or_default().insert(shard, pg);
            self.damaged.lock().unwrap().remove(&drive);
            Restored::Held { written: 250 }
        };
        Ok(wanted.iter().map(&mut bring).collect())
    }

    async fn look(
        &self,
        node: NodeId,
        drive: DriveId,
        _: (PgId, u64),
        shards: Vec<(ShardId, u64)>,
    ) -> Result<Vec<Seen>, ShardsError> {
        self.reach(node, drive)?;
        let drives = self.drives.lock().unwrap();
        let held = drives.get(&drive);
        let damaged = self.damaged.lock().unwrap().contains(&drive);
        let see = |(shard, length): (ShardId, u64)| {
            assert_eq!(length, 250, "1000 bytes in four shards");
            match held.is_some_and(|held| held.contains_key(&shard)) {
                false => Seen::Missing,
                true if damaged => Seen::Damaged,
                true => Seen::Whole,
            }
        };
        Ok(shards.into_iter().map(see).collect())
    }

    async fn clean(
        &self,
        node: NodeId,
        drive: DriveId,
        (pg, epoch): (PgId, u64),
        shards: Vec<(ShardId, u8)>,
    ) -> Result<(), ShardsError> {
        self.reach(node, drive)?;
        assert_eq!(pg, PG);
        let row = self.row();
        if row.epoch != epoch {
            return Err(ShardsError::Stale);
        }
        for (shard, slot) in shards {
            let wanted = row.must_hold(slot).expect("a slot");
            if wanted.contains(drive) {
                return Err(ShardsError::Refused);
            }
            let mut drives = self.drives.lock().unwrap();
            drives.entry(drive).or_default().remove(&shard);
        }
        Ok(())
    }

    async fn drop_data(
        &self,
        node: NodeId,
        drive: DriveId,
        data: Vec<DataId>,
    ) -> Result<(), ShardsError> {
        assert!(data.len() <= crate::SHARDS_PER_REQUEST_MAX);
        self.drops.fetch_add(1, Ordering::Relaxed);
        self.reach(node, drive)?;
        for data in data {
            self.lose(drive, data);
        }
        Ok(())
    }
}

/// The drive of node 7, which is in no row at first.
#[async_trait]
impl OwnDrives for World {
    fn node(&self) -> Option<NodeId> {
        Some(NodeId(7))
    }

    fn drives(&self) -> Vec<DriveId> {
        vec![DriveId(7)]
    }

    async fn list(
        &self,
        drive: DriveId,
        after: Option<ShardId>,
        limit: usize,
    ) -> Result<Vec<HeldShard>, OwnDriveError> {
        if self.failing.lock().unwrap().contains(&drive) {
            let reason = "it is broken".into();
            return Err(OwnDriveError { drive, reason });
        }
        let drives = self.drives.lock().unwrap();
        let held = drives.get(&drive).into_iter().flatten();
        let later = held.filter(|(shard, _)| after.is_none_or(|after| **shard > after));
        let page = later.take(limit).map(|(shard, pg)| HeldShard {
            shard: *shard,
            pg: *pg,
        });
        Ok(page.collect())
    }

    async fn delete(&self, drive: DriveId, data: Vec<DataId>) -> Result<(), OwnDriveError> {
        for data in data {
            self.lose(drive, data);
        }
        Ok(())
    }
}
