//! Who the others are: the node table as the root group has it, by id and by key.

use std::collections::HashMap;
use std::sync::Arc;

use marram_types::NodeId;

use crate::allow::PeerRole;
use crate::identity::{PeerCertificate, Role};

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerEntry {
    /// Its id.
    pub node: NodeId,
    /// Where its mesh port is: host and port.
    pub addr: String,
    /// SHA-256 of its public key (the certificate's `SubjectPublicKeyInfo`).
    pub public_key: [u8; 32],
    /// It was removed: nothing it says counts and nobody calls it.
    pub tombstoned: bool,
}

/// The node table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerTable {
    by_node: HashMap<NodeId, Arc<PeerEntry>>,
    by_key: HashMap<[u8; 32], Arc<PeerEntry>>,
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A node of the cluster.
    Node(NodeId),
    /// A node that is not in the table yet.
    Joiner {
        /// The name in its certificate.
        name: Arc<str>,
        /// SHA-256 of its public key.
        public_key: [u8; 32],
    },
    /// A gateway without drives, by the name in its certificate.
    Gateway(Arc<str>),
}

impl Peer {
    /// What it is, as far as permissions go.
    #[must_use]
    pub fn role(&self) -> PeerRole {
        match self {
            Self::Node(_) => PeerRole::Node,
            Self::Joiner { .. } => PeerRole::Joiner,
            Self::Gateway(_) => PeerRole::Gateway,
        }
    }
}

impl PeerTable {
    /// A node that is not tombstoned.
    #[must_use]
    pub fn live(&self, node: NodeId) -> Option<&Arc<PeerEntry>> {
        self.by_node.get(&node).filter(|entry| !entry.tombstoned)
    }

    /// All nodes that are not tombstoned, in no order.
    pub fn all_live(&self) -> impl Iterator<Item = &Arc<PeerEntry>> {
        self.by_node.values().filter(|entry| !entry.tombstoned)
    }

    /// Who proves this certificate's key; `None` when it is tombstoned.
    pub(crate) fn identify(&self, certificate: &PeerCertificate) -> Option<Peer> {
        if certificate.role == Role::Gateway {
            return Some(Peer::Gateway(Arc::clone(&certificate.name)));
        }
        match self.by_key.get(&certificate.public_key) {
            Some(entry) if entry.tombstoned => None,
            Some(entry) => Some(Peer::Node(entry.node)),
            None => Some(Peer::Joiner {
                name: Arc::clone(&certificate.name),
                public_key: certificate.public_key,
            }),
        }
    }
}

impl FromIterator<PeerEntry> for PeerTable {
    /// The table of these nodes. Of two entries with one key the live one counts.
    fn from_iter<I: IntoIterator<Item = PeerEntry>>(entries: I) -> Self {
        let mut table = Self::default();
        for entry in entries.into_iter().map(Arc::new) {
            let slot = table.by_key.entry(entry.public_key);
            let slot = slot.or_insert_with(|| Arc::clone(&entry));
            if slot.tombstoned {
                *slot = Arc::clone(&entry);
            }
            table.by_node.insert(entry.node, entry);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use marram_types::ClusterId;

    fn entry(node: u64, key: u8, tombstoned: bool) -> PeerEntry {
        PeerEntry {
            node: NodeId(node),
            addr: "127.0.0.1:1".to_owned(),
            public_key: [key; 32],
            tombstoned,
        }
    }

    fn certificate(role: Role, key: u8) -> PeerCertificate {
        PeerCertificate {
            cluster: ClusterId(1),
            role,
            name: "x".into(),
            public_key: [key; 32],
            not_after: i64::MAX,
        }
    }

    #[test]
    fn a_peer_is_whoever_proves_a_key_that_is_not_tombstoned() {
        let table = [entry(1, 1, false), entry(2, 2, true), entry(3, 3, false)]
            .into_iter()
            .collect::<PeerTable>();
        assert_eq!(
            table.identify(&certificate(Role::Node, 3)),
            Some(Peer::Node(NodeId(3)))
        );
        assert_eq!(table.identify(&certificate(Role::Node, 2)), None);
        assert!(matches!(
            table.identify(&certificate(Role::Node, 9)),
            Some(Peer::Joiner { .. })
        ));
        assert!(matches!(
            table.identify(&certificate(Role::Gateway, 3)),
            Some(Peer::Gateway(_))
        ));
        assert!(table.live(NodeId(2)).is_none());
        assert_eq!(table.all_live().count(), 2);
    }
}
