//! What operators see of calls and of health.

use std::collections::BTreeMap;
use std::sync::Arc;

use marram_metrics::{Condition, Format, Sources, Verdict};
use marram_proto::mesh::v1::{GatewayNote, HeardGateway};
use marram_proto::v1;
use marram_proto::v1::bucket_service_client::BucketServiceClient;
use marram_types::GroupId;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::kit::{cluster, content, header};
use crate::testing::{Cluster, GROUPS};

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

/// The lines of failed calls, by the names of their fields.
#[derive(Clone, Default)]
struct Lines(Arc<parking_lot::Mutex<Vec<BTreeMap<String, String>>>>);

struct Fields(BTreeMap<String, String>);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let value = format!("{value:?}").trim_matches('"').to_owned();
        self.0.insert(field.name().to_owned(), value);
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, about: &tracing::Metadata<'_>) -> bool {
        about.target() == "calls"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        self.0.lock().push(fields.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn calls_that_fail_are_logged_with_reason_and_request_id() {
    let lines = Lines::default();
    // Server and client run on the thread of the test.
    let _logged = tracing::subscriber::set_default(lines.clone());
    let (cluster, mut client) = cluster(1).await;
    let logged = |reason: &str| {
        let lines = lines.0.lock();
        let mut found = lines
            .iter()
            .filter(|line| line.get("reason").is_some_and(|logged| logged == reason));
        let line = found
            .next()
            .unwrap_or_else(|| panic!("{reason}: {lines:?}"));
        (line["code"].clone(), line.get("request_id").cloned())
    };
    client.put("k", b"one").await.unwrap();
    assert_eq!(lines.0.lock().len(), 0, "nothing failed");
    let mut again = header("bucket", "k", Some(3));
    again.request_id = Some(v1::RequestId {
        client: vec![1; 16].into(),
        sequence: 9,
    });
    again.preconditions = Some(v1::Preconditions {
        if_generation_match: Some(0),
        ..v1::Preconditions::default()
    });
    client
        .put_with(again, b"two")
        .await
        .expect_err("it is there");
    let own = Some(format!("{}-9", "01".repeat(16)));
    assert_eq!(
        logged("PRECONDITION_FAILED"),
        ("FailedPrecondition".to_owned(), own)
    );
    client.get("none").await.expect_err("it is not there");
    assert_eq!(logged("OBJECT_NOT_FOUND"), ("NotFound".to_owned(), None));
    for group in 0..=GROUPS {
        cluster.groups.lose(GroupId(group), 2);
    }
    let unknown = client.put("k", b"two").await.expect_err("lost");
    let details = unknown.get_error_details();
    let told = details.error_info().unwrap().metadata.get("request_id");
    assert_eq!(
        logged("OUTCOME_UNKNOWN"),
        ("Unknown".to_owned(), told.cloned()),
        "the one that the caller hears"
    );
}
