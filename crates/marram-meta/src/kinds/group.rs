//! `Groups`: group -> record.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{GroupId, ReplicaId};

use crate::stored::{Stored, only_version};

/// Version 1 had voters only.
const VERSION: u8 = 2;

/// A Raft group and its replicas, written down for everybody who sees the root group's view. The
/// group's own log decides; this follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// Which group.
    pub group: GroupId,
    /// Its voters, the first choice for leader first.
    pub voters: Vec<ReplicaId>,
    /// Replicas that follow without a vote, or shall: their nodes open them because of this, before
    /// the group's leader lets them follow.
    pub joining: Vec<ReplicaId>,
    /// Index in the group's own log of the entry that made these its members; 0 for the voters that
    /// begin the group. A record of an older entry never replaces this one.
    pub at: u64,
}

impl GroupRecord {
    /// A group that these voters begin.
    #[must_use]
    pub fn new(group: GroupId, voters: Vec<ReplicaId>) -> Self {
        Self {
            group,
            voters,
            joining: Vec::new(),
            at: 0,
        }
    }

    /// Whether the replica votes, follows or shall.
    #[must_use]
    pub fn names(&self, replica: ReplicaId) -> bool {
        self.voters.contains(&replica) || self.joining.contains(&replica)
    }
}

pub(crate) fn ser_key(group: GroupId) -> [u8; 2] {
    group.0.to_be_bytes()
}

impl Stored for GroupRecord {
    fn encode(&self, out: &mut Writer) {
        let replica = |out: &mut Writer, replica: &ReplicaId| {
            out.varint(replica.0);
        };
        out.u8(VERSION)
            .u16_be(self.group.0)
            .list(&self.voters, replica)
            .list(&self.joining, replica)
            .varint(self.at);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "group record version", VERSION)?;
        let group = GroupId(from.u16_be()?);
        let mut replicas = || from.list(|from| from.varint().map(ReplicaId));
        let (voters, joining) = (replicas()?, replicas()?);
        Ok(Self {
            group,
            voters,
            joining,
            at: from.varint()?,
        })
    }
}
