//! openraft's own suite over log and state machine, and what it does not cover.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use marram_meta::{KvRead, Table};
use marram_store::OsVfs;
use marram_types::{GroupId, ReplicaId};
use openraft::StorageError;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::*;
use crate::codec::KIND_COMMAND;
use crate::log::LogStore;
use crate::testing::{GROUP, TestLogic, open_wal, put, rows};
use crate::types::{Command, Membership, Payload, log_id};

fn place(dir: &TempDir, group: GroupId, replica: ReplicaId) -> Place {
    Place {
        vfs: Arc::new(OsVfs),
        dir: dir.path().to_owned(),
        group,
        replica,
        cache_bytes: 4 << 20,
        log_kept: 100,
    }
}

fn open(dir: &TempDir) -> Result<Machine, MachineError> {
    let place = place(dir, GROUP, ReplicaId(7));
    Store::open(place, Arc::new(TestLogic)).map(|store| Machine(Arc::new(store)))
}

fn command(index: u64, key: &str, value: &str) -> Entry {
    let mut stored = vec![KIND_COMMAND];
    stored.extend(put(key, value));
    stored[1] = 1; // some time
    let payload = Payload::Normal(Command(Bytes::from(stored)));
    Entry::new(log_id(1, 7, index), payload)
}

async fn apply(machine: &mut Machine, entries: Vec<Entry>) -> Result<(), io::Error> {
    let items: Vec<_> = entries.into_iter().map(|entry| Ok((entry, None))).collect();
    machine.apply(stream::iter(items)).await
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<TypeConfig>> {
        let dir = TempDir::new().expect("a folder");
        let log = LogStore::new(open_wal(dir.path()), GROUP);
        let machine = open(&dir).expect("a state machine");
        Ok((dir, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openraft_suite() {
    Suite::test_all(Builder).await.expect("the suite passes");
}

#[tokio::test]
async fn a_checkpoint_survives_and_what_came_after_is_applied_again() {
    let dir = TempDir::new().unwrap();
    let mut machine = open(&dir).unwrap();
    let voters = Membership::new_with_defaults(vec![[7, 8].into()], []);
    let member = Entry::new(log_id(1, 7, 1), Payload::Membership(voters.clone()));
    apply(&mut machine, vec![member, command(2, "a", "1")])
        .await
        .unwrap();
    let meta = machine.build_snapshot().await.unwrap().meta;
    assert_eq!(meta.last_log_id, Some(log_id(1, 7, 2)));
    assert_eq!(machine.0.dirty_bytes(), None);
    apply(&mut machine, vec![command(3, "b", "2")])
        .await
        .unwrap();
    machine.0.flush().await.unwrap();
    assert!(machine.0.dirty_bytes() > Some(0));
    // Not closed in order: a copy of the file is what a crash would leave.
    let crashed = TempDir::new().unwrap();
    let name = machine.0.place().file_name();
    std::fs::copy(dir.path().join(&name), crashed.path().join(&name)).unwrap();

    let mut again = open(&crashed).unwrap();
    let (applied, membership) = again.applied_state().await.unwrap();
    assert_eq!(applied, Some(log_id(1, 7, 2)));
    assert_eq!(membership.membership(), &voters);
    apply(&mut again, vec![command(3, "b", "2")]).await.unwrap();
    assert_eq!(
        again.applied_state().await.unwrap().0,
        Some(log_id(1, 7, 3))
    );
    assert_eq!(
        rows(&again.0.view().unwrap()),
        rows(&machine.0.view().unwrap())
    );
}

#[tokio::test]
async fn entries_nobody_waits_for_are_put_off_and_never_lost() {
    let dir = TempDir::new().unwrap();
    let mut machine = open(&dir).unwrap();
    for index in 1..=10 {
        apply(&mut machine, vec![command(index, "k", &index.to_string())])
            .await
            .unwrap();
    }
    assert_eq!(
        machine.0.view().unwrap().applied(),
        0,
        "they wait for company"
    );
    // A full batch goes at once, with those that waited, in order.
    let more = (11..=400).map(|index| command(index, "k", &index.to_string()));
    apply(&mut machine, more.collect()).await.unwrap();
    let view = machine.0.view().unwrap();
    assert_eq!(view.applied(), 400);
    assert_eq!(
        view.get(Table::Objects, b"k").unwrap(),
        Some(b"400".to_vec())
    );
    apply(&mut machine, vec![command(401, "k", "last")])
        .await
        .unwrap();
    let applying = machine.clone();
    let task = tokio::spawn(async move { applying.0.apply_put_off().await });
    machine.0.applied().wait_for(|at| *at == 401).await.unwrap();
    task.abort();
}

#[tokio::test]
async fn a_command_that_cannot_be_applied_stops_the_replica_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let mut machine = open(&dir).unwrap();
    apply(&mut machine, vec![command(1, "a", "1")])
        .await
        .unwrap();
    let bad = vec![command(2, "b", "2"), command(3, "c", "poison")];
    apply(&mut machine, bad).await.unwrap();
    assert!(machine.0.flush().await.is_err());
    let error = apply(&mut machine, vec![command(4, "d", "4")])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("stopped"), "{error}");
    assert_eq!(rows(&machine.0.view().unwrap()), []);
}

#[tokio::test]
async fn a_snapshot_is_the_whole_state_and_damage_is_found() {
    let dir = TempDir::new().unwrap();
    let mut machine = open(&dir).unwrap();
    // Values that make the dump cross its buffer several times.
    let large = "v".repeat(100_000);
    let entries = (1..=40).map(|index| command(index, &format!("key-{index:03}"), &large));
    apply(&mut machine, entries.collect()).await.unwrap();
    let snapshot = machine
        .get_current_snapshot()
        .await
        .unwrap()
        .expect("a state");
    // What is applied meanwhile is not in it.
    apply(&mut machine, vec![command(41, "later", "x")])
        .await
        .unwrap();
    machine.0.flush().await.unwrap();
    let dump = snapshot.snapshot.dump().await.unwrap();
    let bytes = dump.read(0, dump.bytes).await.unwrap();

    let other = TempDir::new().unwrap();
    let mut follower = open(&other).unwrap();
    apply(&mut follower, vec![command(1, "old", "gone afterwards")])
        .await
        .unwrap();
    follower
        .install_snapshot(&snapshot.meta, snapshot.snapshot)
        .await
        .unwrap();
    let expected: Vec<_> = rows(&machine.0.view().unwrap())
        .into_iter()
        .filter(|(key, _)| key != "later")
        .collect();
    assert_eq!(expected.len(), 40);
    assert_eq!(rows(&follower.0.view().unwrap()), expected);
    assert_eq!(follower.0.view().unwrap().applied(), 40);
    drop(follower);
    let again = open(&other).unwrap();
    assert_eq!(rows(&again.0.view().unwrap()), expected, "it is durable");

    for (at, what) in [
        (0, "magic"),
        (8, "format"),
        (9, "table"),
        (bytes.len() - 1, "count"),
    ] {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x55;
        assert!(load_bytes(&other, &damaged).is_err(), "{what}");
    }
    assert!(load_bytes(&other, &bytes[..bytes.len() / 2]).is_err());
    assert!(load_bytes(&other, &bytes).is_ok());
}

fn load_bytes(dir: &TempDir, bytes: &[u8]) -> Result<LoadedFile, MachineError> {
    let place = place(dir, GROUP, ReplicaId(7));
    let file = open_incoming(&place).unwrap();
    file.write_at(0, bytes).unwrap();
    load(
        &place,
        &SnapshotMeta::default(),
        file.as_ref(),
        bytes.len() as u64,
    )
}

#[tokio::test]
async fn a_file_of_another_replica_or_without_its_identity_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir).unwrap());
    let other = place(&dir, GROUP, ReplicaId(8));
    let refused = Store::open(other, Arc::new(TestLogic)).map(drop);
    assert!(matches!(
        refused,
        Err(MachineError::Foreign {
            replica: ReplicaId(7),
            ..
        })
    ));
    // redb opens an empty file as a new database: exactly what must not go unnoticed.
    let path = place(&dir, GROUP, ReplicaId(7)).path();
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(
        open(&dir).map(drop),
        Err(MachineError::NoIdentity { .. })
    ));
}

#[test]
fn file_names() {
    assert_eq!(group_of_file("group-17.redb"), Some(GroupId(17)));
    assert_eq!(group_of_file("group-17.redb.received"), None);
    assert!(is_left_over("group-17.fresh-note") && is_left_over("group-0.dump-1-2-3-4"));
    assert!(is_left_over("group-17.redb.received"));
    assert!(!is_left_over("group-17.redb") && !is_left_over("notes.txt"));
    assert!(!is_left_over("group-17.incoming") && !is_left_over("group-17.incoming-note"));
}
