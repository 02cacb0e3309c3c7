//! The process itself. Names that begin with `process_` are those of all Prometheus clients.

use super::labels::{KIND, PROFILE, RUNTIME, SPAN_FATE, VERSION};
use super::{Family, From, Kind, Label, Unit};

const fn one(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [Label],
    help: &'static str,
) -> Family {
    Family {
        name,
        kind,
        unit,
        labels,
        from: From::All,
        help,
    }
}

/// The build.
pub const BUILD_INFO: Family = one(
    "marram_build_info",
    Kind::Gauge,
    Unit::None,
    &[VERSION, PROFILE, KIND],
    "Always 1; which release runs, and as what",
);
/// Processor time.
pub const PROCESS_CPU: Family = one(
    "process_cpu_seconds_total",
    Kind::Counter,
    Unit::Seconds,
    &[],
    "Processor time that the process has used",
);
/// Memory.
pub const PROCESS_RESIDENT: Family = one(
    "process_resident_memory_bytes",
    Kind::Gauge,
    Unit::Bytes,
    &[],
    "Memory of the process that is in RAM",
);
/// Address space.
pub const PROCESS_VIRTUAL: Family = one(
    "process_virtual_memory_bytes",
    Kind::Gauge,
    Unit::Bytes,
    &[],
    "Address space of the process",
);
/// File descriptors.
pub const PROCESS_OPEN_FDS: Family = one(
    "process_open_fds",
    Kind::Gauge,
    Unit::None,
    &[],
    "Open files and sockets",
);
/// Their limit.
pub const PROCESS_MAX_FDS: Family = one(
    "process_max_fds",
    Kind::Gauge,
    Unit::None,
    &[],
    "Files and sockets that may be open",
);
/// Threads.
pub const PROCESS_THREADS: Family = one(
    "process_threads",
    Kind::Gauge,
    Unit::None,
    &[],
    "Threads of the process",
);
/// Its start.
pub const PROCESS_START: Family = one(
    "process_start_time_seconds",
    Kind::Gauge,
    Unit::Seconds,
    &[],
    "When the process started, in seconds since 1970",
);
/// Workers.
pub const RUNTIME_WORKERS: Family = one(
    "marram_runtime_workers",
    Kind::Gauge,
    Unit::None,
    &[RUNTIME],
    "Worker threads of the runtime",
);
/// Busy.
pub const RUNTIME_BUSY: Family = one(
    "marram_runtime_busy_seconds_total",
    Kind::Counter,
    Unit::Seconds,
    &[RUNTIME],
    "Time that the workers were not idle: all of them are busy when it grows by their number each \
     second",
);
/// Tasks.
pub const RUNTIME_TASKS: Family = one(
    "marram_runtime_tasks",
    Kind::Gauge,
    Unit::None,
    &[RUNTIME],
    "Tasks of the runtime that have not ended",
);
/// Queue.
pub const RUNTIME_QUEUED: Family = one(
    "marram_runtime_queued_tasks",
    Kind::Gauge,
    Unit::None,
    &[RUNTIME],
    "Tasks that wait for any worker of the runtime",
);
/// From what timers are off by themselves to what applications notice.
pub(crate) const LAG_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];
/// Lateness.
pub const RUNTIME_LAG: Family = one(
    "marram_runtime_lag_seconds",
    Kind::Histogram(LAG_SECONDS),
    Unit::Seconds,
    &[RUNTIME],
    "How late a task of the runtime runs that wants to four times a second: more than some milliseconds says \
     that there are too few processors, or that something keeps the workers",
);
/// Spans of traces.
pub const TRACE_SPANS: Family = one(
    "marram_trace_spans_total",
    Kind::Counter,
    Unit::None,
    &[SPAN_FATE],
    "Recorded spans of traces, by what became of them",
);
/// What the last scrape cost.
pub const SCRAPE_DURATION: Family = one(
    "marram_metrics_scrape_seconds",
    Kind::Gauge,
    Unit::Seconds,
    &[],
    "How long this process took to answer the scrape before this one",
);
/// What could not be given.
pub const SCRAPE_DROPPED: Family = one(
    "marram_metrics_dropped_samples",
    Kind::Gauge,
    Unit::None,
    &[],
    "Samples of this scrape that were left out because a family had too many",
);
/// Who did not answer.
pub const SCRAPE_SOURCES_LATE: Family = one(
    "marram_metrics_late_sources",
    Kind::Gauge,
    Unit::None,
    &[],
    "Parts of this process that did not answer this scrape in time, or failed: their samples are not in it",
);

pub(super) const PROCESS: &[&Family] = &[
    &BUILD_INFO,
    &PROCESS_START,
    &PROCESS_CPU,
    &PROCESS_RESIDENT,
    &PROCESS_VIRTUAL,
    &PROCESS_OPEN_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_THREADS,
    &RUNTIME_WORKERS,
    &RUNTIME_BUSY,
    &RUNTIME_TASKS,
    &RUNTIME_QUEUED,
    &RUNTIME_LAG,
    &TRACE_SPANS,
    &SCRAPE_DURATION,
    &SCRAPE_DROPPED,
    &SCRAPE_SOURCES_LATE,
];
