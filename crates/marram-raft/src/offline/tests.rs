//! States that leave a group and begin another one.

use std::time::Duration;

use marram_meta::{KvWrite, Table};
use marram_store::{OpenMode, OsVfs};
use tempfile::TempDir;

use super::*;
use crate::testing::{Cluster, GROUP, Net, Node, TestLogic, open_wal};
use crate::{CheckpointPolicy, CopyError, DumpRows, RaftHost};

/// A whole copy of a group's state.
async fn copy(host: &RaftHost, at_least: u64) -> Vec<u8> {
    let first = host
        .copy_piece(GROUP, "", 0, at_least)
        .await
        .expect("a copy");
    assert!(first.last.1 >= at_least);
    let (mut bytes, id) = (first.bytes.to_vec(), first.id);
    while (bytes.len() as u64) < first.total_bytes {
        let offset = bytes.len() as u64;
        let piece = host
            .copy_piece(GROUP, &id, offset, 0)
            .await
            .expect("a piece");
        let again = host
            .copy_piece(GROUP, &id, offset, 0)
            .await
            .expect("a piece");
        assert_eq!(piece, again, "a lost answer is asked for again");
        bytes.extend_from_slice(&piece.bytes);
    }
    let end = host.copy_piece(GROUP, &id, bytes.len() as u64, 0).await;
    assert_eq!(end.expect("the end").bytes.len(), 0);
    bytes
}

fn keys(state: &[u8]) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rows = DumpRows::default();
    for piece in state.chunks(1000) {
        let pushed = rows.push(piece, &mut |table, key, _| {
            if table == Table::Objects {
                keys.push(String::from_utf8_lossy(key).into_owned());
            }
        });
        pushed.expect("a state");
    }
    rows.finish().expect("all of it");
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_shows_one_moment_and_ends_when_another_begins() {
    let cluster = Cluster::of(1).await;
    // More than one piece.
    let large = "v".repeat(100_000);
    for i in 0..15 {
        cluster.put(&format!("k{i:02}"), &large).await;
    }
    let host = cluster.leader().await;
    let at = *host.applied_watch(GROUP).expect("a replica").borrow();
    let first = host.copy_piece(GROUP, "", 0, at).await.expect("a copy");
    cluster.put("later", "1").await;
    let whole = copy(&host, at + 1).await;
    assert_eq!(keys(&whole).len(), 16);
    let gone = host.copy_piece(GROUP, &first.id, 0, 0).await;
    assert!(matches!(gone, Err(CopyError::Gone(_))), "{gone:?}");
    let behind = host.copy_piece(GROUP, "", 0, at + 1_000).await;
    assert!(
        matches!(behind, Err(CopyError::Behind { .. })),
        "{behind:?}"
    );
    let nowhere = host.copy_piece(GroupId(9), "", 0, 0).await;
    assert!(matches!(nowhere, Err(CopyError::NoReplica(_))));
}

const FRESH: ReplicaId = ReplicaId(1 << 40);

/// A group of one replica that begins with this state.
async fn seeded(state: &[u8], at: SeedAt) -> Cluster {
    let dir = TempDir::new().expect("a folder");
    std::fs::create_dir(dir.path().join("sm")).expect("made");
    let replica = OfflineReplica {
        dir: dir.path().join("sm"),
        vfs: Arc::new(OsVfs),
        replica: FRESH,
    };
    let path = dir.path().join("state");
    std::fs::write(&path, state).expect("written");
    let file = OsVfs.open(&path, OpenMode::Existing).expect("opened");
    let wal = open_wal(dir.path());
    let bytes = state.len() as u64;
    let mut edit = |kv: &mut dyn KvWrite| {
        let put = kv.put(Table::Objects, b"edited", b"yes");
        put.map_err(LogicError::new)
    };
    let cut = replica.seed((GROUP, at), &wal, (file.as_ref(), bytes - 1), &mut edit);
    assert!(cut.is_err(), "half a state begins nothing");
    let begun = replica.seed((GROUP, at), &wal, (file.as_ref(), bytes), &mut edit);
    begun.expect("seeded");
    drop(wal);
    let net = Arc::new(Net::default());
    let mut node = Node::at(dir, FRESH, &net, CheckpointPolicy::default());
    node.start().await;
    let nodes = vec![node];
    Cluster { net, nodes }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_has_begins_a_new_log_far_behind_the_old_one() {
    let mut cluster = Cluster::of(3).await;
    for i in 0..40 {
        cluster.put(&format!("k{i}"), "v").await;
    }
    cluster.put("last", "1").await;
    let leader = cluster.leader().await.replica();
    cluster.nodes.iter_mut().for_each(Node::kill);
    let old = cluster.node(leader);
    let wal = open_wal(old.dir());
    let replica = OfflineReplica {
        dir: old.dir().join("sm"),
        vfs: Arc::new(OsVfs),
        replica: leader,
    };
    assert_eq!(replica.groups().expect("listed"), [GROUP]);
    let held = replica.read(GROUP, &wal, &TestLogic).expect("read");
    let voters: Vec<_> = (11..=13).map(ReplicaId).collect();
    assert_eq!(held.voters, [voters]);
    assert!(held.last.index > 40 && held.applied <= held.last.index);
    let state = held.read(0, held.bytes).expect("its bytes").to_vec();
    assert_eq!(
        keys(&state).len(),
        41,
        "the log that no checkpoint has is in it"
    );
    drop(held);
    // Nothing of the old replica was changed by that.
    let again = replica.read(GROUP, &wal, &TestLogic).expect("read");
    assert_eq!(again.read(0, again.bytes).expect("its bytes"), state);

    let last = again.last;
    let at = SeedAt {
        term: last.term + 1,
        index: last.index + (1 << 40),
    };
    let alone = seeded(&state, at).await;
    assert_eq!(alone.get("last").await, "1");
    assert_eq!(alone.get("edited").await, "yes");
    alone.put("new", "2").await;
    let host = alone.leader().await;
    let status = host.status(GROUP).expect("a replica");
    assert_eq!(status.voters, [FRESH]);
    assert!(status.last > at.index, "no index is used twice");
    assert!(status.term > last.term);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_dies_in_mid_snapshot_is_followed_by_another_while_writes_go_on() {
    let policy = CheckpointPolicy {
        every: Duration::from_millis(100),
        bytes: 1 << 20,
        log_kept: 20,
    };
    let mut cluster = Cluster::start(3, policy).await;
    cluster.initialize().await;
    let sender = cluster.leader().await.replica();
    let away = cluster.nodes.iter().map(|node| node.replica);
    let away = away.into_iter().find(|r| *r != sender).expect("a follower");
    cluster.node(away).kill();
    let large = "v".repeat(32 << 10);
    for i in 0..450 {
        cluster.put(&format!("k{i}"), &large).await;
    }
    let wal = cluster.node(sender).wal.clone().expect("it runs");
    let purged = || wal.state(GROUP).purged.map_or(0, |at| at.index);
    crate::testing::eventually("the log is purged", || purged() > 200).await;
    drop(wal);
    cluster.node(away).start().await;
    let pieces = cluster.net.delivered(crate::RaftMethod::Snapshot);
    let net = cluster.net.clone();
    let begun = || net.delivered(crate::RaftMethod::Snapshot) >= pieces + 4;
    crate::testing::eventually("some pieces have come", begun).await;
    cluster.node(sender).kill();
    // The third one leads with the help of the one that is behind, and brings it up.
    for i in 0..20 {
        cluster.put(&format!("meanwhile{i}"), "1").await;
    }
    let host = cluster.node(away).host();
    let view = || {
        let read = futures::executor::block_on(host.read(GROUP, false));
        crate::testing::rows(&read.expect("a view")).len()
    };
    crate::testing::eventually("it has all", || view() == 470).await;
}
