//! What the root group can be told about quotas. Tags 105 to 107.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, BucketName, GroupId};

use crate::kinds::bucket::get_name;
use crate::kinds::quota::{Amount, Lease, get_leases, put_leases};
use crate::refusal::unknown;

/// Tags of these commands.
pub(crate) const TAGS: std::ops::RangeInclusive<u8> = 105..=107;

/// A command about quotas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuotaCommand {
    /// Says what a bucket may hold, pending until every object group knows it; none of either: anything.
    Set {
        /// The bucket's name.
        name: BucketName,
        /// Bytes.
        bytes: Option<u64>,
        /// Versions.
        objects: Option<u64>,
    },
    /// Asks for more of a quota for a group. Answered with the leases as they are then, which may be as
    /// they were: when too little is left, or more was granted already than the asker knew.
    Ask {
        /// The bucket.
        bucket: BucketId,
        /// Who lacks something.
        group: GroupId,
        /// Of which quota.
        since: u64,
        /// What was granted to the group, as it knows.
        seen: Amount,
        /// What it lacks.
        lack: Amount,
    },
    /// Tells how the leases of groups are by now.
    Report {
        /// The bucket.
        bucket: BucketId,
        /// The leases.
        leases: Vec<(GroupId, Lease)>,
    },
}

impl QuotaCommand {
    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Set {
                name,
                bytes,
                objects,
            } => {
                let amount = |out: &mut Writer, most: &u64| {
                    out.varint(*most);
                };
                out.u8(105)
                    .str(name.as_str())
                    .option(bytes.as_ref(), amount)
                    .option(objects.as_ref(), amount);
            }
            Self::Ask {
                bucket,
                group,
                since,
                seen,
                lack,
            } => {
                out.u8(106).u64_be(bucket.0).u16_be(group.0).varint(*since);
                seen.encode(out);
                lack.encode(out);
            }
            Self::Report { bucket, leases } => {
                let pairs = leases.iter().map(|(group, lease)| (group, lease));
                put_leases(out.u8(107).u64_be(bucket.0), pairs);
            }
        }
    }

    pub(crate) fn decode(tag: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match tag {
            105 => Self::Set {
                name: get_name(from)?,
                bytes: from.option(Reader::varint)?,
                objects: from.option(Reader::varint)?,
            },
            106 => Self::Ask {
                bucket: BucketId(from.u64_be()?),
                group: GroupId(from.u16_be()?),
                since: from.varint()?,
                seen: Amount::decode(from)?,
                lack: Amount::decode(from)?,
            },
            107 => Self::Report {
                bucket: BucketId(from.u64_be()?),
                leases: get_leases(from)?,
            },
            other => return Err(unknown("command of a quota", other)),
        })
    }
}
