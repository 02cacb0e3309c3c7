//! What a request pays for spans: when nothing is recorded, when others are, and when it is itself.

use criterion::{Criterion, criterion_group, criterion_main};
use marram_trace::{
    Context, OwnSpans, Recorder, Sampling, Step, begin, begin_call, begin_under, current, start,
};
use std::hint::black_box;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn cost(c: &mut Criterion) {
    tracing_subscriber::registry()
        .with(Recorder.with_filter(OwnSpans))
        .init();
    let method = "ObjectService/PutObject";
    c.bench_function("off: a step", |b| b.iter(|| begin(|| Step::new("x"))));
    c.bench_function("off: the context for a peer", |b| {
        b.iter(|| black_box(current()));
    });
    c.bench_function("off: a call", |b| {
        b.iter(|| begin_call(black_box(method), None));
    });
    let mut spans = start(Sampling { per_million: 0 }).expect("the first start");
    c.bench_function("on, this call is not recorded: the call", |b| {
        b.iter(|| begin_call(black_box(method), None));
    });
    let call = begin_call(method, None);
    call.in_scope(|| {
        c.bench_function("on, this call is not recorded: a step", |b| {
            b.iter(|| begin(|| Step::new("x")));
        });
    });
    let asked = Context::new_trace(true);
    let above = begin_under(&asked, Step::new("above"));
    above.in_scope(|| {
        c.bench_function("recorded: a step, taken away", |b| {
            b.iter(|| {
                drop(begin(|| Step::new("x").with("drive", 7_u64)));
                let mut taken = Vec::new();
                spans.more(&mut taken, 1);
                taken
            });
        });
    });
}

criterion_group!(benches, cost);
criterion_main!(benches);
