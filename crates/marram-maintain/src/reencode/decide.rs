//! What an extent shall become now, and which node does the work: pure, so that every situation is a
//! test.

use std::collections::{BTreeMap, BTreeSet};

use marram_meta::{ClusterView, Extent, NodeState};
use marram_object::narrow;
use marram_placement::{Apart, PoolTable, Standing, pool_of};
use marram_types::{DataId, DriveId, NodeId, PoolId, Profile};

use crate::moves::Homes;

/// Why an extent is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Its profile is not what its bucket asks for.
    Nominal,
    /// It uses a slot that is to have no drive any more.
    LeaveSlot,
}

/// The places that new data finds: nodes, or drives where a pool is kept apart by those only.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    homes: Homes,
    up: BTreeSet<NodeId>,
    /// Of a pool that is not made yet.
    any: Takers,
    pools: BTreeMap<PoolId, Takers>,
}

/// How many places take data.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Takers {
    /// Whether they answer or not.
    all: usize,
    /// Those of them that answer.
    now: usize,
}

impl Takers {
    /// Nodes or drives, by what is kept apart.
    fn of(apart: Apart, drives: &[(NodeId, DriveId)], up: &BTreeSet<NodeId>) -> Self {
        let count = |of: &mut dyn Iterator<Item = &(NodeId, DriveId)>| match apart {
            Apart::Nodes => of.map(|(node, _)| *node).collect::<BTreeSet<_>>().len(),
            Apart::Drives => of.count(),
        };
        Self {
            all: count(&mut drives.iter()),
            now: count(&mut drives.iter().filter(|(node, _)| up.contains(node))),
        }
    }
}

impl Room {
    pub(super) fn of(view: &ClusterView, is_up: impl Fn(NodeId) -> bool) -> Self {
        let active = view.nodes.values().filter(|n| n.state == NodeState::Active);
        let up: BTreeSet<NodeId> = active.map(|n| n.node).filter(|n| is_up(*n)).collect();
        let nodes = view.nodes.values();
        let takers: Vec<(NodeId, DriveId)> = nodes
            .clone()
            .flat_map(|node| {
                let drives = node.drives.iter();
                let taking = drives.filter(|held| node.drive_takes_data(held.drive));
                taking.map(|held| (node.node, held.drive))
            })
            .collect();
        let alone = nodes.filter(|n| n.state == NodeState::Active).count() == 1;
        let apart = if alone { Apart::Drives } else { Apart::Nodes };
        let seats = view.seats();
        let of_pool = |table: &PoolTable| Takers::of(view.apart_in(table, &seats), &takers, &up);
        let pools = view.pools.iter();
        Self {
            homes: Homes::of(view),
            any: Takers::of(apart, &takers, &up),
            pools: pools.map(|(pool, table)| (*pool, of_pool(table))).collect(),
            up,
        }
    }

    /// The places for the stripes of a profile.
    fn takers(&self, profile: Profile) -> Takers {
        let of_pool = self.pools.get(&pool_of(profile.width()));
        of_pool.copied().unwrap_or(self.any)
    }

    /// Nodes that answer.
    pub(super) fn up(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.up.iter().copied()
    }

    /// Whether nothing comes from a drive any more.
    pub(super) fn is_gone(&self, drive: DriveId) -> bool {
        self.homes.standing(drive) == Standing::Gone
    }
}

/// The profile that a new extent gets in so many places (rules.md 18): k shrinks, m does not.
fn fitted(nominal: Profile, places: usize) -> Option<Profile> {
    narrow(nominal, &vec![true; places])
        .ok()
        .map(|shape| shape.profile)
}

/// The profile that an extent shall be encoded anew with now; none when there is nothing to gain now.
/// The best that the cluster's nodes can hold is the goal: a step half-way would be paid for twice.
/// Only what survives fewer losses than it should takes what there is.
pub(super) fn wanted(
    extent: &Extent,
    nominal: Profile,
    need: Need,
    room: &Room,
) -> Option<Profile> {
    let takers = room.takers(nominal);
    let goal = fitted(nominal, takers.all)?;
    let fits = goal.width() <= takers.now;
    let has = extent.profile;
    // A promise is never lowered, but for what is more than the bucket asks for.
    if goal.m() < has.m().min(nominal.m()) {
        return None;
    }
    match need {
        Need::LeaveSlot => fits.then_some(goal),
        Need::Nominal if has.m() < nominal.m() => {
            let best = if fits {
                goal
            } else {
                fitted(nominal, takers.now)?
            };
            (best.m() > has.m()).then_some(best)
        }
        Need::Nominal => {
            let is_more = has.k() > nominal.k() || has.m() > nominal.m();
            let gains = if is_more {
                goal != has
            } else {
                goal.k() > has.k()
            };
            (fits && gains).then_some(goal)
        }
    }
}

/// The nodes that may do the work on an extent, its own first: each extent orders them in its own
/// way, so that all nodes get as much and one that is asked again is the same.
pub(super) fn candidates(data: DataId, up: &BTreeSet<NodeId>) -> Vec<NodeId> {
    let score = |node: &NodeId| {
        let mixed = data.random ^ node.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    };
    let mut nodes: Vec<NodeId> = up.iter().copied().collect();
    nodes.sort_by_key(|node| (score(node), *node));
    nodes
}

#[cfg(test)]
mod tests {
    use marram_types::{GroupId, PgId};

    use super::*;

    fn profile(text: &str) -> Profile {
        text.parse().expect("a profile")
    }

    fn extent(written: &str) -> Extent {
        let written = profile(written);
        Extent {
            data: data(1),
            pg: PgId {
                pool: PoolId(6),
                index: 0,
            },
            profile: written,
            cell: 1 << 20,
            length: 1,
            slots: (0..u8::try_from(written.width()).expect("small")).collect(),
            missing: 0,
            overrides: Vec::new(),
        }
    }

    fn data(random: u64) -> DataId {
        DataId {
            group: GroupId(1),
            begin: 1,
            random,
        }
    }

    fn room(all: usize, now: usize) -> Room {
        Room {
            any: Takers { all, now },
            ..Room::default()
        }
    }

    fn becomes(has: &str, nominal: &str, need: Need, takers: usize, now: usize) -> Option<String> {
        let wanted = wanted(&extent(has), profile(nominal), need, &room(takers, now));
        wanted.map(|profile| profile.to_string())
    }

    #[test]
    fn narrow_extents_wait_for_the_whole_width() {
        let of = |has, takers, now| becomes(has, "4+2", Need::Nominal, takers, now);
        assert_eq!(of("2+2", 6, 6).as_deref(), Some("4+2"));
        assert_eq!(of("2+2", 6, 5), None, "the sixth may come back");
        assert_eq!(of("2+2", 5, 5).as_deref(), Some("3+2"), "there is no sixth");
        assert_eq!(of("3+2", 5, 5), None);
        assert_eq!(of("2+2", 4, 4), None);
        assert_eq!(of("4+2", 6, 6), None);
    }

    #[test]
    fn weak_extents_take_what_there_is() {
        let of = |has, nominal, takers, now| becomes(has, nominal, Need::Nominal, takers, now);
        assert_eq!(of("1+1", "4+2", 6, 6).as_deref(), Some("4+2"));
        assert_eq!(of("1+1", "4+2", 6, 4).as_deref(), Some("2+2"));
        assert_eq!(of("1+1", "4+2", 6, 3).as_deref(), Some("1+2"));
        assert_eq!(of("1+1", "4+2", 6, 2), None);
        assert_eq!(of("1+1", "1+2", 2, 2), None);
        assert_eq!(of("2+1", "4+2", 6, 6).as_deref(), Some("4+2"));
        assert_eq!(of("4+1", "4+3", 6, 6).as_deref(), Some("3+3"));
    }

    #[test]
    fn what_has_more_than_it_should_follows_the_profile() {
        let of = |has, nominal, takers, now| becomes(has, nominal, Need::Nominal, takers, now);
        assert_eq!(of("8+4", "4+2", 12, 12).as_deref(), Some("4+2"));
        assert_eq!(of("1+2", "1+1", 6, 6).as_deref(), Some("1+1"));
        assert_eq!(of("8+2", "4+2", 12, 5), None);
        assert_eq!(of("2+3", "4+2", 6, 6).as_deref(), Some("4+2"));
    }

    #[test]
    fn a_slot_is_left_without_a_promise_lowered() {
        let of = |has, nominal, takers, now| becomes(has, nominal, Need::LeaveSlot, takers, now);
        assert_eq!(of("4+2", "4+2", 4, 4).as_deref(), Some("2+2"));
        assert_eq!(of("4+2", "4+2", 4, 3), None, "one is away for a moment");
        assert_eq!(
            of("2+2", "4+2", 4, 4).as_deref(),
            Some("2+2"),
            "in other slots"
        );
        assert_eq!(of("4+2", "4+2", 3, 3).as_deref(), Some("1+2"));
        assert_eq!(of("4+2", "4+2", 2, 2), None);
        assert_eq!(of("1+1", "1+2", 2, 2).as_deref(), Some("1+1"));
    }

    /// Places are nodes, also where those have several drives; drives where nodes never were enough.
    #[test]
    fn places_are_what_the_pool_is_kept_apart_by() {
        let places = |nodes: u64, drives: u64, gone: u64| {
            let mut view = crate::health::testing::wide(nodes, drives, "4+2");
            for node in view.nodes.values_mut().filter(|n| n.node.0 <= gone) {
                node.duty = marram_meta::NodeDuty::Fenced;
            }
            let room = Room::of(&view, |_| true);
            let takers = room.takers(profile("4+2"));
            (takers.all, takers.now)
        };
        assert_eq!(places(6, 2, 0), (6, 6));
        assert_eq!(places(6, 2, 1), (5, 5));
        assert_eq!(places(1, 6, 0), (6, 6));
        assert_eq!(places(2, 3, 0), (6, 6));
    }

    #[test]
    fn all_nodes_get_their_share() {
        let up: BTreeSet<NodeId> = (1..=6).map(|n| NodeId(n * 7)).collect();
        let mut shares: BTreeMap<NodeId, usize> = BTreeMap::new();
        for random in 0..6000_u64 {
            let id = data(random.wrapping_mul(0x1234_5678_9abc_def1));
            let order = candidates(id, &up);
            assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), up);
            *shares.entry(order[0]).or_default() += 1;
            // Without its first choice an extent has its second.
            let mut fewer = up.clone();
            fewer.remove(&order[0]);
            assert_eq!(candidates(id, &fewer), order[1..]);
        }
        assert!(
            shares.values().all(|share| (800..1200).contains(share)),
            "{shares:?}"
        );
    }
}
