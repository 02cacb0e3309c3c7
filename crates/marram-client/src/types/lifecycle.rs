//! The rules by which what a bucket holds goes by itself, and what goes.

use std::collections::BTreeMap;

use marram_proto::v1;
use serde::Serialize;

/// A rule: which objects it is for, and what becomes of them when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LifecycleRule {
    /// Names it within the bucket.
    pub id: String,
    /// A rule that is not does nothing.
    pub enabled: bool,
    /// Keys that begin so; empty: all.
    pub prefix: String,
    /// Objects of more bytes than this.
    pub larger_than: Option<u64>,
    /// Objects of fewer bytes than this.
    pub smaller_than: Option<u64>,
    /// Objects that have all of these tags.
    pub tags: BTreeMap<String, String>,
    /// Current versions go so many days after they were written.
    pub expire_after_days: Option<u32>,
    /// Current versions go from this midnight UTC on, in milliseconds since 1970.
    pub expire_on_ms: Option<i64>,
    /// Versions that are not current go so many days after a newer one took their place.
    pub noncurrent_after_days: Option<u32>,
    /// The newest so many of those stay, whatever their age.
    pub keep_newest: u32,
    /// Delete markers go of which no version of their key is left.
    pub expired_delete_markers: bool,
    /// Uploads are ended so many days after they began.
    pub abort_uploads_after_days: Option<u32>,
}

impl LifecycleRule {
    /// A rule for everything in a bucket that does nothing yet.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            enabled: true,
            prefix: String::new(),
            larger_than: None,
            smaller_than: None,
            tags: BTreeMap::new(),
            expire_after_days: None,
            expire_on_ms: None,
            noncurrent_after_days: None,
            keep_newest: 0,
            expired_delete_markers: false,
            abort_uploads_after_days: None,
        }
    }

    pub(crate) fn into_wire(self) -> v1::LifecycleRule {
        v1::LifecycleRule {
            id: self.id,
            enabled: self.enabled,
            filter: Some(v1::LifecycleFilter {
                prefix: self.prefix,
                larger_than: self.larger_than,
                smaller_than: self.smaller_than,
                tags: self.tags.into_iter().collect(),
            }),
            expire_after_days: self.expire_after_days,
            expire_on_ms: self.expire_on_ms,
            noncurrent: match (self.noncurrent_after_days, self.keep_newest) {
                (None, 0) => None,
                (days, keep_newest) => Some(v1::NoncurrentExpiration {
                    after_days: days.unwrap_or(0),
                    keep_newest,
                }),
            },
            expired_delete_markers: self.expired_delete_markers,
            abort_uploads_after_days: self.abort_uploads_after_days,
        }
    }

    pub(crate) fn from_wire(rule: v1::LifecycleRule) -> Self {
        let filter = rule.filter.unwrap_or_default();
        Self {
            id: rule.id,
            enabled: rule.enabled,
            prefix: filter.prefix,
            larger_than: filter.larger_than,
            smaller_than: filter.smaller_than,
            tags: filter.tags.into_iter().collect(),
            expire_after_days: rule.expire_after_days,
            expire_on_ms: rule.expire_on_ms,
            noncurrent_after_days: rule.noncurrent.map(|of| of.after_days),
            keep_newest: rule.noncurrent.map_or(0, |of| of.keep_newest),
            expired_delete_markers: rule.expired_delete_markers,
            abort_uploads_after_days: rule.abort_uploads_after_days,
        }
    }
}

/// What becomes of something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LifecycleAction {
    /// The current version goes, or is hidden by a delete marker.
    Expire,
    /// A version goes that is not current.
    ExpireNoncurrent,
    /// A delete marker goes.
    RemoveMarker,
    /// An upload is ended.
    AbortUpload,
}

impl LifecycleAction {
    fn from_wire(action: v1::LifecycleAction) -> Self {
        match action {
            v1::LifecycleAction::Unspecified | v1::LifecycleAction::Expire => Self::Expire,
            v1::LifecycleAction::ExpireNoncurrent => Self::ExpireNoncurrent,
            v1::LifecycleAction::RemoveMarker => Self::RemoveMarker,
            v1::LifecycleAction::AbortUpload => Self::AbortUpload,
        }
    }
}

/// Something that would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LifecycleItem {
    /// The key.
    pub key: String,
    /// What would become of it.
    pub action: LifecycleAction,
    /// Of the version or delete marker.
    pub generation: u64,
    /// The upload, where it is one.
    pub upload_id: String,
    /// The id of the rule.
    pub rule: String,
    /// Bytes of the version, or of the upload's parts.
    pub bytes: u64,
}

impl LifecycleItem {
    pub(crate) fn from_wire(item: v1::LifecycleItem) -> Self {
        Self {
            action: LifecycleAction::from_wire(item.action()),
            key: item.key,
            generation: item.generation,
            upload_id: item.upload_id,
            rule: item.rule,
            bytes: item.bytes,
        }
    }
}

/// How much would go by a rule in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LifecycleTotal {
    /// The id of the rule.
    pub rule: String,
    /// What would become of it.
    pub action: LifecycleAction,
    /// Versions, markers or uploads.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl LifecycleTotal {
    pub(crate) fn from_wire(total: v1::LifecycleTotal) -> Self {
        Self {
            action: LifecycleAction::from_wire(total.action()),
            rule: total.rule,
            count: total.count,
            bytes: total.bytes,
        }
    }
}

/// A part of what would go; the last one has the totals.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LifecyclePage {
    /// What would go.
    pub items: Vec<LifecycleItem>,
    /// By rule and action.
    pub totals: Vec<LifecycleTotal>,
}
