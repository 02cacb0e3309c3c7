//! The counters of a bucket, changed in the same apply as what they count (rules.md 13).

use marram_types::BucketId;

use crate::kinds::bucket;
use crate::kinds::object::VersionRow;
use crate::kinds::usage::Usage;
use crate::kv::Table;
use crate::live::Shelf;
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

/// Takes what is counted of something out of the counters, and puts that of its successor in.
pub(super) fn change(
    apply: &mut Apply<'_>,
    bucket: BucketId,
    old: Usage,
    new: Usage,
) -> Result<(), StateError> {
    let key = bucket::ser_key(bucket);
    let held: Usage = load(apply.kv, Table::Usage, &key)?.unwrap_or_default();
    let after = held.minus(old).plus(new);
    Ok(store(apply.kv, Table::Usage, &key, &after)?)
}

/// What is counted of one version.
pub(super) fn of(row: &VersionRow, shelf: Shelf) -> Usage {
    let counted = Usage {
        narrowed: u64::from(row.narrowed),
        under_protected: u64::from(row.under_protected),
        off_profile: u64::from(row.off_profile),
        ..Usage::default()
    };
    match shelf {
        Shelf::Current => Usage {
            objects: 1,
            bytes: row.size,
            ..counted
        },
        Shelf::Noncurrent => Usage {
            noncurrent: 1,
            noncurrent_bytes: row.size,
            ..counted
        },
    }
}

/// What is counted of one delete marker.
pub(super) const MARKER: Usage = Usage {
    objects: 0,
    bytes: 0,
    narrowed: 0,
    under_protected: 0,
    off_profile: 0,
    noncurrent: 0,
    noncurrent_bytes: 0,
    markers: 1,
    part_bytes: 0,
};

/// What is counted of the parts of an upload that is under way.
pub(super) fn of_parts(bytes: u64) -> Usage {
    Usage {
        part_bytes: bytes,
        ..Usage::default()
    }
}
