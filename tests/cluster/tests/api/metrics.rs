//! What operators see of every process: all metrics of the catalogue and no others, and readiness.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use marram_client::{PutBody, PutOptions};
use marram_cluster_tests::{Family, Raw, Shared, http_get, read_page, until};
use marram_metrics::catalogue::{self, From, Kind};
use serde_json::Value;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const BUCKET: &str = "seen-by-operators";
const WITHIN: Duration = Duration::from_secs(60);

type Page = BTreeMap<String, Family>;

/// Where each process gives metrics: the nodes', then the gateway's.
pub(super) fn addresses(cluster: &Shared) -> Vec<String> {
    let settings = fs::read(cluster.dir().join("cluster.json")).expect("settings");
    let settings: Value = serde_json::from_slice(&settings).expect("JSON");
    let processes =
        ["nodes", "gateways"].map(|kind| settings[kind].as_array().expect("a list").clone());
    let ports = processes
        .iter()
        .flatten()
        .map(|ports| format!("127.0.0.1:{}", ports["metrics"]));
    ports.collect()
}

fn text(address: &str) -> String {
    let (status, body) = http_get(address, "/metrics", "").expect("answered");
    assert_eq!(status, 200, "{body}");
    body
}

/// Has every process serve a little of everything.
async fn use_everything(cluster: &Shared) {
    cluster
        .client()
        .create_bucket(BUCKET, None)
        .await
        .expect("made");
    for server in 1..=cluster.nodes() + 1 {
        let client = cluster.client_of(server);
        let key = format!("secret-name-{server}");
        for size in [100, 50_000, 1 << 20] {
            let body = PutBody::from(vec![7; size]);
            client
                .put(BUCKET, &key, body, PutOptions::default())
                .await
                .expect("put");
        }
        let got = client.get(BUCKET, &key, None).await.expect("got");
        assert_eq!(got.bytes(1 << 20).await.expect("read").len(), 1 << 20);
    }
}

/// The samples of a family are as the catalogue says.
fn check(address: &str, name: &str, family: &Family) {
    let at = format!("{name} of {address}");
    let known = catalogue::families().find(|known| known.name == name);
    assert!(known.is_some(), "{at} is not in the catalogue");
    let known = known.expect("just seen");
    let kind = match known.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    assert_eq!(
        (family.kind.as_str(), family.help.as_str()),
        (kind, &*format!("{}.", known.help))
    );
    let names: BTreeSet<&str> = known.labels.iter().map(|label| label.name).collect();
    let mut series = BTreeSet::new();
    for (part, labels, value) in &family.samples {
        let parts: &[&str] = match kind {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(parts.contains(&part.as_str()), "{at}{part}");
        let own = labels
            .keys()
            .map(String::as_str)
            .filter(|label| part != "_bucket" || *label != "le");
        assert_eq!(own.collect::<BTreeSet<_>>(), names, "{at}");
        // A clock may be behind; nothing else is less than nothing.
        let may_be_negative = known.name == "marram_mesh_clock_ahead_seconds";
        let is_sound = value.is_finite() && (*value >= 0.0 || may_be_negative);
        assert!(is_sound, "{at}: {value}");
        assert!(series.insert((part, labels)), "{at}: {labels:?} twice");
    }
    for label in known.labels.iter().filter(|label| label.name != "service") {
        let values = family
            .samples
            .iter()
            .filter_map(|(_, labels, _)| labels.get(label.name));
        let count = values.collect::<BTreeSet<_>>().len();
        assert!(
            count <= label.most,
            "{at}: {count} values of {}",
            label.name
        );
    }
}

/// Buckets of a histogram rise to its count.
fn check_histogram(name: &str, family: &Family) {
    let mut buckets: BTreeMap<BTreeMap<String, String>, Vec<f64>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for (part, labels, value) in &family.samples {
        let mut labels = labels.clone();
        labels.remove("le");
        match part.as_str() {
            "_bucket" => buckets.entry(labels).or_default().push(*value),
            "_count" => drop(counts.insert(labels, *value)),
            _ => {}
        }
    }
    assert!(
        !buckets.is_empty() && buckets.len() == counts.len(),
        "{name}"
    );
    for (labels, buckets) in buckets {
        assert!(
            buckets.windows(2).all(|pair| pair[0] <= pair[1]),
            "{name} {labels:?}: {buckets:?}"
        );
        assert_eq!(buckets.last(), counts.get(&labels), "{name} {labels:?}");
    }
}

fn sum(pages: &[Page], name: &str, with: Option<(&str, &str)>) -> f64 {
    let samples = pages
        .iter()
        .filter_map(|page| page.get(name))
        .flat_map(|f| &f.samples);
    let fitting = samples.filter(|(_, labels, _)| {
        with.is_none_or(|(label, value)| labels.get(label).is_some_and(|v| v == value))
    });
    fitting.map(|(_, _, value)| value).sum()
}

/// Who gives a family.
fn by(name: &str) -> From {
    let known = catalogue::families().find(|family| family.name == name);
    known.expect("in the catalogue").from
}

/// What is not given by those who should: six servers and a gateway.
fn missing(pages: &[Page]) -> Vec<&'static str> {
    let servers = &pages[..6];
    let is_missing = |family: &&catalogue::Family| {
        let has = |page: &Page| page.contains_key(family.name);
        match family.from {
            From::All => !pages.iter().all(has),
            From::Servers => !servers.iter().all(has),
            From::Leaders => !servers.iter().any(has),
            // Nobody asks this cluster for names of buckets, and it speaks plain text.
            From::Asked | From::WithTls => pages.iter().any(has),
            // Not by a process of the cluster.
            From::Operator => pages.iter().any(has),
        }
    };
    let missing = catalogue::families().filter(is_missing);
    missing.map(|family| family.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_gives_what_is_documented_and_nothing_else() {
    let cluster = Shared::cluster();
    let addresses = addresses(&cluster);
    assert_eq!(addresses.len(), 7);
    use_everything(&cluster).await;
    let (access_key, secret_key) = cluster.keys();
    let mut pages: Vec<Page> = Vec::new();
    for address in &addresses {
        let text = text(address);
        for secret in [access_key, secret_key, BUCKET, "secret-name"] {
            assert!(!text.contains(secret), "{address} tells {secret}");
        }
        let page = read_page(&text).unwrap_or_else(|error| panic!("{address}: {error}"));
        for (name, family) in &page {
            check(address, name, family);
            if family.kind == "histogram" {
                check_histogram(name, family);
            }
        }
        pages.push(page);
    }
    for page in &pages[6..] {
        let of_servers = |name: &String| by(name) != From::All;
        assert!(
            !page.keys().any(of_servers),
            "{:?} on a gateway",
            page.keys()
        );
    }
    until("all that is documented is given", WITHIN, async || {
        let pages: Result<Vec<Page>, String> =
            addresses.iter().map(|a| read_page(&text(a))).collect();
        let missing = missing(&pages?);
        if missing.is_empty() {
            Ok(())
        } else {
            Err(missing.join(", "))
        }
    })
    .await;
    assert!(sum(&pages, "marram_group_objects", None) >= 7.0);
    assert!(
        sum(&pages, "marram_drive_record_bytes", None) > 7e6,
        "parity counts too"
    );
    let put = Some(("method", "PutObject"));
    assert!(sum(&pages, "marram_api_received_bytes_total", put) > 7e6);
    let dropped = sum(&pages, "marram_metrics_dropped_samples", None);
    assert!(dropped.abs() < 0.5, "{dropped} samples were left out");
    until("each group is led by one server", WITHIN, async || {
        let pages: Result<Vec<Page>, String> =
            addresses.iter().map(|a| read_page(&text(a))).collect();
        match sum(&pages?, "marram_raft_role", Some(("role", "leader"))) {
            9.0 => Ok(()),
            led => Err(format!("{led} of 9 groups are led")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openmetrics_comes_to_whom_it_is_known() {
    let cluster = Shared::cluster();
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let (status, page) = http_get(&addresses(&cluster)[0], "/metrics", accept).expect("answered");
    assert!(status == 200 && page.ends_with("\n# EOF\n"), "{page}");
    assert!(
        page.contains("# UNIT process_cpu_seconds seconds\n"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_is_alive_and_ready_and_says_why() {
    let cluster = Shared::cluster();
    cluster.healthy().await;
    let addresses = addresses(&cluster);
    for (address, server) in addresses.iter().zip(1..) {
        assert_eq!(
            http_get(address, "/livez", ""),
            Ok((200, "alive\n".to_owned()))
        );
        until("it is ready", WITHIN, async || {
            match http_get(address, "/readyz", "")? {
                (200, _) => Ok(()),
                (_, says) => Err(says),
            }
        })
        .await;
        let (_, says) = http_get(address, "/readyz?verbose", "").expect("answered");
        let groups = "[+] groups: a majority of 8 of 8 object groups answers this process\n";
        assert!(
            says.contains("[+] member: ") && says.contains(groups),
            "{says}"
        );
        let mut health = HealthClient::new(Raw::connect(&cluster, server).await.channel);
        let request = HealthCheckRequest::default();
        let answer = health.check(request).await.expect("answered").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let status = cluster.client().cluster_status().await.expect("answered");
    let said: Vec<&str> = status
        .nodes
        .iter()
        .map(|n| n.metrics_address.as_str())
        .collect();
    assert_eq!(
        said.iter().collect::<BTreeSet<_>>(),
        addresses[..6]
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .iter()
            .collect()
    );
    for node in &status.nodes {
        assert!(node.not_ready.is_empty(), "{node:?}");
    }
    // The gateway says of itself how it is, once it is ready and asks for the view again.
    until("the gateway is heard", WITHIN, async || {
        let status = cluster.client().cluster_status().await;
        let status = status.map_err(|error| error.to_string())?;
        match &status.gateways[..] {
            [one] if one.not_ready.is_empty() && one.metrics_address == addresses[6] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
