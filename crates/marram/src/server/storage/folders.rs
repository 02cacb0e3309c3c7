//! Which drive was in which folder: `marram.folders` on the metadata drive, one line each.
//!
//! ```text
//! drive 515 /data/disk-2
//! label 00c3...9f /data/disk-3        asked for, and not known to be admitted yet
//! crc32c 8 hexadecimal digits         of everything before
//! ```
//!
//! It tells an empty mount point from a new drive, and makes asking for a new drive repeatable. When it
//! is damaged, empty folders count as new ones, which loses nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use marram_store::{OpenMode, Vfs};
use marram_types::{DriveId, crc32c};

const NAME: &str = "marram.folders";
const TEMP_NAME: &str = "marram.folders.tmp";
/// Sixty-four folders of the longest names; more is not read.
const BYTES_MAX: usize = 512 * 1024;

/// What is known of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Known {
    /// This drive was in it.
    Drive(DriveId),
    /// A drive was asked for under this label.
    Label(u128),
}

/// What is known of all folders.
#[derive(Debug)]
pub(in crate::server) struct Folders {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    known: BTreeMap<PathBuf, Known>,
}

impl Folders {
    /// Reads what is known from the metadata drive.
    pub(super) fn load(vfs: Arc<dyn Vfs>, dir: &Path) -> Self {
        let path = dir.join(NAME);
        let read = vfs
            .open(&path, OpenMode::Existing)
            .and_then(|file| file.read_vec(0, BYTES_MAX));
        let known = match read {
            Ok(bytes) => parse(&bytes).unwrap_or_else(|| {
                tracing::warn!(path = %path.display(), "the list of folders is damaged");
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        let dir = dir.to_owned();
        Self { vfs, dir, known }
    }

    /// The drive that was in a folder.
    pub(in crate::server) fn drive(&self, folder: &Path) -> Option<DriveId> {
        match self.known.get(folder) {
            Some(Known::Drive(drive)) => Some(*drive),
            _ => None,
        }
    }

    /// What is known of a folder.
    pub(in crate::server) fn get(&self, folder: &Path) -> Option<Known> {
        self.known.get(folder).copied()
    }

    /// Notes what is in a folder; kept by [`Self::keep`].
    pub(in crate::server) fn note(&mut self, folder: &Path, known: Known) {
        if let Known::Drive(drive) = known {
            // The drive was moved to another folder.
            self.known.retain(|_, held| *held != Known::Drive(drive));
        }
        self.known.insert(folder.to_owned(), known);
    }

    /// Forgets a folder; kept by [`Self::keep`].
    pub(in crate::server) fn forget(&mut self, folder: &Path) {
        self.known.remove(folder);
    }

    /// Writes it down durably.
    pub(in crate::server) fn keep(&self) -> Result<()> {
        let write = || -> io::Result<()> {
            let temp = self.dir.join(TEMP_NAME);
            let file = self.vfs.open(&temp, OpenMode::OpenOrCreate)?;
            file.set_len(0)?;
            file.write_at(0, &text(&self.known))?;
            file.sync_data()?;
            self.vfs.rename(&temp, &self.dir.join(NAME))?;
            self.vfs.sync_dir(&self.dir)
        };
        write().with_context(|| format!("cannot write {}", self.dir.join(NAME).display()))
    }
}

fn text(known: &BTreeMap<PathBuf, Known>) -> Vec<u8> {
    let mut out = String::new();
    for (folder, known) in known {
        let Some(folder) = folder.to_str().filter(|f| !f.contains('\n')) else {
            continue;
        };
        let line = match known {
            Known::Drive(drive) => format!("drive {} {folder}\n", drive.0),
            Known::Label(label) => format!("label {label:032x} {folder}\n"),
        };
        out.push_str(&line);
    }
    let crc = crc32c(out.as_bytes());
    out.push_str(&format!("crc32c {crc:08x}\n"));
    out.into_bytes()
}

fn parse(bytes: &[u8]) -> Option<BTreeMap<PathBuf, Known>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (lines, crc) = text.trim_end().rsplit_once("crc32c ")?;
    if u32::from_str_radix(crc, 16).ok()? != crc32c(lines.as_bytes()) {
        return None;
    }
    let parse = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (kind, value, folder) = (words.next()?, words.next()?, words.next()?);
        let known = match kind {
            "drive" => Known::Drive(DriveId(value.parse().ok()?)),
            "label" => Known::Label(u128::from_str_radix(value, 16).ok()?),
            _ => return None,
        };
        Some((PathBuf::from(folder), known))
    };
    lines.lines().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use marram_store::OsVfs;

    #[test]
    fn what_is_kept_is_found_again_and_damage_is_noticed() {
        let dir = tempfile::tempdir().expect("temp dir");
        let load = || Folders::load(Arc::new(OsVfs), dir.path());
        let (a, b) = (Path::new("/data/a b"), Path::new("/data/b"));
        let mut folders = load();
        folders.note(a, Known::Label(7 << 90));
        folders.note(b, Known::Drive(DriveId(515)));
        folders.keep().expect("written");
        let mut again = load();
        assert_eq!(again.get(a), Some(Known::Label(7 << 90)));
        assert_eq!((again.drive(a), again.drive(b)), (None, Some(DriveId(515))));
        // The drive turns up elsewhere.
        again.note(a, Known::Drive(DriveId(515)));
        assert_eq!((again.drive(a), again.get(b)), (Some(DriveId(515)), None));
        let good = text(&again.known);
        for at in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(parse(&bad), None, "byte {at}");
        }
        assert_eq!(parse(b""), None);
    }
}
