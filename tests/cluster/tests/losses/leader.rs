//! The node that leads most groups is killed while objects are written: no write fails, and none
//! waits for long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use marram_client::Client;
use marram_cluster_tests::{Cluster, Object, Options, Pool, Scratch, alone, put, verify_all};

const BUCKET: &str = "leader";
/// The gateway in use; it is not killed.
const GATEWAY: u16 = 6;
const WRITERS: usize = 8;
const WRITE_BEFORE: Duration = Duration::from_secs(1);
const WRITE_FOR: Duration = Duration::from_secs(8);
/// The promise. An election takes about a second.
const STALL_MAX: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_leader_stalls_writes_only_briefly() {
    let _alone = alone().await;
    let scratch = Scratch::new("leader");
    let cluster = Cluster::start(scratch.path(), &Options::default());
    let client = cluster.client_of(GATEWAY);
    client.create_bucket(BUCKET, None).await.expect("made");
    let leader = busiest_leader(&client, GATEWAY).await;
    let end = Instant::now() + WRITE_FOR;
    let writers = join_all((0..WRITERS).map(|writer| write_until(&client, writer, end)));
    let killer = async {
        tokio::time::sleep(WRITE_BEFORE).await;
        cluster.kill(&[leader]);
    };
    let (written, ()) = futures::future::join(writers, killer).await;
    let longest = written
        .iter()
        .map(|(_, longest)| *longest)
        .max()
        .expect("writers");
    let objects: Vec<Object> = written
        .into_iter()
        .flat_map(|(objects, _)| objects)
        .collect();
    println!(
        "{} objects written; the longest write took {longest:?}",
        objects.len()
    );
    assert!(longest < STALL_MAX, "a write took {longest:?}");
    verify_all(&client, BUCKET, &objects).await;
}

/// The node, numbered from 1, that leads most groups, of those that may be killed: all but `spared`.
pub(super) async fn busiest_leader(client: &Client, spared: u16) -> u16 {
    let status = client.cluster_status().await.expect("answered");
    let mut led: BTreeMap<u64, usize> = BTreeMap::new();
    for leader in status
        .groups
        .iter()
        .filter_map(|group| group.leader_node_id)
    {
        *led.entry(leader).or_default() += 1;
    }
    let number = |id: u64| -> Option<u16> {
        let node = status.nodes.iter().find(|node| node.node_id == id)?;
        node.name.strip_prefix("node-")?.parse().ok()
    };
    let others = led
        .into_iter()
        .filter_map(|(id, count)| Some((count, number(id)?)));
    let (_, node) = others
        .filter(|(_, node)| *node != spared)
        .max()
        .expect("groups have leaders");
    node
}

/// Puts one object after the other; returns them and the longest time that one took.
async fn write_until(client: &Client, writer: usize, end: Instant) -> (Vec<Object>, Duration) {
    let mut pool = Pool::new(900 + writer as u64, 1 << 20);
    let (mut objects, mut longest) = (Vec::new(), Duration::ZERO);
    while Instant::now() < end {
        let size = [700, 60_000][objects.len() % 2];
        let object = pool.object(format!("{writer}/{}", objects.len()), size);
        let begun = Instant::now();
        put(client, BUCKET, &object).await.expect("no write fails");
        longest = longest.max(begun.elapsed());
        objects.push(object);
    }
    (objects, longest)
}
