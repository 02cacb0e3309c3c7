//! A process dies at each step of moves, drains, rebuilding and removal.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use marram_client::Client;
use marram_cluster_tests::{
    Cluster, Load, Object, Options, Pool, Scratch, alive, equal_both_ways, log_uniform_sizes,
    put_all, room, run, settled, until, verify_all,
};

const BUCKET: &str = "crashes";
const OBJECTS: usize = 60;
const SIZE_MAX: u64 = 10 << 20;
const TOTAL_MAX: u64 = 80 << 20;
/// How long one node's data may take to move on a busy machine, with a process that dies meanwhile.
const MOVED_WITHIN: Duration = Duration::from_secs(150);
/// Leftovers are found by scans.
const EQUAL_WITHIN: Duration = Duration::from_secs(120);

/// The places at which whoever carries a move, or works for it on its own drives, dies.
const PLACES: [&str; 9] = [
    "move.started",
    "move.fenced",
    "restore.run",
    "restore.written",
    "move.carried",
    "move.decided",
    "move.looked",
    "clean.deleted",
    "move.cleaned",
];

/// A cluster of seven nodes with some objects, whose processes die at places that are armed.
struct Crashes {
    cluster: Cluster,
    client: Client,
    folder: PathBuf,
    objects: Vec<Object>,
}

impl Crashes {
    async fn start(scratch: &Path, seed: u64) -> Self {
        let folder = scratch.join("faults");
        fs::create_dir_all(&folder).unwrap();
        let options = Options {
            quick_garbage: true,
            env: vec![("MARRAM_FAULT_DIR", folder.to_str().unwrap().to_owned())],
            ..Options::default()
        };
        let mut cluster = Cluster::start(&scratch.join("cluster"), &options);
        let client = cluster.client();
        client.create_bucket(BUCKET, None).await.unwrap();
        let mut pool = Pool::new(seed, 40 << 20);
        let sizes = log_uniform_sizes(seed, OBJECTS, SIZE_MAX, TOTAL_MAX);
        let objects: Vec<Object> = (0..)
            .zip(sizes)
            .map(|(i, size)| pool.object(format!("before/{i}"), size))
            .collect();
        put_all(&client, BUCKET, &objects).await;
        assert_eq!(cluster.add_node(), 7);
        let client = cluster.client();
        settled(&client, MOVED_WITHIN, &["node-7"], &[]).await;
        Self {
            cluster,
            client,
            folder,
            objects,
        }
    }

    fn arm(&self, place: &str) {
        fs::write(self.folder.join(place), []).unwrap();
    }

    fn is_armed(&self, place: &str) -> bool {
        self.folder.join(place).exists()
    }

    fn down(&self, nodes: &[u16]) -> Vec<u16> {
        let is_down = |node: &&u16| self.cluster.pid(**node).is_none_or(|pid| !alive(pid));
        nodes.iter().filter(is_down).copied().collect()
    }

    /// Waits until a process has died at each of the places, and starts it again.
    async fn died_at(&self, places: &[&str], nodes: &[u16]) {
        let mut died = 0;
        until(
            &format!("somebody dies at {places:?}"),
            MOVED_WITHIN,
            async || {
                let down = self.down(nodes);
                died += down.len();
                self.cluster.restart(&down);
                let armed = places.iter().filter(|place| self.is_armed(place));
                match armed.count() {
                    0 if died >= places.len() => Ok(()),
                    left => Err(format!("{left} places are left, {died} processes died")),
                }
            },
        )
        .await;
        println!("{died} died at {places:?}");
        assert_eq!(died, places.len(), "one dies at each of {places:?}");
    }

    /// Removes a node that gives up what it has, and says which processes were down meanwhile.
    async fn remove(&self, name: &str, nodes: &[u16]) {
        until(&format!("{name} is removed"), MOVED_WITHIN, async || {
            let removed = run(&self.cluster, &["admin", "remove", name]);
            self.cluster.restart(&self.down(nodes));
            match removed.code {
                0 => Ok(()),
                _ => Err(removed.err),
            }
        })
        .await;
    }

    async fn all_is_there(&self) {
        verify_all(&self.client, BUCKET, &self.objects).await;
        equal_both_ways(&self.cluster, EQUAL_WITHIN).await;
    }

    fn say(&self, args: &[&str]) {
        let _said = run(&self.cluster, args).done();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_survive_a_death_at_each_step() {
    let _room = room().await;
    let scratch = Scratch::new("crashes");
    let mut crashes = Crashes::start(scratch.path(), 900).await;
    let load = Load::start(&crashes.client, BUCKET, 1);
    for (turn, place) in PLACES.into_iter().enumerate() {
        crashes.arm(place);
        // To and fro: it gives up all it has, and gets its share again.
        let gives = turn % 2 == 0;
        match gives {
            true => crashes.say(&["admin", "drain", "node-7", "--force"]),
            false => crashes.say(&["admin", "uncordon", "node-7"]),
        }
        crashes.died_at(&[place], &[1, 2, 3, 4, 5, 6, 7]).await;
        let (with, without) = match gives {
            true => (None, Some("node-7")),
            false => (Some("node-7"), None),
        };
        settled(
            &crashes.client,
            MOVED_WITHIN,
            with.as_slice(),
            without.as_slice(),
        )
        .await;
    }
    let done = load.stop().await;
    crashes.objects.extend(done.objects);
    crashes.all_is_there().await;

    // It is empty now, and goes; who tells the groups dies meanwhile.
    crashes.arm("remove.buried");
    crashes.remove("node-7", &[1, 2, 3, 4, 5, 6]).await;
    assert!(!crashes.is_armed("remove.buried"), "nobody died");
    crashes.all_is_there().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilding_a_lost_node_survives_a_death_at_each_step() {
    let _room = room().await;
    let scratch = Scratch::new("crashes-rebuild");
    let crashes = Crashes::start(scratch.path(), 901).await;
    let places = ["restore.run", "restore.written", "move.carried"];
    places.iter().for_each(|place| crashes.arm(place));
    crashes.cluster.kill(&[5]);
    crashes.say(&["admin", "fence", "node-5", "--force"]);
    let living = [1, 2, 3, 4, 6, 7];
    crashes.died_at(&places, &living).await;
    settled(&crashes.client, MOVED_WITHIN, &[], &["node-5"]).await;
    crashes.remove("node-5", &living).await;
    crashes.all_is_there().await;
}
