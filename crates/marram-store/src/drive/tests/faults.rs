//! Failed syncs and reads, and what a crash leaves in the page cache alone.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn a_failed_sync_retires_the_drive_for_good_and_ends_a_metadata_drive() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    let runtime = runtime();
    let drive = Drive::open(faults.clone(), dir.path(), options()).expect("opens");
    runtime.block_on(put(&drive, shard(1, 0), 0, &data(1, 100)));
    faults.fail_syncs(true);
    let lost = runtime.block_on(drive.put_run(header(shard(2, 0), 0), data(2, 100)));
    assert!(matches!(lost, Err(PutError::Retired)));
    faults.fail_syncs(false);
    let after = runtime.block_on(drive.put_run(header(shard(3, 0), 0), data(3, 100)));
    assert!(matches!(after, Err(PutError::Retired)));
    assert_eq!(
        runtime
            .block_on(drive.read(shard(1, 0), 0, 100))
            .expect("reads go on"),
        data(1, 100)
    );
    drop(drive);
    assert_eq!(open(dir.path()).stat().state, DriveState::Retired);

    let meta = tempfile::tempdir().expect("temp dir");
    let told = Arc::new(AtomicBool::new(false));
    let mut options = options();
    options.on_fatal = Some(Arc::new({
        let told = told.clone();
        move |_| told.store(true, Ordering::SeqCst)
    }));
    let drive = Drive::open(faults.clone(), meta.path(), options).expect("opens");
    runtime.block_on(put(&drive, shard(1, 0), 0, &data(1, 100)));
    faults.fail_syncs(true);
    let lost = runtime.block_on(drive.put_run(header(shard(2, 0), 0), data(2, 100)));
    assert!(lost.is_err() && told.load(Ordering::SeqCst));
    faults.fail_syncs(false);
}

#[test]
fn a_failed_read_is_an_error_and_not_data() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    let drive = Drive::open(faults.clone(), dir.path(), options()).expect("opens");
    runtime().block_on(async {
        put(&drive, shard(1, 0), 0, &data(1, 200_000)).await;
        faults.fail_reads(true);
        assert!(drive.read(shard(1, 0), 0, 10).await.is_err());
        faults.fail_reads(false);
        assert_eq!(
            drive.read(shard(1, 0), 5, 10).await.expect("read"),
            data(1, 200_000)[5..15]
        );
    });
}

/// Opens a drive on `faults`, runs `before`, then lets every sync fail during `with_faults`, and
/// says whether the drive retired for good.
fn retires(before: impl AsyncFnOnce(&Drive), with_faults: impl AsyncFnOnce(&Drive)) -> bool {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    let drive = Drive::open(faults.clone(), dir.path(), options()).expect("opens");
    runtime().block_on(async {
        before(&drive).await;
        assert_eq!(drive.stat().state, DriveState::Active);
        faults.fail_syncs(true);
        with_faults(&drive).await;
        faults.fail_syncs(false);
    });
    let retired = drive.stat().state == DriveState::Retired;
    drop(drive);
    retired && open(dir.path()).stat().state == DriveState::Retired
}

#[test]
fn a_failed_sync_of_a_new_segment_or_a_footer_retires_the_drive() {
    for len in [100, 300_000] {
        let new_segment = async |drive: &Drive| {
            let put = drive.put_run(header(shard(1, 0), 0), data(1, len)).await;
            assert!(matches!(put, Err(PutError::Retired)), "{put:?}");
        };
        assert!(retires(async |_| {}, new_segment), "{len}");
    }
    // Three records fill a segment, the fourth writes its footer.
    let fill = async |drive: &Drive| {
        for i in 0..3 {
            put(drive, shard(i, 0), 0, &data(i, 600_000)).await;
        }
        assert_eq!(segments(&drive.0.store.root).len(), 1);
    };
    let footer = async |drive: &Drive| {
        let put = drive.put_run(header(shard(3, 0), 0), data(3, 600_000));
        assert!(matches!(put.await, Err(PutError::Retired)));
        // It failed at the footer, before the next segment.
        assert_eq!(segments(&drive.0.store.root).len(), 1);
    };
    assert!(retires(fill, footer));
}

#[test]
fn a_failed_checkpoint_retires_the_drive() {
    let fill = async |drive: &Drive| put(drive, shard(1, 0), 0, &data(1, 100)).await;
    let checkpoint = async |drive: &Drive| {
        keeper::checkpoint(&drive.0.store, &[]).expect_err("no sync");
        let put = drive.put_run(header(shard(2, 0), 0), data(2, 100)).await;
        assert!(matches!(put, Err(PutError::Retired)), "{put:?}");
    };
    assert!(retires(fill, checkpoint));
}

#[test]
fn records_that_were_never_synced_are_durable_once_the_index_names_them() {
    for len in [100, 300_000] {
        let dir = tempfile::tempdir().expect("temp dir");
        let faults = FaultVfs::new();
        let runtime = runtime();
        let drive = Drive::open(faults.clone(), dir.path(), options()).expect("opens");
        runtime.block_on(put(&drive, shard(1, 0), 0, &data(1, len)));
        faults.fail_syncs(true);
        let lost = runtime.block_on(drive.put_run(header(shard(2, 0), 0), data(2, len)));
        assert!(matches!(lost, Err(PutError::Retired)));
        faults.fail_syncs(false);
        drop(drive);
        // The process ended before it could record the failure, as on a metadata drive.
        std::fs::remove_file(dir.path().join("marram.retired")).expect("removed");
        let drive = Drive::open(faults.clone(), dir.path(), options()).expect("opens");
        // A retry is answered from what was found: it must not be lost any more.
        runtime.block_on(put(&drive, shard(2, 0), 0, &data(2, len)));
        let after = tempfile::tempdir().expect("temp dir");
        faults.crashed_copy(dir.path(), after.path(), &mut || false);
        let again = open(after.path());
        for i in [1, 2] {
            let read = runtime.block_on(again.read(shard(i, 0), 0, len));
            assert_eq!(read.expect("durable"), data(i, len));
        }
    }
}

/// A torn record is in no footer, not even after a second crash.
#[test]
fn a_torn_record_never_comes_back() {
    let dir = tempfile::tempdir().expect("temp dir");
    let runtime = runtime();
    let drive = open(dir.path());
    runtime.block_on(put(&drive, shard(1, 0), 0, &data(1, 300_000)));
    runtime.block_on(put(&drive, shard(2, 0), 0, &data(2, 300_000)));
    let mut copy = killed_copy(dir.path());
    let path = segments(copy.path()).remove(0);
    let mut bytes = std::fs::read(&path).expect("segment");
    let torn = data(2, 300_000);
    let start = bytes.windows(64).position(|w| w == &torn[..64]);
    bytes[start.expect("data") + 70_000] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    drop(open_and_kill(&mut copy));
    let drive = open(copy.path());
    // The segment fills up and is sealed; then the index is lost.
    for i in 10..16 {
        runtime.block_on(put(&drive, shard(i, 0), 0, &data(i, 300_000)));
    }
    drop(drive);
    std::fs::remove_file(copy.path().join("index.redb")).expect("removed");
    let drive = open(copy.path());
    assert_eq!(drive.stat().runs, 7);
    let torn = runtime.block_on(drive.read(shard(2, 0), 0, 10));
    assert!(matches!(torn, Err(ReadError::NotFound { .. })), "{torn:?}");
    let whole = runtime.block_on(drive.read(shard(1, 0), 0, 300_000));
    assert_eq!(whole.expect("whole"), data(1, 300_000));
}

/// Opens the drive in `dir` and puts what a kill leaves of it in its place.
fn open_and_kill(dir: &mut tempfile::TempDir) -> tempfile::TempDir {
    let drive = open(dir.path());
    let killed = killed_copy(dir.path());
    drop(drive);
    std::mem::replace(dir, killed)
}
