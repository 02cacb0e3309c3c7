//! Cold data that nobody reads: what is damaged or gone is found by the scrub alone and brought back.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use marram_client::ScrubStage;
use marram_cluster_tests::{
    Cluster, Object, Options, Pool, Scratch, put_all, room, run, until, verify_all,
};
use memchr::memmem::Finder;

use super::kit::{WITHIN, scrub_all, scrub_of, scrubs, settled};

const BUCKET: &str = "cold";
const NEEDLE_BYTES: usize = 32;

/// Objects of all classes with bytes of their own.
fn objects(seed: u64, sizes: &[usize]) -> Vec<Object> {
    let each = |(i, size): (usize, &usize)| {
        Pool::new(seed + i as u64, size + 1).object(format!("{seed}/{i}"), *size)
    };
    sizes.iter().enumerate().map(each).collect()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.join("segments")).expect("segments");
    files.map(|file| file.expect("readable").path()).collect()
}

/// Flips one bit of the object's bytes on the first drive that has them. Says which node has it.
fn flip(cluster: &Cluster, object: &Object) -> u16 {
    let middle = object.content.len() / 2;
    let finder = Finder::new(&object.content[middle..middle + NEEDLE_BYTES]);
    for node in 1..=cluster.nodes() {
        for path in segments(&cluster.drive(node)) {
            let bytes = fs::read(&path).expect("a segment");
            if let Some(at) = finder.find(&bytes) {
                let file = File::options().write(true).open(&path).expect("opened");
                file.write_all_at(&[bytes[at] ^ 1], at as u64)
                    .expect("written");
                file.sync_all().expect("synced");
                return node;
            }
        }
    }
    panic!("object {} is on no drive", object.key);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_and_loss_that_nobody_reads_are_found_and_repaired() {
    let _room = room().await;
    let scratch = Scratch::new("scrub");
    let cluster = Cluster::start(scratch.path(), &Options::default());
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let objects = objects(900, &[5_000, 60_000, 131_000, 300_000, 2 << 20, 9 << 20]);
    put_all(&client, BUCKET, &objects).await;
    settled(&client).await;

    let sound = scrub_all(&cluster, &client).await;
    for drive in &sound.drives {
        let pass = drive.last.expect("a full pass");
        let found = pass.found;
        let faults = found.damaged + found.unreadable + found.gone + found.missing;
        assert_eq!(faults, 0, "{drive:?}");
        assert!(found.bytes > 0 && found.compared > 0, "{drive:?}");
    }

    // A bit in one shard of each object.
    let hit: Vec<u16> = objects
        .iter()
        .map(|object| flip(&cluster, object))
        .collect();
    println!("bits were flipped on nodes {hit:?}");
    let found = scrub_all(&cluster, &client).await;
    let damaged: u64 = found
        .drives
        .iter()
        .map(|d| d.last.expect("passed").found.damaged)
        .sum();
    assert!(
        damaged >= objects.len() as u64 - 1,
        "{damaged} runs: two bits may share a run"
    );
    settled(&client).await;
    assert!(scrub_finds_nothing(&cluster).await);

    // The segments of a drive are removed while its node runs, and those of another while it does not.
    for path in segments(&cluster.drive(2)) {
        fs::remove_file(path).expect("removed");
    }
    let found = scrub_all(&cluster, &client).await;
    let gone: u64 = found
        .drives
        .iter()
        .map(|d| d.last.expect("passed").found.gone)
        .sum();
    assert!(gone > 0, "{found:?}");
    settled(&client).await;
    cluster.kill(&[5]);
    for path in segments(&cluster.drive(5)) {
        fs::remove_file(path).expect("removed");
    }
    cluster.restart(&[5]);
    cluster.healthy().await;
    let found = scrub_all(&cluster, &client).await;
    let missing: u64 = found
        .drives
        .iter()
        .map(|d| d.last.expect("passed").found.missing)
        .sum();
    assert!(missing > 0, "{found:?}");
    settled(&client).await;
    assert!(scrub_finds_nothing(&cluster).await);

    // All of it is there again: any two others may go.
    cluster.kill(&[1, 3]);
    verify_all(&cluster.client_through_gateways(), BUCKET, &objects).await;
    cluster.restart(&[1, 3]);
    cluster.healthy().await;
    replicas_are_equal(&cluster).await;
}

async fn scrub_finds_nothing(cluster: &Cluster) -> bool {
    let status = scrub_all(cluster, &cluster.client()).await;
    let faults = status.drives.iter().map(|drive| {
        let found = drive.last.expect("passed").found;
        found.damaged + found.unreadable + found.gone + found.missing
    });
    faults.sum::<u64>() == 0
}

/// The replicas of no group differ at an index at which they were compared.
async fn replicas_are_equal(cluster: &Cluster) {
    let status = scrubs(&cluster.client()).await;
    for compared in &status.comparisons {
        assert!(compared.different_node_ids.is_empty(), "{compared:?}");
    }
}

/// Slow enough that a pass is seen under way: 1 MiB a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_pass_goes_on_after_its_process_was_killed_and_rests_when_it_is_paused() {
    let _room = room().await;
    let scratch = Scratch::new("scrub-killed");
    let options = Options {
        nodes: 1,
        env: vec![
            ("MARRAM_SCRUB_RATE", "1".to_owned()),
            ("MARRAM_SCRUB_EVERY", "2".to_owned()),
        ],
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let paused = run(&cluster, &["admin", "scrub", "pause"]).done();
    assert!(paused.text().contains("paused"), "{}", paused.text());
    let objects = objects(950, &[4 << 20; 8]);
    put_all(&client, BUCKET, &objects).await;
    let resting = scrub_of(&client, 1).await;
    let watched = run(&cluster, &["admin", "scrub", "--watch"]);
    assert_eq!(watched.code, 1, "a paused pass is not waited for");
    let _resumed = run(&cluster, &["admin", "scrub", "resume"]).done();

    // Far enough that it was written down.
    let kept = read_more_than(&cluster, resting.since_ms, 12 << 20).await;
    cluster.kill(&[1]);
    cluster.restart(&[1]);
    cluster.healthy().await;
    let again = read_more_than(&cluster, resting.since_ms, 1).await;
    assert_eq!(again.since_ms, kept.since_ms, "the same pass");
    assert!(
        again.found.bytes >= 4 << 20,
        "{again:?} goes on where it was"
    );
    until("the pass ends", WITHIN, async || {
        let scrub = scrub_of(&cluster.client(), 1).await;
        match scrub.last {
            Some(pass) if pass.began_ms == kept.since_ms => {
                let whole = pass.found.bytes >= scrub.total_bytes && pass.found.compared > 0;
                assert!(whole, "{scrub:?}");
                Ok(())
            }
            last => Err(format!("{last:?} {:?}", scrub.found)),
        }
    })
    .await;
    verify_all(&cluster.client(), BUCKET, &objects).await;
}

/// Waits until a pass that began after `since_ms` has read so much.
async fn read_more_than(cluster: &Cluster, since_ms: u64, bytes: u64) -> marram_client::DriveScrub {
    let mut seen = None;
    until("a pass is under way", WITHIN, async || {
        let scrub = scrub_of(&cluster.client(), 1).await;
        let reads = scrub.stage == ScrubStage::Reading && scrub.since_ms >= since_ms;
        if reads && scrub.found.bytes >= bytes {
            seen = Some(scrub);
            return Ok(());
        }
        Err(format!("{scrub:?}"))
    })
    .await;
    seen.expect("seen just now")
}
