//! Traces: which call led to what on which node, told to a collector.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use marram_client::{Client, PutBody, PutOptions};
use marram_cluster_tests::{Collected, Shared, http_get, run, until};
use marram_trace::Context;

use super::metrics::addresses;

const BUCKET: &str = "secret-traced-bucket";
const KEY: &str = "secret-traced-key";
const WITHIN: Duration = Duration::from_secs(60);

type Spans = BTreeMap<Vec<u8>, Collected>;

/// A client of the gateway that says which trace its calls belong to.
fn client(cluster: &Shared, trace: &Context) -> Client {
    let mut config = cluster.config();
    config.endpoints = vec![cluster.endpoint(cluster.nodes() + 1).to_owned()];
    config.direct_reads = false;
    config.traceparent = Some(trace.to_string());
    Client::connect(config).expect("valid")
}

fn named<'a>(spans: &'a Spans, name: &'a str) -> impl Iterator<Item = &'a Collected> {
    spans.values().filter(move |it| it.span.name == name)
}

fn numbers(spans: &Spans, name: &str, key: &str) -> BTreeSet<i64> {
    named(spans, name).filter_map(|it| it.number(key)).collect()
}

/// The spans of a trace, as soon as `enough` of them are there.
async fn trace(context: &Context, enough: impl Fn(&Spans) -> bool) -> Spans {
    let collector = Shared::collector();
    let seen = || collector.trace(context.trace.0);
    let whole = async || {
        let spans = seen();
        let names: Vec<&str> = spans.values().map(|it| &*it.span.name).collect();
        enough(&spans)
            .then_some(())
            .ok_or_else(|| format!("{names:?}"))
    };
    until("the trace is complete", WITHIN, whole).await;
    seen()
}

/// Every span hangs on another one, up to the caller's, and lies within no other time than that.
fn check_tree(spans: &Spans, context: &Context) {
    let caller = context.span.0.to_be_bytes();
    for it in spans.values() {
        let span = &it.span;
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        assert!(
            span.parent_span_id == caller || spans.contains_key(&span.parent_span_id),
            "{} of {:?} hangs on nothing",
            span.name,
            it.origin
        );
        let said = format!("{it:?}");
        assert!(!said.contains("secret"), "names are in a trace: {said}");
        assert!(span.status.is_none(), "{said}");
    }
}

#[tokio::test]
async fn a_put_and_a_get_are_seen_from_the_gateway_to_each_drive() {
    let cluster = Shared::cluster();
    let plain = cluster.client();
    plain.create_bucket(BUCKET, None).await.expect("made");

    let put = Context::new_trace(true);
    let body = PutBody::from(vec![7; 1 << 20]);
    client(&cluster, &put)
        .put(BUCKET, KEY, body, PutOptions::default())
        .await
        .expect("put");
    let nodes = usize::from(cluster.nodes());
    let spans = trace(&put, |spans| {
        named(spans, "drive write").count() == nodes
            && named(spans, "raft append").count() >= 2
            && named(spans, "raft log").count() >= 3
            && named(spans, "ObjectService/PutObject").count() == 1
    })
    .await;
    check_tree(&spans, &put);
    let call = named(&spans, "ObjectService/PutObject")
        .next()
        .expect("one");
    assert_eq!(call.origin.0, "marram-gateway");
    assert_eq!(call.span.parent_span_id, put.span.0.to_be_bytes());
    // A shard on a drive of each node, asked for and answered.
    assert_eq!(numbers(&spans, "drive write", "drive").len(), nodes);
    assert_eq!(numbers(&spans, "mesh WriteRun", "node").len(), nodes);
    assert_eq!(named(&spans, "mesh WriteRun").count(), 2 * nodes);
    // The commit: from the gateway to the leader, and from there to other voters, whose logs tell, too.
    assert_eq!(named(&spans, "group propose").count(), 1);
    assert_eq!(named(&spans, "raft propose").count(), 1);
    let logs: BTreeSet<&str> = named(&spans, "raft log").map(|it| &*it.origin.1).collect();
    assert!(logs.len() >= 3, "{logs:?}");

    let get = Context::new_trace(true);
    let got = client(&cluster, &get)
        .get(BUCKET, KEY, None)
        .await
        .expect("got");
    assert_eq!(got.bytes(1 << 20).await.expect("read").len(), 1 << 20);
    let spans = trace(&get, |spans| {
        named(spans, "drive read").count() >= 4
            && named(spans, "group query").count() >= 1
            && named(spans, "ObjectService/GetObject").count() == 1
    })
    .await;
    check_tree(&spans, &get);
    assert!(numbers(&spans, "drive read", "drive").len() >= 4);

    // The gateway's histograms name the trace, to whom asks for OpenMetrics.
    let gateway = &addresses(&cluster)[nodes];
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let (_, page) = http_get(gateway, "/metrics", accept).expect("answered");
    let exemplar = format!("# {{trace_id=\"{:032x}\"}}", get.trace.0);
    let named = |line: &&str| line.contains("method=\"GetObject\"") && line.contains(&exemplar);
    assert!(
        page.lines().filter(named).count() >= 2,
        "{exemplar}\n{page}"
    );
    let (_, plain) = http_get(gateway, "/metrics", "").expect("answered");
    assert!(!plain.contains("trace_id"));
}

#[tokio::test]
async fn what_the_caller_decided_counts_and_its_commands_can_ask() {
    let cluster = Shared::cluster();
    let unwanted = Context::new_trace(false);
    client(&cluster, &unwanted)
        .list_buckets("")
        .await
        .expect("listed");
    let ran = run(&cluster, &["--trace", "ls"]).done();
    let id = ran.err.lines().find_map(|line| line.strip_prefix("trace "));
    let id = u128::from_str_radix(id.expect("it is told"), 16).expect("an id");
    let wanted = Context {
        trace: marram_trace::TraceId(id),
        ..Context::new_trace(true)
    };
    let spans = trace(&wanted, |spans| {
        named(spans, "BucketService/ListBuckets").count() == 1
    })
    .await;
    assert!(!spans.is_empty());
    // It was sent before, so it would have come before.
    assert!(Shared::collector().trace(unwanted.trace.0).is_empty());
}
