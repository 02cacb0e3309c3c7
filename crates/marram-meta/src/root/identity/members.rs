//! Which members have not said yet that they did a step of the replacement of the CA.

use std::collections::BTreeMap;

use crate::kinds::identity::{IdentityRecord, IdentityRole};
use crate::kinds::node::{NodeDuty, NodeRecord, NodeState};

/// What a member must have said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It trusts this CA.
    Trusts([u8; 32]),
    /// It has a certificate of another CA than this.
    LeftIssuer([u8; 32]),
}

impl Said {
    fn by(self, record: &IdentityRecord) -> bool {
        match self {
            Self::Trusts(fingerprint) => record.trusts.contains(&fingerprint),
            Self::LeftIssuer(fingerprint) => {
                record.issuer.is_some_and(|issuer| issuer != fingerprint)
            }
        }
    }
}

/// Names of the living members that have not said it: every node that is neither fenced nor removed,
/// whether it answers or not, and every gateway whose certificate has not expired. A node that is only
/// away must not come back to a cluster that it does not trust.
#[must_use]
pub fn not_said<'a>(
    nodes: impl Iterator<Item = &'a NodeRecord>,
    identities: &BTreeMap<[u8; 32], IdentityRecord>,
    now_s: u64,
    said: Said,
) -> Vec<String> {
    let counts =
        |node: &&NodeRecord| node.state == NodeState::Active && node.duty != NodeDuty::Fenced;
    let silent = |node: &&NodeRecord| {
        let record = identities.get(&node.public_key);
        !record.is_some_and(|record| said.by(record))
    };
    let nodes = nodes.filter(counts).filter(silent).map(|n| n.name.clone());
    let gateways = identities.values().filter(|record| {
        record.role == IdentityRole::Gateway
            && !record.removed
            && record.until_s > now_s
            && !said.by(record)
    });
    nodes.chain(gateways.map(|g| g.name.clone())).collect()
}
