//! What measuring costs a request, and what a scrape costs a process.

use std::hint::black_box;
use std::time::Duration;

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use marram_metrics::catalogue::{self, API_CALL_DURATION, Kind};
use marram_metrics::{Calls, Format, Histogram, Sheet, Source, Sources};

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
}

/// Every family with as many series as it may have.
struct Everything;

#[async_trait]
impl Source for Everything {
    async fn collect(&self, sheet: &mut Sheet) {
        for family in catalogue::families() {
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
    most.add(std::sync::Arc::new(Everything));
    for (name, sources) in [
        ("of sixty methods", usual),
        ("of all series there may be", most),
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
