//! What is recorded, in a process that records, and what becomes of it.

use std::sync::Mutex;

use marram_trace::{
    Context, Instrument, Kind, MILLION, OwnSpans, QUEUED_SPANS_MAX, Recorder, Sampling, Spans,
    Step, Value, begin, begin_call, begin_under, counts, current, fail, record, start,
};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// One process has one sink: its tests take turns.
static SPANS: Mutex<Option<Spans>> = Mutex::new(None);

fn with_spans(test: impl FnOnce(&mut Spans)) {
    let mut held = SPANS
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let spans = held.get_or_insert_with(|| {
        assert!(current().is_none(), "nothing is recorded before the start");
        tracing_subscriber::registry()
            .with(Recorder.with_filter(OwnSpans))
            .init();
        let spans = start(Sampling { per_million: 0 }).expect("the first start");
        assert!(
            start(Sampling {
                per_million: MILLION
            })
            .is_none()
        );
        spans
    });
    test(spans);
}

fn taken(spans: &mut Spans) -> Vec<marram_trace::Finished> {
    let mut all = Vec::new();
    spans.more(&mut all, usize::MAX);
    all
}

#[test]
fn a_call_that_was_asked_for_is_recorded_with_its_steps() {
    with_spans(|spans| {
        let asked = Context::new_trace(true).with_state(Some("other=1"));
        let call = begin_call("ObjectService/PutObject", Some(&asked));
        call.in_scope(|| {
            let inner = begin(|| Step::of(Kind::Client, "mesh WriteRun").with("node", 3_u64));
            let told = inner.in_scope(current).expect("it is recorded");
            assert_eq!(
                (told.trace, told.state.as_deref()),
                (asked.trace, Some("other=1"))
            );
            let theirs = begin_under(&told, Step::new("drive write"));
            record(&theirs, "bytes", 10_usize);
            fail(&theirs, "the drive is full");
        });
        drop(call);
        let all = taken(spans);
        let names: Vec<&str> = all.iter().map(|span| &*span.name).collect();
        assert_eq!(
            names,
            ["drive write", "mesh WriteRun", "ObjectService/PutObject"]
        );
        let [drive, mesh, call] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!(call.parent, Some(asked.span));
        assert_eq!(mesh.parent, Some(call.context.span));
        assert_eq!(drive.parent, Some(mesh.context.span));
        assert_eq!(drive.failed.as_deref(), Some("the drive is full"));
        assert_eq!(drive.attributes, [("bytes", Value::Number(10))]);
        assert_eq!(
            (call.kind, mesh.kind, drive.kind),
            (Kind::Server, Kind::Client, Kind::Internal)
        );
        assert!(call.began <= mesh.began && mesh.ended <= call.ended);
    });
}

#[test]
fn a_call_that_nobody_asked_for_is_not() {
    with_spans(|spans| {
        let call = begin_call("ObjectService/GetObject", None);
        call.in_scope(|| {
            assert!(current().is_none());
            let step = begin(|| panic!("nobody asks what it would be"));
            assert!(step.is_none());
        });
        let unsampled = Context::new_trace(false);
        assert!(begin_under(&unsampled, Step::new("x")).is_none());
        drop((call, begin_call("a", Some(&unsampled))));
        assert!(taken(spans).is_empty());
    });
}

#[test]
fn steps_follow_futures_to_other_threads() {
    with_spans(|spans| {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let asked = Context::new_trace(true);
        let call = begin_call("ObjectService/GetObject", Some(&asked));
        let work = async {
            let step = async {
                tokio::task::yield_now().await;
                current().map(|context| context.trace)
            };
            let spawned = tokio::spawn(step.in_current_span());
            spawned.await.expect("it ran")
        };
        assert_eq!(runtime.block_on(work.instrument(call)), Some(asked.trace));
        assert_eq!(taken(spans).len(), 1);
    });
}

#[test]
fn what_does_not_fit_is_counted_and_nobody_waits() {
    with_spans(|spans| {
        let asked = Context::new_trace(true);
        let before = counts().dropped;
        for _ in 0..QUEUED_SPANS_MAX + 7 {
            drop(begin_under(&asked, Step::new("x")));
        }
        assert_eq!(counts().dropped - before, 7);
        assert_eq!(taken(spans).len(), QUEUED_SPANS_MAX);
    });
}
