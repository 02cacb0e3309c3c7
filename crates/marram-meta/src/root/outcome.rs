//! What came of a root command.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, NodeId, ReplicaId};

use crate::kinds::bucket::BucketRecord;
use crate::kinds::quota::QuotaLeases;
use crate::refusal::{Refusal, unknown};
use crate::stored::{Stored, get_drives, put_drives};

/// A node that a token admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedNode {
    /// Its id.
    pub node: NodeId,
    /// Its drives, in the order of their ordinals.
    pub drives: Vec<DriveId>,
    /// Its replica id from now on.
    pub replica: ReplicaId,
}

/// What came of a root command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootOutcome {
    /// Done; there is nothing to tell.
    Done,
    /// The node is a member.
    NodeAdded {
        /// Its id.
        node: NodeId,
        /// Its drives, in the order of their ordinals.
        drives: Vec<DriveId>,
    },
    /// The node's replica id from now on.
    ReplicaAdded {
        /// The id.
        replica: ReplicaId,
    },
    /// The bucket's record after the command: while its state is pending, the root's leader has to
    /// bring it to every object group.
    Bucket(BucketRecord),
    /// The bucket is gone from the root; the record is the one that the object groups may be told
    /// last, so that they answer "deleted" instead of "sealed".
    BucketRemoved(BucketRecord),
    /// What came of a command about moves: each of its elements applies alone.
    Moved {
        /// Elements that changed a row; the others did not fit it any more.
        applied: u32,
        /// The table's epoch after the command, which is that of every row that it changed.
        epoch: u64,
    },
    /// The drive is one of its node's.
    DriveAdded {
        /// Its id.
        drive: DriveId,
    },
    /// A token was used.
    Admitted {
        /// The name of whom it admitted.
        name: String,
        /// The node; none: a gateway.
        node: Option<AdmittedNode>,
    },
    /// The leases of a bucket's quota.
    Leases(QuotaLeases),
    /// Nothing was changed.
    Refused(Refusal),
}

impl RootOutcome {
    /// The encoding, as `apply_root` returns it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.ser_value()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are damaged or of a newer release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::deser_value(bytes)
    }
}

impl Stored for RootOutcome {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Done => {
                out.u8(1);
            }
            Self::NodeAdded { node, drives } => {
                out.u8(2).varint(node.0).list(drives, |out, drive| {
                    out.varint(drive.0);
                });
            }
            Self::ReplicaAdded { replica } => {
                out.u8(3).varint(replica.0);
            }
            Self::Bucket(record) => record.encode(out.u8(4)),
            Self::BucketRemoved(record) => record.encode(out.u8(5)),
            Self::Leases(leases) => leases.encode(out.u8(105)),
            Self::Refused(refusal) => refusal.encode(out.u8(6)),
            Self::Admitted { name, node } => {
                out.u8(20).str(name).option(node.as_ref(), |out, node| {
                    out.varint(node.node.0).varint(node.replica.0);
                    put_drives(out, &node.drives);
                });
            }
            Self::Moved { applied, epoch } => {
                out.u8(7).varint(u64::from(*applied)).varint(*epoch);
            }
            Self::DriveAdded { drive } => {
                out.u8(45).varint(drive.0);
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Done,
            2 => Self::NodeAdded {
                node: NodeId(from.varint()?),
                drives: from.list(|from| from.varint().map(DriveId))?,
            },
            3 => Self::ReplicaAdded {
                replica: ReplicaId(from.varint()?),
            },
            4 => Self::Bucket(BucketRecord::decode(from)?),
            5 => Self::BucketRemoved(BucketRecord::decode(from)?),
            105 => Self::Leases(QuotaLeases::decode(from)?),
            6 => Self::Refused(Refusal::decode(from)?),
            7 => Self::Moved {
                applied: u32::try_from(from.varint()?)
                    .map_err(|_| DecodeError::Invalid("count of moves"))?,
                epoch: from.varint()?,
            },
            45 => Self::DriveAdded {
                drive: DriveId(from.varint()?),
            },
            20 => Self::Admitted {
                name: from.str()?.to_owned(),
                node: from.option(|from| {
                    Ok(AdmittedNode {
                        node: NodeId(from.varint()?),
                        replica: ReplicaId(from.varint()?),
                        drives: get_drives(from)?,
                    })
                })?,
            },
            other => return Err(unknown("root outcome", other)),
        })
    }
}
