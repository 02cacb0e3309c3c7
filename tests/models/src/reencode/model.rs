//! The re-encoding model: its bounds, what can be left out of it, its properties.

use super::state::{NODES, RAISED, Reader, Stage, State, WIDER, node, signed};
use super::steps::Action;
use crate::explore::{Model, Property};

/// A safeguard that a test takes away, named after what is then done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// Re-encoding commits whatever data id the row holds.
    ReencodeIgnoresData,
    /// Re-encoding commits whatever version the row holds.
    ReencodeIgnoresVersion,
    /// Both.
    ReencodeIgnoresBoth,
    /// Re-encoding may commit below the floor.
    ReencodeIgnoresFloor,
    /// Re-encoding commits with k + 1 shards.
    ReencodeAtOneLoss,
    /// Re-encoding does not look again at what it wrote.
    ReencodeTrustsAcks,
    /// Garbage is judged by version.
    GarbageByVersion,
    /// What is displaced is queued by version.
    QueueByVersion,
    /// Garbage does not wait for the floor.
    GarbageIgnoresFloor,
    /// Garbage is what is in the queue, and nothing else.
    QueueOnly,
    /// The queue forgets an entry when its data is deleted.
    QueueForgetsEarly,
    /// Two living nodes take k = 2, m = 0.
    NarrowDropsParity,
    /// Two living nodes take one shard.
    NarrowToOne,
    /// Repair's entry applies whatever data id the row holds.
    RepairIgnoresData,
    /// Repair looks only at the slot it wrote.
    RepairTrustsOthers,
    /// An entry that is applied twice is applied again.
    CommitTwice,
    /// All m losses are promised although fewer shards are durable.
    PromiseAllEarly,
    /// Shards are read by version.
    ReadByVersion,
    /// A reader that sent bytes goes on with another version.
    ReadOnAnyVersion,
}

/// How far the model goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Parity shards of the bucket's profile; k is 2.
    pub m: u8,
    /// Data ids of clients, 1 or 2.
    pub writers: usize,
    /// Whether narrow and damaged rows are encoded anew.
    pub widen: bool,
    /// Whether the profile is raised to m = 2.
    pub raise: bool,
    /// Whether the object is deleted once.
    pub delete: bool,
    /// Whether its metadata is changed once.
    pub touch: bool,
    /// Sets of nodes that go down and come up together; empty for none.
    pub flaps: [u8; 2],
    /// Drives that are lost.
    pub wipes: u8,
    /// Whether a writer's shards become durable in any order, or in that of the nodes.
    pub any_order: bool,
    /// Whether somebody reads.
    pub reader: bool,
    /// Whether the entry of a re-encoding swaps the data of whatever version holds the data id that
    /// it was made from, or replaces the row, and then names the version as well.
    pub swaps_data: bool,
    /// Whether a commit waits for k + m shards, as it must (rule 18), or for k + 1.
    pub wait_for_all: bool,
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Reencode {
    /// How far it goes.
    pub bounds: Bounds,
    /// What is done wrong.
    pub slip: Option<Slip>,
}

impl Reencode {
    /// Whether this is done wrong.
    pub(super) fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }
}

impl Model for Reencode {
    type State = State;
    type Action = Action;

    fn initial(&self) -> State {
        State::first()
    }

    fn actions(&self) -> Vec<Action> {
        let bounds = &self.bounds;
        let mut all = Vec::new();
        let wanted = |data: usize| {
            data < bounds.writers
                || (data == WIDER && bounds.widen)
                || (data == RAISED && bounds.raise)
        };
        for data in (0..4).filter(|data| wanted(*data)) {
            all.extend([Action::Begin(data), Action::Commit(data)]);
            all.extend([Action::CommitAgain(data), Action::RaiseFloor(data)]);
            all.extend([Action::AskGarbage(data), Action::DeleteShards(data)]);
            all.extend((0..NODES).map(|n| Action::Write(data, node(n))));
        }
        for nodes in bounds.flaps.into_iter().filter(|nodes| *nodes != 0) {
            all.extend([Action::Down(nodes), Action::Up(nodes)]);
        }
        if bounds.wipes > 0 || bounds.m > 1 {
            for node in (0..NODES).map(node) {
                all.extend([Action::Wipe(node), Action::FoundMissing(node)]);
                all.push(Action::RepairRead(node));
            }
        }
        all.extend([Action::Delete, Action::NewMetadata]);
        all.extend([Action::RepairWrite, Action::RepairEntry, Action::RepairDies]);
        all.extend([Action::Plan, Action::Read]);
        all
    }

    fn step(&self, state: &mut State, action: Action) -> bool {
        let replanned = state.replanned;
        let taken = self.take(state, action);
        if state.reader == Reader::Done {
            state.replanned &= replanned;
        }
        if taken {
            state.forget();
        }
        taken
    }

    fn always(&self) -> Vec<Property<Self>> {
        vec![
            Property {
                name: "claims: a slot not marked missing is there, or its node lost it",
                holds: |_, s| {
                    s.row.is_none_or(|row| {
                        let data = s.data[row.data];
                        data.places & !row.missing & !data.held & !data.lost == 0
                    })
                },
            },
            Property {
                name: "promise: the losses still owed can happen and k shards remain",
                holds: |_, s| {
                    s.row.is_none_or(|row| {
                        let data = s.data[row.data];
                        row.owed < 0 || signed(data.held) >= data.k.cast_signed() + row.owed
                    })
                },
            },
            Property {
                name: "history: the row holds the version that was committed last",
                holds: |_, s| s.row.map(|row| row.version) == s.latest,
            },
            Property {
                name: "garbage: no referenced data id was called garbage",
                holds: |_, s| s.row.is_none_or(|row| !s.data[row.data].garbage),
            },
            Property {
                name: "reader: one data id a part, committed, one version an answer",
                holds: |_, s| !s.misread,
            },
            Property {
                name: "rest: nothing is left over, the row is whole, the reader ends",
                holds: |model, s| model.comes_to_rest(*s),
            },
        ]
    }

    fn sometimes(&self) -> Vec<Property<Self>> {
        vec![
            Property {
                name: "a narrow row was widened",
                holds: |_, s| s.is_live(WIDER) && s.source(WIDER).is_some_and(|d| d.k == 1),
            },
            Property {
                name: "re-encoded to a new place after a loss",
                holds: |_, s| {
                    let whole = s.wipes > 0 && s.row.is_some_and(|row| row.missing == 0);
                    let lost = |source: super::Data| source.k == 2 && source.lost != 0;
                    whole && s.is_live(WIDER) && s.source(WIDER).is_some_and(lost)
                },
            },
            Property {
                name: "re-encoding refused: the row changed",
                holds: |_, s| s.data[WIDER].stage == Stage::Refused && !s.data[WIDER].below_floor,
            },
            Property {
                name: "re-encoding refused: below the floor",
                holds: |_, s| {
                    let data = s.data[WIDER];
                    let refused = data.stage == Stage::Refused && data.below_floor;
                    refused && s.is_live(usize::from(data.source))
                },
            },
            Property {
                name: "the profile was raised over a widened row",
                holds: |_, s| s.is_live(RAISED) && usize::from(s.data[RAISED].source) == WIDER,
            },
            Property {
                name: "a reader looked again and finished",
                holds: |_, s| s.reader == Reader::Done && s.replanned,
            },
            Property {
                name: "a reader gave up: the version changed",
                holds: |_, s| s.reader == Reader::Aborted,
            },
            Property {
                name: "a lost slot was found and repaired",
                holds: |_, s| {
                    let mended = s.row.is_some_and(|row| {
                        let data = s.data[row.data];
                        row.missing == 0 && row.owed == data.m.cast_signed() && data.lost == 0
                    });
                    s.wipes > 0 && mended && s.repair.is_none()
                },
            },
        ]
    }
}

impl State {
    /// What a re-encoding was made from.
    fn source(&self, data: usize) -> Option<super::Data> {
        self.data.get(usize::from(self.data[data].source)).copied()
    }
}

impl Reencode {
    /// Lets the system come to rest from any state: all nodes up, no new work, one round of floor,
    /// garbage and repair. Then nothing may be left over, and the row must be whole and readable.
    fn comes_to_rest(&self, mut s: State) -> bool {
        s.up = super::state::ALL;
        self.take(&mut s, Action::RepairWrite);
        s.repair = None;
        for data in 0..s.data.len() {
            self.take(&mut s, Action::RaiseFloor(data));
            self.take(&mut s, Action::AskGarbage(data));
            self.take(&mut s, Action::DeleteShards(data));
        }
        for node in (0..NODES).map(node) {
            self.take(&mut s, Action::FoundMissing(node));
        }
        for node in (0..NODES).map(node) {
            self.take(&mut s, Action::RepairRead(node));
            self.take(&mut s, Action::RepairWrite);
            self.take(&mut s, Action::RepairEntry);
        }
        let clean = (0..s.data.len()).all(|at| s.data[at].held == 0 || s.is_live(at));
        // Where more was lost than was promised, nothing can be asked of the row.
        let owes = s.row.is_none_or(|row| row.owed >= 0);
        let whole = s.row.is_none_or(|row| {
            let data = s.data[row.data];
            row.missing == 0 && data.held == data.places
        });
        clean && (!owes || (whole && self.reader_ends(&mut s)))
    }

    /// At rest at most one plan fails: the old one.
    fn reader_ends(&self, s: &mut State) -> bool {
        let mut failed = 0;
        while self.bounds.reader && failed < 2 {
            match s.reader {
                Reader::Reads { next: NODES, .. } => failed += 1,
                Reader::Reads { .. } => {}
                _ => break,
            }
            self.take(s, Action::Read);
        }
        failed < 2
    }
}
