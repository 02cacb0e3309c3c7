//! What happens to objects.

use marram_proto::v1;
use serde::Serialize;

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectEventKind {
    /// A new version is the current one.
    Put,
    /// The metadata or tags of a version were changed.
    Metadata,
    /// An earlier version is the current one again.
    Restored,
    /// The object is gone, and no delete marker was written.
    Deleted,
    /// A delete marker was written.
    DeleteMarker,
    /// A version or delete marker was removed for good.
    VersionDeleted,
    /// A kind that this client does not know.
    Other,
}

impl ObjectEventKind {
    /// The name that people read.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Metadata => "metadata",
            Self::Restored => "restored",
            Self::Deleted => "deleted",
            Self::DeleteMarker => "marker",
            Self::VersionDeleted => "removed",
            Self::Other => "other",
        }
    }

    fn from_wire(kind: v1::ObjectEventKind) -> Self {
        use v1::ObjectEventKind as Wire;
        match kind {
            Wire::Put => Self::Put,
            Wire::Metadata => Self::Metadata,
            Wire::Restored => Self::Restored,
            Wire::Deleted => Self::Deleted,
            Wire::DeleteMarker => Self::DeleteMarker,
            Wire::VersionDeleted => Self::VersionDeleted,
            Wire::Unspecified => Self::Other,
        }
    }
}

/// A change of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectEvent {
    /// What happened.
    pub kind: ObjectEventKind,
    /// The key.
    pub key: String,
    /// The version or delete marker that it is about; of a deletion that of the deletion.
    pub generation: u64,
    /// Bytes of the version.
    pub size: u64,
    /// Its entity tag, quotes included; empty where it is about none.
    pub etag: String,
    /// When it happened, in milliseconds since 1970.
    pub time_ms: u64,
    /// It is about a delete marker.
    pub is_delete_marker: bool,
    /// It is about a version that was written while its bucket kept none.
    pub is_null_version: bool,
    /// It is about a version that was not the current one.
    pub is_noncurrent: bool,
}

impl ObjectEvent {
    pub(crate) fn from_wire(event: v1::ObjectEvent) -> Self {
        Self {
            kind: ObjectEventKind::from_wire(event.kind()),
            key: event.key,
            generation: event.generation,
            size: event.size,
            etag: event.etag,
            time_ms: event.time_ms,
            is_delete_marker: event.is_delete_marker,
            is_null_version: event.is_null_version,
            is_noncurrent: event.is_noncurrent,
        }
    }
}

/// Changes that came together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WatchBatch {
    /// The changes, those of each key in their order; none in a bookmark.
    pub events: Vec<ObjectEvent>,
    /// Where to go on from when they were dealt with.
    pub revision: String,
}
