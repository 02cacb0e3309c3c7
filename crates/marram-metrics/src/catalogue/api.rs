//! Calls that applications make.

use super::labels::{CODE, DIRECTION, METHOD, PHASE, QUOTA_RESULT, SERVICE, WATCH_END};
use super::{Family, From, Kind, Unit};

/// From a tenth of what a local read takes to what a client waits at most.
pub(crate) const CALL_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];
/// Around the bounds of the classes (4 KiB, 128 KiB) and of direct reads (8 MiB).
pub(crate) const OBJECT_BYTES: &[f64] = &[
    4096.0,
    32_768.0,
    131_072.0,
    1_048_576.0,
    8_388_608.0,
    67_108_864.0,
    536_870_912.0,
    4_294_967_296.0,
];

/// From a signature that is checked to a drive that is about to fail.
pub(crate) const PHASE_SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];

/// Calls that ended.
pub const API_CALLS: Family = Family {
    name: "marram_api_calls_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[SERVICE, METHOD, CODE],
    from: From::All,
    help: "Calls of the API that ended, by the code that the caller got; \
           a caller that went away counts as CANCELLED",
};
/// Calls that run.
pub const API_CALLS_RUNNING: Family = Family {
    name: "marram_api_calls_running",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[SERVICE, METHOD],
    from: From::All,
    help: "Calls of the API that run now",
};
/// Until the answer begins.
pub const API_ANSWER_BEGAN: Family = Family {
    name: "marram_api_answer_began_seconds",
    kind: Kind::Histogram(CALL_SECONDS),
    unit: Unit::Seconds,
    labels: &[SERVICE, METHOD],
    from: From::All,
    help: "Time from a call's arrival to the beginning of its answer: for reads of objects how long \
           the first byte took, whatever the size",
};
/// Until the answer ends.
pub const API_CALL_DURATION: Family = Family {
    name: "marram_api_call_duration_seconds",
    kind: Kind::Histogram(CALL_SECONDS),
    unit: Unit::Seconds,
    labels: &[SERVICE, METHOD],
    from: From::All,
    help: "Time from a call's arrival to the end of its answer, which for large objects depends on \
           their size and on the caller's speed",
};
/// Parts of shards that were asked beside late ones.
pub const READ_HEDGES: Family = Family {
    name: "marram_read_hedges_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Parts of shards that reads asked of further nodes because those asked first dawdled",
};
/// Those of them that were needed.
pub const READ_HEDGES_WON: Family = Family {
    name: "marram_read_hedges_won_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Those of them that came while the ones asked first were still awaited: the read went on without \
           these",
};
/// Bytes in.
pub const API_RECEIVED: Family = Family {
    name: "marram_api_received_bytes_total",
    kind: Kind::Counter,
    unit: Unit::Bytes,
    labels: &[SERVICE, METHOD],
    from: From::All,
    help: "Bytes of the bodies of calls",
};
/// Bytes out.
pub const API_SENT: Family = Family {
    name: "marram_api_sent_bytes_total",
    kind: Kind::Counter,
    unit: Unit::Bytes,
    labels: &[SERVICE, METHOD],
    from: From::All,
    help: "Bytes of the bodies of answers",
};
/// Sizes of objects.
pub const API_OBJECT: Family = Family {
    name: "marram_api_object_bytes",
    kind: Kind::Histogram(OBJECT_BYTES),
    unit: Unit::Bytes,
    labels: &[DIRECTION],
    from: From::All,
    help: "Sizes of objects that were put, and of what was asked for of objects that were got",
};
/// Open connections.
pub const API_CONNECTIONS: Family = Family {
    name: "marram_api_connections",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Connections to the API that are open now, after their TLS handshake",
};
/// Too many.
pub const API_CONNECTIONS_REFUSED: Family = Family {
    name: "marram_api_connections_refused_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Connections to the API that were closed at once, because as many as may be were open: \
           more servers are wanted, or somebody opens them without need",
};
/// Nothing, or nonsense, was said.
pub const API_HANDSHAKES_FAILED: Family = Family {
    name: "marram_api_handshakes_failed_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Connections to the API whose TLS handshake failed, was not done in time, or made room for \
           newer ones",
};

/// Watchers.
pub const WATCHERS: Family = Family {
    name: "marram_watchers",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Those who watch objects through this process now",
};
/// What they were told.
pub const WATCH_EVENTS: Family = Family {
    name: "marram_watch_events_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Events that watchers were told; one that three watch counts three times",
};
/// Of those that are behind.
pub const WATCH_READS: Family = Family {
    name: "marram_watch_reads_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Pages that watchers read from the tables of groups for themselves, because they began at an \
           earlier revision or read too slowly: many of them say that watchers do not keep up",
};
/// Why they stopped.
pub const WATCHES_ENDED: Family = Family {
    name: "marram_watches_ended_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[WATCH_END],
    from: From::All,
    help: "Watches that ended; `compacted` are those that fell behind what groups keep and must list \
           again",
};

/// Parts of quotas.
pub const QUOTA_ROOM: Family = Family {
    name: "marram_quota_room_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[QUOTA_RESULT],
    from: From::All,
    help: "How often a write did not fit into the part of its bucket's quota that its metadata group has, by \
           what was found: more that was `free`, what other groups gave back (`reclaimed`), nothing yet \
           (`later`, the write looks again), or a quota that is used up (`full`). Many of `reclaimed` and \
           `later` are what writing at the edge of a quota costs",
};

/// What calls spend their time with.
pub const API_PHASE: Family = Family {
    name: "marram_api_phase_seconds",
    kind: Kind::Histogram(PHASE_SECONDS),
    unit: Unit::Seconds,
    labels: &[PHASE],
    from: From::All,
    help: "Time of the parts of calls: of every call `auth`, until it is known who asks and what it \
           may; of writes `begin`, until the group says from where on their data counts, `encode`, \
           of each window, `drive`, until one drive has one shard of a window durable, and `commit`, \
           until the metadata group has the entry",
};

pub(super) const API: &[&Family] = &[
    &API_CALLS,
    &API_CALLS_RUNNING,
    &API_ANSWER_BEGAN,
    &API_CALL_DURATION,
    &READ_HEDGES,
    &READ_HEDGES_WON,
    &API_RECEIVED,
    &API_SENT,
    &API_OBJECT,
    &API_PHASE,
    &API_CONNECTIONS,
    &API_CONNECTIONS_REFUSED,
    &API_HANDSHAKES_FAILED,
    &WATCHERS,
    &WATCH_EVENTS,
    &WATCH_READS,
    &WATCHES_ENDED,
    &QUOTA_ROOM,
];
