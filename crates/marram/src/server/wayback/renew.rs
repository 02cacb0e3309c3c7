//! A node whose Raft log is gone or damaged (rules.md 2). Its replica may have voted and does not know
//! it any more, so it never votes again: the root group, that is its other voters, gives the node a
//! fresh replica id. What the old replica had is set aside, not deleted; the drives keep their ids
//! and their shards. The members of every group follow by themselves.
//!
//! Nothing on the drive changes before the root group has agreed, and the name of the new replica is
//! written last: a start that was interrupted begins again at the top, and an id that it was given in
//! between is never used.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use marram_mesh::{CallError, Mesh, Peer, RenewReplica, RpcCode, RpcFailure};
use marram_meta::{ClusterView, Envelope, NodeState, RootCommand, RootOutcome};
use marram_proto::mesh::v1 as wire;
use marram_raft::{OfflineReplica, OpenError, Trouble};
use marram_store::wal::{Wal, WalError};
use marram_store::{OsVfs, Vfs};
use marram_types::codec::Reader;
use marram_types::config::ServerConfig;
use marram_types::{GroupId, NodeId, ReplicaId, RequestId};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::super::lifetime::now_ms;
use super::super::local::Local;
use super::super::node::{Node, open, open_log, settle};
use super::super::storage::Storage;

/// How long one server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Pause between rounds over the servers.
const PAUSE: Duration = Duration::from_millis(200);
/// Rounds between two lines in the log.
const ROUNDS_PER_LINE: u32 = 50;
/// How long one attempt may be carried out by the root group.
const ATTEMPT_MS: u64 = 60_000;
/// How long the view may lag behind the answer.
const VIEW_LAG_MAX: Duration = Duration::from_secs(5);

/// Why a replica cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum Unusable {
    /// The log is not there.
    #[error("the Raft log {} is gone", .0.display())]
    Gone(PathBuf),
    /// Log or state are there and damaged.
    #[error("the metadata is damaged: {0}")]
    Damaged(String),
    /// An operator says so.
    #[error("--give-up-metadata was given")]
    GivenUp,
}

/// What stands against going on with the replica, when its log or state cannot be trusted. Any
/// other error may pass, and is no reason to give a replica up.
pub(in super::super) fn unusable(error: &anyhow::Error) -> Option<Unusable> {
    let damaged = || Some(Unusable::Damaged(format!("{error:#}")));
    match error.downcast_ref::<WalError>() {
        Some(WalError::Damaged { .. }) => return damaged(),
        Some(_) => return None,
        None => {}
    }
    match error.downcast_ref::<OpenError>()?.trouble() {
        Trouble::Damaged => damaged(),
        Trouble::Drive | Trouble::Other => None,
    }
}

/// Adds what to do where the metadata drive did not do what it was asked: what is on it may be sound, and is
/// kept.
fn advised(error: anyhow::Error) -> anyhow::Error {
    let of_log = error.downcast_ref::<WalError>();
    let of_drive = matches!(of_log, Some(WalError::Io { .. }))
        || error
            .downcast_ref::<OpenError>()
            .is_some_and(|error| error.trouble() == Trouble::Drive);
    if !of_drive {
        return error;
    }
    error.context(
        "the metadata drive fails or has no room, and this server cannot start on it. Nothing was given \
         up: make room, or mend the drive, and start again. If what is on it is lost, replace the drive, \
         or start once with --give-up-metadata",
    )
}

/// Opens the node's replica, or a fresh one when it lost its log or `given_up` says that it shall
/// not go on.
pub(in super::super) async fn resume(
    config: &ServerConfig,
    storage: &mut Storage,
    mesh: &Mesh,
    raft: &Handle,
    (node, replica): (NodeId, ReplicaId),
    given_up: bool,
) -> Result<Node> {
    let log = storage.raft_dir().join("log");
    let why = if given_up {
        Unusable::GivenUp
    } else if !Wal::exists(&OsVfs, &log) {
        Unusable::Gone(log)
    } else {
        match open(storage, mesh, replica, raft, None).await {
            Ok(running) => {
                settle(mesh, node);
                return Ok(running);
            }
            Err(error) => unusable(&error).ok_or_else(|| advised(error))?,
        }
    };
    tracing::warn!(
        %node, %replica, %why,
        "this replica may have voted and must not vote again: asking the cluster for a fresh one. \
         The drives keep what they have. If no other server has the metadata, restore a backup: \
         marram server --restore"
    );
    let servers = servers(config, storage, (node, replica));
    let (fresh, view) = ask(&servers, mesh, replica).await?;
    let aside = storage.set_metadata_aside(replica)?;
    storage.give_replica(fresh)?;
    drop(open_log(storage)?);
    tracing::warn!(
        %node, lost = %replica, %fresh,
        aside = aside.map(|path| path.display().to_string()),
        "this node goes on with a fresh replica; what the lost one had is set aside and may be \
         deleted once the cluster is healthy"
    );
    let running = open(storage, mesh, fresh, raft, Some(view)).await?;
    settle(mesh, node);
    Ok(running)
}

/// Whom to ask: the servers of the settings, and those that the old replica knew, if that can still
/// be read.
fn servers(
    config: &ServerConfig,
    storage: &Storage,
    (own, replica): (NodeId, ReplicaId),
) -> Vec<String> {
    let mut servers = config.join.clone();
    let old = OfflineReplica {
        dir: storage.raft_dir().join("state"),
        vfs: Arc::new(OsVfs),
        replica,
    };
    let known = OsVfs.list(&old.dir).is_ok_and(|names| {
        let root = format!("group-{}.redb", GroupId::ROOT.0);
        names.contains(&root)
    });
    let view = known
        .then(|| old.view(GroupId::ROOT).ok())
        .flatten()
        .and_then(|state| marram_meta::view(&state).ok());
    let nodes = view.iter().flat_map(|view| view.nodes.values());
    for node in nodes.filter(|n| n.state == NodeState::Active && n.node != own) {
        if !servers.contains(&node.mesh_addr) {
            servers.push(node.mesh_addr.clone());
        }
    }
    servers
}

/// Asks every server in turn until the root group has given a fresh id.
async fn ask(servers: &[String], mesh: &Mesh, lost: ReplicaId) -> Result<(ReplicaId, ClusterView)> {
    if servers.is_empty() {
        bail!("no other server is known to ask for a fresh replica: name some with --join");
    }
    let request = RequestId {
        client: rand::random(),
        sequence: 1,
    };
    let deadline_ms = now_ms() + ATTEMPT_MS;
    for round in 0_u32.. {
        // One attempt is one request, whoever carries it out; one that is over is begun anew.
        let attempt = (now_ms().saturating_sub(deadline_ms - ATTEMPT_MS)) / ATTEMPT_MS;
        let request = RequestId {
            sequence: request.sequence + attempt,
            ..request
        };
        for server in servers {
            let message = wire::RenewReplicaRequest {
                lost: lost.0,
                request: Bytes::copy_from_slice(&request.to_bytes()),
                deadline_ms: deadline_ms + attempt * ATTEMPT_MS,
            };
            let called =
                mesh.call_addr::<RenewReplica>(server, message, Bytes::new(), ANSWER_WITHIN);
            match called.await {
                Ok((response, _)) => return read(&response),
                Err(CallError::Failed(failure)) if failure.code == RpcCode::Refused => {
                    bail!(
                        "{server} refused this node a fresh replica: {}",
                        failure.message
                    );
                }
                // A server that has just begun itself knows nobody yet.
                Err(CallError::Failed(failure))
                    if failure.code == RpcCode::Denied && round % ROUNDS_PER_LINE == 1 =>
                {
                    tracing::warn!(
                        server,
                        reason = failure.message,
                        "this server does not know this node. If that stays so, the node joined after \
                         the backup that was restored: start it once with --adopt-drives and a join token"
                    );
                }
                Err(error) if round % ROUNDS_PER_LINE == 0 => {
                    tracing::info!(server, %error, "waiting for a fresh replica");
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("no server gave this node a fresh replica")
}

fn read(response: &wire::RenewReplicaResponse) -> Result<(ReplicaId, ClusterView)> {
    let RootOutcome::ReplicaAdded { replica } = RootOutcome::decode(&response.outcome)? else {
        bail!("the answer does not name a replica");
    };
    let view = ClusterView::decode(&response.view).context("the view cannot be read")?;
    Ok((replica, view))
}

/// Answers a node that lost its log.
pub(in super::super) async fn renewed(
    local: &Local,
    view: &watch::Receiver<Arc<ClusterView>>,
    peer: Peer,
    request: wire::RenewReplicaRequest,
) -> Result<wire::RenewReplicaResponse, RpcFailure> {
    let refused = |reason: String| RpcFailure::new(RpcCode::Refused, reason);
    let unavailable = |reason: String| RpcFailure::new(RpcCode::Unavailable, reason);
    let Peer::Node(node) = peer else {
        return Err(RpcFailure::new(
            RpcCode::Denied,
            "only a node has a replica",
        ));
    };
    let id = RequestId::decode(&mut Reader::new(&request.request))
        .map_err(|error| refused(format!("the request id cannot be read: {error}")))?;
    let lost = ReplicaId(request.lost);
    let command = RootCommand::RenewReplica { node, lost };
    let sealed = Envelope::seal(Some(id), request.deadline_ms, &command);
    let outcome = local
        .propose(GroupId::ROOT, sealed)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    let decoded = RootOutcome::decode(&outcome).map_err(|error| unavailable(error.to_string()))?;
    let replica = match decoded {
        RootOutcome::ReplicaAdded { replica } => replica,
        RootOutcome::Refused(refusal) if refusal.is_retryable() => {
            return Err(unavailable(refusal.to_string()));
        }
        RootOutcome::Refused(marram_meta::Refusal::DeadlinePassed) => {
            return Err(unavailable(
                "the attempt came too late; ask again".to_owned(),
            ));
        }
        RootOutcome::Refused(refusal) => return Err(refused(refusal.to_string())),
        other => return Err(unavailable(format!("the root group answered {other:?}"))),
    };
    tracing::warn!(%node, %lost, fresh = %replica, "a node lost its Raft log and has a fresh replica");
    let mut view = view.clone();
    let has_it = |view: &ClusterView| {
        let record = view.nodes.get(&node);
        record.is_some_and(|record| record.replica == Some(replica))
    };
    match tokio::time::timeout(VIEW_LAG_MAX, view.wait_for(|view| has_it(view))).await {
        Ok(Ok(seen)) => Ok(wire::RenewReplicaResponse {
            outcome,
            view: Bytes::from(seen.encode()),
        }),
        Ok(Err(_)) | Err(_) => Err(unavailable(
            "this server has not caught up; ask again".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use marram_raft::MachineError;

    use super::*;

    #[test]
    fn only_what_cannot_be_trusted_gives_a_replica_up() {
        let path = PathBuf::from("/x");
        let damaged = WalError::Damaged {
            path: path.clone(),
            offset: 1,
            what: "a durable record",
        };
        let wrapped = anyhow::Error::from(damaged).context("cannot open the Raft log");
        assert!(matches!(unusable(&wrapped), Some(Unusable::Damaged(_))));
        let newer = WalError::NewerFormat {
            path: path.clone(),
            found: 9,
        };
        assert_eq!(unusable(&newer.into()), None, "another release can read it");
        let io = std::io::Error::other("no space");
        assert_eq!(unusable(&OpenError::Io(io).into()), None);
        let group = GroupId(1);
        let machine = |source| anyhow::Error::from(OpenError::Machine { group, source });
        let raft = |trouble| {
            let reason = String::from("when Read Logs: no");
            anyhow::Error::from(OpenError::Raft {
                group,
                reason,
                trouble,
            })
        };
        for number in [5, 28, 122] {
            let source = std::io::Error::from_raw_os_error(number);
            let path = path.clone();
            let failed = machine(MachineError::Io { path, source });
            assert_eq!(unusable(&failed), None, "{failed:#}");
            let said = format!("{:#}", advised(failed));
            assert!(said.contains("--give-up-metadata"), "{said}");
        }
        assert_eq!(unusable(&raft(Trouble::Drive)), None);
        assert_eq!(unusable(&raft(Trouble::Other)), None);
        let said = format!("{:#}", advised(raft(Trouble::Other)));
        assert!(!said.contains("drive"), "{said}");
        assert!(unusable(&raft(Trouble::Damaged)).is_some());
        assert!(unusable(&machine(MachineError::NoIdentity { path })).is_some());
        assert_eq!(unusable(&anyhow::anyhow!("something else")), None);
    }
}
