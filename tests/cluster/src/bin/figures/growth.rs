//! What share of the data moves when one node is added to n.

use std::path::Path;
use std::time::{Duration, Instant};

use marram_client::ClusterStatus;
use marram_cluster_tests::{
    Cluster, Object, Options, Pool, moves_begun, put_all, settled, total_slots,
};

use crate::{MIB, machine};

const BUCKET: &str = "figures";
/// Objects, and the bytes of each.
const OBJECTS: usize = 256;
const OBJECT_BYTES: usize = 2 << 20;
/// The largest cluster.
const NODES: usize = 10;
const MOVED_WITHIN: Duration = Duration::from_secs(1200);

pub(crate) async fn run(folder: &Path) {
    machine::print(folder);
    let options = Options {
        segment_mib: 64,
        quick_garbage: true,
        ..Options::default()
    };
    let mut cluster = Cluster::start(&folder.join("cluster"), &options);
    let client = cluster.client();
    client
        .create_bucket(BUCKET, Some("4+2"))
        .await
        .expect("made");
    let mut pool = Pool::new(7, OBJECT_BYTES * 4);
    let objects = (0..OBJECTS).map(|i| pool.object(format!("data/{i}"), OBJECT_BYTES));
    let objects: Vec<Object> = objects.collect();
    put_all(&client, BUCKET, &objects).await;
    while cluster.members().len() < NODES {
        let nodes = cluster.members().len();
        let before = moves_begun(&cluster);
        let began = Instant::now();
        let node = format!("node-{}", cluster.add_node());
        let after = settled(&client, MOVED_WITHIN, &[&node], &[]).await;
        let took = began.elapsed();
        let moved = (moves_begun(&cluster) - before) as f64;
        let (all, came) = (bytes_on(&after, None), bytes_on(&after, Some(&node)));
        println!(
            "{nodes} + 1 nodes: {:.2} % of the slots moved and {:.2} % of the bytes ({:.0} MiB), in \
             {:.1} s; 1/(n+1) is {:.2} %",
            100.0 * moved / total_slots(&after) as f64,
            100.0 * came / all,
            came / MIB,
            took.as_secs_f64(),
            100.0 / (nodes + 1) as f64
        );
    }
}

/// Bytes of records on one node, or on all.
fn bytes_on(status: &ClusterStatus, name: Option<&str>) -> f64 {
    let nodes = status.nodes.iter();
    let nodes = nodes.filter(|node| name.is_none_or(|name| node.name == name));
    let drives = nodes.flat_map(|node| &node.drives);
    drives.map(|drive| drive.record_bytes).sum::<u64>() as f64
}
