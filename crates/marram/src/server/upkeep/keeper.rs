//! The node's drives come, fail, go away and come back; the root group is told.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use marram_maintain::{DriveGraces, Found, OwnDrive, drive_commands, drives_to_close, fault_point};
use marram_meta::{DriveCommand, DriveDuty, Envelope, NodeRecord, RootCommand, RootOutcome};
use marram_store::{DriveRoot, DriveState, EMPTY_DRIVE_HAS, Identity, OsVfs};
use marram_types::config::ServerConfig;
use marram_types::{DriveId, GroupId, NodeId};

use super::super::local::Local;
use super::super::storage::{Drives, Known, Waiting, offer, open_drive};

/// How often the drives are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often they are asked whether they are still there.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How often their size and the folders without a drive are looked at.
const FOLDERS_EVERY: Duration = Duration::from_secs(10);

/// Looks after the drives for as long as it is polled.
pub(in crate::server) async fn keep_drives(
    config: ServerConfig,
    local: Arc<Local>,
    drives: Arc<Drives>,
) {
    let graces = DriveGraces {
        failed: Duration::from_secs(config.upkeep.drive_failed_grace_s),
        away: Duration::from_secs(config.upkeep.drive_away_grace_s),
    };
    let mut keeper = Keeper {
        config,
        local,
        drives,
        graces,
        began: Instant::now(),
        found: BTreeMap::new(),
        offers: BTreeMap::new(),
        probed: None,
        looked: None,
    };
    loop {
        keeper.round().await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

struct Keeper {
    config: ServerConfig,
    local: Arc<Local>,
    drives: Arc<Drives>,
    graces: DriveGraces,
    began: Instant,
    /// How each open drive is found, since when.
    found: BTreeMap<DriveId, (Found, Instant)>,
    offers: BTreeMap<DriveId, u64>,
    probed: Option<Instant>,
    looked: Option<Instant>,
}

fn is_due(last: Option<Instant>, every: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= every)
}

impl Keeper {
    fn record(&self) -> Option<NodeRecord> {
        let node = self.local.mesh.node()?;
        self.local.view.borrow().nodes.get(&node).cloned()
    }

    async fn round(&mut self) {
        if is_due(self.probed, PROBE_EVERY) {
            self.probed = Some(Instant::now());
            for drive in self.drives.all() {
                drive.probe().await;
            }
        }
        let Some(record) = self.record() else { return };
        if is_due(self.looked, FOLDERS_EVERY) {
            self.looked = Some(Instant::now());
            self.offers = self.drives.offers(self.config.drive_capacity);
            self.folders(&record).await;
        }
        for drive in drives_to_close(&record, &self.drives.ids()) {
            self.close(drive);
        }
        let own = self.look();
        let cluster = self.local.view.borrow().cluster.clone();
        let version = cluster.map_or(0, |cluster| cluster.version);
        let up = self.began.elapsed();
        for command in drive_commands(&record, &own, up, self.graces, version) {
            match self.decide(command.clone()).await {
                Ok(_) => {
                    tracing::warn!(target: "drives", ?command, "told the root group about a drive");
                    fault_point(place_of(&command));
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::info!(target: "drives", ?command, error, "the root group is told again");
                }
            }
        }
    }

    /// How every open drive is, and for how long.
    fn look(&mut self) -> BTreeMap<DriveId, OwnDrive> {
        let open = self.drives.all();
        self.found
            .retain(|id, _| open.iter().any(|drive| drive.id() == *id));
        let mut own = BTreeMap::new();
        for drive in open {
            let id = drive.id();
            let found = match drive.stat().state {
                DriveState::Retired => Found::Retired,
                DriveState::Active | DriveState::Full => Found::Open,
            };
            let known = self
                .found
                .entry(id)
                .or_insert_with(|| (found, Instant::now()));
            if known.0 != found {
                *known = (found, Instant::now());
            }
            let (since, offers) = (known.1.elapsed(), self.offers.get(&id).copied());
            own.insert(
                id,
                OwnDrive {
                    found,
                    since,
                    offers,
                },
            );
        }
        own
    }

    async fn decide(&self, command: DriveCommand) -> Result<RootOutcome> {
        let sealed = Envelope::seal_internal(&RootCommand::Drives(command));
        let outcome = self.local.propose(GroupId::ROOT, sealed).await;
        let outcome = outcome.context("the root group does not answer")?;
        match RootOutcome::decode(&outcome)? {
            RootOutcome::Refused(refusal) => bail!("the root group refused: {refusal}"),
            outcome => Ok(outcome),
        }
    }

    /// A drive that was removed for ever: its folder is let go.
    fn close(&self, drive: DriveId) {
        if let Some(path) = self.drives.take(drive) {
            tracing::warn!(
                target: "drives", %drive, folder = %path.display(),
                "the drive was removed from the cluster: leave its folder out of --data, or empty it \
                 to use it as a new drive"
            );
        }
    }

    /// Looks at the folders without a drive: what is new is admitted, what is back is opened.
    async fn folders(&self, record: &NodeRecord) {
        let waiting = std::mem::take(&mut *self.drives.waiting());
        let mut still = Vec::new();
        for waits in waiting {
            let (path, tried) = match waits {
                Waiting::New(root) => {
                    let path = root.path().to_owned();
                    (path, self.admit(record.node, *root).await)
                }
                Waiting::Away { path, drive, why } => {
                    let back = self.back(record, &path, drive, why).await;
                    (path, back)
                }
            };
            match tried {
                Ok(None) => {}
                Ok(Some(waits)) => still.push(waits),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(target: "drives", folder = %path.display(), error, "a folder is tried again");
                    still.push(Waiting::Away {
                        drive: self.drives.folders().drive(&path),
                        path,
                        why: error,
                    });
                }
            }
        }
        self.drives.waiting().extend(still);
    }

    /// Whether what was in a folder is there again, or the folder is to be a new drive.
    async fn back(
        &self,
        record: &NodeRecord,
        path: &Path,
        drive: Option<DriveId>,
        why: String,
    ) -> Result<Option<Waiting>> {
        let away = |why| {
            Ok(Some(Waiting::Away {
                path: path.to_owned(),
                drive,
                why,
            }))
        };
        if !path.is_dir() {
            return away(why);
        }
        let root = DriveRoot::open(Arc::new(OsVfs), path, Some(self.drives.cluster()))?;
        let Some(identity) = root.identity() else {
            let asked = matches!(self.drives.folders().get(path), Some(Known::Label(_)));
            let replaced = match drive {
                Some(drive) => self.is_replaced(record, drive, path).await?,
                None => false,
            };
            if replaced {
                tracing::info!(target: "drives", folder = %path.display(), "another drive stands where one was given up");
                self.drives.folders().forget(path);
            }
            return match replaced || asked || drive.is_none() {
                true => Ok(Some(Waiting::New(Box::new(root)))),
                false => away(why),
            };
        };
        if identity.node != self.local.mesh.node() || identity.drive.is_none() {
            bail!("it belongs to another node");
        }
        self.open(root, path.to_owned()).await?;
        Ok(None)
    }

    /// Whether the empty folder of a drive is another drive: nobody waits for the old one any more. One that was
    /// waited for long enough is given up where a new file system stands in its place.
    async fn is_replaced(&self, record: &NodeRecord, drive: DriveId, path: &Path) -> Result<bool> {
        match record.drive(drive).map(|held| held.duty) {
            Some(DriveDuty::Failed | DriveDuty::Removed) => Ok(true),
            // Empty as it is now: it may have been mounted since it was opened.
            Some(duty) if duty.is_away() && is_mounted(path) && is_empty(path) => {
                let duty = DriveDuty::Failed;
                self.decide(DriveCommand::SetDuty { drive, duty }).await?;
                tracing::warn!(
                    target: "drives", %drive, folder = %path.display(),
                    "an empty file system is mounted where the drive was: it is given up"
                );
                // The next look opens it as what it is by then.
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Has the root group admit a new drive, and opens it. Every step may be repeated.
    async fn admit(&self, node: NodeId, mut root: DriveRoot) -> Result<Option<Waiting>> {
        let path = root.path().to_owned();
        let label = {
            let mut folders = self.drives.folders();
            match folders.get(&path) {
                Some(Known::Label(label)) => label,
                _ => {
                    let label = rand::random::<u128>().max(1);
                    folders.note(&path, Known::Label(label));
                    folders.keep()?;
                    label
                }
            }
        };
        let command = DriveCommand::Add {
            node,
            label,
            capacity: offer(&root, self.config.drive_capacity)?,
        };
        let RootOutcome::DriveAdded { drive } = self.decide(command).await? else {
            bail!("the root group answered something else");
        };
        root.write_identity(Identity {
            cluster: self.drives.cluster(),
            node: Some(node),
            drive: Some(drive),
            ordinal: u16::try_from(drive.0 & 0xff).context("a drive's number is a byte")?,
            replica: None,
        })?;
        tracing::info!(target: "drives", %drive, folder = %path.display(), "a new drive was admitted");
        self.open(root, path).await?;
        Ok(None)
    }

    async fn open(&self, root: DriveRoot, path: PathBuf) -> Result<()> {
        let (drives, config) = (Arc::clone(&self.drives), self.config.clone());
        let opened = tokio::task::spawn_blocking(move || {
            open_drive(&root, &drives, &config).map(|drive| (drive, root))
        });
        let (drive, root) = opened.await.context("opening a drive was given up")??;
        {
            let mut folders = self.drives.folders();
            folders.note(&path, Known::Drive(drive.id()));
            folders.keep()?;
        }
        tracing::info!(target: "drives", drive = %drive.id(), folder = %path.display(), "a drive is open");
        self.drives.add(drive, root);
        Ok(())
    }
}

/// Whether a file system of its own is mounted at the folder: if it is empty, then not because its mount is
/// missing. One that cannot be told from the file system above it counts as missing.
fn is_mounted(path: &Path) -> bool {
    // A link is where it leads to.
    let Ok(path) = &path.canonicalize() else {
        return false;
    };
    let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    match (above.and_then(device), device(path)) {
        (Some(above), Some(own)) => above != own,
        _ => false,
    }
}

/// Whether there is nothing in a folder but what a new file system has, and this process's lock.
fn is_empty(path: &Path) -> bool {
    let is_nothing = |name: &OsStr| EMPTY_DRIVE_HAS.iter().any(|nothing| name == *nothing);
    let found = std::fs::read_dir(path);
    found.is_ok_and(|mut all| all.all(|one| one.is_ok_and(|one| is_nothing(&one.file_name()))))
}

/// The place at which a test may have the process die after it told of a drive.
fn place_of(command: &DriveCommand) -> &'static str {
    match command {
        DriveCommand::SetCapacity { .. } => "drive.sized",
        DriveCommand::SetDuty {
            duty: DriveDuty::Serving | DriveDuty::Draining,
            ..
        } => "drive.taken-back",
        _ => "drive.given-up",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_is_told_from_an_empty_file_system() {
        assert!(is_mounted(Path::new("/proc")), "a file system of its own");
        let folder = tempfile::tempdir().expect("a folder");
        let mount_point = folder.path().join("disk");
        assert!(!is_mounted(&mount_point), "it is not there");
        std::fs::create_dir(&mount_point).expect("made");
        assert!(!is_mounted(&mount_point), "its mount is missing");
        assert!(!is_mounted(Path::new("disk")) && !is_mounted(Path::new("/")));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/proc", &link).expect("linked");
        assert!(is_mounted(&link));
        std::fs::remove_file(&link).expect("removed");
        std::os::unix::fs::symlink("/proc/self", &link).expect("linked");
        assert!(!is_mounted(&link), "a folder of another file system");
    }

    #[test]
    fn a_folder_with_data_in_it_is_not_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let drive = folder.path();
        assert!(is_empty(drive) && !is_empty(&drive.join("nothing")));
        for name in EMPTY_DRIVE_HAS {
            std::fs::write(drive.join(name), "").expect("written");
        }
        assert!(is_empty(drive));
        std::fs::create_dir(drive.join("segments")).expect("made");
        assert!(!is_empty(drive), "only its identity is lost");
    }
}
