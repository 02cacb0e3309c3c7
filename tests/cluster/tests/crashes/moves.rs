//! A process dies at each step of moves, cancelled moves, drains, repairs, rebuilding, changes of a
//! profile, collection of garbage and removal. It is started again at once, the work goes on, and in the
//! end drives hold what the metadata says, both ways.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use marram_client::{Checksums, Client, PutBody, PutOptions};
use marram_cluster_tests::{
    Armed, Cluster, Load, Object, Options, Pool, Scratch, alive, equal_both_ways,
    log_uniform_sizes, put_all, room, run, settled, until, verify_all,
};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

const BUCKET: &str = "crashes";
const OBJECTS: usize = 60;
const SIZE_MAX: u64 = 10 << 20;
const TOTAL_MAX: u64 = 80 << 20;
/// How long one node's data may take to move on a busy machine, with processes that die meanwhile.
pub(super) const MOVED_WITHIN: Duration = Duration::from_secs(150);
/// How often it is looked who has died.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Leftovers are found by scans.
const EQUAL_WITHIN: Duration = Duration::from_secs(120);
/// Seconds after which what an upload has written counts as abandoned.
const FLOOR_LAG: &str = "30";

/// The places at which whoever carries a move, or works for it on its own drives, dies: those of one
/// row one after the other, while a node gives up all it has, gets its share again, and gives it up.
const MOVES: [[&str; 3]; 3] = [
    ["move.started", "move.fenced", "restore.run"],
    ["restore.written", "move.carried", "move.decided"],
    ["move.looked", "clean.deleted", "move.cleaned"],
];
/// Shards are restored, or said to be; the one that says so dies.
const REPAIRS: [&str; 2] = ["repair.restored", "repair.placed"];
/// An extent has another profile: its new shards are there; its group holds them; the old ones are to
/// go; they are gone.
const REENCODING: [&str; 4] = [
    "reencode.written",
    "reencode.committed",
    "garbage.due",
    "garbage.dropped",
];

/// A cluster of seven nodes with some objects, whose processes die at places that are armed.
pub(super) struct Crashes {
    pub(super) cluster: Cluster,
    pub(super) client: Client,
    armed: Armed,
    objects: Vec<Object>,
    began: Instant,
    /// The nodes that are to run.
    pub(super) nodes: Vec<u16>,
    /// Places that were armed, and processes that died at one.
    pub(super) places: usize,
    pub(super) deaths: usize,
}

impl Crashes {
    async fn start(scratch: &Path, seed: u64) -> Self {
        Self::start_with(scratch, seed, 1, &[]).await
    }

    /// The same with so many drives of each node, and other settings.
    pub(super) async fn start_with(
        scratch: &Path,
        seed: u64,
        drives: u16,
        settings: &[(&'static str, &str)],
    ) -> Self {
        let armed = Armed::new(&scratch.join("faults"));
        let settings = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let usual = [
            armed.env(),
            ("MARRAM_GC_FLOOR_LAG", FLOOR_LAG.to_owned()),
            // No other node is about to come.
            ("MARRAM_BALANCE_QUIET", "0".to_owned()),
        ];
        let options = Options {
            drives,
            quick_garbage: true,
            env: usual.into_iter().chain(settings).collect(),
            ..Options::default()
        };
        let began = Instant::now();
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
        let crashes = Self {
            cluster,
            client,
            armed,
            objects,
            began,
            nodes: (1..=7).collect(),
            places: 0,
            deaths: 0,
        };
        crashes.tell("seven nodes have their shares");
        crashes
    }

    pub(super) fn tell(&self, what: &str) {
        println!("{:7.1} s: {what}", self.began.elapsed().as_secs_f64());
    }

    pub(super) fn arm(&mut self, place: &str) {
        self.armed.arm(place);
        self.places += 1;
    }

    pub(super) fn say(&self, args: &[&str]) {
        let _said = run(&self.cluster, args).done();
    }

    /// Starts again whoever has died.
    pub(super) fn start_again(&mut self) {
        let is_down = |node: &&u16| self.cluster.pid(**node).is_none_or(|pid| !alive(pid));
        let down: Vec<u16> = self.nodes.iter().filter(is_down).copied().collect();
        self.deaths += down.len();
        self.cluster.restart(&down);
    }

    /// Waits until a process has died at each of the places, and starts it again.
    pub(super) async fn died_at(&mut self, places: &[&str]) {
        let what = format!("somebody dies at {places:?}");
        until(&what, MOVED_WITHIN, async || {
            self.start_again();
            let left = self.armed.left(places);
            left.is_empty()
                .then_some(())
                .ok_or_else(|| format!("{left:?} are left"))
        })
        .await;
        // The file goes a moment before the process.
        until("all that died run again", MOVED_WITHIN, async || {
            self.start_again();
            let left = self.armed.left(&["scan.delete"]).len();
            (self.deaths + left >= self.places)
                .then_some(())
                .ok_or_else(|| format!("{} of {} died", self.deaths, self.places))
        })
        .await;
        self.tell(&format!("died at {places:?}"));
    }

    /// One process after the other dies.
    pub(super) async fn die_at_each(&mut self, places: &[&str]) {
        for place in places {
            self.arm(place);
            self.died_at(&[place]).await;
        }
    }

    /// Waits until nothing moves and every shard is where it belongs.
    pub(super) async fn settled(&mut self, with: &[&str], without: &[&str]) {
        let client = self.client.clone();
        let settling = settled(&client, MOVED_WITHIN, with, without);
        tokio::pin!(settling);
        loop {
            tokio::select! {
                _ = &mut settling => break,
                () = tokio::time::sleep(LOOK_EVERY) => self.start_again(),
            }
        }
        self.tell("everything is where it belongs");
    }

    /// Moves come to a node that dies and is to be emptied then: they are taken back, and who takes them
    /// back dies. The node stands still from the beginning on, so that no move can end before.
    async fn moves_are_cancelled(&mut self) {
        self.arm("move.cancel");
        self.say(&["admin", "uncordon", "node-7"]);
        self.cluster.signal(7, Signal::STOP);
        self.say(&["admin", "rebalance"]);
        until("moves begin", MOVED_WITHIN, async || {
            let status = self.client.cluster_status().await;
            match status.map_err(|e| e.to_string())?.moves_under_way {
                0 => Err("nothing moves".to_owned()),
                _ => Ok(()),
            }
        })
        .await;
        self.nodes.retain(|node| *node != 7);
        self.cluster.kill(&[7]);
        self.say(&["admin", "drain", "node-7", "--force"]);
        self.died_at(&["move.cancel"]).await;
        self.cluster.restart(&[7]);
        self.nodes.push(7);
        self.settled(&[], &["node-7"]).await;
    }

    /// A node has lost all of its shards, and it is a scrub that finds it out.
    async fn repairs(&mut self, node: u16) {
        self.cluster.kill(&[node]);
        let segments = self.cluster.drive(node).join("segments");
        for file in fs::read_dir(segments).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        self.cluster.restart(&[node]);
        self.cluster.healthy().await;
        REPAIRS.iter().for_each(|place| self.arm(place));
        self.say(&["admin", "scrub"]);
        self.died_at(&REPAIRS).await;
        self.settled(&[], &["node-7"]).await;
    }

    async fn another_profile(&mut self) {
        let bucket = format!("m://{BUCKET}");
        // While the command runs nobody is started again: it must not cost the groups their majorities, and
        // there is garbage from before.
        let (encoding, garbage) = REENCODING.split_at(2);
        encoding.iter().for_each(|place| self.arm(place));
        self.say(&["admin", "bucket", "set-profile", &bucket, "3+2"]);
        garbage.iter().for_each(|place| self.arm(place));
        self.died_at(&REENCODING).await;
        self.say(&["admin", "bucket", "profile", &bucket, "--watch"]);
        self.settled(&[], &["node-7"]).await;
    }

    /// The gateway of an upload dies in the middle of it: what it wrote belongs to nobody.
    async fn an_upload_breaks_off(&self, node: u16) {
        let client = self.cluster.client_of(node);
        let (mut bytes, body) = tokio::io::duplex(1 << 20);
        let putting = tokio::spawn(async move {
            // With a digest to be compared it is no resumable write, which would go on.
            let options = PutOptions {
                checksums: Checksums {
                    sha256: Some([0; 32]),
                    ..Checksums::default()
                },
                ..PutOptions::default()
            };
            client
                .put(BUCKET, "broken", PutBody::reader(body), options)
                .await
        });
        // So much is not taken before some of it is on the drives.
        bytes.write_all(&vec![7; 48 << 20]).await.unwrap();
        self.cluster.kill(&[node]);
        assert!(putting.await.unwrap().is_err());
        self.cluster.restart(&[node]);
    }

    /// Removes a node that gives up what it has, while who carries it out dies.
    pub(super) async fn remove(&mut self, name: &str) {
        until(&format!("{name} is removed"), MOVED_WITHIN, async || {
            let removed = run(&self.cluster, &["admin", "remove", name]);
            self.start_again();
            match removed.code {
                0 => Ok(()),
                _ => Err(removed.err),
            }
        })
        .await;
        self.tell(&format!("{name} is removed"));
    }

    pub(super) async fn all_is_there(&self) {
        verify_all(&self.client, BUCKET, &self.objects).await;
        equal_both_ways(&self.cluster, EQUAL_WITHIN).await;
        self.tell("the drives hold what the metadata says");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_survive_a_death_at_each_step() {
    let _room = room().await;
    let scratch = Scratch::new("crashes");
    let mut crashes = Crashes::start(scratch.path(), 900).await;
    let load = Load::start(&crashes.client, BUCKET, 1);
    crashes.an_upload_breaks_off(2).await;
    crashes.cluster.healthy().await;
    // Whoever is the first to find what it left, later on.
    crashes.arm("scan.delete");
    for (turn, places) in MOVES.into_iter().enumerate() {
        let gives = turn % 2 == 0;
        match gives {
            true => crashes.say(&["admin", "drain", "node-7", "--force"]),
            false => crashes.say(&["admin", "uncordon", "node-7"]),
        }
        crashes.die_at_each(&places).await;
        match gives {
            true => crashes.settled(&[], &["node-7"]).await,
            false => crashes.settled(&["node-7"], &[]).await,
        }
    }
    crashes.died_at(&["scan.delete"]).await;
    crashes.moves_are_cancelled().await;
    crashes.repairs(4).await;
    crashes.another_profile().await;
    let done = load.stop().await;
    println!("{} calls, the longest took {:?}", done.calls, done.longest);
    crashes.objects.extend(done.objects);
    crashes.all_is_there().await;

    // It is empty now, and goes; who tells the groups dies meanwhile.
    crashes.arm("remove.buried");
    crashes.nodes.retain(|node| *node != 7);
    crashes.remove("node-7").await;
    crashes.died_at(&["remove.buried"]).await;
    crashes.all_is_there().await;
    assert_eq!(crashes.deaths, crashes.places, "one died at each place");
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilding_a_lost_node_survives_a_death_at_each_step() {
    let _room = room().await;
    let scratch = Scratch::new("crashes-rebuild");
    let mut crashes = Crashes::start(scratch.path(), 901).await;
    let places = ["restore.run", "restore.written", "move.carried"];
    places.iter().for_each(|place| crashes.arm(place));
    crashes.nodes.retain(|node| *node != 5);
    crashes.cluster.kill(&[5]);
    crashes.say(&["admin", "fence", "node-5", "--force"]);
    crashes.died_at(&places).await;
    crashes.settled(&[], &["node-5"]).await;
    crashes.remove("node-5").await;
    crashes.all_is_there().await;
    assert_eq!(crashes.deaths, crashes.places, "one died at each place");
}
