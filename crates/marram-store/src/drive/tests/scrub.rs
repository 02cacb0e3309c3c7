//! Reading everything through finds what is not what was written, and nothing else.

use super::*;

/// A drive with records of both classes over several segments, by number their lengths.
fn filled(dir: &Path) -> (Drive, Vec<(u64, usize)>) {
    let drive = open(dir);
    let lens = [
        100, 3_000, 65_536, 65_537, 300_000, 1_200_000, 900_000, 7, 1_700_000,
    ];
    let runs: Vec<(u64, usize)> = (0..).zip(lens).collect();
    runtime().block_on(async {
        for (id, len) in &runs {
            put(&drive, shard(*id, 0), 0, &data(*id, *len)).await;
        }
    });
    (drive, runs)
}

/// Every page from the start, with the cursor carried on as one would over restarts.
async fn scrub_all(drive: &Drive, bytes_max: u64) -> ScrubPage {
    let mut all = ScrubPage::default();
    loop {
        let page = drive.scrub(all.last, bytes_max).await.expect("a page");
        all.runs += page.runs;
        all.bytes += page.bytes;
        all.bad.extend(page.bad);
        all.mended += page.mended;
        all.last = page.last.or(all.last);
        if page.done {
            return all;
        }
        assert!(page.runs > 0, "a page that does not go on");
    }
}

/// Changes one byte of the file that holds the bytes, where they are.
fn flip(root: &Path, needle: &[u8], skip: usize) {
    for path in segments(root) {
        let mut bytes = std::fs::read(&path).expect("segment");
        if let Some(at) = bytes.windows(needle.len()).position(|w| w == needle) {
            bytes[at + skip] ^= 4;
            let file = std::fs::File::options().write(true).open(&path);
            let file = file.expect("opened");
            std::os::unix::fs::FileExt::write_all_at(
                &file,
                &bytes[at + skip..=at + skip],
                (at + skip) as u64,
            )
            .expect("written");
            file.sync_all().expect("synced");
            return;
        }
    }
    panic!("the bytes are nowhere");
}

#[test]
fn a_sound_drive_is_read_once_whatever_the_pages() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (drive, runs) = filled(dir.path());
    runtime().block_on(async {
        for bytes_max in [0, 100_000, 1 << 30] {
            let all = scrub_all(&drive, bytes_max).await;
            assert_eq!((all.runs, all.bad.len()), (runs.len() as u64, 0));
            assert_eq!(all.bytes, drive.stat().live_record_bytes);
            assert_eq!(all.mended, 0);
        }
    });
}

#[test]
fn a_flipped_bit_is_found_where_it_is() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (drive, runs) = filled(dir.path());
    let mut bad = Vec::new();
    for (id, len) in runs.iter().copied().filter(|(_, len)| *len > 64) {
        let bytes = data(id, len);
        flip(dir.path(), &bytes[len - 64..], 63);
        bad.push(id);
        let found = runtime().block_on(scrub_all(&drive, 1 << 20)).bad;
        let ids: Vec<u64> = found.iter().map(|b| b.at.shard.data.random).collect();
        assert_eq!(ids, bad);
        assert!(
            found
                .iter()
                .all(|b| b.fault == RunFault::Damaged && b.at.offset == 0)
        );
    }
    // One that is written anew is sound again.
    runtime().block_on(async {
        let gone = shard(4, 0);
        drive.delete_shards(vec![gone]).await.expect("deleted");
        put(&drive, gone, 0, &data(4, 300_000)).await;
        let found = scrub_all(&drive, 1 << 20).await.bad;
        assert!(found.iter().all(|b| b.at.shard != gone));
    });
}

#[test]
fn a_record_header_that_is_damaged_is_found() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (drive, _) = filled(dir.path());
    // The shard's id stands in the header of its record alone, before the footer is written.
    flip(dir.path(), &shard(5, 0).to_bytes(), 20);
    let found = runtime().block_on(scrub_all(&drive, 1 << 20)).bad;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].at.shard, found[0].fault),
        (shard(5, 0), RunFault::Damaged)
    );
}

/// Files removed behind the drive's back are noticed though they are still open; what was in them is
/// not here any more, and what is written from then on is durable.
#[test]
fn removed_segments_are_noticed_and_writing_goes_on() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (drive, runs) = filled(dir.path());
    let runtime = runtime();
    for path in segments(dir.path()) {
        std::fs::remove_file(path).expect("removed");
    }
    // In one page: what leaves the index on its behalf is not come to in a later one.
    let found = runtime.block_on(scrub_all(&drive, 1 << 30)).bad;
    assert_eq!(found.len(), runs.len());
    assert!(found.iter().all(|b| b.fault == RunFault::Gone));
    runtime.block_on(async {
        let shards: Vec<_> = runs
            .iter()
            .map(|(id, len)| (shard(*id, 0), *len as u64))
            .collect();
        let covered = drive.covers(shards.clone()).await.expect("asked");
        assert!(covered.iter().all(|covered| !covered));
        assert!(scrub_all(&drive, 1 << 20).await.bad.is_empty());
        for (id, len) in &runs {
            put(&drive, shard(*id, 0), 0, &data(*id, *len)).await;
        }
        let covered = drive.covers(shards).await.expect("asked");
        assert!(covered.iter().all(|covered| *covered));
    });
    let copy = killed_copy(dir.path());
    let drive = open(copy.path());
    for (id, len) in runs {
        let read = runtime.block_on(drive.read(shard(id, 0), 0, len));
        assert_eq!(read.expect("durable"), data(id, len));
    }
}

#[test]
fn covers_wants_all_of_a_shard_without_a_gap() {
    let dir = tempfile::tempdir().expect("temp dir");
    let drive = open(dir.path());
    runtime().block_on(async {
        put(&drive, shard(1, 0), 0, &data(1, 100)).await;
        put(&drive, shard(1, 0), 100, &data(2, 100)).await;
        put(&drive, shard(1, 0), 250, &data(3, 100)).await;
        let ask = [(100, true), (200, true), (201, false), (350, false)];
        for (len, all) in ask {
            let covered = drive.covers(vec![(shard(1, 0), len)]).await;
            assert_eq!(covered.expect("asked"), [all], "{len}");
        }
        let none = drive.covers(vec![(shard(2, 0), 1)]).await.expect("asked");
        assert_eq!(none, [false]);
    });
}

#[test]
fn the_header_of_a_segment_is_written_anew() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (drive, runs) = filled(dir.path());
    drop(drive);
    for path in segments(dir.path()) {
        let file = std::fs::File::options()
            .write(true)
            .open(&path)
            .expect("opened");
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 30], 10).expect("written");
    }
    let drive = open(dir.path());
    let runtime = runtime();
    let lost = runtime.block_on(drive.read(shard(5, 0), 0, 10));
    assert!(lost.is_err(), "without a header nothing is read");
    let all = runtime.block_on(scrub_all(&drive, 1 << 30));
    assert_eq!(all.bad, []);
    assert_eq!(all.mended, segments(dir.path()).len() as u64);
    drop(drive);
    let drive = open(dir.path());
    for (id, len) in runs {
        let read = runtime.block_on(drive.read(shard(id, 0), 0, len));
        assert_eq!(read.expect("there again"), data(id, len));
    }
}

#[test]
fn reads_that_fail_are_told_and_many_of_them_retire_the_drive() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    let drive = Drive::open(faults.clone(), dir.path(), options()).expect("opens");
    runtime().block_on(async {
        for i in 0..3 {
            put(&drive, shard(i, 0), 0, &data(i, 100_000)).await;
        }
        faults.fail_reads(true);
        let bad = scrub_all(&drive, 1 << 30).await.bad;
        assert_eq!(bad.len(), 3);
        assert!(bad.iter().all(|b| b.fault == RunFault::Unreadable));
        assert_eq!(
            drive.stat().state,
            DriveState::Active,
            "three bad sectors are no failed drive"
        );
        for _ in 0..30 {
            let _bad = scrub_all(&drive, 1 << 30).await;
        }
        faults.fail_reads(false);
    });
    assert_eq!(drive.stat().state, DriveState::Retired);
}

#[test]
fn a_failed_write_retires_the_drive_for_good() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    let drive = Drive::open(faults.clone(), dir.path(), options()).expect("opens");
    runtime().block_on(async {
        put(&drive, shard(1, 0), 0, &data(1, 100)).await;
        faults.fail_writes(true);
        let lost = drive.put_run(header(shard(2, 0), 0), data(2, 100)).await;
        assert!(matches!(lost, Err(PutError::Io(_))), "{lost:?}");
        faults.fail_writes(false);
        let after = drive.put_run(header(shard(3, 0), 0), data(3, 100)).await;
        assert!(matches!(after, Err(PutError::Retired)));
    });
    drop(drive);
    assert_eq!(open(dir.path()).stat().state, DriveState::Retired);
}

#[test]
fn a_drive_whose_folder_is_gone_is_retired() {
    let dir = tempfile::tempdir().expect("temp dir");
    let root = dir.path().join("drive");
    std::fs::create_dir(&root).expect("made");
    let drive = open(&root);
    runtime().block_on(async {
        drive.probe().await;
        assert_eq!(drive.stat().state, DriveState::Active);
        std::fs::rename(&root, dir.path().join("pulled")).expect("renamed");
        drive.probe().await;
        assert_eq!(drive.stat().state, DriveState::Retired);
    });
}

#[test]
fn a_note_outlives_a_kill_and_a_damaged_one_is_none() {
    let dir = tempfile::tempdir().expect("temp dir");
    let drive = open(dir.path());
    runtime().block_on(async {
        assert_eq!(drive.note().await, None);
        drive.keep_note(b"one".to_vec()).await.expect("kept");
        drive.keep_note(b"another".to_vec()).await.expect("kept");
    });
    let copy = killed_copy(dir.path());
    let path = copy.path().join("marram.note");
    let drive = open(copy.path());
    let note = runtime().block_on(drive.note());
    assert_eq!(note.as_deref(), Some(&b"another"[..]));
    let good = std::fs::read(&path).expect("the note");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, bad).expect("written");
        assert_eq!(runtime().block_on(drive.note()), None, "byte {at}");
    }
}
