//! What lacks redundancy, and the end of the grace for what is away.

use std::sync::Arc;

use marram_proto::v1;
use marram_types::{Health, NodeHealth};
use tonic::Status;

use super::kit::{Client, cluster, reason};
use crate::testing::Cluster;

async fn status(client: &mut Client) -> v1::RepairStatus {
    let answer = client.admin.get_repair(v1::GetRepairRequest {}).await;
    answer.unwrap().into_inner().repair.unwrap()
}

async fn start(client: &mut Client, target: &str) -> Result<v1::StartRepairResponse, Status> {
    let target = target.to_owned();
    let request = v1::StartRepairRequest { target };
    let answer = client.admin.start_repair(request).await?;
    Ok(answer.into_inner())
}

/// The node stops, and its peers have not reached it for so long.
fn is_dead(cluster: &Cluster, at: usize, for_ms: u64) {
    cluster.drives.stop(cluster.nodes[at]);
    let seen = NodeHealth {
        health: Health::Dead,
        for_ms,
        words: 5,
        ..NodeHealth::default()
    };
    cluster.health.send_modify(|health| {
        let health = Arc::make_mut(health);
        health.grace_ms = 600_000;
        health.urgent_ms = 30_000;
        health.nodes.insert(cluster.nodes[at], seen);
    });
}

#[tokio::test]
async fn what_an_absent_node_had_is_rebuilt_when_an_operator_says_so() {
    let (cluster, mut client) = cluster(7).await;
    client.make_bucket("photos").await;
    let none = status(&mut client).await;
    assert_eq!((none.levels.len(), none.nodes.len()), (0, 0), "{none:?}");
    let refused = start(&mut client, "node-3").await.unwrap_err();
    assert_eq!(reason(&refused), "NODE_BUSY");
    assert!(refused.message().contains("node-3 works"), "{refused:?}");

    is_dead(&cluster, 2, 61_000);
    let waits = status(&mut client).await;
    let [node] = &waits.nodes[..] else {
        panic!("{waits:?}");
    };
    assert_eq!(
        (node.node.as_str(), node.rebuild_in_ms),
        ("node-3", Some(539_000))
    );
    assert!(node.slots > 0);
    let groups: u64 = waits
        .levels
        .iter()
        .map(|level| level.placement_groups)
        .sum();
    assert_eq!(
        groups, node.slots,
        "one slot of a placement group is on a node"
    );

    let started = start(&mut client, "node-3").await.unwrap();
    assert_eq!((started.unchanged, started.slots), (false, node.slots));
    let again = start(&mut client, "node-3").await.unwrap();
    assert!(again.unchanged, "{again:?}");
    let gone = status(&mut client).await;
    assert!(gone.nodes[0].rebuilt_elsewhere && gone.nodes[0].rebuild_in_ms.is_none());

    is_dead(&cluster, 3, 1_000);
    let refused = start(&mut client, "node-4").await.unwrap_err();
    let said = refused.message();
    assert!(
        said.contains("5 nodes are left") && said.contains("6 shards"),
        "{said}"
    );
    let unknown = start(&mut client, "node-77").await.unwrap_err();
    assert_eq!(reason(&unknown), "NODE_NOT_FOUND");
}

#[tokio::test]
async fn who_is_in_maintenance_keeps_what_it_has() {
    let (cluster, mut client) = cluster(7).await;
    client.make_bucket("photos").await;
    let excuse = |end| v1::SetMaintenanceRequest {
        nodes: vec!["node-2".to_owned()],
        ttl_ms: if end { 0 } else { 60_000 },
        end,
        ..v1::SetMaintenanceRequest::default()
    };
    client.admin.set_maintenance(excuse(false)).await.unwrap();
    is_dead(&cluster, 1, 61_000);
    let waits = status(&mut client).await;
    assert!(waits.nodes[0].rebuild_in_ms.is_none() && waits.nodes[0].maintenance_until_ms > 0);
    let refused = start(&mut client, "node-2").await.unwrap_err();
    assert!(refused.message().contains("maintenance"), "{refused:?}");
    client.admin.set_maintenance(excuse(true)).await.unwrap();
    start(&mut client, "node-2").await.unwrap();
}

#[tokio::test]
async fn all_work_is_paused_and_resumed_and_says_when_it_was_so_before() {
    let (_cluster, mut client) = cluster(3).await;
    let all = [
        v1::PausableWork::Garbage,
        v1::PausableWork::Scrub,
        v1::PausableWork::Repair,
        v1::PausableWork::Moves,
    ];
    for work in all {
        for paused in [true, false] {
            for unchanged in [false, true] {
                let work = work.into();
                let request = v1::SetPausedRequest { work, paused };
                let answer = client.admin.set_paused(request).await.unwrap().into_inner();
                assert_eq!(answer.unchanged, unchanged, "{work:?} {paused}");
                assert_eq!(answer.paused_since_ms.is_some(), paused);
            }
        }
        let paused = true;
        let work = work.into();
        let request = v1::SetPausedRequest { work, paused };
        client.admin.set_paused(request).await.unwrap();
    }
    let status = status(&mut client).await;
    assert!(status.paused_since_ms.is_some() && status.moves_paused_since_ms.is_some());
}
