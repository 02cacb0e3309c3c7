//! What is told of versions.

use marram_proto::v1;
use serde::Serialize;

/// Whether a bucket keeps the versions that others replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Versioning {
    /// It never did: what is replaced or deleted is gone.
    Off,
    /// Every version is kept until it is deleted by its generation.
    On,
    /// What was kept stays; what is written now replaces the null version.
    Suspended,
}

impl Versioning {
    pub(crate) fn to_wire(self) -> v1::Versioning {
        match self {
            Self::Off => v1::Versioning::Off,
            Self::On => v1::Versioning::On,
            Self::Suspended => v1::Versioning::Suspended,
        }
    }

    /// A server from before versioning says nothing of it, and keeps none.
    pub(crate) fn from_wire(versioning: v1::Versioning) -> Self {
        match versioning {
            v1::Versioning::Unspecified | v1::Versioning::Off => Self::Off,
            v1::Versioning::On => Self::On,
            v1::Versioning::Suspended => Self::Suspended,
        }
    }
}

impl std::fmt::Display for Versioning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Suspended => "suspended",
        })
    }
}

/// What a bucket may hold at most: older versions count, and parts of uploads; delete markers do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BucketQuota {
    /// Bytes; none: as many as there is room for.
    pub bytes: Option<u64>,
    /// Versions of objects, current or not; none: as many as there is room for.
    pub objects: Option<u64>,
}

impl BucketQuota {
    pub(crate) fn from_wire(quota: Option<v1::Quota>) -> Self {
        let quota = quota.unwrap_or_default();
        Self {
            bytes: quota.bytes,
            objects: quota.objects,
        }
    }

    pub(crate) fn to_wire(self) -> Option<v1::Quota> {
        (self != Self::default()).then_some(v1::Quota {
            bytes: self.bytes,
            objects: self.objects,
        })
    }
}

/// What a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BucketUsage {
    /// Current versions of objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Versions that are not current.
    pub noncurrent_versions: u64,
    /// Their bytes.
    pub noncurrent_bytes: u64,
    /// Delete markers, current or not.
    pub delete_markers: u64,
    /// Bytes of the parts of uploads that are under way.
    pub upload_bytes: u64,
    /// What the bucket may hold.
    pub quota: BucketQuota,
}

impl BucketUsage {
    pub(crate) fn from_wire(usage: &v1::GetBucketUsageResponse) -> Self {
        Self {
            objects: usage.objects,
            bytes: usage.bytes,
            noncurrent_versions: usage.noncurrent_versions,
            noncurrent_bytes: usage.noncurrent_bytes,
            delete_markers: usage.delete_markers,
            upload_bytes: usage.upload_bytes,
            quota: BucketQuota::from_wire(usage.quota),
        }
    }

    /// Bytes that count against the quota.
    #[must_use]
    pub fn counted_bytes(&self) -> u64 {
        let parts = [self.noncurrent_bytes, self.upload_bytes];
        parts.into_iter().fold(self.bytes, u64::saturating_add)
    }

    /// Versions that count against the quota.
    #[must_use]
    pub fn counted_objects(&self) -> u64 {
        self.objects.saturating_add(self.noncurrent_versions)
    }
}

/// What came of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Deletion {
    /// There was an object, or the version or marker that was named.
    pub existed: bool,
    /// A delete marker was written, or the one that was named was removed.
    pub delete_marker: bool,
    /// The generation of the marker; of the version that was named; else of the deletion itself, as its
    /// event tells it. 0 where nothing was there.
    pub generation: u64,
}

/// A version or delete marker in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectVersion {
    /// The key.
    pub key: String,
    /// Its generation, which names it.
    pub generation: u64,
    /// True of the newest of its key.
    pub is_current: bool,
    /// True of a delete marker: it has no bytes and no entity tag.
    pub delete_marker: bool,
    /// True of the null version: what is written without versioning replaces it.
    pub is_null: bool,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag, quoted.
    pub etag: String,
    /// When it was written, in milliseconds since 1970-01-01 UTC.
    pub modified_ms: i64,
}

/// A page of a listing of versions: by key, the newest of each first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct VersionPage {
    /// The versions and delete markers.
    pub versions: Vec<ObjectVersion>,
    /// The prefixes that the delimiter rolled up.
    pub prefixes: Vec<String>,
}

impl VersionPage {
    pub(crate) fn from_wire(page: v1::ListObjectVersionsResponse) -> Self {
        let version = |version: v1::ObjectVersion| ObjectVersion {
            key: version.key,
            generation: version.generation,
            is_current: version.is_current,
            delete_marker: version.delete_marker,
            is_null: version.is_null,
            size: version.size,
            etag: version.etag,
            modified_ms: version.modified_ms,
        };
        Self {
            versions: page.versions.into_iter().map(version).collect(),
            prefixes: page.common_prefixes,
        }
    }
}
