//! Groups without Raft, for a way back: what a replica that nobody runs has, and new replicas that
//! begin with a state from elsewhere.
//!
//! A seeded replica is the only voter of its group. Its log begins behind an index that the caller
//! chooses above everything that was ever used, so that no id, generation or begin index that is an
//! index of the log is used twice (decision 0021).

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use marram_meta::KvWrite;
use marram_store::wal::{LogPos, Wal, WalError};
use marram_store::{Vfs, VfsFile};
use marram_types::{GroupId, ReplicaId};
use openraft::EmptyNode;

use crate::codec;
use crate::log::{APPEND_BYTES_MAX, LogStore, to_pos};
use crate::logic::{GroupLogic, LogicError};
use crate::machine::{self, DumpFile, MachineError, Place, ReadView};
use crate::types::{LeaderId, Membership, SnapshotMeta, StoredMembership, Vote, log_id};

/// Memory for the cache of the one file that is open.
const CACHE_BYTES: usize = 16 << 20;

/// Why a group could not be read or seeded.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// Its state cannot be used.
    #[error("group {group}: {source}")]
    Machine {
        /// The group.
        group: GroupId,
        /// Why.
        source: MachineError,
    },
    /// Its log cannot be used.
    #[error("group {group}: {source}")]
    Log {
        /// The group.
        group: GroupId,
        /// Why.
        source: WalError,
    },
    /// The folder cannot be used.
    #[error("{dir}: {source}", dir = dir.display())]
    Io {
        /// Which.
        dir: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// The state machines of a replica that nobody runs.
pub struct OfflineReplica {
    /// Folder of the state machines' files.
    pub dir: PathBuf,
    /// The files.
    pub vfs: Arc<dyn Vfs>,
    /// The replica.
    pub replica: ReplicaId,
}

/// What a replica has of a group: its state with all of its log applied, also with entries of which
/// nobody knows whether they were committed.
pub struct OfflineGroup {
    /// The last entry.
    pub last: LogPos,
    /// Index of the last entry that the replica itself had applied, and knew to be committed.
    pub applied: u64,
    /// Who votes; two sets while a change is under way, of which each needs a majority.
    pub voters: Vec<Vec<ReplicaId>>,
    /// Bytes of the state.
    pub bytes: u64,
    dump: DumpFile,
}

impl std::fmt::Debug for OfflineGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfflineGroup")
            .field("last", &self.last)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl OfflineGroup {
    /// Bytes of the state.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn read(&self, offset: u64, bytes: u64) -> std::io::Result<Bytes> {
        self.dump.read_here(offset, bytes)
    }
}

/// Where a new replica begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeedAt {
    /// The term that it has seen; its own first term is the next one.
    pub term: u64,
    /// The last index that counts as applied; its log begins behind it.
    pub index: u64,
}

impl OfflineReplica {
    fn place(&self, group: GroupId) -> Place {
        Place {
            vfs: self.vfs.clone(),
            dir: self.dir.clone(),
            group,
            replica: self.replica,
            cache_bytes: CACHE_BYTES,
            log_kept: 0,
        }
    }

    /// The groups that the replica has, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn groups(&self) -> Result<Vec<GroupId>, OfflineError> {
        let names = self.vfs.list(&self.dir);
        let names = names.map_err(|source| OfflineError::Io {
            dir: self.dir.clone(),
            source,
        })?;
        let mut groups: Vec<_> = names
            .iter()
            .filter_map(|name| machine::group_of_file(name))
            .collect();
        groups.sort_unstable();
        Ok(groups)
    }

    /// The state of a group as the replica has applied it, for a look.
    ///
    /// # Errors
    /// When its file cannot be used.
    pub fn view(&self, group: GroupId) -> Result<ReadView, OfflineError> {
        let opened = machine::open_view(&self.place(group));
        opened.map_err(|source| OfflineError::Machine { group, source })
    }

    /// All that the replica has of a group, with the log `wal`. Nothing of it is changed.
    ///
    /// # Errors
    /// When file or log cannot be used, or an entry cannot be applied.
    pub fn read(
        &self,
        group: GroupId,
        wal: &Wal,
        logic: &dyn GroupLogic,
    ) -> Result<OfflineGroup, OfflineError> {
        let log = LogStore::new(wal.clone(), group);
        let after = wal.state(group).last.map_or(0, |last| last.index + 1);
        let mut more = |from: u64| log.read(from..after.max(from), APPEND_BYTES_MAX);
        let replayed = machine::replayed(&self.place(group), logic, &mut more)
            .map_err(|source| OfflineError::Machine { group, source })?;
        let nothing = LogPos {
            term: 0,
            node: 0,
            index: 0,
        };
        let halves = replayed.membership.membership().get_joint_config();
        let voters = halves
            .iter()
            .map(|half| half.iter().copied().map(ReplicaId).collect());
        Ok(OfflineGroup {
            last: replayed.last.as_ref().map_or(nothing, to_pos),
            applied: replayed.applied.as_ref().map_or(0, |last| last.index),
            voters: voters.collect(),
            bytes: replayed.dump.bytes,
            dump: replayed.dump,
        })
    }

    /// Makes this replica the only voter of a group whose state is `bytes` bytes of `file`, as
    /// [`crate::RaftHost::copy_piece`] and [`OfflineGroup::read`] give them, after `edit` changed it.
    /// Durable when it returns.
    ///
    /// # Errors
    /// When the bytes are no state, or files and log cannot be written.
    pub fn seed(
        &self,
        (group, at): (GroupId, SeedAt),
        wal: &Wal,
        (file, bytes): (&dyn VfsFile, u64),
        edit: &mut dyn FnMut(&mut dyn KvWrite) -> Result<(), LogicError>,
    ) -> Result<(), OfflineError> {
        let machine = |source| OfflineError::Machine { group, source };
        let me = self.replica.0;
        let last = log_id(at.term, me, at.index);
        let voters = std::collections::BTreeSet::from([me]);
        let nodes = std::collections::BTreeMap::from([(me, EmptyNode {})]);
        let members = Membership::new(vec![voters], nodes)
            .map_err(|error| machine(MachineError::Stopped(error.to_string())))?;
        let meta = SnapshotMeta {
            last_log_id: Some(last),
            last_membership: StoredMembership::new(Some(last), members),
        };
        let place = self.place(group);
        let index = at.index;
        let loaded = machine::load_edited(&place, &meta, (file, bytes), &mut |kv| {
            edit(kv).map_err(|source| MachineError::Logic { index, source })
        });
        let installed = loaded.and_then(|loaded| loaded.install(&place));
        drop(installed.map_err(machine)?);
        let log = |source| OfflineError::Log { group, source };
        let vote = Vote {
            leader_id: LeaderId {
                term: at.term,
                node_id: me,
            },
            committed: false,
        };
        wal.purge(group, to_pos(&last)).map_err(log)?;
        let (done, saved) = std::sync::mpsc::channel();
        let tell = Box::new(move |result| {
            let _nobody_waits = done.send(result);
        });
        wal.save_vote(group, codec::vote_to_bytes(&vote), tell);
        let saved = saved.recv().unwrap_or(Err(WalError::Closed));
        saved.map_err(log)
    }
}

#[cfg(test)]
mod tests;
