//! What becomes of an object's versions (decision 0032). `Objects` holds the current version, `Noncurrent`
//! the earlier ones and the delete markers, the current one too. Versions go from one table to the other
//! whole: their data stays where it is, and only what refers back to them changes.
//!
//! The current version of a key is always the newest: where `Objects` has no row of it, `Noncurrent` has
//! nothing of it or a delete marker as its newest.

use std::ops::{Bound, ControlFlow};

use marram_types::{BucketId, Generation};

use super::displace::displace;
use super::extents::row_extents;
use super::{profile, usage};
use crate::kinds::bucket::BucketRecord;
use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::noncurrent::{self as past, DeleteMarker, Past};
use crate::kinds::object::{Body, VersionRow, ser_key};
use crate::kinds::usage::Usage;
use crate::kinds::versioning::Versioning;
use crate::kv::{KvError, KvRead, Table};
use crate::layout::Layout;
use crate::live::{self, Shelf};
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, store};

/// An object's name as rows have it.
type Name<'a> = (BucketId, &'a str);

/// What refers back to a version.
pub(super) fn holder((bucket, key): Name<'_>, shelf: Shelf, generation: Generation) -> DataRef {
    let key = key.to_owned();
    match shelf {
        Shelf::Current => DataRef::Live { bucket, key },
        Shelf::Noncurrent => DataRef::Noncurrent {
            bucket,
            key,
            generation,
        },
    }
}

/// Makes way for a new version or marker: what it replaces is kept or displaced, as the bucket's
/// versioning says. The row of the current version stays where it is, for the caller to write over.
pub(super) fn make_way(
    apply: &mut Apply<'_>,
    layout: &mut Layout,
    record: &BucketRecord,
    key: &str,
    current: Option<VersionRow>,
) -> Result<(), StateError> {
    let name = (record.bucket, key);
    match (record.versioning, current) {
        (Versioning::Off | Versioning::On, None) => Ok(()),
        (Versioning::On, Some(row)) => shelve(apply, record, key, row),
        (Versioning::Off, Some(row)) => remove_current(apply, layout, name, &row),
        (Versioning::Suspended, None) => remove_null(apply, layout, name),
        (Versioning::Suspended, Some(row)) if row.numbered => {
            shelve(apply, record, key, row)?;
            remove_null(apply, layout, name)
        }
        // The current version is the null version, and there is never another one.
        (Versioning::Suspended, Some(row)) => remove_current(apply, layout, name, &row),
    }
}

/// What of the usage goes when something new is written over a key, by [`make_way`]. Nothing is looked at
/// where the bucket has no quota, the only one who asks.
pub(super) fn freed(
    kv: &dyn KvRead,
    record: &BucketRecord,
    key: &str,
    current: Option<&VersionRow>,
) -> Result<Usage, StateError> {
    if record.quota.is_none() {
        return Ok(Usage::default());
    }
    Ok(match (record.versioning, current) {
        (Versioning::On, _) | (Versioning::Off, None) => Usage::default(),
        (Versioning::Off, Some(row)) => usage::of(row, Shelf::Current),
        (Versioning::Suspended, Some(row)) if !row.numbered => usage::of(row, Shelf::Current),
        (Versioning::Suspended, _) => match null_version(kv, (record.bucket, key))? {
            Some(Past::Version(row)) => usage::of(&row, Shelf::Noncurrent),
            Some(Past::Marker(_)) => usage::MARKER,
            None => Usage::default(),
        },
    })
}

/// Displaces the current version. Its row stays, for the caller to write over or to remove.
fn remove_current(
    apply: &mut Apply<'_>,
    layout: &mut Layout,
    name: Name<'_>,
    row: &VersionRow,
) -> Result<(), StateError> {
    displace(apply, layout, name, row)?;
    let counted = usage::of(row, Shelf::Current);
    usage::change(apply, name.0, counted, Usage::default())
}

/// Keeps the current version as one that is not. Its row in `Objects` stays, for the caller to write
/// over or to remove.
fn shelve(
    apply: &mut Apply<'_>,
    record: &BucketRecord,
    key: &str,
    row: VersionRow,
) -> Result<(), StateError> {
    let name = (record.bucket, key);
    let row = profile::catch_up(apply, record, key, (row, Shelf::Current))?;
    refer(apply, name, &row, Shelf::Noncurrent)?;
    let (old, new) = (
        usage::of(&row, Shelf::Current),
        usage::of(&row, Shelf::Noncurrent),
    );
    usage::change(apply, name.0, old, new)?;
    Ok(lay(apply, name, &Past::Version(Box::new(row)))?)
}

/// Writes that a deletion happened.
pub(super) fn mark(
    apply: &mut Apply<'_>,
    name: Name<'_>,
    marker: DeleteMarker,
) -> Result<(), StateError> {
    usage::change(apply, name.0, Usage::default(), usage::MARKER)?;
    Ok(lay(apply, name, &Past::Marker(marker))?)
}

fn lay(apply: &mut Apply<'_>, (bucket, key): Name<'_>, what: &Past) -> Result<(), KvError> {
    let generation = what.generation();
    if !what.is_numbered() {
        let pointer = past::ser_generation(generation);
        let null_key = ser_key(bucket, key);
        apply.kv.put(Table::NullVersions, &null_key, &pointer)?;
    }
    let row_key = past::ser_key(bucket, key, generation);
    store(apply.kv, Table::Noncurrent, &row_key, what)
}

/// Takes what is not current out of its table; what it holds stays.
fn take(apply: &mut Apply<'_>, (bucket, key): Name<'_>, what: &Past) -> Result<(), KvError> {
    if !what.is_numbered() {
        let null_key = ser_key(bucket, key);
        apply.kv.delete(Table::NullVersions, &null_key)?;
    }
    let row_key = past::ser_key(bucket, key, what.generation());
    apply.kv.delete(Table::Noncurrent, &row_key)
}

/// Removes what is not current for good.
fn forget(
    apply: &mut Apply<'_>,
    layout: &mut Layout,
    name: Name<'_>,
    what: &Past,
) -> Result<(), StateError> {
    take(apply, name, what)?;
    let counted = match what {
        Past::Marker(_) => usage::MARKER,
        Past::Version(row) => {
            if let Body::Parts(body) = &row.body {
                let upload = body.upload.0.to_be_bytes();
                apply.kv.delete(Table::NoncurrentUploads, &upload)?;
            }
            displace(apply, layout, name, row)?;
            usage::of(row, Shelf::Noncurrent)
        }
    };
    usage::change(apply, name.0, counted, Usage::default())
}

/// Removes the null version of a key, if it is not current.
fn remove_null(
    apply: &mut Apply<'_>,
    layout: &mut Layout,
    (bucket, key): Name<'_>,
) -> Result<(), StateError> {
    match null_version(apply.kv, (bucket, key))? {
        None => Ok(()),
        Some(what) => forget(apply, layout, (bucket, key), &what),
    }
}

/// The null version of a key, if it is not current.
fn null_version(kv: &dyn KvRead, (bucket, key): Name<'_>) -> Result<Option<Past>, StateError> {
    let Some(pointer) = kv.get(Table::NullVersions, &ser_key(bucket, key))? else {
        return Ok(None);
    };
    let generation =
        past::deser_generation(&pointer).map_err(StateError::corrupt(Table::NullVersions))?;
    let row_key = past::ser_key(bucket, key, generation);
    let what = load(kv, Table::Noncurrent, &row_key)?.ok_or_else(live::dangling)?;
    Ok(Some(what))
}

/// Has the data of a version refer to its row, wherever it lies from now on. That of parts refers to the
/// parts, which stay.
fn refer(
    apply: &mut Apply<'_>,
    name: Name<'_>,
    row: &VersionRow,
    shelf: Shelf,
) -> Result<(), StateError> {
    match (&row.body, shelf) {
        (Body::Inline { .. }, _) => Ok(()),
        (Body::Parts(body), Shelf::Noncurrent) => {
            let generation = past::ser_generation(row.generation);
            let upload = body.upload.0.to_be_bytes();
            Ok(apply
                .kv
                .put(Table::NoncurrentUploads, &upload, &generation)?)
        }
        (Body::Parts(body), Shelf::Current) => {
            let upload = body.upload.0.to_be_bytes();
            Ok(apply.kv.delete(Table::NoncurrentUploads, &upload)?)
        }
        (Body::Extents(_) | Body::Spilled { .. }, _) => {
            let reference = holder(name, shelf, row.generation).ser_value();
            for extent in row_extents(apply.kv, row)? {
                let ref_key = data_ref::ser_key(extent.pg, extent.data);
                apply.kv.put(Table::DataRefs, &ref_key, &reference)?;
            }
            Ok(())
        }
    }
}

/// What of one version a deletion found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Removed {
    Nothing,
    Version,
    Marker,
}

/// Removes one version or marker for good. Where it was the current one, the next newest is it then.
pub(super) fn remove(
    apply: &mut Apply<'_>,
    record: &BucketRecord,
    key: &str,
    generation: Generation,
    current: Option<&VersionRow>,
) -> Result<Removed, StateError> {
    let name = (record.bucket, key);
    let mut layout = Layout::default();
    if let Some(row) = current.filter(|row| row.generation == generation) {
        remove_current(apply, &mut layout, name, row)?;
        apply
            .kv
            .delete(Table::Objects, &ser_key(record.bucket, key))?;
        promote(apply, record, key)?;
        return Ok(Removed::Version);
    }
    let row_key = past::ser_key(record.bucket, key, generation);
    let Some(what) = load::<Past>(apply.kv, Table::Noncurrent, &row_key)? else {
        return Ok(Removed::Nothing);
    };
    forget(apply, &mut layout, name, &what)?;
    if current.is_none() {
        promote(apply, record, key)?;
    }
    Ok(match what {
        Past::Version(_) => Removed::Version,
        Past::Marker(_) => Removed::Marker,
    })
}

/// Makes the newest version current where none is, unless a marker is newer.
fn promote(apply: &mut Apply<'_>, record: &BucketRecord, key: &str) -> Result<(), StateError> {
    let name = (record.bucket, key);
    let Some(what @ Past::Version(_)) = newest(apply.kv, name)? else {
        return Ok(());
    };
    take(apply, name, &what)?;
    let Past::Version(row) = what else {
        unreachable!("matched above")
    };
    let (old, new) = (
        usage::of(&row, Shelf::Noncurrent),
        usage::of(&row, Shelf::Current),
    );
    usage::change(apply, name.0, old, new)?;
    refer(apply, name, &row, Shelf::Current)?;
    store(
        apply.kv,
        Table::Objects,
        &ser_key(record.bucket, key),
        &*row,
    )?;
    profile::catch_up(apply, record, key, (*row, Shelf::Current))?;
    Ok(())
}

/// The newest of what a key has beside its row in `Objects`.
pub(crate) fn newest(kv: &dyn KvRead, (bucket, key): Name<'_>) -> Result<Option<Past>, StateError> {
    let first = past::ser_key(bucket, key, Generation(u64::MAX));
    let last = past::ser_key(bucket, key, Generation(0));
    let mut found = None;
    let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
    kv.scan(Table::Noncurrent, range.0, range.1, &mut |_, value| {
        found = Some(Past::deser_value(value));
        ControlFlow::Break(())
    })?;
    found
        .transpose()
        .map_err(StateError::corrupt(Table::Noncurrent))
}
