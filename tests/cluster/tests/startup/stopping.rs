//! What scripts rely on: the env file, pid files, signals, starting a node again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use marram_cluster_tests::{Cluster, Options, Scratch, alive, room, until};
use rustix::process::{Pid, Signal, kill_process};

const STOPPED_WITHIN: Duration = Duration::from_secs(30);

fn three_nodes() -> Options {
    Options {
        nodes: 3,
        gateways: 1,
        ..Options::default()
    }
}

async fn all_gone(pids: &[u32]) {
    until("all processes are gone", STOPPED_WITHIN, async || {
        let left: Vec<&u32> = pids.iter().filter(|pid| alive(**pid)).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?} live"))
        }
    })
    .await;
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    kill_process(pid, signal).expect("it can be signalled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_stops_everything() {
    let _room = room().await;
    let scratch = Scratch::new("interrupt");
    let mut cluster = Cluster::start(scratch.path(), &three_nodes());
    let env = scratch.path().join("env");
    let mode = fs::metadata(&env)
        .expect("there while it runs")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "secrets are private");
    let pids = cluster.pids();
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|pid| alive(*pid)));
    signal(cluster.dev_pid(), Signal::INT);
    all_gone(&pids).await;
    until("marram dev ends", STOPPED_WITHIN, async || {
        match cluster.ended() {
            true => Ok(()),
            false => Err("it runs".to_owned()),
        }
    })
    .await;
    assert!(!env.exists(), "the env file goes with the cluster");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_outlives_a_killed_supervisor() {
    let _room = room().await;
    let scratch = Scratch::new("supervisor");
    let cluster = Cluster::start(scratch.path(), &three_nodes());
    let pids = cluster.pids();
    signal(cluster.dev_pid(), Signal::KILL);
    all_gone(&pids).await;
    drop(cluster);
    // Whatever is left in the folder, the next start works.
    let cluster = Cluster::start(scratch.path(), &three_nodes());
    cluster.healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_can_be_started_again() {
    let _room = room().await;
    let scratch = Scratch::new("restart");
    let cluster = Cluster::start(scratch.path(), &three_nodes());
    let before = cluster.pid(2).expect("it runs");
    cluster.kill(&[2]);
    all_gone(&[before]).await;
    cluster.restart(&[2]);
    let after = cluster.pid(2).expect("it runs again");
    assert_ne!(before, after);
    cluster.healthy().await;
}
