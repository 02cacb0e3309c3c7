//! From what the state machines say to the messages of the public API.

use marram_meta::{Body, BucketRecord, ListEntry, VersionRow};
use marram_proto::v1;

/// Milliseconds since 1970 as the API has them.
fn ms(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// A bucket.
pub(crate) fn bucket(record: &BucketRecord) -> v1::Bucket {
    v1::Bucket {
        name: record.name.to_string(),
        created_ms: ms(record.created_ms),
        profile: record.profile.to_string(),
    }
}

/// An object's current version.
pub(crate) fn object(key: &str, row: &VersionRow) -> v1::ObjectInfo {
    v1::ObjectInfo {
        key: key.to_owned(),
        size: row.size,
        etag: row.etag.clone(),
        generation: row.generation.0,
        modified_ms: ms(row.modified_ms),
        content_type: row.content_type.clone(),
        metadata: row.metadata.iter().cloned().collect(),
        crc64nvme: row.crc64,
        version_id: row.version.to_string(),
        profiles: profiles(&row.body),
        under_protected: row.under_protected,
    }
}

/// How the bytes are kept: each profile once, in the order of the bytes.
fn profiles(body: &Body) -> Vec<String> {
    match body {
        Body::Inline { .. } => vec!["inline".to_owned()],
        Body::Extents(extents) => {
            let mut seen = Vec::new();
            for extent in extents {
                if !seen.contains(&extent.profile) {
                    seen.push(extent.profile);
                }
            }
            seen.iter().map(ToString::to_string).collect()
        }
        // Answers to a lookup are never in this form.
        Body::Spilled { .. } => Vec::new(),
    }
}

/// An object of a listing, as far as listings go.
pub(crate) fn listed(entry: ListEntry) -> v1::ObjectInfo {
    v1::ObjectInfo {
        key: entry.key,
        size: entry.size,
        etag: entry.etag,
        generation: entry.generation.0,
        modified_ms: ms(entry.modified_ms),
        ..v1::ObjectInfo::default()
    }
}
