//! The ordered key-value store under the state machines, as a trait.
//!
//! # The tables
//! Numbers are stored in snapshots and never change. Integers in keys are big-endian. "R" marks
//! the root group's tables, "O" those of the object groups.
//!
//! | no. | table | groups | key | value |
//! |----:|-------|:------:|-----|-------|
//! | 1 | `Meta` | R O | `state`, `cluster`, `layout_hold` | group state, cluster record, until when the layout rests |
//! | 2 | `Requests` | R O | request id (24) | expiry, outcome |
//! | 3 | `RequestExpiry` | R O | expiry ms (8), request id (24) | empty |
//! | 4 | `Nodes` | R | node (8) | node record |
//! | 5 | `NodeKeys` | R | public key fingerprint (32) | node (8) |
//! | 6 | `Replicas` | R | replica (8) | node (8) |
//! | 7 | `Groups` | R | group (2) | group record |
//! | 8 | `Pools` | R | pool (2) | pool table |
//! | 9 | `Buckets` | R O | bucket (8) | bucket record; in O the group's own copy |
//! | 10 | `BucketNames` | R | name | bucket (8) |
//! | 11 | `AccessKeys` | R | id | access key record |
//! | 17 | `Objects` | O | bucket (8), object key | version row |
//! | 18 | `ExtentRows` | O | version id (16), chunk (2) | up to 16 extents |
//! | 19 | `Inline` | O | data id (18) | object bytes |
//! | 20 | `DataRefs` | O | pg (4), data id (18) | the row that refers to it, or since when it is displaced or discarded |
//! | 21 | `Garbage` | O | begin index (8), displacing index (8), data id (18) | extent, the places of its shards |
//! | 22 | `Tickets` | O | data id (18) | repair ticket |
//! | 23 | `Usage` | O | bucket (8) | counters |
//! | 24 | `LayoutRows` | O | pg (4) | index of the fence that brought it, row of the pool's table |
//! | 32 | `Authorities` | R | committed index (8) | CA, its key wrapped |
//! | 33 | `Tokens` | R | token id (8) | join token, its secret hashed |
//! | 34 | `Identities` | R | public key fingerprint (32) | what is known of its certificates |
//! | 40 | `TicketQueue` | O | kind of work (1), data id (18) | empty |
//! | 41 | `ProfileCursors` | O | bucket (8) | how far its versions were gone through by its new profile |
//! | 42 | `Narrower` | R | node (8) | empty |
//! | 48 | `Versions` | R | node (8) | the newest version of commands that the node knows |
//! | 52 | `GoneDrives` | O | drive (8) | epoch of the tombstone, whether it stands |
//! | 53 | `Tombstones` | R | node (8) | tombstone |
//! | 56 | `Uploads` | O | bucket (8), escaped key, upload (16) | upload row |
//! | 57 | `UploadParts` | O | upload (16), part (2) | part row, of an upload or of the version that it became |
//! | 58 | `UploadDrops` | O | kind (1), bucket (8) or upload (16) | what is left of it to be taken out of use |
//! | 59 | `Noncurrent` | O | bucket (8), escaped key, generation descending (8) | version row that is not current, or delete marker |
//! | 60 | `NullVersions` | O | bucket (8), object key | generation of the null version, where it stands in `Noncurrent` |
//! | 61 | `NoncurrentUploads` | O | upload (16) | generation of the version in `Noncurrent` that it became |
//! | 62 | `NoncurrentCursors` | O | bucket (8) | how far its `Noncurrent` rows were gone through by its new profile |
//! | 67 | `Events` | O | index (8), ordinal (4) | what the entry changed about an object |
//! | 70 | `QuotaLeases` | R | bucket (8) | what each group may hold of the bucket's quota |
//! | 71 | `Leases` | O | bucket (8) | what the group may hold of the bucket's quota |
//! | 72 | `Lifecycles` | O | bucket (8) | the group's own copy of the bucket's rules |
//!
//! 16 was a table of pools, in no release: the number is not used again.

mod mem;

use std::error::Error;
use std::ops::{Bound, ControlFlow};

pub use mem::MemKv;

/// A table of a group's state. The numbers are stored and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// Records of which a group has one.
    Meta = 1,
    /// Outcomes of mutations by request id (rules.md 14).
    Requests = 2,
    /// Request records in the order in which they expire.
    RequestExpiry = 3,
    /// Nodes.
    Nodes = 4,
    /// Nodes by the fingerprint of their public key.
    NodeKeys = 5,
    /// Which node a Raft replica belongs to, past replicas included (rules.md 2).
    Replicas = 6,
    /// Raft groups and their voters.
    Groups = 7,
    /// Placement tables by pool.
    Pools = 8,
    /// Bucket records; in an object group its own copies (rules.md 11).
    Buckets = 9,
    /// Buckets by name.
    BucketNames = 10,
    /// Access keys.
    AccessKeys = 11,
    /// Current versions of objects.
    Objects = 17,
    /// Extents that do not fit an object's row (rules.md 16).
    ExtentRows = 18,
    /// Bytes of small objects, apart from the rows, so that listing does not read them.
    Inline = 19,
    /// What refers to an extent's data (rules.md 16).
    DataRefs = 20,
    /// Displaced data, in the order of displacement (placement-protocol.md 11).
    Garbage = 21,
    /// Data that is to be repaired or brought back to its profile.
    Tickets = 22,
    /// Counters of each bucket.
    Usage = 23,
    /// Rows of the layout; an object group's own copies (placement-protocol.md, "who knows what").
    LayoutRows = 24,
    /// CAs of the cluster.
    Authorities = 32,
    /// Join tokens.
    Tokens = 33,
    /// What is known of the certificates of each key.
    Identities = 34,
    /// Tickets by what is to be done for them.
    TicketQueue = 40,
    /// Buckets whose profile was changed and whose versions have not all been judged by it.
    ProfileCursors = 41,
    /// Nodes whose data may become narrower when they are emptied (rules.md 19).
    Narrower = 42,
    /// Up to which version each node knows commands (rules.md 9).
    Versions = 48,
    /// Drives whose node is about to be removed, or was (rules.md 25).
    GoneDrives = 52,
    /// Nodes that are about to be removed, or were.
    Tombstones = 53,
    /// Multipart uploads that are under way.
    Uploads = 56,
    /// Parts of uploads, and of the versions that they became.
    UploadParts = 57,
    /// Uploads and parts that nothing wants any more, until entries have taken them out of use.
    UploadDrops = 58,
    /// Versions that are not current, and delete markers, current ones too (decision 0032).
    Noncurrent = 59,
    /// Null versions that are not current: there is at most one of a key.
    NullVersions = 60,
    /// Versions that are not current, by the upload that they were.
    NoncurrentUploads = 61,
    /// Buckets whose profile was changed and whose noncurrent versions have not all been judged by it.
    NoncurrentCursors = 62,
    /// What entries changed about objects, for those who watch (rules.md 30).
    Events = 67,
    /// Who may hold how much of each bucket's quota (decision 0053).
    QuotaLeases = 70,
    /// The group's own part of each bucket's quota.
    Leases = 71,
    /// The group's own copies of the rules by which what buckets hold goes by itself (decision 0054).
    Lifecycles = 72,
}

impl Table {
    /// Every table, in the order of the numbers. A snapshot holds the tables in this order.
    pub const ALL: [Self; 39] = [
        Self::Meta,
        Self::Requests,
        Self::RequestExpiry,
        Self::Nodes,
        Self::NodeKeys,
        Self::Replicas,
        Self::Groups,
        Self::Pools,
        Self::Buckets,
        Self::BucketNames,
        Self::AccessKeys,
        Self::Objects,
        Self::ExtentRows,
        Self::Inline,
        Self::DataRefs,
        Self::Garbage,
        Self::Tickets,
        Self::Usage,
        Self::LayoutRows,
        Self::Authorities,
        Self::Tokens,
        Self::Identities,
        Self::TicketQueue,
        Self::ProfileCursors,
        Self::Narrower,
        Self::Versions,
        Self::GoneDrives,
        Self::Tombstones,
        Self::Uploads,
        Self::UploadParts,
        Self::UploadDrops,
        Self::Noncurrent,
        Self::NullVersions,
        Self::NoncurrentUploads,
        Self::NoncurrentCursors,
        Self::Events,
        Self::QuotaLeases,
        Self::Leases,
        Self::Lifecycles,
    ];

    /// The stored number.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The table of a stored number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.number() == number)
    }

    /// The name under which an adapter keeps the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Requests => "requests",
            Self::RequestExpiry => "request_expiry",
            Self::Nodes => "nodes",
            Self::NodeKeys => "node_keys",
            Self::Replicas => "replicas",
            Self::Groups => "groups",
            Self::Pools => "pools",
            Self::Buckets => "buckets",
            Self::BucketNames => "bucket_names",
            Self::AccessKeys => "access_keys",
            Self::Objects => "objects",
            Self::ExtentRows => "extent_rows",
            Self::Inline => "inline",
            Self::DataRefs => "data_refs",
            Self::Garbage => "garbage",
            Self::Tickets => "tickets",
            Self::Usage => "usage",
            Self::LayoutRows => "layout_rows",
            Self::Authorities => "authorities",
            Self::Tokens => "tokens",
            Self::Identities => "identities",
            Self::TicketQueue => "ticket_queue",
            Self::ProfileCursors => "profile_cursors",
            Self::Narrower => "narrower",
            Self::Versions => "versions",
            Self::GoneDrives => "gone_drives",
            Self::Tombstones => "tombstones",
            Self::Uploads => "uploads",
            Self::UploadParts => "upload_parts",
            Self::UploadDrops => "upload_drops",
            Self::Noncurrent => "noncurrent",
            Self::NullVersions => "null_versions",
            Self::NoncurrentUploads => "noncurrent_uploads",
            Self::NoncurrentCursors => "noncurrent_cursors",
            Self::Events => "events",
            Self::QuotaLeases => "quota_leases",
            Self::Leases => "leases",
            Self::Lifecycles => "lifecycles",
        }
    }
}

/// The store under a state machine failed. What a replica does then is not ours to decide: the
/// error goes up unchanged.
#[derive(Debug, thiserror::Error)]
#[error("the state machine's store failed: {source}")]
pub struct KvError {
    /// What the store said.
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl KvError {
    /// Wraps the store's own error.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
        }
    }
}

/// Reads of one consistent view of a group's state.
pub trait KvRead {
    /// The value of `key`.
    ///
    /// # Errors
    /// When the store fails.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// Calls `each` with the pairs between the bounds in ascending order of their keys, until it
    /// breaks. An empty or inverted range calls it never.
    ///
    /// # Errors
    /// When the store fails.
    #[expect(clippy::type_complexity, reason = "a visitor has no shorter type")]
    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), KvError>;
}

/// Writes that later reads of the same value see at once.
pub trait KvWrite: KvRead {
    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// When the store fails.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), KvError>;

    /// Removes `key`; nothing happens when it is absent.
    ///
    /// # Errors
    /// When the store fails.
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), KvError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_ascending() {
        let names: std::collections::BTreeSet<_> = Table::ALL.iter().map(|t| t.name()).collect();
        assert_eq!(names.len(), Table::ALL.len());
        assert!(Table::ALL.is_sorted());
        for table in Table::ALL {
            assert_eq!(Table::from_number(table.number()), Some(table));
        }
        assert_eq!(Table::from_number(0), None);
    }
}
