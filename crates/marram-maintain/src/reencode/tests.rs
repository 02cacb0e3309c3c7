//! Passes over the real state machine of one group; the nodes' work is one entry.

use std::collections::BTreeMap;

use marram_meta::{
    BucketRecord, BucketState, DriveRecord, Envelope, Extent, MemKv, NewBody, NewExtent,
    NewVersion, NodeDuty, NodeRecord, NodeState, Precondition, RootCommand, RootOutcome, answer,
    apply_object, stamp,
};
use marram_placement::{PoolTable, Spread};
use marram_types::{BucketId, BucketName, DriveId, PoolId, ReplicaId, RequestId, VersionId};

use super::*;
use crate::consensus::Members;

const BUCKET: BucketId = BucketId(7);
const GROUP: GroupId = GroupId(1);
const TIME_MS: u64 = 1_000_000;

fn profile(text: &str) -> Profile {
    text.parse().unwrap()
}

struct State {
    kv: MemKv,
    index: u64,
    down: BTreeSet<NodeId>,
    /// What each node answers, instead of doing what it is asked.
    refuses: BTreeMap<NodeId, ReencodingError>,
    asked: Vec<(NodeId, String, Profile)>,
}

struct Fake(Mutex<State>);

impl Fake {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn apply(&self, request: Option<RequestId>, command: &ObjectCommand) -> ObjectOutcome {
        let deadline = request.map_or(0, |_| TIME_MS + 1000);
        let mut entry = Envelope::seal(request, deadline, command);
        stamp(&mut entry, TIME_MS).unwrap();
        let mut state = self.lock();
        state.index += 1;
        let index = state.index;
        let outcome = apply_object(&mut state.kv, index, &entry).unwrap();
        ObjectOutcome::decode(&outcome).unwrap()
    }

    fn ask(&self, query: &ObjectQuery) -> ObjectAnswer {
        let state = self.lock();
        answer(&state.kv, state.index, query).unwrap()
    }

    /// What was asked since the last time, by key.
    fn asked(&self) -> Vec<(String, String)> {
        let asked = std::mem::take(&mut self.lock().asked);
        let mut asked: Vec<_> = asked
            .into_iter()
            .map(|(_, k, p)| (k, p.to_string()))
            .collect();
        asked.sort();
        asked
    }
}

#[async_trait::async_trait]
impl Consensus for Fake {
    fn root_if_leading(&self) -> Option<Members> {
        None
    }

    async fn propose_root(&self, _command: RootCommand) -> Result<RootOutcome, ConsensusError> {
        panic!("the root decides nothing here")
    }

    async fn propose_object(
        &self,
        group: GroupId,
        command: ObjectCommand,
    ) -> Result<ObjectOutcome, ConsensusError> {
        assert_eq!(group, GROUP);
        Ok(self.apply(None, &command))
    }

    async fn ask_object(
        &self,
        group: GroupId,
        query: ObjectQuery,
    ) -> Result<ObjectAnswer, ConsensusError> {
        assert_eq!(group, GROUP);
        Ok(self.ask(&query))
    }

    async fn add_root_learner(&self, _replica: ReplicaId) -> Result<(), ConsensusError> {
        Ok(())
    }

    async fn set_root_voters(&self, _voters: Vec<ReplicaId>) -> Result<(), ConsensusError> {
        Ok(())
    }

    fn led_groups(&self) -> Vec<GroupId> {
        vec![GroupId::ROOT, GROUP]
    }

    fn own_replica(&self) -> ReplicaId {
        ReplicaId(1)
    }

    fn is_up(&self, _replica: ReplicaId) -> bool {
        true
    }

    async fn hand_over(&self, _group: GroupId, _to: ReplicaId) -> Result<(), ConsensusError> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Reencoders for Fake {
    fn is_up(&self, node: NodeId) -> bool {
        !self.lock().down.contains(&node)
    }

    async fn reencode(&self, node: NodeId, what: &Reencoding) -> Result<u64, ReencodingError> {
        let refusal = {
            let mut state = self.lock();
            let key = what.object.1.as_str().to_owned();
            state.asked.push((node, key, what.profile));
            state.refuses.get(&node).copied()
        };
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let ObjectAnswer::Rows(rows) = self.ask(&ObjectQuery::Rows {
            pg: what.pg,
            after: None,
            limit: 1000,
        }) else {
            panic!("asked for rows");
        };
        let live = rows
            .extents
            .iter()
            .find(|live| live.extent.data == what.data);
        let (live, row) = (live.expect("it is live"), rows.row.expect("a row"));
        let free = |slot: &u8| row.moving.is_none_or(|m| m.slot != *slot);
        let slots = (0..6).filter(free).take(what.profile.width()).collect();
        let data = DataId {
            random: what.data.random + 1000,
            ..what.data
        };
        let new = written(live.extent.length, what.profile, data, slots);
        let outcome = self.apply(
            None,
            &ObjectCommand::Reencode {
                pg: what.pg,
                data: what.data,
                extents: vec![new],
            },
        );
        assert_eq!(outcome, ObjectOutcome::Reencoded);
        Ok(1)
    }
}

const PG: PgId = PgId {
    pool: PoolId(6),
    index: 0,
};

fn row() -> PgRow {
    PgRow::stable(1, (1..=6).map(|n| DriveId(n * 10)).collect())
}

fn written(length: u64, profile: Profile, data: DataId, slots: Vec<u8>) -> NewExtent {
    let wrote = (0_u8..).zip(&slots);
    let wrote = wrote.map(|(shard, slot)| (shard, row().drives[usize::from(*slot)]));
    NewExtent {
        wrote: wrote.collect(),
        extent: Extent {
            data,
            pg: PG,
            profile,
            cell: 65_536,
            length,
            slots,
            missing: 0,
            overrides: Vec::new(),
        },
    }
}

struct World {
    fake: Arc<Fake>,
    view: watch::Sender<Arc<ClusterView>>,
    work: Reencode<Fake, Fake>,
    written: u64,
}

fn view() -> ClusterView {
    let mut view = ClusterView::default();
    for number in 1..=6 {
        let record = NodeRecord {
            node: NodeId(number),
            name: String::new(),
            mesh_addr: String::new(),
            api_addr: String::new(),
            public_key: [0; 32],
            zone: String::new(),
            drives: vec![DriveRecord::new(DriveId(number * 10), 0, 1)],
            replica: None,
            replicas_past: Vec::new(),
            state: NodeState::Active,
            duty: NodeDuty::Serving,
            absence: marram_meta::Absence::default(),
        };
        view.nodes.insert(record.node, record);
    }
    let table = PoolTable {
        width: 6,
        epoch: 1,
        rows: vec![row()],
        domains: Spread::default(),
    };
    view.pools.insert(table.pool(), table);
    view
}

fn bucket(epoch: u64, wanted: &str) -> ObjectCommand {
    ObjectCommand::BucketFence(BucketRecord {
        bucket: BUCKET,
        name: BucketName::new("photos").unwrap(),
        epoch,
        state: BucketState::Active,
        profile: profile(wanted),
        created_ms: 0,
        versioning: marram_meta::Versioning::Off,
        quota: None,
        lifecycle: None,
        allowed: Vec::new(),
    })
}

fn fence(row: PgRow) -> ObjectCommand {
    ObjectCommand::LayoutFence {
        pool: PG.pool,
        rows: vec![(0, row)],
    }
}

impl World {
    fn new() -> Self {
        let fake = Arc::new(Fake(Mutex::new(State {
            kv: MemKv::new(),
            index: 10,
            down: BTreeSet::new(),
            refuses: BTreeMap::new(),
            asked: Vec::new(),
        })));
        fake.apply(None, &bucket(1, "4+2"));
        fake.apply(None, &fence(row()));
        let (sender, view) = watch::channel(Arc::new(view()));
        let work = Reencode::new(Arc::clone(&fake), Arc::clone(&fake), view);
        Self {
            fake,
            view: sender,
            work,
            written: 0,
        }
    }

    fn put(&mut self, name: &str, written_as: &str) {
        self.written += 1;
        let data = DataId {
            group: GROUP,
            begin: 1,
            random: self.written,
        };
        let length = 1 << 20;
        let as_profile = profile(written_as);
        let slots = (0..u8::try_from(as_profile.width()).unwrap()).collect();
        let body = NewBody::Extents(vec![written(length, as_profile, data, slots)]);
        self.commit(name, length, body);
    }

    fn commit(&mut self, name: &str, size: u64, body: NewBody) {
        self.written += 1;
        let request = RequestId {
            client: 1,
            sequence: self.written,
        };
        let outcome = self.fake.apply(
            Some(request),
            &ObjectCommand::Put {
                bucket: BUCKET,
                key: ObjectKey::new(name).unwrap(),
                content: NewVersion {
                    version: VersionId(u128::from(self.written)),
                    size,
                    crc64: 0,
                    etag: String::new(),
                    content_type: String::new(),
                    metadata: Vec::new(),
                    tags: Vec::new(),
                    asked: None,
                    own: None,
                    body,
                },
                precondition: Precondition::default(),
            },
        );
        assert!(matches!(outcome, ObjectOutcome::Committed { .. }));
    }

    fn change(&self, change: impl FnOnce(&mut ClusterView)) {
        self.view.send_modify(|view| change(Arc::make_mut(view)));
    }
}

fn did(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter()
        .map(|(k, p)| ((*k).to_owned(), (*p).to_owned()))
        .collect()
}

#[tokio::test]
async fn narrow_extents_are_widened_once_there_are_nodes_enough() {
    let mut world = World::new();
    world.put("narrow", "2+2");
    world.put("weak", "1+1");
    world.put("right", "4+2");
    world.fake.lock().down.insert(NodeId(3));
    let done = world.work.pass().await;
    assert_eq!(
        done,
        Done {
            done: 1,
            waiting: 1
        }
    );
    assert_eq!(world.fake.asked(), did(&[("weak", "3+2")]));
    world.fake.lock().down.clear();
    assert_eq!(
        world.work.pass().await,
        Done {
            done: 2,
            waiting: 0
        }
    );
    assert_eq!(
        world.fake.asked(),
        did(&[("narrow", "4+2"), ("weak", "4+2")])
    );
    assert_eq!(world.work.pass().await, Done::default());
    assert_eq!(world.fake.asked(), []);
}

#[tokio::test]
async fn a_busy_node_is_passed_over_and_one_that_cannot_is_waited_for() {
    let mut world = World::new();
    world.put("a", "2+2");
    let all = (1..=6).map(NodeId);
    let busy = all.clone().map(|node| (node, ReencodingError::Busy));
    world.fake.lock().refuses = busy.collect();
    assert_eq!(
        world.work.pass().await,
        Done {
            done: 0,
            waiting: 1
        }
    );
    let nodes: BTreeSet<NodeId> = world.fake.lock().asked.iter().map(|(n, ..)| *n).collect();
    assert_eq!(
        (nodes.len(), world.fake.asked().len()),
        (3, 3),
        "three nodes, once each"
    );

    let mut world = World::new();
    world.put("a", "2+2");
    let cannot = all.map(|node| (node, ReencodingError::NotNow));
    world.fake.lock().refuses = cannot.collect();
    world.work.pass().await;
    assert_eq!(world.fake.asked().len(), 1, "another node could not either");
    world.fake.lock().refuses.clear();
    assert_eq!(
        world.work.pass().await,
        Done::default(),
        "it is left alone for a while"
    );
    assert_eq!(world.fake.asked(), []);
}

#[tokio::test]
async fn a_changed_profile_is_judged_and_followed() {
    let mut world = World::new();
    for n in 0..300 {
        let bytes = vec![b'x'].into();
        let data = DataId {
            group: GROUP,
            begin: 1,
            random: 5000 + n,
        };
        world.commit(&format!("small/{n}"), 1, NewBody::Inline { data, bytes });
    }
    world.put("a", "4+2");
    world.put("b", "2+1");
    world.work.pass().await;
    assert_eq!(world.fake.asked(), did(&[("b", "4+2")]));
    world.fake.apply(None, &bucket(2, "2+1"));
    let done = world.work.pass().await;
    assert_eq!(done.done, 3 + 2, "three entries judge, two extents follow");
    assert_eq!(world.fake.asked(), did(&[("a", "2+1"), ("b", "2+1")]));
    assert_eq!(
        world.fake.ask(&ObjectQuery::Judging),
        ObjectAnswer::Judging(Vec::new())
    );
    assert_eq!(world.work.pass().await, Done::default());
}

/// Versions that are not current follow a changed profile as current ones do.
#[tokio::test]
async fn all_versions_of_a_bucket_that_keeps_them_follow() {
    let mut world = World::new();
    let keeps = |epoch, wanted| match bucket(epoch, wanted) {
        ObjectCommand::BucketFence(record) => ObjectCommand::BucketFence(BucketRecord {
            versioning: marram_meta::Versioning::On,
            quota: None,
            lifecycle: None,
            ..record
        }),
        other => panic!("{other:?}"),
    };
    world.fake.apply(None, &keeps(2, "4+2"));
    for _ in 0..3 {
        world.put("a", "4+2");
    }
    world.put("b", "2+1");
    world.put("b", "4+2");
    assert_eq!(world.work.pass().await.done, 1, "the narrow version of b");
    assert_eq!(world.fake.asked(), did(&[("b", "4+2")]));
    world.fake.apply(None, &keeps(3, "2+1"));
    let done = world.work.pass().await;
    assert_eq!(
        done.done,
        2 + 5,
        "an entry for each table, and all versions"
    );
    let asked = world.fake.asked();
    let of = |name: &str| asked.iter().filter(|(key, _)| key == name).count();
    assert_eq!((asked.len(), of("a"), of("b")), (5, 3, 2));
    let judging = world.fake.ask(&ObjectQuery::JudgingNoncurrent);
    assert_eq!(judging, ObjectAnswer::JudgingNoncurrent(Vec::new()));
    assert_eq!(world.work.pass().await, Done::default());
}

#[tokio::test]
async fn what_uses_a_slot_without_a_drive_is_encoded_anew_in_the_others() {
    let mut world = World::new();
    world.put("a", "4+2");
    world.put("b", "2+2");
    world.put("c", "2+2");
    let slot = 5;
    let dual = row().begin(slot, DriveId::vacant(slot), 2).unwrap();
    world.change(|view| {
        for node in [5, 6] {
            view.nodes.get_mut(&NodeId(node)).unwrap().duty = NodeDuty::Fenced;
        }
        view.pools.get_mut(&PG.pool).unwrap().rows[0] = dual.clone();
    });
    // The group does not know of it yet.
    assert_eq!(world.work.pass().await.done, 0);
    world.fake.apply(None, &fence(dual.clone()));
    assert_eq!(world.work.pass().await.done, 1);
    assert_eq!(
        world.fake.asked(),
        did(&[("a", "2+2")]),
        "the others do not use it"
    );
    assert_eq!(world.work.pass().await.done, 0);
    // A late commit that was written there strays, and has no other place when the slot is gone.
    let data = DataId {
        group: GROUP,
        begin: 1,
        random: 77,
    };
    let late = written(1 << 20, profile("2+2"), data, vec![0, 1, 2, 5]);
    let cut = dual.cut(3).unwrap();
    world.fake.apply(None, &fence(cut.clone()));
    world.commit("late", 1 << 20, NewBody::Extents(vec![late]));
    world.change(|view| view.pools.get_mut(&PG.pool).unwrap().rows[0] = cut.clone());
    assert_eq!(world.work.pass().await.done, 1);
    assert_eq!(world.fake.asked(), did(&[("late", "2+2")]));
}
