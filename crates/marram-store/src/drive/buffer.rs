//! Memory aligned for direct I/O, without unsafe code: an over-allocated vector and an offset.

/// Alignment of offsets, lengths and memory of direct writes: enough for every device.
pub(super) const ALIGN: usize = 4096;

/// A zeroed buffer whose bytes begin at a multiple of [`ALIGN`].
#[derive(Debug)]
pub(super) struct AlignedBuffer {
    raw: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zero bytes.
    pub(super) fn new(len: usize) -> Self {
        let raw = vec![0; len + ALIGN];
        let start = raw.as_ptr().align_offset(ALIGN);
        Self { raw, start, len }
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.raw[self.start..self.start + self.len]
    }
}

/// Whether direct I/O can use these bytes where they are.
pub(super) fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().align_offset(ALIGN) == 0
}
