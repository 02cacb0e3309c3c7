//! What is kept in memory because it is asked for again.

use super::labels::CACHE;
use super::{Family, From, Kind, Unit};

/// What was there.
pub const CACHE_HITS: Family = Family {
    name: "marram_cache_hits_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[CACHE],
    from: From::All,
    help: "How often something was in a cache",
};
/// What was not.
pub const CACHE_MISSES: Family = Family {
    name: "marram_cache_misses_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[CACHE],
    from: From::All,
    help: "How often something was not in a cache, and had to be asked for or read",
};
/// What they take.
pub const CACHE_SIZE: Family = Family {
    name: "marram_cache_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[CACHE],
    from: From::Servers,
    help: "Memory that a cache takes, where it has a limit in bytes",
};

pub(super) const CACHES: &[&Family] = &[&CACHE_HITS, &CACHE_MISSES, &CACHE_SIZE];
