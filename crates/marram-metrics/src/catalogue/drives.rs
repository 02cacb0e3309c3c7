//! The drives of a server.

use super::labels::{DRIVE, DRIVE_STATE, RECORD_CLASS};
use super::{Family, From, Kind, Unit};

/// What it could use.
pub const DRIVE_CAPACITY: Family = Family {
    name: "marram_drive_capacity_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[DRIVE],
    from: From::Servers,
    help: "Bytes that Marram could ever use of the drive",
};
/// What is free.
pub const DRIVE_FREE: Family = Family {
    name: "marram_drive_free_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[DRIVE],
    from: From::Servers,
    help: "Bytes of the drive that are free",
};
/// What is held.
pub const DRIVE_RECORDS: Family = Family {
    name: "marram_drive_record_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[DRIVE],
    from: From::Servers,
    help: "Bytes of the shards that the drive holds, with their headers",
};
/// How many runs.
pub const DRIVE_RUNS: Family = Family {
    name: "marram_drive_runs",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[DRIVE],
    from: From::Servers,
    help: "Runs of shards that the drive holds",
};
/// Its state.
pub const DRIVE_STATES: Family = Family {
    name: "marram_drive_state",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[DRIVE, DRIVE_STATE],
    from: From::Servers,
    help: "1 for the state that the drive is in, else 0: a full one takes no new shards, a retired \
           one failed",
};
/// Without a drive.
pub const DRIVE_FOLDERS_WAITING: Family = Family {
    name: "marram_drive_folders_waiting",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[],
    from: From::Servers,
    help: "Data folders of this server in which no drive is open: one that is away, or new",
};

/// What waits.
pub const DRIVE_QUEUED_RUNS: Family = Family {
    name: "marram_drive_queued_runs",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[DRIVE, RECORD_CLASS],
    from: From::Servers,
    help: "Runs of shards that wait for the next sync of the drive to begin",
};
/// Its bytes.
pub const DRIVE_QUEUED: Family = Family {
    name: "marram_drive_queued_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[DRIVE, RECORD_CLASS],
    from: From::Servers,
    help: "Bytes of runs that are not durable yet, those being written included: as large as its queue, \
           the drive cannot keep up",
};
/// Syncs.
pub const DRIVE_SYNCS: Family = Family {
    name: "marram_drive_syncs_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[DRIVE, RECORD_CLASS],
    from: From::Servers,
    help: "Syncs that made runs of shards durable",
};
/// What they made durable.
pub const DRIVE_SYNCED_RUNS: Family = Family {
    name: "marram_drive_synced_runs_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[DRIVE, RECORD_CLASS],
    from: From::Servers,
    help: "Runs that they made durable: divided by their number, how many shared a sync",
};
/// What is not needed any more.
pub const DRIVE_DEAD: Family = Family {
    name: "marram_drive_dead_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[DRIVE],
    from: From::Servers,
    help: "Bytes of packed records that nobody needs any more, kept by what is still needed of their segments",
};
/// Emptied by compaction.
pub const DRIVE_COMPACTED: Family = Family {
    name: "marram_drive_compacted_segments_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[DRIVE],
    from: From::Servers,
    help: "Segments of packed records that compaction emptied",
};
/// What that took.
pub const DRIVE_COPIED: Family = Family {
    name: "marram_drive_copied_bytes_total",
    kind: Kind::Counter,
    unit: Unit::Bytes,
    labels: &[DRIVE],
    from: From::Servers,
    help: "Bytes of packed records that compaction copied out of segments that were mostly dead",
};
/// What it gave back.
pub const DRIVE_RETURNED: Family = Family {
    name: "marram_drive_returned_bytes_total",
    kind: Kind::Counter,
    unit: Unit::Bytes,
    labels: &[DRIVE],
    from: From::Servers,
    help: "Bytes of packed segments that were removed, those that died by themselves included",
};

pub(super) const DRIVES: &[&Family] = &[
    &DRIVE_STATES,
    &DRIVE_FOLDERS_WAITING,
    &DRIVE_CAPACITY,
    &DRIVE_FREE,
    &DRIVE_RECORDS,
    &DRIVE_RUNS,
    &DRIVE_DEAD,
    &DRIVE_COMPACTED,
    &DRIVE_COPIED,
    &DRIVE_RETURNED,
    &DRIVE_QUEUED_RUNS,
    &DRIVE_QUEUED,
    &DRIVE_SYNCS,
    &DRIVE_SYNCED_RUNS,
];
