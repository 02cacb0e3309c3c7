//! Whose drive a folder is (rules.md 1), and the lock that keeps it to one process.
//!
//! `marram.identity` holds, big-endian:
//!
//! ```text
//! magic "MARRAMID" | format u8 = 1 | cluster u128 | node option u64 | drive option u64
//! | ordinal u16 | replica option u64 | crc32c u32 of everything before
//! ```
//!
//! It is replaced atomically: temporary file, sync, rename, sync of the folder.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{ClusterId, DriveId, NodeId, ReplicaId, crc32c};

use crate::vfs::{FileLock, OpenMode, Vfs};

const FILE_NAME: &str = "marram.identity";
const TEMP_NAME: &str = "marram.identity.tmp";
const LOCK_NAME: &str = "marram.lock";
/// What may be in the folder of a drive on which nothing was ever written: this process's own, and what a new
/// file system has.
pub const EMPTY_DRIVE_HAS: [&str; 3] = [LOCK_NAME, TEMP_NAME, "lost+found"];
const MAGIC: &[u8; 8] = b"MARRAMID";
const FORMAT: u8 = 1;
/// An identity file is far smaller; more is not read.
const FILE_BYTES_MAX: usize = 4096;

/// Who a drive belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster. Never changes.
    pub cluster: ClusterId,
    /// The node, once the root group has admitted it.
    pub node: Option<NodeId>,
    /// The drive, once the root group has admitted it.
    pub drive: Option<DriveId>,
    /// The drive's place in the server's list of folders; 0 is the metadata drive.
    pub ordinal: u16,
    /// The Raft replica whose log is on this drive; on the metadata drive only (rules.md 2).
    pub replica: Option<ReplicaId>,
}

/// Why a folder cannot be used as a drive.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another process uses it.
    #[error(
        "{path} is in use by process {pid}: stop that server, or give this one another folder",
        path = path.display(), pid = pid.map_or_else(|| "unknown".to_owned(), |p| p.to_string())
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who has it, when known.
        pid: Option<u32>,
    },
    /// It belongs to another cluster.
    #[error(
        "{path} belongs to cluster {found}, this server to {expected}: use another folder, or wipe \
         this one if its data is not needed",
        path = path.display()
    )]
    OtherCluster {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// A later release wrote it.
    #[error(
        "{path} has format {found}, this release knows formats up to {FORMAT}: start it with the \
         release that wrote it, or a later one",
        path = path.display()
    )]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// The format found.
        found: u8,
    },
    /// The identity file is damaged.
    #[error(
        "the identity file in {path} is damaged ({why}): check the drive; restore the file from a \
         copy, or wipe the folder and let it join as a new drive",
        path = path.display()
    )]
    Corrupt {
        /// The folder.
        path: PathBuf,
        /// What does not fit.
        why: &'static str,
    },
    /// The operating system refused.
    #[error("{path}: {source}: check that the folder exists and is writable", path = path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A locked folder that is, or may become, a drive.
#[derive(Debug)]
pub struct DriveRoot {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    identity: Option<Identity>,
    _lock: Box<dyn FileLock>,
}

impl DriveRoot {
    /// Makes the folder if need be, locks it and reads its identity. `expected` is the cluster of
    /// this server when it knows one.
    ///
    /// # Errors
    /// [`IdentityError`], each with what to do.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        path: &Path,
        expected: Option<ClusterId>,
    ) -> Result<Self, IdentityError> {
        let io = |source| IdentityError::Io {
            path: path.to_owned(),
            source,
        };
        vfs.create_dir(path).map_err(io)?;
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            vfs.sync_dir(parent).map_err(io)?;
        }
        let lock_path = path.join(LOCK_NAME);
        let Some(lock) = vfs.lock(&lock_path).map_err(io)? else {
            return Err(IdentityError::Locked {
                path: path.to_owned(),
                pid: read_pid(vfs.as_ref(), &lock_path),
            });
        };
        write_pid(vfs.as_ref(), &lock_path).map_err(io)?;
        let identity = read_identity(vfs.as_ref(), path)?;
        if let (Some(found), Some(expected)) = (&identity, expected)
            && found.cluster != expected
        {
            return Err(IdentityError::OtherCluster {
                path: path.to_owned(),
                found: found.cluster,
                expected,
            });
        }
        Ok(Self {
            vfs,
            path: path.to_owned(),
            identity,
            _lock: lock,
        })
    }

    /// The identity, or `None` for an empty drive.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system it is on.
    #[must_use]
    pub fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.vfs
    }

    /// Writes the identity durably. The cluster of a drive never changes.
    ///
    /// # Errors
    /// `OtherCluster` when the drive already belongs to another cluster, or `Io`.
    pub fn write_identity(&mut self, identity: Identity) -> Result<(), IdentityError> {
        if let Some(found) = &self.identity
            && found.cluster != identity.cluster
        {
            return Err(IdentityError::OtherCluster {
                path: self.path.clone(),
                found: found.cluster,
                expected: identity.cluster,
            });
        }
        self.replace_file(&encode(&identity))
            .map_err(|source| IdentityError::Io {
                path: self.path.clone(),
                source,
            })?;
        self.identity = Some(identity);
        Ok(())
    }

    fn replace_file(&self, bytes: &[u8]) -> io::Result<()> {
        let temp = self.path.join(TEMP_NAME);
        let file = self.vfs.open(&temp, OpenMode::OpenOrCreate)?;
        file.set_len(0)?;
        file.write_at(0, bytes)?;
        file.sync_data()?;
        self.vfs.rename(&temp, &self.path.join(FILE_NAME))?;
        self.vfs.sync_dir(&self.path)
    }
}

fn read_pid(vfs: &dyn Vfs, path: &Path) -> Option<u32> {
    let bytes = vfs.open(path, OpenMode::Existing).ok()?.read_vec(0, 16);
    std::str::from_utf8(&bytes.ok()?).ok()?.trim().parse().ok()
}

fn write_pid(vfs: &dyn Vfs, path: &Path) -> io::Result<()> {
    let file = vfs.open(path, OpenMode::Existing)?;
    file.set_len(0)?;
    file.write_at(0, format!("{}\n", std::process::id()).as_bytes())
}

fn read_identity(vfs: &dyn Vfs, path: &Path) -> Result<Option<Identity>, IdentityError> {
    let read = vfs
        .open(&path.join(FILE_NAME), OpenMode::Existing)
        .and_then(|file| file.read_vec(0, FILE_BYTES_MAX));
    match read {
        Ok(bytes) => decode(path, &bytes).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

fn encode(identity: &Identity) -> Vec<u8> {
    let mut out = Writer::new();
    out.raw(MAGIC).u8(FORMAT).u128_be(identity.cluster.0);
    out.option(identity.node.as_ref(), |w, v| {
        w.u64_be(v.0);
    });
    out.option(identity.drive.as_ref(), |w, v| {
        w.u64_be(v.0);
    });
    out.u16_be(identity.ordinal);
    out.option(identity.replica.as_ref(), |w, v| {
        w.u64_be(v.0);
    });
    let crc = crc32c(out.as_slice());
    out.u32_be(crc);
    out.finish()
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Identity, IdentityError> {
    let corrupt = |why| IdentityError::Corrupt {
        path: path.to_owned(),
        why,
    };
    let (body, crc) = bytes
        .split_last_chunk::<4>()
        .ok_or_else(|| corrupt("it is too short"))?;
    if !body.starts_with(MAGIC) {
        return Err(corrupt("it does not begin as an identity file"));
    }
    if crc32c(body) != u32::from_be_bytes(*crc) {
        return Err(corrupt("its checksum does not match"));
    }
    match body.get(MAGIC.len()) {
        Some(&FORMAT) => {}
        Some(&found) if found > FORMAT => {
            return Err(IdentityError::NewerFormat {
                path: path.to_owned(),
                found,
            });
        }
        _ => return Err(corrupt("its format is not known")),
    }
    fields(&body[MAGIC.len() + 1..]).map_err(|_| corrupt("its fields do not fit"))
}

fn fields(bytes: &[u8]) -> Result<Identity, DecodeError> {
    let mut from = Reader::new(bytes);
    let identity = Identity {
        cluster: ClusterId(from.u128_be()?),
        node: from.option(Reader::u64_be)?.map(NodeId),
        drive: from.option(Reader::u64_be)?.map(DriveId),
        ordinal: from.u16_be()?,
        replica: from.option(Reader::u64_be)?.map(ReplicaId),
    };
    from.finish()?;
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::OsVfs;

    fn identity() -> Identity {
        Identity {
            cluster: ClusterId(7 << 90),
            node: Some(NodeId(3)),
            drive: Some(DriveId(4)),
            ordinal: 1,
            replica: None,
        }
    }

    fn open(path: &Path, expected: Option<ClusterId>) -> Result<DriveRoot, IdentityError> {
        DriveRoot::open(Arc::new(OsVfs), path, expected)
    }

    #[test]
    fn written_once_found_again_and_kept_to_its_cluster() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("drive");
        let mut root = open(&path, None).expect("empty folder");
        assert_eq!(root.identity(), None);
        root.write_identity(identity()).expect("written");
        drop(root);
        let root = open(&path, Some(identity().cluster)).expect("same cluster");
        assert_eq!(root.identity(), Some(&identity()));
        drop(root);
        let other = open(&path, Some(ClusterId(1)));
        assert!(matches!(other, Err(IdentityError::OtherCluster { .. })));
    }

    #[test]
    fn a_second_opener_is_refused_and_told_the_process() {
        let dir = tempfile::tempdir().expect("temp dir");
        let _root = open(dir.path(), None).expect("first");
        let Err(IdentityError::Locked { pid, .. }) = open(dir.path(), None) else {
            panic!("the folder must be locked");
        };
        assert_eq!(pid, Some(std::process::id()));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let good = encode(&identity());
        let path = Path::new("drive");
        assert_eq!(decode(path, &good).expect("good"), identity());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(decode(path, &bad).is_err(), "byte {at}");
            assert!(decode(path, &good[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut bytes = encode(&identity());
        bytes.truncate(bytes.len() - 4);
        bytes[MAGIC.len()] = FORMAT + 1;
        let crc = crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        let error = decode(Path::new("drive"), &bytes).expect_err("newer");
        assert!(matches!(error, IdentityError::NewerFormat { found: 2, .. }));
    }
}
