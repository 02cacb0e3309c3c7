//! The log against a model, with reopening, torn tails and damage.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use proptest::prelude::*;

use super::*;
use crate::testing::FaultVfs;
use crate::vfs::{OpenMode, OsVfs};

const SEGMENT: u64 = 64 * 1024;
const WAIT: std::time::Duration = std::time::Duration::from_secs(30);

fn options() -> WalOptions {
    WalOptions {
        segment_bytes: SEGMENT,
        cache_bytes: 8 * 1024,
        on_fatal: Arc::new(|_| {}),
    }
}

fn open(dir: &Path) -> Result<Wal, WalError> {
    Wal::open(Arc::new(OsVfs), dir, options())
}

fn entry(term: u64, index: u64, len: usize) -> WalEntry {
    let byte = u8::try_from((term * 31 + index) % 251).expect("below 251");
    WalEntry {
        pos: LogPos {
            term,
            node: 1,
            index,
        },
        payload: Bytes::from(vec![byte; len]),
    }
}

/// Runs a call that takes a callback and waits for it.
fn durable(call: impl FnOnce(Done)) -> Result<(), WalError> {
    let (send, receive) = mpsc::channel();
    call(Box::new(move |result| drop(send.send(result))));
    receive.recv_timeout(WAIT).expect("the callback runs")
}

fn append(wal: &Wal, group: GroupId, entries: Vec<WalEntry>) {
    durable(|done| wal.append(group, entries, done)).expect("appended");
}

/// What a group should hold.
#[derive(Debug, Default, Clone)]
struct Model {
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<LogPos>,
    entries: Vec<WalEntry>,
}

impl Model {
    fn next(&self) -> u64 {
        let last = self.entries.last().map(|e| e.pos).or(self.purged);
        last.map_or(0, |pos| pos.index + 1)
    }

    fn first(&self) -> u64 {
        self.purged.map_or(0, |pos| pos.index + 1)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append { group: u16, count: u64, len: usize },
    Vote { group: u16, value: u8 },
    Committed { group: u16, value: u8 },
    Truncate { group: u16, back: u64 },
    Purge { group: u16, forward: u64 },
    Remove { group: u16 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let group = 0_u16..4;
    prop_oneof![
        12 => (group.clone(), 1_u64..8, 0_usize..6000)
            .prop_map(|(group, count, len)| Step::Append { group, count, len }),
        2 => (group.clone(), any::<u8>()).prop_map(|(group, value)| Step::Vote { group, value }),
        2 => (group.clone(), any::<u8>()).prop_map(|(group, value)| Step::Committed { group, value }),
        2 => (group.clone(), 0_u64..20).prop_map(|(group, back)| Step::Truncate { group, back }),
        4 => (group.clone(), 0_u64..30).prop_map(|(group, forward)| Step::Purge { group, forward }),
        1 => group.prop_map(|group| Step::Remove { group }),
        1 => Just(Step::Reopen),
    ]
}

fn run(wal: &Wal, models: &mut BTreeMap<GroupId, Model>, term: u64, step: &Step) {
    match *step {
        Step::Append { group, count, len } => {
            let model = models.entry(GroupId(group)).or_default();
            let next = model.next();
            let entries: Vec<_> = (next..next + count).map(|i| entry(term, i, len)).collect();
            model.entries.extend(entries.iter().cloned());
            append(wal, GroupId(group), entries);
        }
        Step::Vote { group, value } => {
            let vote = Bytes::from(vec![value; 24]);
            models.entry(GroupId(group)).or_default().vote = Some(vote.clone());
            durable(|done| wal.save_vote(GroupId(group), vote, done)).expect("saved");
        }
        Step::Committed { group, value } => {
            let at = Bytes::from(vec![value; 24]);
            models.entry(GroupId(group)).or_default().committed = Some(at.clone());
            wal.save_committed(GroupId(group), at).expect("saved");
        }
        Step::Truncate { group, back } => {
            let model = models.entry(GroupId(group)).or_default();
            let keep = model.next().saturating_sub(back).max(model.first());
            model.entries.retain(|e| e.pos.index < keep);
            wal.truncate_after(GroupId(group), keep.checked_sub(1))
                .expect("truncated");
        }
        Step::Purge { group, forward } => {
            let model = models.entry(GroupId(group)).or_default();
            let pos = LogPos {
                term,
                node: 1,
                index: model.first() + forward,
            };
            model.purged = Some(pos);
            model.entries.retain(|e| e.pos.index > pos.index);
            wal.purge(GroupId(group), pos).expect("purged");
        }
        Step::Remove { group } => {
            models.remove(&GroupId(group));
            wal.remove_group(GroupId(group)).expect("removed");
        }
        Step::Reopen => {}
    }
}

fn compare(wal: &Wal, models: &BTreeMap<GroupId, Model>) {
    for (group, model) in models {
        let state = wal.state(*group);
        assert_eq!(state.vote, model.vote, "vote of {group}");
        assert_eq!(state.committed, model.committed, "committed of {group}");
        assert_eq!(state.purged, model.purged, "purged of {group}");
        let last = model.entries.last().map(|e| e.pos).or(model.purged);
        assert_eq!(state.last, last, "last of {group}");
        let all = wal.read(*group, 0..u64::MAX, usize::MAX).expect("readable");
        assert_eq!(all, model.entries, "entries of {group}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn behaves_as_the_model_through_reopening(steps in prop::collection::vec(step(), 1..120)) {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut wal = open(dir.path()).expect("new log");
        let mut models = BTreeMap::new();
        for (term, step) in steps.iter().enumerate() {
            run(&wal, &mut models, term as u64, step);
            if matches!(step, Step::Reopen) {
                drop(wal);
                wal = open(dir.path()).expect("reopened");
            }
            compare(&wal, &models);
        }
        drop(wal);
        compare(&open(dir.path()).expect("reopened"), &models);
    }
}

/// Paths of the segments, in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).expect("folder");
    let paths = files.map(|e| e.expect("entry").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .collect();
    paths.sort();
    paths
}

/// Path of the newest segment.
fn newest(dir: &Path) -> PathBuf {
    segments(dir).pop().expect("a segment")
}

/// A copy of an open log: without the mark of an orderly close, as a killed process leaves it.
fn crashed_copy(from: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("temp dir");
    for item in std::fs::read_dir(from).expect("folder") {
        let item = item.expect("entry");
        std::fs::copy(item.path(), copy.path().join(item.file_name())).expect("copied");
    }
    copy
}

#[test]
fn a_torn_tail_is_cut_and_never_comes_back() {
    let dir = tempfile::tempdir().expect("temp dir");
    let wal = open(dir.path()).expect("new log");
    let group = GroupId(1);
    append(&wal, group, vec![entry(1, 0, 100)]);
    append(&wal, group, vec![entry(1, 1, 100), entry(1, 2, 100)]);
    let crashed = crashed_copy(dir.path());
    let path = newest(crashed.path());
    // The last batch is two records of 144 bytes: the first half is torn, the second is whole.
    let mut bytes = std::fs::read(&path).expect("segment");
    let end = bytes.iter().rposition(|b| *b != 0).expect("records");
    bytes[end - 200] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    for round in 0..2 {
        let wal = open(crashed.path()).expect("a torn tail is no damage");
        let entries = wal.read(group, 0..10, usize::MAX).expect("readable");
        assert_eq!(
            entries,
            (0..=round)
                .map(|i| entry(1 + i, i, 100))
                .collect::<Vec<_>>()
        );
        append(&wal, group, vec![entry(2 + round, 1 + round, 100)]);
    }
}

#[test]
fn every_flipped_byte_of_the_durable_part_is_damage() {
    let dir = tempfile::tempdir().expect("temp dir");
    let wal = open(dir.path()).expect("new log");
    append(&wal, GroupId(1), vec![entry(1, 0, 50), entry(1, 1, 3)]);
    durable(|done| wal.save_vote(GroupId(1), Bytes::from_static(b"vote"), done)).expect("saved");
    drop(wal);
    let path = newest(dir.path());
    let good = std::fs::read(&path).expect("segment");
    let end = good.iter().rposition(|b| *b != 0).expect("records");
    // The orderly close wrote a mark, so everything before the mark's record is durable.
    let mut noticed = 0;
    for at in (0..60).chain(4096..end - 9) {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        std::fs::write(&path, &bad).expect("written");
        match open(dir.path()) {
            Err(WalError::Damaged { .. } | WalError::NewerFormat { .. }) => noticed += 1,
            // Padding carries nothing.
            Ok(wal) => {
                assert_eq!(
                    wal.read(GroupId(1), 0..9, usize::MAX).expect("whole").len(),
                    2
                );
                drop(wal);
                let extra = newest(dir.path());
                assert_ne!(extra, path);
                std::fs::remove_file(extra).expect("removed");
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(noticed > 180, "only {noticed} flips were noticed");
}

#[test]
fn lost_segments_and_lost_entries_are_damage() {
    let dir = tempfile::tempdir().expect("temp dir");
    let wal = open(dir.path()).expect("new log");
    for i in 0..40 {
        append(&wal, GroupId(1), vec![entry(1, i, 8000)]);
    }
    assert!(wal.usage().0 >= 4, "several segments");
    let crashed = crashed_copy(dir.path());
    let paths = segments(crashed.path());
    let middle = std::fs::read(&paths[1]).expect("segment");
    std::fs::remove_file(&paths[1]).expect("removed");
    assert!(
        matches!(open(crashed.path()), Err(WalError::Damaged { .. })),
        "middle lost"
    );
    std::fs::write(&paths[1], &middle[..20_000]).expect("cut");
    assert!(
        matches!(open(crashed.path()), Err(WalError::Damaged { .. })),
        "middle cut"
    );
    let mut zeroed = middle.clone();
    zeroed[20_000..24_096].fill(0);
    std::fs::write(&paths[1], &zeroed).expect("zeroed");
    assert!(
        matches!(open(crashed.path()), Err(WalError::Damaged { .. })),
        "middle zeroed"
    );
    std::fs::write(&paths[1], &middle).expect("restored");
    open(crashed.path()).expect("whole again");
}

#[test]
fn purged_segments_go_and_an_idle_group_keeps_nothing_but_its_entries() {
    let dir = tempfile::tempdir().expect("temp dir");
    let wal = open(dir.path()).expect("new log");
    let (idle, busy) = (GroupId(1), GroupId(2));
    append(&wal, idle, vec![entry(1, 0, 300), entry(1, 1, 300)]);
    for i in 0..400_u64 {
        append(&wal, busy, vec![entry(1, i, 4000)]);
        if i >= 10 {
            let pos = LogPos {
                term: 1,
                node: 1,
                index: i - 10,
            };
            wal.purge(busy, pos).expect("purged");
        }
    }
    durable(|done| wal.save_vote(idle, Bytes::from_static(b"v"), done)).expect("saved");
    let (segments, bytes) = wal.usage();
    assert!(
        segments <= 6 && bytes == segments as u64 * SEGMENT,
        "{segments} segments"
    );
    let files = self::segments(dir.path()).len();
    assert!(files <= 7, "{files} files");
    drop(wal);
    let wal = open(dir.path()).expect("reopened");
    let kept = wal.read(idle, 0..9, usize::MAX).expect("readable");
    assert_eq!(kept, vec![entry(1, 0, 300), entry(1, 1, 300)]);
    assert_eq!(
        wal.read(busy, 0..999, usize::MAX).expect("readable").len(),
        10
    );
}

#[test]
fn callbacks_run_in_order_and_gaps_are_refused() {
    let dir = tempfile::tempdir().expect("temp dir");
    let wal = open(dir.path()).expect("new log");
    let (send, receive) = mpsc::channel();
    for i in 0..500_u64 {
        let send = send.clone();
        let done: Done = Box::new(move |result| send.send((i, result.is_ok())).expect("open"));
        if i % 5 == 0 {
            wal.save_vote(GroupId(3), Bytes::from_static(b"v"), done);
        } else {
            let next = wal.state(GroupId(3)).last.map_or(0, |pos| pos.index + 1);
            wal.append(GroupId(3), vec![entry(1, next, 10)], done);
        }
    }
    let order: Vec<_> = (0..500)
        .map(|_| receive.recv_timeout(WAIT).expect("runs"))
        .collect();
    assert_eq!(order, (0..500).map(|i| (i, true)).collect::<Vec<_>>());
    let gap = durable(|done| wal.append(GroupId(3), vec![entry(1, 900, 1)], done));
    assert!(matches!(
        gap,
        Err(WalError::Gap {
            index: 900,
            last: Some(399),
            ..
        })
    ));
    let large = durable(|done| wal.append(GroupId(9), vec![entry(1, 0, 70_000)], done));
    assert!(matches!(large, Err(WalError::TooLarge { .. })));
    append(&wal, GroupId(3), vec![entry(1, 400, 1)]);
}

#[test]
fn a_limit_of_bytes_still_gives_one_entry() {
    let dir = tempfile::tempdir().expect("temp dir");
    let wal = open(dir.path()).expect("new log");
    append(
        &wal,
        GroupId(1),
        (0..5).map(|i| entry(1, i, 1000)).collect(),
    );
    assert_eq!(
        wal.read(GroupId(1), 1..5, 1).expect("readable"),
        vec![entry(1, 1, 1000)]
    );
    assert_eq!(wal.read(GroupId(1), 1..5, 2500).expect("readable").len(), 2);
    assert!(wal.read(GroupId(1), 7..9, 10).expect("readable").is_empty());
}

#[test]
fn an_entry_damaged_on_the_drive_is_not_returned() {
    let dir = tempfile::tempdir().expect("temp dir");
    let wal = open(dir.path()).expect("new log");
    // More than the cache holds, so that the first one is read from the drive.
    append(
        &wal,
        GroupId(1),
        (0..5).map(|i| entry(1, i, 4000)).collect(),
    );
    assert_eq!(
        wal.read(GroupId(1), 0..1, 1).expect("whole"),
        vec![entry(1, 0, 4000)]
    );
    let file = OsVfs
        .open(&newest(dir.path()), OpenMode::Existing)
        .expect("segment");
    file.write_at(4096 + 1000, b"x").expect("written");
    assert!(matches!(
        wal.read(GroupId(1), 0..1, 1),
        Err(WalError::Damaged { .. })
    ));
}

#[test]
fn a_failed_drive_ends_the_log_and_says_so() {
    let dir = tempfile::tempdir().expect("temp dir");
    let told = Arc::new(AtomicBool::new(false));
    let mut options = options();
    options.on_fatal = Arc::new({
        let told = told.clone();
        move |_| told.store(true, Ordering::SeqCst)
    });
    let faults = FaultVfs::new();
    let wal = Wal::open(faults.clone(), dir.path(), options).expect("new log");
    append(&wal, GroupId(1), vec![entry(1, 0, 10)]);
    faults.fail_syncs(true);
    let failed = durable(|done| wal.append(GroupId(1), vec![entry(1, 1, 10)], done));
    assert!(matches!(failed, Err(WalError::Io { .. })));
    assert!(told.load(Ordering::SeqCst), "the node is told");
    let after = durable(|done| wal.save_vote(GroupId(1), Bytes::new(), done));
    assert!(
        matches!(after, Err(WalError::Io { .. })),
        "nothing more is taken"
    );
}

/// A batch whose sync failed, or that a killed process never synced, is in the page cache alone.
#[test]
fn a_tail_that_was_never_synced_is_durable_once_the_log_is_open_again() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    assert!(!Wal::exists(faults.as_ref(), dir.path()));
    let wal = Wal::open(faults.clone(), dir.path(), options()).expect("new log");
    append(&wal, GroupId(1), vec![entry(1, 0, 5000)]);
    faults.fail_syncs(true);
    durable(|done| wal.append(GroupId(1), vec![entry(1, 1, 9000)], done)).expect_err("no sync");
    faults.fail_syncs(false);
    drop(wal);
    assert!(Wal::exists(faults.as_ref(), dir.path()));
    let wal = Wal::open(faults.clone(), dir.path(), options()).expect("no damage");
    let all = vec![entry(1, 0, 5000), entry(1, 1, 9000)];
    assert_eq!(wal.read(GroupId(1), 0..9, 1 << 20).expect("read"), all);
    let after = tempfile::tempdir().expect("temp dir");
    faults.crashed_copy(dir.path(), after.path(), &mut || false);
    let again = open(after.path()).expect("what was accepted is durable");
    assert_eq!(again.read(GroupId(1), 0..9, 1 << 20).expect("read"), all);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What was answered survives a power cut that keeps any part of what was not synced, and what
    /// comes back beyond it is what was appended.
    #[test]
    fn answered_entries_survive_a_power_cut(
        lens in prop::collection::vec(0_usize..5000, 1..40),
        unanswered in 1_u64..10,
        keep in prop::collection::vec(any::<bool>(), 257),
    ) {
        let dir = tempfile::tempdir().expect("temp dir");
        let after = tempfile::tempdir().expect("temp dir");
        let faults = FaultVfs::new();
        let wal = Wal::open(faults.clone(), dir.path(), options()).expect("new log");
        let group = GroupId(2);
        let whole: Vec<_> = (0..).zip(&lens).map(|(i, len)| entry(1, i, *len)).collect();
        for entry in &whole {
            append(&wal, group, vec![entry.clone()]);
        }
        let next = whole.len() as u64;
        let more: Vec<_> = (next..next + unanswered).map(|i| entry(1, i, 700)).collect();
        // The sync fails, so these are written and never answered with success.
        faults.fail_syncs(true);
        durable(|done| wal.append(group, more.clone(), done)).expect_err("no sync");
        let mut choice = keep.iter().cycle();
        faults.crashed_copy(dir.path(), after.path(), &mut || *choice.next().expect("cycles"));
        let found = open(after.path()).expect("no damage").read(group, 0..u64::MAX, usize::MAX);
        let found = found.expect("readable");
        let all: Vec<_> = whole.iter().chain(&more).cloned().collect();
        prop_assert!(found.len() >= whole.len(), "{} of {}", found.len(), whole.len());
        prop_assert_eq!(&found[..], &all[..found.len()]);
    }
}

/// A log of a few entries on a drive that can be filled, closed again.
fn small_log(faults: &Arc<FaultVfs>, dir: &Path) {
    let wal = Wal::open(faults.clone(), dir, options()).expect("new log");
    append(&wal, GroupId(1), (0..5).map(|i| entry(1, i, 500)).collect());
}

#[test]
fn a_log_on_a_full_drive_begins_in_its_reserve() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    small_log(&faults, dir.path());
    let reserve = dir.path().join("reserve");
    assert_eq!(std::fs::metadata(&reserve).expect("held").len(), SEGMENT);
    // Others have filled the drive.
    faults.limit_space(Some(0));
    let wal = Wal::open(faults.clone(), dir.path(), options()).expect("it opens all the same");
    assert!(!reserve.exists(), "it is in use");
    let read = wal.read(GroupId(1), 0..9, usize::MAX).expect("readable");
    assert_eq!(read.len(), 5);
    for i in 5..60 {
        append(&wal, GroupId(1), vec![entry(1, i, 500)]);
    }
    // What made space lets the log hold some again, before it is needed.
    faults.limit_space(None);
    let pos = entry(1, 50, 0).pos;
    wal.purge(GroupId(1), pos).expect("purged");
    durable(|done| wal.save_vote(GroupId(1), Bytes::from_static(b"v"), done)).expect("saved");
    drop(wal);
    assert_eq!(std::fs::metadata(&reserve).expect("held").len(), SEGMENT);
    faults.limit_space(Some(0));
    let wal = Wal::open(faults.clone(), dir.path(), options()).expect("again");
    assert_eq!(
        wal.read(GroupId(1), 0..99, usize::MAX)
            .expect("readable")
            .len(),
        9
    );
}

#[test]
fn a_running_log_goes_on_in_its_reserve_and_ends_without_one() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    let told = Arc::new(AtomicBool::new(false));
    let options = WalOptions {
        on_fatal: Arc::new({
            let told = told.clone();
            move |_| told.store(true, Ordering::SeqCst)
        }),
        ..options()
    };
    let wal = Wal::open(faults.clone(), dir.path(), options).expect("new log");
    faults.limit_space(Some(0));
    let mut index = 0;
    while wal.usage().0 < 2 {
        append(&wal, GroupId(1), vec![entry(1, index, 4000)]);
        index += 1;
    }
    assert!(!told.load(Ordering::SeqCst));
    let ended = loop {
        let appended = durable(|done| wal.append(GroupId(1), vec![entry(1, index, 4000)], done));
        index += 1;
        if let Err(error) = appended {
            break error;
        }
        assert!(index < 100, "two segments hold about thirty");
    };
    assert!(matches!(ended, WalError::Io { .. }), "{ended}");
    assert!(told.load(Ordering::SeqCst));
    drop(wal);
    // Nothing that was acknowledged is lost.
    faults.limit_space(None);
    let wal = open(dir.path()).expect("opens");
    let kept = wal.read(GroupId(1), 0..999, usize::MAX).expect("readable");
    assert_eq!(kept.len() as u64, index - 1);
}

#[test]
fn a_log_without_a_reserve_begins_as_short_as_the_drive_has_space() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    small_log(&faults, dir.path());
    let reserve = dir.path().join("reserve");
    std::fs::remove_file(&reserve).expect("an earlier release kept none");
    let long = WalOptions {
        segment_bytes: 8 * SEGMENT,
        ..options()
    };
    faults.limit_space(Some(3 * SEGMENT));
    let wal = Wal::open(faults.clone(), dir.path(), long.clone()).expect("it opens");
    let new = std::fs::metadata(newest(dir.path())).expect("a segment");
    assert_eq!(
        new.len(),
        2 * SEGMENT,
        "the longest half of a half that fits"
    );
    append(
        &wal,
        GroupId(1),
        (5..25).map(|i| entry(1, i, 4000)).collect(),
    );
    drop(wal);
    // The next ones are as long as ever, once there is space.
    faults.limit_space(None);
    let wal = Wal::open(faults.clone(), dir.path(), long.clone()).expect("it opens");
    assert_eq!(
        wal.read(GroupId(1), 0..99, usize::MAX)
            .expect("readable")
            .len(),
        25
    );
    let new = std::fs::metadata(newest(dir.path())).expect("a segment");
    assert_eq!(new.len(), 8 * SEGMENT);
    drop(wal);
    // Not even the shortest fits: said, and nothing changed.
    std::fs::remove_file(&reserve).expect("gone");
    faults.limit_space(Some(SEGMENT - 1));
    let before = segments(dir.path());
    let full = Wal::open(faults.clone(), dir.path(), long).expect_err("no space at all");
    assert!(
        matches!(full, WalError::NoSpace { bytes: SEGMENT, .. }),
        "{full}"
    );
    assert_eq!(segments(dir.path()), before);
    faults.limit_space(None);
    assert_eq!(open(dir.path()).expect("opens").groups(), [GroupId(1)]);
}

#[test]
fn no_segment_is_shorter_than_what_it_begins_with() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    let long = WalOptions {
        segment_bytes: 8 * SEGMENT,
        ..options()
    };
    let wal = Wal::open(faults.clone(), dir.path(), long.clone()).expect("new log");
    let vote = Bytes::from(vec![7; 100]);
    for group in 1..=600 {
        durable(|done| wal.save_vote(GroupId(group), vote.clone(), done)).expect("saved");
    }
    drop(wal);
    std::fs::remove_file(dir.path().join("reserve")).expect("an earlier release kept none");
    faults.limit_space(Some(SEGMENT));
    let full = Wal::open(faults.clone(), dir.path(), long.clone()).expect_err("the votes alone");
    let needs_more = |bytes| (SEGMENT + 1..2 * SEGMENT).contains(&bytes);
    assert!(
        matches!(full, WalError::NoSpace { bytes, .. } if needs_more(bytes)),
        "{full}"
    );
    faults.limit_space(Some(2 * SEGMENT));
    let wal = Wal::open(faults.clone(), dir.path(), long).expect("it opens");
    assert_eq!(wal.groups().len(), 600);
}

/// A crash between taking the reserve and the segment's name leaves a half-made file, which goes.
#[test]
fn a_reserve_that_was_taken_and_not_used_is_made_again() {
    let dir = tempfile::tempdir().expect("temp dir");
    let faults = FaultVfs::new();
    small_log(&faults, dir.path());
    let reserve = dir.path().join("reserve");
    std::fs::rename(&reserve, dir.path().join("next.tmp")).expect("renamed");
    let wal = open(dir.path()).expect("opens");
    assert_eq!(
        wal.read(GroupId(1), 0..9, usize::MAX)
            .expect("readable")
            .len(),
        5
    );
    assert_eq!(std::fs::metadata(&reserve).expect("held").len(), SEGMENT);
    assert!(!dir.path().join("next.tmp").exists());
}
