//! Backup files on this machine: read through and checked, written whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use marram_meta::{
    BACKUP_PIECE_BYTES_MAX, BackupCheck, BackupError, BackupFrame, BackupGroup, BackupHeader,
    BackupSummary, FrameReader, Table,
};
use marram_raft::{DumpRows, MachineError};
use marram_types::Crc64Nvme;

/// Why a file is not taken for a backup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupFileError {
    /// The operating system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It is damaged or cut off.
    #[error("{}: {source}", path.display())]
    Backup {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: BackupError,
    },
    /// The state of a group in it cannot be used.
    #[error("{}: group {group}: {source}", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// Which group.
        group: u16,
        /// What is wrong.
        source: MachineError,
    },
}

/// What a whole backup holds.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Header and groups.
    pub(crate) summary: BackupSummary,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Rows of all groups together, by table.
    pub(crate) rows: BTreeMap<Table, u64>,
}

/// Reads all of a file, checks every byte of it, and shows `each` the frames in order.
pub(crate) fn read(
    path: &Path,
    from: &mut dyn Read,
    each: &mut dyn FnMut(&BackupFrame) -> io::Result<()>,
) -> Result<Checked, BackupFileError> {
    let io = |source| BackupFileError::Io {
        path: path.to_owned(),
        source,
    };
    let bad = |source| BackupFileError::Backup {
        path: path.to_owned(),
        source,
    };
    let (mut frames, mut check) = (FrameReader::default(), BackupCheck::default());
    let mut states = States::default();
    let mut buffer = vec![0; BACKUP_PIECE_BYTES_MAX];
    loop {
        let count = from.read(&mut buffer).map_err(io)?;
        if count == 0 {
            break;
        }
        frames.push(&buffer[..count]);
        while let Some(frame) = frames.next_frame().map_err(bad)? {
            check.take(&frame).map_err(bad)?;
            states
                .take(&frame)
                .map_err(|(group, source)| BackupFileError::State {
                    path: path.to_owned(),
                    group,
                    source,
                })?;
            each(&frame).map_err(io)?;
        }
    }
    if !frames.is_between_frames() {
        return Err(bad(BackupError::Order("it was cut off")));
    }
    Ok(Checked {
        summary: check.finish().map_err(bad)?,
        bytes: frames.given_bytes(),
        rows: states.rows,
    })
}

/// Reads a file on this machine so.
pub(crate) fn read_file(
    path: &Path,
    each: &mut dyn FnMut(&BackupFrame) -> io::Result<()>,
) -> Result<Checked, BackupFileError> {
    let mut file = fs::File::open(path).map_err(|source| BackupFileError::Io {
        path: path.to_owned(),
        source,
    })?;
    read(path, &mut file, each)
}

/// The states of the groups, read through.
#[derive(Default)]
struct States {
    open: Option<(u16, DumpRows)>,
    rows: BTreeMap<Table, u64>,
}

impl States {
    fn take(&mut self, frame: &BackupFrame) -> Result<(), (u16, MachineError)> {
        match frame {
            BackupFrame::Group(group) => self.open = Some((group.group.0, DumpRows::default())),
            BackupFrame::Piece(bytes) => {
                if let Some((group, state)) = &mut self.open {
                    let rows = &mut self.rows;
                    let pushed = state.push(bytes, &mut |table, _, _| {
                        *rows.entry(table).or_default() += 1;
                    });
                    pushed.map_err(|error| (*group, error))?;
                }
            }
            BackupFrame::GroupEnd { .. } => {
                if let Some((group, state)) = self.open.take() {
                    state.finish().map_err(|error| (group, error))?;
                }
            }
            BackupFrame::Header(_) | BackupFrame::End { .. } => {}
        }
        Ok(())
    }
}

/// A backup that is being written. Under its name there is nothing until all of it is there and
/// durable; what is not finished goes away.
pub(crate) struct BackupWriter {
    target: PathBuf,
    partial: PathBuf,
    file: Option<fs::File>,
    groups: u16,
    crc: Crc64Nvme,
    group_bytes: u64,
    /// Bytes written.
    pub(crate) bytes: u64,
}

impl BackupWriter {
    /// Begins a file that will be at `target`, readable by its owner only.
    pub(crate) fn create(target: &Path, header: BackupHeader) -> io::Result<Self> {
        let name = target.file_name().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "it does not name a file")
        })?;
        let name = format!(".{}.partial-{}", name.to_string_lossy(), std::process::id());
        let partial = target.with_file_name(name);
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        let mut writer = Self {
            target: target.to_owned(),
            partial,
            file: Some(file),
            groups: 0,
            crc: Crc64Nvme::default(),
            group_bytes: 0,
            bytes: 0,
        };
        writer.put(&BackupFrame::Header(header))?;
        Ok(writer)
    }

    fn put(&mut self, frame: &BackupFrame) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let file = self.file.as_mut().expect("there until it is finished");
        file.write_all(&bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// A group begins.
    pub(crate) fn group(&mut self, group: BackupGroup) -> io::Result<()> {
        (self.crc, self.group_bytes) = (Crc64Nvme::default(), 0);
        self.put(&BackupFrame::Group(group))
    }

    /// Some of its state.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.group_bytes += bytes.len() as u64;
        self.put(&BackupFrame::Piece(bytes.to_vec()))
    }

    /// Its state ends.
    pub(crate) fn group_end(&mut self) -> io::Result<()> {
        self.groups += 1;
        let (bytes, crc64) = (self.group_bytes, self.crc.value());
        self.put(&BackupFrame::GroupEnd { bytes, crc64 })
    }

    /// Makes the file durable and gives it its name.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        let groups = self.groups;
        self.put(&BackupFrame::End { groups })?;
        let file = self.file.take().expect("there until now");
        file.sync_all()?;
        fs::rename(&self.partial, &self.target)?;
        let folder = match self.target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fs::File::open(folder)?.sync_all()?;
        Ok(self.bytes)
    }
}

impl Drop for BackupWriter {
    fn drop(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = fs::remove_file(&self.partial)
        {
            let path = self.partial.display();
            tracing::warn!(%path, %error, "an unfinished backup cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use marram_meta::BackupKind;
    use marram_types::{ClusterId, GroupId};

    use super::*;

    fn header() -> BackupHeader {
        BackupHeader {
            kind: BackupKind::Replica,
            cluster: ClusterId(1),
            name: "dune".to_owned(),
            made_ms: 1,
            kept_until_ms: 2,
            object_groups: 1,
            replica: None,
        }
    }

    /// A state with one row.
    fn state() -> Vec<u8> {
        let mut bytes = b"MARRAMSM\x01".to_vec();
        bytes.extend([Table::Objects.number(), 0, 0, 0, 2, 0, 0, 0, 1, 7, 8, 9, 0]);
        bytes.extend(1_u64.to_be_bytes());
        bytes
    }

    fn group(number: u16) -> BackupGroup {
        BackupGroup {
            group: GroupId(number),
            term: 1,
            index: 2,
            applied: 2,
            voters: Vec::new(),
        }
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("meta.backup");
        let names = || fs::read_dir(dir.path()).unwrap().count();
        let mut writer = BackupWriter::create(&target, header()).unwrap();
        writer.group(group(1)).unwrap();
        for byte in state() {
            writer.piece(&[byte]).unwrap();
        }
        writer.group_end().unwrap();
        assert!(!target.exists());
        assert_eq!(names(), 1);
        let bytes = writer.finish().unwrap();
        assert_eq!(names(), 1);
        let mut frames = 0;
        let checked = read_file(&target, &mut |_| {
            frames += 1;
            Ok(())
        });
        let checked = checked.unwrap();
        assert_eq!((checked.bytes, checked.summary.groups.len()), (bytes, 1));
        assert_eq!(checked.rows, BTreeMap::from([(Table::Objects, 1)]));
        assert_eq!(frames, 4 + state().len());

        let unfinished = BackupWriter::create(&dir.path().join("other"), header()).unwrap();
        assert_eq!(names(), 2);
        drop(unfinished);
        assert_eq!(names(), 1, "what is not finished goes away");
    }

    #[test]
    fn a_state_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("meta.backup");
        let refused = |state: &[u8]| {
            let mut writer = BackupWriter::create(&target, header()).unwrap();
            writer.group(group(1)).unwrap();
            writer.piece(state).unwrap();
            writer.group_end().unwrap();
            writer.finish().unwrap();
            read_file(&target, &mut |_| Ok(())).is_err()
        };
        assert!(!refused(&state()));
        assert!(refused(b"MARRAMSM\x02"), "another format");
        assert!(refused(b"something else"));
        let whole = state();
        assert!(refused(&whole[..whole.len() - 1]), "cut off");
        let mut counts = whole.clone();
        *counts.last_mut().unwrap() = 2;
        assert!(refused(&counts), "a row is missing");
        let mut more = whole;
        more.push(1);
        assert!(refused(&more));
    }
}
