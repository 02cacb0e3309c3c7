//! What a bucket may hold, and who holds how much of it: `QuotaLeases` of the root, bucket -> leases of
//! all groups; `Leases` of an object group, bucket -> its own one (decision 0053).

use std::collections::BTreeMap;

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, GroupId};

use super::bucket;
use crate::stored::Stored;

const LEASE_VERSION: u8 = 1;
const LEASES_VERSION: u8 = 1;

/// What a bucket may hold at most, versions that are not current and parts of uploads included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Bytes; none: as many as there is room for.
    pub bytes: Option<u64>,
    /// Versions, current or not; none: as many as there is room for.
    pub objects: Option<u64>,
    /// The bucket's epoch that began the present leases: quotas that are set, or lowered, begin anew.
    pub since: u64,
}

impl Quota {
    pub(crate) fn encode(&self, out: &mut Writer) {
        let amount = |out: &mut Writer, most: &u64| {
            out.varint(*most);
        };
        out.option(self.bytes.as_ref(), amount)
            .option(self.objects.as_ref(), amount)
            .varint(self.since);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            bytes: from.option(Reader::varint)?,
            objects: from.option(Reader::varint)?,
            since: from.varint()?,
        })
    }

    /// The limits of both kinds, in the order of [`Amount::each`].
    #[must_use]
    pub fn limits(&self) -> [Option<u64>; 2] {
        [self.bytes, self.objects]
    }
}

/// Bytes and objects. Wide, because leases are sums of all that was ever granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes.
    pub bytes: u128,
    /// Versions.
    pub objects: u128,
}

impl Amount {
    /// Both numbers.
    #[must_use]
    pub fn each(self) -> [u128; 2] {
        [self.bytes, self.objects]
    }

    /// From both numbers.
    #[must_use]
    pub fn of([bytes, objects]: [u128; 2]) -> Self {
        Self { bytes, objects }
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, u128::saturating_add)
    }

    /// The difference, at least nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.with(other, u128::saturating_sub)
    }

    /// The larger of each.
    #[must_use]
    pub(crate) fn max(self, other: Self) -> Self {
        self.with(other, Ord::max)
    }

    fn with(self, other: Self, with: impl Fn(u128, u128) -> u128) -> Self {
        Self {
            bytes: with(self.bytes, other.bytes),
            objects: with(self.objects, other.objects),
        }
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.u128_be(self.bytes).u128_be(self.objects);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            bytes: from.u128_be()?,
            objects: from.u128_be()?,
        })
    }
}

/// A group's part of a quota. Each number only grows, and each has one writer: so the root and the group
/// may hear of each other late, twice and in any order, and the root never takes a lease for smaller than
/// it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lease {
    /// [`Quota::since`]: leases of another one are void.
    pub since: u64,
    /// What the root granted.
    pub granted: Amount,
    /// What the group held when the quota came.
    pub claimed: Amount,
    /// What the group gave back.
    pub returned: Amount,
}

impl Lease {
    /// What the group may hold.
    #[must_use]
    pub fn allotted(&self) -> Amount {
        self.granted.plus(self.claimed).minus(self.returned)
    }

    /// Takes what another copy of the lease knows later.
    pub(crate) fn learn(&mut self, other: &Self) {
        if other.since > self.since {
            *self = *other;
        } else if other.since == self.since {
            self.granted = self.granted.max(other.granted);
            self.claimed = self.claimed.max(other.claimed);
            self.returned = self.returned.max(other.returned);
        }
    }
}

impl Stored for Lease {
    fn encode(&self, out: &mut Writer) {
        out.u8(LEASE_VERSION).varint(self.since);
        for amount in [&self.granted, &self.claimed, &self.returned] {
            amount.encode(out);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("lease version", LEASE_VERSION)?;
        Ok(Self {
            since: from.varint()?,
            granted: Amount::decode(from)?,
            claimed: Amount::decode(from)?,
            returned: Amount::decode(from)?,
        })
    }
}

/// The leases of a bucket's quota, as the root knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaLeases {
    /// The bucket.
    pub bucket: BucketId,
    /// By group; one that never told of itself is not there.
    pub groups: BTreeMap<GroupId, Lease>,
}

impl QuotaLeases {
    pub(crate) fn new(bucket: BucketId) -> Self {
        Self {
            bucket,
            groups: BTreeMap::new(),
        }
    }

    /// What all groups together may hold.
    #[must_use]
    pub fn allotted(&self) -> Amount {
        let each = self.groups.values().map(Lease::allotted);
        each.fold(Amount::default(), Amount::plus)
    }

    /// Whether each of `groups` object groups has told what it claims of the quota that began so.
    #[must_use]
    pub fn is_complete(&self, groups: u16, since: u64) -> bool {
        (1..=groups).all(|group| {
            let lease = self.groups.get(&GroupId(group));
            lease.is_some_and(|lease| lease.since == since)
        })
    }
}

pub(crate) fn ser_key(of: BucketId) -> [u8; 8] {
    bucket::ser_key(of)
}

impl Stored for QuotaLeases {
    fn encode(&self, out: &mut Writer) {
        out.u8(LEASES_VERSION).u64_be(self.bucket.0);
        put_leases(out, self.groups.iter());
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("quota leases version", LEASES_VERSION)?;
        Ok(Self {
            bucket: BucketId(from.u64_be()?),
            groups: get_leases(from)?.into_iter().collect(),
        })
    }
}

pub(crate) fn put_leases<'a>(
    out: &mut Writer,
    leases: impl ExactSizeIterator<Item = (&'a GroupId, &'a Lease)>,
) {
    out.varint(leases.len() as u64);
    for (group, lease) in leases {
        lease.encode(out.u16_be(group.0));
    }
}

pub(crate) fn get_leases(from: &mut Reader<'_>) -> Result<Vec<(GroupId, Lease)>, DecodeError> {
    from.list(|from| Ok((GroupId(from.u16_be()?), Lease::decode(from)?)))
}
