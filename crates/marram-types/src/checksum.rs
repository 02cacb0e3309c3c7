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

/// The CRC32C of two runs of bytes one after the other, of which the second has `len` bytes.
#[must_use]
pub fn crc32c_joined(first: u32, second: u32, len: u64) -> u32 {
    let (first, second) = (u64::from(first), u64::from(second));
    let joined = crc_fast::checksum_combine(CrcAlgorithm::Crc32Iscsi, first, second, len);
    low_half(joined)
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

    /// The checksum of two runs of bytes one after the other, of which the second has `len` bytes.
    #[must_use]
    pub fn joined(first: u64, second: u64, len: u64) -> u64 {
        crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, first, second, len)
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
    fn sums_of_parts_join_to_the_sum_of_the_whole() {
        for at in 0..=9 {
            let (one, two) = b"123456789".split_at(at);
            let len = two.len() as u64;
            let joined = Crc64Nvme::joined(Crc64Nvme::of(one), Crc64Nvme::of(two), len);
            assert_eq!(joined, 0xae8b_1486_0a79_9888, "split at {at}");
            assert_eq!(crc32c_joined(crc32c(one), crc32c(two), len), 0xe306_9283);
        }
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
