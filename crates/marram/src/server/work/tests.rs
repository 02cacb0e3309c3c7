//! Real drives in temporary folders; the mesh between them is left out.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use marram_erasure::{CODEC_ID, Geometry, MATRIX_ID, codec_for, encode_window};
use marram_maintain::PaceSettings;
use marram_placement::{PoolTable, Spread, pool_of};
use marram_store::{DriveOptions, OsVfs, RunHeader};
use marram_types::{ClusterId, DataId, Profile};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;

const RUN: usize = 2 << 20;
/// The epoch of the first row.
const EPOCH: u64 = 3;

/// The drives of all nodes, those that are down left out.
#[derive(Default)]
struct Others {
    drives: Vec<Drive>,
    down: std::sync::Mutex<Vec<DriveId>>,
    /// Reads wait for `go_on`.
    hold: AtomicBool,
    asked: Notify,
    go_on: Notify,
}

#[async_trait]
impl Sources for Arc<Others> {
    fn is_up(&self, drive: DriveId) -> bool {
        !self.down.lock().expect("lock").contains(&drive)
    }

    async fn read(&self, drive: DriveId, shard: ShardId, offset: u64, len: u32) -> Option<Bytes> {
        if self.hold.load(Ordering::SeqCst) {
            self.asked.notify_one();
            self.go_on.notified().await;
        }
        let drive = self.drives.iter().find(|d| d.id() == drive)?;
        drive.read(shard, offset, len as usize).await.ok()
    }
}

struct Root(AtomicBool);

#[async_trait]
impl RootIndex for Root {
    async fn root_index(&self) -> Option<u64> {
        self.0.load(Ordering::SeqCst).then_some(100)
    }
}

/// One extent on drives 1.., and the drive that follows them as the move's target.
struct Bench {
    dir: TempDir,
    others: Arc<Others>,
    root: Arc<Root>,
    work: Arc<Work>,
    view: watch::Sender<Arc<ClusterView>>,
    extent: Extent,
    shards: Vec<Bytes>,
}

fn open(dir: &Path, id: u64) -> Drive {
    let mut options = DriveOptions::new(DriveId(id), ClusterId(1));
    options.segment_bytes = 64 << 20;
    options.limits.free_bytes_min = 0;
    options.limits.capacity = Some(1 << 30);
    let root = dir.join(id.to_string());
    fs::create_dir(&root).expect("folder");
    Drive::open(Arc::new(OsVfs), &root, options).expect("opens")
}

fn view(index: u64, row: PgRow) -> Arc<ClusterView> {
    let width = u8::try_from(row.drives.len()).expect("small");
    let table = PoolTable {
        width,
        epoch: row.epoch,
        rows: vec![row],
        domains: Spread::default(),
    };
    Arc::new(ClusterView {
        index,
        pools: [(table.pool(), table)].into(),
        ..ClusterView::default()
    })
}

impl Bench {
    async fn new(profile: &str, length: usize) -> Self {
        let profile: Profile = profile.parse().expect("valid");
        let width = u8::try_from(profile.width()).expect("small");
        let geometry = Geometry::new(profile, length as u64);
        let extent = Extent {
            data: DataId {
                group: GroupId(1),
                begin: 7,
                random: 42,
            },
            pg: PgId {
                pool: pool_of(profile.width()),
                index: 0,
            },
            profile,
            cell: geometry.cell(),
            length: length as u64,
            slots: (0..width).collect(),
            missing: 0,
            overrides: Vec::new(),
        };
        let mut bytes: Vec<u8> = (0..length as u64)
            .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect();
        bytes.resize(usize::try_from(geometry.padded_len()).expect("small"), 0);
        let runs = encode_window(&*codec_for(profile), &geometry, &Bytes::from(bytes));
        let shards = runs.expect("coded").into_iter();
        let shards: Vec<Bytes> = shards.map(|run| Bytes::from(run.concat())).collect();

        let dir = tempfile::tempdir().expect("temp dir");
        let ids = 1..=u64::from(width) + 1;
        let drives: Vec<Drive> = ids.map(|id| open(dir.path(), id)).collect();
        let row = PgRow::stable(1, (1..=u64::from(width)).map(DriveId).collect());
        let row = row.begin(0, DriveId(u64::from(width) + 1), EPOCH);
        let (sender, receiver) = watch::channel(view(100, row.expect("stable")));
        let others = Arc::new(Others {
            drives: drives.clone(),
            ..Others::default()
        });
        let root = Arc::new(Root(AtomicBool::new(true)));
        let work = Work::new(
            Arc::new(Drives::of(drives)),
            receiver,
            root.clone(),
            Arc::clone(&others),
            Arc::new(Pace::new(PaceSettings::default())),
        );
        let bench = Self {
            dir,
            others,
            root,
            work: Arc::new(work),
            view: sender,
            extent,
            shards,
        };
        for (shard, _) in bench.extent.shards() {
            let whole = 0..bench.shards[usize::from(shard)].len();
            bench.put(u64::from(shard) + 1, shard, whole).await;
        }
        bench
    }

    /// The drive that the shard of slot 0 moves to.
    fn target(&self) -> u64 {
        self.extent.profile.width() as u64 + 1
    }

    fn shard(&self, shard: u8) -> ShardId {
        ShardId {
            data: self.extent.data,
            slot: shard,
            repair: 0,
        }
    }

    fn drive(&self, id: u64) -> &Drive {
        let mut drives = self.others.drives.iter();
        drives.find(|d| d.id() == DriveId(id)).expect("is there")
    }

    async fn put(&self, drive: u64, shard: u8, range: std::ops::Range<usize>) {
        for at in range.clone().step_by(RUN) {
            let end = range.end.min(at + RUN);
            let header = RunHeader {
                shard: self.shard(shard),
                pg: self.extent.pg,
                offset: at as u64,
                codec: CODEC_ID,
                matrix: MATRIX_ID,
            };
            let bytes = self.shards[usize::from(shard)].slice(at..end);
            let put = self.drive(drive).put_run(header, bytes).await;
            put.expect("written");
        }
    }

    async fn lose(&self, drive: u64) {
        let deleted = self.drive(drive).delete(vec![self.extent.data]).await;
        deleted.expect("deleted");
    }

    fn pg(&self, epoch: u64) -> Option<wire::PgEpoch> {
        Some(wire::PgEpoch {
            pool: u32::from(self.extent.pg.pool.0),
            pg: 0,
            epoch,
        })
    }

    fn wanted(&self, drive: u64, shard: u8, epoch: u64) -> wire::RestoreShardsRequest {
        wire::RestoreShardsRequest {
            drive,
            pg: self.pg(epoch),
            wanted: vec![wire::WantedShard {
                extent: Bytes::from(self.extent.to_bytes()),
                shard: u32::from(shard),
                places: (1..self.target()).collect(),
            }],
        }
    }

    async fn restore(&self, drive: u64, shard: u8) -> (wire::RestoreOutcome, u64) {
        let request = self.wanted(drive, shard, EPOCH);
        let answer = self.work.restore(request).await.expect("answered");
        let [restored] = answer.restored.as_slice() else {
            panic!("one answer for one shard: {answer:?}");
        };
        (restored.outcome(), restored.written)
    }

    async fn look(&self, drive: u64, shard: u8) -> wire::ShardState {
        let request = wire::LookShardsRequest {
            drive,
            pg: self.pg(EPOCH),
            shards: vec![wire::LookedShard {
                shard: Some(self.shard(shard).into()),
                length: self.len(),
            }],
        };
        let answer = self.work.look(request).await.expect("answered");
        answer.seen().next().expect("one answer for one shard")
    }

    fn clean(&self, drive: u64, shard: u8, epoch: u64) -> wire::CleanShardsRequest {
        wire::CleanShardsRequest {
            drive,
            pg: self.pg(epoch),
            shards: vec![self.shard(shard).into()],
            slots: vec![u32::from(shard)],
        }
    }

    async fn cleaned(&self, drive: u64, shard: u8, epoch: u64) -> Result<u64, RpcCode> {
        let cleaned = self.work.clean(self.clean(drive, shard, epoch)).await;
        cleaned.map(|a| a.removed).map_err(|e| e.code)
    }

    fn len(&self) -> u64 {
        self.shards[0].len() as u64
    }

    /// What a reader finds, when it is all there and as it was written.
    async fn holds(&self, drive: u64, shard: u8) -> bool {
        let want = &self.shards[usize::from(shard)];
        let read = self.drive(drive).read(self.shard(shard), 0, want.len());
        read.await.is_ok_and(|bytes| bytes == want)
    }

    /// The row moves on, as the root group would have it.
    fn row(&self, next: impl Fn(&PgRow) -> PgRow) {
        let seen = self.view.borrow().clone();
        let held = row(&seen, self.extent.pg).expect("known");
        self.view.send_replace(view(seen.index + 1, next(held)));
    }
}

use wire::RestoreOutcome::{Held, NoSource};

#[tokio::test]
async fn a_shard_is_copied_once() {
    let bench = Bench::new("2+1", 13 << 20).await;
    let target = bench.target();
    assert_eq!(bench.restore(target, 0).await, (Held, bench.len()));
    assert!(bench.holds(target, 0).await);
    assert_eq!(bench.restore(target, 0).await, (Held, 0));
    assert_eq!(bench.look(target, 0).await, wire::ShardState::Whole);
    assert_eq!(bench.look(target, 1).await, wire::ShardState::Missing);
}

#[tokio::test]
async fn any_k_others_give_a_shard_back_and_fewer_do_not() {
    let bench = Bench::new("3+2", (7 << 20) + 12_345).await;
    let target = bench.target();
    // The place of shard 0 has lost it, another drive is down; both data and parity come back.
    bench.lose(1).await;
    bench.others.down.lock().expect("lock").push(DriveId(3));
    assert_eq!(bench.restore(target, 0).await, (Held, bench.len()));
    assert!(bench.holds(target, 0).await);
    bench.lose(5).await;
    assert_eq!(bench.restore(5, 4).await, (NoSource, 0));
    bench.others.down.lock().expect("lock").clear();
    assert_eq!(bench.restore(5, 4).await, (Held, bench.len()));
    assert!(bench.holds(5, 4).await);
}

/// The row says so since they were looked for in vain at one time: what is there now is what was written.
#[tokio::test]
async fn shards_that_are_said_to_be_missing_are_the_last_sources() {
    let mut bench = Bench::new("3+2", (7 << 20) + 12_345).await;
    let target = bench.target();
    bench.extent.missing = 0b0_0101;
    assert_eq!(bench.restore(target, 0).await, (Held, bench.len()));
    assert!(bench.holds(target, 0).await);
    bench.lose(target).await;
    // Two others are left that nothing is said of: with the third one it can be computed.
    bench.lose(5).await;
    assert_eq!(bench.restore(target, 0).await, (Held, bench.len()));
    assert!(bench.holds(target, 0).await);
    bench.lose(target).await;
    // With one more gone, only the shard itself is left.
    bench.lose(4).await;
    assert_eq!(bench.restore(target, 0).await, (Held, bench.len()));
    assert!(bench.holds(target, 0).await);
    bench.lose(target).await;
    bench.lose(1).await;
    assert_eq!(bench.restore(target, 0).await, (NoSource, 0));
}

#[tokio::test]
async fn copies_and_the_smallest_extent() {
    let bench = Bench::new("1+2", 1).await;
    bench.lose(1).await;
    assert_eq!(bench.restore(1, 0).await, (Held, 1));
    assert!(bench.holds(1, 0).await);
}

#[tokio::test]
async fn the_beginning_that_is_there_is_gone_on_from() {
    let bench = Bench::new("2+1", 13 << 20).await;
    let target = bench.target();
    bench.put(target, 0, 0..RUN + 77).await;
    let left = bench.len() - (RUN + 77) as u64;
    assert_eq!(bench.restore(target, 0).await, (Held, left));
    assert!(bench.holds(target, 0).await);
}

#[tokio::test]
async fn parts_with_gaps_go_only_when_the_shard_can_be_had() {
    let bench = Bench::new("2+1", 13 << 20).await;
    bench.lose(1).await;
    bench.put(1, 0, RUN..RUN * 2).await;
    bench.others.down.lock().expect("lock").push(DriveId(2));
    assert_eq!(bench.restore(1, 0).await, (NoSource, 0));
    let end = bench.drive(1).shard_end(bench.shard(0)).await;
    assert_eq!(end.expect("answered"), RUN as u64 * 2, "the part is kept");
    bench.others.down.lock().expect("lock").clear();
    assert_eq!(bench.restore(1, 0).await, (Held, bench.len()));
    assert!(bench.holds(1, 0).await);
}

/// Flips one byte of the bytes that a drive keeps.
fn damage(dir: &Path, bytes: &[u8]) {
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut held = fs::read(&path).expect("read");
            if let Some(at) = held.windows(bytes.len()).position(|w| w == bytes) {
                held[at] ^= 1;
                fs::write(&path, held).expect("written");
                return;
            }
        }
    }
    panic!("the bytes are not in {}", dir.display());
}

#[tokio::test]
async fn a_damaged_shard_is_seen_and_replaced() {
    let bench = Bench::new("2+1", 5 << 20).await;
    let inside = bench.shards[1].slice(RUN + 100..RUN + 200);
    damage(&bench.dir.path().join("2"), &inside);
    assert_eq!(bench.look(2, 1).await, wire::ShardState::Damaged);
    assert_eq!(bench.restore(2, 1).await, (Held, bench.len()));
    assert_eq!(bench.look(2, 1).await, wire::ShardState::Whole);
    assert!(bench.holds(2, 1).await);
}

#[tokio::test]
async fn only_the_present_epoch_permits_work() {
    let bench = Bench::new("2+1", 1 << 20).await;
    let code = async |epoch| {
        let answer = bench.work.restore(bench.wanted(4, 0, epoch)).await;
        answer.map(|_| ()).map_err(|e| e.code)
    };
    assert_eq!(code(EPOCH - 1).await, Err(RpcCode::Aborted));
    assert_eq!(code(EPOCH).await, Ok(()));
    assert_eq!(code(EPOCH + 2).await, Err(RpcCode::Unavailable));
    // A newer one was heard of: the older one is void, though the view does not know why.
    assert_eq!(code(EPOCH).await, Err(RpcCode::Aborted));
    bench.row(|row| row.cut(EPOCH + 2).expect("dual"));
    assert_eq!(code(EPOCH + 2).await, Ok(()));
}

#[tokio::test]
async fn only_what_the_layout_does_not_want_is_cleaned() {
    let bench = Bench::new("2+1", 1 << 20).await;
    let target = bench.target();
    assert_eq!(bench.restore(target, 0).await, (Held, bench.len()));
    // In the Dual phase both places are wanted.
    assert_eq!(bench.cleaned(1, 0, EPOCH).await, Err(RpcCode::Refused));
    assert_eq!(bench.cleaned(target, 0, EPOCH).await, Err(RpcCode::Refused));
    bench.row(|row| row.cut(EPOCH + 1).expect("dual"));
    assert_eq!(bench.cleaned(1, 0, EPOCH).await, Err(RpcCode::Aborted));
    let refused = bench.cleaned(target, 0, EPOCH + 1).await;
    assert_eq!(refused, Err(RpcCode::Refused));
    assert_eq!(bench.cleaned(1, 1, EPOCH + 1).await, Ok(0));
    assert!(bench.holds(1, 0).await, "another shard was cleaned");
    assert_eq!(bench.cleaned(1, 0, EPOCH + 1).await, Ok(1));
    assert!(!bench.holds(1, 0).await);
    assert!(bench.holds(target, 0).await);
}

#[tokio::test]
async fn what_is_left_of_one_slot_goes_though_another_slot_is_on_the_drive() {
    let bench = Bench::new("2+1", 1 << 20).await;
    let target = bench.target();
    // Slot 0 moved away from drive 1, and slot 1 came to it later.
    bench.row(|row| {
        let drives = [target, 1, 3].map(DriveId).to_vec();
        PgRow::stable(row.epoch + 4, drives)
    });
    let epoch = EPOCH + 4;
    bench.put(1, 1, 0..bench.shards[1].len()).await;
    assert_eq!(bench.cleaned(1, 1, epoch).await, Err(RpcCode::Refused));
    assert_eq!(bench.cleaned(1, 0, epoch).await, Ok(1));
    assert!(bench.holds(1, 1).await && !bench.holds(1, 0).await);
    let mut lies = bench.clean(1, 0, epoch);
    lies.slots = vec![9];
    let refused = bench.work.clean(lies).await.map_err(|e| e.code);
    assert_eq!(refused.map(|_| ()), Err(RpcCode::Refused));
}

#[tokio::test]
async fn nothing_is_cleaned_by_a_view_of_a_former_life() {
    let bench = Bench::new("2+1", 1 << 20).await;
    bench.row(|row| row.cut(EPOCH + 1).expect("dual"));
    bench.root.0.store(false, Ordering::SeqCst);
    let alone = bench.cleaned(1, 0, EPOCH + 1).await;
    assert_eq!(alone, Err(RpcCode::Unavailable));
    let seen = bench.view.borrow().clone();
    let old = ClusterView {
        index: 99,
        ..(*seen).clone()
    };
    bench.root.0.store(true, Ordering::SeqCst);
    bench.view.send_replace(Arc::new(old));
    let behind = bench.cleaned(1, 0, EPOCH + 1).await;
    assert_eq!(behind, Err(RpcCode::Unavailable));
    bench.view.send_replace(seen);
    assert_eq!(bench.cleaned(1, 0, EPOCH + 1).await, Ok(1));
}

#[tokio::test]
async fn work_ends_before_the_next_permission_though_its_caller_is_gone() {
    let bench = Bench::new("2+1", 1 << 20).await;
    let target = bench.target();
    bench.others.hold.store(true, Ordering::SeqCst);
    let work = Arc::clone(&bench.work);
    let wanted = bench.wanted(target, 0, EPOCH);
    let caller = tokio::spawn(async move { work.restore(wanted).await });
    bench.others.asked.notified().await;
    caller.abort();
    assert!(caller.await.is_err(), "the caller is gone");

    bench.row(|row| row.cancel(EPOCH + 1).expect("dual"));
    let work = Arc::clone(&bench.work);
    let clean = bench.clean(target, 0, EPOCH + 1);
    let mut cleaning = Box::pin(async move { work.clean(clean).await });
    for _ in 0..100 {
        assert!(futures::poll!(&mut cleaning).is_pending());
        tokio::task::yield_now().await;
    }
    bench.others.hold.store(false, Ordering::SeqCst);
    bench.others.go_on.notify_one();
    let removed = cleaning.await.expect("cleaned").removed;
    assert_eq!(removed, 1, "the restored shard was there to be removed");
    assert!(!bench.holds(target, 0).await);
}

#[tokio::test]
async fn sources_that_are_too_short_are_none() {
    let bench = Bench::new("2+1", 1 << 20).await;
    let mut request = bench.wanted(bench.target(), 0, EPOCH);
    let mut longer = bench.extent.clone();
    longer.length += 1 << 20;
    request.wanted[0].extent = Bytes::from(longer.to_bytes());
    let answer = bench.work.restore(request).await.expect("answered");
    assert_eq!(answer.restored[0].outcome(), NoSource);
}

#[tokio::test]
async fn requests_that_do_not_fit_are_refused() {
    let bench = Bench::new("2+1", 1 << 20).await;
    let good = bench.wanted(bench.target(), 0, EPOCH);
    let bad: [fn(&mut wire::RestoreShardsRequest); 5] = [
        |request| request.pg = None,
        |request| request.wanted[0].shard = 3,
        |request| request.wanted[0].places.push(1),
        |request| request.wanted[0].extent = Bytes::from_static(b"damaged"),
        |request| request.wanted = vec![request.wanted[0].clone(); SHARDS_PER_REQUEST_MAX + 1],
    ];
    for change in bad {
        let mut request = good.clone();
        change(&mut request);
        let answer = bench.work.restore(request).await;
        assert_eq!(answer.map_err(|e| e.code), Err(RpcCode::Refused));
    }
    let elsewhere = bench
        .work
        .restore(wire::RestoreShardsRequest { drive: 99, ..good });
    let answer = elsewhere.await.map_err(|e| e.code);
    assert_eq!(answer, Err(RpcCode::NotFound));
}
