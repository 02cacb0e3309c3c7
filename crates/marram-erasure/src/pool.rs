//! Buffers used again and again.
//!
//! Fresh megabytes cost page faults, which take longer than coding them: with kept buffers a 4+2
//! window is coded two to three times as fast (`benches/codec.rs`).

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers that come back when the last [`Bytes`] made of them is dropped. Clones share them.
#[derive(Clone)]
pub struct BufferPool(Arc<Shelf>);

struct Shelf {
    /// Most bytes kept while nobody uses them.
    limit: usize,
    idle: Mutex<Vec<Vec<u8>>>,
}

/// A buffer of a pool, owned. Its contents are zeros or whatever it held before: overwrite all of
/// it before it leaves the process.
pub struct PooledBuffer {
    buffer: Vec<u8>,
    len: usize,
    home: Arc<Shelf>,
}

impl BufferPool {
    /// A pool that keeps at most `limit` bytes of idle buffers; more are freed.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shelf {
            limit,
            idle: Mutex::new(Vec::new()),
        }))
    }

    /// A buffer of `len` bytes: an idle one of at most twice the length, else a fresh one.
    #[must_use]
    pub fn take(&self, len: usize) -> PooledBuffer {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |b: &Vec<u8>| (len..=len.saturating_mul(2)).contains(&b.len());
        let found = idle.iter().position(fits).map(|i| idle.swap_remove(i));
        drop(idle);
        PooledBuffer {
            buffer: found.unwrap_or_else(|| vec![0; len]),
            len,
            home: Arc::clone(&self.0),
        }
    }

    /// Bytes of idle buffers.
    #[must_use]
    pub fn idle_bytes(&self) -> usize {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.iter().map(Vec::len).sum()
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("limit", &self.0.limit)
            .field("idle", &self.idle_bytes())
            .finish()
    }
}

impl PooledBuffer {
    /// Shares the bytes; the buffer goes back to its pool with the last clone or slice.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for PooledBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PooledBuffer({})", self.len)
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut idle = self
            .home
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let kept: usize = idle.iter().map(Vec::len).sum();
        if !buffer.is_empty() && kept + buffer.len() <= self.home.limit {
            idle.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_with_the_last_slice() {
        let pool = BufferPool::new(1000);
        let mut buffer = pool.take(100);
        buffer.fill(7);
        let bytes = buffer.freeze();
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(pool.idle_bytes(), 0);
        assert_eq!(slice[..], [7; 10]);
        drop(slice);
        assert_eq!(pool.idle_bytes(), 100);
        assert_eq!(pool.take(60)[..], [7; 60], "used again");
        assert_eq!(
            pool.take(49)[..],
            [0; 49],
            "too large a buffer would be wasted"
        );
    }

    #[test]
    fn the_limit_holds() {
        let pool = BufferPool::new(250);
        let taken: Vec<PooledBuffer> = (0..5).map(|_| pool.take(100)).collect();
        drop(taken);
        assert_eq!(pool.idle_bytes(), 200);
    }
}
