//! Founding a cluster (rules.md 3). Every step may be repeated: a server that was interrupted
//! begins again at the top and finds what it did.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use marram_gateway::{Kek, open_authority, wrap_authority};
use marram_mesh::{Authority, Role, make_ca};
use marram_meta::{
    AccessKeyRecord, COMMAND_VERSION, ClusterRecord, Envelope, FOUNDER, IdentityCommand,
    IdentityRefusal, NodeJoin, Refusal, RootCommand, RootOutcome,
};
use marram_raft::RaftHost;
use marram_types::config::{BootstrapConfig, ServerConfig};
use marram_types::{ClusterId, DriveId, GroupId, NodeId};
use tokio::runtime::Handle;

use super::super::own::Own;
use super::super::storage::Storage;
use super::{Node, describe, open, settle};

/// How long one proposal to the new root group may take.
const PROPOSE_WITHIN: Duration = Duration::from_secs(10);
/// The zone of a first node that names none.
const ZONE_DEFAULT: &str = "default";

/// The name of a first node that is given none.
const FIRST_NAME: &str = "node-1";

pub(super) async fn found(
    config: &ServerConfig,
    kek: &Kek,
    storage: &mut Storage,
    raft: &Handle,
) -> Result<(Node, Own)> {
    let bootstrap = config
        .bootstrap
        .as_ref()
        .context("nothing says how the cluster begins")?;
    let key = first_key(bootstrap, kek)?;
    let cluster = storage.cluster();
    let cluster = cluster.unwrap_or_else(|| ClusterId(rand::random()));
    storage.belong_to(cluster, Some(FOUNDER))?;
    let mut own = Own::load_or_make(storage.own_file())?;
    let name = config.name.as_deref().unwrap_or(FIRST_NAME);
    let lifetime = Duration::from_secs(config.certificate_lifetime_s);
    // If this start is interrupted, the next one makes another CA: the one that counts is that in the
    // root group.
    let made = make_ca(cluster)?;
    certify(&mut own, &made, name, lifetime)?;
    let mesh = own.mesh(Some(raft.clone()))?;
    let running = open(storage, &mesh, FOUNDER, raft, None).await?;
    let host = &running.host;
    host.initialize(GroupId::ROOT, &[FOUNDER]).await?;
    make_cluster(
        host,
        bootstrap,
        (cluster, key),
        wrap_authority(kek, &made)?,
        &made,
    )
    .await?;
    let mut join = describe(config, storage, own.key())?;
    join.name = name.to_owned();
    if join.zone.is_empty() {
        join.zone = ZONE_DEFAULT.to_owned();
    }
    let (node, drives) = admit_itself(host, join).await?;
    let view = super::super::view::read(host).await?;
    let record = view.issuing().context("the root group has no CA")?;
    let authority = open_authority(kek, cluster, record)?;
    certify(&mut own, &authority, name, lifetime)?;
    mesh.set_identity(own.identity()?)?;
    let has = own.identity()?;
    let report = IdentityCommand::Report {
        key: own.key(),
        until_s: u64::try_from(has.certificate().not_after).ok(),
        trusts: has.trusts(),
        issuer: Some(has.issuer()),
    };
    match propose(host, &RootCommand::Identity(report)).await? {
        RootOutcome::Done => {}
        other => bail!("the first certificate cannot be recorded: {other:?}"),
    }
    storage.identify(Some(node), &drives, Some(FOUNDER))?;
    settle(&mesh, node);
    Ok((running, own))
}

/// Issues the founder's own certificate.
fn certify(own: &mut Own, authority: &Authority, name: &str, lifetime: Duration) -> Result<()> {
    let certificate = authority.sign(&own.key_info(), Role::Node, name, lifetime)?;
    own.take(certificate, vec![authority.certificate().to_vec()])
}

/// The cluster, its first access key and its CA.
async fn make_cluster(
    host: &RaftHost,
    bootstrap: &BootstrapConfig,
    (cluster, key): (ClusterId, AccessKeyRecord),
    (fingerprint, wrapped_key): ([u8; 32], Vec<u8>),
    made: &Authority,
) -> Result<()> {
    let cluster = ClusterRecord {
        cluster,
        name: bootstrap.cluster_name.clone(),
        version: COMMAND_VERSION,
        object_groups: bootstrap.object_groups,
        expected_nodes: bootstrap.expected_nodes,
        default_profile: None,
    };
    let keys = vec![key];
    match propose(host, &RootCommand::Bootstrap { cluster, keys }).await? {
        RootOutcome::Done | RootOutcome::Refused(Refusal::AlreadyBootstrapped { .. }) => {}
        other => bail!("the cluster cannot be founded: {other:?}"),
    }
    let first = IdentityCommand::AddAuthority {
        fingerprint,
        certificate: made.certificate().to_vec(),
        wrapped_key,
        replaces: None,
    };
    match propose(host, &RootCommand::Identity(first)).await? {
        RootOutcome::Done
        | RootOutcome::Refused(Refusal::Identity(IdentityRefusal::AuthorityExists)) => Ok(()),
        other => bail!("the cluster's CA cannot be kept: {other:?}"),
    }
}

/// The first node and its replica.
async fn admit_itself(host: &RaftHost, join: NodeJoin) -> Result<(NodeId, Vec<DriveId>)> {
    let RootOutcome::NodeAdded { node, drives } =
        propose(host, &RootCommand::AddNode(join)).await?
    else {
        bail!("the first node was not admitted");
    };
    let founder = true;
    match propose(host, &RootCommand::AddReplica { node, founder }).await? {
        RootOutcome::ReplicaAdded { .. } | RootOutcome::Refused(Refusal::ReplicaExists { .. }) => {}
        other => bail!("the first replica was not admitted: {other:?}"),
    }
    Ok((node, drives))
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
    Ok(AccessKeyRecord::of_admin(id.to_owned(), wrapped_secret))
}
