//! One object's write.
//!
//! The driver fills windows (at most [`WriteSession::window_bytes`]) and keeps each until it hears
//! [`Command::Durable`]. The session places windows in extents and counts acknowledgements. When a
//! run fails, its extent ends before the failed window; that window and those behind it are written
//! again in a new extent, with another row or a narrower profile and a new data id. There is no
//! acknowledgement with fewer than all shards (rules.md 18).
//!
//! ```text
//! loop:
//!   while let Some(command) = session.next_command():
//!     PlanExtent   choose a row that avoids session.avoided(), draw a data id,
//!                  session.extent_planned(..)
//!     Write(w)     encode the window with w.geometry, send run i to w.targets[i];
//!                  each end of a run -> session.run_ended(w.run(i), outcome)
//!     Forget{..}   those runs may be cancelled
//!     Durable(id)  drop the window's bytes
//!     Complete(c)  commit c.extents
//!     Fail(why)    session.abandoned() may be dropped
//!   wait for a run to end, or, if session.wants_window(), for object bytes:
//!     session.push_window(len), at the end session.finish()
//! ```

use std::collections::{BTreeSet, VecDeque};

use marram_types::caps::{OBJECT_EXTENTS_MAX, WINDOWS_IN_FLIGHT_MAX};
use marram_types::{DriveId, Profile};

use crate::shape::{NoPlace, narrow};

mod command;
mod extent;

use extent::{OpenExtent, Sizes};

pub use command::{
    Abandoned, Command, Completed, ExtentId, ExtentPlan, PushError, RunId, RunOutcome, Target,
    WindowId, WindowWrite, WriteFailure,
};

/// Failures in a row, without a window that became durable in between, after which a write gives
/// up.
const FAILURES_MAX: u32 = 16;

/// A window that is not durable yet.
#[derive(Debug)]
struct Window {
    id: WindowId,
    at: u64,
    len: u64,
    sent: Option<Sent>,
}

/// Where a window was sent, and the shards whose runs are durable (a bit each).
#[derive(Debug)]
struct Sent {
    extent: ExtentId,
    durable: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Filling,
    Finished,
    Ended,
}

/// The state machine of one object's write, see the module's head.
#[derive(Debug)]
pub struct WriteSession {
    profile: Profile,
    sizes: Sizes,
    state: State,
    /// Extents in the order in which they were planned, ids are their places.
    extents: Vec<OpenExtent>,
    /// Windows that are not durable, in object order.
    windows: VecDeque<Window>,
    pushed: u64,
    windows_pushed: u64,
    avoided: BTreeSet<DriveId>,
    planning: bool,
    failures: u32,
    commands: VecDeque<Command>,
    completed: bool,
}

impl WriteSession {
    /// A write whose extents should have `profile`: that of the object's class, not always the
    /// bucket's. Its first command is [`Command::PlanExtent`].
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self::with_sizes(profile, Sizes::default())
    }

    fn with_sizes(profile: Profile, sizes: Sizes) -> Self {
        Self {
            profile,
            sizes,
            state: State::Filling,
            extents: Vec::new(),
            windows: VecDeque::new(),
            pushed: 0,
            windows_pushed: 0,
            avoided: BTreeSet::new(),
            planning: true,
            failures: 0,
            commands: VecDeque::from([Command::PlanExtent]),
            completed: false,
        }
    }

    /// What to do next; `None` until something happens.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Length of the next window in bytes. Only the object's last window may be shorter. Ask again
    /// for each window: it depends on the extent's profile.
    #[must_use]
    pub fn window_bytes(&self) -> usize {
        let newest = self.extents.last().map(|e| e.shape.profile);
        let k = newest.unwrap_or(self.profile).k();
        (self.sizes.window)(k)
    }

    /// Whether another window may be pushed now: the session is not finished, and fewer windows
    /// than the limit are on their way.
    #[must_use]
    pub fn wants_window(&self) -> bool {
        self.state == State::Filling && self.windows.len() < WINDOWS_IN_FLIGHT_MAX
    }

    /// Takes the next `len` bytes of the object; the driver keeps them under the id returned.
    ///
    /// # Errors
    /// When the window is empty or too long, or the session does not want one.
    pub fn push_window(&mut self, len: usize) -> Result<WindowId, PushError> {
        if !self.wants_window() {
            return Err(PushError::NotWanted);
        }
        let max = (self.sizes.window)(1);
        if len == 0 || len > max {
            return Err(PushError::Length { len, max });
        }
        let id = WindowId(self.windows_pushed);
        self.windows_pushed += 1;
        let len = len as u64;
        self.windows.push_back(Window {
            id,
            at: self.pushed,
            len,
            sent: None,
        });
        self.pushed += len;
        self.advance();
        Ok(id)
    }

    /// No more windows come. [`Command::Complete`] follows when all are durable.
    pub fn finish(&mut self) {
        if self.state == State::Filling {
            self.state = State::Finished;
            self.advance();
        }
    }

    /// Answers [`Command::PlanExtent`].
    ///
    /// # Errors
    /// When too few drives of the row live, avoided ones not counted. The session still waits for
    /// a plan: the driver may offer another row, or [`Self::abort`].
    pub fn extent_planned(&mut self, plan: ExtentPlan) -> Result<(), NoPlace> {
        if !self.planning || self.state == State::Ended {
            return Ok(());
        }
        let living: Vec<bool> = plan
            .row
            .iter()
            .zip(&plan.living)
            .map(|(drive, lives)| *lives && !self.avoided.contains(drive))
            .collect();
        let shape = narrow(self.profile, &living)?;
        let id = u32::try_from(self.extents.len()).expect("extents are limited");
        self.extents
            .push(OpenExtent::new(ExtentId(id), plan, shape, &self.sizes));
        self.planning = false;
        self.advance();
        Ok(())
    }

    /// Drives that failed a run of late: a plan should not use them, and cannot. They are forgiven
    /// when an extent has reached its full size.
    #[must_use]
    pub fn avoided(&self) -> &BTreeSet<DriveId> {
        &self.avoided
    }

    /// Reports how a run ended. Every run may be reported whenever it ends, also one that no longer
    /// matters, but not one that the driver cancelled itself.
    pub fn run_ended(&mut self, run: RunId, outcome: RunOutcome) {
        let extent = self.extents.get(run.extent.0 as usize);
        let Some(drive) = extent.and_then(|e| e.drive(run.shard)) else {
            return;
        };
        if outcome == RunOutcome::Failed {
            self.avoided.insert(drive);
        }
        let Some(place) = self.windows.iter().position(|w| w.id == run.window) else {
            return;
        };
        let Some(sent) = self.windows[place].sent.as_mut() else {
            return;
        };
        let bit = 1_u64 << run.shard;
        if sent.extent != run.extent || sent.durable & bit != 0 {
            return;
        }
        match outcome {
            RunOutcome::Durable => sent.durable |= bit,
            RunOutcome::Failed => {
                self.extents[run.extent.0 as usize].open = false;
                for window in self.windows.range_mut(place..) {
                    if window.sent.as_ref().is_some_and(|s| s.extent == run.extent) {
                        window.sent = None;
                    }
                }
                self.commands.push_back(Command::Forget {
                    extent: run.extent,
                    from: run.window,
                });
                self.failures += 1;
            }
        }
        self.advance();
    }

    /// Reports that a run did not become durable at the second place of a slot that moves. The
    /// extent's shard is then known to be at its first place only.
    pub fn second_place_failed(&mut self, run: RunId) {
        if let Some(extent) = self.extents.get_mut(run.extent.0 as usize) {
            extent.forget_second_place(run.shard);
        }
    }

    /// Ends the write without a commit, at any time: the client went away, or no row has place.
    pub fn abort(&mut self) {
        if self.state != State::Ended {
            self.state = State::Ended;
            self.commands.clear();
        }
    }

    /// Extents that no commit will name, and that may therefore be dropped at once: after
    /// [`Command::Complete`] those that ended before any window was durable, after a failure or
    /// abort all of them.
    #[must_use]
    pub fn abandoned(&self) -> Vec<Abandoned> {
        self.extents
            .iter()
            .filter(|e| !self.completed || e.durable == 0)
            .map(OpenExtent::abandoned)
            .collect()
    }

    fn advance(&mut self) {
        if self.state == State::Ended {
            return;
        }
        self.retire();
        if self.failures > FAILURES_MAX {
            return self.fail(WriteFailure::Failures {
                count: self.failures,
            });
        }
        while let Some(place) = self.windows.iter().position(|w| w.sent.is_none()) {
            if !self.send(place) {
                break;
            }
        }
        if self.extents.len() >= OBJECT_EXTENTS_MAX && self.planning {
            return self.fail(WriteFailure::Extents {
                count: self.extents.len(),
            });
        }
        if self.state == State::Finished && self.windows.is_empty() {
            self.complete();
        }
    }

    /// Takes windows off the front whose runs are all durable.
    fn retire(&mut self) {
        while let Some(Sent { extent, durable }) =
            self.windows.front().and_then(|w| w.sent.as_ref())
        {
            let extent = &mut self.extents[extent.0 as usize];
            if *durable != extent.all_shards() {
                return;
            }
            let window = self.windows.pop_front().expect("looked at just now");
            extent.durable += window.len;
            self.failures = 0;
            self.commands.push_back(Command::Durable(window.id));
        }
    }

    /// Sends a window if the newest extent takes it, else asks for a plan. Says whether it was
    /// sent.
    fn send(&mut self, place: usize) -> bool {
        let window = &mut self.windows[place];
        if let Some(extent) = self.extents.last_mut().filter(|_| !self.planning) {
            if extent.takes(window.at, window.len, self.sizes.extent) {
                window.sent = Some(Sent {
                    extent: extent.id,
                    durable: 0,
                });
                let write = extent.place(window.id, window.at, window.len);
                self.commands.push_back(Command::Write(write));
                return true;
            }
            if extent.open && extent.placed + window.len > self.sizes.extent {
                self.avoided.clear();
            }
            extent.open = false;
        }
        if !self.planning {
            self.planning = true;
            self.commands.push_back(Command::PlanExtent);
        }
        false
    }

    fn fail(&mut self, why: WriteFailure) {
        self.abort();
        self.commands.push_back(Command::Fail(why));
    }

    fn complete(&mut self) {
        self.state = State::Ended;
        self.completed = true;
        let mut kept: Vec<&OpenExtent> = self.extents.iter().filter(|e| e.durable > 0).collect();
        kept.sort_by_key(|e| e.start);
        let completed = Completed {
            narrowed: kept.iter().any(|e| e.shape.narrowed),
            under_protected: kept.iter().any(|e| e.shape.under_protected),
            extents: kept.into_iter().map(OpenExtent::committed).collect(),
        };
        self.commands.push_back(Command::Complete(completed));
    }
}

#[cfg(test)]
mod tests;
