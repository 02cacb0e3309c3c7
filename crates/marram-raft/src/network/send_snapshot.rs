//! Sending a snapshot in pieces.
//!
//! The receiver says which offset it wants next, so a transfer that broke goes on where it ended:
//! the bytes of one snapshot name are always the same.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use marram_proto::mesh::v1;
use marram_types::crc32c;
use openraft::alias::SnapshotOf;
use openraft::errors::{RPCError, StreamingError, Unreachable};
use openraft::raft::SnapshotResponse;

use super::Peer;
use crate::codec;
use crate::figures::add;
use crate::machine::{DumpFile, SnapshotData};
use crate::transport::RaftMethod;
use crate::types::{TypeConfig, Vote};
use crate::wire;

/// Bytes of one piece.
pub(crate) const PIECE_BYTES: u64 = 1 << 20;
/// Time for the answer to what the receiver has: after a restart it reads all of that again.
const ASK_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for one piece to arrive and be written.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the last piece, which includes loading the snapshot into a new file of tables.
const LAST_PIECE_TIMEOUT: Duration = Duration::from_secs(300);
/// Pieces in a row that did not bring the receiver forward before the transfer is given up.
const STALLED_PIECES_MAX: u32 = 8;

impl Peer {
    /// Sends all of `snapshot` and returns when the receiver has installed it, or has a higher
    /// vote.
    pub(super) async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let mut request = v1::RaftSnapshotRequest {
            group: u32::from(self.network.group.0),
            target: self.target,
            vote: Some(wire::vote_to_wire(&vote)),
            meta: codec::meta_to_bytes(&snapshot.meta),
            snapshot_id: snapshot.snapshot.id().to_owned(),
            total_bytes: 0,
            offset: 0,
            crc32c: 0,
            total_crc32c: None,
        };
        // Nothing is written to a file for a replica that is not there.
        let asked = self.send_piece(None, &mut request).await?;
        request.offset = asked.next_offset;
        let counted = &self.network.counted;
        let was_there = snapshot.snapshot.is_dumped();
        let dump = snapshot.snapshot.dump().await;
        let dump = dump.map_err(|error| broken(&error))?;
        add(&counted.snapshots_built, u64::from(!was_there));
        request.total_bytes = dump.bytes;
        request.total_crc32c = Some(dump.crc32c);
        if request.offset > 0 {
            let (at, total) = (request.offset, dump.bytes);
            let (group, target) = (request.group, self.target);
            tracing::info!(group, target, at, total, "a snapshot goes on where it was");
        }
        if request.offset >= dump.bytes {
            // Of other bytes of the same name, which the receiver gives up when it sees the length.
            request.offset = 0;
        }
        let mut stalled = 0;
        loop {
            if request.offset >= dump.bytes || stalled > STALLED_PIECES_MAX {
                return Err(broken(&io::Error::other("the receiver makes no progress")));
            }
            let answer = self.send_piece(Some(&dump), &mut request).await?;
            let theirs = wire::vote_from_wire(answer.vote).map_err(|error| broken(&error))?;
            if answer.next_offset > request.offset {
                add(
                    &counted.snapshot_sent_bytes,
                    answer.next_offset - request.offset,
                );
            }
            add(&counted.snapshots_sent, u64::from(answer.installed));
            if answer.installed || theirs > vote {
                return Ok(SnapshotResponse::new(theirs));
            }
            let forward = answer.next_offset > request.offset;
            if forward {
                snapshot.snapshot.has_arrived();
            }
            stalled = if forward { 0 } else { stalled + 1 };
            request.offset = answer.next_offset;
        }
    }

    /// Sends the piece at the request's offset; without a dump an empty one, which asks what the
    /// receiver has.
    async fn send_piece(
        &self,
        dump: Option<&DumpFile>,
        request: &mut v1::RaftSnapshotRequest,
    ) -> Result<v1::RaftSnapshotResponse, StreamingError<TypeConfig>> {
        let offset = request.offset;
        let piece = match dump {
            Some(dump) => {
                dump.read(offset, PIECE_BYTES.min(dump.bytes - offset))
                    .await
            }
            None => Ok(Bytes::new()),
        };
        let piece = piece.map_err(|error| broken(&error))?;
        request.crc32c = crc32c(&piece);
        let is_last = dump.is_some_and(|dump| offset + piece.len() as u64 == dump.bytes);
        let timeout = match dump {
            None => ASK_TIMEOUT,
            Some(_) if is_last => LAST_PIECE_TIMEOUT,
            Some(_) => PIECE_TIMEOUT,
        };
        let method = RaftMethod::Snapshot;
        let sent = self
            .send(method, wire::encode(request), piece, timeout)
            .await;
        let header = sent.map_err(|error| match self.rpc_error(method, timeout, &error) {
            RPCError::Timeout(timeout) => StreamingError::Timeout(timeout),
            _ => broken(&error),
        })?;
        wire::decode(header).map_err(|error| broken(&error))
    }
}

/// Every failure backs off and is tried again. Not being able to write a snapshot's bytes is no
/// reason for a leader to stop.
fn broken(error: &(impl std::error::Error + 'static)) -> StreamingError<TypeConfig> {
    StreamingError::Unreachable(Unreachable::new(error))
}
