//! Drives come, are drained and removed, fail, go away and come back, while their nodes go on.
//!
//! A drive fails here by losing its folder while its node runs: that needs no rights, no kernel module
//! and no fault in the program. What a failed sync or write does to a drive is shown where the file
//! system can be made to fail, in the tests of the store.

use std::fs;
use std::path::{Path, PathBuf};

use marram_client::{Client, DriveDuty};
use marram_cluster_tests::{
    Cluster, Object, Options, Pool, Scratch, put_all, room, run, until, verify_all,
};

use super::kit::{WITHIN, drive, drives, settled, status};

const BUCKET: &str = "drives";

fn options() -> Options {
    Options {
        nodes: 4,
        quick_garbage: true,
        env: vec![
            ("MARRAM_DRIVE_FAILED_GRACE", "2".to_owned()),
            ("MARRAM_DRIVE_AWAY_GRACE", "2".to_owned()),
        ],
        ..Options::default()
    }
}

fn objects() -> Vec<Object> {
    let mut pool = Pool::new(970, 8 << 20);
    let sizes = [3_000, 60_000, 200_000, 1 << 20, 5 << 20];
    let each = |i: usize| pool.object(format!("{i}"), sizes[i % sizes.len()] + i);
    (0..40).map(each).collect()
}

/// Has the servers started with more data folders from their next start on.
fn with_drives(dir: &Path, count: u64) {
    let file = dir.join("cluster.json");
    let text = fs::read_to_string(&file).expect("the settings");
    let mut settings: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    settings["drives"] = count.into();
    fs::write(&file, settings.to_string()).expect("written");
}

fn folder(cluster: &Cluster, node: u16, place: u16) -> PathBuf {
    cluster.dir().join(format!("node-{node}/drive-{place}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_is_added_and_filled_and_drained_and_removed() {
    let _room = room().await;
    let scratch = Scratch::new("drive-added");
    let mut cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let objects = objects();
    put_all(&client, BUCKET, &objects).await;
    assert_eq!(drives(&client).await.len(), 4);
    cluster.stop();
    with_drives(scratch.path(), 2);
    let mut cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    until(
        "every node has a second drive with data",
        WITHIN,
        async || {
            let drives = drives(&client).await;
            let filled = drives
                .iter()
                .filter(|d| d.slots > 0 && d.record_bytes > Some(0));
            match filled.count() {
                8 => Ok(()),
                _ => Err(format!("{drives:?}")),
            }
        },
    )
    .await;
    settled(&client).await;
    verify_all(&client, BUCKET, &objects).await;

    // The metadata drive may be drained and is not removed; one that serves is not removed.
    let refused = run(&cluster, &["admin", "drive", "remove", "node-1/1"]);
    assert!(
        refused.code == 1 && refused.err.contains("drain it first"),
        "{}",
        refused.err
    );
    let refused = run(&cluster, &["admin", "drive", "remove", "node-1/0"]);
    assert!(refused.err.contains("metadata drive"), "{}", refused.err);
    let missing = run(&cluster, &["admin", "drive", "drain", "node-1/7"]);
    assert_eq!(missing.code, 3, "{}", missing.err);

    let id = drive(&client, 1, 1).await.drive_id;
    let _said = run(
        &cluster,
        &["admin", "drive", "drain", "node-1/1", "--watch"],
    )
    .done();
    until("the drive can be removed", WITHIN, async || {
        let removed = run(&cluster, &["admin", "drive", "remove", &id.to_string()]);
        if removed.code == 0 {
            Ok(())
        } else {
            Err(removed.err)
        }
    })
    .await;
    let _again = run(&cluster, &["admin", "drive", "remove", &id.to_string()]).done();
    let left = drives(&client).await;
    assert!(
        left.len() == 7 && left.iter().all(|d| d.drive_id != id),
        "{left:?}"
    );
    settled(&client).await;
    verify_all(&client, BUCKET, &objects).await;

    // Its folder may stay in --data: it is not used.
    cluster.stop();
    let cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    settled(&client).await;
    assert_eq!(drives(&client).await.len(), 7);
    verify_all(&client, BUCKET, &objects).await;
}

/// Waits until nothing is read from a drive any more and every shard is elsewhere.
async fn rebuilt(client: &Client, id: u64, duty: DriveDuty) {
    until("what the drive had is elsewhere", WITHIN, async || {
        let drives = drives(client).await;
        let found = drives.iter().find(|d| d.drive_id == id);
        match found {
            Some(drive) if drive.slots == 0 && drive.duty == duty => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
    settled(client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_fails_is_rebuilt_and_one_that_was_away_serves_again() {
    let _room = room().await;
    let scratch = Scratch::new("drive-fails");
    let options = Options {
        drives: 2,
        ..options()
    };
    let mut cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let objects = objects();
    put_all(&client, BUCKET, &objects).await;
    settled(&client).await;

    // Pulled out of a node that runs.
    let failed = drive(&client, 2, 1).await.drive_id;
    let pulled = cluster.dir().join("pulled");
    fs::rename(folder(&cluster, 2, 2), &pulled).expect("pulled");
    rebuilt(&client, failed, DriveDuty::Failed).await;
    assert!(cluster.pid(2).is_some(), "the node goes on");
    let sentences = status(&client).await.redundancy.expect("said").sentences;
    let named = sentences.iter().find(|s| s.contains(&failed.to_string()));
    assert!(named.is_some_and(|s| s.contains("node-2")), "{sentences:?}");
    verify_all(&client, BUCKET, &objects).await;

    // Another one is away when its node starts, is rebuilt too, and serves again when it is back.
    cluster.stop();
    let away_folder = folder(&cluster, 3, 2);
    let kept = cluster.dir().join("kept");
    fs::rename(&away_folder, &kept).expect("taken away");
    let mut cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    let away = drive(&client, 3, 1).await.drive_id;
    rebuilt(&client, away, DriveDuty::Away).await;
    verify_all(&client, BUCKET, &objects).await;
    assert!(!away_folder.exists(), "a missing mount is not made");
    fs::create_dir(&away_folder).expect("an empty mount point");
    cluster.stop();
    let mut cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    assert_eq!(
        drive(&client, 3, 1).await.drive_id,
        away,
        "an empty mount point is no new drive"
    );
    cluster.stop();
    fs::remove_dir_all(&away_folder).expect("removed");
    fs::rename(&kept, &away_folder).expect("back");
    let cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    until("the drive serves again", WITHIN, async || {
        let found = drive(&client, 3, 1).await;
        match found.duty == DriveDuty::Serving && found.slots > 0 {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    })
    .await;
    settled(&client).await;
    verify_all(&client, BUCKET, &objects).await;

    replaced(&cluster, failed).await;
    verify_all(&cluster.client_through_gateways(), BUCKET, &objects).await;
}

/// An empty folder where a drive failed is another drive; the failed one is removed.
async fn replaced(cluster: &Cluster, failed: u64) {
    let client = cluster.client();
    let empty = folder(cluster, 2, 2);
    fs::create_dir_all(&empty).expect("a new drive");
    until("the new drive has data", WITHIN, async || {
        let drives = drives(&client).await;
        let new = |d: &&marram_client::DriveEntry| {
            d.node == "node-2" && d.number > 0 && d.drive_id != failed && d.slots > 0
        };
        if drives.iter().any(|d| new(&d)) {
            Ok(())
        } else {
            Err(format!("{drives:?}"))
        }
    })
    .await;
    let _removed = run(cluster, &["admin", "drive", "remove", &failed.to_string()]).done();
    settled(&client).await;
}
