//! A node dies and nobody does anything: what it had is rebuilt elsewhere. It returns and is used again.
//! One that is in maintenance is waited for.

use std::time::Duration;

use marram_client::{Client, ClusterStatus, NodeHealth, NodeStatus};
use marram_cluster_tests::{
    Cluster, Object, Options, Pool, Scratch, equal_both_ways, log_uniform_sizes, put_all, room,
    run, said, until, verify_all,
};

const BUCKET: &str = "dead-node";
const OBJECTS: usize = 60;
const SIZE_MAX: u64 = 8 << 20;
const TOTAL_MAX: u64 = 96 << 20;
/// The grace of this cluster.
const GRACE_S: u64 = 4;
/// How long the data of one node may take to be rebuilt on a busy machine.
const REBUILT_WITHIN: Duration = Duration::from_secs(180);

fn node<'s>(status: &'s ClusterStatus, name: &str) -> &'s NodeStatus {
    let mut nodes = status.nodes.iter();
    nodes.find(|node| node.name == name).expect("a member")
}

fn is_whole(status: &ClusterStatus) -> bool {
    status.moves_under_way == 0
        && status.placement_groups_to_move == 0
        && status
            .redundancy
            .as_ref()
            .is_some_and(|r| r.fully_redundant)
}

fn votes(status: &ClusterStatus, node: &NodeStatus) -> usize {
    let groups = status.groups.iter();
    groups
        .filter(|g| g.voter_node_ids.contains(&node.node_id))
        .count()
}

/// Waits for a status.
async fn see(client: &Client, what: &str, good: impl Fn(&ClusterStatus) -> bool) {
    until(what, REBUILT_WITHIN, async || {
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        if good(&status) {
            return Ok(());
        }
        let conditions: Vec<_> = status
            .nodes
            .iter()
            .map(|n| (&n.name, &n.condition))
            .collect();
        let work = (status.moves_under_way, status.placement_groups_to_move);
        Err(format!(
            "{conditions:?} {work:?} {:?} {:?}",
            status.work, status.redundancy
        ))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_node_had_is_rebuilt_and_it_is_used_again_when_it_returns() {
    let _room = room().await;
    let scratch = Scratch::new("dead-node");
    let options = Options {
        nodes: 7,
        quick_garbage: true,
        env: vec![("MARRAM_REPAIR_GRACE", GRACE_S.to_string())],
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(77, 24 << 20);
    let sizes = log_uniform_sizes(77, OBJECTS, SIZE_MAX, TOTAL_MAX);
    let objects: Vec<Object> = (0..)
        .zip(sizes)
        .map(|(i, size)| pool.object(format!("object/{i}"), size))
        .collect();
    put_all(&client, BUCKET, &objects).await;
    see(&client, "everything is in place", is_whole).await;

    cluster.kill(&[3]);
    see(
        &client,
        "node-3 is given up and all of it is elsewhere",
        |status| {
            let node = node(status, "node-3");
            node.condition.rebuilt_elsewhere
                && node.condition.health == NodeHealth::Dead
                && (node.slots, votes(status, node)) == (0, 0)
                && is_whole(status)
        },
    )
    .await;
    verify_all(&client, BUCKET, &objects).await;
    // Full redundancy is back: any two others may go.
    cluster.kill(&[1, 5]);
    verify_all(&cluster.client_of(2), BUCKET, &objects).await;
    cluster.restart(&[1, 5]);

    cluster.restart(&[3]);
    see(&client, "all nodes are used again", |status| {
        let used = |node: &NodeStatus| {
            node.slots > 0
                && node.condition.given_up_at_ms.is_none()
                && node.condition.health == NodeHealth::Up
        };
        is_whole(status) && status.nodes.iter().all(used)
    })
    .await;
    verify_all(&client, BUCKET, &objects).await;
    // It came back with what had been computed again elsewhere; what lies twice goes.
    equal_both_ways(&cluster, REBUILT_WITHIN).await;
    excused(&cluster, &client).await;
    verify_all(&client, BUCKET, &objects).await;
}

/// Within its maintenance a node is waited for, and no longer.
async fn excused(cluster: &Cluster, client: &Client) {
    let begin = ["admin", "maintenance", "node-4", "--ttl", "1h", "--json"];
    let begun = run(cluster, &begin).done().json_lines();
    assert_eq!(begun[0]["name"], "node-4");
    assert!(
        begun[0]["until_ms"].as_u64().expect("a time") > 0,
        "{begun:?}"
    );
    cluster.kill(&[4]);
    see(
        client,
        "node-4 is dead for twice the grace, and waited for",
        |status| {
            let node = node(status, "node-4");
            let condition = &node.condition;
            assert!(condition.given_up_at_ms.is_none(), "{status:?}");
            assert!(
                node.slots > 0 && condition.maintenance_until_ms.is_some(),
                "{status:?}"
            );
            condition.health == NodeHealth::Dead && condition.health_for_ms > 2_000 * GRACE_S
        },
    )
    .await;
    let refused = run(cluster, &["admin", "repair", "start", "node-4"]);
    assert!(
        refused.code == 1 && refused.err.contains("maintenance"),
        "{}",
        refused.err
    );
    let waits = said(cluster, &["admin", "repair"]);
    assert_eq!(waits["nodes"][0]["node"], "node-4", "{waits}");
    assert!(waits["nodes"][0]["rebuild_in_ms"].is_null(), "{waits}");
    assert!(
        waits["levels"][0]["placement_groups"].as_u64() > Some(0),
        "{waits}"
    );
    let _said = run(cluster, &["admin", "maintenance", "node-4", "--end"]).done();
    // The grace is over, or an operator says so: whoever comes first.
    let _started = run(cluster, &["admin", "repair", "start", "node-4"]).done();
    see(client, "node-4 is given up", |status| {
        node(status, "node-4").condition.rebuilt_elsewhere
    })
    .await;
    cluster.restart(&[4]);
    see(client, "node-4 is used again", |status| {
        let node = node(status, "node-4");
        node.slots > 0 && node.condition.given_up_at_ms.is_none() && is_whole(status)
    })
    .await;
}
