//! From what the state machines say to the messages of the public API.

use marram_meta::{
    Body, BucketRecord, CopiedVersion, ListEntry, PartItem, PartSums, UploadItem, VersionEntry,
    VersionRow, Versioning,
};
use marram_proto::v1;
use marram_types::Profile;

/// Milliseconds since 1970 as the API has them.
pub(crate) fn ms(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// A bucket.
pub(crate) fn bucket(record: &BucketRecord) -> v1::Bucket {
    v1::Bucket {
        name: record.name.to_string(),
        created_ms: ms(record.created_ms),
        profile: record.profile.to_string(),
        versioning: versioning(record.versioning).into(),
        quota: quota(record),
        allowed_profiles: record.allowed.iter().map(ToString::to_string).collect(),
    }
}

/// What a bucket may hold.
pub(crate) fn quota(record: &BucketRecord) -> Option<v1::Quota> {
    record.quota.map(|quota| v1::Quota {
        bytes: quota.bytes,
        objects: quota.objects,
    })
}

/// Whether a bucket keeps versions.
fn versioning(versioning: Versioning) -> v1::Versioning {
    match versioning {
        Versioning::Off => v1::Versioning::Off,
        Versioning::On => v1::Versioning::On,
        Versioning::Suspended => v1::Versioning::Suspended,
    }
}

/// A version or delete marker of a listing.
pub(crate) fn version(entry: VersionEntry) -> v1::ObjectVersion {
    v1::ObjectVersion {
        key: entry.key,
        generation: entry.generation.0,
        is_current: entry.is_current,
        delete_marker: entry.is_marker,
        is_null: !entry.numbered,
        size: entry.size,
        etag: entry.etag,
        modified_ms: ms(entry.modified_ms),
    }
}

/// A version of an object.
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
        tags: row.tags.iter().cloned().collect(),
        own_profile: own_profile(row.own),
    }
}

/// The profile that a version's writer asked for.
fn own_profile(own: Option<Profile>) -> String {
    own.map_or_else(String::new, |own| own.to_string())
}

/// What a copy became, which asked for `own` as its profile.
pub(crate) fn copied(key: &str, copied: CopiedVersion, own: Option<Profile>) -> v1::ObjectInfo {
    let profiles = match &copied.profiles[..] {
        [] => vec!["inline".to_owned()],
        profiles => profiles.iter().map(ToString::to_string).collect(),
    };
    v1::ObjectInfo {
        key: key.to_owned(),
        size: copied.size,
        etag: copied.etag,
        generation: copied.generation.0,
        modified_ms: ms(copied.modified_ms),
        content_type: copied.content_type,
        metadata: copied.metadata.into_iter().collect(),
        crc64nvme: copied.crc64,
        version_id: copied.version.to_string(),
        profiles,
        under_protected: copied.under_protected,
        tags: copied.tags.into_iter().collect(),
        own_profile: own_profile(own),
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
        Body::Spilled { .. } | Body::Parts(_) => Vec::new(),
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

/// A part of an upload.
pub(crate) fn part(item: &PartItem) -> v1::UploadedPart {
    v1::UploadedPart {
        part_number: u32::from(item.part),
        size: item.size,
        etag: item.etag.clone(),
        checksums: Some(checksums(Some(item.crc64), &item.sums)),
        modified_ms: ms(item.modified_ms),
    }
}

/// Checksums as the API has them.
pub(crate) fn checksums(crc64nvme: Option<u64>, sums: &PartSums) -> v1::Checksums {
    v1::Checksums {
        crc32c: sums.crc32c,
        crc64nvme,
        sha256: sums.sha256.map(|digest| digest.to_vec().into()),
        md5: sums.md5.map(|digest| digest.to_vec().into()),
    }
}

/// An upload that is under way.
pub(crate) fn upload(item: UploadItem) -> v1::UploadInfo {
    v1::UploadInfo {
        key: item.key,
        upload_id: item.upload.to_string(),
        created_ms: ms(item.created_ms),
        parts: item.parts,
        bytes: item.bytes,
        stream: item.stream,
    }
}
