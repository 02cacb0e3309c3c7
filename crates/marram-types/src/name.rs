//! Bucket names and object keys: checked where they enter, trusted afterwards.

use std::fmt;

use crate::caps::KEY_BYTES_MAX;

/// A bucket name that keeps S3's rules for general-purpose buckets: 3 to 63 characters of
/// `a-z 0-9 . -`, beginning and ending with a letter or digit, no two dots in a row, not shaped
/// like an IPv4 address, none of the reserved prefixes and suffixes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketName(String);

/// Why a bucket name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bucket name {name:?} is not valid: {reason}")]
pub struct BucketNameError {
    /// What was given.
    pub name: String,
    /// The rule it breaks, with what to do.
    pub reason: &'static str,
}

const RESERVED_PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
const RESERVED_SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

impl BucketName {
    /// Checks `name`.
    ///
    /// # Errors
    /// When the name breaks a rule of S3; the error says which.
    pub fn new(name: impl Into<String>) -> Result<Self, BucketNameError> {
        let name = name.into();
        match Self::broken_rule(&name) {
            None => Ok(Self(name)),
            Some(reason) => Err(BucketNameError { name, reason }),
        }
    }

    fn broken_rule(name: &str) -> Option<&'static str> {
        let edge_ok =
            |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if name.len() < 3 || name.len() > 63 {
            return Some("it must have 3 to 63 characters");
        }
        if !name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
        {
            return Some("only lower-case letters, digits, dots and hyphens are allowed");
        }
        if !edge_ok(name.chars().next()) || !edge_ok(name.chars().last()) {
            return Some("it must begin and end with a letter or a digit");
        }
        if name.contains("..") {
            return Some("two dots in a row are not allowed");
        }
        if name.parse::<std::net::Ipv4Addr>().is_ok() {
            return Some("it must not look like an IP address");
        }
        if RESERVED_PREFIXES.iter().any(|p| name.starts_with(p)) {
            return Some("it begins with a reserved prefix (xn--, sthree-, amzn-s3-demo-)");
        }
        if RESERVED_SUFFIXES.iter().any(|s| name.ends_with(s)) {
            return Some(
                "it ends with a reserved suffix (-s3alias, --ol-s3, .mrap, --x-s3, --table-s3)",
            );
        }
        None
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An object key: 1 to 1,024 bytes of UTF-8, any characters, as in S3. A key is never a path: it is
/// compared and ordered by its bytes, and `../` in it means nothing.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

/// Why an object key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key has no bytes.
    #[error("the object key is empty: give it 1 to 1024 bytes")]
    Empty,
    /// The key is too long.
    #[error("the object key has {bytes} bytes: at most 1024 are allowed")]
    TooLong {
        /// Length of the key given.
        bytes: usize,
    },
}

impl ObjectKey {
    /// Checks `key`.
    ///
    /// # Errors
    /// When the key is empty or longer than 1,024 bytes.
    pub fn new(key: impl Into<String>) -> Result<Self, KeyError> {
        let key = key.into();
        match key.len() {
            0 => Err(KeyError::Empty),
            bytes if bytes > KEY_BYTES_MAX => Err(KeyError::TooLong { bytes }),
            _ => Ok(Self(key)),
        }
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_s3() {
        for good in ["abc", "a1b", "my.bucket-1", "1.2.3", &"a".repeat(63)] {
            assert!(BucketName::new(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            "ab",
            &long,
            "Abc",
            "a_b",
            "-abc",
            "abc-",
            ".abc",
            "a..b",
            "192.168.0.1",
            "xn--abc",
            "abc-s3alias",
            "abc--ol-s3",
            "b\u{fc}cher",
        ] {
            assert!(BucketName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_any_utf8_of_1_to_1024_bytes() {
        for good in [
            "a",
            "../../etc/passwd",
            "/",
            "\u{0}",
            "\u{1f680}",
            &"k".repeat(1024),
        ] {
            assert!(ObjectKey::new(good).is_ok());
        }
        assert_eq!(ObjectKey::new(""), Err(KeyError::Empty));
        assert_eq!(
            ObjectKey::new("k".repeat(1025)),
            Err(KeyError::TooLong { bytes: 1025 })
        );
    }
}
