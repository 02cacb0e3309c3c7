//! A window: whole stripes of an extent that are coded and sent together.
//!
//! A window has the geometry of an extent of its own, because all windows but the last are whole
//! stripes; its runs follow those of the windows before it in the shards.

use bytes::Bytes;
use marram_types::caps::BLOCK_BYTES;

use crate::codec::{Codec, CodecError};
use crate::geometry::Geometry;
use crate::pool::{BufferPool, PooledBuffer};

/// Column width of coding: inputs and outputs of one call stay in the cache.
const COLUMN_BYTES: usize = BLOCK_BYTES;

/// Why a window could not be coded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The buffer is not the window and its padding.
    #[error("a window with its padding has {want} bytes, and {got} were given")]
    Padding {
        /// [`Geometry::padded_len`].
        want: u64,
        /// Bytes given.
        got: usize,
    },
    /// The codec or the buffers do not fit the geometry.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Cuts a window into the runs of its shards: `runs[i]` is the run of shard `i`, in pieces. Data
/// runs are slices of the window, parity is computed into fresh buffers; copies (`1+m`) share the
/// window's bytes.
///
/// `padded` is the window followed by zeros up to [`Geometry::padded_len`] of the window's
/// geometry (fewer than `k` bytes, and only in a window with a short stripe).
///
/// # Errors
/// When `padded` has another length, or `codec` another profile than the geometry.
pub fn encode_window(
    codec: &dyn Codec,
    geometry: &Geometry,
    padded: &Bytes,
) -> Result<Vec<Vec<Bytes>>, WindowError> {
    encode_window_in(codec, geometry, padded, &BufferPool::new(0))
}

/// [`encode_window`] with the parity in buffers of `pool`: two to three times as fast.
///
/// # Errors
/// As [`encode_window`].
pub fn encode_window_in(
    codec: &dyn Codec,
    geometry: &Geometry,
    padded: &Bytes,
    pool: &BufferPool,
) -> Result<Vec<Vec<Bytes>>, WindowError> {
    check_padding(geometry, padded)?;
    let profile = geometry.profile();
    if profile.k() == 1 {
        return Ok(vec![vec![padded.clone()]; profile.width()]);
    }
    let mut runs: Vec<Vec<Bytes>> = (0..profile.k())
        .map(|shard| {
            cells(geometry, shard)
                .map(|(at, len)| padded.slice(at..at + len))
                .collect()
        })
        .collect();
    let shard_len = small(geometry.shard_len());
    let mut parity: Vec<PooledBuffer> = (0..profile.m()).map(|_| pool.take(shard_len)).collect();
    let mut slices: Vec<&mut [u8]> = parity.iter_mut().map(|p| &mut **p).collect();
    parity_of_window(codec, geometry, padded, &mut slices)?;
    runs.extend(parity.into_iter().map(|p| vec![p.freeze()]));
    Ok(runs)
}

/// Computes only the parity runs of a window, into buffers of [`Geometry::shard_len`] bytes that
/// the caller may use again and again.
///
/// # Errors
/// When a buffer has another length, or `codec` another profile than the geometry.
pub fn parity_of_window(
    codec: &dyn Codec,
    geometry: &Geometry,
    padded: &[u8],
    parity: &mut [&mut [u8]],
) -> Result<(), WindowError> {
    check_padding(geometry, padded)?;
    let shard_len = small(geometry.shard_len());
    if parity.iter().any(|p| p.len() != shard_len) {
        return Err(CodecError::Lengths.into());
    }
    let k = geometry.profile().k();
    let mut data: Vec<&[u8]> = Vec::with_capacity(k);
    for stripe in 0..geometry.stripes() {
        let start = small(geometry.stripe_range(stripe).start);
        let shard_start = small(geometry.shard_range(stripe).start);
        let cell = geometry.cell_of(stripe) as usize;
        for column in (0..cell).step_by(COLUMN_BYTES) {
            let len = COLUMN_BYTES.min(cell - column);
            data.clear();
            data.extend((0..k).map(|i| {
                let at = start + i * cell + column;
                &padded[at..at + len]
            }));
            let at = shard_start + column;
            let mut out: Vec<&mut [u8]> = parity.iter_mut().map(|p| &mut p[at..at + len]).collect();
            codec.encode(&data, &mut out)?;
        }
    }
    Ok(())
}

/// Start and length in the padded window of each cell of a data shard.
fn cells(geometry: &Geometry, shard: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    (0..geometry.stripes()).map(move |stripe| {
        let cell = geometry.cell_of(stripe) as usize;
        let start = small(geometry.stripe_range(stripe).start) + shard * cell;
        (start, cell)
    })
}

fn check_padding(geometry: &Geometry, padded: &[u8]) -> Result<(), WindowError> {
    let want = geometry.padded_len();
    if want == padded.len() as u64 {
        Ok(())
    } else {
        Err(WindowError::Padding {
            want,
            got: padded.len(),
        })
    }
}

/// An offset within a window, whose bytes are in memory.
fn small(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset within bytes in memory")
}

#[cfg(test)]
mod tests;
