//! What the gateway asks of the metadata groups, as a trait: commands and queries, routed to a
//! replica that can answer.

mod routed;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marram_types::codec::DecodeError;
use marram_types::{GroupId, ReplicaId, RequestId};

use crate::status::{Fault, Reason};

pub(crate) use routed::Routed;

/// How long a query may take: an election and some more.
pub(crate) const QUERY_TIME: Duration = Duration::from_secs(8);
/// How long a command is tried before its outcome is not known.
pub(crate) const COMMAND_TIME: Duration = Duration::from_secs(10);
/// How long an outcome that is not known is asked for, under the command's request id, before the caller
/// hears that. Together with [`COMMAND_TIME`] less than the time for which clients wait by default.
pub(crate) const READ_BACK_TIME: Duration = Duration::from_secs(4);

/// What to do about an unknown outcome.
fn again(request: Option<&RequestId>) -> String {
    request.map_or_else(String::new, |id| {
        format!("; the same call with request id {id} says which, and does nothing twice")
    })
}

/// A group did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GroupError {
    #[error("metadata group {0} cannot be reached or has no leader now")]
    Unavailable(GroupId),
    #[error("metadata group {0} has too much to do; try again later")]
    Overloaded(GroupId),
    #[error(
        "the metadata drives of group {0} are full: no more objects can be written until something \
         is deleted or the drives grow; reads and deletions go on"
    )]
    NoRoom(GroupId),
    #[error(
        "metadata group {group} did not answer in time: the change may or may not have happened{}",
        again(request.as_ref())
    )]
    OutcomeUnknown {
        /// The group.
        group: GroupId,
        /// Under which the same call is not done twice.
        request: Option<RequestId>,
    },
    #[error("the answer of a metadata group cannot be read: {0}")]
    Answer(#[from] DecodeError),
    #[error("metadata group {0} gave an answer of another kind than was asked for")]
    Kind(GroupId),
}

impl Fault for GroupError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unavailable(_) => Reason::MetadataUnavailable,
            Self::Overloaded(_) => Reason::Overloaded,
            Self::NoRoom(_) => Reason::MetadataFull,
            Self::OutcomeUnknown { .. } => Reason::OutcomeUnknown,
            Self::Answer(_) | Self::Kind(_) => Reason::Internal,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Unavailable(group)
            | Self::Overloaded(group)
            | Self::NoRoom(group)
            | Self::Kind(group) => vec![("group", group.0.to_string())],
            Self::OutcomeUnknown { group, request } => {
                let request = request.map(|id| ("request_id", id.to_string()));
                let group = ("group", group.0.to_string());
                std::iter::once(group).chain(request).collect()
            }
            Self::Answer(_) => Vec::new(),
        }
    }
}

/// An answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// In the encoding of marram-meta.
    pub(crate) bytes: Bytes,
    /// The group's applied index at which it was read.
    pub(crate) applied: u64,
}

/// The metadata groups.
#[async_trait]
pub(crate) trait Groups: Send + Sync {
    /// Proposes a sealed command until it has an outcome. The same bytes may be proposed more than
    /// once: the request id in them makes that one change (rules.md 14).
    ///
    /// # Errors
    /// [`GroupError::OutcomeUnknown`] when it may have happened; any other: it has not.
    async fn propose(
        &self,
        group: GroupId,
        command: Bytes,
        within: Duration,
    ) -> Result<Bytes, GroupError>;

    /// Asks a group. A linearizable answer contains every change that ended before the question.
    ///
    /// # Errors
    /// When no replica answered in time.
    async fn query(
        &self,
        group: GroupId,
        query: Bytes,
        linearizable: bool,
        within: Duration,
    ) -> Result<Answer, GroupError>;

    /// Asks any replica of a group, preferably one on this server, once it has applied `at_least`, or else
    /// when the time is over; that it has is for the caller to see.
    ///
    /// # Errors
    /// When no replica answered in time.
    async fn query_at(
        &self,
        group: GroupId,
        query: Bytes,
        at_least: u64,
        within: Duration,
    ) -> Result<Answer, GroupError>;

    /// The replica that leads a group, as far as this server knows.
    fn leader(&self, group: GroupId) -> Option<ReplicaId>;
}
