//! A replica takes another's place while the group works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::testing::Node;

/// Starts the group on a node again; whatever still reads its old file may hold it for a moment.
async fn open_again(host: &RaftHost) {
    let mut tries = 0;
    while let Err(error) = host.create_group(GROUP).await {
        tries += 1;
        assert!(tries < 500, "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn same_state(cluster: &Cluster, node: &Node) {
    let leader = cluster.leader().await;
    let host = node.host();
    let same = || {
        let read = |host: &RaftHost| futures::executor::block_on(host.read(GROUP, false));
        matches!((read(&leader), read(&host)), (Ok(a), Ok(b)) if rows(&a) == rows(&b))
    };
    eventually("the states are the same", same).await;
}

/// Writes without pause until told to stop; returns how many it did.
fn writes(host: Arc<RaftHost>, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    tokio::spawn(async move {
        let mut done = 0;
        while !stop.load(Ordering::SeqCst) {
            let command = put(&format!("w{done}"), "1");
            let written = host.propose(GROUP, &command, PATIENCE).await;
            written.expect("writes go on while members change");
            done += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        done
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_takes_the_place_of_another_which_may_come_back() {
    let policy = CheckpointPolicy {
        every: Duration::from_millis(100),
        bytes: 1 << 20,
        log_kept: 20,
    };
    let mut cluster = Cluster::start(4, policy).await;
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|at: usize| cluster.nodes[at].replica);
    // The fourth opens the group when it is told to, which it is not yet.
    let newcomer = cluster.nodes[3].host();
    newcomer.close_group(GROUP).await;
    assert!(newcomer.groups().is_empty() && newcomer.status(GROUP).is_none());
    let host = cluster.nodes[0].host();
    let voters = [first, second, third];
    host.initialize(GROUP, &voters).await.expect("started");
    if cluster.leader().await.replica() != first {
        let leader = cluster.leader().await;
        leader.transfer_leader(GROUP, first).await.expect("asked");
    }
    eventually("the first leads", || host.leader(GROUP) == Some(first)).await;
    let value = "v".repeat(4 << 10);
    for i in 0..200 {
        cluster.put(&format!("k{i}"), &value).await;
    }
    let wal = cluster.nodes[0].wal.clone().expect("it runs");
    let purged = || wal.state(GROUP).purged.map_or(0, |at| at.index);
    eventually("the leader purges its log", || purged() > 100).await;

    let stop = Arc::new(AtomicBool::new(false));
    let writer = writes(host.clone(), stop.clone());
    host.add_learner(GROUP, fourth, false)
        .await
        .expect("it shall follow");
    assert_eq!(cluster.net.delivered(RaftMethod::Snapshot), 0);
    open_again(&newcomer).await;
    assert!(!newcomer.is_initialized(GROUP).await.expect("it runs"));
    let close = || {
        let status = host.status(GROUP).expect("a replica");
        let matched = status.matched.iter().find(|(r, _)| *r == fourth);
        matched.is_some_and(|(_, at)| at + 50 >= status.last)
    };
    eventually("the fourth follows", close).await;
    let pieces = cluster.net.delivered(RaftMethod::Snapshot);
    assert!(pieces > 0, "its beginning came as a snapshot");
    host.change_voters(GROUP, &[first, second, fourth])
        .await
        .expect("the fourth for the third");
    let status = host.status(GROUP).expect("a replica");
    assert_eq!(status.voters, [first, second, fourth]);
    assert!(status.learners.is_empty() && !status.changing);
    assert_eq!(status.target, status.voters);
    let committed = || host.status(GROUP).is_some_and(|s| s.members_at.1);
    eventually("it is committed", committed).await;
    cluster.nodes[2].host().close_group(GROUP).await;
    stop.store(true, Ordering::SeqCst);
    let written = writer.await.expect("it ran");
    assert!(written > 0);

    // The new voter counts: with the second away, the first and the fourth decide.
    cluster.net.cut(second, true);
    cluster.put("after", "1").await;
    assert_eq!(cluster.get(&format!("w{}", written - 1)).await, "1");
    cluster.net.cut(second, false);

    comes_back(&mut cluster, &host).await;
}

/// The third has kept its vote, comes back under its id, over a restart, and takes part again.
async fn comes_back(cluster: &mut Cluster, host: &RaftHost) {
    let [first, _, third, fourth] = [0, 1, 2, 3].map(|at: usize| cluster.nodes[at].replica);
    let vote = cluster.nodes[2].wal.clone().expect("it runs");
    let vote = vote.state(GROUP).vote.expect("it has voted");
    cluster.node(third).kill();
    cluster.node(third).start().await;
    let back = cluster.nodes[2].host();
    assert_eq!(back.groups(), [GROUP], "nothing was deleted");
    back.close_group(GROUP).await;
    let kept = cluster.nodes[2].wal.clone().expect("it runs");
    assert_eq!(kept.state(GROUP).vote, Some(vote));
    open_again(&back).await;
    host.add_learner(GROUP, third, true)
        .await
        .expect("it follows again");
    host.change_voters(GROUP, &[first, third, fourth])
        .await
        .expect("the third for the second");
    same_state(cluster, &cluster.nodes[2]).await;
    cluster.net.cut(fourth, true);
    cluster.put("after", "2").await;
    assert_eq!(cluster.get("after").await, "2");
}
