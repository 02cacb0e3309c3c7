//! Founding a cluster (rules.md 3). Every step may be repeated: a server that was interrupted
//! begins again at the top and finds what it did.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use marram_gateway::Kek;
use marram_mesh::Mesh;
use marram_meta::{
    AccessKeyRecord, COMMAND_VERSION, ClusterRecord, Envelope, FOUNDER, Refusal, RootCommand,
    RootOutcome,
};
use marram_raft::RaftHost;
use marram_types::GroupId;
use marram_types::config::{BootstrapConfig, ServerConfig};
use tokio::runtime::Handle;

use super::super::storage::Storage;
use super::{Node, describe, open, settle};

/// How long one proposal to the new root group may take.
const PROPOSE_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn found(
    config: &ServerConfig,
    kek: &Kek,
    storage: &mut Storage,
    mesh: &Mesh,
    raft: &Handle,
) -> Result<Node> {
    let bootstrap = config
        .bootstrap
        .as_ref()
        .context("nothing says how the cluster begins")?;
    let key = first_key(bootstrap, kek)?;
    storage.identify(None, &[], Some(FOUNDER))?;
    let running = open(storage, mesh, FOUNDER, raft, None).await?;
    let host = &running.host;
    host.initialize(GroupId::ROOT, &[FOUNDER]).await?;
    let cluster = ClusterRecord {
        cluster: mesh.certificate().cluster,
        name: bootstrap.cluster_name.clone(),
        version: COMMAND_VERSION,
        object_groups: bootstrap.object_groups,
        expected_nodes: bootstrap.expected_nodes,
        default_profile: None,
    };
    match propose(
        host,
        &RootCommand::Bootstrap {
            cluster,
            keys: vec![key],
        },
    )
    .await?
    {
        RootOutcome::Done | RootOutcome::Refused(Refusal::AlreadyBootstrapped { .. }) => {}
        other => bail!("the cluster cannot be founded: {other:?}"),
    }
    let join = describe(config, storage, mesh)?;
    let RootOutcome::NodeAdded { node, drives } =
        propose(host, &RootCommand::AddNode(join)).await?
    else {
        bail!("the first node was not admitted");
    };
    match propose(
        host,
        &RootCommand::AddReplica {
            node,
            founder: true,
        },
    )
    .await?
    {
        RootOutcome::ReplicaAdded { .. } | RootOutcome::Refused(Refusal::ReplicaExists { .. }) => {}
        other => bail!("the first replica was not admitted: {other:?}"),
    }
    storage.identify(Some(node), &drives, Some(FOUNDER))?;
    settle(mesh, node);
    Ok(running)
}

/// Proposes, waiting for the group's first election.
async fn propose(host: &RaftHost, command: &RootCommand) -> Result<RootOutcome> {
    let sealed = Envelope::seal_internal(command);
    let deadline = tokio::time::Instant::now() + PROPOSE_WITHIN;
    loop {
        match host.propose(GroupId::ROOT, &sealed, PROPOSE_WITHIN).await {
            Ok(outcome) => return Ok(RootOutcome::decode(&outcome)?),
            Err(error) if tokio::time::Instant::now() > deadline => {
                return Err(error).context("the root group does not answer");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The first access key, its secret wrapped under the key-encryption key.
fn first_key(bootstrap: &BootstrapConfig, kek: &Kek) -> Result<AccessKeyRecord> {
    let file = &bootstrap.admin_key_file;
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the first access key from {}", file.display()))?;
    let mut words = text.split_whitespace();
    let (Some(id), Some(secret), None) = (words.next(), words.next(), words.next()) else {
        bail!("{} must hold one line: `id secret`", file.display());
    };
    let wrapped_secret = kek.wrap(id, secret)?;
    Ok(AccessKeyRecord {
        id: id.to_owned(),
        wrapped_secret,
        disabled: false,
    })
}
