//! The drain model: its safeguards, its properties.

use super::state::{D, E, Phase, Stage, State};
use super::steps::Action;
use crate::explore::{Model, Property};

/// A safeguard that a test takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safeguard {
    /// A cordoned node takes no new data.
    NodeRefuses,
    /// The node refuses before the groups are fenced, so that every begin index from which it may
    /// still have taken data is below the cordon's.
    NodeFirst,
    /// The groups raise their floor to the cordon's index.
    FloorRaised,
    /// The groups are asked what names the node, and not the root's rows only.
    GroupsAsked,
    /// A group that has applied the tombstone takes no commit that rests on the node.
    Tombstone,
    /// A group is asked only after it has applied the tombstone.
    AskedAfterTombstone,
    /// A node that lives is asked whether it is empty.
    NodeEmpty,
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// Object groups, 1 or 2.
    pub groups: usize,
    /// Whether the node may die.
    pub dies: bool,
    /// What is taken away.
    pub without: &'static [Safeguard],
}

impl Drain {
    /// Whether the safeguard is there.
    pub(super) fn has(&self, safeguard: Safeguard) -> bool {
        !self.without.contains(&safeguard)
    }
}

impl Model for Drain {
    type State = State;
    type Action = Action;

    fn initial(&self) -> State {
        State::FIRST
    }

    fn actions(&self) -> Vec<Action> {
        let mut all = vec![
            Action::Cordon,
            Action::NodeLearns,
            Action::RootDual,
            Action::RootCut,
            Action::NodeIsEmpty,
            Action::Remove,
        ];
        if self.dies {
            all.push(Action::Die);
        }
        for group in 0..self.groups {
            all.extend([Action::Begin(group), Action::BeginLagging(group)]);
            all.extend([D, E].map(|place| Action::Write(group, place)));
            all.extend([Action::Commit(group), Action::FenceCordon(group)]);
            all.extend([Action::FenceLayout(group), Action::Copy(group)]);
            all.extend([Action::RaiseFloor(group), Action::Repair(group)]);
            all.extend([Action::Clean(group), Action::Tombstone(group)]);
            all.push(Action::AskGroup(group));
        }
        all
    }

    fn step(&self, state: &mut State, action: Action) -> bool {
        let taken = self.take(state, action);
        if taken {
            state.groups.iter_mut().for_each(super::Group::forget);
        }
        taken
    }

    fn always(&self) -> Vec<Property<Self>> {
        vec![
            Property {
                name: "claims: a row's shard is where readers look, or the node died",
                holds: |model, s| {
                    model.groups(s).iter().all(|group| {
                        let at = group.looked_at();
                        group.held() & at != 0 || (s.dead && at == D)
                    })
                },
            },
            Property {
                name: "removal: no row rests on a node that was removed",
                holds: |model, s| {
                    let rests = |group: &super::Group| group.looked_at() == D;
                    !s.removed || !model.groups(s).iter().any(rests)
                },
            },
            Property {
                name: "rest: the drain ends, without waiting for a writer",
                holds: |model, s| model.comes_to_rest(*s),
            },
        ]
    }

    fn sometimes(&self) -> Vec<Property<Self>> {
        vec![
            Property {
                name: "removed alive",
                holds: |_, s| s.removed && !s.dead,
            },
            Property {
                name: "removed dead",
                holds: |_, s| s.removed && s.dead,
            },
            Property {
                name: "a late commit named the node after the cut",
                holds: |_, s| {
                    let late = |g: &super::Group| g.phase == Phase::Cut && g.over == D;
                    s.groups.iter().any(late)
                },
            },
            Property {
                name: "an upload from before the cordon was refused",
                holds: |_, s| {
                    let refused = |g: &super::Group| g.writer == Stage::Refused && g.floor;
                    s.groups.iter().any(refused)
                },
            },
            Property {
                name: "the tombstone refused a commit",
                holds: |_, s| {
                    let refused = |g: &super::Group| g.writer == Stage::Refused && !g.floor;
                    s.groups.iter().any(|g| refused(g) && g.tombstone)
                },
            },
            Property {
                name: "a commit in Dual reached E only",
                holds: |_, s| s.groups.iter().any(|g| g.over == E),
            },
        ]
    }
}

impl Drain {
    fn groups<'a>(&self, s: &'a State) -> &'a [super::Group] {
        &s.groups[..self.groups]
    }

    /// Whoever drains goes on, writers do nothing more: then the node can be removed.
    fn comes_to_rest(&self, mut s: State) -> bool {
        for action in [Action::Cordon, Action::NodeLearns] {
            self.take(&mut s, action);
        }
        let each = |s: &mut State, actions: &[fn(usize) -> Action]| {
            for group in 0..self.groups {
                for action in actions {
                    self.take(s, action(group));
                }
            }
        };
        each(&mut s, &[Action::FenceCordon, Action::RaiseFloor]);
        self.take(&mut s, Action::RootDual);
        each(&mut s, &[Action::FenceLayout, Action::Copy]);
        self.take(&mut s, Action::RootCut);
        each(&mut s, &[Action::FenceLayout, Action::Tombstone]);
        each(&mut s, &[Action::Repair, Action::Clean, Action::AskGroup]);
        self.take(&mut s, Action::NodeIsEmpty);
        s.removed || self.take(&mut s, Action::Remove)
    }
}
