//! Runs per second of a drive and entries per second of the log, beside what the file system does
//! with plain writes and syncs in the same run: `cargo bench -p marram-store`.
//!
//! Set `MARRAM_BENCH_DIR` to a folder on the drive to measure; the default is the current one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use marram_store::wal::{LogPos, Wal, WalEntry, WalOptions};
use marram_store::{Drive, DriveOptions, OpenMode, OsVfs, RunHeader, Vfs};
use marram_types::{ClusterId, DataId, DriveId, GroupId, PgId, ShardId};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn folder() -> tempfile::TempDir {
    let parent =
        std::env::var_os("MARRAM_BENCH_DIR").map_or_else(|| PathBuf::from("."), Into::into);
    tempfile::tempdir_in(parent).expect("a folder to measure in")
}

fn header(random: u64) -> RunHeader {
    let data = DataId {
        group: GroupId(1),
        begin: 1,
        random,
    };
    RunHeader {
        shard: ShardId {
            data,
            slot: 0,
            repair: 0,
        },
        pg: PgId::default(),
        offset: 0,
        codec: 1,
        matrix: 1,
    }
}

/// Plain buffered writes, each followed by a sync.
fn raw(rounds: u64, len: usize) -> Duration {
    let dir = folder();
    let file = OsVfs
        .open(&dir.path().join("raw"), OpenMode::CreateNew)
        .expect("a file");
    file.allocate(256 * MIB as u64).expect("space");
    let bytes = vec![7; len];
    let start = Instant::now();
    for i in 0..rounds {
        let at = (i * len as u64) % (256 * MIB as u64);
        file.write_at(at, &bytes).expect("written");
        file.sync_data().expect("synced");
    }
    start.elapsed()
}

/// Puts with `width` at once, on a drive of their own.
fn puts(runtime: &tokio::runtime::Runtime, rounds: u64, len: usize, width: u64) -> Duration {
    let dir = folder();
    let options = DriveOptions::new(DriveId(1), ClusterId(1));
    let drive = Drive::open(Arc::new(OsVfs), dir.path(), options).expect("a drive");
    let bytes = Bytes::from(vec![7; len]);
    // The first put makes the segment.
    let first = drive.put_run(header(u64::MAX), bytes.clone());
    runtime.block_on(first).expect("put");
    let start = Instant::now();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for lane in 0..width {
            let (drive, bytes) = (drive.clone(), bytes.clone());
            tasks.spawn(async move {
                for i in (lane..rounds).step_by(usize::try_from(width).expect("small")) {
                    drive.put_run(header(i), bytes.clone()).await.expect("put");
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("no panic");
        }
    });
    start.elapsed()
}

fn reads(runtime: &tokio::runtime::Runtime, rounds: u64, len: usize) -> Duration {
    let dir = folder();
    let options = DriveOptions::new(DriveId(1), ClusterId(1));
    let drive = Drive::open(Arc::new(OsVfs), dir.path(), options).expect("a drive");
    runtime.block_on(async {
        let bytes = Bytes::from(vec![7; len]);
        for i in 0..16 {
            drive.put_run(header(i), bytes.clone()).await.expect("put");
        }
        let start = Instant::now();
        for i in 0..rounds {
            let shard = header(i % 16).shard;
            let read = drive.read(shard, 0, len).await.expect("read");
            std::hint::black_box(&read);
        }
        start.elapsed()
    })
}

/// Log appends with `width` callbacks outstanding.
fn appends(rounds: u64, len: usize, width: u64) -> Duration {
    let dir = folder();
    let wal = Wal::open(
        Arc::new(OsVfs),
        &dir.path().join("wal"),
        WalOptions::default(),
    );
    let wal = wal.expect("a log");
    let payload = Bytes::from(vec![7; len]);
    let (send, receive) = mpsc::channel();
    let start = Instant::now();
    for index in 0..rounds {
        if index >= width {
            receive.recv().expect("an answer");
        }
        let pos = LogPos {
            term: 1,
            node: 1,
            index,
        };
        let entry = WalEntry {
            pos,
            payload: payload.clone(),
        };
        let send = send.clone();
        let done = Box::new(move |result: Result<(), _>| {
            result.expect("durable");
            send.send(()).expect("the bench waits");
        });
        wal.append(GroupId(1), vec![entry], done);
        if index % 4096 == 4095 {
            wal.purge(
                GroupId(1),
                LogPos {
                    index: index - 1000,
                    ..pos
                },
            )
            .expect("purged");
        }
    }
    for _ in 0..rounds.min(width) {
        receive.recv().expect("an answer");
    }
    start.elapsed()
}

fn drive(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    for (name, len) in [
        ("2 MiB", 2 * MIB),
        ("256 KiB", 256 * KIB),
        ("4 KiB", 4 * KIB),
    ] {
        let mut group = criterion.benchmark_group(name);
        group
            .sample_size(10)
            .throughput(Throughput::Bytes(len as u64));
        group.bench_function("raw pwrite + fdatasync", |b| b.iter_custom(|n| raw(n, len)));
        for width in [1, 4, 16] {
            let name = format!("put, {width} at once");
            group.bench_function(name, |b| b.iter_custom(|n| puts(&runtime, n, len, width)));
        }
        group.bench_function("read", |b| b.iter_custom(|n| reads(&runtime, n, len)));
        group.finish();
    }
}

fn log(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log, 400 B entries");
    group.sample_size(10).throughput(Throughput::Elements(1));
    group.bench_function("raw pwrite + fdatasync", |b| b.iter_custom(|n| raw(n, 400)));
    for width in [1, 16, 128] {
        let name = format!("append, {width} at once");
        group.bench_function(name, |b| b.iter_custom(|n| appends(n, 400, width)));
    }
    group.finish();
}

criterion_group!(benches, drive, log);
criterion_main!(benches);
