//! Clusters of real processes, each test with one of its own. All are in one binary, so that some of
//! them can run at the same time. A test that measures time or memory takes the machine for itself ([`marram_cluster_tests::alone`]).
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

/// Processes that die in the middle of what they do: the work goes on elsewhere, nothing is lost
/// and nothing stays behind.
mod crashes {
    mod duties;
    mod joins;
    mod moves;
}

/// Random faults while the cluster is used, grown and shrunk.
mod faults {
    mod in_trouble;
}

/// Nodes come and go while the cluster is in use.
mod growth {
    mod one_by_one;
    mod there_and_back;
}

/// Who belongs to a cluster: founding, joining by tokens, certificates, the CA.
mod identity {
    mod api_tls;
    mod founding;
    mod joining;
    mod renewal;
    mod rotation;
}

/// Nodes that die, return, are excused and are stopped in order.
mod liveness {
    mod clocks;
    mod cut_off;
    mod dead_node;
    mod planned_stop;
    mod rolling;
    mod slow;
}

/// Limits that must hold: full drives, space that comes back, memory for one large object and for strange messages.
mod limits {
    mod events;
    mod full;
    mod memory;
    mod strange;
}

/// What was acknowledged survives: any two nodes lost, all of them killed in mid-write, shards
/// damaged, a node that stands still.
mod losses {
    mod crash;
    mod every_pair;
    mod flipped_bits;
    mod leader;
    mod paused;
    mod streams;
    mod unreadable;
    mod watched;
}

/// Calls that race through two gateways while random nodes are killed, paused and cut off.
mod races {
    mod buckets;
    mod copies;
    mod counters;
    mod expiry;
    mod kit;
    mod multipart;
    mod quota;
}

/// Objects are encoded anew: widened, narrowed, given another profile.
mod reencode {
    mod fewer_nodes;
    mod many_drives;
    mod own_profiles;
    mod profile;
    mod settle;
    mod widen;
}

/// Clusters of other sizes, starts that must fail with a clear error, stops that leave nothing.
mod startup {
    mod growing;
    mod refused;
    mod small;
    mod stopping;
}

/// What nodes do for their own drives: scrubs, drives that come, go and fail, garbage that is
/// paused.
mod upkeep {
    mod capacity;
    mod compaction;
    mod drives;
    mod garbage;
    mod kit;
    mod scrub;
    mod twice;
}

/// Ways back: logs that are gone or damaged, backups, restores, lost majorities.
mod wayback {
    mod lost_log;
    mod majority;
    mod moved;
    mod newer;
    mod restore;
    mod support;
}
