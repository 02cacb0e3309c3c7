//! The drive against a model, through reopening, crashes, damage and a full disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use marram_types::caps::BLOCK_BYTES;
use marram_types::{GroupId, PoolId};
use proptest::prelude::*;

use super::*;
use crate::testing::FaultVfs;
use crate::vfs::OsVfs;

mod compact;
mod faults;
mod scrub;

const MIB: usize = 1024 * 1024;
const SEGMENT: u64 = 2 * MIB as u64;

fn options() -> DriveOptions {
    let mut options = DriveOptions::new(DriveId(7), ClusterId(1));
    options.segment_bytes = SEGMENT;
    options.limits.free_bytes_min = 0;
    options.limits.capacity = Some(1 << 30);
    // Only calls and closing make checkpoints, so that tests know what a crash loses.
    options.checkpoint_ms = 3_600_000;
    options
}

fn open(root: &Path) -> Drive {
    Drive::open(Arc::new(OsVfs), root, options()).expect("opens")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime")
}

fn shard(random: u64, slot: u8) -> ShardId {
    ShardId {
        data: DataId {
            group: GroupId(3),
            begin: 10,
            random,
        },
        slot,
        repair: 0,
    }
}

fn header(shard: ShardId, offset: u64) -> RunHeader {
    RunHeader {
        shard,
        pg: PgId {
            pool: PoolId(6),
            index: 9,
        },
        offset,
        codec: 1,
        matrix: 1,
    }
}

/// Bytes that differ from place to place and from seed to seed.
fn data(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    Bytes::from(out)
}

async fn put(drive: &Drive, shard: ShardId, offset: u64, bytes: &Bytes) {
    let done = drive.put_run(header(shard, offset), bytes.clone()).await;
    done.expect("put");
}

/// Segment files of a drive, in order.
fn segments(root: &Path) -> Vec<PathBuf> {
    let mut out: Vec<_> = std::fs::read_dir(root.join("segments"))
        .expect("folder")
        .map(|entry| entry.expect("entry").path())
        .collect();
    out.sort();
    out
}

/// A copy as a killed process leaves it: no last checkpoint.
fn killed_copy(root: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("temp dir");
    FaultVfs::new().crashed_copy(root, copy.path(), &mut || true);
    copy
}

#[derive(Debug, Clone)]
enum Step {
    Put { id: u64, len: usize },
    Delete { id: u64 },
    Read { id: u64, from: usize, len: usize },
    Reopen,
    Kill,
    LoseIndex,
}

fn step() -> impl Strategy<Value = Step> {
    let edges = prop_oneof![
        Just(1_usize),
        Just(BLOCK_BYTES - 1),
        Just(BLOCK_BYTES),
        Just(BLOCK_BYTES + 1),
        1_usize..3000,
        1_usize..700_000,
    ];
    prop_oneof![
        10 => (0_u64..12, edges).prop_map(|(id, len)| Step::Put { id, len }),
        4 => (0_u64..12).prop_map(|id| Step::Delete { id }),
        6 => (0_u64..12, 0_usize..900_000, 0_usize..200_000)
            .prop_map(|(id, from, len)| Step::Read { id, from, len }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => Just(Step::LoseIndex),
    ]
}

/// Each shard as one string of bytes; runs are appended to it.
type Model = BTreeMap<u64, Vec<u8>>;

/// A drive that can be closed, killed, and opened again.
struct Rig {
    dir: tempfile::TempDir,
    drive: Option<Drive>,
    model: Model,
    /// Small records deleted before the index was lost: their segments still hold them.
    ghosts: bool,
}

impl Rig {
    fn drive(&self) -> &Drive {
        self.drive.as_ref().expect("open")
    }

    async fn step(&mut self, number: u64, step: &Step) {
        match *step {
            Step::Put { id, len } => {
                let bytes = data(number, len);
                let whole = self.model.entry(id + 1000 * number).or_default();
                put(
                    self.drive.as_ref().expect("open"),
                    shard(id + 1000 * number, 1),
                    0,
                    &bytes,
                )
                .await;
                whole.extend_from_slice(&bytes);
                let more = data(number + 1, len / 2 + 1);
                let at = whole.len() as u64;
                put(
                    self.drive.as_ref().expect("open"),
                    shard(id + 1000 * number, 1),
                    at,
                    &more,
                )
                .await;
                whole.extend_from_slice(&more);
            }
            Step::Delete { id } => {
                let doomed: Vec<u64> = self
                    .model
                    .keys()
                    .copied()
                    .filter(|k| k % 1000 == id)
                    .collect();
                let ids = doomed.iter().map(|k| shard(*k, 1).data).collect();
                let removed = self.drive().delete(ids).await.expect("deleted");
                assert_eq!(removed, doomed.len() * 2);
                self.model.retain(|k, _| !doomed.contains(k));
            }
            Step::Read { id, from, len } => {
                let found = self.model.iter().find(|(k, _)| *k % 1000 == id);
                if let Some((key, whole)) = found {
                    let read = self.drive().read(shard(*key, 1), from as u64, len).await;
                    match whole.get(from..from + len) {
                        Some(expected) => assert_eq!(read.expect("read"), expected),
                        None if len == 0 => {}
                        None => assert!(matches!(read, Err(ReadError::NotFound { .. }))),
                    }
                }
            }
            Step::Reopen => {
                self.drive = None;
                self.drive = Some(open(self.dir.path()));
            }
            Step::Kill => {
                let copy = killed_copy(self.dir.path());
                self.drive = None;
                self.dir = copy;
                self.ghosts = true;
                self.drive = Some(open(self.dir.path()));
            }
            Step::LoseIndex => {
                self.drive = None;
                std::fs::remove_file(self.dir.path().join("index.redb")).expect("removed");
                self.ghosts = true;
                self.drive = Some(open(self.dir.path()));
            }
        }
    }

    async fn compare(&self) {
        for (key, whole) in &self.model {
            let read = self.drive().read(shard(*key, 1), 0, whole.len()).await;
            assert!(read.expect("read") == whole, "shard {key}");
        }
        if !self.ghosts {
            let listed = self.drive().list(None, usize::MAX).await.expect("listed");
            let expected: Vec<_> = self
                .model
                .iter()
                .map(|(k, v)| (shard(*k, 1), v.len() as u64))
                .collect();
            let listed: Vec<_> = listed.iter().map(|i| (i.shard, i.bytes)).collect();
            assert_eq!(listed, expected);
            assert_eq!(self.drive().stat().runs, 2 * self.model.len() as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn behaves_as_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().expect("temp dir");
        let drive = Some(open(dir.path()));
        let mut rig = Rig { dir, drive, model: Model::new(), ghosts: false };
        runtime().block_on(async {
            for (number, step) in steps.iter().enumerate() {
                rig.step(number as u64, step).await;
            }
            rig.compare().await;
        });
    }

    /// What was answered survives a power cut that keeps any part of what was not synced.
    #[test]
    fn answered_puts_survive_a_power_cut(
        lens in prop::collection::vec(1_usize..200_000, 1..12),
        keep in prop::collection::vec(any::<bool>(), 64),
    ) {
        let dir = tempfile::tempdir().expect("temp dir");
        let faults = FaultVfs::new();
        let drive = Drive::open(faults.clone(), dir.path(), options()).expect("opens");
        let after = tempfile::tempdir().expect("temp dir");
        let runtime = runtime();
        runtime.block_on(async {
            for (i, len) in lens.iter().enumerate() {
                put(&drive, shard(i as u64, 0), 0, &data(i as u64, *len)).await;
            }
        });
        let mut choice = keep.iter().cycle();
        faults.crashed_copy(dir.path(), after.path(), &mut || *choice.next().expect("cycles"));
        let again = open(after.path());
        runtime.block_on(async {
            for (i, len) in lens.iter().enumerate() {
                let read = again.read(shard(i as u64, 0), 0, *len).await.expect("survives");
                assert_eq!(read, data(i as u64, *len));
            }
        });
    }
}

#[test]
fn the_same_run_twice_is_fine_and_another_is_refused() {
    let dir = tempfile::tempdir().expect("temp dir");
    let drive = open(dir.path());
    runtime().block_on(async {
        for len in [100, 300_000] {
            let bytes = data(1, len);
            let id = shard(len as u64, 0);
            let (one, two) = tokio::join!(
                drive.put_run(header(id, 0), bytes.clone()),
                drive.put_run(header(id, 0), bytes.clone())
            );
            assert!(one.is_ok() && two.is_ok());
            put(&drive, id, 0, &bytes).await;
            let other = drive.put_run(header(id, 0), data(2, len)).await;
            assert!(matches!(other, Err(PutError::Conflict { .. })));
        }
        assert_eq!(drive.stat().runs, 2, "each run is kept once");
        let empty = drive.put_run(header(shard(1, 1), 0), Bytes::new()).await;
        assert!(matches!(empty, Err(PutError::Size(0))));
    });
}

#[test]
fn every_damaged_block_is_noticed_and_never_served() {
    let dir = tempfile::tempdir().expect("temp dir");
    let drive = open(dir.path());
    let runtime = runtime();
    for len in [5_000, 3 * BLOCK_BYTES + 77] {
        let id = shard(len as u64, 2);
        let bytes = data(9, len);
        runtime.block_on(put(&drive, id, 0, &bytes));
        let wanted = if len > BLOCK_BYTES { "large" } else { "small" };
        let path = segments(dir.path())
            .into_iter()
            .find(|p| p.extension().is_some_and(|e| e == wanted))
            .expect("a segment");
        let good = std::fs::read(&path).expect("segment");
        let start = good
            .windows(64)
            .position(|w| w == &bytes[..64])
            .expect("data");
        for at in [0, 4_999, BLOCK_BYTES, 3 * BLOCK_BYTES + 76] {
            if at >= len {
                continue;
            }
            let mut bad = good.clone();
            bad[start + at] ^= 4;
            std::fs::write(&path, &bad).expect("written");
            let whole = runtime.block_on(drive.read(id, 0, len));
            assert!(matches!(whole, Err(ReadError::Corrupt { .. })), "byte {at}");
            let byte = runtime.block_on(drive.read(id, at as u64, 1));
            assert!(matches!(byte, Err(ReadError::Corrupt { .. })), "byte {at}");
        }
        // The header, zeroed: not here, or damaged, but never other bytes.
        let mut bad = good.clone();
        bad[4096..4096 + 64].fill(0);
        std::fs::write(&path, &bad).expect("written");
        assert!(runtime.block_on(drive.read(id, 0, len)).is_err());
        std::fs::write(&path, &good).expect("restored");
        assert_eq!(
            runtime.block_on(drive.read(id, 0, len)).expect("whole"),
            bytes
        );
    }
}

#[test]
fn a_full_drive_refuses_and_takes_again_after_deletes() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut options = options();
    options.limits.capacity = Some(4 * MIB as u64);
    let drive = Drive::open(Arc::new(OsVfs), dir.path(), options).expect("opens");
    runtime().block_on(async {
        let mut kept = 0;
        let error = loop {
            let bytes = data(kept, 256 * 1024);
            match drive.put_run(header(shard(kept, 0), 0), bytes).await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, PutError::Full { .. }), "{error}");
        // 90 % of 4 MiB in records of 260 KiB.
        assert_eq!(kept, 14);
        assert_eq!(drive.stat().state, DriveState::Full);
        assert_eq!(
            drive
                .read(shard(3, 0), 0, 256 * 1024)
                .await
                .expect("reads go on"),
            data(3, 256 * 1024)
        );
        let before = drive.stat().free;
        assert_eq!(
            drive
                .delete(vec![shard(0, 0).data, shard(1, 0).data])
                .await
                .expect("deleted"),
            2
        );
        assert_eq!(drive.stat().free - before, 2 * 260 * 1024);
        put(&drive, shard(99, 0), 0, &data(99, 256 * 1024)).await;
        let gone = drive.read(shard(0, 0), 0, 1).await;
        assert!(matches!(gone, Err(ReadError::NotFound { .. })));
    });
}

#[test]
fn space_of_deleted_records_returns_to_the_file_system() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().expect("temp dir");
    let drive = open(dir.path());
    let blocks = |root: &Path| -> u64 {
        let files = segments(root);
        files
            .iter()
            .map(|p| std::fs::metadata(p).expect("file").blocks() * 512)
            .sum()
    };
    runtime().block_on(async {
        for i in 0..24 {
            put(&drive, shard(i, 0), 0, &data(i, 512 * 1024)).await;
            put(&drive, shard(100 + i, 0), 0, &data(i, 60_000)).await;
        }
        let full = blocks(dir.path());
        let ids = (0..24)
            .flat_map(|i| [shard(i, 0).data, shard(100 + i, 0).data])
            .collect();
        assert_eq!(drive.delete(ids).await.expect("deleted"), 48);
        keeper::checkpoint(&drive.0.store, &[]).expect("checkpoint");
        let left = blocks(dir.path());
        assert!(
            left <= 2 * SEGMENT + MIB as u64,
            "{full} bytes before, {left} after"
        );
        assert_eq!(drive.stat().runs, 0);
    });
    drop(drive);
    assert_eq!(open(dir.path()).stat().live_record_bytes, 0);
}

#[test]
fn many_writers_share_syncs() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    let drive = Drive::open(faults.clone(), dir.path(), options()).expect("opens");
    runtime().block_on(async {
        put(&drive, shard(0, 9), 0, &data(0, 10)).await;
        let before = faults.syncs();
        let puts = (0..64).map(|i| {
            let drive = drive.clone();
            async move { put(&drive, shard(i, 0), 0, &data(i, 4000)).await }
        });
        let mut tasks = tokio::task::JoinSet::new();
        puts.for_each(|put| drop(tasks.spawn(put)));
        while let Some(done) = tasks.join_next().await {
            done.expect("no panic");
        }
        let syncs = faults.syncs() - before;
        assert!(syncs < 32, "{syncs} syncs for 64 puts");
        for i in 0..64 {
            assert_eq!(
                drive.read(shard(i, 0), 0, 4000).await.expect("read"),
                data(i, 4000)
            );
        }
    });
}

#[test]
fn listing_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().expect("temp dir");
    let drive = open(dir.path());
    runtime().block_on(async {
        for i in 0..5 {
            put(&drive, shard(i, 0), 0, &data(i, 10)).await;
            put(&drive, shard(i, 0), 10, &data(i, 20)).await;
        }
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = drive.list(after, 2).await.expect("listed");
            let Some(last) = page.last() else { break };
            after = Some(last.shard);
            assert!(
                page.iter()
                    .all(|info| info.bytes == 30 && info.pg.index == 9)
            );
            seen.extend(page.iter().map(|info| info.shard));
        }
        assert_eq!(seen, (0..5).map(|i| shard(i, 0)).collect::<Vec<_>>());
        assert_eq!(
            drive
                .delete_shards(vec![shard(2, 0), shard(2, 1)])
                .await
                .expect("deleted"),
            2
        );
    });
}
