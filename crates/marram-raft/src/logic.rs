//! What a group's state machine does, as this crate sees it.

use std::error::Error;

use marram_meta::{KvRead, KvWrite};
use marram_types::GroupId;

/// Why a replica cannot go on with a command or answer a query. What a user did wrong is part of
/// an outcome, never this.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LogicError(#[from] Box<dyn Error + Send + Sync>);

impl LogicError {
    /// Wraps the state machine's own error.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// The decisions of a group's state machine, pure and deterministic: every replica that is given
/// the same commands at the same indexes holds the same bytes and answers the same.
pub trait GroupLogic: Send + Sync + 'static {
    /// Writes the leader's time into a command before it is proposed (rules.md 15), and checks
    /// that every replica can read it.
    ///
    /// # Errors
    /// When the bytes are not a command of this group that this release can apply.
    fn stamp(&self, group: GroupId, command: &mut [u8], time_ms: u64) -> Result<(), LogicError>;

    /// Whether a sealed command adds something of a user's: such commands are refused while the
    /// metadata drive has little room, all others go on.
    fn grows(&self, group: GroupId, command: &[u8]) -> bool;

    /// Carries out the command at `index` and returns the encoded outcome.
    ///
    /// # Errors
    /// When this replica must stop: its store failed, or the command is of a version that this
    /// release does not know (rules.md 9).
    fn apply(
        &self,
        group: GroupId,
        state: &mut dyn KvWrite,
        index: u64,
        command: &[u8],
    ) -> Result<Vec<u8>, LogicError>;

    /// Answers a query from the state at `applied`.
    ///
    /// # Errors
    /// When the store fails or the query cannot be read.
    fn query(
        &self,
        group: GroupId,
        state: &dyn KvRead,
        applied: u64,
        query: &[u8],
    ) -> Result<Vec<u8>, LogicError>;
}
