//! The steps of the drain model.

use super::model::{Drain, Safeguard};
use super::state::{D, E, Phase, Places, Stage, State};

/// One atomic step; numbers are object groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A writer gets its token from a replica that is current.
    Begin(usize),
    /// It gets it from one that lags: the first row, and an index from before the cordon.
    BeginLagging(usize),
    /// Its shard is durable at a place.
    Write(usize, Places),
    /// Its commit entry is applied.
    Commit(usize),
    /// Root: the node is to go.
    Cordon,
    /// The node learns that it is cordoned.
    NodeLearns,
    /// A group learns of the cordon: its index is the one the floor is raised to.
    FenceCordon(usize),
    /// Root: the move begins.
    RootDual,
    /// Root: all groups are copied, the new place is read.
    RootCut,
    /// A group learns the phase of the move.
    FenceLayout(usize),
    /// What a group's rows name is verified at the new place.
    Copy(usize),
    /// After the grace for uploads a group raises its floor to the cordon's index.
    RaiseFloor(usize),
    /// What an override names is brought to its place, and the override taken away.
    Repair(usize),
    /// The node deletes what the group lets it.
    Clean(usize),
    /// The group learns that the node is about to be removed.
    Tombstone(usize),
    /// The group is asked what names the node: nothing.
    AskGroup(usize),
    /// The node is asked: it is cordoned and holds no record.
    NodeIsEmpty,
    /// Root: the node is removed, its drives are thrown away.
    Remove,
    /// The node dies with all it holds.
    Die,
}

impl Drain {
    /// Takes a step; false when the state does not allow it.
    pub(super) fn take(&self, s: &mut State, action: Action) -> bool {
        match action {
            Action::Begin(g) => {
                let group = &s.groups[g];
                begin(s, g, !group.cordoned, group.phase.must_hold())
            }
            Action::BeginLagging(g) => begin(s, g, true, D),
            Action::Write(g, place) => self.write(s, g, place),
            Action::Commit(g) => self.commit(s, g),
            Action::Cordon => !std::mem::replace(&mut s.cordoned, true),
            Action::NodeLearns => {
                s.cordoned && !s.dead && !std::mem::replace(&mut s.node_cordoned, true)
            }
            Action::FenceCordon(g) => {
                let refused = s.node_cordoned || s.dead || !self.has(Safeguard::NodeFirst);
                let fenced = s.cordoned && refused;
                fenced && !std::mem::replace(&mut s.groups[g].cordoned, true)
            }
            Action::RootDual => {
                let taken = s.cordoned && s.phase == Phase::Stable;
                s.phase = if taken { Phase::Dual } else { s.phase };
                taken
            }
            Action::RootCut => {
                let copied = s.groups[..self.groups].iter().all(|group| group.copied);
                let taken = copied && s.phase == Phase::Dual;
                s.phase = if taken { Phase::Cut } else { s.phase };
                taken
            }
            Action::FenceLayout(g) => {
                let newer = s.phase > s.groups[g].phase;
                s.groups[g].phase = s.phase;
                newer
            }
            Action::Copy(g) => copy(s, g),
            Action::RaiseFloor(g) => {
                let group = &mut s.groups[g];
                let raised = group.cordoned && self.has(Safeguard::FloorRaised);
                raised && !std::mem::replace(&mut group.floor, true)
            }
            Action::Repair(g) => repair(s, g),
            Action::Clean(g) => clean(s, g),
            Action::Tombstone(g) => {
                s.phase == Phase::Cut && !std::mem::replace(&mut s.groups[g].tombstone, true)
            }
            Action::AskGroup(g) => self.ask_group(s, g),
            Action::NodeIsEmpty => {
                let groups = &s.groups[..self.groups];
                let empty = groups.iter().all(|g| (g.first | g.second) & D == 0);
                let said = empty && s.node_cordoned && !s.dead;
                said && !std::mem::replace(&mut s.empty, true)
            }
            Action::Remove => self.remove(s),
            Action::Die => {
                for group in &mut s.groups {
                    group.first &= !D;
                    group.second &= !D;
                }
                !s.removed && !std::mem::replace(&mut s.dead, true)
            }
        }
    }

    fn write(&self, s: &mut State, g: usize, place: Places) -> bool {
        let refuses = s.node_cordoned && self.has(Safeguard::NodeRefuses);
        let absent = s.dead || s.removed || refuses;
        let group = &mut s.groups[g];
        let wanted = group.must & !group.wrote & place != 0;
        // When D cannot be had, another node is taken, and E stands for any other.
        let instead = absent && place == E && group.wrote & E == 0;
        let possible = if place == D {
            wanted && !absent
        } else {
            wanted || instead
        };
        if group.writer != Stage::Begun || !possible {
            return false;
        }
        group.second |= place;
        group.wrote |= place;
        true
    }

    fn commit(&self, s: &mut State, g: usize) -> bool {
        let group = &mut s.groups[g];
        if group.writer != Stage::Begun || group.wrote == 0 {
            return false;
        }
        let gone = if group.tombstone && self.has(Safeguard::Tombstone) {
            D
        } else {
            0
        };
        let wrote = group.wrote & !gone;
        if (group.early && group.floor) || wrote == 0 {
            group.writer = Stage::Refused;
            return true;
        }
        let must = group.phase.must_hold();
        group.over = match (must & !wrote, wrote & must) {
            (0, _) => 0,
            (_, 0) => wrote,
            (_, preferred) => preferred,
        };
        group.writer = Stage::Done;
        true
    }

    fn ask_group(&self, s: &mut State, g: usize) -> bool {
        let group = &mut s.groups[g];
        let buried = group.tombstone || !self.has(Safeguard::AskedAfterTombstone);
        let none = !group.names_the_node() || !self.has(Safeguard::GroupsAsked);
        s.cordoned && buried && none && !std::mem::replace(&mut group.proven, true)
    }

    fn remove(&self, s: &mut State) -> bool {
        let proven = |group: &super::Group| group.proven && group.tombstone;
        let groups = s.groups[..self.groups].iter().all(proven);
        let node = s.dead || s.empty || !self.has(Safeguard::NodeEmpty);
        if s.removed || s.phase != Phase::Cut || !groups || !node {
            return false;
        }
        s.removed = true;
        for group in &mut s.groups {
            group.first &= !D;
            group.second &= !D;
        }
        true
    }
}

fn begin(s: &mut State, g: usize, early: bool, must: Places) -> bool {
    let group = &mut s.groups[g];
    if group.writer != Stage::Idle {
        return false;
    }
    group.writer = Stage::Begun;
    (group.early, group.must) = (early, must);
    true
}

/// Copied from the node, or rebuilt from the other slots when it is dead.
fn copy(s: &mut State, g: usize) -> bool {
    let group = &mut s.groups[g];
    if s.phase != Phase::Dual || group.phase != Phase::Dual || group.copied {
        return false;
    }
    if group.overwritten() {
        group.second |= E;
    } else {
        group.first |= E;
    }
    group.copied = true;
    true
}

fn repair(s: &mut State, g: usize) -> bool {
    let group = &mut s.groups[g];
    if group.over == 0 || group.phase != Phase::Cut {
        return false;
    }
    if group.overwritten() {
        group.second |= E;
    } else {
        group.first |= E;
    }
    group.over = 0;
    true
}

/// Displaced data is garbage; uncommitted data is when its commit would be refused by the floor;
/// a live shard may go when the row looks elsewhere and it is there.
fn clean(s: &mut State, g: usize) -> bool {
    let group = &mut s.groups[g];
    let before = (group.first, group.second);
    let elsewhere = group.phase == Phase::Cut && group.looked_at() == E;
    if group.overwritten() {
        group.first = 0;
    } else if elsewhere && group.first & E != 0 {
        group.first &= !D;
    }
    match group.writer {
        Stage::Done if elsewhere && group.second & E != 0 => group.second &= !D,
        Stage::Begun if group.early && group.floor => group.second = 0,
        Stage::Refused if group.floor => group.second = 0,
        _ => {}
    }
    before != (group.first, group.second)
}
