//! What the operating system is asked to do with the files of a server, and how long it takes.

use super::labels::{DISK, DISK_OPERATION};
use super::{Family, From, Kind, Unit};

/// From the page cache to a disk that is about to fail.
pub(crate) const OPERATION_SECONDS: &[f64] = &[
    0.000_025, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5,
];

/// How long operations take.
pub const DISK_OPERATION_DURATION: Family = Family {
    name: "marram_disk_operation_seconds",
    kind: Kind::Histogram(OPERATION_SECONDS),
    unit: Unit::Seconds,
    labels: &[DISK, DISK_OPERATION],
    from: From::Servers,
    help: "Time of each operation on files; reads may be answered by the page cache",
};
/// Bytes.
pub const DISK_BYTES: Family = Family {
    name: "marram_disk_bytes_total",
    kind: Kind::Counter,
    unit: Unit::Bytes,
    labels: &[DISK, DISK_OPERATION],
    from: From::Servers,
    help: "Bytes that were read and written",
};
/// Errors.
pub const DISK_ERRORS: Family = Family {
    name: "marram_disk_errors_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[DISK, DISK_OPERATION],
    from: From::Servers,
    help: "Operations that the operating system refused or failed; one of a sync retires the drive, \
           or ends the process if it is that of the metadata",
};

pub(super) const DISKS: &[&Family] = &[&DISK_OPERATION_DURATION, &DISK_BYTES, &DISK_ERRORS];
