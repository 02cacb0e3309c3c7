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
    /// Until when the newest certificate that was issued to it is good, in seconds since 1970; 0 when
    /// that is not known. It counts on connections that were opened with an older one, too.
    pub until_s: i64,
}

/// A gateway of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayEntry {
    /// SHA-256 of its public key.
    pub public_key: [u8; 32],
    /// It was removed: nothing it says counts.
    pub removed: bool,
    /// As of a node.
    pub until_s: i64,
}

/// The nodes and gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerTable {
    by_node: HashMap<NodeId, Arc<PeerEntry>>,
    by_key: HashMap<[u8; 32], Arc<PeerEntry>>,
    gateways: HashMap<[u8; 32], GatewayEntry>,
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A node of the cluster.
    Node(NodeId),
    /// A gateway without drives.
    Gateway {
        /// The name in its certificate.
        name: Arc<str>,
        /// SHA-256 of its public key.
        public_key: [u8; 32],
    },
    /// A certificate of this cluster whose key is not in the table.
    Unknown(Arc<str>),
    /// A connection without a certificate.
    Stranger,
}

impl Peer {
    /// What it is, as far as permissions go.
    #[must_use]
    pub fn role(&self) -> PeerRole {
        match self {
            Self::Node(_) => PeerRole::Node,
            Self::Gateway { .. } => PeerRole::Gateway,
            Self::Unknown(_) => PeerRole::Unknown,
            Self::Stranger => PeerRole::Stranger,
        }
    }
}

impl PeerTable {
    /// The same table with these gateways.
    #[must_use]
    pub fn with_gateways(mut self, gateways: impl IntoIterator<Item = GatewayEntry>) -> Self {
        self.gateways = gateways.into_iter().map(|g| (g.public_key, g)).collect();
        self
    }

    /// A node that is not tombstoned.
    #[must_use]
    pub fn live(&self, node: NodeId) -> Option<&Arc<PeerEntry>> {
        self.by_node.get(&node).filter(|entry| !entry.tombstoned)
    }

    /// All nodes that are not tombstoned, in no order.
    pub fn all_live(&self) -> impl Iterator<Item = &Arc<PeerEntry>> {
        self.by_node.values().filter(|entry| !entry.tombstoned)
    }

    /// Who proves this certificate's key; `None` when it was removed.
    pub(crate) fn identify(&self, certificate: Option<&PeerCertificate>) -> Option<Peer> {
        let Some(certificate) = certificate else {
            return Some(Peer::Stranger);
        };
        let key = &certificate.public_key;
        let unknown = || Some(Peer::Unknown(Arc::clone(&certificate.name)));
        match certificate.role {
            Role::Node => match self.by_key.get(key) {
                Some(entry) if entry.tombstoned => None,
                Some(entry) => Some(Peer::Node(entry.node)),
                None => unknown(),
            },
            Role::Gateway => match self.gateways.get(key) {
                Some(entry) if entry.removed => None,
                Some(_) => Some(Peer::Gateway {
                    name: Arc::clone(&certificate.name),
                    public_key: *key,
                }),
                None => unknown(),
            },
        }
    }

    /// When the holder of this certificate stops being good for anything but Raft and renewal: its
    /// end, or that of a newer one which was issued to the same key.
    pub(crate) fn until_s(&self, certificate: &PeerCertificate) -> i64 {
        let key = &certificate.public_key;
        let newer = match certificate.role {
            Role::Node => self.by_key.get(key).map(|entry| entry.until_s),
            Role::Gateway => self.gateways.get(key).map(|entry| entry.until_s),
        };
        certificate.not_after.max(newer.unwrap_or(0))
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
            until_s: 50,
        }
    }

    fn gateway(key: u8, removed: bool) -> GatewayEntry {
        GatewayEntry {
            public_key: [key; 32],
            removed,
            until_s: 0,
        }
    }

    fn certificate(role: Role, key: u8) -> PeerCertificate {
        PeerCertificate {
            cluster: ClusterId(1),
            role,
            name: "x".into(),
            public_key: [key; 32],
            not_before: 0,
            not_after: 40,
        }
    }

    #[test]
    fn a_peer_is_whoever_proves_a_key_that_was_not_removed() {
        let table = [entry(1, 1, false), entry(2, 2, true), entry(3, 3, false)]
            .into_iter()
            .collect::<PeerTable>()
            .with_gateways([gateway(5, false), gateway(6, true)]);
        let of = |role, key| table.identify(Some(&certificate(role, key)));
        assert_eq!(of(Role::Node, 3), Some(Peer::Node(NodeId(3))));
        assert_eq!(of(Role::Node, 2), None);
        assert!(matches!(of(Role::Node, 9), Some(Peer::Unknown(_))));
        assert!(matches!(of(Role::Gateway, 5), Some(Peer::Gateway { .. })));
        assert_eq!(of(Role::Gateway, 6), None);
        // A node's key is no gateway, whatever its certificate says.
        assert!(matches!(of(Role::Gateway, 3), Some(Peer::Unknown(_))));
        assert_eq!(table.identify(None), Some(Peer::Stranger));
        assert!(table.live(NodeId(2)).is_none());
        assert_eq!(table.all_live().count(), 2);
    }

    #[test]
    fn a_renewal_counts_for_the_key() {
        let table: PeerTable = [entry(1, 1, false)].into_iter().collect();
        assert_eq!(table.until_s(&certificate(Role::Node, 1)), 50);
        assert_eq!(table.until_s(&certificate(Role::Node, 2)), 40);
        assert_eq!(table.until_s(&certificate(Role::Gateway, 1)), 40);
    }
}
