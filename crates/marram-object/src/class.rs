//! How an object is kept, by its size.

use marram_types::Profile;
use marram_types::caps::{COPIES_BYTES_MAX, INLINE_BYTES_MAX};

/// How the bytes of an object are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageClass {
    /// In the metadata row: up to 4 KiB.
    Inline,
    /// As `m + 1` whole copies: up to 128 KiB, where cutting costs more than it saves.
    Copies(Profile),
    /// As `k + m` shards.
    Stripes(Profile),
}

impl StorageClass {
    /// The class of an object of `size` bytes in a bucket of `profile`.
    #[must_use]
    pub fn choose(size: u64, profile: Profile) -> Self {
        if size <= INLINE_BYTES_MAX as u64 {
            Self::Inline
        } else if size <= COPIES_BYTES_MAX as u64 {
            Self::Copies(profile.as_copies())
        } else {
            Self::Stripes(profile)
        }
    }

    /// The profile that the object's extents should have; `None` for inline bytes, which have no
    /// extents.
    #[must_use]
    pub fn profile(self) -> Option<Profile> {
        match self {
            Self::Inline => None,
            Self::Copies(profile) | Self::Stripes(profile) => Some(profile),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_at_their_boundaries() {
        let profile: Profile = "4+2".parse().expect("valid");
        let copies = StorageClass::Copies("1+2".parse().expect("valid"));
        let stripes = StorageClass::Stripes(profile);
        let of = |size| StorageClass::choose(size, profile);
        assert_eq!([of(0), of(4096)], [StorageClass::Inline; 2]);
        assert_eq!([of(4097), of(128 * 1024)], [copies; 2]);
        assert_eq!([of(128 * 1024 + 1), of(u64::MAX)], [stripes; 2]);
        assert_eq!(of(0).profile(), None);
        assert_eq!(of(5000).profile(), Some(profile.as_copies()));
    }
}
