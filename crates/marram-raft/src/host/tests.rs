//! Hosts in one process: elections, kills, partitions, snapshots, members, reads.

use std::time::Duration;

use bytes::Bytes;
use marram_types::ReplicaId;

use super::*;
use crate::testing::{Cluster, GROUP, PATIENCE, eventually, put, rows};
use crate::transport::RaftMethod;

mod changes;
mod resume;
mod room;

const SHORT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_keeps_what_it_acknowledged() {
    let mut cluster = Cluster::of(1).await;
    let host = cluster.leader().await;
    let first = host
        .propose(GROUP, &put("a", "1"), PATIENCE)
        .await
        .expect("taken");
    let second = host
        .propose(GROUP, &put("a", "2"), PATIENCE)
        .await
        .expect("taken");
    let index = |outcome: &Bytes| {
        let text = String::from_utf8(outcome.to_vec()).unwrap();
        let (index, old) = text.split_once(':').unwrap();
        (index.parse::<u64>().unwrap(), old.to_owned())
    };
    assert_eq!(index(&second), (index(&first).0 + 1, "1".to_owned()));
    assert!(matches!(
        host.propose(GROUP, b"short", PATIENCE).await,
        Err(ProposeError::NotACommand)
    ));
    let large = put("a", &"x".repeat(COMMAND_BYTES_MAX));
    assert!(matches!(
        host.propose(GROUP, &large, PATIENCE).await,
        Err(ProposeError::TooLarge { .. })
    ));
    drop(host);
    cluster.nodes[0].kill();
    cluster.nodes[0].start().await;
    let host = cluster.nodes[0].host();
    assert_eq!(host.groups(), [GROUP], "the group is found on the drive");
    assert_eq!(cluster.get("a").await, "2");
    host.wait_for_recovery(GROUP, PATIENCE)
        .await
        .expect("recovered");
    host.shutdown().await;
    assert!(host.groups().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_loses_nothing_and_comes_back() {
    let mut cluster = Cluster::of(3).await;
    // Whoever leads: a machine that is busy with others may make it another one meanwhile.
    let all = &cluster;
    let puts = (0..200).map(|i| async move { all.put(&format!("k{i}"), "first").await });
    futures::future::join_all(puts).await;
    let dead = cluster.leader().await.replica();
    cluster.node(dead).kill();
    for i in 0..200 {
        assert_eq!(cluster.get(&format!("k{i}")).await, "first");
    }
    cluster.put("k0", "second").await;
    assert_ne!(cluster.leader().await.replica(), dead);

    cluster.node(dead).start().await;
    let back = cluster.node(dead).host();
    let value = || {
        let view = futures::executor::block_on(back.read(GROUP, false)).expect("a view");
        rows(&view)
            .into_iter()
            .find(|(key, _)| key == "k0")
            .map(|(_, value)| value)
    };
    eventually("the old leader catches up", || {
        value().as_deref() == Some("second")
    })
    .await;
    let status = back.status(GROUP).expect("a replica");
    assert_eq!(status.voters.len(), 3);
    assert_eq!(status.failed, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_of_a_former_life_is_not_one_that_was_heard() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    assert_eq!(leader.heard_ago(GROUP), Some(Duration::ZERO));
    let others: Vec<_> = cluster.nodes.iter().map(|node| node.replica).collect();
    let follower = others.iter().copied().find(|r| *r != leader.replica());
    let follower = follower.expect("of three");
    cluster.put("k", "v").await;
    let heard = |host: &RaftHost| host.heard_ago(GROUP).is_some();
    // What it applied came after the vote for that leader, which is kept as one that was won by then.
    let index = leader.status(GROUP).expect("a replica").applied;
    let host = cluster.node(follower).host();
    let has_all = || {
        host.status(GROUP)
            .is_some_and(|status| status.applied >= index)
    };
    eventually("it follows", || heard(&host) && has_all()).await;
    drop(host);

    cluster.node(follower).kill();
    cluster.net.cut(follower, true);
    cluster.node(follower).start().await;
    let back = cluster.node(follower).host();
    // As it voted; none where it stands for election already.
    let known = back.leader(GROUP);
    assert!(known.is_none_or(|known| known == leader.replica()));
    assert_eq!(back.heard_ago(GROUP), None);
    cluster.net.cut(follower, false);
    eventually("it is heard again", || heard(&back)).await;
    assert_eq!(back.heard_ago(GroupId(7)), None, "no replica");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sends_to_the_leader_and_reads_what_it_has() {
    let cluster = Cluster::of(3).await;
    cluster.put("a", "1").await;
    let leader = cluster.leader().await.replica();
    let follower = cluster
        .nodes
        .iter()
        .find(|node| node.replica != leader)
        .expect("one");
    let host = follower.host();
    eventually("it knows the leader", || host.leader(GROUP) == Some(leader)).await;
    let refused = host.propose(GROUP, &put("a", "2"), SHORT).await;
    assert_eq!(
        refused,
        Err(ProposeError::NotLeader {
            leader: Some(leader)
        })
    );
    let refused = host.read(GROUP, true).await.map(drop);
    assert_eq!(
        refused,
        Err(ReadError::NotLeader {
            leader: Some(leader)
        })
    );
    let mut applied = host.applied_watch(GROUP).expect("a replica");
    applied.wait_for(|at| *at >= 2).await.unwrap();
    let view = host.read(GROUP, false).await.expect("a view");
    assert_eq!(rows(&view), [("a".to_owned(), "1".to_owned())]);
    let nowhere = host.read(GroupId(9), false).await.map(drop);
    assert!(matches!(nowhere, Err(ReadError::NoReplica { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_answers_nothing_and_steps_down() {
    let cluster = Cluster::of(3).await;
    cluster.put("a", "1").await;
    let old = cluster.leader().await;
    cluster.net.cut(old.replica(), true);
    let lost = old.propose(GROUP, &put("a", "lost"), SHORT).await;
    assert!(
        matches!(
            lost,
            Err(ProposeError::Unknown | ProposeError::NotLeader { leader: None })
        ),
        "{lost:?}"
    );
    let read = old.read(GROUP, true).await.map(drop);
    assert!(
        matches!(
            read,
            Err(ReadError::Unconfirmed | ReadError::NotLeader { .. })
        ),
        "{read:?}"
    );
    cluster.put("a", "2").await;
    let new = cluster.leader().await.replica();
    assert_ne!(new, old.replica());
    cluster.net.cut(old.replica(), false);
    eventually("the old leader follows", || old.leader(GROUP) == Some(new)).await;
    assert_eq!(cluster.get("a").await, "2");
    eventually("what was lost is nowhere", || {
        let view = futures::executor::block_on(old.read(GROUP, false)).expect("a view");
        rows(&view) == [("a".to_owned(), "2".to_owned())]
    })
    .await;
}

/// Its heartbeats arrive, so that nobody else stands for election; their answers take longer than openraft
/// waits for them, so that nobody can read. Somebody else must lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_a_slow_link_can_give_leading_away() {
    let cluster = Cluster::of(3).await;
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    cluster
        .net
        .slow_down(leader.replica(), Duration::from_millis(80));
    let others = cluster.nodes.iter().map(|node| node.replica);
    let heir = { others }.find(|replica| *replica != leader.replica());
    let heir = heir.expect("three replicas");
    leader.transfer_leader(GROUP, heir).await.expect("asked");
    eventually("the heir leads", || leader.leader(GROUP) == Some(heir)).await;
    assert_eq!(cluster.get("a").await, "1");
    cluster.put("a", "2").await;
}

const LOG_KEPT: u64 = 20;
/// A snapshot that is sent may be from so many entries before the last, at most: one that was made before is
/// sent again while it is nearer than half of what the log keeps.
const BEHIND_MAX: u64 = LOG_KEPT / 2;

/// Waits until a node has let go of much of its log; the last entry it has no more.
async fn purged(cluster: &mut Cluster, replica: ReplicaId) -> u64 {
    let wal = cluster.node(replica).wal.clone().expect("it runs");
    let purged = || wal.state(GROUP).purged.map_or(0, |at| at.index);
    eventually("the node lets go of its log", || purged() > 200).await;
    purged()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_away_too_long_gets_a_snapshot() {
    let policy = CheckpointPolicy {
        every: Duration::from_millis(100),
        bytes: 1 << 20,
        log_kept: LOG_KEPT,
    };
    let mut cluster = Cluster::start(3, policy).await;
    cluster.initialize().await;
    cluster.put("before", "1").await;
    let leader = cluster.leader().await;
    let away = cluster
        .nodes
        .iter()
        .map(|node| node.replica)
        .find(|r| *r != leader.replica());
    let away = away.expect("a follower");
    cluster.node(away).kill();
    let large = "v".repeat(32 << 10);
    for i in 0..450 {
        cluster.put(&format!("k{i}"), &large).await;
    }
    let leader = cluster.leader().await;
    let purged_at = purged(&mut cluster, leader.replica()).await;

    // The tenth piece is lost: the transfer goes on where it was.
    cluster.net.lose_piece(10);
    cluster.node(away).start().await;
    let back = cluster.node(away).host();
    let caught_up = || *back.applied_watch(GROUP).expect("a replica").borrow() >= 450;
    eventually("the snapshot is installed", caught_up).await;
    cluster.put("after", "1").await;
    let expected = rows(
        &cluster
            .leader()
            .await
            .read(GROUP, true)
            .await
            .expect("a view"),
    );
    assert_eq!(expected.len(), 452);
    let same = || {
        let view = futures::executor::block_on(back.read(GROUP, false)).expect("a view");
        rows(&view) == expected
    };
    eventually("the states are the same", same).await;
    let counted = back.figures(GROUP).expect("a replica");
    assert_eq!(counted.snapshots_installed, 1, "{counted:?}");
    let sender = cluster.leader().await.figures(GROUP).expect("a replica");
    let built_and_sent = (sender.snapshots_built, sender.snapshots_sent);
    assert_eq!(built_and_sent, (1, 1), "{sender:?}");
    assert_eq!(sender.snapshot_sent_bytes, counted.snapshot_received_bytes);
    // What the log had no more came this way; how much else depends on when the leader's last
    // checkpoint was.
    let gone = (purged_at - 2) * large.len() as u64;
    assert!(sender.snapshot_sent_bytes > gone, "{gone}: {sender:?}");

    let pieces = cluster.net.delivered(RaftMethod::Snapshot);
    // All of it once, the lost one, two that ask where to go on, and one for the rows' frames. (The
    // tries while the replica was away ask, too, and are not counted.)
    let whole = sender.snapshot_sent_bytes >> 20;
    assert!(pieces > whole, "{pieces} pieces for {whole} MiB");
    assert!(
        pieces <= whole + 4,
        "{pieces} pieces for {whole} MiB: it began again"
    );

    // And it starts again from what it was given.
    drop(back);
    cluster.node(away).kill();
    cluster.node(away).start().await;
    let back = cluster.node(away).host();
    let same = || {
        let view = futures::executor::block_on(back.read(GROUP, false)).expect("a view");
        rows(&view) == expected
    };
    eventually("the state is still there", same).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reads_share_few_confirmations() {
    const READS: u64 = 500;
    let cluster = Cluster::of(3).await;
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    let before = cluster.net.sent(RaftMethod::Append);
    let reads = (0..READS).map(|_| {
        let leader = leader.clone();
        tokio::spawn(async move { leader.query(GROUP, b"a", true).await })
    });
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.unwrap().expect("an answer").0.as_ref(), b"1");
    }
    let sent = cluster.net.sent(RaftMethod::Append) - before;
    assert!(
        sent < READS / 2,
        "{sent} messages for {READS} reads and two followers"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_lead_and_go() {
    let cluster = Cluster::start(3, CheckpointPolicy::default()).await;
    let [first, second, third] = [0, 1, 2].map(|at: usize| cluster.nodes[at].replica);
    let host = cluster.nodes[0].host();
    assert!(!host.is_initialized(GROUP).await.unwrap());
    assert_eq!(
        host.initialize(GROUP, &[second]).await,
        Err(InitializeError::NotAVoter)
    );
    host.initialize(GROUP, &[first]).await.expect("started");
    host.initialize(GROUP, &[first])
        .await
        .expect("nothing happens");
    cluster.put("a", "1").await;
    let stranger = host.change_voters(GROUP, &[first, second]).await;
    assert!(
        matches!(stranger, Err(ChangeError::Refused(_))),
        "{stranger:?}"
    );
    for learner in [second, third] {
        host.add_learner(GROUP, learner, true)
            .await
            .expect("it follows");
    }
    host.add_learner(GROUP, third, true)
        .await
        .expect("nothing happens");
    assert_eq!(host.status(GROUP).unwrap().learners, [second, third]);
    host.change_voters(GROUP, &[first, second, third])
        .await
        .expect("three voters");
    host.change_voters(GROUP, &[first, second, third])
        .await
        .expect("nothing happens");
    let status = host.status(GROUP).unwrap();
    assert_eq!(status.voters, [first, second, third]);
    assert!(!status.changing && status.learners.is_empty());

    host.transfer_leader(GROUP, third).await.expect("asked");
    eventually("the third leads", || host.leader(GROUP) == Some(third)).await;
    assert_eq!(
        host.transfer_leader(GROUP, first).await,
        Err(ChangeError::NotLeader {
            leader: Some(third)
        })
    );
    cluster.put("a", "2").await;
    let host = cluster.nodes[2].host();
    host.change_voters(GROUP, &[second, third])
        .await
        .expect("the first leaves");
    assert_eq!(host.status(GROUP).unwrap().voters, [second, third]);
    assert_eq!(cluster.get("a").await, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_another_replica_is_refused() {
    let cluster = Cluster::of(1).await;
    let request = marram_proto::mesh::v1::RaftVoteRequest {
        group: 1,
        target: 99,
        vote: Some(marram_proto::mesh::v1::RaftVote {
            term: 100,
            replica: 12,
            committed: false,
        }),
        last: None,
        leadership_transfer: true,
    };
    let host = cluster.nodes[0].host();
    let refused = host
        .handle(
            RaftMethod::Vote,
            crate::wire::encode(&request),
            Bytes::new(),
        )
        .await;
    let expected = (ReplicaId(99), ReplicaId(11));
    assert!(
        matches!(refused, Err(HandleError::OtherReplica { target, replica }) if (target, replica) == expected)
    );
    let garbage = Bytes::from_static(&[0xff; 9]);
    let refused = host.handle(RaftMethod::Append, garbage, Bytes::new()).await;
    assert!(matches!(refused, Err(HandleError::Wire(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_command_stops_the_replica_and_says_so() {
    let cluster = Cluster::of(1).await;
    let host = cluster.leader().await;
    let unknown = host.propose(GROUP, &put("a", "poison"), PATIENCE).await;
    assert_eq!(unknown, Err(ProposeError::Unknown));
    eventually("the replica has stopped", || {
        host.status(GROUP)
            .is_some_and(|status| status.role == Role::Stopped)
    })
    .await;
    assert!(host.status(GROUP).unwrap().failed.is_some());
    let stopped = host.propose(GROUP, &put("a", "1"), SHORT).await;
    assert!(matches!(stopped, Err(ProposeError::Stopped)), "{stopped:?}");
}
