//! The placement model: its bounds, its safeguards, its properties.

use super::layout::{A, B, C, Phase};
use super::state::{Reader, Stage, State};
use super::steps::Action;
use crate::explore::{Model, Property};

/// A safeguard that a test takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safeguard {
    /// A group's rows are scanned, and the cut comes, only after the group knows of the move.
    FenceBeforeScan,
    /// The cut waits for the copy.
    CopyBeforeCut,
    /// A cut names the epoch of the move that was copied.
    CutNamesEpoch,
    /// What the source lost is rebuilt at the target before the move goes on.
    RebuildInCopy,
    /// A commit that missed a place names the one it wrote.
    Override,
    /// In Dual both places must have been written, not just one of them.
    OverrideInDual,
    /// A commit whose begin index is below the floor is refused.
    CommitFloor,
    /// An unreferenced shard is garbage only below the floor.
    GarbageFloor,
    /// Displaced data is garbage only below the read floor.
    ReadFloor,
    /// A node refuses reads below the read floor instead of not finding the shard.
    RefuseOldReads,
    /// A permission to clean up is void once the node has seen a newer epoch.
    PermissionEpoch,
    /// No permission where a row names the place.
    CleanupSparesOverrides,
    /// No permission before the shard was seen where the row is read.
    CleanupVerifies,
    /// A repair's entry applies only in the epoch in which its places were seen.
    RepairNamesEpoch,
    /// A repair's entry applies only while the row holds its data id.
    RepairNamesData,
}

/// How far the model goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Data ids, 1 or 2, each with a writer.
    pub writers: usize,
    /// The root group's row changes up to this epoch. A move takes three: dual, cut or cancel,
    /// end.
    pub epochs: u8,
    /// Whether one drive is lost.
    pub loss: bool,
    /// Whether somebody reads.
    pub reader: bool,
    /// Whether tickets are worked off.
    pub repair: bool,
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// How far it goes.
    pub bounds: Bounds,
    /// What is taken away.
    pub without: Option<Safeguard>,
    /// The other way to make late entries of repairs harmless: they apply in any epoch, but only
    /// where they cover all places that must hold the slot by then, so they never set an override.
    pub repair_only_clears: bool,
}

impl Placement {
    /// Whether the safeguard is there.
    pub(super) fn has(&self, safeguard: Safeguard) -> bool {
        self.without != Some(safeguard)
    }
}

impl Model for Placement {
    type State = State;
    type Action = Action;

    fn initial(&self) -> State {
        State::FIRST
    }

    fn actions(&self) -> Vec<Action> {
        let mut all = vec![
            Action::RootDual,
            Action::RootCut,
            Action::RootCancel,
            Action::RootEnd,
            Action::Fence,
            Action::Scan,
            Action::Copy,
            Action::CopySkipped,
        ];
        for data in 0..self.bounds.writers {
            all.extend([Action::Begin(data), Action::Commit(data)]);
            all.extend([B, C].map(|place| Action::Write(data, place)));
            all.push(Action::RaiseFloor(data));
            all.push(Action::RaiseReadFloor(data));
            for place in [A, B, C] {
                all.extend([Action::Ask(data, place), Action::Delete(data, place)]);
            }
        }
        if self.bounds.repair {
            all.extend([Action::RepairPlan, Action::RepairEntry, Action::RepairDies]);
            all.extend([B, C].map(Action::RepairWrite));
        }
        if self.bounds.loss {
            all.push(Action::FoundMissing);
            all.extend([A, B, C].map(Action::Wipe));
        }
        if self.bounds.reader {
            all.extend([Action::Lookup, Action::ReadEnds]);
        }
        all
    }

    fn step(&self, state: &mut State, action: Action) -> bool {
        let taken = self.take(state, action);
        if taken {
            state.forget();
        }
        taken
    }

    fn always(&self) -> Vec<Property<Self>> {
        vec![
            Property {
                name: "claims: a slot not marked missing is where readers look, or that drive is lost",
                holds: |_, s| {
                    s.object.is_none_or(|object| {
                        let (held, at) = (s.data[object.data].held, s.looked_at(object));
                        let there = |place| (held | s.wiped) & place != 0;
                        there(A) && (object.missing || there(at))
                    })
                },
            },
            Property {
                name: "promise: the object is readable after the loss of one drive",
                holds: |_, s| {
                    s.object.is_none_or(|object| {
                        s.data[object.data].held & (A | s.looked_at(object)) != 0
                    })
                },
            },
            Property {
                name: "cleanup: the last shard of a slot is never given up",
                holds: |_, s| !s.last_permitted,
            },
            Property {
                name: "reader: an old plan finds its shards or is refused",
                holds: |model, s| model.reads_or_is_refused(s),
            },
            Property {
                name: "rest: nothing is left over, the row is whole and at its place",
                holds: |model, s| model.comes_to_rest(*s),
            },
        ]
    }

    fn sometimes(&self) -> Vec<Property<Self>> {
        vec![
            Property {
                name: "a late commit was kept by an override",
                holds: |_, s| {
                    let cut = s.known.phase == Phase::Cut;
                    cut && s.object.is_some_and(|o| o.over == s.known.other())
                },
            },
            Property {
                name: "a commit in Dual that reached the new place only",
                holds: |_, s| {
                    let dual = s.known.phase == Phase::Dual;
                    dual && s.object.is_some_and(|o| o.over == s.known.other())
                },
            },
            Property {
                name: "moved there and clean",
                holds: |_, s| s.known.epoch == 4 && s.known.place == C && s.is_clean(),
            },
            Property {
                name: "cancelled and clean",
                holds: |_, s| s.known.epoch == 4 && s.known.place == B && s.is_clean(),
            },
            Property {
                name: "moved there, back and clean",
                holds: |_, s| {
                    let home = s.known.epoch == 7 && s.known.place == B;
                    home && s.known.phase == Phase::Stable && s.is_clean()
                },
            },
            Property {
                name: "a slow writer was fenced off",
                holds: |_, s| s.data.iter().any(|d| d.stage == Stage::Refused),
            },
            Property {
                name: "a lost slot was found and repaired",
                holds: |_, s| {
                    let lost = s.wiped == B && s.known.place == C;
                    lost && s.object.is_some_and(|o| !o.missing && o.over == 0) && s.is_clean()
                },
            },
            Property {
                name: "an old read was refused",
                holds: |_, s| match s.reader {
                    Reader::Reads(data) => s.refuses(data),
                    Reader::Idle | Reader::Ended => false,
                },
            },
        ]
    }
}

impl State {
    /// A node that was told that this is garbage knows a read floor above its readers' lookups.
    fn refuses(&self, data: usize) -> bool {
        self.data[data].garbage & A != 0 && self.data[data].below_read_floor
    }

    /// The object's shards are where they belong, and there are no others.
    fn is_clean(&self) -> bool {
        let Some(object) = self.object else {
            return false;
        };
        let others = (0..self.data.len()).all(|at| at == object.data || self.data[at].held == 0);
        others && self.data[object.data].held == A | self.looked_at(object)
    }
}

impl Placement {
    /// Slot 0 never moves, so a reader whose plan is old must find it on A, or be told to look
    /// again. Slot 1 may have moved away, which is no more than one slot less.
    fn reads_or_is_refused(&self, s: &State) -> bool {
        let Reader::Reads(data) = s.reader else {
            return true;
        };
        let refused = s.refuses(data) && self.has(Safeguard::RefuseOldReads);
        refused || (s.data[data].held | s.wiped) & A != 0
    }
}
