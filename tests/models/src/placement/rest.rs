//! Whether the system comes to rest from a state: nothing new begins, everything that waits is
//! done, and then nothing is left over.

use super::layout::{A, B, C, Phase};
use super::model::Placement;
use super::state::{Reader, Stage, State};
use super::steps::Action;

/// Rounds of repair and cleanup until nothing changes: one to mend, one to clean up behind it.
const ROUNDS: usize = 2;

impl Placement {
    /// Plays one fair history to its end and looks at what is left.
    pub(super) fn comes_to_rest(&self, mut s: State) -> bool {
        s.repair = None;
        s.reader = Reader::Ended;
        for data in &mut s.data {
            if data.stage == Stage::Begun {
                data.stage = Stage::Refused;
            }
        }
        let whole = Self {
            bounds: super::Bounds {
                epochs: u8::MAX,
                ..self.bounds
            },
            ..*self
        };
        whole.end_the_move(&mut s);
        if s.wiped == s.known.place {
            // A lost drive is moved away from.
            whole.take(&mut s, Action::RootDual);
            whole.end_the_move(&mut s);
        }
        for _ in 0..ROUNDS {
            whole.mend_and_clean(&mut s);
        }
        let Some(object) = s.object else {
            return s.data.iter().all(|data| data.held == 0);
        };
        let others = (0..s.data.len()).all(|at| at == object.data || s.data[at].held == 0);
        let held = (A | s.known.place) & !s.wiped;
        let mended = object.over == 0 && !object.missing;
        others && mended && s.data[object.data].held == held
    }

    /// Forward where that is possible, else back.
    fn end_the_move(&self, s: &mut State) {
        self.take(s, Action::Fence);
        if s.root.phase == Phase::Dual {
            let scanned = [Action::Scan, Action::Copy, Action::CopySkipped];
            for action in scanned {
                self.take(s, action);
            }
            if !self.take(s, Action::RootCut) {
                self.take(s, Action::RootCancel);
            }
        }
        s.copier = None;
        self.take(s, Action::Fence);
        self.take(s, Action::RootEnd);
        self.take(s, Action::Fence);
    }

    fn mend_and_clean(&self, s: &mut State) {
        let place = s.known.place;
        let mending = [
            Action::FoundMissing,
            Action::RepairPlan,
            Action::RepairWrite(place),
            Action::RepairEntry,
            Action::RepairDies,
        ];
        for action in mending {
            self.take(s, action);
        }
        for data in 0..self.bounds.writers {
            self.take(s, Action::RaiseFloor(data));
            self.take(s, Action::RaiseReadFloor(data));
            for place in [A, B, C] {
                self.take(s, Action::Ask(data, place));
                self.take(s, Action::Delete(data, place));
            }
        }
    }
}
