//! Founding a cluster (rules.md 3). Every step may be repeated: a server that was interrupted
//! begins again at the top and finds what it did.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use marram_gateway::{Kek, open_authority, wrap_authority};
use marram_mesh::{Authority, Role, make_ca};
use marram_meta::{
    AccessKeyRecord, COMMAND_VERSION, ClusterRecord, Envelope, FOUNDER, IdentityCommand,
    IdentityRefusal, NodeJoin, Refusal, RootCommand, RootOutcome,
};
use marram_raft::RaftHost;
use marram_types::config::{Founding, ServerConfig};
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

/// What a cluster is founded as, and with.
pub(super) struct Beginning {
    pub(super) founding: Founding,
    /// The first access keys, each for everything.
    pub(super) keys: Vec<AccessKeyRecord>,
}

impl Beginning {
    /// That of the settings.
    pub(super) fn of(config: &ServerConfig, kek: &Kek) -> Result<Self> {
        let bootstrap = config.bootstrap.as_ref();
        let bootstrap = bootstrap.context("nothing says how the cluster begins")?;
        let operator = config.operator_key_file.as_ref();
        Ok(Self {
            founding: bootstrap.founding(),
            keys: first_keys(operator.into_iter().chain([&bootstrap.admin_key_file]), kek)?,
        })
    }
}

pub(super) async fn found(
    config: &ServerConfig,
    kek: &Kek,
    beginning: Beginning,
    storage: &mut Storage,
    raft: &Handle,
) -> Result<(Node, Own)> {
    let Beginning { founding, keys } = beginning;
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
        &founding,
        (cluster, keys),
        wrap_authority(kek, &made)?,
        &made,
    )
    .await?;
    let mut join = describe(config, storage, own.key())?;
    join.name = name.to_owned();
    if let Some(zone) = founding.zone {
        join.zone = zone;
    }
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

/// The cluster, its first access keys and its CA.
async fn make_cluster(
    host: &RaftHost,
    founding: &Founding,
    (cluster, keys): (ClusterId, Vec<AccessKeyRecord>),
    (fingerprint, wrapped_key): ([u8; 32], Vec<u8>),
    made: &Authority,
) -> Result<()> {
    let cluster = ClusterRecord {
        cluster,
        name: founding.cluster_name.clone(),
        version: COMMAND_VERSION,
        object_groups: founding.object_groups,
        expected_nodes: founding.expected_nodes,
        default_profile: None,
    };
    match propose(host, &RootCommand::Bootstrap { cluster, keys }).await? {
        RootOutcome::Done => {}
        RootOutcome::Refused(Refusal::AlreadyBootstrapped { .. }) => {
            let view = super::super::view::read(host).await?;
            let is = view.cluster.map(|cluster| cluster.name);
            if is.as_ref() != Some(&founding.cluster_name) {
                bail!(
                    "a founding that was interrupted here was that of cluster {:?}: found it with that \
                     name, or empty the data folders",
                    is.unwrap_or_default()
                );
            }
        }
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

/// The first access keys, their secrets wrapped under the key-encryption key.
pub(super) fn first_keys<'a>(
    files: impl Iterator<Item = &'a PathBuf>,
    kek: &Kek,
) -> Result<Vec<AccessKeyRecord>> {
    let mut keys: Vec<AccessKeyRecord> = Vec::new();
    for file in files {
        let key = first_key(file, kek)?;
        if keys.iter().any(|other| other.id == key.id) {
            bail!(
                "{} names the access key {}, which another file has: give each an id of its own",
                file.display(),
                key.id
            );
        }
        keys.push(key);
    }
    Ok(keys)
}

fn first_key(file: &Path, kek: &Kek) -> Result<AccessKeyRecord> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read an access key from {}", file.display()))?;
    let mut words = text.split_whitespace();
    let (Some(id), Some(secret), None) = (words.next(), words.next(), words.next()) else {
        bail!("{} must hold one line: `id secret`", file.display());
    };
    let wrapped_secret = kek.wrap(id, secret)?;
    Ok(AccessKeyRecord::of_admin(id.to_owned(), wrapped_secret))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::super::storage::Start;
    use super::*;

    fn prepare(folder: &Path) -> ServerConfig {
        let path = |name: &str| folder.join(name);
        std::fs::write(path("kek"), "5a".repeat(32)).expect("written");
        std::fs::write(path("operator"), "MKOPERATOR one\n").expect("written");
        std::fs::write(path("admin"), "MKADMIN other\n").expect("written");
        let settings = format!(
            "data = [{:?}]\nkek_file = {:?}\njoin = [\"127.0.0.1:1\"]\nawait_token = true\n\
             token_file = \"/nowhere\"\noperator_key_file = {:?}\nadmin_key_file = {:?}\n\
             segment_mib = 16\n",
            path("d1"),
            path("kek"),
            path("operator"),
            path("admin"),
        );
        let config: ServerConfig = toml::from_str(&settings).expect("settings");
        config.validate().expect("valid");
        config
    }

    fn dune(config: &ServerConfig, kek: &Kek) -> Beginning {
        let files = config
            .operator_key_file
            .iter()
            .chain(&config.admin_key_file);
        Beginning {
            founding: Founding {
                cluster_name: "dune".to_owned(),
                expected_nodes: 1,
                object_groups: 8,
                zone: None,
            },
            keys: first_keys(files, kek).expect("keys"),
        }
    }

    /// Whatever step it was that a crash came behind, the same cluster is founded by the next try.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_interrupted_founding_is_that_of_the_same_cluster() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = prepare(folder.path());
        let kek = Kek::load(&config.kek_file).expect("a key");
        let cluster = ClusterId(7);
        let mut storage = Storage::open(&config).expect("opened");
        storage.belong_to(cluster, Some(FOUNDER)).expect("marked");
        drop(storage);

        let mut storage = Storage::open(&config).expect("opened");
        assert_eq!(storage.start(&config).expect("a start"), Start::Join);
        assert!(storage.is_half_founded());
        storage.nobodys().expect("it may be founded");
        let raft = Handle::current();
        let beginning = dune(&config, &kek);
        let (node, _own) = found(&config, &kek, beginning, &mut storage, &raft)
            .await
            .expect("founded");
        assert_eq!(storage.cluster(), Some(cluster));
        let view = super::super::super::view::read(&node.host)
            .await
            .expect("read");
        let keys: Vec<_> = view.access_keys.keys().map(String::as_str).collect();
        assert_eq!(keys, ["MKADMIN", "MKOPERATOR"]);
        assert_eq!(
            view.cluster.map(|c| (c.cluster, c.name)),
            Some((cluster, "dune".to_owned()))
        );
        node.host.shutdown().await;
        node.mesh.close();
        drop((node, storage));

        let storage = Storage::open(&config).expect("opened");
        let start = storage.start(&config).expect("a start");
        assert!(matches!(start, Start::Resume { .. }), "{start:?}");
        assert!(storage.nobodys().is_err(), "it is one cluster's for good");
    }

    #[test]
    fn two_files_with_one_id_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = prepare(folder.path());
        let kek = Kek::load(&config.kek_file).expect("a key");
        let file = config.admin_key_file.expect("given");
        let refused = first_keys([&file, &file].into_iter(), &kek).expect_err("twice");
        assert!(refused.to_string().contains("MKADMIN"), "{refused}");
    }
}
