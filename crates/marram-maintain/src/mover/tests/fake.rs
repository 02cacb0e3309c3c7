//! A cluster in memory: the real state machines, and drives that are sets of shards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use marram_meta::{
    BucketRecord, BucketState, ClusterRecord, DriveJoin, Envelope, GroupRecord, LiveExtent, MemKv,
    NewBody, NewExtent, NewVersion, NodeDuty, NodeJoin, ObjectCommand, ObjectOutcome, Precondition,
    RootCommand, RootOutcome, Usage, Versioning, answer, apply_object, apply_root, stamp, view,
};
use marram_placement::{DriveInfo, PgRow, PoolTable, SlotMove, Topology, plan_pool};
use marram_types::{
    BucketId, BucketName, ClusterId, ObjectKey, PoolId, ReplicaId, RequestId, VersionId,
};
use tokio::sync::Notify;

use super::super::*;

mod seams;

pub(super) const POOL: PoolId = PoolId(3);
const ROWS: usize = 24;
const GROUPS: u16 = 3;
const BUCKET: BucketId = BucketId(7);
const TIME_MS: u64 = 1_000_000;

#[derive(Default)]
pub(super) struct Machine {
    kv: MemKv,
    index: u64,
}

/// A write that has begun: its shards are on drives, its entry comes some time.
struct Upload {
    group: GroupId,
    key: String,
    epoch: u64,
    new: NewExtent,
}

/// Requests that take long.
#[derive(Default)]
pub(super) struct Slow {
    /// Rows of which shards are restored only once [`Fake::quick`] is notified and they are taken out
    /// here, except for the first requests.
    pub(super) rows: BTreeSet<u16>,
    pub(super) quick_requests: usize,
    /// Those of them that were waited for.
    pub(super) waiting: BTreeSet<u16>,
    /// Rows for which drives fail, once [`Fake::quick`] is notified.
    pub(super) away: BTreeSet<u16>,
    /// What was restored, or was there already, row by row.
    pub(super) asked: Vec<(u16, ShardId)>,
    requests: BTreeMap<u16, usize>,
}

impl Slow {
    /// Whether a request waits.
    fn is_slow(&mut self, row: u16) -> bool {
        let done = self.requests.get(&row).copied().unwrap_or(0);
        let slow = self.rows.contains(&row) && done >= self.quick_requests;
        if slow {
            self.waiting.insert(row);
        }
        slow
    }
}

pub(super) struct State {
    root: Machine,
    groups: BTreeMap<GroupId, Machine>,
    pub(super) disks: BTreeMap<DriveId, BTreeSet<ShardId>>,
    pub(super) down: BTreeSet<NodeId>,
    /// What is on a drive and not what was written there.
    pub(super) damaged: BTreeSet<(DriveId, ShardId)>,
    /// How many shards a drive takes; it is full then.
    pub(super) limits: BTreeMap<DriveId, usize>,
    /// Nodes that answer and do nothing.
    pub(super) busy: BTreeSet<NodeId>,
    /// How often one of them was asked.
    pub(super) turned_away: usize,
    uploads: Vec<Upload>,
    random: u64,
    sequence: u64,
    /// One call in this many fails, before or after it did what it was asked.
    pub(super) faults: Option<u64>,
    /// The mover dies at this call.
    pub(super) dies_in: Option<u64>,
    /// Data that was at some time not where the layout says.
    pub(super) strayed: BTreeSet<DataId>,
    pub(super) cuts: usize,
    pub(super) cleaned: usize,
    pub(super) slow: Slow,
}

impl State {
    pub(super) fn random(&mut self, below: u64) -> u64 {
        // Knuth's generator: the same run for the same seed.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005);
        self.random = self.random.wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn fails(&mut self) -> bool {
        self.faults.is_some_and(|n| self.random(n) == 0)
    }

    pub(super) fn root(&mut self, command: &RootCommand) -> RootOutcome {
        let mut entry = Envelope::seal_internal(command);
        stamp(&mut entry, TIME_MS).unwrap();
        self.root.index += 1;
        let outcome = apply_root(&mut self.root.kv, self.root.index, &entry).unwrap();
        let outcome = RootOutcome::decode(&outcome).unwrap();
        if let (RootCommand::CutMoves { .. }, RootOutcome::Moved { applied, .. }) =
            (command, &outcome)
        {
            self.cuts += *applied as usize;
        }
        outcome
    }

    fn object_as(
        &mut self,
        request: Option<RequestId>,
        group: GroupId,
        command: &ObjectCommand,
    ) -> ObjectOutcome {
        let deadline = request.map_or(0, |_| TIME_MS + 1000);
        let mut entry = Envelope::seal(request, deadline, command);
        stamp(&mut entry, TIME_MS).unwrap();
        let machine = self.groups.get_mut(&group).unwrap();
        machine.index += 1;
        let outcome = apply_object(&mut machine.kv, machine.index, &entry).unwrap();
        ObjectOutcome::decode(&outcome).unwrap()
    }

    pub(super) fn object(&mut self, group: GroupId, command: &ObjectCommand) -> ObjectOutcome {
        let outcome = self.object_as(None, group, command);
        let refused = matches!(&outcome, ObjectOutcome::Refused(refusal)
            if !matches!(refusal, marram_meta::Refusal::Stale { .. }));
        assert!(!refused, "{command:?}: {outcome:?}");
        self.check_claims();
        outcome
    }

    pub(super) fn object_unchecked(&mut self, group: GroupId, command: &ObjectCommand) {
        self.object_as(None, group, command);
    }

    pub(super) fn ask(&self, group: GroupId, query: &ObjectQuery) -> ObjectAnswer {
        let machine = &self.groups[&group];
        answer(&machine.kv, machine.index, query).unwrap()
    }

    pub(super) fn view(&self) -> ClusterView {
        view(&self.root.kv).unwrap()
    }

    pub(super) fn table(&self) -> PoolTable {
        self.view().pools[&POOL].clone()
    }

    fn row(&self, pg: PgId) -> PgRow {
        self.table().row(pg).unwrap().clone()
    }

    fn home(&self, drive: DriveId) -> NodeId {
        let view = self.view();
        let has = |n: &&marram_meta::NodeRecord| n.drives.iter().any(|d| d.drive == drive);
        view.nodes.values().find(has).unwrap().node
    }

    fn holds(&self, drive: DriveId, shard: ShardId) -> bool {
        self.disks.get(&drive).is_some_and(|d| d.contains(&shard))
    }

    /// Whether a shard on a drive is what was written there.
    fn is_whole(&self, drive: DriveId, shard: ShardId) -> bool {
        self.holds(drive, shard) && !self.damaged.contains(&(drive, shard))
    }

    /// All live extents, each with the row that its group knows.
    pub(super) fn live(&self) -> Vec<(GroupId, PgRow, LiveExtent)> {
        let mut all = Vec::new();
        for group in self.groups.keys() {
            for index in 0..u16::try_from(ROWS).unwrap() {
                let query = ObjectQuery::Rows {
                    pg: PgId { pool: POOL, index },
                    after: None,
                    limit: 1000,
                };
                let ObjectAnswer::Rows(page) = self.ask(*group, &query) else {
                    panic!("not rows");
                };
                let row = page.row;
                let each = page.extents.into_iter();
                all.extend(each.map(|live| (*group, row.clone().unwrap(), live)));
            }
        }
        all
    }

    /// What a row claims is where readers look, unless that node is lost (property P1).
    fn check_claims(&mut self) {
        let live = self.live();
        let view = self.view();
        let homes = crate::moves::Homes::of(&view);
        for (_, row, live) in live {
            for (shard, place) in (0..).zip(&live.places) {
                let id = ShardId {
                    data: live.extent.data,
                    slot: shard,
                    repair: 0,
                };
                let lost = homes.node(*place).is_none_or(|n| self.down.contains(&n));
                assert!(
                    lost || live.extent.is_missing(shard) || self.holds(*place, id),
                    "{id} is not at {place}, {row:?}"
                );
            }
            if !live.extent.overrides.is_empty() {
                self.strayed.insert(live.extent.data);
            }
        }
    }

    /// Every group learns of every row, as from the controller.
    pub(super) fn fence_all(&mut self) {
        let table = self.table();
        let rows: Vec<_> = (0..).zip(table.rows).collect();
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            let rows = rows.clone();
            self.object(group, &ObjectCommand::LayoutFence { pool: POOL, rows });
        }
    }

    pub(super) fn add_node(&mut self, number: u8) -> NodeId {
        let join = NodeJoin {
            name: format!("n{number}"),
            mesh_addr: format!("m{number}"),
            api_addr: format!("a{number}"),
            public_key: [number; 32],
            zone: String::new(),
            drives: vec![DriveJoin {
                ordinal: 0,
                capacity: 1 << 40,
            }],
        };
        match self.root(&RootCommand::AddNode(join)) {
            RootOutcome::NodeAdded { node, .. } => node,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn set_duty(&mut self, node: NodeId, duty: NodeDuty) {
        assert_eq!(
            self.root(&RootCommand::SetDuty { node, duty }),
            RootOutcome::Done
        );
    }

    /// Begins a write: shards go where the group wants them now, of a moving slot sometimes to one
    /// end only.
    pub(super) fn begin_write(&mut self) {
        let group = GroupId(1 + u16::try_from(self.random(u64::from(GROUPS))).unwrap());
        let index = u16::try_from(self.random(ROWS as u64)).unwrap();
        let pg = PgId { pool: POOL, index };
        self.sequence += 1;
        let random = self.sequence;
        let query = ObjectQuery::Rows {
            pg,
            after: None,
            limit: 1,
        };
        let ObjectAnswer::Rows(known) = self.ask(group, &query) else {
            panic!("not rows");
        };
        let row = known.row.unwrap();
        let extent = Extent {
            data: DataId {
                group,
                begin: known.index,
                random,
            },
            pg,
            profile: "2+1".parse().unwrap(),
            cell: 65_536,
            length: 200_000,
            slots: vec![0, 1, 2],
            missing: 0,
            overrides: Vec::new(),
        };
        let mut wrote = Vec::new();
        for (shard, slot) in extent.shards() {
            let places: Vec<DriveId> = row.must_hold(slot).unwrap().iter().collect();
            let one = places.len() > 1 && self.random(4) == 0;
            let only = usize::try_from(self.random(2)).unwrap();
            for (at, drive) in places.iter().enumerate() {
                let away = self.down.contains(&self.home(*drive));
                if !(away || one && at == only) {
                    wrote.push((shard, *drive));
                }
            }
            if !wrote.iter().any(|(of, _)| *of == shard) {
                return;
            }
        }
        for (shard, drive) in &wrote {
            let id = ShardId {
                data: extent.data,
                slot: *shard,
                repair: 0,
            };
            self.disks.entry(*drive).or_default().insert(id);
        }
        let new = NewExtent { extent, wrote };
        let key = format!("k{}", self.random(150));
        let epoch = row.epoch;
        self.uploads.push(Upload {
            group,
            key,
            epoch,
            new,
        });
    }

    /// Commits a write that began some time ago.
    pub(super) fn commit_write(&mut self) {
        if self.uploads.is_empty() {
            return;
        }
        let at = usize::try_from(self.random(self.uploads.len() as u64)).unwrap();
        let Upload {
            group,
            key,
            epoch,
            new,
        } = self.uploads.swap_remove(at);
        let (data, pg) = (new.extent.data, new.extent.pg);
        self.sequence += 1;
        let sequence = self.sequence;
        let request = RequestId {
            client: 1,
            sequence,
        };
        let put = ObjectCommand::Put {
            bucket: BUCKET,
            key: ObjectKey::new(&key).unwrap(),
            content: NewVersion {
                version: VersionId(u128::from(sequence)),
                size: new.extent.length,
                crc64: 1,
                etag: "\"e\"".into(),
                content_type: String::new(),
                metadata: Vec::new(),
                tags: Vec::new(),
                asked: None,
                own: None,
                body: NewBody::Extents(vec![new]),
            },
            precondition: Precondition::default(),
        };
        let outcome = self.object_as(Some(request), group, &put);
        assert!(
            matches!(outcome, ObjectOutcome::Committed { .. }),
            "{outcome:?}"
        );
        // Committed in another epoch than begun: perhaps after the old place was cleaned.
        if self.known_row(group, pg).epoch != epoch {
            self.strayed.insert(data);
        }
        self.check_claims();
    }

    fn known_row(&self, group: GroupId, pg: PgId) -> PgRow {
        let query = ObjectQuery::Rows {
            pg,
            after: None,
            limit: 1,
        };
        match self.ask(group, &query) {
            ObjectAnswer::Rows(page) => page.row.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn write(&mut self, count: usize) {
        for _ in 0..count {
            self.begin_write();
        }
        while !self.uploads.is_empty() {
            self.commit_write();
        }
    }

    pub(super) fn start(&mut self, planned: SlotMove) {
        let command = RootCommand::StartMoves {
            pool: POOL,
            moves: vec![planned],
        };
        let outcome = self.root(&command);
        assert!(matches!(outcome, RootOutcome::Moved { applied: 1, .. }));
    }

    /// What all groups count together.
    pub(super) fn usage(&self) -> Usage {
        let query = ObjectQuery::Usage { bucket: None };
        let of = |group: &GroupId| match self.ask(*group, &query) {
            ObjectAnswer::Usage(usage) => usage,
            other => panic!("{other:?}"),
        };
        self.groups
            .keys()
            .map(of)
            .fold(Usage::default(), Usage::plus)
    }

    pub(super) fn tickets(&self) -> usize {
        let query = ObjectQuery::Tickets {
            after: None,
            limit: 1000,
        };
        let count = |group: &GroupId| match self.ask(*group, &query) {
            ObjectAnswer::Tickets(page) => page.tickets.len(),
            other => panic!("{other:?}"),
        };
        self.groups.keys().map(count).sum()
    }
}

pub(super) struct Fake {
    state: Mutex<State>,
    view: watch::Sender<Arc<ClusterView>>,
    pub(super) died: Notify,
    /// Rows are slow no more, or fail at last.
    pub(super) quick: Notify,
}

fn bucket_record() -> BucketRecord {
    BucketRecord {
        bucket: BUCKET,
        name: BucketName::new("photos").unwrap(),
        epoch: 1,
        state: BucketState::Active,
        profile: "2+1".parse().unwrap(),
        created_ms: 5,
        versioning: Versioning::Off,
        quota: None,
        lifecycle: None,
        allowed: Vec::new(),
    }
}

fn empty_state(seed: u64) -> State {
    State {
        root: Machine {
            kv: MemKv::new(),
            index: 10,
        },
        groups: BTreeMap::new(),
        disks: BTreeMap::new(),
        down: BTreeSet::new(),
        damaged: BTreeSet::new(),
        limits: BTreeMap::new(),
        busy: BTreeSet::new(),
        turned_away: 0,
        uploads: Vec::new(),
        random: seed,
        sequence: 0,
        faults: None,
        dies_in: None,
        strayed: BTreeSet::new(),
        cuts: 0,
        cleaned: 0,
        slow: Slow::default(),
    }
}

impl Fake {
    /// A cluster of so many nodes with one drive each and a pool of width 3.
    pub(super) fn new(nodes: u8, seed: u64) -> Arc<Self> {
        let mut state = empty_state(seed);
        let cluster = ClusterRecord {
            cluster: ClusterId(1),
            name: "test".into(),
            version: 1,
            object_groups: GROUPS,
            expected_nodes: 1,
            default_profile: None,
        };
        let keys = Vec::new();
        state.root(&RootCommand::Bootstrap { cluster, keys });
        for number in 1..=nodes {
            state.add_node(number);
        }
        let record = |group| GroupRecord::new(GroupId(group), vec![ReplicaId(1)]);
        let groups = (1..=GROUPS).map(record).collect();
        state.root(&RootCommand::CreateGroups(groups));
        let drives = state.view().nodes.into_values().map(|n| DriveInfo {
            drive: n.drives[0].drive,
            node: n.node,
            zone: String::new(),
            weight: 1,
        });
        let drives = drives.collect();
        let mut table = plan_pool(&Topology { drives }, 3).unwrap();
        table.rows.truncate(ROWS);
        state.root(&RootCommand::CreatePool(table));
        let bucket = bucket_record();
        for group in (1..=GROUPS).map(GroupId) {
            let machine = Machine {
                kv: MemKv::new(),
                index: 10,
            };
            state.groups.insert(group, machine);
        }
        for group in (1..=GROUPS).map(GroupId) {
            state.object_as(None, group, &ObjectCommand::BucketFence(bucket.clone()));
            let rows = (0..).zip(state.table().rows).collect();
            state.object_as(
                None,
                group,
                &ObjectCommand::LayoutFence { pool: POOL, rows },
            );
        }
        let (view, _) = watch::channel(Arc::new(state.view()));
        Arc::new(Self {
            state: Mutex::new(state),
            view,
            died: Notify::new(),
            quick: Notify::new(),
        })
    }

    /// The same, with a bucket that keeps every version.
    pub(super) fn versioned(nodes: u8, seed: u64) -> Arc<Self> {
        let fake = Self::new(nodes, seed);
        let bucket = BucketRecord {
            epoch: 2,
            versioning: Versioning::On,
            quota: None,
            lifecycle: None,
            ..bucket_record()
        };
        for group in (1..=GROUPS).map(GroupId) {
            fake.state()
                .object(group, &ObjectCommand::BucketFence(bucket.clone()));
        }
        fake
    }

    /// The state; call [`Self::publish`] when the root's was changed.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn publish(&self) {
        let view = self.state().view();
        self.view.send_replace(Arc::new(view));
    }

    pub(super) fn work(self: &Arc<Self>) -> Arc<Work<Self, Self>> {
        self.work_without(Duration::ZERO)
    }

    /// With so much time for which a full drive gets no moves.
    pub(super) fn work_without(self: &Arc<Self>, unfit: Duration) -> Arc<Work<Self, Self>> {
        let patience = Patience {
            look: Duration::ZERO,
            turn: Duration::from_millis(10),
            later: Duration::ZERO,
            latest: Duration::ZERO,
            quiet: Duration::ZERO,
            away: Duration::from_secs(60),
            unfit,
            tickets: Duration::ZERO,
            narrow: Duration::from_secs(600),
        };
        let view = self.view.subscribe();
        Arc::new(Work::new(
            Arc::clone(self),
            Arc::clone(self),
            view,
            patience,
        ))
    }

    /// One call of the mover: where it may die.
    async fn call(&self) {
        let dies = {
            let mut state = self.state();
            let left = state.dies_in.map(|n| n.saturating_sub(1));
            state.dies_in = left;
            left == Some(0)
        };
        if dies {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
    }

    async fn until_quick(&self, row: u16) -> Result<(), ShardsError> {
        loop {
            let quick = self.quick.notified();
            let fails = self.state().slow.away.contains(&row);
            if !fails && !self.state().slow.is_slow(row) {
                return Ok(());
            }
            quick.await;
            if fails {
                return Err(ShardsError::Away);
            }
        }
    }

    fn check(state: &mut State, node: NodeId, (pg, epoch): (PgId, u64)) -> Result<(), ShardsError> {
        if state.down.contains(&node) || state.fails() {
            return Err(ShardsError::Away);
        }
        if state.busy.contains(&node) {
            state.turned_away += 1;
            return Err(ShardsError::Busy);
        }
        match state.row(pg).epoch {
            known if known < epoch => Err(ShardsError::Behind),
            known if known > epoch => Err(ShardsError::Stale),
            _ => Ok(()),
        }
    }
}
