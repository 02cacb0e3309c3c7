//! Random bytes and sizes from a seed, so that a failure can be repeated.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

/// An object as a test knows it.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub content: Bytes,
}

/// Random bytes that contents are cut from. Two contents begin at different places, so bytes of
/// one object in another one are noticed.
#[derive(Debug)]
pub struct Pool {
    bytes: Bytes,
    rng: SmallRng,
}

impl Pool {
    /// A pool of `len` bytes.
    #[must_use]
    pub fn new(seed: u64, len: usize) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        Self {
            bytes: bytes.into(),
            rng,
        }
    }

    /// A content of `len` bytes.
    ///
    /// # Panics
    /// When the pool is not longer than that.
    pub fn content(&mut self, len: usize) -> Bytes {
        let start = self.rng.random_range(0..self.bytes.len() - len);
        self.bytes.slice(start..start + len)
    }

    /// An object of `len` bytes.
    pub fn object(&mut self, key: impl Into<String>, len: usize) -> Object {
        Object {
            key: key.into(),
            content: self.content(len),
        }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }
}

/// `count` sizes from 0 to `max`, uniform in their logarithm, both ends included, drawn again
/// until all of them together are below `total`.
///
/// # Panics
/// When that many sizes will never be small enough.
#[must_use]
pub fn log_uniform_sizes(seed: u64, count: usize, max: u64, total: u64) -> Vec<usize> {
    for attempt in 0..1000 {
        let mut rng = SmallRng::seed_from_u64(seed + attempt);
        let mut sizes = vec![0, max];
        let top = (max as f64).ln();
        sizes.resize_with(count, || rng.random_range(0.0..top).exp() as u64);
        if sizes.iter().sum::<u64>() < total {
            return sizes.into_iter().map(|size| size as usize).collect();
        }
    }
    panic!("{count} sizes up to {max} do not stay below {total} together");
}
