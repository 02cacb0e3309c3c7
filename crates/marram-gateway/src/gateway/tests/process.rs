//! What one process logs is told and changed.

use marram_proto::v1;
use tonic::Code;

use super::kit::{Client, cluster, reason};
use crate::process::{FILTER_BYTES_MAX, FOR_MS_MAX};

fn set(node: &str, filter: &str) -> v1::SetLogLevelRequest {
    v1::SetLogLevelRequest {
        node: node.to_owned(),
        filter: filter.to_owned(),
        ..v1::SetLogLevelRequest::default()
    }
}

async fn get(client: &mut Client, node: &str) -> Result<v1::LogLevel, tonic::Status> {
    let node = node.to_owned();
    let asked = client.admin.get_log_level(v1::GetLogLevelRequest { node });
    Ok(asked.await?.into_inner().level.unwrap())
}

#[tokio::test]
async fn a_node_logs_what_it_is_told_to() {
    let (cluster, mut client) = cluster(3).await;
    let level = v1::LogLevel::default();
    cluster.peers.logs.lock().insert(cluster.nodes[1], level);
    let answer = client.admin.set_log_level(set("node-2", "debug")).await;
    let level = answer.unwrap().into_inner().level.unwrap();
    assert_eq!((&*level.name, &*level.filter), ("node-2", "debug"));
    assert_eq!(get(&mut client, "node-2").await.unwrap().filter, "debug");
    let silent = get(&mut client, "node-1").await.unwrap_err();
    assert_eq!(silent.code(), Code::Unavailable, "{silent:?}");
    let nobody = get(&mut client, "node-9").await.unwrap_err();
    assert_eq!(reason(&nobody), "NODE_NOT_FOUND");
    let own = get(&mut client, "gateway-1").await.unwrap();
    assert_eq!((&*own.name, &*own.filter), ("gateway-1", "info"));
}

#[tokio::test]
async fn what_cannot_be_logged_is_refused_with_its_field() {
    let (cluster, mut client) = cluster(1).await;
    let level = v1::LogLevel::default();
    cluster.peers.logs.lock().insert(cluster.nodes[0], level);
    let most = set("node-1", &"a".repeat(FILTER_BYTES_MAX));
    client.admin.set_log_level(most).await.unwrap();
    let cases = [
        (set("node-1", "wrong"), "part \"wrong\""),
        (set("node-1", &"a".repeat(FILTER_BYTES_MAX + 1)), "filter"),
        (
            v1::SetLogLevelRequest {
                for_ms: FOR_MS_MAX + 1,
                ..set("node-1", "info")
            },
            "for_ms",
        ),
        (
            v1::SetLogLevelRequest {
                reset: true,
                ..set("node-1", "info")
            },
            "reset",
        ),
    ];
    for (request, said) in cases {
        let refused = client.admin.set_log_level(request).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT", "{refused:?}");
        assert!(refused.message().contains(said), "{refused:?}");
    }
}
