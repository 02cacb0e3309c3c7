//! A cluster that begins anew from an old state of its metadata: `--restore` and `--recover`
//! (decision 0021).
//!
//! This server alone takes the state, as the only voter of every group; all other replicas are past.
//! It is built beside, named last: a start that was interrupted is begun again with the same command.
//! The other servers come back with fresh replicas (see `renew`), and the groups grow as ever.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use marram_gateway::{Kek, open_authority};
use marram_mesh::{Mesh, Role, RootView, RpcCode};
use marram_meta::{
    BackupFrame, ClusterView, Jump, NodeJoin, NodeState, Refounded, refound_object, refound_root,
};
use marram_proto::mesh::v1 as wire;
use marram_raft::{LogicError, OfflineReplica, SeedAt};
use marram_store::wal::Wal;
use marram_store::{OpenMode, OsVfs, Vfs};
use marram_types::config::ServerConfig;
use marram_types::{GroupId, NodeId, ReplicaId};

use super::super::node::{describe, open_log_in};
use super::super::own::Own;
use super::super::storage::Storage;
use super::args::WaybackArgs;
use super::sources::{self, Chosen, Held};
use crate::backup_file;

/// How long another server may take to say that it is there.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Makes this node the one that goes on, and says who it is.
pub(in super::super) async fn begin_anew(
    config: &ServerConfig,
    kek: &Kek,
    storage: &mut Storage,
    args: &WaybackArgs,
) -> Result<(NodeId, ReplicaId)> {
    ensure!(
        args.i_know_that_newer_writes_are_lost,
        "every write after the state in these files is lost, and servers with newer metadata may \
         never vote again: say --i-know-that-newer-writes-are-lost if that is what you want"
    );
    if args.restore.is_some() {
        storage.refuse_own_metadata()?;
    }
    let files = match &args.restore {
        Some(file) => vec![file.clone()],
        None => args.recover.clone(),
    };
    let held: Vec<Held> = files.iter().map(|file| read(file)).collect::<Result<_>>()?;
    let said = held.first().map(|(header, _)| header.cluster);
    let cluster = storage.cluster().or(said).context("no file is given")?;
    let chosen = if args.restore.is_some() {
        sources::of_backup(cluster, &held)?
    } else {
        sources::of_survivors(cluster, &held)?
    };
    let building = Building::begin(storage, &files, &chosen)?;
    let mut own = Own::load_or_make(storage.own_file())?;
    let join = describe(config, storage, own.key())?;
    let (begun, view) = building.seed(storage, &chosen, &join)?;
    can_read_secrets(kek, &view)?;
    certify(config, kek, &view, &begun, &mut own)?;
    let mesh = own.mesh(None)?;
    let replicas: BTreeSet<_> = held
        .iter()
        .filter_map(|(header, _)| header.replica)
        .collect();
    if args.restore.is_none() {
        sources::check_gone(&view, &chosen, &replicas, &args.gone)?;
    }
    nobody_goes_on(&mesh, config, &view, &begun, args).await?;
    mesh.close();
    own.save()?;
    if storage.cluster().is_none() {
        storage.belong_to(cluster, None)?;
    }
    let old = storage.replica().filter(|_| args.restore.is_none());
    storage.adopt(&begun)?;
    building.put_in_place(storage, old)?;
    tell(&begun, &view, &chosen);
    Ok((begun.node, begun.replica))
}

fn read(file: &Path) -> Result<Held> {
    let checked = backup_file::read_file(file, &mut |_| Ok(()))?;
    let groups = checked.summary.groups.into_iter().map(|(group, _)| group);
    Ok((checked.summary.header, groups.collect()))
}

/// The key file must be the one under which the secrets in the state are wrapped.
fn can_read_secrets(kek: &Kek, view: &ClusterView) -> Result<()> {
    for key in view.access_keys.values() {
        kek.unwrap(&key.id, &key.wrapped_secret).with_context(|| {
            format!(
                "the key file (--kek-file) does not open the secret of access key {}: give the \
                 cluster's own",
                key.id
            )
        })?;
    }
    Ok(())
}

/// Issues this node's certificate from the CA in the state: the one that it has may have expired, or be
/// from another CA, or be lost with the drive.
fn certify(
    config: &ServerConfig,
    kek: &Kek,
    view: &ClusterView,
    begun: &Refounded,
    own: &mut Own,
) -> Result<()> {
    let cluster = view
        .cluster
        .as_ref()
        .context("the state holds no cluster")?;
    let record = view.issuing().context("the state holds no CA")?;
    let name = view.nodes.get(&begun.node).map(|node| node.name.as_str());
    let name = name.context("the state does not hold this node")?;
    let lifetime = Duration::from_secs(config.certificate_lifetime_s);
    let authority = open_authority(kek, cluster.cluster, record)?;
    let certificate = authority.sign(&own.key_info(), Role::Node, name, lifetime)?;
    let trusted = view.authorities.values().map(|a| a.certificate.clone());
    own.hold(certificate, trusted.collect())
}

/// Refuses while somebody else might still go on with newer metadata.
async fn nobody_goes_on(
    mesh: &Mesh,
    config: &ServerConfig,
    view: &ClusterView,
    begun: &Refounded,
    args: &WaybackArgs,
) -> Result<()> {
    let members = view.nodes.values().filter(|node| {
        let asked = args.restore.is_some() || args.gone.contains(&node.name);
        node.state == NodeState::Active && node.node != begun.node && asked
    });
    let mut asked: Vec<_> = members
        .map(|node| (node.name.clone(), node.mesh_addr.clone()))
        .collect();
    if args.restore.is_some() {
        asked.extend(config.join.iter().map(|addr| (addr.clone(), addr.clone())));
    }
    for (name, addr) in asked {
        let request = wire::RootViewRequest {
            known_index: 0,
            wait_ms: 0,
            note: None,
        };
        let answer = mesh
            .call_addr::<RootView>(&addr, request, Bytes::new(), ANSWER_WITHIN)
            .await;
        let has_metadata = match &answer {
            Ok((answer, _)) => !answer.view.is_empty(),
            // Whoever refuses this key has a table of members without it.
            Err(error) => error.code() == Some(RpcCode::Denied),
        };
        if has_metadata {
            bail!(
                "{name} at {addr} answers and has metadata of its own: stop every server first, and \
                 make sure that nothing newer is left"
            );
        }
    }
    Ok(())
}

fn tell(begun: &Refounded, view: &ClusterView, chosen: &BTreeMap<GroupId, Chosen>) {
    for (group, held) in chosen {
        let (index, term, applied) = (held.group.index, held.group.term, held.group.applied);
        if held.has_quorum {
            tracing::warn!(%group, index, "nothing of the group is lost");
        } else {
            tracing::warn!(
                %group, index, term, known_committed = applied,
                "what was committed behind this entry is lost"
            );
        }
    }
    let others = view.nodes.values();
    let others: Vec<_> = others
        .filter(|node| node.state == NodeState::Active && node.node != begun.node)
        .map(|node| node.name.as_str())
        .collect();
    tracing::warn!(
        node = %begun.node, replica = %begun.replica, newer_rows = begun.newer_rows,
        others = others.join(", "),
        "the cluster begins anew here. Start the others: those without metadata come by themselves, \
         those with metadata from before need --give-up-metadata once; fence those that are gone"
    );
}

/// New replicas on their way.
struct Building {
    dir: PathBuf,
    target: PathBuf,
    files: Vec<PathBuf>,
}

impl Building {
    /// An empty folder beside the one that it will become, with the state of each group in a file.
    fn begin(
        storage: &Storage,
        files: &[PathBuf],
        chosen: &BTreeMap<GroupId, Chosen>,
    ) -> Result<Self> {
        let target = storage.raft_dir();
        let dir = target.with_extension("beginning");
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
        fs::create_dir_all(dir.join("state"))
            .with_context(|| format!("cannot make {}", dir.display()))?;
        let building = Self {
            dir,
            target,
            files: files.to_vec(),
        };
        for (number, file) in files.iter().enumerate() {
            let wanted = |group: GroupId| chosen.get(&group).is_some_and(|c| c.file == number);
            building.extract(file, wanted)?;
        }
        Ok(building)
    }

    fn state_file(&self, group: GroupId) -> PathBuf {
        self.dir.join(format!("group-{}.state", group.0))
    }

    /// Writes the states of the groups that are wanted of a file, which was checked before and is
    /// checked again.
    fn extract(&self, file: &Path, wanted: impl Fn(GroupId) -> bool) -> Result<()> {
        let mut open: Option<io::BufWriter<fs::File>> = None;
        backup_file::read_file(file, &mut |frame| {
            match frame {
                BackupFrame::Group(group) if wanted(group.group) => {
                    let path = self.state_file(group.group);
                    open = Some(io::BufWriter::new(fs::File::create(path)?));
                }
                BackupFrame::Piece(bytes) => {
                    if let Some(open) = &mut open {
                        open.write_all(bytes)?;
                    }
                }
                BackupFrame::GroupEnd { .. } => {
                    if let Some(mut open) = open.take() {
                        open.flush()?;
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Makes the replicas, the root group's last: what the others know of the layout goes into it.
    fn seed(
        &self,
        storage: &Storage,
        chosen: &BTreeMap<GroupId, Chosen>,
        join: &NodeJoin,
    ) -> Result<(Refounded, ClusterView)> {
        let root = &chosen[&GroupId::ROOT].group;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let jump = Jump::at(now.unwrap_or_default().as_secs());
        let replica = ReplicaId(jump.root_ends_at(root.index));
        let offline = OfflineReplica {
            dir: self.dir.join("state"),
            vfs: Arc::new(OsVfs),
            replica,
        };
        let wal = open_log_in(storage, &self.dir)?;
        let mut rows = BTreeMap::new();
        for (group, held) in chosen.iter().filter(|(group, _)| **group != GroupId::ROOT) {
            let index = held.group.index + jump.objects;
            let term = held.group.term + 1;
            self.one(
                &offline,
                &wal,
                (*group, SeedAt { term, index }),
                &mut |kv| {
                    for (pg, row) in refound_object(kv, index).map_err(LogicError::new)? {
                        let newer = |held: &marram_placement::PgRow| held.epoch < row.epoch;
                        if rows.get(&pg).is_none_or(newer) {
                            rows.insert(pg, row);
                        }
                    }
                    Ok(())
                },
            )?;
        }
        let at = SeedAt {
            term: root.term + 1,
            index: replica.0,
        };
        let mut begun = None;
        self.one(&offline, &wal, (GroupId::ROOT, at), &mut |kv| {
            let founded = refound_root(kv, (root.index, jump), join.clone(), &rows);
            begun = Some(founded.map_err(LogicError::new)?);
            Ok(())
        })?;
        let view = marram_meta::view(&offline.view(GroupId::ROOT)?)?;
        let begun = begun.context("the root group's state was not loaded")?;
        ensure!(
            begun.replica == replica,
            "the replica has another id than was planned"
        );
        Ok((begun, view))
    }

    fn one(
        &self,
        offline: &OfflineReplica,
        wal: &Wal,
        (group, at): (GroupId, SeedAt),
        edit: &mut dyn FnMut(&mut dyn marram_meta::KvWrite) -> Result<(), LogicError>,
    ) -> Result<()> {
        let path = self.state_file(group);
        let file = OsVfs.open(&path, OpenMode::Existing)?;
        let bytes = file.len()?;
        offline
            .seed((group, at), wal, (file.as_ref(), bytes), edit)
            .with_context(|| {
                let files: Vec<_> = self.files.iter().map(|f| f.display().to_string()).collect();
                format!("group {group} cannot begin with {}", files.join(", "))
            })?;
        fs::remove_file(&path)?;
        Ok(())
    }

    /// Gives the folder its name: from then on the replicas count. What a survivor had, which was
    /// exported before, is set aside.
    fn put_in_place(self, storage: &Storage, old: Option<ReplicaId>) -> Result<()> {
        if let Some(old) = old {
            storage.set_metadata_aside(old)?;
        }
        fs::rename(&self.dir, &self.target)
            .with_context(|| format!("cannot rename {}", self.dir.display()))?;
        let parent = self.target.parent().context("a drive has a folder")?;
        OsVfs.sync_dir(parent)?;
        Ok(())
    }
}
