//! All metadata is lost, and comes back from a backup onto the old drives.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use marram_client::{Client, ObjectVersion, Preconditions, VersionQuery, Versioning};
use marram_cluster_tests::{
    Cluster, Object, Pool, Scratch, Server, put, put_all, room, run, until, verify_all,
};

use super::support::{answers, quick_garbage, record_bytes, refused, replica, voters};

const BUCKET: &str = "restore";
const VERSIONS: &str = "restore-versions";
const NODES: u16 = 3;
/// How long garbage may take to go.
const COLLECTED_WITHIN: Duration = Duration::from_secs(90);
/// How long the drives are watched for what must not go: twice what uploads are given.
const OBSERVED_FOR: Duration = Duration::from_secs(20);
const AWARE: &str = "--i-know-that-newer-writes-are-lost";

/// One object of each class and size, twice.
fn objects(pool: &mut Pool, name: &str) -> Vec<Object> {
    let sizes = [0, 700, 60_000, 900_000, 5 << 20];
    let sizes = sizes.iter().cycle().take(10).enumerate();
    sizes
        .map(|(i, size)| pool.object(format!("{name}/{i}"), *size))
        .collect()
}

/// A bucket that keeps versions: three of one key, with their contents, the first of them null, and a marker.
async fn keep_versions(client: &Client, pool: &mut Pool) -> Vec<(u64, Object)> {
    client.create_bucket(VERSIONS, None).await.expect("made");
    let mut kept = Vec::new();
    for (nth, size) in [700, 60_000, 900_000].into_iter().enumerate() {
        if nth == 1 {
            let on = client.set_versioning(VERSIONS, Versioning::On).await;
            on.expect("every version is kept from now on");
        }
        let object = pool.object("many", size);
        let written = put(client, VERSIONS, &object).await.expect("written");
        kept.push((written.generation, object));
    }
    let any = Preconditions::default();
    let marked = client.delete(VERSIONS, "many", &any).await;
    assert!(marked.expect("marked"));
    kept
}

async fn versions(client: &Client) -> Vec<ObjectVersion> {
    let mut pages = client.list_versions(VERSIONS, VersionQuery::default());
    let mut all = Vec::new();
    while let Some(page) = pages.next().await.expect("listed") {
        all.extend(page.versions);
    }
    all
}

/// Versions go for good and another one comes: the backup knows nothing of that.
async fn versions_move_on(client: &Client, kept: &[(u64, Object)], pool: &mut Pool) {
    let any = Preconditions::default();
    for (generation, _) in &kept[..2] {
        let gone = client.delete_version(VERSIONS, "many", Some(*generation), &any);
        assert!(gone.await.expect("deleted").existed);
    }
    let newer = pool.object("many", 5000);
    put(client, VERSIONS, &newer).await.expect("written");
}

/// The cluster can be used, and nothing of it is lost or strange.
async fn goes_on(cluster: &Cluster, client: &Client, pool: &mut Pool, newest: u64) {
    let again = objects(pool, "again");
    let written = put_all(client, BUCKET, &again).await;
    let later = written.iter().all(|info| info.generation > newest);
    assert!(later, "no generation is used twice");
    verify_all(client, BUCKET, &again).await;
    let audited = run(cluster, &["--json", "admin", "audit"]).done();
    let found = &audited.json_lines()[0];
    assert!(found["checked"].as_u64() >= Some(20), "{found}");
    assert_eq!((&found["lost"], &found["unknown"]), (&0.into(), &0.into()));
    let finalized = run(cluster, &["admin", "finalize-version"]).done();
    assert!(finalized.text().contains("already"), "{}", finalized.text());
    let released = run(cluster, &["admin", "backup", "release"]);
    assert_eq!(released.code, 0, "{}", released.err);
}

/// Each version is what it was, byte for byte, and the key is marked as deleted.
async fn versions_are_back(client: &Client, kept: &[(u64, Object)], before: &[ObjectVersion]) {
    assert_eq!(versions(client).await, before);
    for (generation, object) in kept {
        let read = client
            .get_version(VERSIONS, "many", *generation, None)
            .await;
        let bytes = read.expect("there").bytes(1 << 20).await.expect("read");
        assert!(bytes == object.content, "generation {generation}");
    }
    let current = client.get(VERSIONS, "many", None).await;
    assert_eq!(
        current.expect_err("it is marked").reason(),
        Some("OBJECT_NOT_FOUND")
    );
    let usage = client.bucket_usage(VERSIONS).await.expect("told");
    let counted = (
        usage.objects,
        usage.noncurrent_versions,
        usage.delete_markers,
    );
    assert_eq!(counted, (0, 3, 1));
}

/// The files of a backup: the whole one, and one with a flipped bit.
struct Files {
    whole: PathBuf,
    damaged: PathBuf,
}

/// Every server says of when the newest backup is, without being told.
fn is_remembered(cluster: &Cluster, made: &serde_json::Value) {
    assert_eq!(made.get("not_recorded"), None, "{made}");
    let status = run(cluster, &["--json", "admin", "status"]).done();
    let known = &status.json_lines()[0]["last_backup"];
    for what in ["made_ms", "kept_until_ms", "bytes"] {
        assert_eq!(known[what], made[what], "{known} {made}");
    }
    assert!(known["root_index"].as_u64() > Some(0), "{known}");
}

/// Makes backups of the cluster, and a damaged copy, and has all of them looked at.
fn back_up(cluster: &Cluster) -> Files {
    let whole = cluster.dir().join("meta.backup");
    let path = whole.to_str().expect("a plain path");
    let made = run(cluster, &["--json", "admin", "backup", "metadata", path]).done();
    let made = &made.json_lines()[0];
    assert_eq!(made["objects"], 10);
    is_remembered(cluster, made);
    let verified = run(cluster, &["admin", "backup", "verify", path]).done();
    assert!(verified.text().starts_with("whole"), "{}", verified.text());
    let there = run(
        cluster,
        &["admin", "backup", "metadata", "m://restore/meta"],
    )
    .done();
    assert!(there.text().contains("backup of dev"), "{}", there.text());
    let mut bytes = fs::read(&whole).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = cluster.dir().join("damaged.backup");
    fs::write(&damaged, bytes).expect("written");
    let path = damaged.to_str().expect("a plain path");
    let said = run(cluster, &["admin", "backup", "verify", path]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("damaged"), "{}", said.err);
    Files { whole, damaged }
}

/// Overwrites half of what is in the backup, deletes the other half and adds to it; returns the keys
/// that the backup does not have, and the newest generation. Nothing that it names may go.
async fn move_on(cluster: &Cluster, client: &Client, pool: &mut Pool) -> (Vec<Object>, u64) {
    let mut newer = objects(pool, "kept");
    let overwritten = newer.len() / 2;
    let deleted = newer.split_off(overwritten);
    newer.extend(objects(pool, "newer"));
    let written = put_all(client, BUCKET, &newer).await;
    let any = Preconditions::default();
    for object in &deleted {
        let deleted = client.delete(BUCKET, &object.key, &any).await;
        deleted.expect("deleted");
    }
    let held = record_bytes(cluster).await;
    let began = Instant::now();
    while began.elapsed() < OBSERVED_FOR {
        let now = record_bytes(cluster).await;
        assert!(
            now >= held,
            "{now} of {held} bytes: something was given up that the backup names"
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let generations = written.iter().map(|info| info.generation);
    let newest = generations.max().expect("some");
    (newer.split_off(overwritten), newest)
}

/// A server with its own metadata, a file that is damaged, another key file: each is refused. After
/// that the metadata of all nodes is gone.
fn lose_all(cluster: &Cluster, files: &Files) {
    let dir = cluster.dir();
    let refuses = |more: &[String], parts: &[&str]| refused(Server::run(dir, 1, more), parts);
    let restore = |file: &Path| format!("--restore={}", file.display());
    let aware = AWARE.to_owned();
    refuses(&[restore(&files.whole)], &["lost", AWARE]);
    let own = ["metadata of its own", "raft"];
    refuses(&[restore(&files.whole), aware.clone()], &own);
    for node in 1..=NODES {
        fs::remove_dir_all(cluster.drive(node).join("raft")).expect("removed");
    }
    refuses(&[restore(&files.damaged), aware.clone()], &["damaged"]);
    let kek = dir.join("kek");
    let own = fs::read(&kek).expect("read");
    fs::write(&kek, "ab".repeat(32)).expect("written");
    refuses(&[restore(&files.whole), aware], &["key file", "secret"]);
    fs::write(&kek, own).expect("put back");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_a_backup_comes_back_after_all_metadata_was_lost() {
    let _room = room().await;
    let scratch = Scratch::new("restore");
    let dir = scratch.path();
    let mut cluster = Cluster::start(dir, &quick_garbage(NODES));
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(34, 16 << 20);
    let kept = objects(&mut pool, "kept");
    put_all(&client, BUCKET, &kept).await;
    let past = keep_versions(&client, &mut pool).await;
    let before = versions(&client).await;
    assert_eq!(before.len(), 4, "{before:?}");
    let early = [pool.object("early", 9 << 20)];
    put_all(&client, BUCKET, &early).await;
    let full = record_bytes(&cluster).await;
    let any = Preconditions::default();
    client.delete(BUCKET, "early", &any).await.expect("deleted");
    let files = back_up(&cluster);
    // What was deleted before goes; what is overwritten and deleted from now on is kept.
    until(
        "what was deleted before goes",
        COLLECTED_WITHIN,
        async || {
            let now = record_bytes(&cluster).await;
            let gone = now + (9 << 20) <= full;
            gone.then_some(())
                .ok_or_else(|| format!("{now} of {full} bytes"))
        },
    )
    .await;
    versions_move_on(&client, &past, &mut pool).await;
    let (newer, newest) = move_on(&cluster, &client, &mut pool).await;
    cluster.stop();
    let old: Vec<_> = (1..=NODES)
        .map(|node| replica(&cluster.drive(node)))
        .collect();
    lose_all(&cluster, &files);

    let restore = format!("--restore={}", files.whole.display());
    let mut server = Server::start(dir, 1, &[restore, AWARE.to_owned()]);
    answers(&cluster.client_of(1), &mut server).await;
    server.stop();
    // From now on everybody starts as ever; the others have no metadata and get fresh replicas.
    let mut cluster = Cluster::start(dir, &quick_garbage(NODES));
    cluster.healthy().await;
    voters(&cluster, usize::from(NODES)).await;
    for (node, old) in (1..=NODES).zip(old) {
        let fresh = replica(&cluster.drive(node));
        assert!(fresh > old + (1 << 34), "node {node}: {fresh} after {old}");
    }
    let client = cluster.client();
    verify_all(&client, BUCKET, &kept).await;
    versions_are_back(&client, &past, &before).await;
    for object in &newer {
        let there = client.get(BUCKET, &object.key, None).await;
        assert!(there.is_err(), "{} is newer than the backup", object.key);
    }
    goes_on(&cluster, &client, &mut pool, newest).await;
    cluster.stop();
}
