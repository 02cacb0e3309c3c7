//! Whether data is safe, how the nodes are, and what is done about it.

use super::labels::{BUCKET, DUTY, GROUP, HEALTH, SPARE};
use super::{Family, From, Kind, Unit};

/// What a node knows.
pub const CLUSTER_VIEW_INDEX: Family = Family {
    name: "marram_cluster_view_index",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Index of the last decision of the root group that this process knows; 0 while it knows \
           none. One that stays behind the others judges by the past",
};
/// Nodes by health.
pub const CLUSTER_NODES: Family = Family {
    name: "marram_cluster_nodes",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[HEALTH],
    from: From::All,
    help: "Nodes of the cluster by how they are, by the word of several; all processes say the same",
};
/// Nodes by duty.
pub const CLUSTER_NODE_DUTIES: Family = Family {
    name: "marram_cluster_node_duties",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[DUTY],
    from: From::All,
    help: "Nodes of the cluster by what they are there for; all processes say the same",
};
/// Whether this one is about to be ready.
pub const READY: Family = Family {
    name: "marram_ready",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "1 while this process is ready to serve, as /readyz says it, else 0",
};
/// Objects.
pub const GROUP_OBJECTS: Family = Family {
    name: "marram_group_objects",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Objects in a group: current versions",
};
/// Their bytes.
pub const GROUP_OBJECT: Family = Family {
    name: "marram_group_object_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Sizes of the objects in a group together: of current versions, without parity and copies",
};
/// Versions that are kept.
pub const GROUP_NONCURRENT: Family = Family {
    name: "marram_group_noncurrent_versions",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Versions in a group that are kept and not current",
};
/// Their bytes.
pub const GROUP_NONCURRENT_SIZE: Family = Family {
    name: "marram_group_noncurrent_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Sizes of the versions in a group that are not current together, without parity and copies",
};
/// What hides them.
pub const GROUP_MARKERS: Family = Family {
    name: "marram_group_delete_markers",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Delete markers in a group, current or not",
};
/// Uploads.
pub const GROUP_UPLOAD_SIZE: Family = Family {
    name: "marram_group_upload_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Sizes of the parts of uploads under way in a group together, without parity and copies",
};
/// By what they survive.
pub const GROUP_VERSIONS: Family = Family {
    name: "marram_group_versions",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP, SPARE],
    from: From::Leaders,
    help: "Versions in a group, current or not, by how many further losses they survive: as many as their bucket's profile \
           has parity shards, or the least that it allows writes to ask for, less where shards are lost (an object of several extents that lack shards counts for each). \
           What lies on a node that does not answer is not lost before it is given up. \
           Those that were written with fewer parity shards are in `marram_group_under_protected_objects`",
};
/// Their bytes.
pub const GROUP_VERSION_SIZE: Family = Family {
    name: "marram_group_version_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[GROUP, SPARE],
    from: From::Leaders,
    help: "Sizes of the versions in a group together, current or not, by how many further losses these bytes survive, \
           without parity and copies; what lies on a node that does not answer is not lost before it is given up",
};
/// What buckets hold.
pub const BUCKET_OBJECTS: Family = Family {
    name: "marram_bucket_objects",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[BUCKET],
    from: From::Asked,
    help: "Objects in a bucket: current versions",
};
/// Their bytes.
pub const BUCKET_OBJECT: Family = Family {
    name: "marram_bucket_object_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[BUCKET],
    from: From::Asked,
    help: "Sizes of the objects in a bucket together: of current versions, without parity and copies",
};
/// Versions that are kept.
pub const BUCKET_NONCURRENT_SIZE: Family = Family {
    name: "marram_bucket_noncurrent_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[BUCKET],
    from: From::Asked,
    help: "Sizes of the versions in a bucket that are kept and not current together, without parity and copies",
};
/// Uploads.
pub const BUCKET_UPLOAD_SIZE: Family = Family {
    name: "marram_bucket_upload_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[BUCKET],
    from: From::Asked,
    help: "Sizes of the parts of uploads under way in a bucket together, without parity and copies",
};
/// Quotas.
pub const BUCKET_QUOTA: Family = Family {
    name: "marram_bucket_quota_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[BUCKET],
    from: From::Asked,
    help: "Bytes that a bucket may hold, versions that are not current and parts of uploads included; absent where it has \
           no such quota, and for the rest",
};
/// Under-protected.
pub const GROUP_UNDER_PROTECTED: Family = Family {
    name: "marram_group_under_protected_objects",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Versions, current or not, with fewer parity shards than their bucket asks for",
};
/// Narrowed.
pub const GROUP_NARROWED: Family = Family {
    name: "marram_group_narrowed_objects",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Versions, current or not, with fewer data shards than their bucket asks for, and all parity \
           shards",
};
/// Repairs.
pub const GROUP_REPAIRS: Family = Family {
    name: "marram_group_repairs_waiting",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Extents that survive fewer losses than they should, or may, and wait for repair; counted \
           up to 10000",
};
/// What lacks shards.
pub const GROUP_LACKING: Family = Family {
    name: "marram_group_lacking_extents",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP, SPARE],
    from: From::Leaders,
    help: "Extents with lost shards that wait for repair, by how many further losses they survive: the fewest are \
           repaired first; counted up to 10000",
};
/// Its bytes.
pub const GROUP_LOST: Family = Family {
    name: "marram_group_lost_shard_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Bytes of the shards that those extents lack",
};
/// What is not where it belongs.
pub const GROUP_MISPLACED: Family = Family {
    name: "marram_group_misplaced_extents",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Extents that have all of their shards, some of them elsewhere than the layout wants them",
};
/// For how long something waits.
pub const REPAIRS_AGE: Family = Family {
    name: "marram_cluster_repairs_waiting_seconds",
    kind: Kind::Gauge,
    unit: Unit::Seconds,
    labels: &[],
    from: From::All,
    help: "For how long there has been something to repair without a break: no ticket is older; 0 where there \
           is none. All processes say the same",
};
/// For how long they will.
pub const REPAIRS_LEFT: Family = Family {
    name: "marram_cluster_repairs_left_seconds",
    kind: Kind::Gauge,
    unit: Unit::Seconds,
    labels: &[],
    from: From::All,
    help: "How long the repairs still take if they go on as they did; 0 while that cannot be told, or nothing is \
           to be done",
};
/// What was repaired.
pub const REPAIRED: Family = Family {
    name: "marram_cluster_repaired_extents_total",
    kind: Kind::Counter,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Extents whose shards were repaired since the leader of the root group began to lead; all processes \
           say the same",
};
/// Reencodings.
pub const GROUP_REENCODINGS: Family = Family {
    name: "marram_group_reencodings_waiting",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Extents of another profile than their bucket asks for that wait to be encoded anew; \
           counted up to 10000",
};
/// Moves under way.
pub const MOVES_UNDER_WAY: Family = Family {
    name: "marram_cluster_moves_under_way",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Placement groups with a move under way; all processes say the same",
};
/// Those that wait.
pub const MOVES_WAITING: Family = Family {
    name: "marram_cluster_moves_stuck",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Moves under way that wait for a source or for room",
};
/// Moves to go.
pub const MOVES_TO_GO: Family = Family {
    name: "marram_cluster_moves_to_go",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Placement groups that are still to be moved beside those under way",
};
/// Slots without a place.
pub const SLOTS_UNPLACED: Family = Family {
    name: "marram_cluster_slots_unplaced",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[],
    from: From::All,
    help: "Slots of placement groups that must leave their drive and have no other place",
};

/// Bytes that moves and repairs wrote.
pub const MOVED_BYTES: Family = Family {
    name: "marram_cluster_moved_bytes_total",
    kind: Kind::Counter,
    unit: Unit::Bytes,
    labels: &[],
    from: From::All,
    help: "Bytes that moves and repairs have written since the leader of the root group began to \
           lead; all processes say the same",
};
/// How old the way back is.
pub const BACKUP_MADE: Family = Family {
    name: "marram_cluster_last_backup_made_seconds",
    kind: Kind::Gauge,
    unit: Unit::Seconds,
    labels: &[],
    from: From::All,
    help: "When the newest backup of the metadata that the cluster was told of was begun, in seconds since 1970; 0 before \
           the first. All processes say the same",
};
/// For how long it is one.
pub const BACKUP_KEPT: Family = Family {
    name: "marram_cluster_last_backup_kept_until_seconds",
    kind: Kind::Gauge,
    unit: Unit::Seconds,
    labels: &[],
    from: From::All,
    help: "Until when everything that this backup names is kept on the drives, in seconds since 1970; 0 before the first: \
           what was replaced or deleted since cannot be brought back by it later",
};
/// Its size.
pub const BACKUP_SIZE: Family = Family {
    name: "marram_cluster_last_backup_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[],
    from: From::All,
    help: "Size of this backup; 0 before the first",
};
/// Garbage that waits.
pub const GROUP_GARBAGE: Family = Family {
    name: "marram_group_garbage_extents",
    kind: Kind::Gauge,
    unit: Unit::None,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Extents that nobody needs any more and that are not removed yet; counted up to 10000",
};
/// Its bytes.
pub const GROUP_GARBAGE_SIZE: Family = Family {
    name: "marram_group_garbage_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[GROUP],
    from: From::Leaders,
    help: "Bytes of their shards",
};
/// How long the oldest of it has waited.
pub const GROUP_GARBAGE_AGE: Family = Family {
    name: "marram_group_garbage_oldest_age_seconds",
    kind: Kind::Gauge,
    unit: Unit::Seconds,
    labels: &[GROUP],
    from: From::Leaders,
    help: "For how long the oldest of them has waited: grows without end when a node or drive that is \
           away keeps it, or while garbage is paused",
};

pub(super) const CLUSTER: &[&Family] = &[
    &READY,
    &CLUSTER_VIEW_INDEX,
    &CLUSTER_NODES,
    &CLUSTER_NODE_DUTIES,
    &GROUP_UNDER_PROTECTED,
    &GROUP_REPAIRS,
    &GROUP_LACKING,
    &GROUP_LOST,
    &GROUP_MISPLACED,
    &REPAIRS_AGE,
    &REPAIRS_LEFT,
    &REPAIRED,
    &GROUP_NARROWED,
    &GROUP_REENCODINGS,
    &GROUP_OBJECTS,
    &GROUP_OBJECT,
    &GROUP_NONCURRENT,
    &GROUP_NONCURRENT_SIZE,
    &GROUP_MARKERS,
    &GROUP_UPLOAD_SIZE,
    &GROUP_VERSIONS,
    &GROUP_VERSION_SIZE,
    &BUCKET_OBJECTS,
    &BUCKET_OBJECT,
    &BUCKET_NONCURRENT_SIZE,
    &BUCKET_UPLOAD_SIZE,
    &BUCKET_QUOTA,
    &MOVES_UNDER_WAY,
    &MOVES_WAITING,
    &MOVES_TO_GO,
    &SLOTS_UNPLACED,
    &MOVED_BYTES,
    &BACKUP_MADE,
    &BACKUP_KEPT,
    &BACKUP_SIZE,
    &GROUP_GARBAGE,
    &GROUP_GARBAGE_SIZE,
    &GROUP_GARBAGE_AGE,
];
