//! What is wrong with a put whatever the state, so that no row ever holds what cannot be.

use marram_types::DataId;
use marram_types::caps::{
    CONTENT_TYPE_BYTES_MAX, EXTENT_BYTES_MAX, INLINE_BYTES_MAX, KEY_BYTES_MAX, OBJECT_EXTENTS_MAX,
    USER_METADATA_BYTES_MAX,
};

use super::put_ref::{NewBodyRef, PutRef};
use crate::kinds::extent::Extent;
use crate::refusal::Malformed;

/// Longest `ETag` that a row keeps.
const ETAG_BYTES_MAX: usize = 256;

/// What is wrong with the put whatever the state.
pub(super) fn check_form(put: &PutRef<'_>, index: u64) -> Result<(), Malformed> {
    if put.key.is_empty() || put.key.len() > KEY_BYTES_MAX {
        return Err(Malformed::Key);
    }
    if put.metadata_bytes > USER_METADATA_BYTES_MAX
        || put.content_type.len() > CONTENT_TYPE_BYTES_MAX
        || put.etag.len() > ETAG_BYTES_MAX
    {
        return Err(Malformed::Metadata);
    }
    match &put.body {
        NewBodyRef::Inline { bytes, .. } if bytes.len() > INLINE_BYTES_MAX => {
            Err(Malformed::Inline)
        }
        NewBodyRef::Inline { bytes, .. } if bytes.len() as u64 != put.size => Err(Malformed::Size),
        NewBodyRef::Inline { .. } => Ok(()),
        NewBodyRef::Extents(extents) => check_extents(extents, put.size, index),
    }
}

fn check_extents(extents: &[Extent], size: u64, index: u64) -> Result<(), Malformed> {
    let fits = |e: &Extent| e.is_well_formed() && e.length <= EXTENT_BYTES_MAX;
    if extents.is_empty() || extents.len() > OBJECT_EXTENTS_MAX || !extents.iter().all(fits) {
        return Err(Malformed::Extents);
    }
    if extents.iter().any(|e| e.missing != 0) {
        return Err(Malformed::Missing);
    }
    // No overflow: at most 10,240 times 1 GiB.
    if extents.iter().map(|e| e.length).sum::<u64>() != size {
        return Err(Malformed::Size);
    }
    let mut ids: Vec<DataId> = extents.iter().map(|e| e.data).collect();
    ids.sort_unstable();
    let twice = ids.windows(2).any(|pair| pair[0] == pair[1]);
    if twice || ids.iter().any(|data| data.begin > index) {
        return Err(Malformed::DataId);
    }
    Ok(())
}
