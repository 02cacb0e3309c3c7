//! What one process logs is told and changed.

use marram_proto::v1;
use tonic::Code;

use super::kit::{Client, cluster, reason};
use crate::process::{FILTER_BYTES_MAX, FOR_MS_MAX, PROFILE_S_MAX};

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

#[tokio::test]
async fn a_process_is_profiled_for_so_long_and_no_longer() {
    let (cluster, mut client) = cluster(3).await;
    let level = v1::LogLevel::default();
    cluster.peers.logs.lock().insert(cluster.nodes[0], level);
    let ask = |node: &str, seconds| v1::ProfileCpuRequest {
        node: node.to_owned(),
        seconds,
    };
    for (node, seconds) in [("node-1", 1), ("gateway-1", PROFILE_S_MAX)] {
        let made = client.admin.profile_cpu(ask(node, seconds)).await.unwrap();
        let made = made.into_inner();
        assert_eq!(
            (&*made.name, &*made.profile),
            (node, format!("{seconds} s").as_bytes())
        );
    }
    for seconds in [0, PROFILE_S_MAX + 1] {
        let refused = client.admin.profile_cpu(ask("node-1", seconds)).await;
        let refused = refused.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT");
        assert!(refused.message().contains("seconds"), "{refused:?}");
    }
    let busy = client
        .admin
        .profile_cpu(ask("node-2", 1))
        .await
        .unwrap_err();
    assert_eq!(reason(&busy), "NODE_BUSY", "{busy:?}");
    let node = "node-1".to_owned();
    let said = client.admin.get_memory(v1::GetMemoryRequest { node }).await;
    assert_eq!(said.unwrap().into_inner().memory.unwrap().resident_bytes, 7);
}
