//! The counters of a bucket, changed in the same apply as what they count (rules.md 13).

use marram_types::BucketId;

use crate::kinds::bucket;
use crate::kinds::object::VersionRow;
use crate::kinds::usage::Usage;
use crate::kv::Table;
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

/// Takes a version out of the counters, if there was one, and puts what is counted of its successor
/// in.
pub(super) fn replace(
    apply: &mut Apply<'_>,
    bucket: BucketId,
    old: Option<&VersionRow>,
    new: Usage,
) -> Result<(), StateError> {
    let key = bucket::ser_key(bucket);
    let held: Usage = load(apply.kv, Table::Usage, &key)?.unwrap_or_default();
    let after = held.minus(old.map(of).unwrap_or_default()).plus(new);
    Ok(store(apply.kv, Table::Usage, &key, &after)?)
}

/// What is counted of one version.
pub(super) fn of(row: &VersionRow) -> Usage {
    Usage {
        objects: 1,
        bytes: row.size,
        narrowed: u64::from(row.narrowed),
        under_protected: u64::from(row.under_protected),
        off_profile: u64::from(row.off_profile),
    }
}
