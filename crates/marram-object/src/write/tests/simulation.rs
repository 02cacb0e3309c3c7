//! Random objects written to drives that die, fail and answer in any order, then read back with
//! any m drives of each extent lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use marram_erasure::{codec_for, encode_window};
use marram_meta::Extent;
use marram_placement::{DriveInfo, PoolTable, Topology, plan_pool};
use marram_types::{NodeId, ShardId};
use proptest::prelude::*;

use super::plan as plan_of;
use super::*;
use crate::{Health, ReadPlan, choose_row, narrow};

/// 4-byte cells and windows of at most 48 bytes: every boundary is met often.
const SIZES: Sizes = Sizes {
    cell: |_| 4,
    window: |k| 48 / (4 * k) * 4 * k,
    extent: 192,
};

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end.max(1)
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).expect("small")
    }
}

/// Drives, what they hold, and what is on its way to them.
struct World {
    random: Random,
    table: PoolTable,
    dead: BTreeSet<DriveId>,
    deaths: u64,
    faults: u64,
    /// Runs by shard and offset, with the drive they are on.
    held: HashMap<ShardId, (DriveId, BTreeMap<u64, Vec<u8>>)>,
    sent: Vec<(RunId, ShardId, DriveId, u64, Vec<u8>)>,
    acked: BTreeSet<RunId>,
    /// The newest attempt of each window.
    attempt: BTreeMap<WindowId, WindowWrite>,
}

impl World {
    fn new(drives: u64, width: usize, seed: u64, deaths: u64, faults: u64) -> Self {
        let drives = (1..=drives).map(|n| DriveInfo {
            drive: DriveId(n),
            node: NodeId(n),
            zone: String::new(),
            weight: 1,
        });
        let topology = Topology {
            drives: drives.collect(),
        };
        Self {
            random: Random(seed | 1),
            table: plan_pool(&topology, width).expect("enough drives"),
            dead: BTreeSet::new(),
            deaths,
            faults,
            held: HashMap::new(),
            sent: Vec::new(),
            acked: BTreeSet::new(),
            attempt: BTreeMap::new(),
        }
    }

    fn maybe_die(&mut self) {
        if self.deaths > 0 && self.random.below(20) == 0 {
            self.deaths -= 1;
            let row = &self.table.rows[0].drives;
            let drive = row[self.random.index(row.len())];
            self.dead.insert(drive);
        }
    }

    fn send(&mut self, write: &WindowWrite, window: &[u8]) {
        let mut padded = window.to_vec();
        padded.resize(
            usize::try_from(write.geometry.padded_len()).expect("small"),
            0,
        );
        let codec = codec_for(write.geometry.profile());
        let runs = encode_window(&*codec, &write.geometry, &padded.into()).expect("fits");
        for (target, run) in write.targets.iter().zip(runs) {
            self.sent.push((
                write.run(target.shard),
                write.shard_id(target.shard),
                target.drive,
                write.shard_offset,
                run.concat(),
            ));
        }
        self.attempt.insert(write.window, write.clone());
    }

    /// Ends one run that is on its way, chosen at random.
    fn end_one(&mut self, session: &mut WriteSession) {
        if self.sent.is_empty() {
            return;
        }
        let index = self.random.index(self.sent.len());
        let (run, shard, drive, offset, bytes) = self.sent.swap_remove(index);
        let dead = self.dead.contains(&drive);
        let fault = self.faults > 0 && self.random.below(25) == 0;
        if !dead && (!fault || self.random.below(2) == 0) {
            let (on, runs) = self.held.entry(shard).or_insert((drive, BTreeMap::new()));
            assert_eq!(*on, drive, "one shard on two drives");
            runs.insert(offset, bytes);
        }
        if dead || fault {
            self.faults -= u64::from(fault && !dead);
            session.run_ended(run, RunOutcome::Failed);
        } else {
            self.acked.insert(run);
            session.run_ended(run, RunOutcome::Durable);
        }
    }

    /// The bytes of a shard from its beginning up to the first hole: behind a failed run there may
    /// be later ones that no extent claims.
    fn shard(&self, shard: ShardId) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some((_, runs)) = self.held.get(&shard) {
            for (offset, run) in runs {
                if *offset != bytes.len() as u64 {
                    break;
                }
                bytes.extend_from_slice(run);
            }
        }
        bytes
    }

    /// Reads the whole object, with m shards of each extent lost.
    fn read(&mut self, extents: Vec<Extent>) -> Vec<u8> {
        let size = extents.iter().map(|e| e.length).sum();
        let mut plan = ReadPlan::new(extents, 0..size).expect("possible cells");
        let mut out = Vec::new();
        while let Some(mut step) = plan.next_step(|_, _| Health::Good) {
            let profile = step.extent().profile;
            let mut lost = BTreeSet::new();
            while lost.len() < profile.m() {
                lost.insert(self.random.index(profile.width()));
            }
            let mut fetches = step.start().expect("nothing failed yet");
            while let Some(fetch) = fetches.pop() {
                let more = if lost.contains(&usize::from(fetch.shard)) {
                    step.failed(fetch.shard)
                } else {
                    let at = usize::try_from(fetch.offset).expect("small");
                    let shard = self.shard(step.shard_id(fetch.shard));
                    step.arrived(fetch, Bytes::copy_from_slice(&shard[at..at + fetch.len]))
                };
                fetches.extend(more.expect("k shards are left"));
            }
            out.extend(step.finish().expect("all fetches ended").concat());
        }
        out
    }
}

/// How a simulated write ended.
#[derive(Debug)]
enum End {
    Complete(Completed),
    /// No row had two living drives.
    NoPlace(NoPlace),
    Failed(WriteFailure),
}

/// Drives a session to its end.
fn drive(world: &mut World, profile: Profile, content: &[u8]) -> End {
    let mut session = WriteSession::with_sizes(profile, SIZES);
    let mut rest = content;
    let mut windows = BTreeMap::new();
    let mut planned = 0;
    for _ in 0..100_000 {
        while let Some(command) = session.next_command() {
            match command {
                Command::PlanExtent => {
                    planned += 1;
                    let start = world.random.below(u64::MAX);
                    // The gateway does not know of every death.
                    let unaware = world.random.below(2) == 0;
                    let lives = |d| {
                        !session.avoided().contains(&d) && (unaware || !world.dead.contains(&d))
                    };
                    let row = choose_row(&world.table, start, lives).expect("rows");
                    let offered = narrow(profile, &row.living);
                    let plan = ExtentPlan {
                        data: plan_of(planned, 1).data,
                        pg: row.pg,
                        row: row.row,
                        also: row.also,
                        living: row.living,
                    };
                    let taken = session.extent_planned(plan);
                    assert_eq!(taken.is_ok(), offered.is_ok(), "rule 18 decides");
                    if let Err(refused) = taken {
                        session.abort();
                        assert_eq!(session.abandoned().len() as u64, planned - 1);
                        return End::NoPlace(refused);
                    }
                }
                Command::Write(write) => {
                    let bytes: &Vec<u8> = &windows[&write.window];
                    assert_eq!(write.geometry.length(), bytes.len() as u64);
                    world.send(&write, bytes);
                }
                Command::Forget { .. } => {}
                Command::Durable(id) => {
                    let write = &world.attempt[&id];
                    for target in &write.targets {
                        let run = write.run(target.shard);
                        assert!(world.acked.contains(&run), "{run:?} was never durable");
                    }
                    windows.remove(&id).expect("durable once");
                }
                Command::Complete(done) => return End::Complete(done),
                Command::Fail(why) => return End::Failed(why),
            }
        }
        world.maybe_die();
        if session.wants_window() && world.random.below(3) == 0 {
            let len = session.window_bytes().min(rest.len());
            if len == 0 {
                session.finish();
            } else {
                let id = session.push_window(len).expect("wanted");
                windows.insert(id, rest[..len].to_vec());
                rest = &rest[len..];
            }
        } else {
            world.end_one(&mut session);
        }
    }
    panic!("the write came to no end");
}

/// The extents as their row will hold them; each says where all of its shards are.
fn extents(done: &Completed) -> Vec<Extent> {
    let settled = done.extents.iter().map(|new| {
        let shards: BTreeSet<u8> = new.wrote.iter().map(|(shard, _)| *shard).collect();
        assert_eq!(shards.len(), new.extent.profile.width());
        new.extent.clone()
    });
    settled.collect()
}

fn check_extents(extents: &[Extent], asked: Profile, done: &Completed) {
    let ids: BTreeSet<_> = extents.iter().map(|e| e.data).collect();
    assert_eq!(ids.len(), extents.len(), "a data id twice");
    for extent in extents {
        assert!(extent.is_well_formed() && extent.length <= SIZES.extent);
        let kept = extent.profile.m() == asked.m();
        assert!(kept || (extent.profile.k() == 1 && done.under_protected));
    }
    let narrowed = extents.iter().any(|e| e.profile != asked);
    assert_eq!(narrowed, done.narrowed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A write ends; it completes unless rule 18 leaves no place; nothing is called durable
    /// before all its shards are; and the object is read back exactly after any m losses.
    #[test]
    fn writes_keep_their_promise(
        (k, m, spare) in prop::sample::select(vec![
            (4_u8, 2_u8, 0_u64), (4, 2, 3), (1, 2, 0), (2, 1, 1), (1, 1, 4), (8, 3, 1), (1, 0, 2),
        ]),
        size in 0_usize..900,
        seed in any::<u64>(),
        deaths in 0_u64..5,
        faults in 0_u64..5,
    ) {
        let asked = Profile::new(k, m).expect("valid");
        let drives = asked.width() as u64 + spare;
        let mut world = World::new(drives, asked.width(), seed, deaths, faults);
        let content: Vec<u8> = (0..size).map(|i| (i * 31 % 251).to_le_bytes()[0]).collect();
        match drive(&mut world, asked, &content) {
            End::Complete(done) => {
                let extents = extents(&done);
                check_extents(&extents, asked, &done);
                prop_assert_eq!(world.read(extents), content);
            }
            End::NoPlace(refused) => {
                prop_assert!(deaths + faults > 0);
                prop_assert!(refused.living < refused.need);
            }
            End::Failed(why) => {
                prop_assert!(false, "at most nine failures, and yet {}", why);
            }
        }
    }

    /// Without any failure nothing is narrowed and extents are as few as sizes allow.
    #[test]
    fn healthy_writes_are_whole(size in 0_usize..900, seed in any::<u64>()) {
        let asked = Profile::new(4, 2).expect("valid");
        let mut world = World::new(6, 6, seed, 0, 0);
        let content = vec![7; size];
        let End::Complete(done) = drive(&mut world, asked, &content) else {
            panic!("nothing failed");
        };
        prop_assert!(!done.narrowed && !done.under_protected);
        prop_assert_eq!(done.extents.len(), size.div_ceil(192));
        prop_assert_eq!(world.read(extents(&done)), content);
    }
}
