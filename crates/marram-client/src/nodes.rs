//! Connections to the nodes that read plans name, and which of them failed of late.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tonic::transport::{Channel, ClientTlsConfig};

use crate::endpoints::endpoint;

/// Most nodes remembered; beyond it all are forgotten, and connected to anew.
const NODES_MAX: usize = 1024;
/// How long a connection to a node may take to come up: the gateway can always be asked instead.
const CONNECT_TIME: Duration = Duration::from_secs(1);
/// How long a node that failed is asked last.
const POOR_FOR: Duration = Duration::from_secs(10);
/// How long no plan is asked for after one could not be carried out: the nodes may be out of reach
/// from here, where the gateway is not.
const REST: Duration = Duration::from_secs(30);

struct Node {
    channel: Channel,
    poor_until: Option<Instant>,
}

/// What a client remembers of the nodes themselves.
#[derive(Default)]
pub(crate) struct Nodes {
    /// Nodes speak TLS where the endpoints do.
    tls: Option<ClientTlsConfig>,
    known: Mutex<HashMap<String, Node>>,
    resting_until: Mutex<Option<Instant>>,
}

impl Nodes {
    pub(crate) fn new(tls: Option<ClientTlsConfig>) -> Self {
        Self {
            tls,
            ..Self::default()
        }
    }

    /// The connection to a node, which comes up with the first call; `None` where the address is
    /// none.
    pub(crate) fn channel(&self, address: &str) -> Option<Channel> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = known.get(address) {
            return Some(node.channel.clone());
        }
        let channel = endpoint(address, CONNECT_TIME, self.tls.as_ref())
            .ok()?
            .connect_lazy();
        if known.len() >= NODES_MAX {
            known.clear();
        }
        let node = Node {
            channel: channel.clone(),
            poor_until: None,
        };
        known.insert(address.to_owned(), node);
        Some(channel)
    }

    /// A node did not answer.
    pub(crate) fn failed(&self, address: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = known.get_mut(address) {
            node.poor_until = Some(Instant::now() + POOR_FOR);
        }
    }

    /// Whether a node failed of late.
    pub(crate) fn is_poor(&self, address: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let until = known.get(address).and_then(|node| node.poor_until);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// A plan could not be carried out.
    pub(crate) fn rest(&self) {
        let mut resting = self
            .resting_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *resting = Some(Instant::now() + REST);
    }

    /// Whether plans are worth asking for.
    pub(crate) fn is_resting(&self) -> bool {
        let resting = self
            .resting_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        resting.is_some_and(|until| Instant::now() < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failures_are_remembered_for_a_while() {
        let nodes = Nodes::default();
        assert!(nodes.channel("a:1").is_some() && nodes.channel("a b:x").is_none());
        assert!(!nodes.is_poor("a:1") && !nodes.is_resting());
        nodes.failed("a:1");
        nodes.failed("never asked:1");
        assert!(nodes.is_poor("a:1") && !nodes.is_poor("b:1"));
        nodes.rest();
        assert!(nodes.is_resting());
    }
}
