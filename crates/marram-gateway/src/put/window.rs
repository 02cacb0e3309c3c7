//! The bytes of a put between the client and the drives, cut into windows.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use marram_types::caps::{API_DATA_BYTES_MAX, PROFILE_K_MAX};
use tokio::sync::OwnedSemaphorePermit;

/// Zeros behind a window's bytes: a short stripe is padded with fewer than `k` of them.
const PADDING: usize = PROFILE_K_MAX as usize;

/// The permit for a window's memory, shared by all that hold its bytes; none for a window that
/// needs no permit.
pub(super) type WindowMemory = Option<Arc<OwnedSemaphorePermit>>;

/// A window that is kept until all its shards are durable (rules.md 18).
pub(super) struct Window {
    len: usize,
    padded: Bytes,
    memory: WindowMemory,
}

impl Window {
    /// What must be kept as long as the window's bytes are.
    pub(super) fn memory(&self) -> WindowMemory {
        self.memory.clone()
    }

    /// The window's bytes with zeros behind them, `padded_len` in all, for the coder.
    pub(super) fn padded(&self, padded_len: u64) -> Bytes {
        let end = usize::try_from(padded_len).expect("a window is in memory");
        debug_assert!(end >= self.len && end - self.len < PADDING);
        self.padded.slice(..end)
    }
}

/// Bytes that wait until they are a window.
#[derive(Debug, Default)]
pub(super) struct Filling {
    bytes: BytesMut,
}

impl Filling {
    pub(super) fn new(first: BytesMut) -> Self {
        Self { bytes: first }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next bytes. One allocation holds a whole window
    /// and its padding; `window` is the length that it is meant to get.
    pub(super) fn push(&mut self, chunk: &Bytes, window: usize) {
        if self.bytes.capacity() - self.bytes.len() < chunk.len() + PADDING {
            // The last chunk may reach beyond the window by its own length.
            let whole = window + API_DATA_BYTES_MAX + PADDING;
            self.bytes.reserve(
                whole
                    .saturating_sub(self.bytes.len())
                    .max(chunk.len() + PADDING),
            );
        }
        self.bytes.extend_from_slice(chunk);
    }

    /// Cuts a window of at most `len` bytes off the front.
    pub(super) fn cut(&mut self, len: usize, memory: Option<OwnedSemaphorePermit>) -> Window {
        let len = len.min(self.bytes.len());
        let mut window = if len == self.bytes.len() {
            std::mem::take(&mut self.bytes)
        } else {
            let rest = BytesMut::from(&self.bytes[len..]);
            let mut all = std::mem::replace(&mut self.bytes, rest);
            all.truncate(len);
            all
        };
        window.resize(len + PADDING, 0);
        Window {
            len,
            padded: window.freeze(),
            memory: memory.map(Arc::new),
        }
    }
}
