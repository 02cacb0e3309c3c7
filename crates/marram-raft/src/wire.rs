//! Raft's messages between the network's form and openraft's.

use bytes::Bytes;
use marram_proto::mesh::v1;
use marram_types::codec::DecodeError;
use openraft::entry::RaftEntry as _;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::codec;
use crate::log::stored_form;
use crate::types::{Entry, LeaderId, LogId, TypeConfig, Vote, log_id};

/// A message that cannot be what it claims to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not a message at all.
    #[error("the message cannot be decoded: {0}")]
    Message(#[from] prost::DecodeError),
    /// An entry or a membership in it cannot be read.
    #[error("the message holds bytes that cannot be read: {0}")]
    Stored(#[from] DecodeError),
    /// A field that must be there is not.
    #[error("the message has no {0}")]
    Missing(&'static str),
    /// A field holds what this release does not know.
    #[error("the message's {0} is not known to this release")]
    Unknown(&'static str),
}

pub(crate) fn vote_to_wire(vote: &Vote) -> v1::RaftVote {
    v1::RaftVote {
        term: vote.leader_id.term,
        replica: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub(crate) fn vote_from_wire(vote: Option<v1::RaftVote>) -> Result<Vote, WireError> {
    let vote = vote.ok_or(WireError::Missing("vote"))?;
    Ok(Vote {
        leader_id: LeaderId {
            term: vote.term,
            node_id: vote.replica,
        },
        committed: vote.committed,
    })
}

fn id_to_wire(id: &LogId) -> v1::RaftLogId {
    v1::RaftLogId {
        term: id.leader_id.term,
        replica: id.leader_id.node_id,
        index: id.index,
    }
}

fn id_from_wire(id: v1::RaftLogId) -> LogId {
    log_id(id.term, id.replica, id.index)
}

fn entry_to_wire(entry: &Entry) -> v1::RaftEntry {
    v1::RaftEntry {
        term: entry.log_id.leader_id.term,
        replica: entry.log_id.leader_id.node_id,
        index: entry.log_id.index,
        stored: stored_form(entry),
    }
}

fn entry_from_wire(entry: v1::RaftEntry) -> Result<Entry, WireError> {
    let payload = codec::payload_from_bytes(entry.stored)?;
    Ok(Entry::new(
        log_id(entry.term, entry.replica, entry.index),
        payload,
    ))
}

/// Who a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) group: u32,
    pub(crate) target: u64,
}

pub(crate) fn append_to_wire(
    to: Address,
    request: &AppendEntriesRequest<TypeConfig>,
) -> v1::RaftAppendRequest {
    v1::RaftAppendRequest {
        group: to.group,
        target: to.target,
        vote: Some(vote_to_wire(&request.vote)),
        prev: request.prev_log_id.as_ref().map(id_to_wire),
        committed: request.leader_commit.as_ref().map(id_to_wire),
        entries: request.entries.iter().map(entry_to_wire).collect(),
    }
}

pub(crate) fn append_from_wire(
    request: v1::RaftAppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, WireError> {
    Ok(AppendEntriesRequest {
        vote: vote_from_wire(request.vote)?,
        prev_log_id: request.prev.map(id_from_wire),
        leader_commit: request.committed.map(id_from_wire),
        entries: request
            .entries
            .into_iter()
            .map(entry_from_wire)
            .collect::<Result<_, _>>()?,
    })
}

pub(crate) fn appended_to_wire(
    response: &AppendEntriesResponse<TypeConfig>,
) -> v1::RaftAppendResponse {
    use v1::raft_append_response::Result as Kind;
    let (kind, last, vote) = match response {
        AppendEntriesResponse::Success => (Kind::Success, None, None),
        AppendEntriesResponse::PartialSuccess(last) => (Kind::PartialSuccess, last.as_ref(), None),
        AppendEntriesResponse::Conflict => (Kind::Conflict, None, None),
        AppendEntriesResponse::HigherVote(vote) => (Kind::HigherVote, None, Some(vote)),
    };
    v1::RaftAppendResponse {
        result: kind.into(),
        last: last.map(id_to_wire),
        vote: vote.map(vote_to_wire),
    }
}

pub(crate) fn appended_from_wire(
    response: v1::RaftAppendResponse,
) -> Result<AppendEntriesResponse<TypeConfig>, WireError> {
    use v1::raft_append_response::Result as Kind;
    Ok(match response.result() {
        Kind::Success => AppendEntriesResponse::Success,
        Kind::PartialSuccess => {
            AppendEntriesResponse::PartialSuccess(response.last.map(id_from_wire))
        }
        Kind::Conflict => AppendEntriesResponse::Conflict,
        Kind::HigherVote => AppendEntriesResponse::HigherVote(vote_from_wire(response.vote)?),
        Kind::Unspecified => return Err(WireError::Unknown("result")),
    })
}

pub(crate) fn vote_request_to_wire(
    to: Address,
    request: &VoteRequest<TypeConfig>,
) -> v1::RaftVoteRequest {
    v1::RaftVoteRequest {
        group: to.group,
        target: to.target,
        vote: Some(vote_to_wire(&request.vote)),
        last: request.last_log_id.as_ref().map(id_to_wire),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request_from_wire(
    request: v1::RaftVoteRequest,
) -> Result<VoteRequest<TypeConfig>, WireError> {
    let last = request.last.map(id_from_wire);
    let mut vote = VoteRequest::new(vote_from_wire(request.vote)?, last);
    vote.leadership_transfer = request.leadership_transfer;
    Ok(vote)
}

pub(crate) fn voted_to_wire(response: &VoteResponse<TypeConfig>) -> v1::RaftVoteResponse {
    v1::RaftVoteResponse {
        vote: Some(vote_to_wire(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(id_to_wire),
    }
}

pub(crate) fn voted_from_wire(
    response: v1::RaftVoteResponse,
) -> Result<VoteResponse<TypeConfig>, WireError> {
    let vote = vote_from_wire(response.vote)?;
    let last = response.last.map(id_from_wire);
    Ok(VoteResponse::new(vote, last, response.granted))
}

pub(crate) fn transfer_to_wire(
    to: Address,
    request: &TransferLeaderRequest<TypeConfig>,
) -> v1::RaftTransferRequest {
    v1::RaftTransferRequest {
        group: to.group,
        target: to.target,
        from: Some(vote_to_wire(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().map(id_to_wire),
    }
}

pub(crate) fn transfer_from_wire(
    request: v1::RaftTransferRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, WireError> {
    let from = vote_from_wire(request.from)?;
    let last = request.last.map(id_from_wire);
    Ok(TransferLeaderRequest::new(from, request.to, last))
}

pub(crate) fn transferred_to_wire(
    response: &TransferLeaderResponse<TypeConfig>,
) -> v1::RaftTransferResponse {
    use v1::raft_transfer_response::Result as Kind;
    let (kind, vote, last) = match response {
        Ok(()) => (Kind::Accepted, None, None),
        Err(TransferLeaderError::VoteChanged { actual, .. }) => {
            (Kind::VoteChanged, Some(actual), None)
        }
        Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
            (Kind::LogNotFlushed, None, actual.as_ref())
        }
    };
    v1::RaftTransferResponse {
        result: kind.into(),
        vote: vote.map(vote_to_wire),
        last: last.map(id_to_wire),
    }
}

pub(crate) fn transferred_from_wire(
    request: &TransferLeaderRequest<TypeConfig>,
    response: v1::RaftTransferResponse,
) -> Result<TransferLeaderResponse<TypeConfig>, WireError> {
    use v1::raft_transfer_response::Result as Kind;
    Ok(match response.result() {
        Kind::Accepted => Ok(()),
        Kind::VoteChanged => Err(TransferLeaderError::VoteChanged {
            expected: *request.from_leader(),
            actual: vote_from_wire(response.vote)?,
        }),
        Kind::LogNotFlushed => Err(TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: response.last.map(id_from_wire),
        }),
        Kind::Unspecified => return Err(WireError::Unknown("result")),
    })
}

/// Reads a message from a frame's header.
pub(crate) fn decode<M: prost::Message + Default>(header: Bytes) -> Result<M, WireError> {
    M::decode(header).map_err(WireError::Message)
}

/// Writes a message for a frame's header.
pub(crate) fn encode(message: &impl prost::Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}
