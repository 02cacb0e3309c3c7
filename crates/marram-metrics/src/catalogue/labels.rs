//! The labels, and how many values each may have in one process. There is none for what clients
//! choose, such as keys and access keys: there may be any number of those, and their names
//! are nobody's business who may see metrics. Names of buckets are told only where the configuration asks for them
//! and a token is asked of whoever scrapes, and only of the largest ones.

/// A label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Values that one process gives at most.
    pub most: usize,
    /// What the values are.
    pub help: &'static str,
}

pub(super) const SERVICE: Label = Label {
    name: "service",
    // The method says which: it makes no further series.
    most: 1,
    help: "the gRPC service, such as ObjectService",
};
pub(super) const METHOD: Label = Label {
    name: "method",
    most: 160,
    help: "the method, such as PutObject; `other` for what is no method",
};
pub(super) const CODE: Label = Label {
    name: "code",
    most: 17,
    help: "the gRPC code, such as OK or UNAVAILABLE",
};
pub(super) const DIRECTION: Label = Label {
    name: "direction",
    most: 2,
    help: "`put` or `get`",
};
pub(super) const PHASE: Label = Label {
    name: "phase",
    most: 5,
    help: "`auth`, `begin`, `encode`, `drive` or `commit`",
};
pub(super) const WATCH_END: Label = Label {
    name: "reason",
    most: 6,
    help: "`left`, `moved`, `denied`, `compacted`, `bucket` or `failed`",
};
pub(super) const QUOTA_RESULT: Label = Label {
    name: "found",
    most: 4,
    help: "`free`, `reclaimed`, `later` or `full`",
};
pub(super) const BUCKET: Label = Label {
    name: "bucket",
    // The setting's limit, and one for the rest.
    most: 501,
    help: "the name of one of the buckets that hold most; `(rest)` for all others together",
};
pub(super) const DRIVE: Label = Label {
    name: "drive",
    most: 64,
    help: "the drive's id, as `marram admin drive list` shows it",
};
pub(super) const DRIVE_STATE: Label = Label {
    name: "state",
    most: 3,
    help: "`active`, `full` or `retired`",
};
pub(super) const GROUP: Label = Label {
    name: "group",
    most: 257,
    help: "the Raft group; 0 is the root group",
};
pub(super) const ROLE: Label = Label {
    name: "role",
    most: 5,
    help: "`leader`, `follower`, `candidate`, `learner` or `stopped`",
};
pub(super) const HEALTH: Label = Label {
    name: "health",
    most: 5,
    help: "`up`, `slow`, `suspect`, `dead` or `unknown`",
};
pub(super) const DUTY: Label = Label {
    name: "duty",
    most: 4,
    help: "`serving`, `cordoned`, `draining` or `fenced`",
};
pub(super) const RUNTIME: Label = Label {
    name: "runtime",
    most: 2,
    help: "`main` or `raft`",
};
pub(super) const SPAN_FATE: Label = Label {
    name: "fate",
    most: 3,
    help: "`exported`, `dropped` because too many waited, or `failed` because the collector did not take it",
};
pub(super) const VERSION: Label = Label {
    name: "version",
    most: 1,
    help: "the release",
};
pub(super) const PROFILE: Label = Label {
    name: "build",
    most: 1,
    help: "`release` or `debug`",
};
pub(super) const KIND: Label = Label {
    name: "kind",
    most: 1,
    help: "`server` or `gateway`",
};
pub(super) const NODE: Label = Label {
    name: "node",
    most: 1_000,
    help: "the node's id, as `marram admin status` shows it",
};
pub(super) const AUTHORITY: Label = Label {
    name: "authority",
    // One, and its successor while it is replaced.
    most: 2,
    help: "the first 16 digits of the CA's fingerprint, as `marram admin ca status` shows it",
};
pub(super) const MESH_METHOD: Label = Label {
    name: "method",
    most: 64,
    help: "what a peer asked for, such as `write_run` or `raft_append`",
};
pub(super) const MESH_RESULT: Label = Label {
    name: "result",
    most: 16,
    help: "`ok`, or why not, such as `not_leader` or `unavailable`",
};
pub(super) const CLASS: Label = Label {
    name: "class",
    most: 3,
    help: "`raft`, `control`, or `bulk` for shards",
};
pub(super) const FINDING: Label = Label {
    name: "finding",
    most: 4,
    help: "`damaged`, `unreadable`, `gone` or `missing`",
};
pub(super) const ACTION: Label = Label {
    name: "action",
    most: 4,
    help: "`expire`, `expire_noncurrent`, `remove_marker` or `abort_upload`",
};
pub(super) const WORK: Label = Label {
    name: "work",
    most: 4,
    help: "`garbage`, `scrub`, `repair` or `moves`",
};
pub(super) const DISK: Label = Label {
    name: "disk",
    // Those that were replaced since the process began count, too.
    most: 128,
    help: "a drive's id, for its shards; `metadata` for the Raft log and the state of the groups",
};
pub(super) const DISK_OPERATION: Label = Label {
    name: "operation",
    most: 4,
    help: "`read`, `write`, `sync`, or `space` for what reserves and gives back space",
};
pub(super) const CLUSTER_PHASE: Label = Label {
    name: "phase",
    most: 8,
    help: "`creating`, `ready`, `changing`, `degraded`, `unavailable`, `stalled`, `paused` or `hibernated`",
};
pub(super) const OPERATION_KIND: Label = Label {
    name: "kind",
    most: 11,
    help: "`create`, `replace`, `hibernate`, `cancel`, `expand`, `grow`, `upgrade`, `shrink`, `drain`, `rebalance` or `scrub`",
};
pub(super) const FAILURE: Label = Label {
    name: "reason",
    most: 3,
    help: "`kubernetes`, `cluster` or `secret`",
};
pub(super) const SIDE: Label = Label {
    name: "side",
    most: 2,
    help: "`accepted` where a peer opened the connection, `dialed` where this process did",
};
pub(super) const HANDSHAKE_FAILURE: Label = Label {
    name: "reason",
    most: 6,
    help: "`io`, `slow`, `tls` (no certificate of the cluster's CA that is good), `protocol`, `certificate` \
           (of another node or cluster) or `stranger` (none, and more than a request to join)",
};
pub(super) const PROPOSAL_RESULT: Label = Label {
    name: "result",
    most: 7,
    help: "`ok`, `not_leader`, `unknown` (it may yet be carried out), `overloaded`, `no_room`, `invalid` or \
           `stopped`",
};
pub(super) const SNAPSHOT_EVENT: Label = Label {
    name: "event",
    most: 3,
    help: "`built` here for a replica that is far behind, `sent` to it and installed there, or `installed` here",
};
pub(super) const SNAPSHOT_WAY: Label = Label {
    name: "direction",
    most: 2,
    help: "`sent` or `received`",
};
pub(super) const RECORD_CLASS: Label = Label {
    name: "class",
    most: 2,
    help: "`large` for runs of 64 KiB and more, `small` for those that are packed",
};
pub(super) const SPARE: Label = Label {
    name: "survives",
    most: 10,
    help: "how many more of its shards may be lost with the data still there; `lost` where too few are left already",
};
pub(super) const CACHE: Label = Label {
    name: "cache",
    most: 4,
    help: "`begin` (from where on data of writes counts), `segments` (open files of drives), `index` (pages of the \
           drives' indexes) or `tables` (pages of the metadata groups' tables)",
};
