//! The codec trait and the table of codecs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use marram_types::Profile;

use crate::reed::{Copies, ReedSolomonCodec};

/// Names the code in every stored header: Reed-Solomon over GF(2^8) with the polynomial 0x11D.
pub const CODEC_ID: u8 = 1;
/// Names the matrix in every stored header: Vandermonde, made systematic by the inverse of its top
/// square.
pub const MATRIX_ID: u8 = 1;

/// What the caller has, or wants, of one shard.
#[derive(Debug)]
pub enum Shard<'a> {
    /// Its bytes are here.
    Have(&'a [u8]),
    /// It is missing, and its bytes are to be written here.
    Want(&'a mut [u8]),
    /// It is missing and not wanted.
    Skip,
}

/// Why bytes could not be coded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Another number of slices than the profile has shards.
    #[error("the profile has {want} shards of this kind, and {got} slices were given")]
    ShardCount {
        /// What the profile has.
        want: usize,
        /// What was given.
        got: usize,
    },
    /// The slices have different lengths.
    #[error("shards of one stripe have one length, and the slices given differ")]
    Lengths,
    /// Too many shards are missing.
    #[error("{need} shards are needed to decode, and {have} are here")]
    TooFew {
        /// `k`.
        need: usize,
        /// Shards given.
        have: usize,
    },
}

/// Codes the stripes of one profile. Calls are independent, thread-safe, and stay on the calling
/// thread.
pub trait Codec: Send + Sync + fmt::Debug {
    /// The profile.
    fn profile(&self) -> Profile;

    /// Fills the `m` parity slices from the `k` data slices, all of one length. Nothing happens to
    /// slices of length 0.
    ///
    /// # Errors
    /// When a count or a length is wrong; then no parity is changed.
    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), CodecError>;

    /// Fills every [`Shard::Want`] from at least `k` [`Shard::Have`]. One entry for each of the
    /// `k + m` shards, all slices of one length.
    ///
    /// # Errors
    /// When a count or a length is wrong, or fewer than `k` shards are given; then nothing is
    /// written.
    fn reconstruct(&self, shards: &mut [Shard<'_>]) -> Result<(), CodecError>;
}

type Table = BTreeMap<Profile, Arc<dyn Codec>>;

/// Codecs made so far: at most one for each of the 288 profiles.
static CODECS: RwLock<Table> = RwLock::new(BTreeMap::new());

/// The codec of `profile`. It is made once and then shared, because it holds the matrices of the
/// losses it has met.
#[must_use]
pub fn codec_for(profile: Profile) -> Arc<dyn Codec> {
    let known = CODECS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(codec) = known.get(&profile) {
        return Arc::clone(codec);
    }
    drop(known);
    let mut known = CODECS.write().unwrap_or_else(PoisonError::into_inner);
    let codec = known.entry(profile).or_insert_with(|| make(profile));
    Arc::clone(codec)
}

fn make(profile: Profile) -> Arc<dyn Codec> {
    if profile.k() == 1 || profile.m() == 0 {
        Arc::new(Copies::new(profile))
    } else {
        Arc::new(ReedSolomonCodec::new(profile))
    }
}

/// Checks that `got` slices were given where `want` belong.
pub(crate) fn check_count(want: usize, got: usize) -> Result<(), CodecError> {
    if want == got {
        Ok(())
    } else {
        Err(CodecError::ShardCount { want, got })
    }
}

/// What a call to `encode` was given: counts and one length.
pub(crate) fn check_encode(
    profile: Profile,
    data: &[&[u8]],
    parity: &[&mut [u8]],
) -> Result<usize, CodecError> {
    check_count(profile.k(), data.len())?;
    check_count(profile.m(), parity.len())?;
    let len = data[0].len();
    if data.iter().any(|d| d.len() != len) || parity.iter().any(|p| p.len() != len) {
        return Err(CodecError::Lengths);
    }
    Ok(len)
}

/// What a call to `reconstruct` was given: counts, one length, enough shards.
pub(crate) fn check_reconstruct(
    profile: Profile,
    shards: &[Shard<'_>],
) -> Result<usize, CodecError> {
    check_count(profile.width(), shards.len())?;
    let mut lengths = shards.iter().filter_map(|s| match s {
        Shard::Have(bytes) => Some(bytes.len()),
        Shard::Want(bytes) => Some(bytes.len()),
        Shard::Skip => None,
    });
    let len = lengths.next().unwrap_or(0);
    if lengths.any(|l| l != len) {
        return Err(CodecError::Lengths);
    }
    let have = shards
        .iter()
        .filter(|s| matches!(s, Shard::Have(_)))
        .count();
    if have < profile.k() {
        return Err(CodecError::TooFew {
            need: profile.k(),
            have,
        });
    }
    Ok(len)
}

#[cfg(test)]
mod tests;
