//! `Buckets`: bucket id -> record; `BucketNames`: name -> bucket id.

use std::sync::Arc;

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, BucketName, Profile};

use super::lifecycle::Lifecycle;
use super::quota::Quota;
use super::versioning::Versioning;
use crate::stored::{Stored, deser_u64_key, get_profile, put_profile};

/// Version 1 did not say whether versions are kept, version 2 did not tell of a quota, version 3 of
/// rules, version 4 of profiles that writes may ask for. They are still written where there is nothing
/// to say.
const VERSION: u8 = 5;
const WITH_RULES: u8 = 4;
const WITH_QUOTA: u8 = 3;

/// Where a bucket is in its life. The numbers are stored; their order decides between two records
/// of one epoch (rules.md 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum BucketState {
    /// On its way into every object group. A group that holds the record accepts writes: gateways
    /// use the bucket only when the root says [`Self::Active`].
    Creating = 1,
    /// The record with this state and its higher epoch is on its way into every object group: with
    /// a new profile, or to lift the seal of a deletion that found objects. Gateways use the bucket
    /// as if it were active.
    Changing = 2,
    /// In use.
    Active = 3,
    /// Sealed: writes are refused, retryably, while the groups count what is left.
    Deleting = 4,
    /// Gone for good. The root keeps the record until every object group was told; object groups keep it,
    /// so that a late record of an older epoch changes nothing.
    Deleted = 5,
}

impl BucketState {
    /// Whether an object group with this copy accepts writes.
    #[must_use]
    pub fn accepts_writes(self) -> bool {
        matches!(self, Self::Creating | Self::Changing | Self::Active)
    }

    /// Whether the root's leader still has to bring this state to every object group.
    #[must_use]
    pub fn is_pending(self) -> bool {
        !matches!(self, Self::Active)
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            1 => Self::Creating,
            2 => Self::Changing,
            3 => Self::Active,
            4 => Self::Deleting,
            5 => Self::Deleted,
            other => {
                return Err(DecodeError::Unknown {
                    what: "bucket state",
                    found: u64::from(other),
                });
            }
        })
    }
}

/// A bucket as the root decided it and as each object group knows it (rules.md 11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRecord {
    /// The root index that created it.
    pub bucket: BucketId,
    /// Its name, unique while the root holds the record.
    pub name: BucketName,
    /// Raised by every decision that must overrule earlier ones.
    pub epoch: u64,
    /// Where it is in its life.
    pub state: BucketState,
    /// The nominal k+m of large objects; small ones are kept as 1+m.
    pub profile: Profile,
    /// Leader time of its creation.
    pub created_ms: u64,
    /// Whether it keeps the versions that others replace.
    pub versioning: Versioning,
    /// What it may hold; none: anything.
    pub quota: Option<Quota>,
    /// By which what it holds goes by itself. The copies of object groups have them in a table of their own:
    /// every write reads this record.
    pub lifecycle: Option<Arc<Lifecycle>>,
    /// Profiles that a write may ask for instead of the bucket's own, in their order, each once; at most
    /// [`ALLOWED_PROFILES_MAX`](marram_types::caps::ALLOWED_PROFILES_MAX).
    pub allowed: Vec<Profile>,
}

impl BucketRecord {
    /// All profiles that its objects may have: its own, and those that a write may ask for.
    pub fn profiles(&self) -> impl Iterator<Item = Profile> {
        std::iter::once(self.profile).chain(self.allowed.iter().copied())
    }

    /// What a write that asks for a profile has as its own: none where it follows the bucket, because it
    /// asked for nothing or for what the bucket has anyway.
    ///
    /// # Errors
    /// The profile that was asked for, when the bucket does not allow it.
    pub fn own_profile(&self, asked: Option<Profile>) -> Result<Option<Profile>, Profile> {
        match asked {
            Some(asked) if self.allowed.contains(&asked) => Ok(Some(asked)),
            Some(asked) if self.profile != asked => Err(asked),
            _ => Ok(None),
        }
    }

    /// The profile that a version, or upload, with a profile of its own is judged by: that one as long as
    /// the bucket allows it, then the bucket's.
    #[must_use]
    pub fn profile_for(&self, own: Option<Profile>) -> Profile {
        own.filter(|own| self.allowed.contains(own))
            .unwrap_or(self.profile)
    }

    /// Whether this record overrules one of the same bucket (rules.md 12).
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.epoch, self.state) > (other.epoch, other.state)
    }
}

pub(crate) fn ser_key(bucket: BucketId) -> [u8; 8] {
    bucket.0.to_be_bytes()
}

/// The value of `BucketNames`.
pub(crate) fn deser_id(bytes: &[u8]) -> Result<BucketId, DecodeError> {
    deser_u64_key(bytes).map(BucketId)
}

impl Stored for BucketRecord {
    fn encode(&self, out: &mut Writer) {
        let version = match (self.versioning, self.quota, &self.lifecycle) {
            _ if !self.allowed.is_empty() => VERSION,
            (_, _, Some(_)) => WITH_RULES,
            (_, Some(_), None) => WITH_QUOTA,
            (Versioning::Off, None, None) => 1,
            (_, None, None) => 2,
        };
        out.u8(version)
            .u64_be(self.bucket.0)
            .str(self.name.as_str())
            .varint(self.epoch)
            .u8(self.state as u8);
        put_profile(out, self.profile);
        out.varint(self.created_ms);
        if version > 1 {
            out.u8(self.versioning as u8);
        }
        match (version, self.quota, &self.lifecycle) {
            (WITH_QUOTA, Some(quota), _) => quota.encode(out),
            (WITH_RULES, quota, Some(lifecycle)) => {
                out.option(quota.as_ref(), |out, quota| quota.encode(out));
                lifecycle.encode(out);
            }
            (VERSION, quota, lifecycle) => {
                out.option(quota.as_ref(), |out, quota| quota.encode(out));
                out.option(lifecycle.as_ref(), |out, rules| rules.encode(out));
                out.list(&self.allowed, |out, profile| put_profile(out, *profile));
            }
            _ => {}
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = from.version("bucket record version", VERSION)?;
        Ok(Self {
            bucket: BucketId(from.u64_be()?),
            name: get_name(from)?,
            epoch: from.varint()?,
            state: BucketState::from_byte(from.u8()?)?,
            profile: get_profile(from)?,
            created_ms: from.varint()?,
            versioning: match version {
                1 => Versioning::Off,
                _ => Versioning::from_byte(from.u8()?)?,
            },
            quota: match version {
                1 | 2 => None,
                WITH_QUOTA => Some(Quota::decode(from)?),
                _ => from.option(Quota::decode)?,
            },
            lifecycle: match version {
                VERSION => from.option(Lifecycle::decode)?.map(Arc::new),
                WITH_RULES => Some(Arc::new(Lifecycle::decode(from)?)),
                _ => None,
            },
            allowed: match version {
                VERSION => from.list(get_profile)?,
                _ => Vec::new(),
            },
        })
    }
}

/// Reads a bucket name, which must be a valid one.
pub(crate) fn get_name(from: &mut Reader<'_>) -> Result<BucketName, DecodeError> {
    BucketName::new(from.str()?).map_err(|_| DecodeError::Invalid("bucket name"))
}
