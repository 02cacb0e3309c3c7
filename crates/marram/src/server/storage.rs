//! The node's data folders: who they belong to, and the drives on them.
//!
//! The first folder is the metadata drive: without it the node does not start. Another one that is
//! missing, or empty where a drive of this node was, is a drive that is away: the node runs without
//! it and says so. An empty folder that no drive was in is a new drive (rules.md 1).
//!
//! ```text
//! folders  which drive was in which folder: a mount that is missing is no new drive
//! drives   the drives that are open now
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use marram_meta::{DriveJoin, FOUNDER};
use marram_store::{Drive, DriveOptions};
use marram_store::{DriveRoot, Identity, IdentityError, OsVfs, Vfs};
use marram_types::config::ServerConfig;
use marram_types::{ClusterId, DriveId, NodeId, ReplicaId};

use super::observe::Disks;
use super::own::Own;
use super::room::Limits;

mod drives;
mod folders;

pub(super) use drives::Drives;
pub(super) use folders::{Folders, Known};

/// Folder of the Raft log and the state machines, on the metadata drive.
const RAFT_DIR: &str = "raft";

/// How this start begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The drives are empty and this server founds the cluster, or was interrupted doing so.
    Found,
    /// The drives are empty and this server asks to be admitted.
    Join,
    /// This server begins the cluster anew from an old state.
    Anew,
    /// The drives know who they are.
    Resume {
        /// The node.
        node: NodeId,
        /// Its Raft replica.
        replica: ReplicaId,
    },
}

/// A folder in which no drive of this node is open.
#[derive(Debug)]
pub(super) enum Waiting {
    /// The drive that was in it is not there, and why.
    Away {
        /// The folder.
        path: PathBuf,
        /// The drive that was in it; none when only its folder is known.
        drive: Option<DriveId>,
        /// What was found instead.
        why: String,
    },
    /// It is empty, and no drive was in it: a new one.
    New(Box<DriveRoot>),
}

/// The locked data folders, the metadata drive first.
#[derive(Debug)]
pub(super) struct Storage {
    /// Whose the folders are, as far as any of them says.
    cluster: Option<ClusterId>,
    roots: Vec<DriveRoot>,
    waiting: Vec<Waiting>,
    folders: Folders,
    limits: Limits,
    /// The folders as they were given.
    order: Vec<PathBuf>,
    /// Where operations on their files are measured.
    disks: Arc<Disks>,
}

impl Storage {
    /// Locks every folder that is there and checks that all belong to one cluster or to nobody.
    pub(super) fn open(config: &ServerConfig) -> Result<Self> {
        let vfs: Arc<dyn Vfs> = Arc::new(OsVfs);
        let (first, others) = config
            .data
            .split_first()
            .context("no data folder is given")?;
        let metadata = DriveRoot::open(Arc::clone(&vfs), first, None)?;
        let cluster = metadata.identity().map(|identity| identity.cluster);
        let folders = Folders::load(Arc::clone(&vfs), first);
        let resumes = metadata.identity().is_some_and(|i| i.node.is_some());
        let mut storage = Self {
            cluster,
            roots: vec![metadata],
            waiting: Vec::new(),
            folders,
            limits: Limits::of(config),
            order: config.data.clone(),
            disks: Arc::default(),
        };
        for folder in others {
            storage.open_other(&vfs, folder, resumes)?;
        }
        Ok(storage)
    }

    /// The files of the Raft log and of the groups' states.
    pub(super) fn metadata_files(&self) -> Arc<dyn Vfs> {
        self.disks.measured("metadata", Arc::new(OsVfs))
    }

    /// Opens a folder that is not the metadata drive.
    fn open_other(&mut self, vfs: &Arc<dyn Vfs>, folder: &Path, resumes: bool) -> Result<()> {
        let known = self.folders.drive(folder);
        let mut away = |why: String| {
            tracing::error!(folder = %folder.display(), ?known, why, "a drive is away: the node starts without it");
            self.waiting.push(Waiting::Away {
                path: folder.to_owned(),
                drive: known,
                why,
            });
        };
        // A mount that is missing must not become an empty folder on the file system below it.
        if known.is_some() && vfs.list(folder).is_err() {
            away("the folder is not there".to_owned());
            return Ok(());
        }
        let root = match DriveRoot::open(Arc::clone(vfs), folder, self.cluster) {
            Ok(root) => root,
            Err(IdentityError::Io { source, .. }) if known.is_some() => {
                away(format!("the folder cannot be used: {source}"));
                return Ok(());
            }
            // Nobody knows whose it is, so nothing is written to it; the rest of the node is sound.
            Err(error @ IdentityError::Corrupt { .. }) if resumes => {
                away(error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let marked = root.identity().map(|identity| identity.cluster);
        self.cluster = self.cluster.or(marked);
        match root.identity() {
            None if known.is_some() => {
                away("the folder is empty: is its file system mounted?".to_owned());
            }
            None if resumes => self.waiting.push(Waiting::New(Box::new(root))),
            _ => self.roots.push(root),
        }
        Ok(())
    }

    /// The cluster that the folders are marked with.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// Marks the folders as this cluster's, so that an interrupted start is known as one.
    pub(super) fn belong_to(
        &mut self,
        cluster: ClusterId,
        founder: Option<ReplicaId>,
    ) -> Result<()> {
        self.cluster = Some(cluster);
        self.identify(None, &[], founder)
    }

    /// Where the node keeps its key and certificate.
    pub(super) fn own_file(&self) -> PathBuf {
        Own::file_on(self.metadata().path())
    }

    /// What this start has to do, refused where the folders and the settings contradict each other.
    pub(super) fn start(&self, config: &ServerConfig) -> Result<Start> {
        let metadata = self.metadata();
        let identity = metadata.identity();
        if let Some(Identity {
            node: Some(node),
            replica: Some(replica),
            ..
        }) = identity
        {
            if config.bootstrap.is_some() {
                bail!(
                    "{} belongs to a cluster already: leave --bootstrap out to go on with it",
                    metadata.path().display()
                );
            }
            self.every_drive_is_ours(*node)?;
            return Ok(Start::Resume {
                node: *node,
                replica: *replica,
            });
        }
        // A metadata drive that is marked but nameless was interrupted in the middle of joining, and
        // the other drives are named before it is.
        let carrying = self.roots[1..]
            .iter()
            .find(|r| r.identity().is_some_and(|i| i.node.is_some()));
        if let (Some(root), None) = (carrying, identity) {
            bail!(
                "the metadata drive {} is empty but {} belongs to a node: was the first --data folder changed?",
                metadata.path().display(),
                root.path().display()
            );
        }
        match (&config.bootstrap, config.join.is_empty()) {
            (Some(_), _) => {
                self.nobodys()?;
                Ok(Start::Found)
            }
            (None, false) => Ok(Start::Join),
            (None, true) => bail!(
                "{} is empty: found a cluster with --bootstrap NAME on exactly one node, or join one with --join HOST:PORT",
                metadata.path().display()
            ),
        }
    }

    /// True when the founding of a cluster was interrupted here.
    pub(super) fn is_half_founded(&self) -> bool {
        let identity = self.metadata().identity();
        identity.is_some_and(|i| i.replica == Some(FOUNDER) && i.node.is_none())
    }

    /// A cluster is founded on folders that belong to nobody, or that a founding was interrupted on
    /// (rules.md 3).
    pub(super) fn nobodys(&self) -> Result<()> {
        let founding = self.is_half_founded();
        let mut marked = self.roots.iter();
        let marked = marked.find_map(|root| Some((root.path(), root.identity()?.cluster)));
        match marked {
            Some((path, cluster)) if !founding => bail!(
                "{} belongs to cluster {cluster} already: a cluster is founded on empty folders only",
                path.display()
            ),
            _ => Ok(()),
        }
    }

    fn every_drive_is_ours(&self, node: NodeId) -> Result<()> {
        for (place, root) in self.roots.iter().enumerate() {
            let path = root.path().display();
            let Some(identity) = root.identity() else {
                bail!("{path} has no identity");
            };
            if let Some(other) = identity.node.filter(|other| *other != node) {
                bail!("{path} is a drive of node {other}, this is node {node}: leave it out");
            }
            if (place == 0) != (identity.ordinal == 0) {
                bail!(
                    "{path} is drive number {} of this node but stands at place {} of --data: the \
                     metadata drive, number 0, comes first",
                    identity.ordinal,
                    place + 1
                );
            }
            let twice = |other: &&DriveRoot| {
                let drive = other.identity().and_then(|i| i.drive);
                drive.is_some() && drive == identity.drive
            };
            if let Some(other) = self.roots[..place].iter().find(twice) {
                bail!(
                    "{path} and {} carry the same drive: one is a copy of the other, leave it out",
                    other.path().display()
                );
            }
        }
        Ok(())
    }

    fn metadata(&self) -> &DriveRoot {
        &self.roots[0]
    }

    /// What may be used of the metadata drive.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Where the Raft log and the state machines lie.
    pub(super) fn raft_dir(&self) -> PathBuf {
        self.metadata().path().join(RAFT_DIR)
    }

    /// Writes down who the drives are, the metadata drive last: it is the one that counts.
    pub(super) fn identify(
        &mut self,
        node: Option<NodeId>,
        drives: &[DriveId],
        replica: Option<ReplicaId>,
    ) -> Result<()> {
        let cluster = self
            .cluster
            .context("the folders belong to no cluster yet")?;
        for (root, drive) in self.roots.iter().zip(drives).skip(1) {
            self.folders.note(root.path(), Known::Drive(*drive));
        }
        if !drives.is_empty() {
            self.folders.keep()?;
        }
        for (ordinal, root) in self.roots.iter_mut().enumerate().rev() {
            let identity = Identity {
                cluster,
                node,
                drive: drives.get(ordinal).copied(),
                ordinal: u16::try_from(ordinal).context("more drives than can be numbered")?,
                replica: replica.filter(|_| ordinal == 0),
            };
            root.write_identity(identity)?;
        }
        Ok(())
    }

    /// Names the node's present replica, on the metadata drive.
    pub(super) fn give_replica(&mut self, replica: ReplicaId) -> Result<()> {
        let metadata = &mut self.roots[0];
        let identity = metadata.identity().context("the drive has no identity")?;
        let identity = Identity {
            replica: Some(replica),
            ..identity.clone()
        };
        Ok(metadata.write_identity(identity)?)
    }

    /// Moves log and state of a replica that never returns out of the way; says where to. Nothing is
    /// deleted.
    pub(super) fn set_metadata_aside(&self, replica: ReplicaId) -> Result<Option<PathBuf>> {
        let root = self.metadata();
        let names = root.vfs().list(root.path())?;
        if !names.iter().any(|name| name == RAFT_DIR) {
            return Ok(None);
        }
        let name = (0_u32..)
            .map(|n| match n {
                0 => format!("{RAFT_DIR}.lost-{replica}"),
                n => format!("{RAFT_DIR}.lost-{replica}-{n}"),
            })
            .find(|name| !names.contains(name))
            .context("no name is free")?;
        let aside = root.path().join(name);
        root.vfs()
            .rename(&self.raft_dir(), &aside)
            .with_context(|| format!("cannot move the old metadata to {}", aside.display()))?;
        root.vfs().sync_dir(root.path())?;
        Ok(Some(aside))
    }

    /// A restore is for a server that has no metadata any more.
    pub(super) fn refuse_own_metadata(&self) -> Result<()> {
        let dir = self.raft_dir();
        if self.metadata().vfs().list(&dir).is_err() {
            return Ok(());
        }
        bail!(
            "{} is there: this server has metadata of its own, which may be newer than the backup. \
             Start without --restore to go on with it; only if it is of no use, move that folder \
             away by hand",
            dir.display()
        )
    }

    /// The replica that the metadata drive names.
    pub(super) fn replica(&self) -> Option<ReplicaId> {
        self.metadata()
            .identity()
            .and_then(|identity| identity.replica)
    }

    /// Takes the folders in which no drive was found as they are, each in its place.
    fn take_waiting(&mut self) -> Result<()> {
        let vfs = Arc::clone(self.metadata().vfs());
        for waits in std::mem::take(&mut self.waiting) {
            self.roots.push(match waits {
                Waiting::New(root) => *root,
                Waiting::Away { path, .. } => {
                    DriveRoot::open(Arc::clone(&vfs), &path, self.cluster)?
                }
            });
        }
        let order = &self.order;
        let place = |root: &DriveRoot| order.iter().position(|folder| folder == root.path());
        self.roots.sort_by_key(place);
        Ok(())
    }

    /// Names the drives of the node that begins the cluster anew, the metadata drive last.
    pub(super) fn adopt(&mut self, begun: &marram_meta::Refounded) -> Result<()> {
        self.take_waiting()?;
        if begun.drives.len() != self.roots.len() {
            bail!(
                "node {} has {} drives and {} data folders are given: give all of them, in their \
                 order, an empty one in the place of a drive that is lost",
                begun.node,
                begun.drives.len(),
                self.roots.len()
            );
        }
        for (root, drive) in self.roots.iter().zip(&begun.drives) {
            let path = root.path().display();
            match root
                .identity()
                .map(|identity| (identity.node, identity.drive))
            {
                Some((Some(node), _)) if node != begun.node => {
                    bail!("{path} belongs to node {node}, this is node {}", begun.node)
                }
                Some((_, Some(found))) if found != *drive => {
                    bail!(
                        "{path} is drive {found}, in this place belongs drive {drive}: keep the order"
                    )
                }
                Some(_) => {}
                None => tracing::warn!(%path, %drive, "the drive is empty: its shards are rebuilt"),
            }
        }
        self.identify(Some(begun.node), &begun.drives, Some(begun.replica))
    }

    /// What the node tells of its drives when it joins.
    pub(super) fn offered(&self, capacity: Option<u64>) -> Result<Vec<DriveJoin>> {
        let offer = |(ordinal, root): (usize, &DriveRoot)| {
            Ok(DriveJoin {
                ordinal: u8::try_from(ordinal).context("more drives than can be numbered")?,
                capacity: offer(root, capacity)?,
            })
        };
        self.roots.iter().enumerate().map(offer).collect()
    }

    /// The drives of a node that returns, each with what the node tells of it.
    pub(super) fn returning(
        &self,
        capacity: Option<u64>,
    ) -> Result<(Vec<DriveId>, Vec<DriveJoin>)> {
        let away = self.waiting.iter().find_map(|waiting| match waiting {
            Waiting::Away { path, why, .. } => Some((path.display(), why)),
            Waiting::New(_) => None,
        });
        if let Some((path, why)) = away {
            bail!(
                "{path} is no drive that can be used: {why}. A node returns with all of its drives: leave \
                 out the folder of one that is lost"
            );
        }
        let drives = self.roots.iter().map(|root| {
            let identity = root.identity().context("a drive has no identity")?;
            let drive = identity.drive.context("a drive has no id")?;
            let told = DriveJoin {
                ordinal: u8::try_from(identity.ordinal).context("a drive's number is a byte")?,
                capacity: offer(root, capacity)?,
            };
            Ok((drive, told))
        });
        drives.collect()
    }

    /// Opens the drives. The folders stay locked as long as the result lives. A drive other than the
    /// metadata drive that cannot be opened is away.
    pub(super) fn drives(self, config: &ServerConfig) -> Result<Drives> {
        let cluster = self.cluster.context("the folders belong to no cluster")?;
        let (mut waiting, mut folders) = (self.waiting, self.folders);
        for root in &self.roots[1..] {
            if let Some(drive) = root.identity().and_then(|identity| identity.drive) {
                folders.note(root.path(), Known::Drive(drive));
            }
        }
        folders.keep()?;
        let drives = Drives::new(cluster, folders, self.disks);
        for (place, root) in self.roots.into_iter().enumerate() {
            let path = root.path().to_owned();
            let id = root.identity().and_then(|identity| identity.drive);
            match open_drive(&root, &drives, config) {
                Ok(drive) => drives.add(drive, root),
                Err(error) if place == 0 => return Err(error),
                Err(error) => {
                    let why = format!("{error:#}");
                    tracing::error!(folder = %path.display(), why, "a drive is away: the node starts without it");
                    waiting.push(Waiting::Away {
                        path,
                        drive: id,
                        why,
                    });
                }
            }
        }
        drives.wait_for(waiting);
        Ok(drives)
    }
}

/// Bytes that a folder can offer, and no more than is allowed of each.
pub(super) fn offer(root: &DriveRoot, capacity: Option<u64>) -> std::io::Result<u64> {
    let space = root.vfs().space(root.path())?;
    Ok(capacity.map_or(space.capacity, |c| c.min(space.capacity)))
}

/// Opens the drive in a folder that has an identity.
pub(super) fn open_drive(
    root: &DriveRoot,
    drives: &Drives,
    config: &ServerConfig,
) -> Result<Drive> {
    let identity = root.identity().context("the drive has no identity")?;
    let id = identity.drive.context("the drive has no id")?;
    let mut options = DriveOptions::new(id, drives.cluster());
    options.segment_bytes = config.segment_mib << 20;
    if let Some(capacity) = config.drive_capacity {
        options.limits.capacity = Some(capacity);
        // The floor of free bytes is meant for whole file systems: a small share of one
        // would be full from the start.
        options.limits.free_bytes_min = options.limits.free_bytes_min.min(capacity / 10);
    }
    if identity.ordinal == 0 {
        options.on_fatal = Some(Arc::new(end_process));
    }
    let disk = id.0.to_string();
    let files = drives.disks().measured(&disk, Arc::clone(root.vfs()));
    Drive::open(files, root.path(), options)
        .with_context(|| format!("cannot open the drive {}", root.path().display()))
}

/// After a failed sync nobody knows what of the metadata drive is durable (rules.md 21).
fn end_process(error: &std::io::Error) {
    tracing::error!(%error, "the metadata drive failed to sync: this process ends");
    std::process::abort();
}

#[cfg(test)]
mod tests;
