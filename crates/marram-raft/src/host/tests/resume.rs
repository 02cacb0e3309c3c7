//! Snapshots that go on where they were: after broken connections, and after the receiver was killed and
//! started again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Rows and bytes of each of them: about 20 MiB, so that several notes are written on the way.
const ROWS: usize = 640;
const ROW_BYTES: usize = 32 << 10;
const ALL_BYTES: u64 = (ROWS * ROW_BYTES) as u64;
const NOTE_BYTES: u64 = incoming::NOTE_EVERY_BYTES;
const PIECE: u64 = crate::network::PIECE_BYTES;
/// Names, lengths and other rows on top of the values.
const FRAMES: u64 = 256 << 10;

/// What a snapshot holds at least.
const SENT_BYTES_MIN: u64 = ALL_BYTES - BEHIND_MAX * ROW_BYTES as u64;

/// Three replicas, of which the one named has missed so much that it needs a snapshot. It does not run.
async fn one_far_behind() -> (Cluster, ReplicaId) {
    let policy = CheckpointPolicy {
        every: Duration::from_millis(100),
        bytes: 1 << 20,
        log_kept: LOG_KEPT,
    };
    let mut cluster = Cluster::start(3, policy).await;
    cluster.initialize().await;
    cluster.put("before", "1").await;
    let leader = cluster.leader().await;
    let others = cluster.nodes.iter().map(|node| node.replica);
    let away = { others }.find(|replica| *replica != leader.replica());
    let away = away.expect("a follower");
    cluster.node(away).kill();
    let value = "v".repeat(ROW_BYTES);
    for i in 0..ROWS {
        cluster.put(&format!("k{i}"), &value).await;
    }
    let leader = cluster.leader().await.replica();
    purged(&mut cluster, leader).await;
    (cluster, away)
}

/// Lets `count` more pieces pass, and waits until they have.
async fn pass(cluster: &Cluster, count: u64) {
    cluster.net.pass_pieces(count);
    let net = cluster.net.clone();
    eventually("pieces arrive", || net.pieces_left() == 0).await;
}

/// The replica has what the leader has, all of it.
async fn is_whole(cluster: &mut Cluster, away: ReplicaId) {
    cluster.put("after", "1").await;
    let leader = cluster.leader().await;
    let back = cluster.node(away).host();
    let same = || {
        let read = |host: &RaftHost| futures::executor::block_on(host.read(GROUP, false));
        match (read(&leader), read(&back)) {
            (Ok(a), Ok(b)) => rows(&a).len() > ROWS && rows(&a) == rows(&b),
            _ => false,
        }
    };
    eventually("the states are the same", same).await;
    let left: Vec<_> = std::fs::read_dir(cluster.node(away).dir().join("sm"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().contains("incoming"))
        .collect();
    assert!(left.is_empty(), "{left:?} is left of the snapshot");
}

/// Writes that the log takes while a snapshot is sent: far more than it keeps otherwise, and fewer than
/// the most it keeps then.
const WRITES_MAX: u64 = 1_000;

/// Writes until told to stop.
fn writes(host: Arc<RaftHost>, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    tokio::spawn(async move {
        let mut done = 0;
        while !stop.load(Ordering::SeqCst) && done < WRITES_MAX {
            let command = put(&format!("w{done}"), "1");
            let written = host.propose(GROUP, &command, PATIENCE).await;
            written.expect("writes go on while a snapshot is sent");
            done += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        done
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_goes_on_after_breaks_and_restarts_of_its_receiver_while_writes_go_on() {
    let seed = std::env::var("MARRAM_RESUME_SEED")
        .map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("MARRAM_RESUME_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut cluster, away) = one_far_behind().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = writes(cluster.leader().await, stop.clone());
    cluster.net.pass_pieces(0);
    cluster.node(away).start().await;
    let (mut breaks, mut restarts) = (0, 0);
    // Pieces: those that passed, those that the receiver has, and those that a restart costs it, because
    // they came after its last note.
    let (mut sent, mut here, mut lost) = (0, 0, 0);
    // At most 16 of 20 pieces before the end: it is always in the middle.
    while sent < 12 {
        let count = random.random_range(1..=4);
        pass(&cluster, count).await;
        sent += count;
        here += count;
        if random.random_bool(0.5) {
            cluster.node(away).kill();
            cluster.node(away).start().await;
            restarts += 1;
            let behind_note = here % (NOTE_BYTES / PIECE);
            lost += behind_note;
            here -= behind_note;
        } else {
            breaks += 1;
        }
    }
    cluster.net.pass_pieces(u64::MAX);
    let back = cluster.node(away).host();
    let caught_up = || *back.applied_watch(GROUP).expect("a replica").borrow() > ROWS as u64;
    eventually("the snapshot is installed", caught_up).await;
    stop.store(true, Ordering::SeqCst);
    let written = writer.await.expect("it ran");
    assert!(written > 100, "more than the log keeps: {written}");
    is_whole(&mut cluster, away).await;
    let (_, bytes) = cluster.net.pieces_passed();
    let again = (lost + restarts + breaks) * PIECE;
    println!("{bytes} bytes for {ALL_BYTES}, {breaks} breaks, {restarts} restarts");
    let rows = written * 64;
    assert!(
        bytes <= ALL_BYTES + FRAMES + rows + again,
        "{bytes} bytes after {breaks} breaks and {restarts} restarts: it began anew"
    );
}

/// Breaks a transfer off after 10 of 20 pieces, and kills the receiver.
async fn half_way() -> (Cluster, ReplicaId) {
    let (mut cluster, away) = one_far_behind().await;
    cluster.net.pass_pieces(0);
    cluster.node(away).start().await;
    pass(&cluster, 10).await;
    cluster.node(away).kill();
    (cluster, away)
}

async fn ends_whole(mut cluster: Cluster, away: ReplicaId) -> u64 {
    let (_, before) = cluster.net.pieces_passed();
    cluster.net.pass_pieces(u64::MAX);
    cluster.node(away).start().await;
    is_whole(&mut cluster, away).await;
    let (_, after) = cluster.net.pieces_passed();
    after - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_kept_is_sent_again_when_it_was_damaged_meanwhile() {
    let (mut cluster, away) = half_way().await;
    let path = cluster.node(away).dir().join("sm/group-1.incoming");
    let mut bytes = std::fs::read(&path).expect("what has arrived");
    assert!(bytes.len() as u64 >= 2 * NOTE_BYTES);
    bytes[1 << 20] ^= 1;
    std::fs::write(&path, bytes).expect("written back");
    let sent = ends_whole(cluster, away).await;
    // Of the ten that had passed, the piece that was on its way at the kill may count as one of them.
    assert!(
        sent + PIECE >= SENT_BYTES_MIN,
        "{sent}: damaged bytes were used"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leaders_snapshot_begins_anew() {
    let (mut cluster, away) = half_way().await;
    let old = cluster.leader().await;
    let others = cluster.nodes.iter().map(|node| node.replica);
    let other = { others }.find(|r| *r != away && *r != old.replica());
    let other = other.expect("three replicas");
    old.transfer_leader(GROUP, other).await.expect("asked");
    let new = cluster.node(other).host();
    eventually("the other leads", || new.leader(GROUP) == Some(other)).await;
    let sent = ends_whole(cluster, away).await;
    assert!(sent >= SENT_BYTES_MIN, "{sent}: two snapshots were mixed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_leaders_snapshot_is_not_sent_twice() {
    let (cluster, away) = half_way().await;
    let sent = ends_whole(cluster, away).await;
    let most = ALL_BYTES + FRAMES - 8 * PIECE;
    assert!(sent <= most, "{sent}: more than what was not there yet");
}
