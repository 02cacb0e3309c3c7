//! Small objects are overwritten again and again: their drives keep little more than what lives.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use marram_cluster_tests::{
    Cluster, Object, Options, Pool, Scratch, put_all, room, until, verify_all,
};

use super::kit::WITHIN;

const BUCKET: &str = "small";
const OBJECTS: usize = 160;
/// Below the 64 KiB of a small record. On three nodes each has a whole copy.
const SIZE: usize = 60_000;
const SEGMENT_MIB: u64 = 8;
const ROUNDS: usize = 9;

/// Bytes that the segments of small records take on a drive.
fn small_segments(drive: &Path) -> u64 {
    let files = fs::read_dir(drive.join("segments")).expect("segments");
    let small = files.filter_map(|file| {
        let path = file.expect("listed").path();
        let is_small = path.extension().is_some_and(|suffix| suffix == "small");
        // One that went meanwhile takes nothing.
        is_small.then(|| fs::metadata(path).map_or(0, |m| m.blocks() * 512))
    });
    small.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn space_of_overwritten_small_objects_comes_back() {
    let _room = room().await;
    let scratch = Scratch::new("compaction");
    let options = Options {
        nodes: 3,
        segment_mib: SEGMENT_MIB,
        quick_garbage: true,
        // What was overwritten goes when no upload can name it any more.
        env: vec![("MARRAM_GC_FLOOR_LAG", "20".to_owned())],
        ..Options::default()
    };
    let mut cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(990, 4 << 20);
    let mut objects: BTreeMap<String, Object> = BTreeMap::new();
    for round in 0..ROUNDS {
        // One of eight stays for good: no segment empties by itself.
        let key = |i: usize| match i % 8 {
            0 => format!("{i}-{round}"),
            _ => format!("{i}"),
        };
        let changed: Vec<Object> = (0..OBJECTS)
            .map(|i| pool.object(key(i), SIZE - round))
            .collect();
        put_all(&client, BUCKET, &changed).await;
        let changed = changed.into_iter();
        objects.extend(changed.map(|object| (object.key.clone(), object)));
    }
    let objects: Vec<Object> = objects.into_values().collect();
    let live = (objects.len() * SIZE) as u64;
    // A segment is at least half alive, but for the open one and what has not been looked at.
    let bound = 2 * live + (2 * SEGMENT_MIB) * (1 << 20);
    let written = (ROUNDS * OBJECTS * SIZE) as u64;
    assert!(written > bound, "it does not fit without compaction");
    until("the space came back", WITHIN, async || {
        let used: Vec<u64> = (1..=3)
            .map(|node| small_segments(&cluster.drive(node)))
            .collect();
        match used.iter().all(|used| *used <= bound) {
            true => Ok(()),
            false => Err(format!("{used:?} bytes, {bound} wanted")),
        }
    })
    .await;
    verify_all(&client, BUCKET, &objects).await;
    cluster.stop();
    let cluster = Cluster::start(scratch.path(), &options);
    cluster.healthy().await;
    verify_all(&cluster.client(), BUCKET, &objects).await;
}
