//! Lets newcomers in by their tokens, and issues certificates (rules.md 4, 5).
//!
//! Any server admits: it has the root group use the token and then signs. Renewals are signed by the
//! root group's leader alone, and sent on to it by the others: when every certificate has expired, Raft
//! and renewals are all that is left, and the leader can carry out both by itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use marram_gateway::{Kek, open_authority};
use marram_maintain::fault_point;
use marram_mesh::{Authority, Peer, Renew, Role, RpcCode, RpcFailure, check_request, fingerprint};
use marram_meta::{
    ClusterView, Envelope, IdentityCommand, Newcomer, NodeJoin, NodeRecord, RETURNS_SINCE,
    RootCommand, RootOutcome,
};
use marram_proto::mesh::v1 as wire;
use marram_raft::Role as RaftRole;
use marram_types::config::DRIVES_PER_NODE_MAX;
use marram_types::{DriveId, GroupId, NodeId};
use tokio::sync::watch;

use super::lifetime::now_ms;
use super::local::Local;
use super::view::node_of;

/// The version of the first release whose newcomers say what they know.
const SAID_SINCE: u8 = 4;
/// How long the view may lag behind the answer that admitted a newcomer.
const VIEW_LAG_MAX: Duration = Duration::from_secs(5);
/// How long the leader may take to renew for another.
const RENEW_WITHIN: Duration = Duration::from_secs(5);

/// What issues certificates.
pub(super) struct Issuer {
    pub kek: Arc<Kek>,
    /// How long a certificate is good for.
    pub lifetime: Duration,
    pub local: Arc<Local>,
    pub view: watch::Receiver<Arc<ClusterView>>,
}

fn refused(message: impl Into<String>) -> RpcFailure {
    RpcFailure::new(RpcCode::Refused, message)
}

fn unavailable(error: impl std::fmt::Display) -> RpcFailure {
    RpcFailure::new(RpcCode::Unavailable, error.to_string())
}

fn print(bytes: &[u8]) -> Result<[u8; 32], RpcFailure> {
    bytes
        .try_into()
        .map_err(|_| refused("a fingerprint does not have 32 bytes"))
}

/// A server of an older release would stop at the first command that it does not know (rules.md 9).
fn knows_enough(used: u8, knows: u32) -> Result<(), RpcFailure> {
    // Releases that do not say it are from before it was said.
    let knows = match knows {
        0 => u32::from(SAID_SINCE - 1),
        said => said,
    };
    if knows < u32::from(used) {
        return Err(refused(format!(
            "its release knows versions of commands up to {knows}, and this cluster uses version {used}: \
             start it with the release of the other servers"
        )));
    }
    Ok(())
}

impl Issuer {
    /// Admits whoever brings a token.
    pub(super) async fn join(
        &self,
        request: wire::JoinRequest,
    ) -> Result<wire::JoinResponse, RpcFailure> {
        let view = self.view.borrow().clone();
        self.check_newcomer(&view, &request)?;
        let info = check_request(&request.certificate_request)
            .map_err(|error| refused(format!("the certificate request: {error}")))?;
        let key = fingerprint(&info);
        let newcomer = newcomer(&view, &request, key)?;
        let role = match newcomer {
            Newcomer::Storage(_) | Newcomer::Returning { .. } => Role::Node,
            Newcomer::Gateway { .. } => Role::Gateway,
        };
        let authority = self.authority(&view)?;
        let outcome = self
            .propose(IdentityCommand::Redeem {
                token: request.token,
                secret_hash: fingerprint(&request.secret),
                newcomer,
                until_s: self.until_s(),
            })
            .await?;
        let RootOutcome::Admitted { name, node } = &outcome else {
            return Err(told(&outcome));
        };
        fault_point("admit.redeemed");
        let certificate = authority
            .sign(&info, role, name, self.lifetime)
            .map_err(|error| refused(error.to_string()))?;
        let node = node.clone();
        let seen = self
            .wait_for(|view| match &node {
                Some(admitted) => view
                    .nodes
                    .get(&admitted.node)
                    .is_some_and(|n| n.replica == Some(admitted.replica)),
                None => view.identities.contains_key(&key),
            })
            .await?;
        tracing::info!(%name, ?role, node = ?node.map(|n| n.node), "a newcomer has joined");
        Ok(wire::JoinResponse {
            outcome: Bytes::from(outcome.encode()),
            view: Bytes::from(seen.encode()),
            certificate: certificate.into(),
            authorities: authorities(&seen),
        })
    }

    /// What can be said against a newcomer before its token is looked at.
    fn check_newcomer(
        &self,
        view: &ClusterView,
        request: &wire::JoinRequest,
    ) -> Result<(), RpcFailure> {
        let cluster = view
            .cluster
            .as_ref()
            .ok_or_else(|| unavailable("this server does not know its cluster yet; ask again"))?;
        if request.key_check != self.kek.check()[..] {
            return Err(refused(
                "its key-encryption key differs from that of this cluster: give --kek-file a copy of \
                 the file that the other servers have",
            ));
        }
        let ours = cluster.cluster.to_string();
        if !request.cluster.is_empty() && request.cluster != ours {
            return Err(refused(format!(
                "its drives belong to cluster {}, this is cluster {ours}: give it empty folders, or \
                 a token of its own cluster",
                request.cluster
            )));
        }
        knows_enough(cluster.version, request.knows_version)
    }

    /// Says what a member has, and renews its certificate if it asks for that.
    pub(super) async fn renew(
        &self,
        peer: Peer,
        request: wire::RenewRequest,
    ) -> Result<wire::RenewResponse, RpcFailure> {
        let view = self.view.borrow().clone();
        let sent_on = !request.key.is_empty();
        let key = speaks_for(&view, &peer, &request)?;
        let status = self.local.host.status(GroupId::ROOT);
        if status.is_none_or(|status| status.role != RaftRole::Leader) {
            if sent_on {
                return Err(RpcFailure::not_leader(None));
            }
            return self.send_on(&view, key, request).await;
        }
        let (role, name) = member(&view, &key)?;
        let asked = !request.public_key_info.is_empty();
        if asked && fingerprint(&request.public_key_info) != key {
            return Err(refused(
                "the public key is not the one that the caller proves",
            ));
        }
        let authority = self.authority(&view)?;
        let outcome = self
            .propose(IdentityCommand::Report {
                key,
                until_s: asked.then(|| self.until_s()),
                trusts: request
                    .trusts
                    .iter()
                    .map(|p| print(p))
                    .collect::<Result<_, _>>()?,
                issuer: Some(print(&request.issuer)?),
            })
            .await?;
        if outcome != RootOutcome::Done {
            return Err(told(&outcome));
        }
        let certificate = match asked {
            false => Vec::new(),
            true => authority
                .sign(&request.public_key_info, role, &name, self.lifetime)
                .map_err(|error| refused(error.to_string()))?,
        };
        if asked {
            tracing::info!(%name, ?role, "certificate renewed");
        }
        Ok(wire::RenewResponse {
            certificate: certificate.into(),
            authorities: authorities(&view),
        })
    }

    async fn send_on(
        &self,
        view: &ClusterView,
        key: [u8; 32],
        mut request: wire::RenewRequest,
    ) -> Result<wire::RenewResponse, RpcFailure> {
        let leader = self.local.host.leader(GroupId::ROOT);
        let leader = leader
            .and_then(|replica| node_of(view, replica))
            .filter(|node| Some(*node) != self.local.mesh.node())
            .ok_or_else(|| unavailable("the root group has no leader now"))?;
        request.key = Bytes::copy_from_slice(&key);
        let mesh = &self.local.mesh;
        let answer = mesh.call::<Renew>(leader, request, Bytes::new(), RENEW_WITHIN);
        match answer.await {
            Ok((response, _)) => Ok(response),
            Err(marram_mesh::CallError::Failed(failure)) => Err(failure),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The CA that certificates are issued from.
    fn authority(&self, view: &ClusterView) -> Result<Authority, RpcFailure> {
        let (Some(cluster), Some(record)) = (&view.cluster, view.issuing()) else {
            return Err(unavailable("this server knows no CA yet; ask again"));
        };
        open_authority(&self.kek, cluster.cluster, record)
            .map_err(|error| RpcFailure::new(RpcCode::Internal, error.to_string()))
    }

    fn until_s(&self) -> u64 {
        now_ms() / 1000 + self.lifetime.as_secs()
    }

    async fn propose(&self, command: IdentityCommand) -> Result<RootOutcome, RpcFailure> {
        let command = Envelope::seal_internal(&RootCommand::Identity(command));
        let outcome = self.local.propose(GroupId::ROOT, command).await;
        let outcome = outcome.map_err(unavailable)?;
        RootOutcome::decode(&outcome).map_err(unavailable)
    }

    async fn wait_for(
        &self,
        holds: impl Fn(&ClusterView) -> bool,
    ) -> Result<Arc<ClusterView>, RpcFailure> {
        let mut view = self.view.clone();
        let waited = tokio::time::timeout(VIEW_LAG_MAX, view.wait_for(|v| holds(v))).await;
        match waited {
            Ok(Ok(seen)) => Ok(Arc::clone(&seen)),
            Ok(Err(_)) | Err(_) => Err(unavailable("this server has not caught up; ask again")),
        }
    }
}

/// The CAs that a member must trust, in DER.
fn authorities(view: &ClusterView) -> Vec<Bytes> {
    let certificates = view.authorities.values();
    certificates
        .map(|a| Bytes::copy_from_slice(&a.certificate))
        .collect()
}

fn newcomer(
    view: &ClusterView,
    request: &wire::JoinRequest,
    key: [u8; 32],
) -> Result<Newcomer, RpcFailure> {
    if request.gateway {
        let name = request.name.clone();
        return Ok(Newcomer::Gateway { key, name });
    }
    let is_returning = request.returning_node != 0;
    let description = match is_returning {
        true => &request.returning_join,
        false => &request.node_join,
    };
    let join = NodeJoin::from_bytes(description)
        .map_err(|error| refused(format!("the node's description cannot be read: {error}")))?;
    if join.public_key != key {
        let message = "the node's description names another key than its certificate request";
        return Err(RpcFailure::new(RpcCode::Denied, message));
    }
    if let Some(known) = view.nodes.values().find(|node| node.public_key == key) {
        match is_returning {
            false => refuse_emptied(view, known)?,
            true => refuse_known(view, known)?,
        }
    }
    if !is_returning {
        return Ok(Newcomer::Storage(join));
    }
    if view
        .cluster
        .as_ref()
        .is_none_or(|cluster| cluster.version < RETURNS_SINCE)
    {
        return Err(refused(
            "nodes return by a command that this cluster does not use yet: `marram admin finalize-version` first".to_owned(),
        ));
    }
    if request.returning_drives.len() != join.drives.len()
        || join.drives.len() > DRIVES_PER_NODE_MAX
    {
        return Err(refused(format!(
            "a node that returns names each of its drives, at most {DRIVES_PER_NODE_MAX}"
        )));
    }
    let drives = request.returning_drives.iter().copied();
    Ok(Newcomer::Returning {
        join,
        node: NodeId(request.returning_node),
        drives: drives.map(DriveId).collect(),
    })
}

/// Whether the node's present replica votes in any group: then it has run.
fn votes(view: &ClusterView, node: &NodeRecord) -> bool {
    let votes = |replica| {
        let mut groups = view.groups.values();
        groups.any(|group| group.voters.contains(&replica))
    };
    node.replica.is_some_and(votes)
}

/// A node that returns is a member by now and needs no token: it would give up a replica that votes.
fn refuse_known(view: &ClusterView, node: &NodeRecord) -> Result<(), RpcFailure> {
    if !votes(view, node) {
        return Ok(());
    }
    Err(refused(format!(
        "the cluster knows node {} ({}): start it without --adopt-drives",
        node.node, node.name
    )))
}

/// A node that votes somewhere has run, so its drives were named: a node of that key which comes to
/// join has lost them, and with them every shard that its drive ids stand for (rules.md 1).
fn refuse_emptied(view: &ClusterView, node: &NodeRecord) -> Result<(), RpcFailure> {
    if !votes(view, node) {
        return Ok(());
    }
    Err(refused(format!(
        "the key belongs to node {} ({}), whose drives are not there any more: an emptied node is a \
         new node, so fence and remove that one, empty this one's folders wholly and join with a new \
         token",
        node.node, node.name
    )))
}

/// Whose certificate it is about. Nodes send on what others asked them; a gateway speaks for itself.
fn speaks_for(
    view: &ClusterView,
    peer: &Peer,
    request: &wire::RenewRequest,
) -> Result<[u8; 32], RpcFailure> {
    match peer {
        Peer::Node(_) if !request.key.is_empty() => print(&request.key),
        Peer::Node(node) => {
            let record = view.nodes.get(node);
            let record = record.ok_or_else(|| unavailable("the node is not known here"))?;
            Ok(record.public_key)
        }
        Peer::Gateway { public_key, .. } => Ok(*public_key),
        Peer::Unknown(_) | Peer::Stranger => Err(RpcFailure::new(
            RpcCode::Denied,
            "only members renew their certificates",
        )),
    }
}

/// The kind and name of a member.
fn member(view: &ClusterView, key: &[u8; 32]) -> Result<(Role, String), RpcFailure> {
    let node = view.nodes.values().find(|node| node.public_key == *key);
    if let Some(node) = node {
        return Ok((Role::Node, node.name.clone()));
    }
    let gateway = view.identities.get(key).filter(|record| !record.removed);
    let gateway = gateway.ok_or_else(|| refused("the key belongs to no member"))?;
    Ok((Role::Gateway, gateway.name.clone()))
}

fn told(outcome: &RootOutcome) -> RpcFailure {
    refused(match outcome {
        RootOutcome::Refused(refusal) => refusal.to_string(),
        other => format!("the root group answered {other:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_of_an_older_release_is_told_so_and_a_newer_one_is_welcome() {
        for (used, knows) in [(2, 2), (3, 4), (4, 4), (4, 9), (3, 0)] {
            knows_enough(used, knows).expect("it knows what is used");
        }
        for (used, knows, named) in [(4, 0, "up to 3"), (5, 4, "up to 4")] {
            let refused = knows_enough(used, knows).expect_err("too old").message;
            assert!(refused.contains(named), "{refused}");
            assert!(
                refused.contains(&format!("uses version {used}")),
                "{refused}"
            );
        }
    }
}
