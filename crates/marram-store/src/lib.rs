//! Drives of a Marram node: what is written, when it is durable, and how it is found again.
//!
//! This crate keeps bytes. It does not know what an object, a stripe or a Raft command is, and it
//! opens no socket. All file access goes through [`Vfs`], the seam at which tests inject faults.
//!
//! ```text
//! vfs        the seam: files, locks, space; OsVfs is the real one
//! identity   whose drive a folder is, and the lock that keeps it to one process
//! wal        one Raft log for all groups of a node, group-committed
//! drive      shard runs in segments, their index, reads that verify every block
//! backend    redb over a Vfs file
//! ```

mod backend;
mod drive;
mod identity;
#[cfg(test)]
mod testing;
mod vfs;
pub mod wal;

pub use backend::VfsBackend;
pub use drive::{
    BadRun, CacheFigures, CompactError, CompactPage, Compactable, CompactionFigures, Drive,
    DriveFigures, DriveLimits, DriveOptions, DriveStat, DriveState, IndexError, OnDriveFatal,
    OpenError, PutError, QueueFigures, ReadError, RunAt, RunFault, RunHeader, ScrubPage, ShardInfo,
};
pub use identity::{DriveRoot, EMPTY_DRIVE_HAS, Identity, IdentityError};
pub use vfs::{FileLock, OpenMode, OsVfs, Space, Vfs, VfsFile};
