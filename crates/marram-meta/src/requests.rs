//! The part of apply that all groups share: time, exactly-once by request id, deadlines (rules.md
//! 14, 15).

use std::ops::{Bound, ControlFlow};

use marram_types::RequestId;
use marram_types::caps::{
    REQUEST_RECORD_GRACE_MS, REQUEST_RECORDS_MAX, REQUEST_RECORDS_SWEPT_PER_APPLY,
};
use marram_types::codec::DecodeError;

use crate::envelope::{COMMAND_VERSION, COMMAND_VERSION_OLDEST, Envelope, EnvelopeError};
use crate::kinds::request::{deser_expiry_key, deser_value, ser_expiry_key, ser_key, ser_value};
use crate::kinds::state::GroupState;
use crate::kv::{KvError, KvWrite, Table};
use crate::refusal::{Malformed, Refusal};
use crate::stored::StateError;

/// How far ahead of leader time the deadline of a request may lie, in milliseconds: its record lives
/// that long and a grace longer.
pub const REQUEST_AHEAD_MS_MAX: u64 = 60 * 60 * 1000;

/// Why a replica must stop: it can not apply the entry as the others do. A user's mistake is never
/// one of these.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The store failed.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The command needs another release (rules.md 9).
    #[error(
        "the entry has version {found}, this release knows versions {COMMAND_VERSION_OLDEST} to \
         {COMMAND_VERSION}: start this node with a release that knows it"
    )]
    UnknownVersion {
        /// The entry's version.
        found: u8,
    },
    /// The entry or the state does not decode.
    #[error("the {what} is damaged: {source}")]
    Corrupt {
        /// What is damaged: `command`, or the name of a table.
        what: &'static str,
        /// How.
        source: DecodeError,
    },
}

impl ApplyError {
    /// A command that does not decode.
    pub(crate) fn bad_command(source: DecodeError) -> Self {
        Self::Corrupt {
            what: "command",
            source,
        }
    }
}

impl From<StateError> for ApplyError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Kv(error) => Self::Kv(error),
            StateError::Corrupt { table, source } => Self::Corrupt {
                what: table.name(),
                source,
            },
        }
    }
}

impl From<EnvelopeError> for ApplyError {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::UnknownVersion { found } => Self::UnknownVersion { found },
            EnvelopeError::Corrupt(source) => Self::bad_command(source),
        }
    }
}

/// What is to become of an entry.
pub(crate) enum Admission {
    /// Run it.
    Run,
    /// An earlier attempt of the same request ran: answer with its outcome.
    Repeated(Vec<u8>),
    /// Do not run it.
    Refused(Refusal),
}

/// One entry being applied.
pub(crate) struct Apply<'a> {
    pub(crate) kv: &'a mut dyn KvWrite,
    pub(crate) state: GroupState,
    /// The entry's index.
    pub(crate) index: u64,
    request: Option<RequestId>,
    /// Digest of what the client asked: equal for all attempts of one request.
    asked: u64,
    deadline_ms: u64,
}

impl<'a> Apply<'a> {
    /// Reads the group's state and moves its time on: never back, whatever the leader's clock did.
    /// `asked` is a digest of what the client asked, without what differs between attempts.
    pub(crate) fn begin(
        kv: &'a mut dyn KvWrite,
        index: u64,
        envelope: &Envelope<'_>,
        asked: u64,
    ) -> Result<Self, StateError> {
        let mut state = GroupState::load(kv)?;
        state.applied = index;
        state.time_ms = state.time_ms.max(envelope.time_ms);
        let mut apply = Self {
            kv,
            state,
            index,
            request: envelope.request,
            asked,
            deadline_ms: envelope.deadline_ms,
        };
        apply.sweep()?;
        Ok(apply)
    }

    /// Leader time of this entry.
    pub(crate) fn now_ms(&self) -> u64 {
        self.state.time_ms
    }

    /// Decides whether the entry runs. The request is looked up before anything else, so that a
    /// repeated attempt hears what came of the first one, even after the deadline. What another
    /// request was told is no answer to this one: an id used twice is refused, and the record stays.
    pub(crate) fn admit(&self, needs_request: bool) -> Result<Admission, StateError> {
        if let Some(request) = self.request
            && let Some(record) = self.kv.get(Table::Requests, &ser_key(request))?
        {
            let (asked, outcome) =
                deser_value(&record).map_err(StateError::corrupt(Table::Requests))?;
            return Ok(if asked.is_none_or(|asked| asked == self.asked) {
                Admission::Repeated(outcome.to_vec())
            } else {
                Admission::Refused(Refusal::RequestIdReused)
            });
        }
        Ok(match self.refusal(needs_request) {
            None => Admission::Run,
            Some(refusal) => Admission::Refused(refusal),
        })
    }

    fn refusal(&self, needs_request: bool) -> Option<Refusal> {
        let has_deadline = self.request.is_some() || self.deadline_ms > 0;
        if has_deadline && self.now_ms() > self.deadline_ms {
            Some(Refusal::DeadlinePassed)
        } else if self.request.is_none() {
            needs_request.then_some(Malformed::NoRequestId.into())
        } else if self.deadline_ms > self.now_ms().saturating_add(REQUEST_AHEAD_MS_MAX) {
            Some(Malformed::Deadline.into())
        } else if self.state.requests >= REQUEST_RECORDS_MAX {
            Some(Refusal::TooManyRequests)
        } else {
            None
        }
    }

    /// Remembers the outcome of the entry's request, if it has one.
    pub(crate) fn record(&mut self, outcome: &[u8]) -> Result<(), KvError> {
        let Some(request) = self.request else {
            return Ok(());
        };
        let expires_ms = self.deadline_ms.saturating_add(REQUEST_RECORD_GRACE_MS);
        let record = ser_value(self.asked, outcome);
        self.kv.put(Table::Requests, &ser_key(request), &record)?;
        let expiry_key = ser_expiry_key(expires_ms, request);
        self.kv.put(Table::RequestExpiry, &expiry_key, &[])?;
        self.state.requests += 1;
        self.state.sweep_ms = self.state.sweep_ms.min(expires_ms);
        Ok(())
    }

    /// Writes the group's state back.
    pub(crate) fn finish(self) -> Result<(), KvError> {
        self.state.store(self.kv)
    }

    /// Forgets some of the expired requests, and learns when the next one expires.
    fn sweep(&mut self) -> Result<(), StateError> {
        let now_ms = self.now_ms();
        if now_ms < self.state.sweep_ms {
            return Ok(());
        }
        let mut expired = Vec::new();
        let mut next = Ok(u64::MAX);
        self.kv.scan(
            Table::RequestExpiry,
            Bound::Unbounded,
            Bound::Unbounded,
            &mut |key, _| match deser_expiry_key(key) {
                Ok((expires_ms, request))
                    if expires_ms <= now_ms && expired.len() < REQUEST_RECORDS_SWEPT_PER_APPLY =>
                {
                    expired.push((expires_ms, request));
                    ControlFlow::Continue(())
                }
                found => {
                    next = found.map(|(expires_ms, _)| expires_ms);
                    ControlFlow::Break(())
                }
            },
        )?;
        self.state.sweep_ms = next.map_err(StateError::corrupt(Table::RequestExpiry))?;
        for (expires_ms, request) in expired {
            self.kv.delete(Table::Requests, &ser_key(request))?;
            self.kv
                .delete(Table::RequestExpiry, &ser_expiry_key(expires_ms, request))?;
            self.state.requests -= 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
