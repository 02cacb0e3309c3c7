//! What is wrong with a put whatever the state, so that no row ever holds what cannot be.

use marram_types::caps::{
    CONTENT_TYPE_BYTES_MAX, EXTENT_BYTES_MAX, INLINE_BYTES_MAX, KEY_BYTES_MAX, OBJECT_EXTENTS_MAX,
    USER_METADATA_BYTES_MAX,
};
use marram_types::{DataId, check_tags_form};

use super::new_extent::NewExtent;
use super::put_ref::{NewBodyRef, PutRef};
use crate::refusal::Malformed;

/// Longest `ETag` that a row keeps.
pub(super) const ETAG_BYTES_MAX: usize = 256;

/// What is wrong with the put whatever the state.
pub(super) fn check_form(put: &PutRef<'_>, index: u64) -> Result<(), Malformed> {
    if put.key.is_empty() || put.key.len() > KEY_BYTES_MAX {
        return Err(Malformed::Key);
    }
    check_metadata(put.metadata_bytes, put.content_type)?;
    let tags = put.owned_tags();
    check_tags(&tags)?;
    if put.etag.len() > ETAG_BYTES_MAX {
        return Err(Malformed::Metadata);
    }
    match &put.body {
        NewBodyRef::Inline { bytes, .. } if bytes.len() > INLINE_BYTES_MAX => {
            Err(Malformed::Inline)
        }
        NewBodyRef::Inline { bytes, .. } if bytes.len() as u64 != put.size => Err(Malformed::Size),
        NewBodyRef::Inline { .. } => Ok(()),
        NewBodyRef::Extents(extents) => {
            check_extents(extents, index)?;
            // No overflow: at most 10,240 times 1 GiB.
            let size: u64 = extents.iter().map(|new| new.extent.length).sum();
            if size == put.size {
                Ok(())
            } else {
                Err(Malformed::Size)
            }
        }
    }
}

/// What is wrong with what an object is said to be.
pub(super) fn check_metadata(bytes: usize, content_type: &str) -> Result<(), Malformed> {
    if bytes > USER_METADATA_BYTES_MAX || content_type.len() > CONTENT_TYPE_BYTES_MAX {
        return Err(Malformed::Metadata);
    }
    Ok(())
}

/// What is wrong with the tags of an object.
pub(super) fn check_tags(tags: &[(String, String)]) -> Result<(), Malformed> {
    check_tags_form(tags).map_err(|_| Malformed::Tags)
}

/// What is wrong with new extents whatever the state.
pub(super) fn check_extents(extents: &[NewExtent], index: u64) -> Result<(), Malformed> {
    let fits = |new: &NewExtent| {
        let extent = &new.extent;
        extent.is_well_formed() && extent.length <= EXTENT_BYTES_MAX && extent.overrides.is_empty()
    };
    if extents.is_empty() || extents.len() > OBJECT_EXTENTS_MAX || !extents.iter().all(fits) {
        return Err(Malformed::Extents);
    }
    if extents.iter().any(|new| new.extent.missing != 0) {
        return Err(Malformed::Missing);
    }
    if !extents.iter().all(NewExtent::is_whole) {
        return Err(Malformed::Places);
    }
    let mut ids: Vec<DataId> = extents.iter().map(|new| new.extent.data).collect();
    ids.sort_unstable();
    let twice = ids.windows(2).any(|pair| pair[0] == pair[1]);
    if twice || ids.iter().any(|data| data.begin > index) {
        return Err(Malformed::DataId);
    }
    Ok(())
}
