//! Where bytes are: `m://bucket/key`, a path, or the standard streams. Pure.

use std::fmt;
use std::path::PathBuf;

use marram_types::{BucketName, BucketNameError, KeyError, ObjectKey};

/// A place that a command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A file or folder of this machine.
    Local(PathBuf),
    /// An object, a prefix, or a whole bucket (the key is empty).
    Remote(Remote),
    /// `-`: standard input or output.
    Pipe,
}

/// A place in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) bucket: String,
    /// Empty, a key, or the beginning of keys.
    pub(crate) key: String,
    /// The version meant, where it need not be the current one.
    pub(crate) generation: Option<u64>,
}

/// Why a place cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LocationError {
    #[error("a place is empty; write a path or m://bucket/key")]
    Empty,
    #[error("{0}: the bucket is missing; write m://bucket or m://bucket/key")]
    NoBucket(String),
    #[error("{0}: the key is missing; write m://bucket/key")]
    NoKey(String),
    #[error("{0}: only m://bucket/key and paths are understood")]
    UnknownScheme(String),
    #[error("{0}: this must be in the cluster; write m://bucket/key")]
    NotRemote(String),
    #[error("{0}: give only the bucket, as m://bucket")]
    NotBucket(String),
    #[error(transparent)]
    Bucket(#[from] BucketNameError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Location {
    /// Reads a place. Keys are taken as they stand: nothing in them is decoded.
    pub(crate) fn parse(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        if text == "-" {
            return Ok(Self::Pipe);
        }
        if text.starts_with("m://") {
            return Remote::parse(text).map(Self::Remote);
        }
        match text.split_once("://") {
            Some((scheme, _)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                Err(LocationError::UnknownScheme(text.to_owned()))
            }
            _ => Ok(Self::Local(PathBuf::from(text))),
        }
    }
}

impl Remote {
    /// Reads a place that must be in the cluster; the key may be empty.
    pub(crate) fn parse(text: &str) -> Result<Self, LocationError> {
        let rest = text
            .strip_prefix("m://")
            .ok_or_else(|| LocationError::NotRemote(text.to_owned()))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(LocationError::NoBucket(text.to_owned()));
        }
        BucketName::new(bucket)?;
        if !key.is_empty() {
            ObjectKey::new(key)?;
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            generation: None,
        })
    }

    /// Reads the place of one object.
    pub(crate) fn parse_object(text: &str) -> Result<Self, LocationError> {
        let remote = Self::parse(text)?;
        if remote.key.is_empty() {
            return Err(LocationError::NoKey(text.to_owned()));
        }
        Ok(remote)
    }

    /// Reads the place of a bucket; returns its name.
    pub(crate) fn parse_bucket(text: &str) -> Result<String, LocationError> {
        let remote = Self::parse(text)?;
        if !remote.key.is_empty() {
            return Err(LocationError::NotBucket(text.to_owned()));
        }
        Ok(remote.bucket)
    }

    /// The same bucket with another key.
    pub(crate) fn with_key(&self, key: impl Into<String>) -> Self {
        Self {
            bucket: self.bucket.clone(),
            key: key.into(),
            generation: None,
        }
    }

    /// How many bytes of the keys that begin with this place's key are not part of their names below it:
    /// those of its last folder.
    pub(crate) fn names_begin(&self) -> usize {
        self.key.rfind('/').map_or(0, |at| at + 1)
    }

    /// The beginning of all keys below this place, taken as a folder: empty, or with a `/` at its
    /// end.
    pub(crate) fn folder(&self) -> String {
        if self.key.is_empty() || self.key.ends_with('/') {
            self.key.clone()
        } else {
            format!("{}/", self.key)
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m://{}/{}", self.bucket, self.key)?;
        match self.generation {
            None => Ok(()),
            Some(generation) => write!(f, " (version {generation})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let remote = |bucket: &str, key: &str| {
            Ok(Location::Remote(Remote {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
                generation: None,
            }))
        };
        assert_eq!(Location::parse("m://photos"), remote("photos", ""));
        assert_eq!(Location::parse("m://photos/"), remote("photos", ""));
        assert_eq!(
            Location::parse("m://photos/a/b c%20?#"),
            remote("photos", "a/b c%20?#")
        );
        assert_eq!(Location::parse("m://photos//x"), remote("photos", "/x"));
        assert_eq!(Location::parse("m://photos/../x"), remote("photos", "../x"));
        assert_eq!(Location::parse("-"), Ok(Location::Pipe));
        for path in ["a", "/a/b", "./-", "m:/x", "C:x", "a b://c"] {
            assert_eq!(Location::parse(path), Ok(Location::Local(path.into())));
        }
    }

    #[test]
    fn places_that_cannot_be() {
        use LocationError as E;
        assert_eq!(Location::parse(""), Err(E::Empty));
        assert!(matches!(Location::parse("m://"), Err(E::NoBucket(_))));
        assert!(matches!(Location::parse("m:///k"), Err(E::NoBucket(_))));
        assert!(matches!(Location::parse("m://AB/k"), Err(E::Bucket(_))));
        assert!(matches!(
            Location::parse("s3://abc/k"),
            Err(E::UnknownScheme(_))
        ));
        let long = format!("m://abc/{}", "k".repeat(1025));
        assert_eq!(
            Location::parse(&long),
            Err(E::Key(KeyError::TooLong { bytes: 1025 }))
        );
        assert!(matches!(Remote::parse_object("m://abc/"), Err(E::NoKey(_))));
        assert!(matches!(
            Remote::parse_bucket("m://abc/k"),
            Err(E::NotBucket(_))
        ));
        assert!(matches!(Remote::parse("abc"), Err(E::NotRemote(_))));
    }

    #[test]
    fn a_prefix_as_a_folder() {
        let folder = |text: &str| Remote::parse(text).expect("valid").folder();
        assert_eq!(folder("m://abc"), "");
        assert_eq!(folder("m://abc/x"), "x/");
        assert_eq!(folder("m://abc/x/"), "x/");
    }
}
