//! What a backup of the metadata is made of.

use bytes::Bytes;
use marram_proto::v1;
use serde::Serialize;

/// A backup that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The cluster's id, 32 hexadecimal digits.
    pub cluster_id: String,
    /// The cluster's name.
    pub cluster_name: String,
    /// How many object groups it has.
    pub object_groups: u16,
    /// When it began, in milliseconds since 1970.
    pub made_ms: u64,
    /// Until when everything that it names is kept.
    pub kept_until_ms: u64,
    /// The groups, in the order in which they are read.
    pub groups: Vec<BackupPlace>,
    pub(crate) layout: u64,
}

/// Where the state of a group is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPlace {
    /// The group; 0 is the root group.
    pub group: u32,
    pub(crate) at_least: u64,
    pub(crate) copy: String,
    pub(crate) node_id: u64,
}

/// A piece of a group's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPiece {
    /// Where the next one is read.
    pub place: BackupPlace,
    /// Bytes of all pieces.
    pub total_bytes: u64,
    /// Index of the last entry in the state.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// The piece; empty at the end.
    pub bytes: Bytes,
}

/// A whole backup of the metadata, as the cluster remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BackupNote {
    /// When it was begun, in milliseconds since 1970: it holds what was committed before.
    pub made_ms: u64,
    /// Until when everything that it names is kept on the drives.
    pub kept_until_ms: u64,
    /// Its size.
    pub bytes: u64,
    /// Index of the last decision of the root group in it.
    pub root_index: u64,
}

impl BackupNote {
    pub(crate) fn from_wire(note: v1::BackupNote) -> Self {
        Self {
            made_ms: note.made_ms,
            kept_until_ms: note.kept_until_ms,
            bytes: note.bytes,
            root_index: note.root_index,
        }
    }

    pub(crate) fn to_wire(self) -> v1::BackupNote {
        v1::BackupNote {
            made_ms: self.made_ms,
            kept_until_ms: self.kept_until_ms,
            bytes: self.bytes,
            root_index: self.root_index,
        }
    }
}

/// The version gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FinalizedVersion {
    /// The version from now on.
    pub version: u32,
    /// The version before.
    pub before: u32,
}

/// What was found on a page of a bucket's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// Versions of objects that were looked at, current or not.
    pub checked: u64,
    /// Those that can be read and have fewer shards than they should.
    pub degraded: u64,
    /// Keys of objects with too few shards left to be read; of versions that are not current also the
    /// generation.
    pub lost: Vec<String>,
    /// Keys of objects about which nobody can say, because nodes do not answer.
    pub unknown: Vec<String>,
    /// Asks for the next page; empty at the end.
    pub next_token: String,
}

impl AuditPage {
    pub(crate) fn from_wire(answer: v1::AuditObjectsResponse) -> Self {
        let version = |of: v1::VersionName| format!("{} (generation {})", of.key, of.generation);
        let lost = answer.lost_versions.into_iter().map(version);
        let unknown = answer.unknown_versions.into_iter().map(version);
        Self {
            checked: answer.checked,
            degraded: answer.degraded,
            lost: answer.lost.into_iter().chain(lost).collect(),
            unknown: answer.unknown.into_iter().chain(unknown).collect(),
            next_token: answer.next_page_token,
        }
    }
}

impl Backup {
    pub(crate) fn from_wire(answer: v1::BeginBackupResponse) -> Self {
        let place = |mark: v1::BackupMark| BackupPlace {
            group: mark.group,
            at_least: mark.at_least,
            copy: String::new(),
            node_id: 0,
        };
        Self {
            cluster_id: answer.cluster_id,
            cluster_name: answer.cluster_name,
            object_groups: u16::try_from(answer.object_groups).unwrap_or(u16::MAX),
            made_ms: answer.made_ms,
            kept_until_ms: answer.kept_until_ms,
            groups: answer.marks.into_iter().map(place).collect(),
            layout: answer.layout,
        }
    }
}

impl BackupPiece {
    pub(crate) fn from_wire(asked: &BackupPlace, answer: v1::ReadBackupResponse) -> Self {
        Self {
            place: BackupPlace {
                copy: answer.copy,
                node_id: answer.node_id,
                ..asked.clone()
            },
            total_bytes: answer.total_bytes,
            index: answer.index,
            term: answer.term,
            bytes: answer.piece,
        }
    }
}

impl FinalizedVersion {
    pub(crate) fn from_wire(answer: v1::FinalizeVersionResponse) -> Self {
        Self {
            version: answer.version,
            before: answer.before,
        }
    }
}
