//! A cluster under faults, with two gateways that live, and what must hold when all is well again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use marram_client::{BucketUsage, Client, ListQuery};
use marram_cluster_tests::{
    Cluster, Faults, Options, Room, Scratch, Wires, fault_seed, room, until,
};

/// Storage nodes; one of them is harmed at a time.
const NODES: u16 = 4;
/// Seconds after which what an upload has written counts as abandoned: longer than a fault.
const FLOOR_LAG: &str = "15";
/// How long a race goes on.
pub(super) const RACE: Duration = Duration::from_secs(14);
/// How long drives may take to be empty after the last object was deleted.
const EMPTY_WITHIN: Duration = Duration::from_secs(90);

/// Where calls race.
pub(super) struct Arena {
    pub(super) cluster: Cluster,
    faults: Option<Faults>,
    wires: Option<Wires>,
    stop: Arc<AtomicBool>,
    _scratch: Scratch,
    _room: Room,
}

impl Arena {
    /// Starts a cluster with two gateways. Nothing is harmed yet.
    pub(super) async fn new(name: &str) -> Self {
        let room = room().await;
        let scratch = Scratch::new(name);
        let wires = Wires::lay(scratch.path());
        let options = Options {
            nodes: NODES,
            gateways: 2,
            quick_garbage: true,
            env: vec![("MARRAM_GC_FLOOR_LAG", FLOOR_LAG.to_owned())],
            ..Options::default()
        };
        let cluster = Cluster::start(scratch.path(), &options);
        Self {
            cluster,
            faults: None,
            wires: Some(wires),
            stop: Arc::default(),
            _scratch: scratch,
            _room: room,
        }
    }

    /// Begins to harm nodes, one after the other.
    pub(super) fn harm(&mut self) {
        let wires = self.wires.take().expect("it is harmed once");
        let processes = self.cluster.processes().clone();
        let members = self.cluster.members();
        let faults = Faults::often(processes, wires, members, fault_seed());
        self.faults = Some(faults);
    }

    /// The number of a gateway, 0 or 1, among the endpoints.
    pub(super) fn endpoint(gateway: usize) -> u16 {
        NODES + 1 + u16::try_from(gateway % 2).expect("0 or 1")
    }

    /// A client of one gateway, 0 or 1, only.
    pub(super) fn gateway(&self, gateway: usize) -> Client {
        self.cluster.client_of(Self::endpoint(gateway))
    }

    /// True from the end of the race on.
    pub(super) fn over(&self) -> impl Fn() -> bool + Clone + Send + 'static {
        let stop = Arc::clone(&self.stop);
        move || stop.load(Ordering::Relaxed)
    }

    /// Lets the race go on for its time, then says that it is over.
    pub(super) async fn race(&self) {
        tokio::time::sleep(RACE).await;
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Ends the faults and waits until everything runs and agrees.
    pub(super) async fn peace(&mut self) {
        let faults = self.faults.take().expect("it was harmed");
        let (count, wires) = faults.stop().await;
        self.wires = Some(wires);
        assert!(count > 1, "there were {count} faults");
        println!("{count} faults have been");
        self.cluster.healthy().await;
    }

    /// When all objects are deleted and no upload is under way, nothing is on any drive.
    pub(super) async fn drives_get_empty(&self) {
        let client = self.cluster.client();
        until("the drives are empty", EMPTY_WITHIN, async || {
            let status = client.cluster_status().await.map_err(|e| e.to_string())?;
            let nodes = status.nodes.iter().map(|node| {
                let bytes = node.drives.iter().map(|drive| drive.record_bytes);
                (node.name.clone(), bytes.sum::<u64>())
            });
            let left: Vec<_> = nodes.filter(|(_, bytes)| *bytes > 0).collect();
            match left.is_empty() {
                true => Ok(()),
                false => Err(format!("{left:?}")),
            }
        })
        .await;
    }
}

/// What a bucket lists: sizes by key.
pub(super) async fn listed(client: &Client, bucket: &str) -> BTreeMap<String, u64> {
    let mut pages = client.list(bucket, ListQuery::all(""));
    let mut all = BTreeMap::new();
    while let Some(page) = pages.next().await.expect("listed") {
        all.extend(
            page.objects
                .into_iter()
                .map(|object| (object.key, object.size)),
        );
    }
    all
}

/// The counters of a bucket say what its listing shows. Gives both.
pub(super) async fn counted(client: &Client, bucket: &str) -> (BTreeMap<String, u64>, BucketUsage) {
    let all = listed(client, bucket).await;
    let usage = client.bucket_usage(bucket).await.expect("told");
    let sums = (all.len() as u64, all.values().sum::<u64>());
    assert_eq!(
        (usage.objects, usage.bytes),
        sums,
        "usage is what is listed"
    );
    (all, usage)
}
