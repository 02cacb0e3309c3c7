//! Takes parts that nothing wants out of use, some with each entry, so that no apply is long: those of
//! uploads that were ended, of versions that were displaced, and those that a completion left out. The
//! group's leader proposes one entry after the other until nothing is left.
//!
//! Until then they are data like any other: moved, repaired, counted by the drain proof. That they wait
//! changes nothing for readers: they are stamped as displaced when their turn comes, which is later
//! (rules.md 28).

use std::ops::{Bound, ControlFlow};

use marram_types::caps::DROPPED_PARTS_PER_ENTRY;
use marram_types::{BucketId, UploadId};

use super::displace::displace_extent;
use super::outcome::ObjectOutcome;
use crate::kinds::object::Body;
use crate::kinds::part::{self, PartRanges};
use crate::kinds::upload;
use crate::kinds::upload_drop::{Dropped, UploadDrop, deser_key, ser_key};
use crate::kv::{KvRead, Table};
use crate::layout::Layout;
use crate::live::{self, part_rows};
use crate::requests::Apply;
use crate::stored::{StateError, Stored, store};

/// Has the parts of an upload taken out of use that no version of its object has when their turn comes.
pub(super) fn begin(
    apply: &mut Apply<'_>,
    (bucket, key): (BucketId, &str),
    upload: UploadId,
) -> Result<(), StateError> {
    let drop = UploadDrop {
        bucket: bucket.0,
        key: key.to_owned(),
        after: 0,
    };
    let key = ser_key(Dropped::Upload(upload));
    Ok(store(apply.kv, Table::UploadDrops, &key, &drop)?)
}

/// Has all uploads of a deleted bucket ended (rules.md 12).
pub(super) fn begin_bucket(apply: &mut Apply<'_>, bucket: BucketId) -> Result<(), StateError> {
    let key = ser_key(Dropped::Bucket(bucket));
    let drop = UploadDrop::default();
    Ok(store(apply.kv, Table::UploadDrops, &key, &drop)?)
}

/// Whether anything waits for [`next`].
pub(crate) fn any(kv: &dyn KvRead) -> Result<bool, StateError> {
    Ok(first(kv)?.is_some())
}

/// Goes on with the first thing that is to be taken out of use.
pub(super) fn next(apply: &mut Apply<'_>) -> Result<ObjectOutcome, StateError> {
    match first(apply.kv)? {
        None => {}
        Some((Dropped::Bucket(bucket), _)) => end_uploads(apply, bucket)?,
        Some((Dropped::Upload(upload), drop)) => drop_parts(apply, upload, drop)?,
    }
    Ok(ObjectOutcome::PartsDropped {
        done: !any(apply.kv)?,
    })
}

fn first(kv: &dyn KvRead) -> Result<Option<(Dropped, UploadDrop)>, StateError> {
    let mut found = None;
    let all = (Bound::Unbounded, Bound::Unbounded);
    kv.scan(Table::UploadDrops, all.0, all.1, &mut |key, value| {
        let dropped = deser_key(key);
        found = Some(dropped.and_then(|dropped| Ok((dropped, UploadDrop::deser_value(value)?))));
        ControlFlow::Break(())
    })?;
    found
        .transpose()
        .map_err(StateError::corrupt(Table::UploadDrops))
}

/// Ends the next uploads of a bucket.
fn end_uploads(apply: &mut Apply<'_>, bucket: BucketId) -> Result<(), StateError> {
    let (from, to) = (
        upload::ser_prefix(bucket, ""),
        upload::ser_prefix(BucketId(bucket.0 + 1), ""),
    );
    let mut keys = Vec::new();
    let range = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
    apply
        .kv
        .scan(Table::Uploads, range.0, range.1, &mut |key, _| {
            keys.push(key.to_vec());
            if keys.len() < DROPPED_PARTS_PER_ENTRY {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
    for key in &keys {
        let (bucket, name, id) =
            upload::deser_key(key).map_err(StateError::corrupt(Table::Uploads))?;
        apply.kv.delete(Table::Uploads, key)?;
        begin(apply, (bucket, &name), id)?;
    }
    if keys.len() < DROPPED_PARTS_PER_ENTRY {
        let key = ser_key(Dropped::Bucket(bucket));
        apply.kv.delete(Table::UploadDrops, &key)?;
    }
    Ok(())
}

fn drop_parts(
    apply: &mut Apply<'_>,
    upload: UploadId,
    mut drop: UploadDrop,
) -> Result<(), StateError> {
    let kept = kept(apply, upload, &drop)?;
    let most = DROPPED_PARTS_PER_ENTRY;
    let rows = part_rows(apply.kv, upload, drop.after, most, |n| !kept.contains(n))?;
    let mut layout = Layout::default();
    for (number, row) in &rows {
        for extent in &row.extents {
            displace_extent(apply, &mut layout, extent)?;
        }
        let key = part::ser_key(upload, *number);
        apply.kv.delete(Table::UploadParts, &key)?;
    }
    let key = ser_key(Dropped::Upload(upload));
    match rows.last() {
        Some((last, _)) if rows.len() == most => {
            drop.after = *last;
            Ok(store(apply.kv, Table::UploadDrops, &key, &drop)?)
        }
        _ => Ok(apply.kv.delete(Table::UploadDrops, &key)?),
    }
}

/// The parts of the upload that a version of its object has, current or not.
fn kept(apply: &Apply<'_>, upload: UploadId, drop: &UploadDrop) -> Result<PartRanges, StateError> {
    let object = (BucketId(drop.bucket), drop.key.as_str());
    let version = live::became(apply.kv, object, upload)?;
    Ok(match version.map(|(row, _)| row.body) {
        Some(Body::Parts(body)) => body.ranges,
        _ => PartRanges::default(),
    })
}
