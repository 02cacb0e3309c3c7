//! A cluster grows node by node, shrinks node by node and grows again under a load that compares
//! every answer. After each step data lies evenly, and no more of it moved than had to.
//!
//! 3 -> 12 -> 6 -> 9 nodes. With `MARRAM_GROWTH=faults` random nodes are killed, paused and cut off
//! meanwhile.

use std::time::{Duration, Instant};

use marram_client::ClusterStatus;
use marram_cluster_tests::{
    Cluster, Faults, Load, Object, Options, Pool, Scratch, Wires, fault_seed, log_uniform_sizes,
    moved, moves_begun, put_all, room, run, settled, slots, total_slots, verify_all,
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
/// Seconds that a drain waits for uploads, those of this load take less than one; that an upload may take
/// otherwise; that it is quiet before a new node gets its share, where no other one is about to come; and
/// between two searches of the drives.
const WAITS: [(&str, &str); 4] = [
    ("MARRAM_GC_DRAIN_GRACE", "4"),
    ("MARRAM_GC_FLOOR_LAG", "40"),
    ("MARRAM_BALANCE_QUIET", "0"),
    ("MARRAM_GC_SCAN_EVERY", "1"),
];

/// Whether nodes fail meanwhile.
fn with_faults() -> bool {
    match std::env::var("MARRAM_GROWTH").as_deref() {
        Ok("faults") => true,
        Ok(other) => panic!("MARRAM_GROWTH is {other:?}; it may be \"faults\""),
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_shrinks_and_grows_again() {
    let _room = room().await;
    let scratch = Scratch::new("there-and-back");
    let options = Options {
        nodes: 3,
        quick_garbage: true,
        env: WAITS.map(|(name, value)| (name, value.to_owned())).into(),
        ..Options::default()
    };
    let wires = with_faults().then(|| Wires::lay(scratch.path()));
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
    let faults = wires.map(|wires| {
        let processes = cluster.processes().clone();
        Faults::start(processes, wires, cluster.members(), fault_seed())
    });
    let mut walk = Walk {
        cluster,
        load,
        faults,
    };
    for goal in WAY {
        while walk.cluster.members().len() < goal {
            walk.grow().await;
        }
        while walk.cluster.members().len() > goal {
            walk.shrink().await;
        }
        verify_all(&walk.cluster.client(), BUCKET, &objects).await;
    }
    let wires = match walk.faults.take() {
        Some(faults) => Some(faults.stop().await),
        None => None,
    };
    let done = walk.load.stop().await;
    println!("{} calls, the longest took {:?}", done.calls, done.longest);
    objects.extend(done.objects);
    let client = walk.cluster.client_through_gateways();
    settled(&client, MOVED_WITHIN, &[], &[]).await;
    verify_all(&client, BUCKET, &objects).await;
    drop((walk.cluster, wires));
}

struct Walk {
    cluster: Cluster,
    load: Load,
    faults: Option<Faults>,
}

impl Walk {
    async fn status(&self) -> ClusterStatus {
        let status = self.cluster.client().cluster_status().await;
        status.expect("answered")
    }

    /// Waits until nothing has to move any more, and nothing lacks where no node is harmed.
    async fn rests(&self, with: &[&str], without: &[&str]) -> ClusterStatus {
        let client = self.cluster.client();
        match self.faults {
            Some(_) => moved(&client, MOVED_WITHIN, with, without).await,
            None => settled(&client, MOVED_WITHIN, with, without).await,
        }
    }

    async fn harm_only(&self, nodes: Vec<u16>) {
        if let Some(faults) = &self.faults {
            faults.only(nodes).await;
        }
    }

    async fn grow(&mut self) {
        let (begun, moved) = (Instant::now(), moves_begun(&self.cluster));
        let node = self.cluster.add_node();
        let name = format!("node-{node}");
        self.load.use_client(&self.cluster.client());
        self.harm_only(self.cluster.members()).await;
        let after = self.rests(&[&name], &[]).await;
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
        let after = self.rests(&[], &[&name]).await;
        let moved = moves_begun(&self.cluster) - moved;
        println!("{name} is drained after {:?}", begun.elapsed());
        let mut others = self.cluster.members();
        others.retain(|other| *other != node);
        self.harm_only(others).await;
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
        // A leader that is killed may have said that it begins what it did not begin any more.
        let few = moved as f64 <= best * (1.0 + TOLERANCE) + 1.0;
        assert!(few || self.faults.is_some(), "{what}");
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
