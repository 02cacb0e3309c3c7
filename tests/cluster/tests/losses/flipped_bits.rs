//! One bit is flipped in one shard of each of 100 objects. Every read is still exact, also when a
//! node is lost on top of it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use marram_cluster_tests::{Cluster, Object, Options, Pool, Scratch, put_all, room, verify_all};
use memchr::memmem::Finder;

const OBJECTS: usize = 100;
/// Bytes that are looked for: long enough to be found once for each shard that holds them.
const NEEDLE_BYTES: usize = 32;
const BUCKET: &str = "flipped-bits";

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_never_served() {
    let _room = room().await;
    let scratch = Scratch::new("flipped-bits");
    let cluster = Cluster::start(scratch.path(), &Options::default());
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(300, 1);
    // Bytes of their own for each object: what is found on a drive belongs to this one.
    let objects: Vec<Object> = (0..OBJECTS)
        .map(|i| {
            let size = if i % 25 == 24 {
                // Large enough to be read from the nodes themselves.
                9 << 20
            } else {
                [5_000, 60_000, 131_072, 200_000, 900_000][i % 5]
            } + pool.below(4000);
            Pool::new(301 + i as u64, size + 1).object(format!("{i}"), size)
        })
        .collect();
    put_all(&client, BUCKET, &objects).await;
    let files = drive_files(&cluster);
    for object in &objects {
        flip_one_bit(&files, object, &mut pool);
    }
    // Twice: a read that worked around the damage must not leave anything behind.
    for _ in 0..2 {
        verify_all(&client, BUCKET, &objects).await;
        verify_all(&cluster.client_through_gateways(), BUCKET, &objects).await;
    }
    cluster.kill(&[3]);
    verify_all(&client, BUCKET, &objects).await;
    cluster.restart(&[3]);
    cluster.healthy().await;
    verify_all(&client, BUCKET, &objects).await;
}

/// All files of all drives with their bytes; the Raft log and the tables hold no shards.
fn drive_files(cluster: &Cluster) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for node in 1..=cluster.nodes() {
        collect(&cluster.drive(node), &mut files);
    }
    assert!(!files.is_empty(), "drives have files");
    files
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a folder of a drive") {
        let path = entry.expect("readable").path();
        if path.ends_with("raft") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if let Ok(bytes) = fs::read(&path) {
            files.push((path, bytes));
        }
    }
}

/// Finds some bytes of the object on one of the drives and flips one of their bits.
fn flip_one_bit(files: &[(PathBuf, Vec<u8>)], object: &Object, pool: &mut Pool) {
    let at = pool.below(object.content.len() - NEEDLE_BYTES);
    // A cell's end may cut the needle in two: then the bytes before it are taken.
    for start in [at, at.saturating_sub(NEEDLE_BYTES)] {
        let finder = Finder::new(&object.content[start..start + NEEDLE_BYTES]);
        let found: Vec<(&PathBuf, usize)> = files
            .iter()
            .filter_map(|(path, bytes)| finder.find(bytes).map(|place| (path, place)))
            .collect();
        if found.is_empty() {
            continue;
        }
        let (path, place) = found[pool.below(found.len())];
        let place = (place + pool.below(NEEDLE_BYTES)) as u64;
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .expect("a drive's file");
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).expect("it is there");
        byte[0] ^= 1 << pool.below(8);
        file.write_all_at(&byte, place).expect("it can be changed");
        file.sync_all().expect("it can be synced");
        return;
    }
    panic!("object {} is on no drive", object.key);
}
