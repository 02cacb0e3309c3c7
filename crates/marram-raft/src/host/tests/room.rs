//! Metadata drives that fill up.

use super::*;
use crate::room::Room;

fn set(cluster: &Cluster, replica: ReplicaId, room: Room) {
    let node = cluster.nodes.iter().find(|node| node.replica == replica);
    *node.expect("a node of the cluster").room.lock() = room;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_little_room_takes_only_what_does_not_grow() {
    let cluster = Cluster::of(3).await;
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    set(&cluster, leader.replica(), Room::Low);
    let refused = leader.propose(GROUP, &put("b", "1"), PATIENCE).await;
    assert_eq!(refused, Err(ProposeError::NoRoom { group: GROUP }));
    let removed = leader.propose(GROUP, &put("a", ""), PATIENCE).await;
    removed.expect("what gives space back is taken");
    assert_eq!(cluster.get("b").await, "");
    // A follower's room is no reason to refuse on its own, and it does not speak for the leader.
    let other = cluster
        .nodes
        .iter()
        .find(|node| node.replica != leader.replica())
        .expect("three nodes");
    set(&cluster, other.replica, Room::Low);
    let elsewhere = other.host().propose(GROUP, &put("b", "1"), PATIENCE).await;
    assert!(matches!(elsewhere, Err(ProposeError::NotLeader { .. })));
    set(&cluster, leader.replica(), Room::Ample);
    cluster.put("b", "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_follower_takes_nothing_and_follows_again_when_it_can() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let full = cluster
        .nodes
        .iter()
        .find(|node| node.replica != leader.replica())
        .expect("three nodes");
    set(&cluster, full.replica, Room::Spent);
    cluster.put("a", "1").await;
    assert_eq!(cluster.get("a").await, "1", "two of three go on");
    let view = full.host().read(GROUP, false).await.expect("a view");
    assert!(rows(&view).is_empty(), "the full one took an entry");
    let host = full.host();
    let follows = || {
        host.leader(GROUP)
            .is_some_and(|led_by| led_by != full.replica)
    };
    eventually("it follows one that has room", follows).await;
    set(&cluster, full.replica, Room::Ample);
    let caught_up = || {
        let view = futures::executor::block_on(full.host().read(GROUP, false)).expect("a view");
        !rows(&view).is_empty()
    };
    eventually("it catches up", caught_up).await;
}
