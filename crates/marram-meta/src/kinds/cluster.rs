//! `Meta`/`cluster`: the cluster record of the root group.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{ClusterId, Profile};

use crate::stored::{Stored, get_profile, put_profile};

const VERSION: u8 = 1;

pub(crate) const KEY: &[u8] = b"cluster";

/// What is decided once for a cluster, or changes very rarely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRecord {
    /// Drawn at the bootstrap.
    pub cluster: ClusterId,
    /// Given at the bootstrap, for people.
    pub name: String,
    /// The version gate (rules.md 9): leaders propose only commands of this version or lower.
    pub version: u8,
    /// How many object groups there are; never changes (rules.md 7).
    pub object_groups: u16,
    /// Nodes to wait for before the object groups start (rules.md 3).
    pub expected_nodes: u16,
    /// The profile of buckets that do not name one; none until the first nodes have joined.
    pub default_profile: Option<Profile>,
}

impl Stored for ClusterRecord {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .u128_be(self.cluster.0)
            .str(&self.name)
            .u8(self.version)
            .u16_be(self.object_groups)
            .u16_be(self.expected_nodes)
            .option(self.default_profile.as_ref(), |out, p| put_profile(out, *p));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("cluster record version", VERSION)?;
        Ok(Self {
            cluster: ClusterId(from.u128_be()?),
            name: from.str()?.to_owned(),
            version: from.u8()?,
            object_groups: from.u16_be()?,
            expected_nodes: from.u16_be()?,
            default_profile: from.option(get_profile)?,
        })
    }
}
