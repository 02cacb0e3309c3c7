//! Checksums: CRC32C under every block and message, CRC64/NVME over every object.

use crc_fast::{CrcAlgorithm, Digest};

/// CRC32C (Castagnoli) of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    low_half(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes))
}

/// `crc-fast` returns 32-bit checksums in the low half of a `u64`.
fn low_half(wide: u64) -> u32 {
    u32::try_from(wide & u64::from(u32::MAX)).expect("masked to 32 bits")
}

/// A CRC32C over bytes that arrive in pieces.
#[derive(Debug)]
pub struct Crc32c(Digest);

impl Default for Crc32c {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Crc32c {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of everything added so far.
    #[must_use]
    pub fn value(&self) -> u32 {
        low_half(self.0.finalize())
    }
}

/// A CRC64/NVME over bytes that arrive in pieces: the whole-object checksum, as S3 offers it.
#[derive(Debug)]
pub struct Crc64Nvme(Digest);

impl Default for Crc64Nvme {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64Nvme))
    }
}

impl Crc64Nvme {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of everything added so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.finalize()
    }

    /// The checksum of `bytes` in one call.
    #[must_use]
    pub fn of(bytes: &[u8]) -> u64 {
        crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values of the CRC catalogue for the input `123456789`.
    #[test]
    fn catalogue_check_values() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(Crc64Nvme::of(b"123456789"), 0xae8b_1486_0a79_9888);
    }

    #[test]
    fn pieces_equal_the_whole() {
        let mut short = Crc32c::default();
        let mut long = Crc64Nvme::default();
        for piece in [&b"1234"[..], b"", b"56789"] {
            short.update(piece);
            long.update(piece);
        }
        assert_eq!(short.value(), crc32c(b"123456789"));
        assert_eq!(long.value(), Crc64Nvme::of(b"123456789"));
    }
}
