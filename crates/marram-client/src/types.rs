//! What the cluster tells, without a protobuf type. Everything can be printed as JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use marram_proto::v1;
use serde::Serialize;

mod admin;
mod backup;
mod identity;
mod inspect;
mod keys;
mod lifecycle;
mod liveness;
mod process;
mod repair;
mod status;
mod upkeep;
mod versions;
mod watch;
pub use admin::{
    BucketProfile, Consent, DutyChange, LayoutPlan, NodeDuty, NodePlan, PlannedNode, PoolPlan,
    Rebalance, RemovedNode, ShardComparison, ShardDifference,
};
pub use backup::{AuditPage, Backup, BackupNote, BackupPiece, BackupPlace, FinalizedVersion};
pub use identity::{
    CaInfo, CaRotation, CaStatus, CaStep, CertificateInfo, FoundedCluster, Founding, JoinRole,
    JoinTokenInfo, JoinTokenState, NewJoinToken, Renewals,
};
pub use inspect::{
    Check, Diagnosis, Finding, FolderFacts, InspectOptions, MachineFacts, NodeInspection,
    ReplicaFacts, SettingFacts, Severity,
};
pub use keys::{AccessKeyChange, AccessKeyInfo, AccessKeySecret};
pub use lifecycle::{LifecycleAction, LifecycleItem, LifecyclePage, LifecycleRule, LifecycleTotal};
pub use liveness::{
    HandedOver, MaintenanceNode, NodeCondition, NodeHealth, StopAnswer, WorkStatus,
};
pub use process::{LogLevel, LogLevelChange, Memory};
pub use repair::{AbsentNode, RepairLevel, RepairStart, RepairStatus};
pub use status::{
    ClusterStatus, DriveState, DriveStatus, GatewayStatus, GroupStatus, NodeState, NodeStatus,
    Redundancy,
};
pub use upkeep::{
    DriveChange, DriveDuty, DriveEntry, DriveScrub, FullScrub, GarbageStatus, GroupGarbage,
    NodeScan, PausableWork, PauseChange, RemovedDrive, ReplicaComparison, ScrubFindings,
    ScrubStage, ScrubStatus,
};
pub use versions::{BucketQuota, BucketUsage, Deletion, ObjectVersion, VersionPage, Versioning};
pub use watch::{ObjectEvent, ObjectEventKind, WatchBatch};

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// Its erasure profile, k+m.
    pub profile: String,
    /// Whether it keeps the versions that others replace.
    pub versioning: Versioning,
    /// What it may hold.
    pub quota: BucketQuota,
    /// Further profiles that a write may ask for.
    pub allowed_profiles: Vec<String>,
}

impl BucketInfo {
    pub(crate) fn from_wire(bucket: v1::Bucket) -> Self {
        Self {
            versioning: Versioning::from_wire(bucket.versioning()),
            quota: BucketQuota::from_wire(bucket.quota),
            name: bucket.name,
            created_ms: bucket.created_ms,
            profile: bucket.profile,
            allowed_profiles: bucket.allowed_profiles,
        }
    }
}

/// All that is known of an object but its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag, quoted.
    pub etag: String,
    /// Rises with every change of the key.
    pub generation: u64,
    /// When it was written, in milliseconds since 1970-01-01 UTC.
    pub modified_ms: i64,
    /// Its media type.
    pub content_type: String,
    /// The user's own metadata.
    pub metadata: BTreeMap<String, String>,
    /// CRC64/NVME of all its bytes.
    #[serde(serialize_with = "as_hex")]
    pub crc64nvme: u64,
    /// The version's id.
    pub version_id: String,
    /// How its bytes are kept: `inline`, or the profiles as written.
    pub profiles: Vec<String>,
    /// True while it survives fewer losses than its bucket's profile promises, or its own.
    pub under_protected: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The profile that its writer asked for, which it keeps; none where it follows its bucket.
    pub own_profile: Option<String>,
}

/// JSON numbers are doubles in many readers: 64 bits of a checksum would not survive.
fn as_hex<S: serde::Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{value:016x}"))
}

impl ObjectInfo {
    pub(crate) fn from_wire(info: v1::ObjectInfo) -> Self {
        Self {
            key: info.key,
            size: info.size,
            etag: info.etag,
            generation: info.generation,
            modified_ms: info.modified_ms,
            content_type: info.content_type,
            metadata: info.metadata.into_iter().collect(),
            crc64nvme: info.crc64nvme,
            version_id: info.version_id,
            profiles: info.profiles,
            under_protected: info.under_protected,
            tags: info.tags.into_iter().collect(),
            own_profile: Some(info.own_profile).filter(|own| !own.is_empty()),
        }
    }
}

impl ObjectInfo {
    /// Whether both are of one version. One that was described anew meanwhile has another generation
    /// and the same bytes.
    pub(crate) fn is_same_version(&self, other: &Self) -> bool {
        let same_id = !self.version_id.is_empty() && self.version_id == other.version_id;
        same_id || self.generation == other.generation
    }
}

/// What a listing tells of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectSummary {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag, quoted.
    pub etag: String,
    /// Rises with every change of the key.
    pub generation: u64,
    /// When it was written, in milliseconds since 1970-01-01 UTC.
    pub modified_ms: i64,
}

impl ObjectSummary {
    pub(crate) fn from_wire(info: v1::ObjectInfo) -> Self {
        Self {
            key: info.key,
            size: info.size,
            etag: info.etag,
            generation: info.generation,
            modified_ms: info.modified_ms,
        }
    }
}

/// A multipart upload that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UploadInfo {
    /// The key that the object will have.
    pub key: String,
    /// The upload.
    pub upload_id: String,
    /// When it was begun, in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// How many parts it has.
    pub parts: u32,
    /// Their bytes together.
    pub bytes: u64,
    /// It is a resumable write in one stream, and has no parts that can be named.
    pub stream: bool,
}

impl UploadInfo {
    pub(crate) fn from_wire(info: v1::UploadInfo) -> Self {
        Self {
            key: info.key,
            upload_id: info.upload_id,
            created_ms: info.created_ms,
            parts: info.parts,
            bytes: info.bytes,
            stream: info.stream,
        }
    }
}

/// A page of a listing: what is in it is in the order of the keys' bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ListPage {
    /// The objects.
    pub objects: Vec<ObjectSummary>,
    /// The prefixes that the delimiter rolled up.
    pub prefixes: Vec<String>,
    /// Of the first page: who watches from here on hears of every change that no page shows.
    pub revision: Option<String>,
}

/// What must hold of the key's present version for a change to be made; judged at the moment of
/// the change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preconditions {
    /// The generation must be this one; 0: there must be no object.
    pub if_generation_match: Option<u64>,
    /// The generation must not be this one; 0: there must be an object.
    pub if_generation_not_match: Option<u64>,
    /// The entity tag must be this one; `*`: there must be an object.
    pub if_etag_match: Option<String>,
    /// The entity tag must not be this one; `*`: there must be no object.
    pub if_etag_none_match: Option<String>,
}

impl Preconditions {
    pub(crate) fn to_wire(&self) -> Option<v1::Preconditions> {
        (*self != Self::default()).then(|| v1::Preconditions {
            if_generation_match: self.if_generation_match,
            if_generation_not_match: self.if_generation_not_match,
            if_etag_match: self.if_etag_match.clone(),
            if_etag_none_match: self.if_etag_none_match.clone(),
        })
    }
}

/// What must hold of a version for it to be read. The reason of the error is `NOT_MODIFIED` where the
/// caller has what is there, else `PRECONDITION_FAILED`. Where a tag is compared, the time of its kind
/// is not looked at, as in HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadConditions {
    /// The generation must be this one.
    pub if_generation_match: Option<u64>,
    /// The generation must not be this one.
    pub if_generation_not_match: Option<u64>,
    /// The entity tag must be this one; `*`: any.
    pub if_etag_match: Option<String>,
    /// The entity tag must not be this one.
    pub if_etag_none_match: Option<String>,
    /// Written after this time, in milliseconds since 1970-01-01 UTC.
    pub if_modified_since_ms: Option<i64>,
    /// Not written after this time, in milliseconds since 1970-01-01 UTC.
    pub if_unmodified_since_ms: Option<i64>,
}

impl ReadConditions {
    pub(crate) fn to_wire(&self) -> Option<v1::ReadConditions> {
        (*self != Self::default()).then(|| v1::ReadConditions {
            if_generation_match: self.if_generation_match,
            if_generation_not_match: self.if_generation_not_match,
            if_etag_match: self.if_etag_match.clone(),
            if_etag_none_match: self.if_etag_none_match.clone(),
            if_modified_since_ms: self.if_modified_since_ms,
            if_unmodified_since_ms: self.if_unmodified_since_ms,
        })
    }
}

/// Checksums that a caller knows of an object's bytes, beside the CRC64/NVME that this client always
/// sends: the server compares them before anything is visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checksums {
    /// CRC32C (Castagnoli).
    pub crc32c: Option<u32>,
    /// CRC64/NVME.
    pub crc64nvme: Option<u64>,
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// MD5; it becomes the entity tag.
    pub md5: Option<[u8; 16]>,
}

impl Checksums {
    pub(crate) fn to_wire(self) -> Option<v1::Checksums> {
        (self != Self::default()).then(|| v1::Checksums {
            crc32c: self.crc32c,
            crc64nvme: self.crc64nvme,
            sha256: self.sha256.map(|sum| Bytes::copy_from_slice(&sum)),
            md5: self.md5.map(|sum| Bytes::copy_from_slice(&sum)),
        })
    }
}

/// A part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From a byte to the end.
    From(u64),
    /// From a byte, so many bytes (at least 1); cut at the object's end.
    Span {
        /// The first byte.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// So many bytes at the end (at least 1).
    Last(u64),
}

impl ByteRange {
    /// `None` for a range that no object can have: empty, or beyond what the API can say.
    pub(crate) fn to_wire(self) -> Option<v1::ByteRange> {
        let (offset, length) = match self {
            Self::From(offset) => (i64::try_from(offset).ok()?, 0),
            Self::Span { length: 0, .. } | Self::Last(0) => return None,
            Self::Span { offset, length } => (i64::try_from(offset).ok()?, length),
            Self::Last(bytes) => (-i64::try_from(bytes).ok()?, 0),
        };
        Some(v1::ByteRange { offset, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_on_the_wire() {
        let wire = |range: ByteRange| range.to_wire().map(|r| (r.offset, r.length));
        assert_eq!(wire(ByteRange::From(7)), Some((7, 0)));
        assert_eq!(
            wire(ByteRange::Span {
                offset: 0,
                length: 100
            }),
            Some((0, 100))
        );
        assert_eq!(wire(ByteRange::Last(5)), Some((-5, 0)));
        assert_eq!(wire(ByteRange::Last(0)), None);
        assert_eq!(
            wire(ByteRange::Span {
                offset: 1,
                length: 0
            }),
            None
        );
        assert_eq!(wire(ByteRange::From(u64::MAX)), None);
    }

    #[test]
    fn no_precondition_is_not_sent() {
        assert_eq!(Preconditions::default().to_wire(), None);
        let absent = Preconditions {
            if_generation_match: Some(0),
            ..Preconditions::default()
        };
        assert!(absent.to_wire().is_some());
    }
}
