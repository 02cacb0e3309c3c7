//! What measuring costs a request, and what a scrape costs a process.

use std::hint::black_box;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use marram_metrics::catalogue::{self, API_CALL_DURATION, Kind};
use marram_metrics::{Calls, Format, Histogram, Phase, Sheet, Source, Sources};

const PATH: &str = "/marram.v1.ObjectService/GetObject";

/// As many methods as the API has, about.
fn calls() -> Calls {
    let others = (0..60).map(|n| format!("/marram.v1.AdminService/Method{n}"));
    Calls::new(others.chain([PATH.to_owned()]))
}

fn request(c: &mut Criterion) {
    let calls = calls();
    c.bench_function("a call with two pieces each way", |b| {
        b.iter(|| {
            let mut call = calls.begin(black_box(PATH));
            for _ in 0..2 {
                call.method().received(black_box(100));
                call.sent(black_box(1 << 20));
            }
            call.began();
            call.code(0);
            calls.got(black_box(2 << 20));
        });
    });
    let times = Histogram::of(&API_CALL_DURATION);
    c.bench_function("an observation", |b| {
        b.iter(|| times.observe_time(black_box(Duration::from_micros(700))));
    });
    // As the layers around disks, peers and proposals do it.
    c.bench_function("an observation and its clock", |b| {
        b.iter(|| {
            let began = black_box(Instant::now());
            times.observe_time(began.elapsed());
        });
    });
    c.bench_function("a phase and its clock", |b| {
        b.iter(|| {
            let began = black_box(Instant::now());
            calls.phase(black_box(Phase::Drive), began.elapsed());
        });
    });
}

/// Every family that has this label, or every one, with as many series as it may have.
struct Everything(Option<&'static str>);

#[async_trait]
impl Source for Everything {
    async fn collect(&self, sheet: &mut Sheet) {
        for family in catalogue::families() {
            let has = |name| family.labels.iter().any(|label| label.name == name);
            if !self.0.is_none_or(has) {
                continue;
            }
            let histogram = match family.kind {
                Kind::Histogram(_) => Some(Histogram::of(family)),
                Kind::Counter | Kind::Gauge => None,
            };
            for n in 0..family.series_max() {
                let value = n.to_string();
                let labels = vec![value.as_str(); family.labels.len()];
                match &histogram {
                    Some(histogram) => sheet.set_histogram(family, &labels, histogram),
                    None => sheet.set(family, &labels, n as u64),
                }
            }
        }
    }
}

fn scrape(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let usual = Sources::default();
    let calls = calls();
    for n in 0..60 {
        calls
            .begin(&format!("/marram.v1.AdminService/Method{n}"))
            .code(0);
    }
    usual.add(std::sync::Arc::new(calls));
    let most = Sources::default();
    most.add(std::sync::Arc::new(Everything(None)));
    // As many as a server may have: sixteen of them have a thousand.
    let drives = Sources::default();
    drives.add(std::sync::Arc::new(Everything(Some("drive"))));
    let buckets = Sources::default();
    buckets.add(std::sync::Arc::new(Everything(Some("bucket"))));
    for (name, sources) in [
        ("of sixty methods", usual),
        ("of all series there may be", most),
        ("of 64 drives alone", drives),
        ("of 500 buckets and the rest alone", buckets),
    ] {
        let page = runtime
            .block_on(sources.scrape(Format::Prometheus))
            .expect("written");
        println!(
            "a scrape {name}: {} lines, {} bytes",
            page.lines().count(),
            page.len()
        );
        c.bench_function(&format!("a scrape {name}"), |b| {
            b.iter(|| runtime.block_on(sources.scrape(Format::Prometheus)));
        });
    }
}

criterion_group!(benches, request, scrape);
criterion_main!(benches);
