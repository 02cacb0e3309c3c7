//! What happens to calls of the API: how many, how long, how large, with which result.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::Source;
use crate::catalogue::{
    API_ANSWER_BEGAN, API_CALL_DURATION, API_CALLS, API_CALLS_RUNNING, API_OBJECT, API_PHASE,
    API_RECEIVED, API_SENT, CACHE_HITS, CACHE_MISSES, QUOTA_ROOM, READ_HEDGES, READ_HEDGES_WON,
};
use crate::histogram::Histogram;
use crate::sheet::Sheet;

/// The gRPC codes by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const OK: usize = 0;
const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;
/// What stands for the methods that there are not.
const OTHER: &str = "other";

/// The calls of one process.
#[derive(Debug)]
pub struct Calls {
    /// By the path of the request, `/package.Service/Method`.
    methods: HashMap<Box<str>, Arc<Method>>,
    /// Whatever else is asked for: a caller cannot make series by asking for new names.
    other: Arc<Method>,
    put: Histogram,
    got: Histogram,
    phases: [Histogram; PHASES.len()],
    hedges: AtomicU64,
    hedges_won: AtomicU64,
    quota: [AtomicU64; QUOTA_FOUND.len()],
    begins_known: AtomicU64,
    begins_asked: AtomicU64,
}

/// What is found for a write that does not fit into its group's part of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaFound {
    /// More of the quota that no group had.
    Free,
    /// What other groups gave back.
    Reclaimed,
    /// Nothing yet.
    Later,
    /// All of it is used.
    Full,
}

/// In the order of [`QuotaFound`].
const QUOTA_FOUND: [&str; 4] = ["free", "reclaimed", "later", "full"];

/// A part of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Who asks, and what it may.
    Auth,
    /// From where on a write's data counts.
    Begin,
    /// A window is encoded.
    Encode,
    /// A drive makes a shard of a window durable.
    Drive,
    /// The entry that makes a write visible.
    Commit,
}

/// In the order of [`Phase`].
const PHASES: [&str; 5] = ["auth", "begin", "encode", "drive", "commit"];

/// One method.
#[derive(Debug)]
pub struct Method {
    service: Box<str>,
    name: Box<str>,
    full_name: Box<str>,
    running: AtomicU64,
    ended: [AtomicU64; CODES.len()],
    began: Histogram,
    took: Histogram,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Calls {
    /// Counts the calls of these methods, each given as its request's path, `/package.Service/Method`.
    pub fn new<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Self {
        let method = |path: P| {
            let path = path.as_ref();
            let (service, name) = path.trim_start_matches('/').split_once('/')?;
            let service = service.rsplit('.').next().unwrap_or(service);
            Some((Box::from(path), Arc::new(Method::new(service, name))))
        };
        Self {
            methods: paths.into_iter().filter_map(method).collect(),
            other: Arc::new(Method::new(OTHER, OTHER)),
            put: Histogram::of(&API_OBJECT),
            got: Histogram::of(&API_OBJECT),
            phases: std::array::from_fn(|_| Histogram::of(&API_PHASE)),
            hedges: AtomicU64::new(0),
            hedges_won: AtomicU64::new(0),
            quota: Default::default(),
            begins_known: AtomicU64::new(0),
            begins_asked: AtomicU64::new(0),
        }
    }

    /// A call begins.
    #[must_use]
    pub fn begin(&self, path: &str) -> Call {
        let method = Arc::clone(self.methods.get(path).unwrap_or(&self.other));
        method.running.fetch_add(1, Ordering::Relaxed);
        Call {
            method,
            since: Instant::now(),
            code: CANCELLED,
            trace: None,
        }
    }

    /// A part of a call took so long.
    pub fn phase(&self, phase: Phase, took: Duration) {
        self.phases[phase as usize].observe_time(took);
    }

    /// A write did not fit into its group's part of a quota, and this was found.
    pub fn quota_room(&self, found: QuotaFound) {
        self.quota[found as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often this was found.
    #[must_use]
    pub fn quota_rooms(&self, found: QuotaFound) -> u64 {
        self.quota[found as usize].load(Ordering::Relaxed)
    }

    /// So many parts of shards are asked beside late ones.
    pub fn hedged(&self, parts: usize) {
        self.hedges.fetch_add(parts as u64, Ordering::Relaxed);
    }

    /// From where on the data of a write counts was known already, or had to be asked for.
    pub fn begin_was_known(&self, known: bool) {
        let count = match known {
            true => &self.begins_known,
            false => &self.begins_asked,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// So many of them came before those.
    pub fn hedges_won(&self, parts: usize) {
        self.hedges_won.fetch_add(parts as u64, Ordering::Relaxed);
    }

    /// How many were asked, and how many of them came before the late ones.
    #[must_use]
    pub fn hedges(&self) -> (u64, u64) {
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (count(&self.hedges), count(&self.hedges_won))
    }

    /// An object of so many bytes was put.
    pub fn put(&self, bytes: u64) {
        self.put.observe(bytes);
    }

    /// So many bytes of an object were asked for, and it is there.
    pub fn got(&self, bytes: u64) {
        self.got.observe(bytes);
    }
}

impl Method {
    fn new(service: &str, name: &str) -> Self {
        Self {
            service: service.into(),
            name: name.into(),
            full_name: format!("{service}/{name}").into(),
            running: AtomicU64::new(0),
            ended: std::array::from_fn(|_| AtomicU64::new(0)),
            began: Histogram::of(&API_ANSWER_BEGAN),
            took: Histogram::of(&API_CALL_DURATION),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }
    }

    /// Service and method, such as `ObjectService/PutObject`; never what a caller made up.
    #[must_use]
    pub fn full_name(&self) -> &str {
        &self.full_name
    }

    /// Bytes of the call's body came.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn write(&self, sheet: &mut Sheet) {
        let labels = [&*self.service, &*self.name];
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        for (code, ended) in CODES.iter().zip(&self.ended) {
            // The good ones are there from the start, so that the first call is an increase.
            if count(ended) > 0 || *code == CODES[OK] {
                sheet.set(&API_CALLS, &[labels[0], labels[1], code], count(ended));
            }
        }
        sheet.set(&API_CALLS_RUNNING, &labels, count(&self.running));
        if self.ended.iter().all(|ended| count(ended) == 0) {
            return;
        }
        sheet.set_histogram(&API_ANSWER_BEGAN, &labels, &self.began);
        sheet.set_histogram(&API_CALL_DURATION, &labels, &self.took);
        sheet.set(&API_RECEIVED, &labels, count(&self.received));
        sheet.set(&API_SENT, &labels, count(&self.sent));
    }
}

/// A call that runs. It ends when this is dropped.
#[derive(Debug)]
pub struct Call {
    method: Arc<Method>,
    since: Instant,
    code: usize,
    /// The trace that is recorded of it.
    trace: Option<u128>,
}

impl Call {
    /// The method, for the bytes of its body.
    #[must_use]
    pub fn method(&self) -> &Arc<Method> {
        &self.method
    }

    /// A trace of this id is recorded of it: whoever looks at slow calls finds it.
    pub fn traced(&mut self, trace: Option<u128>) {
        self.trace = trace;
    }

    /// The answer begins.
    pub fn began(&self) {
        self.observe(&self.method.began);
    }

    fn observe(&self, histogram: &Histogram) {
        match self.trace {
            Some(trace) => histogram.observe_traced(self.since.elapsed(), trace),
            None => histogram.observe_time(self.since.elapsed()),
        }
    }

    /// Bytes of the answer's body go.
    pub fn sent(&self, bytes: usize) {
        self.method.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The answer carries this gRPC code. Without one the caller went away.
    pub fn code(&mut self, code: i32) {
        let known = usize::try_from(code).ok().filter(|at| *at < CODES.len());
        self.code = known.unwrap_or(UNKNOWN);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.method.running.fetch_sub(1, Ordering::Relaxed);
        self.method.ended[self.code].fetch_add(1, Ordering::Relaxed);
        self.observe(&self.method.took);
    }
}

#[async_trait]
impl Source for Calls {
    async fn collect(&self, sheet: &mut Sheet) {
        let mut methods: Vec<&Arc<Method>> = self.methods.values().collect();
        methods.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name)));
        for method in methods.into_iter().chain([&self.other]) {
            method.write(sheet);
        }
        sheet.set_histogram(&API_OBJECT, &["put"], &self.put);
        sheet.set_histogram(&API_OBJECT, &["get"], &self.got);
        let (hedges, won) = self.hedges();
        sheet.set(&READ_HEDGES, &[], hedges);
        sheet.set(&READ_HEDGES_WON, &[], won);
        for (found, count) in QUOTA_FOUND.iter().zip(&self.quota) {
            sheet.set(&QUOTA_ROOM, &[found], count.load(Ordering::Relaxed));
        }
        let begins = ["begin"];
        sheet.set(
            &CACHE_HITS,
            &begins,
            self.begins_known.load(Ordering::Relaxed),
        );
        sheet.set(
            &CACHE_MISSES,
            &begins,
            self.begins_asked.load(Ordering::Relaxed),
        );
        for (name, phase) in PHASES.iter().zip(&self.phases) {
            sheet.set_histogram(&API_PHASE, &[name], phase);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Format, write};

    async fn page(calls: &Calls) -> String {
        let mut sheet = Sheet::default();
        calls.collect(&mut sheet).await;
        write(sheet, Format::Prometheus).expect("written")
    }

    #[tokio::test]
    async fn each_call_is_counted_once_with_its_code() {
        let calls = Calls::new(["/marram.v1.ObjectService/PutObject"]);
        let mut good = calls.begin("/marram.v1.ObjectService/PutObject");
        good.method().received(1000);
        good.began();
        good.sent(10);
        good.code(0);
        let gone = calls.begin("/marram.v1.ObjectService/PutObject");
        let running = page(&calls).await;
        let labels = "service=\"ObjectService\",method=\"PutObject\"";
        assert!(
            running.contains(&format!("marram_api_calls_running{{{labels}}} 2\n")),
            "{running}"
        );
        drop(good);
        drop(gone);
        for path in ["/a.B/C", "/d.E/F", "no path at all"] {
            let mut odd = calls.begin(path);
            odd.code(if path == "/a.B/C" { 12 } else { 99 });
        }
        let page = page(&calls).await;
        for line in [
            format!("marram_api_calls_total{{{labels},code=\"OK\"}} 1"),
            format!("marram_api_calls_total{{{labels},code=\"CANCELLED\"}} 1"),
            format!("marram_api_calls_running{{{labels}}} 0"),
            format!("marram_api_answer_began_seconds_count{{{labels}}} 1"),
            format!("marram_api_call_duration_seconds_count{{{labels}}} 2"),
            format!("marram_api_received_bytes_total{{{labels}}} 1000"),
            format!("marram_api_sent_bytes_total{{{labels}}} 10"),
            "marram_api_calls_total{service=\"other\",method=\"other\",code=\"UNIMPLEMENTED\"} 1"
                .to_owned(),
            "marram_api_calls_total{service=\"other\",method=\"other\",code=\"UNKNOWN\"} 2"
                .to_owned(),
        ] {
            assert!(page.contains(&format!("{line}\n")), "{line}\n{page}");
        }
    }
}
