//! What is to be moved, and what came of it.

use std::path::PathBuf;

use serde::Serialize;

use crate::failure::Failure;
use crate::location::Remote;
use crate::output::printable;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    /// A file into the cluster.
    Upload {
        path: PathBuf,
        to: Remote,
        size: u64,
    },
    /// An object into a file below a folder.
    Download {
        from: Remote,
        folder: PathBuf,
        relative: PathBuf,
        size: u64,
    },
    /// An object to another place in the cluster.
    Copy { from: Remote, to: Remote, size: u64 },
    /// Away with an object; with a generation, only if it is still that version.
    DeleteObject {
        place: Remote,
        generation: Option<u64>,
    },
    /// Away with one version or delete marker, for good.
    DeleteVersion { place: Remote },
    /// Away with a file.
    DeleteFile { path: PathBuf },
}

impl Job {
    /// Bytes to move.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Upload { size, .. } | Self::Download { size, .. } | Self::Copy { size, .. } => {
                *size
            }
            Self::DeleteObject { .. } | Self::DeleteVersion { .. } | Self::DeleteFile { .. } => 0,
        }
    }

    /// What is named beside the progress bar and in `--dry-run`.
    pub(crate) fn describe(&self) -> String {
        let text = match self {
            Self::Upload { path, to, .. } => format!("upload {} to {to}", path.display()),
            Self::Download {
                from,
                folder,
                relative,
                ..
            } => format!("download {from} to {}", folder.join(relative).display()),
            Self::Copy { from, to, .. } => format!("copy {from} to {to}"),
            Self::DeleteObject { place, .. } | Self::DeleteVersion { place } => {
                format!("delete {place}")
            }
            Self::DeleteFile { path } => format!("delete {}", path.display()),
        };
        printable(&text)
    }
}

/// What came of many jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// Files and objects copied.
    pub(crate) copied: u64,
    /// Bytes copied.
    pub(crate) bytes: u64,
    /// Files and objects deleted.
    pub(crate) deleted: u64,
    /// Left out on purpose, or equal already.
    pub(crate) skipped: u64,
    /// Failed; each was told on standard error.
    pub(crate) failed: u64,
}

impl Tally {
    /// An error when anything failed.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        match self.failed {
            0 => Ok(()),
            failed => Err(Failure::Partly {
                failed,
                all: failed + self.copied + self.deleted,
            }),
        }
    }
}

/// What those who find jobs say.
#[derive(Debug)]
pub(crate) enum Order {
    /// Do this, and delete the source afterwards when moving.
    Do(Job),
    /// This is equal already.
    Same,
    /// Left out, and why.
    Skip(PathBuf, &'static str),
    /// Could not even be looked at.
    Failed(Failure),
}
