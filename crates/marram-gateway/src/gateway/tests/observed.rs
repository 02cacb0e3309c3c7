//! What operators see of calls and of health.

use std::sync::Arc;

use marram_metrics::{Condition, Format, Sources, Verdict};
use marram_proto::mesh::v1::{GatewayNote, HeardGateway};
use marram_proto::v1;
use marram_proto::v1::bucket_service_client::BucketServiceClient;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::kit::{cluster, content};
use crate::testing::Cluster;

async fn page(cluster: &Cluster) -> String {
    let sources = Sources::default();
    sources.add(cluster.core.calls.clone());
    sources.scrape(Format::Prometheus).await.unwrap()
}

/// The value of a series, with its name and labels as they are written; 0 where it is not there.
fn value(page: &str, series: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    // Sums have a decimal point.
    line.map_or(0, |value| {
        value.trim().trim_end_matches(".0").parse().unwrap()
    })
}

fn calls(service: &str, method: &str, code: &str) -> String {
    format!("marram_api_calls_total{{service=\"{service}\",method=\"{method}\",code=\"{code}\"}}")
}

#[tokio::test]
async fn calls_are_counted_with_the_code_that_the_caller_got() {
    let (cluster, mut client) = cluster(6).await;
    let data = content(3_000_000, 1);
    client.put("large", &data).await.unwrap();
    client.put("small", b"small").await.unwrap();
    assert_eq!(client.get("large").await.unwrap(), data);
    let missing = client.get("missing").await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let mut stranger = BucketServiceClient::new(cluster.channel().await);
    let refused = stranger
        .list_buckets(v1::ListBucketsRequest::default())
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    let abandoned = client.objects.get_object(v1::GetObjectRequest {
        bucket: "bucket".to_owned(),
        key: "large".to_owned(),
        ..v1::GetObjectRequest::default()
    });
    let begun = abandoned.await.unwrap();
    drop(begun);
    let running = "marram_api_calls_running{service=\"ObjectService\",method=\"GetObject\"}";
    let mut page = page(&cluster).await;
    for _ in 0..1000 {
        if value(&page, running) == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        page = self::page(&cluster).await;
    }
    for (series, expected) in [
        (calls("ObjectService", "PutObject", "OK"), 2),
        (calls("ObjectService", "GetObject", "OK"), 1),
        (calls("ObjectService", "GetObject", "NOT_FOUND"), 1),
        (calls("ObjectService", "GetObject", "CANCELLED"), 1),
        (calls("BucketService", "CreateBucket", "OK"), 1),
        (calls("BucketService", "ListBuckets", "UNAUTHENTICATED"), 1),
        (calls("AdminService", "GetClusterStatus", "OK"), 0),
        (running.to_owned(), 0),
        (
            "marram_api_object_bytes_count{direction=\"put\"}".to_owned(),
            2,
        ),
        (
            "marram_api_object_bytes_sum{direction=\"put\"}".to_owned(),
            3_000_005,
        ),
        (
            "marram_api_object_bytes_count{direction=\"get\"}".to_owned(),
            2,
        ),
    ] {
        assert_eq!(value(&page, &series), expected, "{series}\n{page}");
    }
    let labels = "{service=\"ObjectService\",method=\"PutObject\"}";
    let received = value(&page, &format!("marram_api_received_bytes_total{labels}"));
    assert!((3_000_005..3_010_000).contains(&received), "{received}");
    let labels = "{service=\"ObjectService\",method=\"GetObject\"}";
    let sent = value(&page, &format!("marram_api_sent_bytes_total{labels}"));
    assert!((3_000_000..6_010_000).contains(&sent), "{sent}");
}

#[tokio::test]
async fn health_is_the_readiness_of_the_process() {
    let (cluster, _client) = cluster(3).await;
    let channel = cluster.channel().await;
    let says = async |service: &str| {
        let service = service.to_owned();
        let mut client = HealthClient::new(channel.clone());
        let asked = client.check(HealthCheckRequest { service });
        asked.await.unwrap().into_inner().status()
    };
    let services = ["", "marram.v1.ObjectService", "marram.v1.AdminService"];
    for (condition, expected) in [
        (Condition::good("test", "well"), ServingStatus::Serving),
        (Condition::bad("api", "stopping"), ServingStatus::NotServing),
        (
            Condition::good("test", "well again"),
            ServingStatus::Serving,
        ),
    ] {
        let conditions = vec![condition];
        cluster.ready.send_replace(Arc::new(Verdict { conditions }));
        let reasons = match expected {
            ServingStatus::NotServing => vec!["api: stopping".to_owned()],
            _ => Vec::new(),
        };
        for service in services {
            for _ in 0..1000 {
                if says(service).await == expected {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            assert_eq!(says(service).await, expected, "{service}");
            let mut client = HealthClient::new(channel.clone());
            let service = service.to_owned();
            let answer = client.check(HealthCheckRequest { service }).await.unwrap();
            let told = answer.metadata().get_all("marram-not-ready");
            let told = told.iter().map(|value| value.to_str().unwrap());
            assert_eq!(told.collect::<Vec<_>>(), reasons);
        }
    }
}

#[tokio::test]
async fn the_status_says_where_nodes_give_metrics() {
    let (cluster, mut client) = cluster(3).await;
    cluster.drives.stop(cluster.nodes[2]);
    let asked = client
        .admin
        .get_cluster_status(v1::GetClusterStatusRequest {});
    let status = asked.await.unwrap().into_inner();
    let said = status
        .nodes
        .iter()
        .map(|n| (n.node_id, n.metrics_address.as_str()));
    let said: Vec<(u64, &str)> = said.collect();
    let of = |at: usize| format!("metrics.of.{}:7072", cluster.nodes[at]);
    let expected = [of(0), of(1), String::new()];
    let expected = cluster
        .nodes
        .iter()
        .zip(&expected)
        .map(|(n, a)| (n.0, a.as_str()));
    assert_eq!(said, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn the_status_says_which_gateways_were_heard() {
    let (cluster, mut client) = cluster(3).await;
    let heard = |name: &str, ms, why: &[&str]| HeardGateway {
        name: name.to_owned(),
        public_key: name.to_owned().into_bytes().into(),
        heard_ms_ago: ms,
        note: Some(GatewayNote {
            version: "1".to_owned(),
            not_ready: why.iter().map(|why| (*why).to_owned()).collect(),
            ..GatewayNote::default()
        }),
    };
    let early = heard("front-2", 20_000, &["view: no server has told"]);
    cluster.drives.hear(cluster.nodes[0], early);
    cluster
        .drives
        .hear(cluster.nodes[1], heard("front-2", 40, &[]));
    let why = ["groups: a majority of 0 of 8"];
    cluster
        .drives
        .hear(cluster.nodes[2], heard("front-1", 10, &why));
    let asked = client
        .admin
        .get_cluster_status(v1::GetClusterStatusRequest {});
    let status = asked.await.unwrap().into_inner();
    let said = status.gateways.iter();
    let said = said.map(|g| (&*g.name, g.heard_ms_ago, g.not_ready.len()));
    let expected = [("front-1", 10, 1), ("front-2", 40, 0)];
    assert_eq!(said.collect::<Vec<_>>(), expected, "the newest word counts");
}
