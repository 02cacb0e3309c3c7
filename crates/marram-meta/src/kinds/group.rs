//! `Groups`: group -> record.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{GroupId, ReplicaId};

use crate::stored::Stored;

const VERSION: u8 = 1;

/// A Raft group and the replicas that began it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// Which group.
    pub group: GroupId,
    /// Its voters, the first choice for leader first.
    pub voters: Vec<ReplicaId>,
}

pub(crate) fn ser_key(group: GroupId) -> [u8; 2] {
    group.0.to_be_bytes()
}

impl Stored for GroupRecord {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .u16_be(self.group.0)
            .list(&self.voters, |out, r| {
                out.varint(r.0);
            });
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("group record version", VERSION)?;
        Ok(Self {
            group: GroupId(from.u16_be()?),
            voters: from.list(|from| from.varint().map(ReplicaId))?,
        })
    }
}
