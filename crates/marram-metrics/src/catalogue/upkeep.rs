//! What a server does for its own drives and replicas in the background.

use super::labels::{ACTION, DRIVE, FINDING, GROUP, WORK};
use super::{Family, From, Kind, Label, Unit};

const fn gauge(
    name: &'static str,
    unit: Unit,
    labels: &'static [Label],
    help: &'static str,
) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        unit,
        labels,
        from: From::Servers,
        help,
    }
}

/// What the scrub found.
pub const SCRUB_FOUND: Family = gauge(
    "marram_scrub_found_runs",
    Unit::None,
    &[DRIVE, FINDING],
    "Runs that the last whole pass of the scrub and the one under way found not to be what was \
     written; they are repaired",
);
/// What it has read.
pub const SCRUB_READ: Family = gauge(
    "marram_scrub_read_bytes",
    Unit::Bytes,
    &[DRIVE],
    "Bytes that the pass of the scrub under way has read of the drive; 0 between passes",
);
/// When it ended.
pub const SCRUB_ENDED: Family = gauge(
    "marram_scrub_last_pass_end_seconds",
    Unit::Seconds,
    &[DRIVE],
    "When the last whole pass of the scrub over the drive ended, in seconds since 1970; 0 before the \
     first",
);
/// Whether it goes on.
pub const SCRUB_STUCK: Family = gauge(
    "marram_scrub_stuck",
    Unit::None,
    &[DRIVE],
    "1 while the scrub of the drive could not take its last step and tries again, else 0",
);
/// Scans.
pub const GARBAGE_SCANS: Family = Family {
    name: "marram_garbage_scans_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[],
    from: From::Servers,
    help: "Searches of this server's drives for data that belongs to nobody",
};
/// What the last one removed.
pub const GARBAGE_REMOVED: Family = gauge(
    "marram_garbage_scan_removed_shards",
    Unit::None,
    &[],
    "Shards that belonged to nobody and were removed by the last search",
);
/// What waits.
pub const GARBAGE_WAITING: Family = gauge(
    "marram_garbage_scan_waiting_shards",
    Unit::None,
    &[],
    "Shards that nobody referred to at the last search and that have to wait, because they may still \
     be committed or read",
);
/// What went by rules.
pub const LIFECYCLE_EXPIRED: Family = Family {
    name: "marram_lifecycle_expired_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[ACTION],
    from: From::Servers,
    help: "Versions, delete markers and uploads that went by the rules of their buckets, in groups that \
           this server led",
};
/// How large it was.
pub const LIFECYCLE_EXPIRED_SIZE: Family = Family {
    name: "marram_lifecycle_expired_bytes_total",
    kind: Kind::Counter,
    unit: Unit::Bytes,
    labels: &[],
    from: From::Servers,
    help: "Bytes of them; those of an object that is only hidden by a delete marker count too",
};
/// When it was looked for last.
pub const LIFECYCLE_WALKED: Family = gauge(
    "marram_lifecycle_last_walk_end_seconds",
    Unit::Seconds,
    &[GROUP],
    "When the last walk ended through all that a group, which this server leads, has of buckets with \
     rules, in seconds since 1970; 0 before the first. A walk begins every hour",
);
/// Replicas that differ.
pub const REPLICAS_DIFFERENT: Family = gauge(
    "marram_raft_replicas_different",
    Unit::None,
    &[],
    "Replicas that did not hold the same as this server's at the last comparison, in all groups that \
     it compared: always 0",
);
/// What is paused.
pub const PAUSED: Family = Family {
    name: "marram_cluster_paused",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[WORK],
    from: From::All,
    help: "1 while an operator has paused this work in the whole cluster, else 0",
};

pub(super) const UPKEEP: &[&Family] = &[
    &SCRUB_FOUND,
    &SCRUB_READ,
    &SCRUB_ENDED,
    &SCRUB_STUCK,
    &REPLICAS_DIFFERENT,
    &GARBAGE_SCANS,
    &GARBAGE_REMOVED,
    &GARBAGE_WAITING,
    &PAUSED,
    &LIFECYCLE_EXPIRED,
    &LIFECYCLE_EXPIRED_SIZE,
    &LIFECYCLE_WALKED,
];
