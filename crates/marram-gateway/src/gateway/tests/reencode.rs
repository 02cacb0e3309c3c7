//! Extents encoded anew in a cluster in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use marram_meta::{Body, Extent, HeadAnswer, VersionRow};
use marram_types::{BucketName, ObjectKey};

use super::kit::{Client, cluster, content};
use crate::core::Core;
use crate::objects::{ObjectName, lookup};
use crate::reencode::{ReencodeError, ReencodeJob, Reencoded, Reencoder, WorkPace};
use crate::testing::{Cluster, Turns};

fn name(key: &str) -> ObjectName {
    ObjectName {
        bucket: BucketName::new("bucket").unwrap(),
        key: ObjectKey::new(key).unwrap(),
    }
}

async fn found(core: &Core, key: &str) -> HeadAnswer {
    lookup(core, &name(key)).await.unwrap()
}

fn extents(row: &VersionRow) -> &[Extent] {
    match &row.body {
        Body::Extents(extents) => extents,
        other => panic!("{other:?}"),
    }
}

/// What each extent of an object shall become.
async fn jobs(core: &Core, key: &str, profile: &str) -> Vec<ReencodeJob> {
    let head = found(core, key).await;
    let bucket = core.bucket(&name(key).bucket).await.unwrap();
    let job = |extent: &Extent| ReencodeJob {
        group: core.group_of(&bucket, &name(key).key).unwrap(),
        bucket: bucket.bucket,
        key: name(key).key,
        pg: extent.pg,
        data: extent.data,
        profile: profile.parse().unwrap(),
    };
    extents(&head.row).iter().map(job).collect()
}

/// A pace that lets everything pass, and counts it.
#[derive(Default)]
struct Unhurried {
    received: AtomicU64,
    sent: AtomicU64,
}

#[async_trait::async_trait]
impl WorkPace for Unhurried {
    async fn receive(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    async fn send(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

struct World {
    cluster: Cluster,
    client: Client,
    pace: Arc<Unhurried>,
    worker: Reencoder,
}

impl World {
    /// Six nodes with 4+2, and an object that was written with two of them away.
    async fn narrow(len: usize) -> (Self, Vec<u8>) {
        let (cluster, mut client) = cluster(6).await;
        cluster.drives.stop(cluster.nodes[1]);
        cluster.drives.stop(cluster.nodes[4]);
        let bytes = content(len, 3);
        client.put("a", &bytes).await.unwrap();
        cluster.drives.start(cluster.nodes[1]);
        cluster.drives.start(cluster.nodes[4]);
        let pace = Arc::<Unhurried>::default();
        let worker = Reencoder::new(Arc::clone(&cluster.core), pace.clone());
        let world = Self {
            cluster,
            client,
            pace,
            worker,
        };
        (world, bytes)
    }
}

#[tokio::test]
async fn a_narrow_object_is_widened_and_reads_the_same() {
    let (mut world, bytes) = World::narrow(20_000_000).await;
    let core = Arc::clone(&world.cluster.core);
    let before = found(&core, "a").await.row;
    assert!(before.narrowed && before.off_profile && !before.under_protected);
    assert!(
        extents(&before)
            .iter()
            .all(|e| e.profile.to_string() == "2+2")
    );
    for job in jobs(&core, "a", "4+2").await {
        let done = world.worker.run(job.clone()).await.unwrap();
        assert!(matches!(done, Reencoded::Done { written } if written > 0));
        assert_eq!(world.worker.run(job).await.unwrap(), Reencoded::NotLive);
    }
    let after = found(&core, "a").await.row;
    assert!(
        extents(&after)
            .iter()
            .all(|e| e.profile.to_string() == "4+2")
    );
    let mut expected = before;
    expected.body = after.body.clone();
    (expected.narrowed, expected.off_profile) = (false, false);
    assert_eq!(after, expected, "nothing else changed");
    assert_eq!(world.client.get("a").await.unwrap(), bytes);
    // Any two nodes may go now.
    world.cluster.drives.stop(world.cluster.nodes[0]);
    world.cluster.drives.stop(world.cluster.nodes[3]);
    assert_eq!(world.client.get("a").await.unwrap(), bytes);
}

/// Every byte is read and written in a turn that the drive's node gave, and passes this server's pace; what
/// clients read and write asks for none.
#[tokio::test]
async fn each_byte_waits_for_its_turn_at_its_drive() {
    let (mut world, bytes) = World::narrow(9_000_000).await;
    let core = Arc::clone(&world.cluster.core);
    assert_eq!(world.client.get("a").await.unwrap(), bytes);
    let drives = Arc::clone(&world.cluster.drives);
    assert_eq!(drives.turns(), Turns::default(), "clients do not wait");
    drives.be_busy(25);
    let mut written = 0;
    for job in jobs(&core, "a", "4+2").await {
        match world.worker.run(job).await.unwrap() {
            Reencoded::Done { written: more } => written += more,
            other @ Reencoded::NotLive => panic!("{other:?}"),
        }
    }
    let turns = drives.turns();
    assert_eq!(turns.refused, 25, "it asked until it was its turn");
    assert_eq!(turns.written, written);
    let received = world.pace.received.load(Ordering::Relaxed);
    let sent = world.pace.sent.load(Ordering::Relaxed);
    // From any two of four shards, and nothing twice: nobody was asked in place of the busy ones.
    assert!((9_000_000..9_500_000).contains(&received), "{received}");
    assert_eq!(sent, written);
    assert_eq!(turns.given, received + sent);
    assert_eq!(world.client.get("a").await.unwrap(), bytes);
    assert_eq!(drives.turns(), turns, "nor do they now");
}

/// While a cluster is upgraded, some nodes know no turns: what is encoded anew is written there all the same, and
/// their drives are not suspected.
#[tokio::test]
async fn nodes_that_know_no_turns_are_written_to() {
    let (mut world, bytes) = World::narrow(3_000_000).await;
    let core = Arc::clone(&world.cluster.core);
    world.cluster.drives.know_no_turns();
    for job in jobs(&core, "a", "4+2").await {
        let done = world.worker.run(job).await.unwrap();
        assert!(matches!(done, Reencoded::Done { .. }), "{done:?}");
    }
    assert!(!found(&core, "a").await.row.narrowed);
    assert_eq!(world.client.get("a").await.unwrap(), bytes);
}

#[tokio::test]
async fn what_breaks_off_leaves_nothing_behind_and_changes_nothing() {
    let (mut world, bytes) = World::narrow(5_000_000).await;
    let core = Arc::clone(&world.cluster.core);
    let before = found(&core, "a").await.row;
    let shards = world.cluster.drives.shards();
    let job = jobs(&core, "a", "4+2").await.remove(0);
    // A node is away: there is no place for six shards.
    world.cluster.drives.stop(world.cluster.nodes[2]);
    let away = world.worker.run(job.clone()).await;
    assert!(matches!(away, Err(ReencodeError::NotNow(_))), "{away:?}");
    world.cluster.drives.start(world.cluster.nodes[2]);
    // A drive loses what it had acknowledged.
    let shards_of = |node| world.cluster.drives.shards_of(node);
    let held: Vec<usize> = world.cluster.nodes.iter().map(|n| shards_of(*n)).collect();
    world.cluster.drives.forget();
    let lost = world.worker.run(job.clone()).await;
    assert!(matches!(lost, Err(ReencodeError::NotNow(_))), "{lost:?}");
    core.tasks.close();
    core.tasks.wait().await;
    core.tasks.reopen();
    // Old shards of the forgetful drive went with the new ones.
    let now: Vec<usize> = world.cluster.nodes.iter().map(|n| shards_of(*n)).collect();
    let forgot = held
        .iter()
        .zip(&now)
        .filter(|(held, now)| held != now)
        .count();
    assert!(
        forgot <= 1 && now.iter().sum::<usize>() + 1 >= shards,
        "{held:?} {now:?}"
    );
    let mut after = found(&core, "a").await.row;
    assert_eq!(after, before);
    assert_eq!(world.client.get("a").await.unwrap(), bytes);
    let done = world.worker.run(job).await.unwrap();
    assert!(matches!(done, Reencoded::Done { .. }));
    after = found(&core, "a").await.row;
    assert!(!after.narrowed);
    assert_eq!(world.client.get("a").await.unwrap(), bytes);
}

#[tokio::test]
async fn an_object_that_was_overwritten_meanwhile_keeps_its_new_bytes() {
    let (mut world, _) = World::narrow(3_000_000).await;
    let core = Arc::clone(&world.cluster.core);
    let job = jobs(&core, "a", "4+2").await.remove(0);
    let newer = content(1_000_000, 9);
    world.client.put("a", &newer).await.unwrap();
    assert_eq!(world.worker.run(job).await.unwrap(), Reencoded::NotLive);
    assert_eq!(world.client.get("a").await.unwrap(), newer);
}

#[tokio::test]
async fn damaged_bytes_are_not_given_a_new_promise() {
    let (world, _) = World::narrow(3_000_000).await;
    let core = Arc::clone(&world.cluster.core);
    let job = jobs(&core, "a", "4+2").await.remove(0);
    let before = found(&core, "a").await.row;
    world.cluster.drives.corrupt_silently();
    let bad = world.worker.run(job).await;
    assert!(matches!(bad, Err(ReencodeError::NotNow(_))), "{bad:?}");
    assert_eq!(found(&core, "a").await.row, before);
}
