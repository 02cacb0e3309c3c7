//! The data folders: on which file system and device each is, what room it has, and how operations on
//! its files did lately.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use marram_proto::v1;
use marram_store::{OpenMode, OsVfs, Vfs};
use marram_types::DriveId;

use crate::server::observe::Lately;
use crate::server::room::{self, Limits};
use crate::server::storage::Drives;

/// What each is like now.
pub(super) fn read(
    drives: &Drives,
    (limits, raft_dir): &(Limits, PathBuf),
) -> Vec<v1::FolderFacts> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let each = drives.places().into_iter().map(|place| {
        let mut facts = of_folder(&mounts, &place.path);
        facts.drive_id = place.drive.map_or(0, |drive| drive.0);
        facts.metadata = place.metadata;
        if let Some(drive) = place.drive {
            fill(&mut facts, drives, drive);
        }
        if place.metadata {
            add(&mut facts, &drives.disks().lately("metadata"));
            if let Ok((free, kept)) = room::left(raft_dir, drives, *limits) {
                facts.free_bytes = free;
                facts.metadata_kept_bytes = kept;
            }
        }
        facts
    });
    each.collect()
}

fn fill(facts: &mut v1::FolderFacts, drives: &Drives, drive: DriveId) {
    if let Some(open) = drives.get(drive) {
        let stat = open.stat();
        facts.capacity_bytes = stat.capacity;
        facts.free_bytes = stat.free;
    }
    add(facts, &drives.disks().lately(&drive.0.to_string()));
}

/// Adds what is known of one kind of files in the folder; the slower of two kinds counts.
fn add(facts: &mut v1::FolderFacts, lately: &Lately) {
    facts.errors += lately.errors;
    facts.syncs += lately.syncs;
    facts.sync_p99_us = facts.sync_p99_us.max(lately.sync_p99_us);
    facts.reads += lately.reads;
    facts.read_p99_us = facts.read_p99_us.max(lately.read_p99_us);
}

fn of_folder(mounts: &str, path: &Path) -> v1::FolderFacts {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let device = std::fs::metadata(&real).map(|is| is.dev()).ok();
    let space = OsVfs.space(&real).ok();
    v1::FolderFacts {
        path: path.display().to_string(),
        file_system: file_system(mounts, &real).unwrap_or_default(),
        device: device.map(numbers).unwrap_or_default(),
        direct_io: direct_io(&real),
        capacity_bytes: space.map_or(0, |space| space.capacity),
        free_bytes: space.map_or(0, |space| space.free),
        ..v1::FolderFacts::default()
    }
}

fn numbers(device: u64) -> String {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    format!("{major}:{minor}")
}

/// The type of the file system that a path is on, by proc(5), `/proc/self/mountinfo`: that of the
/// longest mount point that the path is in, and of several there the last.
fn file_system(mounts: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = before.split(' ').nth(4) else {
            continue;
        };
        let point = PathBuf::from(unescaped(point));
        let depth = point.components().count();
        if path.starts_with(&point) && best.is_none_or(|(known, _)| depth >= known) {
            best = after.split(' ').next().map(|kind| (depth, kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

/// Spaces and the like stand as `\040`.
fn unescaped(text: &str) -> String {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let replace = |text: String, (from, to): (&str, &str)| text.replace(from, to);
    escapes.into_iter().fold(text.to_owned(), replace)
}

/// Whether a file there can be opened for reading past the page cache. Tried with one that every drive
/// has; nothing is read of it.
fn direct_io(folder: &Path) -> Option<bool> {
    let file = folder.join("marram.identity");
    if !file.exists() {
        return None;
    }
    match OsVfs.open(&file, OpenMode::Direct) {
        Ok(_) => Some(true),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            Some(false)
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
35 21 0:30 / /tmp rw - tmpfs tmpfs rw
36 21 8:17 / /data/disk\\0402 rw - xfs /dev/sdb1 rw
40 21 0:44 / /data/far rw - nfs4 server:/export rw
41 21 8:33 / /data/far rw - xfs /dev/sdc1 rw
";

    #[test]
    fn the_innermost_mount_says_what_the_file_system_is() {
        for (path, kind) in [
            ("/data", "ext4"),
            ("/tmp/x/y", "tmpfs"),
            ("/tmpfiles", "ext4"),
            ("/data/disk 2/deeper", "xfs"),
            ("/data/far", "xfs"),
        ] {
            let found = file_system(MOUNTS, Path::new(path));
            assert_eq!(found.as_deref(), Some(kind), "{path}");
        }
        assert_eq!(file_system("", Path::new("/x")), None);
    }

    #[test]
    fn a_folder_of_this_machine_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("linux");
        let facts = of_folder(&mounts, folder.path());
        assert!(
            !facts.file_system.is_empty() && facts.device.contains(':'),
            "{facts:?}"
        );
        assert!(
            facts.capacity_bytes > 0 && facts.direct_io.is_none(),
            "{facts:?}"
        );
        std::fs::write(folder.path().join("marram.identity"), [0; 4096]).expect("written");
        assert!(of_folder(&mounts, folder.path()).direct_io.is_some());
    }
}
