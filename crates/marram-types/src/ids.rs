//! Ids: each a type of its own, so that none can stand for another.
//!
//! Node, drive, bucket and replica ids are committed indexes of the root group and never reused
//! (rules.md 1). A data id names the bytes of one extent write, a shard id one piece of it.

use std::fmt;

use crate::codec::{DecodeError, Reader, Writer};

macro_rules! u64_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

u64_id!(
    /// A storage node: the root-group index that admitted it.
    NodeId
);
u64_id!(
    /// A drive of a node: the root-group index that admitted it.
    DriveId
);
u64_id!(
    /// A Raft replica: never the node's id, and fresh whenever a node's log starts empty
    /// (rules.md 2).
    ReplicaId
);
u64_id!(
    /// A bucket: the root-group index that created it.
    BucketId
);
u64_id!(
    /// The Raft index that committed a version, plus the group's offset (rules.md 15). 0 stands
    /// for "no version" in preconditions.
    Generation
);

impl DriveId {
    /// Stands in a placement group for a slot that has no drive: the layout has too few nodes. No
    /// extent uses such a slot. Ids of real drives come from indexes of the root group and are far
    /// below.
    #[must_use]
    pub fn vacant(slot: u8) -> Self {
        Self(u64::MAX - u64::from(slot))
    }

    /// Whether it is no drive, but stands for a slot without one.
    #[must_use]
    pub fn is_vacant(self) -> bool {
        self.0 >= u64::MAX - u64::from(u8::MAX)
    }
}

/// A Raft group: 0 is the root group, 1 to G are the object groups.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct GroupId(pub u16);

impl GroupId {
    /// The root group.
    pub const ROOT: Self = Self(0);

    /// The object group of a key: a 64-bit hash of bucket and key, modulo the number of groups.
    /// Where a key's rows are depends on it: it never changes.
    #[must_use]
    pub fn of_key(bucket: BucketId, key: &str, groups: u16) -> Self {
        debug_assert!(groups > 0, "a cluster has at least one object group");
        let hash = hash64(&bucket.0.to_le_bytes(), key.as_bytes());
        let slot = hash % u64::from(groups.max(1));
        Self(1 + u16::try_from(slot).expect("a remainder of a u16"))
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ROOT {
            f.write_str("root")
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// FNV-1a over both slices, finished with the `SplitMix64` mixer so that low bits are usable.
fn hash64(first: &[u8], second: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in first.iter().chain(second) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A cluster: 128 random bits drawn at its bootstrap, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u128);

/// Text that is not a cluster id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cluster id: it has 32 hexadecimal digits")]
pub struct ClusterIdError(pub String);

impl std::str::FromStr for ClusterId {
    type Err = ClusterIdError;

    fn from_str(text: &str) -> Result<Self, ClusterIdError> {
        let bad = || ClusterIdError(text.to_owned());
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| bad())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A pool of placement groups of one width.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct PoolId(pub u16);

/// A placement group: one row of a pool's table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct PgId {
    /// Its pool.
    pub pool: PoolId,
    /// Its row.
    pub index: u16,
}

impl fmt::Display for PgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.pool.0, self.index)
    }
}

/// The bytes of one extent write, never reused (rules.md 17).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataId {
    /// The object group that will commit the extent.
    pub group: GroupId,
    /// The group's applied index when the write began: what `gc_floor` is compared with.
    pub begin: u64,
    /// 64 random bits.
    pub random: u64,
}

impl DataId {
    /// Length of the stored form.
    pub const BYTES: usize = 18;

    /// Big-endian, so that stored ids order as the type does.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..2].copy_from_slice(&self.group.0.to_be_bytes());
        out[2..10].copy_from_slice(&self.begin.to_be_bytes());
        out[10..].copy_from_slice(&self.random.to_be_bytes());
        out
    }

    /// Appends the stored form.
    pub fn encode(self, out: &mut Writer) {
        out.raw(&self.to_bytes());
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When fewer than 18 bytes are left.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            group: GroupId(from.u16_be()?),
            begin: from.u64_be()?,
            random: from.u64_be()?,
        })
    }
}

impl fmt::Display for DataId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:016x}", self.group.0, self.begin, self.random)
    }
}

impl fmt::Debug for DataId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One shard of an extent. A repair writes the next `repair` number under a begin token of its own
/// (rules.md 17).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId {
    /// Whose piece it is.
    pub data: DataId,
    /// Which piece: 0 to k-1 are data, k to k+m-1 parity.
    pub slot: u8,
    /// 0 as written, then one more for each repair of the slot.
    pub repair: u16,
}

impl ShardId {
    /// Length of the stored form.
    pub const BYTES: usize = DataId::BYTES + 3;

    /// Big-endian, so that stored ids order as the type does.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..DataId::BYTES].copy_from_slice(&self.data.to_bytes());
        out[DataId::BYTES] = self.slot;
        out[DataId::BYTES + 1..].copy_from_slice(&self.repair.to_be_bytes());
        out
    }

    /// Appends the stored form.
    pub fn encode(self, out: &mut Writer) {
        out.raw(&self.to_bytes());
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When fewer than 21 bytes are left.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            data: DataId::decode(from)?,
            slot: from.u8()?,
            repair: from.u16_be()?,
        })
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.data, self.slot, self.repair)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A version of an object, fresh for every attempt to write one (rules.md 14): the generation's
/// place in time is in [`Generation`], this only tells versions apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionId(pub u128);

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A multipart upload: 128 random bits, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(pub u128);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for UploadId {
    type Err = std::num::ParseIntError;

    /// Reads the form that [`fmt::Display`] writes: 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        u128::from_str_radix(if hex { text } else { "" }, 16).map(Self)
    }
}

/// The name of one logical mutation, the same on all of its attempts (rules.md 14).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RequestId {
    /// 128 random bits that the client keeps.
    pub client: u128,
    /// The client's count of its mutations.
    pub sequence: u64,
}

impl RequestId {
    /// Length of the stored form.
    pub const BYTES: usize = 24;

    /// Big-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..16].copy_from_slice(&self.client.to_be_bytes());
        out[16..].copy_from_slice(&self.sequence.to_be_bytes());
        out
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When fewer than 24 bytes are left.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            client: from.u128_be()?,
            sequence: from.u64_be()?,
        })
    }
}

/// The form for people and for the metadata of errors: 32 hexadecimal digits, a hyphen, and the sequence.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{}", self.client, self.sequence)
    }
}

/// A text that is no request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request id has 32 hexadecimal digits, a hyphen, and a number")]
pub struct RequestIdError;

impl std::str::FromStr for RequestId {
    type Err = RequestIdError;

    /// Reads what `Display` wrote, and nothing else.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (client, sequence) = text.split_once('-').ok_or(RequestIdError)?;
        let hex = client.len() == 32 && client.bytes().all(|b| b.is_ascii_hexdigit());
        let digits = sequence.bytes().all(|b| b.is_ascii_digit());
        if !hex || !digits {
            return Err(RequestIdError);
        }
        Ok(Self {
            client: u128::from_str_radix(client, 16).map_err(|_| RequestIdError)?,
            sequence: sequence.parse().map_err(|_| RequestIdError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored data depends on these values.
    #[test]
    fn the_group_of_a_key_never_changes() {
        assert_eq!(hash64(b"", b""), 0xf52a_15e9_a9b5_e89b);
        let groups: Vec<u16> = (0..8)
            .map(|i| GroupId::of_key(BucketId(7), &format!("key-{i}"), 8).0)
            .collect();
        assert!(groups.iter().all(|g| (1..=8).contains(g)));
    }

    #[test]
    fn keys_spread_evenly() {
        let mut counts = [0_u32; 8];
        for i in 0..8000 {
            let group = GroupId::of_key(BucketId(3), &format!("2026/photo-{i:06}.jpg"), 8);
            counts[usize::from(group.0 - 1)] += 1;
        }
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }

    #[test]
    fn stored_forms_round_trip_and_keep_order() {
        let low = DataId {
            group: GroupId(1),
            begin: 255,
            random: 9,
        };
        let high = DataId {
            group: GroupId(1),
            begin: 256,
            random: 1,
        };
        assert!(low < high && low.to_bytes() < high.to_bytes());
        let shard = ShardId {
            data: high,
            slot: 5,
            repair: 2,
        };
        assert_eq!(
            ShardId::decode(&mut Reader::new(&shard.to_bytes())),
            Ok(shard)
        );
        let request = RequestId {
            client: 1 << 100,
            sequence: 3,
        };
        assert_eq!(
            RequestId::decode(&mut Reader::new(&request.to_bytes())),
            Ok(request)
        );
        let text = request.to_string();
        assert_eq!(text, "00000010000000000000000000000000-3");
        assert_eq!(text.parse(), Ok(request));
        for wrong in ["", "3", &text[1..], &text[..33], &format!("{text}x"), "-3"] {
            assert_eq!(wrong.parse::<RequestId>(), Err(RequestIdError), "{wrong}");
        }
    }
}
