//! What watchers cost the server that they watch through: memory of one that waits, processor time of many
//! that do, and how soon they hear.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use marram_client::{Client, PutBody, PutOptions, WatchOptions};
use marram_cluster_tests::{Cluster, Options, own_bytes};

const BUCKET: &str = "figures";
/// Watchers in all, through one server.
const WATCHERS: usize = 10_000;
/// Watchers of one connection: a server takes 1024 calls on each.
const PER_CLIENT: usize = 1000;
/// Prefixes that they share among them.
const PREFIXES: usize = 1000;
/// Changes that are written, one to a prefix.
const CHANGES: usize = 2000;
/// Writers of them.
const WRITERS: usize = 8;
/// How long they wait while nothing happens.
const IDLE: Duration = Duration::from_secs(60);
/// How long the last one may take to hear.
const HEARD_WITHIN: Duration = Duration::from_secs(60);
/// Linux counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

pub(crate) async fn run(folder: &Path) {
    let options = Options {
        nodes: 3,
        ..Options::default()
    };
    let cluster = Cluster::start(&folder.join("cluster"), &options);
    let writer = cluster.client_of(2);
    writer.create_bucket(BUCKET, None).await.expect("made");
    let pid = cluster.pid(1).expect("node 1 runs");
    let alone = idle(pid).await;
    let before = own_bytes(pid);
    let heard = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    for first in (0..WATCHERS).step_by(PER_CLIENT) {
        let client = cluster.client_of(1);
        let begun = (first..first + PER_CLIENT).map(|n| begin(&client, n % PREFIXES, &heard));
        join_all(begun).await;
    }
    println!(
        "{WATCHERS} watchers through one of 3 nodes, {} to a prefix; all began within {:.1} s",
        WATCHERS / PREFIXES,
        began.elapsed().as_secs_f64()
    );
    let grown = own_bytes(pid).saturating_sub(before);
    println!(
        "memory of the server: {:.1} MiB before, {:.1} MiB more with them, {:.1} KiB each",
        before as f64 / 1024.0 / 1024.0,
        grown as f64 / 1024.0 / 1024.0,
        grown as f64 / 1024.0 / WATCHERS as f64
    );
    let with = idle(pid).await;
    println!(
        "processor time of the server while nothing happens: {:.2} % of a core without them, {:.2} % \
         with them",
        alone * 100.0,
        with * 100.0
    );
    changes(&writer, pid, &heard).await;
}

/// Begins to watch; returns when the watch has begun.
async fn begin(client: &Client, prefix: usize, heard: &Arc<AtomicU64>) {
    let options = WatchOptions {
        prefix: format!("{prefix}/"),
        bookmarks: Some(Duration::from_secs(60)),
        ..WatchOptions::default()
    };
    let mut watch = client.watch(BUCKET, options);
    watch.next().await.expect("it begins");
    let heard = Arc::clone(heard);
    tokio::spawn(async move {
        while let Ok(batch) = watch.next().await {
            heard.fetch_add(batch.events.len() as u64, Ordering::Relaxed);
        }
    });
}

/// The share of one core that a process uses while nothing happens.
async fn idle(pid: u32) -> f64 {
    let (began, ticks) = (Instant::now(), cpu_ticks(pid));
    tokio::time::sleep(IDLE).await;
    (cpu_ticks(pid) - ticks) / TICKS / began.elapsed().as_secs_f64()
}

fn cpu_ticks(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<f64> = rest.split(' ').filter_map(|f| f.parse().ok()).collect();
    // Of what is a number after the name and the state: user and system time are the 11th and 12th.
    fields[10] + fields[11]
}

async fn changes(writer: &Client, pid: u32, heard: &AtomicU64) {
    let (began, ticks) = (Instant::now(), cpu_ticks(pid));
    let writes = (0..WRITERS).map(async |first| {
        for change in (first..CHANGES).step_by(WRITERS) {
            let key = format!("{}/object", change % PREFIXES);
            let body = PutBody::from("changed");
            let put = writer.put(BUCKET, &key, body, PutOptions::default());
            put.await.expect("written");
        }
    });
    join_all(writes).await;
    let written = began.elapsed();
    let wanted = (CHANGES * WATCHERS / PREFIXES) as u64;
    while heard.load(Ordering::Relaxed) < wanted {
        assert!(
            began.elapsed() < written + HEARD_WITHIN,
            "somebody does not hear"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let late = began.elapsed().saturating_sub(written);
    println!(
        "{CHANGES} changes at {:.0} a second are {wanted} events; all were heard {:.0} ms after the last \
         write was acknowledged; the server used {:.1} s of a core for them and its share of the writes",
        CHANGES as f64 / written.as_secs_f64(),
        late.as_secs_f64() * 1000.0,
        (cpu_ticks(pid) - ticks) / TICKS
    );
}
