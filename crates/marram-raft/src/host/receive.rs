//! Requests of other replicas.

use std::sync::Arc;

use bytes::Bytes;
use marram_proto::mesh::v1;
use marram_types::{GroupId, ReplicaId, crc32c};
use openraft::Snapshot;
use openraft::raft::AppendEntriesResponse;

use super::RaftHost;
use super::group::Group;
use super::incoming::{Incoming, Name};
use crate::codec;
use crate::figures::add;
use crate::log::stored_form;
use crate::machine::{self, MachineError, SnapshotData};
use crate::room::Room;
use crate::transport::RaftMethod;
use crate::wire::{self, WireError};

/// Why a request of another replica was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The message is not what it claims to be.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The message is for another replica: this node has lost its log and has a new id, or the
    /// sender's table is old (rules.md 2).
    #[error("the request is for replica {target}, this node is replica {replica}")]
    OtherReplica {
        /// Whom it is for.
        target: ReplicaId,
        /// Who this is.
        replica: ReplicaId,
    },
    /// This node has no replica of the group, or not yet.
    #[error("this node has no replica of group {0}")]
    NoReplica(u32),
    /// A piece of a snapshot whose checksum differs.
    #[error("a piece of a snapshot was damaged on its way")]
    Damaged,
    /// A snapshot that is complete and whose checksum differs: what was here of it and what came now
    /// do not belong together. It was thrown away and is sent anew.
    #[error("a snapshot's checksum does not fit its bytes: it has to be sent anew")]
    DamagedWhole,
    /// A received snapshot could not be written or loaded.
    #[error("the snapshot could not be received: {0}")]
    Snapshot(#[from] MachineError),
    /// The metadata drive has no room for what was sent.
    #[error("the metadata drive of this node has no room left")]
    NoRoom,
    /// The replica has stopped.
    #[error("the replica has stopped: {0}")]
    Stopped(String),
}

impl RaftHost {
    /// Carries out a request that another replica's [`crate::Transport`] sent, and returns the
    /// header and payload of the answer.
    ///
    /// # Errors
    /// See [`HandleError`]; the sender sees all of them as a refusal.
    pub async fn handle(
        &self,
        method: RaftMethod,
        header: Bytes,
        payload: Bytes,
    ) -> Result<(Bytes, Bytes), HandleError> {
        let answer = match method {
            RaftMethod::Append => self.on_append(wire::decode(header)?).await?,
            RaftMethod::Vote => self.on_vote(wire::decode(header)?, false).await?,
            RaftMethod::PreVote => self.on_vote(wire::decode(header)?, true).await?,
            RaftMethod::Snapshot => self.on_snapshot(wire::decode(header)?, &payload).await?,
            RaftMethod::Transfer => self.on_transfer(wire::decode(header)?).await?,
        };
        Ok((answer, Bytes::new()))
    }

    fn addressee(&self, group: u32, target: u64) -> Result<Arc<Group>, HandleError> {
        let (target, replica) = (ReplicaId(target), self.replica());
        if target != replica {
            return Err(HandleError::OtherReplica { target, replica });
        }
        let id = u16::try_from(group).ok().map(GroupId);
        let found = id.and_then(|id| self.group(id));
        found.ok_or(HandleError::NoReplica(group))
    }

    async fn on_append(&self, request: v1::RaftAppendRequest) -> Result<Bytes, HandleError> {
        let group = self.addressee(request.group, request.target)?;
        let request = wire::append_from_wire(request)?;
        if !request.entries.is_empty() {
            self.require_room()?;
        }
        let stored = request.entries.iter().map(stored_form);
        let _following = group.traced.follow(stored);
        let response = group.raft.append_entries(request).await.map_err(stopped)?;
        if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
            group.hear();
        }
        Ok(wire::encode(&wire::appended_to_wire(&response)))
    }

    /// Heartbeats and votes are always taken: they are small, and reads depend on them.
    fn require_room(&self) -> Result<(), HandleError> {
        match (self.config.room)() {
            Room::Spent => Err(HandleError::NoRoom),
            Room::Low | Room::Ample => Ok(()),
        }
    }

    async fn on_vote(
        &self,
        request: v1::RaftVoteRequest,
        before: bool,
    ) -> Result<Bytes, HandleError> {
        let group = self.addressee(request.group, request.target)?;
        let request = wire::vote_request_from_wire(request)?;
        let response = if before {
            group.raft.pre_vote(request).await
        } else {
            group.raft.vote(request).await
        };
        Ok(wire::encode(&wire::voted_to_wire(
            &response.map_err(stopped)?,
        )))
    }

    async fn on_transfer(&self, request: v1::RaftTransferRequest) -> Result<Bytes, HandleError> {
        let group = self.addressee(request.group, request.target)?;
        let request = wire::transfer_from_wire(request)?;
        let response = group
            .raft
            .handle_transfer_leader(request)
            .await
            .map_err(stopped)?;
        Ok(wire::encode(&wire::transferred_to_wire(&response)))
    }

    async fn on_snapshot(
        &self,
        request: v1::RaftSnapshotRequest,
        piece: &Bytes,
    ) -> Result<Bytes, HandleError> {
        let group = self.addressee(request.group, request.target)?;
        if crc32c(piece) != request.crc32c {
            return Err(HandleError::Damaged);
        }
        self.require_room()?;
        let (mut inbox, place) = (group.inbox.lock().await, group.store.place());
        let name = Name {
            id: &request.snapshot_id,
            total_bytes: request.total_bytes,
        };
        let known = inbox.current(place).await?.filter(|known| known.is(name));
        let wants = known.map_or(0, |known| known.len());
        if piece.is_empty() || wants != request.offset {
            return Ok(next_piece(&request, wants));
        }
        if wants == 0 {
            inbox.begin(place, name)?;
        }
        let known = inbox.current(place).await?;
        let known = known.expect("it was here, or begun just now");
        known.write(piece).await?;
        group.hear();
        add(&group.counted.snapshot_received_bytes, piece.len() as u64);
        if !known.is_complete() {
            return Ok(next_piece(&request, known.len()));
        }
        let complete = inbox.take().expect("it was written to just now");
        // The lock is kept: a second copy of the same snapshot must not be loaded beside it.
        group.install(&request, complete).await
    }
}

fn next_piece(request: &v1::RaftSnapshotRequest, next_offset: u64) -> Bytes {
    wire::encode(&v1::RaftSnapshotResponse {
        vote: request.vote,
        next_offset,
        installed: false,
    })
}

fn stopped(error: impl std::fmt::Display) -> HandleError {
    HandleError::Stopped(error.to_string())
}

impl Group {
    /// Loads what has arrived into a file of its own, and lets openraft put it in place.
    async fn install(
        &self,
        request: &v1::RaftSnapshotRequest,
        complete: Incoming,
    ) -> Result<Bytes, HandleError> {
        if request
            .total_crc32c
            .is_some_and(|crc| crc != complete.crc32c())
        {
            complete.remove()?;
            return Err(HandleError::DamagedWhole);
        }
        let vote = wire::vote_from_wire(request.vote)?;
        let meta = codec::meta_from_bytes(&request.meta).map_err(WireError::Stored)?;
        let (place, kept) = (self.store.place().clone(), meta.clone());
        let loaded = machine::blocking(move || {
            let loaded = machine::load(&place, &kept, complete.file(), complete.len());
            complete.remove()?;
            loaded
        });
        let snapshot = Snapshot {
            meta,
            snapshot: SnapshotData::received(loaded.await?),
        };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        let theirs = installed.map_err(stopped)?.vote;
        add(&self.counted.snapshots_installed, u64::from(theirs <= vote));
        Ok(wire::encode(&v1::RaftSnapshotResponse {
            vote: Some(wire::vote_to_wire(&theirs)),
            next_offset: request.total_bytes,
            installed: theirs <= vote,
        }))
    }
}
