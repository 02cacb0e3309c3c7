//! Which bytes of an object a range names.

use std::ops::Range;

use marram_proto::v1;

use super::GetError;

/// The bytes asked for, all of them where no range was given. A range that ends beyond the object
/// is cut there.
pub(super) fn resolve(range: Option<v1::ByteRange>, size: u64) -> Result<Range<u64>, GetError> {
    let Some(range) = range else {
        return Ok(0..size);
    };
    let start = match u64::try_from(range.offset) {
        Ok(offset) => offset,
        Err(_) => size.saturating_sub(range.offset.unsigned_abs()),
    };
    if start >= size {
        return Err(GetError::Range { size });
    }
    let end = match range.length {
        0 => size,
        length => start.saturating_add(length).min(size),
    };
    Ok(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(offset: i64, length: u64, size: u64) -> Option<Range<u64>> {
        resolve(Some(v1::ByteRange { offset, length }), size).ok()
    }

    #[test]
    fn ranges_are_cut_to_the_object() {
        assert_eq!(resolve(None, 7).unwrap(), 0..7);
        assert_eq!(resolve(None, 0).unwrap(), 0..0);
        assert_eq!(of(0, 0, 7), Some(0..7));
        assert_eq!(of(2, 3, 7), Some(2..5));
        assert_eq!(of(2, u64::MAX, 7), Some(2..7));
        assert_eq!(of(6, 1, 7), Some(6..7));
    }

    #[test]
    fn negative_offsets_count_from_the_end() {
        assert_eq!(of(-3, 0, 7), Some(4..7));
        assert_eq!(of(-3, 1, 7), Some(4..5));
        assert_eq!(of(-100, 0, 7), Some(0..7));
        assert_eq!(of(i64::MIN, 0, 7), Some(0..7));
    }

    #[test]
    fn a_range_beyond_the_end_is_refused() {
        for (offset, size) in [(7, 7), (8, 7), (i64::MAX, 7), (0, 0), (-1, 0)] {
            assert_eq!(of(offset, 0, size), None, "{offset} of {size}");
        }
    }
}
