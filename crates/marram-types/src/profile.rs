//! Erasure profiles.

use std::fmt;
use std::str::FromStr;

use crate::caps::{PROFILE_K_MAX, PROFILE_M_MAX};

/// An erasure profile `k+m`: any `k` of its `k + m` shards give the data back, so any `m` may be
/// lost. `1+m` means `m + 1` whole copies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Profile {
    k: u8,
    m: u8,
}

/// A profile that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "profile {text:?} is not valid: write it as k+m, for example 4+2, with k from 1 to 32 and m from 0 to 8"
)]
pub struct ProfileError {
    /// What was given.
    pub text: String,
}

impl Profile {
    /// The profile of `k` data and `m` parity shards.
    ///
    /// # Errors
    /// When `k` is not in `1..=32` or `m` not in `0..=8`.
    pub fn new(k: u8, m: u8) -> Result<Self, ProfileError> {
        if k == 0 || k > PROFILE_K_MAX || m > PROFILE_M_MAX {
            return Err(ProfileError {
                text: format!("{k}+{m}"),
            });
        }
        Ok(Self { k, m })
    }

    /// Data shards.
    #[must_use]
    pub fn k(self) -> usize {
        usize::from(self.k)
    }

    /// Parity shards: how many losses the data survives.
    #[must_use]
    pub fn m(self) -> usize {
        usize::from(self.m)
    }

    /// All shards, `k + m`.
    #[must_use]
    pub fn width(self) -> usize {
        self.k() + self.m()
    }

    /// The profile that keeps whole copies and survives as many losses.
    #[must_use]
    pub fn as_copies(self) -> Self {
        Self { k: 1, m: self.m }
    }

    /// `k` as it is stored.
    #[must_use]
    pub fn k_byte(self) -> u8 {
        self.k
    }

    /// `m` as it is stored.
    #[must_use]
    pub fn m_byte(self) -> u8 {
        self.m
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.k, self.m)
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let bad = || ProfileError {
            text: text.to_owned(),
        };
        let (k, m) = text.split_once('+').ok_or_else(bad)?;
        Self::new(k.parse().map_err(|_| bad())?, m.parse().map_err(|_| bad())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip_and_refusals() {
        assert_eq!("4+2".parse::<Profile>().expect("valid").to_string(), "4+2");
        for bad in ["", "4", "4+", "0+2", "33+2", "4+9", "4+2+1", "-1+2", "a+b"] {
            assert!(bad.parse::<Profile>().is_err(), "{bad}");
        }
    }
}
