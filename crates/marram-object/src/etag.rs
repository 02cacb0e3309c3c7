//! The ETag of an object without an MD5.

/// The quoted token of an object's CRC64/NVME and size (rules.md 15). It is fixed at commit.
///
/// ```
/// assert_eq!(marram_object::etag(0xabc, 5), "\"0000000000000abc-5\"");
/// ```
#[must_use]
pub fn etag(crc64: u64, size: u64) -> String {
    format!("\"{crc64:016x}-{size}\"")
}
