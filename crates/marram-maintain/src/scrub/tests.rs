//! A drive with faults, a group of real metadata, and passes that break off and go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use marram_meta::{ObjectAnswer, ObjectQuery, UpkeepRecord};
use marram_types::{DataId, GroupId, NodeId};

use super::pass::Pass;
use super::replicas::{compare, judge};
use super::*;
use crate::collect::tests::fake::World;

/// The drive that is scrubbed: slot 2 of the one placement group.
const DRIVE: DriveId = DriveId(3);
const SLOT: u8 = 2;
const HOUR: Duration = Duration::from_hours(1);
/// What is to come comes within this time on a busy machine.
const WITHIN: Duration = Duration::from_mins(1);
/// What is not to come would have come within this time: the scrubber has looked more than once.
const RATHER: Duration = LOOK_EVERY.saturating_mul(3);

/// The drive as the scrub sees it, beside what the world holds.
struct Own {
    world: Arc<World>,
    faulty: Mutex<BTreeMap<DataId, Fault>>,
    note: Mutex<Option<Vec<u8>>>,
    now_ms: AtomicU64,
    reads: AtomicU64,
    fails: AtomicBool,
}

impl Own {
    fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            faulty: Mutex::default(),
            note: Mutex::default(),
            now_ms: AtomicU64::new(1_000_000),
            reads: AtomicU64::new(0),
            fails: AtomicBool::new(false),
        })
    }

    fn spoil(&self, data: DataId, fault: Fault) {
        self.faulty.lock().unwrap().insert(data, fault);
    }

    fn kept(&self) -> ScrubNote {
        let note = self.note.lock().unwrap();
        ScrubNote::decode(note.as_ref().expect("kept")).expect("a note")
    }
}

#[async_trait]
impl ScrubDrives for Own {
    fn drives(&self) -> Vec<DriveId> {
        vec![DRIVE]
    }

    fn record_bytes(&self, _: DriveId) -> u64 {
        5_000
    }

    /// Two runs a page, each of 250 bytes.
    async fn read(
        &self,
        drive: DriveId,
        after: Option<RunPlace>,
        _: u64,
    ) -> Result<ReadThrough, OwnDriveError> {
        if self.fails.load(Ordering::Relaxed) {
            let reason = "it is broken".into();
            return Err(OwnDriveError { drive, reason });
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        let after = after.map(|at| at.shard);
        let listed = crate::scan::OwnDrives::list(self.world.as_ref(), drive, after, 3).await?;
        let faulty = self.faulty.lock().unwrap();
        let page: Vec<_> = listed.iter().take(2).collect();
        let wrong = |held: &&&crate::scan::HeldShard| faulty.get(&held.shard.data).copied();
        let runs = page.iter().filter_map(|held| {
            wrong(&held).map(|fault| FaultyRun {
                shard: held.shard,
                pg: held.pg,
                fault,
            })
        });
        let last = page.last().map(|held| RunPlace {
            shard: held.shard,
            offset: 0,
        });
        Ok(ReadThrough {
            runs: page.len() as u64,
            bytes: 250 * page.len() as u64,
            faulty: runs.collect(),
            mended: 0,
            last,
            done: listed.len() <= 2,
        })
    }

    async fn holds(
        &self,
        drive: DriveId,
        shards: Vec<(ShardId, u64)>,
    ) -> Result<Vec<bool>, OwnDriveError> {
        let held = |(shard, len): (ShardId, u64)| {
            assert_eq!((shard.slot, len), (SLOT, 250), "1000 bytes in four shards");
            self.world.has(drive, shard.data)
        };
        Ok(shards.into_iter().map(held).collect())
    }

    async fn note(&self, _: DriveId) -> Option<Vec<u8>> {
        self.note.lock().unwrap().clone()
    }

    async fn keep_note(&self, _: DriveId, note: Vec<u8>) -> Result<(), OwnDriveError> {
        *self.note.lock().unwrap() = Some(note);
        Ok(())
    }

    async fn pace(&self, _: DriveId, _: u64) {}

    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }
}

/// The data of all tickets that say a shard is missing.
fn tickets(world: &World) -> Vec<DataId> {
    let query = ObjectQuery::Tickets {
        after: None,
        limit: 100,
    };
    match world.ask(&query) {
        ObjectAnswer::Tickets(page) => {
            let missing = |item: &&marram_meta::TicketItem| item.extent.extent.is_missing(SLOT);
            let items = page.tickets.iter().filter(missing);
            items.map(|item| item.ticket.data).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn filled(objects: usize) -> (Arc<World>, Vec<DataId>) {
    let world = World::new();
    let data = (0..objects)
        .map(|i| world.put(&format!("key-{i}")))
        .collect();
    (world, data)
}

fn begun() -> ScrubNote {
    let mut note = ScrubNote::fresh(5);
    note.begin(10);
    note
}

/// Takes steps until the pass ends.
async fn to_its_end(world: &Arc<World>, own: &Own, note: &mut ScrubNote) -> usize {
    let view = world.view.subscribe();
    let pass = Pass {
        consensus: world.as_ref(),
        own,
        view: &view,
        drive: DRIVE,
    };
    for step in 0..100 {
        if !note.is_under_way() {
            return step;
        }
        pass.step(note).await.expect("a step");
    }
    panic!("the pass does not end");
}

#[tokio::test]
async fn a_sound_drive_needs_no_repair() {
    let (world, data) = filled(7);
    let own = Own::new(&world);
    let mut note = begun();
    to_its_end(&world, &own, &mut note).await;
    let pass = note.last.expect("a full pass");
    assert_eq!((pass.began_ms, pass.ended_ms), (10, 1_000_000));
    assert_eq!((pass.found.runs, pass.found.bytes), (7, 1750));
    assert_eq!((pass.found.compared, pass.found.any()), (7, false));
    assert_eq!(tickets(&world), []);
    assert_eq!(data.len(), 7);
}

#[tokio::test]
async fn every_fault_has_a_ticket_and_nothing_else_has() {
    let (world, data) = filled(9);
    let own = Own::new(&world);
    own.spoil(data[1], Fault::Damaged);
    own.spoil(data[2], Fault::Unreadable);
    own.spoil(data[5], Fault::Gone);
    world.lose(DRIVE, data[7]);
    // What nobody looks for here has no ticket: garbage, and a copy left over from a move.
    own.spoil(data[8], Fault::Damaged);
    world.delete("key-8");
    let orphan = world.begin();
    world.hold(DRIVE, orphan, SLOT);
    own.spoil(orphan, Fault::Damaged);
    let mut note = begun();
    to_its_end(&world, &own, &mut note).await;
    assert_eq!(tickets(&world), [data[1], data[2], data[5], data[7]]);
    let found = note.last.expect("a full pass").found;
    assert_eq!((found.damaged, found.unreadable, found.gone), (3, 1, 1));
    assert_eq!((found.missing, found.tickets), (1, 4));
    // What is known to be lost is not looked for again.
    own.faulty.lock().unwrap().clear();
    note.begin(20);
    to_its_end(&world, &own, &mut note).await;
    assert_eq!(note.last.expect("another").found.compared, 4);
}

/// The group does not answer when the fault is reported: the cursor stays before it.
#[tokio::test]
async fn what_a_group_has_not_heard_of_is_read_again() {
    let (world, data) = filled(6);
    let own = Own::new(&world);
    own.spoil(data[3], Fault::Damaged);
    let view = world.view.subscribe();
    let pass = Pass {
        consensus: world.as_ref(),
        own: own.as_ref(),
        view: &view,
        drive: DRIVE,
    };
    let mut note = begun();
    pass.step(&mut note).await.expect("the first page");
    let before = note;
    world.lose_answers(true);
    assert!(pass.step(&mut note).await.is_err());
    assert_eq!(note, before);
    world.lose_answers(false);
    to_its_end(&world, &own, &mut note).await;
    assert_eq!(tickets(&world), [data[3]]);
    assert_eq!(note.last.expect("a full pass").found.damaged, 1);
}

#[tokio::test]
async fn a_group_that_this_node_has_not_heard_of_is_left_alone() {
    let (world, data) = filled(2);
    let own = Own::new(&world);
    let stranger = DataId {
        group: GroupId(77),
        ..data[0]
    };
    world.hold(DRIVE, stranger, SLOT);
    own.spoil(stranger, Fault::Damaged);
    let mut note = begun();
    to_its_end(&world, &own, &mut note).await;
    assert_eq!(note.last.expect("a full pass").found.tickets, 0);
}

fn scrubber(world: &Arc<World>, own: &Arc<Own>, handle: &Arc<ScrubHandle>) -> Scrubber<World, Own> {
    let settings = ScrubSettings {
        every: HOUR,
        bytes_per_s: 1 << 30,
    };
    Scrubber::new(
        Arc::clone(world),
        Arc::clone(own),
        world.view.subscribe(),
        settings,
        Arc::clone(handle),
    )
}

/// Runs the scrubber until `done`.
async fn run_until(
    world: &Arc<World>,
    own: &Arc<Own>,
    handle: &Arc<ScrubHandle>,
    done: impl Fn(&BTreeMap<DriveId, DriveScrub>) -> bool,
) {
    let running = scrubber(world, own, handle).run();
    let mut states = handle.states.subscribe();
    let came = states.wait_for(|states| done(states));
    tokio::select! {
        () = running => panic!("it runs as long as the view is there"),
        came = tokio::time::timeout(WITHIN, came) => {
            let _state = came.expect("in time").expect("the handle is there");
        }
    }
}

fn ended(states: &BTreeMap<DriveId, DriveScrub>) -> bool {
    let state = states.get(&DRIVE);
    state.is_some_and(|s| s.note.last.is_some() && !s.note.is_under_way())
}

#[tokio::test]
async fn a_pass_begins_when_it_is_due_and_not_before() {
    let (world, _) = filled(3);
    let own = Own::new(&world);
    let handle = Arc::new(ScrubHandle::default());
    run_until(&world, &own, &handle, |states| states.contains_key(&DRIVE)).await;
    let before_ms = u64::try_from(HOUR.as_millis()).unwrap() - 1;
    own.now_ms.fetch_add(before_ms, Ordering::Relaxed);
    let early = tokio::time::timeout(RATHER, run_until(&world, &own, &handle, ended)).await;
    assert!(early.is_err(), "a millisecond is missing");
    own.now_ms.fetch_add(1, Ordering::Relaxed);
    run_until(&world, &own, &handle, ended).await;
    assert_eq!(own.kept().last.expect("kept").found.runs, 3);
}

#[tokio::test]
async fn a_pass_that_was_broken_off_goes_on_where_it_was() {
    let (world, _) = filled(8);
    let own = Own::new(&world);
    let mut note = begun();
    let view = world.view.subscribe();
    let pass = Pass {
        consensus: world.as_ref(),
        own: own.as_ref(),
        view: &view,
        drive: DRIVE,
    };
    pass.step(&mut note).await.expect("two runs");
    pass.step(&mut note).await.expect("two more");
    *own.note.lock().unwrap() = Some(note.encode());
    assert_eq!(own.reads.swap(0, Ordering::Relaxed), 2);
    let handle = Arc::new(ScrubHandle::default());
    run_until(&world, &own, &handle, ended).await;
    assert_eq!(own.reads.load(Ordering::Relaxed), 2, "the rest only");
    let pass = own.kept().last.expect("a full pass");
    assert_eq!((pass.found.runs, pass.began_ms), (8, 10));
}

#[tokio::test]
async fn what_is_asked_for_begins_at_once_and_once() {
    let (world, _) = filled(4);
    let own = Own::new(&world);
    own.fails.store(true, Ordering::Relaxed);
    let handle = Arc::new(ScrubHandle::default());
    let running = tokio::spawn(scrubber(&world, &own, &handle).run());
    let mut states = handle.states.subscribe();
    drop(states.wait_for(|s| s.contains_key(&DRIVE)).await.unwrap());
    assert_eq!(handle.start().await, 1);
    assert!(
        own.kept().is_under_way(),
        "it is written down when it is answered"
    );
    let begun = own.kept().since_ms;
    own.now_ms.fetch_add(50, Ordering::Relaxed);
    assert_eq!(handle.start().await, 1, "it goes on");
    assert_eq!(own.kept().since_ms, begun);
    let stuck = |s: &BTreeMap<DriveId, DriveScrub>| s[&DRIVE].stuck;
    drop(states.wait_for(stuck).await.unwrap());
    own.fails.store(false, Ordering::Relaxed);
    drop(states.wait_for(ended).await.unwrap());
    running.abort();
}

#[tokio::test]
async fn a_paused_pass_rests_and_goes_on() {
    let (world, _) = filled(8);
    let own = Own::new(&world);
    let paused = |since| {
        world.view.send_modify(|view| {
            Arc::make_mut(view).upkeep = UpkeepRecord {
                scrub_paused_ms: since,
                ..UpkeepRecord::default()
            };
        });
    };
    paused(Some(7));
    *own.note.lock().unwrap() = Some(begun().encode());
    let handle = Arc::new(ScrubHandle::default());
    let rested = tokio::time::timeout(RATHER, run_until(&world, &own, &handle, ended)).await;
    assert!(rested.is_err());
    assert_eq!(own.reads.load(Ordering::Relaxed), 0);
    paused(None);
    run_until(&world, &own, &handle, ended).await;
}

#[test]
fn states_that_differ_are_told_and_silence_proves_nothing() {
    use HashAnswer::{Elsewhere, Hash, Silent};
    let own = NodeId(1);
    let says = |answers: &[HashAnswer]| {
        let nodes = (1..).map(NodeId);
        judge(own, &nodes.zip(answers.iter().copied()).collect::<Vec<_>>())
    };
    assert_eq!(says(&[Hash(5), Hash(5), Hash(5)]), Verdict::Equal(3));
    assert_eq!(says(&[Hash(5), Hash(5), Elsewhere]), Verdict::Equal(2));
    assert_eq!(says(&[Hash(5), Silent, Elsewhere]), Verdict::Unknown);
    assert_eq!(
        says(&[Elsewhere, Hash(5), Hash(6)]),
        Verdict::Unknown,
        "the leader moved on"
    );
    let differs = Verdict::Different(vec![NodeId(3)]);
    assert_eq!(says(&[Hash(5), Hash(5), Hash(6)]), differs);
}

/// Replicas that are never at the index that was asked for, until they are.
struct Moving {
    index: AtomicU64,
    still: u64,
}

#[async_trait]
impl ReplicaStates for Moving {
    fn index(&self, _: GroupId) -> Option<u64> {
        Some(self.index.fetch_add(1, Ordering::Relaxed))
    }

    async fn hash_at(&self, node: NodeId, _: GroupId, index: u64) -> HashAnswer {
        match index < self.still && node == NodeId(2) {
            true => HashAnswer::Elsewhere,
            false => HashAnswer::Hash(index),
        }
    }

    fn node(&self) -> Option<NodeId> {
        Some(NodeId(1))
    }

    fn now_ms(&self) -> u64 {
        9
    }
}

#[tokio::test]
async fn a_busy_group_is_asked_again_until_it_is_quiet() {
    let moving = |still| Moving {
        index: AtomicU64::new(100),
        still,
    };
    let nodes = [NodeId(1), NodeId(2)];
    let compared = compare(&moving(102), GroupId(1), &nodes).await;
    let compared = compared.expect("it leads");
    assert_eq!((compared.index, compared.verdict), (102, Verdict::Equal(2)));
}
