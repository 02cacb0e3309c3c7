//! What is wrong is told, with what nodes say of themselves.

use marram_proto::v1;
use tonic::Code;

use super::kit::{Client, cluster, reason};

async fn diagnose(client: &mut Client) -> v1::DiagnoseResponse {
    let answer = client.admin.diagnose(v1::DiagnoseRequest {}).await;
    answer.unwrap().into_inner()
}

fn subjects(diagnosis: &v1::DiagnoseResponse, name: &str) -> Vec<String> {
    let mut checks = diagnosis.checks.iter().filter(|check| check.name == name);
    let check = checks.next().unwrap();
    check.findings.iter().map(|f| f.subject.clone()).collect()
}

#[tokio::test]
async fn nodes_that_are_away_or_silent_are_findings_and_not_errors() {
    let (cluster, mut client) = cluster(6).await;
    let silent = diagnose(&mut client).await;
    assert_eq!(subjects(&silent, "nodes").len(), 6, "none says how it is");
    for (number, node) in (1..).zip(&cluster.nodes) {
        let said = v1::NodeInspection {
            version: if number == 6 { "2" } else { "1" }.to_owned(),
            clock_ms: crate::testing::now_ms(),
            ..v1::NodeInspection::default()
        };
        cluster.peers.said.lock().insert(*node, said);
    }
    let diagnosis = diagnose(&mut client).await;
    assert!(subjects(&diagnosis, "nodes").is_empty(), "{diagnosis:?}");
    assert_eq!(subjects(&diagnosis, "versions").len(), 1);
    assert!(subjects(&diagnosis, "clocks").is_empty(), "{diagnosis:?}");
    assert_eq!(diagnosis.answered_by, "gateway-1");
    cluster.drives.stop(cluster.nodes[1]);
    let diagnosis = diagnose(&mut client).await;
    assert_eq!(subjects(&diagnosis, "nodes"), ["node-2"]);
    assert_eq!(subjects(&diagnosis, "redundancy"), [""]);
}

#[tokio::test]
async fn a_node_is_asked_about_itself() {
    let (cluster, mut client) = cluster(3).await;
    let said = v1::NodeInspection {
        version: "1".to_owned(),
        ..v1::NodeInspection::default()
    };
    cluster.peers.said.lock().insert(cluster.nodes[0], said);
    let ask = |node: &str| v1::InspectNodeRequest {
        node: node.to_owned(),
        ..v1::InspectNodeRequest::default()
    };
    let answer = client.admin.inspect_node(ask("node-1")).await.unwrap();
    let inspection = answer.into_inner().inspection.unwrap();
    let expected = (cluster.nodes[0].0, "node-1", "1");
    let got = (inspection.node_id, &*inspection.name, &*inspection.version);
    assert_eq!(got, expected);
    let own = client.admin.inspect_node(ask("gateway-1")).await.unwrap();
    let own = own.into_inner().inspection.unwrap();
    let got = (own.node_id, &*own.name, &*own.version);
    assert_eq!(
        got,
        (0, "gateway-1", "gateway"),
        "a gateway answers for itself"
    );
    let refused = client.admin.inspect_node(ask("node-2")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let refused = client.admin.inspect_node(ask("node-9")).await.unwrap_err();
    assert_eq!(reason(&refused), "NODE_NOT_FOUND");
}
