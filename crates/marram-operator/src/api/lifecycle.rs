//! Rules by which what a bucket holds goes by itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::rules;

const LIFECYCLE_RULES: &[(&str, &str)] = &[
    (
        "has(self.expireAfterDays) || has(self.expireOn) || has(self.noncurrentAfterDays) || \
         has(self.abortUploadsAfterDays) || (has(self.expiredDeleteMarkers) && \
         self.expiredDeleteMarkers)",
        "a rule of spec.lifecycle must say what goes: expireAfterDays, expireOn, noncurrentAfterDays, \
         expiredDeleteMarkers or abortUploadsAfterDays",
    ),
    (
        "!has(self.expireAfterDays) || !has(self.expireOn)",
        "a rule of spec.lifecycle may have expireAfterDays or expireOn, not both",
    ),
    (
        "!has(self.keepNewest) || has(self.noncurrentAfterDays)",
        "keepNewest of a rule of spec.lifecycle needs noncurrentAfterDays: it says which of those versions \
         stay",
    ),
    (
        "!has(self.largerThan) || !has(self.smallerThan) || self.largerThan < self.smallerThan",
        "largerThan of a rule of spec.lifecycle must be less than its smallerThan, or it is for no object",
    ),
    (
        "!(has(self.abortUploadsAfterDays) || (has(self.expiredDeleteMarkers) && \
         self.expiredDeleteMarkers)) || !(has(self.largerThan) || has(self.smallerThan) || \
         has(self.tags))",
        "a rule of spec.lifecycle with abortUploadsAfterDays or expiredDeleteMarkers may choose by prefix \
         only: uploads and delete markers have no size and no tags",
    ),
];

/// A rule: which objects it is for, and what becomes of them when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(LIFECYCLE_RULES)))]
pub struct LifecycleRule {
    /// Names it within the bucket.
    #[schemars(length(min = 1, max = 255))]
    pub id: String,
    /// A rule that is disabled does nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Keys that begin so; all where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub prefix: Option<String>,
    /// Objects of more bytes than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_u64))]
    pub larger_than: Option<u64>,
    /// Objects of fewer bytes than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_u64))]
    pub smaller_than: Option<u64>,
    /// Objects that have all of these tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 10,
        "additionalProperties" = { "type": "string", "maxLength": 256 }
    ))]
    pub tags: BTreeMap<String, String>,
    /// Current versions go so many days after they were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36_500))]
    pub expire_after_days: Option<u32>,
    /// Current versions go from this day on, such as 2027-01-31.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 10, max = 10),
        regex(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    )]
    pub expire_on: Option<String>,
    /// Versions that are not current go so many days after a newer one took their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36_500))]
    pub noncurrent_after_days: Option<u32>,
    /// The newest so many of those stay, whatever their age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub keep_newest: Option<u32>,
    /// Delete markers go of which no version of their key is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired_delete_markers: bool,
    /// Uploads are ended so many days after they began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36_500))]
    pub abort_uploads_after_days: Option<u32>,
}
