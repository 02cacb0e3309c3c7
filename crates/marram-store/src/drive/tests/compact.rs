//! Compaction of segments of small records: what it gives back, and that nothing is lost by it at any step.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::drive::store::READS_FAILED_MAX;

/// Smallest segments, so that little data fills many.
fn small_segments() -> DriveOptions {
    let mut options = options();
    options.segment_bytes = SEGMENT_BYTES_MIN;
    options
}

fn open_small(root: &Path) -> Drive {
    Drive::open(Arc::new(OsVfs), root, small_segments()).expect("opens")
}

fn checkpoint(drive: &Drive) {
    keeper::checkpoint(&drive.0.store, &[]).expect("checkpoint");
}

/// Takes all steps of the compaction of a segment.
async fn compact(drive: &Drive, segment: u64) -> Result<CompactPage, CompactError> {
    let mut from = 0;
    loop {
        let page = drive.compact(segment, from, 300_000).await?;
        if page.done {
            return Ok(page);
        }
        assert!(page.next > from, "it goes on");
        from = page.next;
    }
}

/// Compacts until nothing is worth it; says how many segments.
async fn compact_all(drive: &Drive) -> u64 {
    let mut count = 0;
    while let Some(next) = drive.compactable() {
        assert!(next.dead_bytes > 0 && next.live_bytes > 0);
        compact(drive, next.segment).await.expect("compacted");
        checkpoint(drive);
        count += 1;
    }
    count
}

/// A seed of this run, printed for whoever has to repeat it.
fn seed() -> u64 {
    let seed = std::env::var("MARRAM_SEED").ok();
    let seed = seed.and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("MARRAM_SEED={seed}");
    seed
}

/// Small objects that are overwritten: each version is a shard of its own, the one before is deleted.
struct Objects {
    rng: StdRng,
    next: u64,
    live: BTreeMap<u64, usize>,
    deleted: BTreeSet<u64>,
}

impl Objects {
    fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            next: 0,
            live: BTreeMap::new(),
            deleted: BTreeSet::new(),
        }
    }

    async fn put(&mut self, drive: &Drive) {
        let len = self.rng.random_range(1..40_000);
        let id = self.next;
        self.next += 1;
        put(drive, shard(id, 0), 0, &data(id, len)).await;
        self.live.insert(id, len);
    }

    async fn delete_one(&mut self, drive: &Drive) {
        let ids: Vec<u64> = self.live.keys().copied().collect();
        let id = *ids.choose(&mut self.rng).expect("some live");
        self.live.remove(&id);
        self.deleted.insert(id);
        let removed = drive.delete(vec![shard(id, 0).data]).await;
        assert_eq!(removed.expect("deleted"), 1, "object {id}");
    }

    /// Writes `count`, then overwrites `times`.
    async fn work(&mut self, drive: &Drive, count: usize, times: usize) {
        while self.live.len() < count {
            self.put(drive).await;
        }
        for _ in 0..times {
            self.put(drive).await;
            self.delete_one(drive).await;
        }
    }

    /// Every live object is read, whole; and those that were deleted are not here, where `exact`.
    async fn check(&self, drive: &Drive, exact: bool) {
        for (id, len) in &self.live {
            let read = drive.read(shard(*id, 0), 0, *len).await;
            assert!(read.expect("lives") == data(*id, *len), "object {id}");
        }
        let listed = drive.list(None, usize::MAX).await.expect("listed");
        let listed: BTreeSet<u64> = listed.iter().map(|i| i.shard.data.random).collect();
        let live: BTreeSet<u64> = self.live.keys().copied().collect();
        assert!(live.is_subset(&listed));
        if exact {
            assert_eq!(listed, live);
            assert_eq!(drive.stat().runs, live.len() as u64);
            let bytes = |len: &usize| record::len_with(Class::Small, *len) as u64;
            let expected: u64 = self.live.values().map(bytes).sum();
            assert_eq!(drive.stat().live_record_bytes, expected);
        }
    }
}

/// Bytes that segment files take on the file system.
fn on_disk(root: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = segments(root);
    let blocks = |path: &PathBuf| std::fs::metadata(path).map_or(0, |m| m.blocks() * 512);
    files.iter().map(blocks).sum()
}

#[test]
fn overwrites_of_small_objects_keep_their_space_within_twice_what_lives() {
    let dir = tempfile::tempdir().expect("temp dir");
    let drive = open_small(dir.path());
    let mut objects = Objects::new(seed());
    runtime().block_on(async {
        objects.work(&drive, 100, 0).await;
        let mut emptied = 0;
        for round in 0..40 {
            objects.work(&drive, 100, 60).await;
            emptied += compact_all(&drive).await;
            // Every sealed segment is at least half alive; the open one has its whole length, and what
            // became dead since may be all of one more.
            let live = drive.stat().live_record_bytes;
            let bound = 2 * live + 2 * SEGMENT_BYTES_MIN;
            let used = on_disk(dir.path());
            assert!(used <= bound, "round {round}: {used} bytes for {live}");
        }
        let figures = drive.figures();
        assert!(emptied > 5, "{emptied} segments were compacted");
        assert_eq!(figures.compaction.segments, emptied);
        let written: u64 = 2400 * 20_000;
        assert!(
            figures.compaction.returned_bytes > written / 2,
            "{figures:?}"
        );
        // What was written for it is no more than what it gave back (ADR 0057).
        assert!(figures.compaction.copied_bytes < figures.compaction.returned_bytes / 2);
        objects.check(&drive, true).await;
    });
    drop(drive);
    let again = open_small(dir.path());
    runtime().block_on(objects.check(&again, true));
    drop(again);
    std::fs::remove_file(dir.path().join("index.redb")).expect("removed");
    let rebuilt = open_small(dir.path());
    runtime().block_on(objects.check(&rebuilt, false));
}

/// The same workload without compaction keeps nearly everything: the bound above is not met by itself.
#[test]
fn without_compaction_dead_records_stay() {
    let dir = tempfile::tempdir().expect("temp dir");
    let drive = open_small(dir.path());
    let mut objects = Objects::new(seed());
    runtime().block_on(objects.work(&drive, 100, 200));
    checkpoint(&drive);
    let live = drive.stat().live_record_bytes;
    let used = on_disk(dir.path());
    assert!(used > 2 * live + SEGMENT_BYTES_MIN, "{used} for {live}");
    assert!(drive.figures().dead_bytes > live);
}

/// A power cut at every step of a compaction, each keeping any part of what was not synced.
#[test]
fn a_crash_at_any_step_loses_nothing_and_the_compaction_is_taken_up_again() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    let drive = Drive::open(faults.clone(), dir.path(), small_segments()).expect("opens");
    let mut objects = Objects::new(seed());
    let runtime = runtime();
    runtime.block_on(objects.work(&drive, 40, 160));
    checkpoint(&drive);
    let (copies, copied) = mpsc::channel();
    let root = dir.path().to_owned();
    let mut keep = StdRng::seed_from_u64(objects.rng.random());
    *drive.0.store.on_step.lock() = Some(Box::new(move |step| {
        for kept in [0.0, 0.5, 1.0] {
            let copy = tempfile::tempdir().expect("temp dir");
            faults.crashed_copy(&root, copy.path(), &mut || keep.random_bool(kept));
            copies.send((step, copy)).expect("heard");
        }
    }));
    let next = drive.compactable().expect("half of it is dead");
    runtime
        .block_on(compact(&drive, next.segment))
        .expect("compacted");
    checkpoint(&drive);
    // A checkpoint of the drive's own may have begun before, and still has the file to remove.
    let mut cut_off = Vec::new();
    while cut_off.iter().all(|(step, _)| *step != "unlinked") {
        let next = copied.recv_timeout(Duration::from_secs(60));
        cut_off.push(next.expect("the segment's file goes"));
    }
    *drive.0.store.on_step.lock() = None;
    cut_off.extend(copied.try_iter());
    let mut steps = BTreeSet::new();
    for (step, copy) in cut_off {
        let again = open_small(copy.path());
        runtime.block_on(async {
            // All deletions were checkpointed before: none comes back.
            objects.check(&again, true).await;
            compact_all(&again).await;
            objects.check(&again, true).await;
        });
        drop(again);
        let again = open_small(copy.path());
        runtime.block_on(objects.check(&again, true));
        steps.insert(step);
    }
    let all = [
        "written",
        "synced",
        "shown",
        "checkpointed",
        "unlinked",
        "removed",
    ];
    assert_eq!(steps, all.into(), "every step was cut off");
    runtime.block_on(objects.check(&drive, true));
}

#[test]
fn a_deletion_that_comes_between_wins() {
    for (step, deletes) in [
        ("written", true),
        ("synced", true),
        ("shown", true),
        ("none", false),
    ] {
        let dir = tempfile::tempdir().expect("temp dir");
        let drive = open_small(dir.path());
        let mut objects = Objects::new(seed());
        let runtime = runtime();
        runtime.block_on(objects.work(&drive, 40, 160));
        let next = drive.compactable().expect("half of it is dead");
        let store = drive.0.store.clone();
        let mut doomed = Vec::new();
        let all = index::keys_with(&[]);
        let found = store.index.scan(all, |key, row| {
            if row.segment == next.segment {
                doomed.push(key.shard.data);
            }
            true
        });
        found.expect("scanned");
        assert!(!doomed.is_empty());
        let prefixes: Vec<Vec<u8>> = doomed.iter().map(|d| d.to_bytes().to_vec()).collect();
        let hooked = Arc::downgrade(&store);
        *store.on_step.lock() = Some(Box::new(move |at| {
            if at == step {
                let store = hooked.upgrade().expect("open");
                remove::remove(&store, &prefixes).expect("removed");
            }
        }));
        runtime
            .block_on(compact(&drive, next.segment))
            .expect("compacted");
        *store.on_step.lock() = None;
        if deletes {
            objects
                .live
                .retain(|id, _| !doomed.iter().any(|d| d.random == *id));
        }
        checkpoint(&drive);
        runtime.block_on(objects.check(&drive, true));
        let gone = !store.has_segment(next.segment);
        assert!(gone, "{step}: nothing keeps the segment");
        drop((store, drive));
        let again = open_small(dir.path());
        runtime.block_on(objects.check(&again, true));
    }
}

#[test]
fn readers_find_what_is_moved_under_them() {
    let dir = tempfile::tempdir().expect("temp dir");
    let drive = open_small(dir.path());
    let mut objects = Objects::new(seed());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .expect("runtime");
    runtime.block_on(async {
        objects.work(&drive, 60, 300).await;
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut readers = tokio::task::JoinSet::new();
        for offset in 0..4_usize {
            let (drive, live, over) = (drive.clone(), objects.live.clone(), over.clone());
            readers.spawn(async move {
                let mut reads = 0_u64;
                let mut ids = live.iter().cycle().skip(offset * 7);
                while !over.load(Ordering::Relaxed) {
                    let (id, len) = ids.next().expect("cycles");
                    let read = drive.read(shard(*id, 0), 0, *len).await;
                    assert!(read.expect("lives") == data(*id, *len), "object {id}");
                    reads += 1;
                }
                reads
            });
        }
        let emptied = compact_all(&drive).await;
        assert!(emptied > 2, "{emptied}");
        over.store(true, Ordering::Relaxed);
        while let Some(reads) = readers.join_next().await {
            assert!(reads.expect("no read failed") > 0);
        }
        // Nobody keeps a removed file open.
        for seq in drive.0.store.open_segments() {
            assert!(
                drive.0.store.has_segment(seq),
                "segment {seq} is still open"
            );
        }
    });
}

#[test]
fn a_read_that_was_planned_before_a_move_is_planned_again() {
    let dir = tempfile::tempdir().expect("temp dir");
    let drive = open_small(dir.path());
    let mut objects = Objects::new(seed());
    let runtime = runtime();
    runtime.block_on(objects.work(&drive, 40, 160));
    let next = drive.compactable().expect("half of it is dead");
    let store = &drive.0.store;
    // A reader that looked up its runs, and reads them after the segment is gone.
    let mut old = None;
    let found = store.index.scan(index::keys_with(&[]), |key, row| {
        if row.segment == next.segment {
            old = Some((key, row));
        }
        true
    });
    found.expect("scanned");
    let (key, row) = old.expect("it has live runs");
    runtime
        .block_on(compact(&drive, next.segment))
        .expect("compacted");
    checkpoint(&drive);
    let len = objects.live[&key.shard.data.random];
    let whole = data(key.shard.data.random, len);
    assert_eq!(
        read::holds(store, key, row, &whole),
        None,
        "the old place is gone"
    );
    let read = read::read_planned(store, (key.shard, 0, len), read::planned(key, row));
    assert_eq!(read.expect("found at its new place"), whole);
}

#[test]
fn a_damaged_record_is_never_copied_and_keeps_only_its_segment() {
    let dir = tempfile::tempdir().expect("temp dir");
    let drive = open_small(dir.path());
    let mut objects = Objects::new(seed());
    let runtime = runtime();
    runtime.block_on(objects.work(&drive, 40, 160));
    let next = drive.compactable().expect("half of it is dead");
    let store = drive.0.store.clone();
    let mut there = Vec::new();
    let found = store.index.scan(index::keys_with(&[]), |key, row| {
        if row.segment == next.segment {
            there.push((key, row));
        }
        true
    });
    found.expect("scanned");
    let (bad, row) = there[0];
    let path = segment::path(&store.dir(), Class::Small, next.segment);
    let mut bytes = std::fs::read(&path).expect("segment");
    let at = record::data_at(Class::Small, row.len as usize) + row.record_offset as usize;
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    runtime.block_on(async {
        let page = compact(&drive, next.segment).await.expect("compacted");
        let at = RunAt {
            shard: bad.shard,
            offset: bad.offset,
        };
        assert_eq!(page.bad.iter().map(|b| b.at).collect::<Vec<_>>(), [at]);
        let read = drive.read(bad.shard, 0, 1).await;
        assert!(matches!(read, Err(ReadError::Corrupt { .. })), "{read:?}");
        // The others are elsewhere, and it is not tried again and again.
        compact_all(&drive).await;
        assert!(store.has_segment(next.segment));
        let left = store.books.lock().segments[&next.segment].live_runs;
        assert_eq!(left, 1);
        objects
            .live
            .remove(&bad.shard.data.random)
            .expect("it was live");
        // A repair wrote it elsewhere, and this one is deleted: the segment goes.
        drive.delete(vec![bad.shard.data]).await.expect("deleted");
        checkpoint(&drive);
        assert!(!store.has_segment(next.segment));
        objects.check(&drive, true).await;
    });
}

#[test]
fn a_segment_that_cannot_be_read_does_not_hold_up_the_others() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    let drive = Drive::open(faults.clone(), dir.path(), small_segments()).expect("opens");
    let mut objects = Objects::new(seed());
    runtime().block_on(async {
        objects.work(&drive, 60, 200).await;
        let first = drive.compactable().expect("half of it is dead");
        faults.fail_reads(true);
        // Nor is the drive retired for it: what cannot be read may be dead, and nobody else would ever read it.
        for _ in 0..=READS_FAILED_MAX {
            let failed = compact(&drive, first.segment).await;
            assert!(matches!(failed, Err(CompactError::Read(_))), "{failed:?}");
        }
        assert_eq!(drive.stat().state, DriveState::Active);
        faults.fail_reads(false);
        let second = drive.compactable().expect("there are more");
        assert_ne!(second.segment, first.segment);
        compact_all(&drive).await;
        objects.check(&drive, true).await;
    });
}

#[test]
fn a_failed_sync_of_copies_leaves_the_old_records() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    let drive = Drive::open(faults.clone(), dir.path(), small_segments()).expect("opens");
    let mut objects = Objects::new(seed());
    runtime().block_on(async {
        objects.work(&drive, 40, 160).await;
        let next = drive.compactable().expect("half of it is dead");
        faults.fail_syncs(true);
        let failed = compact(&drive, next.segment).await;
        assert!(
            matches!(failed, Err(CompactError::Write(PutError::Retired))),
            "{failed:?}"
        );
        faults.fail_syncs(false);
        assert_eq!(drive.compactable(), None, "a retired drive rests");
        objects.check(&drive, true).await;
    });
}

#[test]
fn a_full_drive_is_helped_by_what_is_kept_from_shards() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut options = small_segments();
    options.limits.capacity = Some(10 * MIB as u64);
    let drive = Drive::open(Arc::new(OsVfs), dir.path(), options).expect("opens");
    let mut objects = Objects::new(seed());
    runtime().block_on(async {
        // Filled with objects, of which every third is deleted: too little for other times.
        let mut id = 0;
        loop {
            let bytes = data(id, 20_000);
            match drive.put_run(header(shard(id, 0), 0), bytes).await {
                Ok(()) => drop(objects.live.insert(id, 20_000)),
                Err(PutError::Full { .. }) => break,
                Err(error) => panic!("{error}"),
            }
            id += 1;
        }
        assert_eq!(drive.compactable(), None, "nothing is dead");
        for gone in (0..id).step_by(3) {
            objects.live.remove(&gone).expect("it was live");
            drive
                .delete(vec![shard(gone, 0).data])
                .await
                .expect("deleted");
        }
        checkpoint(&drive);
        assert_eq!(drive.stat().state, DriveState::Full, "no segment is empty");
        let before = drive.stat().free;
        assert!(compact_all(&drive).await > 2);
        let gained = drive.stat().free - before;
        assert!(gained > 2 * MIB as u64, "{gained} bytes came back");
        assert_eq!(drive.stat().state, DriveState::Active);
        put(&drive, shard(id, 0), 0, &data(id, 20_000)).await;
        objects.live.insert(id, 20_000);
        objects.check(&drive, true).await;
        // Others fill the drive so that no copy fits: nothing is begun.
        for gone in (1..id).step_by(3) {
            objects.live.remove(&gone).expect("it was live");
            drive
                .delete(vec![shard(gone, 0).data])
                .await
                .expect("deleted");
        }
        assert!(drive.compactable().is_some());
        drive.set_other_bytes(drive.stat().free);
        assert_eq!(drive.compactable(), None);
    });
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Put,
    Delete,
    /// One step of a compaction, at any place of any segment.
    Step {
        segment: u64,
        from: u64,
    },
    Compact,
    Checkpoint,
    Reopen,
    Kill,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        40 => Just(Act::Put),
        30 => Just(Act::Delete),
        6 => (1_u64..12, 0_u64..300_000).prop_map(|(segment, from)| Act::Step { segment, from: from & !7 }),
        4 => Just(Act::Compact),
        2 => Just(Act::Checkpoint),
        1 => Just(Act::Reopen),
        1 => Just(Act::Kill),
    ]
}

/// Deletions that no checkpoint knows may be undone by a crash; whoever asked asks again.
async fn delete_again(drive: &Drive, objects: &Objects) {
    let ids = objects.deleted.iter().map(|id| shard(*id, 0).data);
    drive.delete(ids.collect()).await.expect("deleted");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is put, deleted, compacted, closed and killed: what lives is read, what does not is not
    /// there, and the accounts of the segments are those of the records.
    #[test]
    fn compaction_behaves_as_the_model(acts in prop::collection::vec(act(), 50..400), seed in any::<u64>()) {
        let mut dir = tempfile::tempdir().expect("temp dir");
        let mut drive = open_small(dir.path());
        let mut objects = Objects::new(seed);
        let runtime = runtime();
        for act in acts {
            match act {
                Act::Put => runtime.block_on(objects.put(&drive)),
                Act::Delete if objects.live.is_empty() => {}
                Act::Delete => runtime.block_on(objects.delete_one(&drive)),
                Act::Step { segment, from } => {
                    runtime.block_on(drive.compact(segment, from, 50_000)).expect("a step");
                }
                Act::Compact => drop(runtime.block_on(compact_all(&drive))),
                Act::Checkpoint => checkpoint(&drive),
                Act::Reopen => {
                    drop(drive);
                    drive = open_small(dir.path());
                    runtime.block_on(objects.check(&drive, true));
                }
                Act::Kill => {
                    let copy = killed_copy(dir.path());
                    drop(drive);
                    dir = copy;
                    drive = open_small(dir.path());
                    runtime.block_on(objects.check(&drive, false));
                    runtime.block_on(delete_again(&drive, &objects));
                }
            }
        }
        runtime.block_on(objects.check(&drive, true));
        runtime.block_on(compact_all(&drive));
        runtime.block_on(objects.check(&drive, true));
    }
}
