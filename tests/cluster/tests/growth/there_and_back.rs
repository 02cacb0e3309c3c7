//! A cluster grows node by node, shrinks node by node and grows again under a load that compares
//! every answer. After each step data lies evenly, and no more of it moved than had to.
//!
//! 3 -> 12 -> 6 -> 9 nodes.

use std::time::{Duration, Instant};

use marram_client::ClusterStatus;
use marram_cluster_tests::{
    ALONE, Cluster, Load, Object, Options, Pool, Scratch, log_uniform_sizes, moves_begun, put_all,
    run, settled, slots, total_slots, verify_all,
};

const BUCKET: &str = "there-and-back";
const OBJECTS: usize = 60;
const SIZE_MAX: u64 = 4 << 20;
const TOTAL_MAX: u64 = 48 << 20;
/// How long the data of one node may take to move on a busy machine.
const MOVED_WITHIN: Duration = Duration::from_secs(180);
/// How far the moves of a step, and the slots of a node, may be from the best there is.
const TOLERANCE: f64 = 0.05;

/// How many nodes to come to, one after the other.
const WAY: [usize; 3] = [12, 6, 9];
/// Seconds that a drain waits for uploads: those of this load take less than one.
const DRAIN_GRACE: &str = "5";

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_shrinks_and_grows_again() {
    let _alone = ALONE.lock().await;
    let scratch = Scratch::new("there-and-back");
    let options = Options {
        nodes: 3,
        quick_garbage: true,
        env: vec![("MARRAM_GC_DRAIN_GRACE", DRAIN_GRACE.to_owned())],
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(800, 8 << 20);
    let sizes = log_uniform_sizes(800, OBJECTS, SIZE_MAX, TOTAL_MAX);
    let mut objects: Vec<Object> = (0..)
        .zip(sizes)
        .map(|(i, size)| pool.object(format!("before/{i}"), size))
        .collect();
    put_all(&client, BUCKET, &objects).await;
    let load = Load::start(&client, BUCKET, 2);
    let mut walk = Walk { cluster, load };
    for goal in WAY {
        while walk.cluster.members().len() < goal {
            walk.grow().await;
        }
        while walk.cluster.members().len() > goal {
            walk.shrink().await;
        }
        verify_all(&walk.cluster.client(), BUCKET, &objects).await;
    }
    let done = walk.load.stop().await;
    println!("{} calls, the longest took {:?}", done.calls, done.longest);
    objects.extend(done.objects);
    verify_all(&walk.cluster.client_through_gateways(), BUCKET, &objects).await;
}

struct Walk {
    cluster: Cluster,
    load: Load,
}

impl Walk {
    async fn status(&self) -> ClusterStatus {
        let status = self.cluster.client().cluster_status().await;
        status.expect("answered")
    }

    async fn grow(&mut self) {
        let (begun, moved) = (Instant::now(), moves_begun(&self.cluster));
        let node = self.cluster.add_node();
        let name = format!("node-{node}");
        let client = self.cluster.client();
        self.load.use_client(&client);
        let after = settled(&client, MOVED_WITHIN, &[&name], &[]).await;
        let best = total_slots(&after) as f64 / self.cluster.members().len() as f64;
        let came = bytes_on(&after, &name);
        let moved = moves_begun(&self.cluster) - moved;
        let what = format!("{name} comes, {came} bytes");
        self.check(&what, &after, (moved, best), begun).await;
    }

    async fn shrink(&mut self) {
        // One that has been there since the beginning, the others after it.
        let node = self.cluster.members()[1];
        let name = format!("node-{node}");
        let before = self.status().await;
        let went = bytes_on(&before, &name);
        let held = slots(&before)[&name];
        let (begun, moved) = (Instant::now(), moves_begun(&self.cluster));
        let _said = run(&self.cluster, &["admin", "drain", &name]).done();
        let client = self.cluster.client();
        let after = settled(&client, MOVED_WITHIN, &[], &[&name]).await;
        let moved = moves_begun(&self.cluster) - moved;
        println!("{name} is drained after {:?}", begun.elapsed());
        self.cluster.remove_node(node).await;
        self.load.use_client(&self.cluster.client());
        let what = format!("{name} goes, {went} bytes");
        self.check(&what, &after, (moved, held as f64), begun).await;
    }

    /// The moves of a step are few, and data lies evenly after it.
    async fn check(
        &mut self,
        what: &str,
        after: &ClusterStatus,
        (moved, best): (u64, f64),
        begun: Instant,
    ) {
        let slots = slots(after);
        let fair = total_slots(after) as f64 / slots.len() as f64;
        println!(
            "{what}: {moved} of {} slots moved, {best:.1} at best, {:?}: {slots:?}",
            total_slots(after),
            begun.elapsed()
        );
        assert!(moved as f64 <= best * (1.0 + TOLERANCE) + 1.0, "{what}");
        let off = slots.values().map(|slots| (*slots as f64 - fair).abs());
        let off = off.fold(0.0, f64::max);
        assert!(off <= fair * TOLERANCE + 1.0, "{what}: {off} of {fair}");
        self.load.check().await;
    }
}

/// Bytes of records on a node's drives.
fn bytes_on(status: &ClusterStatus, name: &str) -> u64 {
    let node = status.nodes.iter().find(|node| node.name == name);
    let drives = node.into_iter().flat_map(|node| &node.drives);
    drives.map(|drive| drive.record_bytes).sum()
}
