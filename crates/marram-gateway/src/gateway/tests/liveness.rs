//! Nodes that are excused, leaderships that are handed over, and the status as it changes.

use marram_proto::v1;
use tonic::Code;

use super::kit::{Client, cluster, reason};

async fn status(client: &mut Client) -> v1::GetClusterStatusResponse {
    let request = v1::GetClusterStatusRequest {};
    let answer = client.admin.get_cluster_status(request).await;
    answer.unwrap().into_inner()
}

#[tokio::test]
async fn nodes_are_excused_by_name_and_by_zone_and_counted_as_stopped() {
    let (cluster, mut client) = cluster(6).await;
    let excuse = |nodes: &[&str], ttl_ms, end| v1::SetMaintenanceRequest {
        nodes: nodes.iter().map(ToString::to_string).collect(),
        ttl_ms,
        end,
        ..v1::SetMaintenanceRequest::default()
    };
    let answer = client
        .admin
        .set_maintenance(excuse(&["node-2"], 60_000, false));
    let answer = answer.await.unwrap().into_inner();
    assert!(answer.nodes[0].until_ms > 60_000 && answer.nodes.len() == 1);
    let status = status(&mut client).await;
    let condition = status.nodes[1].condition.unwrap();
    assert_eq!(condition.maintenance_until_ms, answer.nodes[0].until_ms);

    let mut ask = async |nodes: &[&str], margin| {
        let nodes = nodes.iter().map(ToString::to_string).collect();
        let request = v1::OkToStopRequest { nodes, margin };
        client.admin.ok_to_stop(request).await.unwrap().into_inner()
    };
    assert!(ask(&["node-3"], 0).await.ok);
    let answer = ask(&["node-3"], 1).await;
    assert!(!answer.ok && answer.tolerated_losses == 0, "{answer:?}");
    assert!(answer.reasons[0].contains("node-2"), "{answer:?}");
    assert!(ask(&["node-2"], 1).await.ok);
    cluster.drives.stop(cluster.nodes[5]);
    assert!(!ask(&["node-2"], 1).await.ok);
    cluster.drives.start(cluster.nodes[5]);

    let ended = client.admin.set_maintenance(excuse(&["node-2"], 0, true));
    assert_eq!(ended.await.unwrap().into_inner().nodes[0].until_ms, 0);
    for wrong in [
        excuse(&[], 1, false),
        excuse(&["node-2"], 0, false),
        excuse(&["node-2"], u64::MAX, false),
    ] {
        let refused = client.admin.set_maintenance(wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    let zone = v1::SetMaintenanceRequest {
        zone: "nowhere".to_owned(),
        ttl_ms: 1,
        ..v1::SetMaintenanceRequest::default()
    };
    let refused = client.admin.set_maintenance(zone).await.unwrap_err();
    assert_eq!(reason(&refused), "NODE_NOT_FOUND");
}

#[tokio::test]
async fn leaderships_go_to_others_and_the_node_is_kept_from_them() {
    let (cluster, mut client) = cluster(3).await;
    let groups = vec![marram_types::GroupId(0), marram_types::GroupId(2)];
    cluster.peers.leads.lock().insert(cluster.nodes[1], groups);
    let request = v1::TransferLeaderRequest {
        node: "node-2".to_owned(),
        hold_ms: 60_000,
    };
    let answer = client.admin.transfer_leader(request.clone()).await.unwrap();
    assert_eq!(answer.into_inner().handed, [0, 2]);
    let status = status(&mut client).await;
    assert!(status.nodes[1].condition.unwrap().leads_not_until_ms > 60_000);
    let again = client.admin.transfer_leader(request).await.unwrap();
    assert!(again.into_inner().handed.is_empty());
}

#[tokio::test]
async fn a_watcher_sees_the_status_and_each_change_of_it() {
    let (cluster, mut client) = cluster(3).await;
    let watching = client
        .admin
        .watch_cluster_status(v1::WatchClusterStatusRequest {});
    let mut watching = watching.await.unwrap().into_inner();
    let mut next = async || {
        let message = watching.message().await.unwrap();
        message.unwrap().status.unwrap()
    };
    let first = next().await;
    assert_eq!(first.nodes[1].state(), v1::NodeState::Up);
    assert_eq!(
        first.nodes[1].condition.unwrap().health(),
        v1::NodeHealth::Unspecified
    );
    cluster.drives.stop(cluster.nodes[1]);
    assert_eq!(next().await.nodes[1].state(), v1::NodeState::Away);
    let seen = marram_types::NodeHealth {
        health: marram_types::Health::Dead,
        for_ms: 9,
        ..marram_types::NodeHealth::default()
    };
    cluster.health.send_modify(|health| {
        let health = std::sync::Arc::make_mut(health);
        health.nodes.insert(cluster.nodes[1], seen);
        health.notes.push("nothing is rebuilt".to_owned());
    });
    let dead = next().await;
    assert_eq!(
        dead.nodes[1].condition.unwrap().health(),
        v1::NodeHealth::Dead
    );
    assert_eq!(dead.work.unwrap().notes, ["nothing is rebuilt"]);
}
