//! The drives that are open now. They come and go while the node runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use marram_store::{Drive, DriveRoot};
use marram_types::{ClusterId, DriveId};

use super::super::observe::Disks;
use super::{Folders, Waiting};

/// A drive that is open, with its locked folder.
#[derive(Debug)]
struct Open {
    drive: Drive,
    /// None in tests.
    root: Option<DriveRoot>,
}

/// A data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct DataFolder {
    /// Where it is.
    pub(in crate::server) path: PathBuf,
    /// The drive that is open in it.
    pub(in crate::server) drive: Option<DriveId>,
    /// The metadata lies here.
    pub(in crate::server) metadata: bool,
}

/// The node's drives.
#[derive(Debug)]
pub(in crate::server) struct Drives {
    cluster: ClusterId,
    by_id: RwLock<BTreeMap<DriveId, Open>>,
    waiting: Mutex<Vec<Waiting>>,
    folders: Mutex<Folders>,
    disks: Arc<Disks>,
}

impl Drives {
    pub(super) fn new(cluster: ClusterId, folders: Folders, disks: Arc<Disks>) -> Self {
        Self {
            cluster,
            by_id: RwLock::default(),
            waiting: Mutex::default(),
            folders: Mutex::new(folders),
            disks,
        }
    }

    /// The cluster that they belong to.
    pub(in crate::server) fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Where operations on their files, and on those of the metadata, are measured.
    pub(in crate::server) fn disks(&self) -> &Arc<Disks> {
        &self.disks
    }

    /// A drive that is open now.
    pub(in crate::server) fn get(&self, drive: DriveId) -> Option<Drive> {
        let drives = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        drives.get(&drive).map(|open| open.drive.clone())
    }

    /// The drive that the metadata lies on.
    pub(in crate::server) fn metadata(&self) -> Option<Drive> {
        let drives = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        let holds = |open: &&Open| {
            let identity = open.root.as_ref().and_then(DriveRoot::identity);
            identity.is_some_and(|identity| identity.ordinal == 0)
        };
        drives.values().find(holds).map(|open| open.drive.clone())
    }

    /// All drives that are open now.
    pub(in crate::server) fn all(&self) -> Vec<Drive> {
        let drives = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        drives.values().map(|open| open.drive.clone()).collect()
    }

    /// Their ids.
    pub(in crate::server) fn ids(&self) -> Vec<DriveId> {
        let drives = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        drives.keys().copied().collect()
    }

    /// Each drive with what its folder can offer now.
    pub(in crate::server) fn offers(&self, capacity: Option<u64>) -> BTreeMap<DriveId, u64> {
        let drives = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        let offered = |(id, open): (&DriveId, &Open)| {
            let offered = super::offer(open.root.as_ref()?, capacity).ok()?;
            Some((*id, offered))
        };
        drives.iter().filter_map(offered).collect()
    }

    /// All data folders: those of open drives first.
    pub(in crate::server) fn places(&self) -> Vec<DataFolder> {
        let drives = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        let open = drives.iter().filter_map(|(id, open)| {
            let root = open.root.as_ref()?;
            Some(DataFolder {
                path: root.path().to_owned(),
                drive: Some(*id),
                metadata: root.identity().is_some_and(|known| known.ordinal == 0),
            })
        });
        let mut all: Vec<DataFolder> = open.collect();
        drop(drives);
        let waiting = self.waiting();
        all.extend(waiting.iter().map(|waiting| DataFolder {
            path: match waiting {
                Waiting::Away { path, .. } => path.clone(),
                Waiting::New(root) => root.path().to_owned(),
            },
            drive: None,
            metadata: false,
        }));
        all
    }

    /// Adds an open drive.
    pub(in crate::server) fn add(&self, drive: Drive, root: DriveRoot) {
        let mut drives = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        let root = Some(root);
        drives.insert(drive.id(), Open { drive, root });
    }

    /// Takes a drive out; it is closed when the last request to it has ended.
    pub(in crate::server) fn take(&self, drive: DriveId) -> Option<PathBuf> {
        let mut drives = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        let open = drives.remove(&drive)?;
        open.root.map(|root| root.path().to_owned())
    }

    pub(super) fn wait_for(&self, waiting: Vec<Waiting>) {
        *self.waiting() = waiting;
    }

    /// The folders without an open drive.
    pub(in crate::server) fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which drive was in which folder.
    pub(in crate::server) fn folders(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives without folders of a node, for tests.
    #[cfg(test)]
    pub(in crate::server) fn of(drives: impl IntoIterator<Item = Drive>) -> Self {
        let vfs = Arc::new(marram_store::OsVfs);
        let nowhere = std::path::Path::new("/nonexistent");
        let new = Self::new(ClusterId(1), Folders::load(vfs, nowhere), Arc::default());
        let open = |drive: Drive| (drive.id(), Open { drive, root: None });
        *new.by_id.write().expect("fresh") = drives.into_iter().map(open).collect();
        new
    }
}
