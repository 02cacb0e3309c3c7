//! Voters of Raft groups: how many, and on which nodes.

use std::collections::BTreeMap;

use marram_types::NodeId;

/// Voters of a group in a cluster of `nodes` nodes whose most demanding bucket has `m` parity
/// shards (rules.md 7): 1 at 1-2 nodes, 3 at 3-4, 5 from 5 on, `2m + 1` when `m` is above 2, as far
/// as nodes allow. Always odd, because an even voter adds no tolerance.
#[must_use]
pub fn voters_for(nodes: usize, m: usize) -> usize {
    let base = match nodes {
        0..=2 => 1,
        3 | 4 => 3,
        _ => 5,
    };
    let largest_odd = if nodes.is_multiple_of(2) {
        nodes.saturating_sub(1)
    } else {
        nodes
    };
    if m > 2 {
        (2 * m + 1).min(largest_odd).max(base)
    } else {
        base
    }
}

/// Lost nodes that `voters` voters survive. A bucket's `m` may not exceed it (rules.md 7): the
/// cluster survives the smaller of what data and metadata survive.
#[must_use]
pub fn tolerated_by(voters: usize) -> usize {
    voters.saturating_sub(1) / 2
}

/// The nodes that vote in each of `groups` groups, in each the first choice for its leader first.
///
/// Votes are dealt out like cards: the next vote of a group goes to the zone that has fewest of that
/// group's, so that losing a zone costs as few votes as zones allow; between equals to the zone whose
/// nodes hold fewest in all, and there to the node that holds fewest. A group's leader is the member
/// that leads fewest of the groups before it. Nodes of one zone name, the empty one too, are one zone.
/// Any order of `nodes` gives the same answer.
#[must_use]
pub fn deal_votes(groups: u16, nodes: &[(NodeId, &str)], voters: usize) -> Vec<Vec<NodeId>> {
    let sorted: BTreeMap<NodeId, &str> = nodes.iter().copied().collect();
    let ids: Vec<NodeId> = sorted.keys().copied().collect();
    let mut zones: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, zone) in sorted.values().enumerate() {
        zones.entry(zone).or_default().push(place);
    }
    let mut dealer = Dealer {
        zones: zones.into_values().collect(),
        holds: vec![0; ids.len()],
        leads: vec![0; ids.len()],
    };
    let members = (0..groups).map(|_| dealer.deal(voters.min(ids.len())));
    members
        .map(|members| members.into_iter().map(|place| ids[place]).collect())
        .collect()
}

/// What was dealt so far. Nodes are places in the order of their ids.
struct Dealer {
    /// The nodes of each zone.
    zones: Vec<Vec<usize>>,
    /// Votes of each node.
    holds: Vec<usize>,
    /// Groups that each node leads first.
    leads: Vec<usize>,
}

impl Dealer {
    /// The members of the next group, the one to lead first.
    fn deal(&mut self, voters: usize) -> Vec<usize> {
        let mut members = Vec::with_capacity(voters);
        let mut here = vec![0_usize; self.zones.len()];
        for _ in 0..voters {
            let zone = self
                .next_zone(&here)
                .expect("there are as many nodes as votes");
            let free = { self.zones[zone].iter() }.filter(|node| !members.contains(*node));
            let node = *free
                .min_by_key(|node| (self.holds[**node], **node))
                .expect("a zone with a free node was chosen");
            here[zone] += 1;
            self.holds[node] += 1;
            members.push(node);
        }
        if let Some(first) = (0..voters).min_by_key(|i| self.leads[members[*i]]) {
            members.rotate_left(first);
            self.leads[members[0]] += 1;
        }
        members
    }

    /// The zone that the next vote of a group goes to that has `here` votes in each.
    fn next_zone(&self, here: &[usize]) -> Option<usize> {
        let held = |zone: usize| { self.zones[zone].iter() }.map(|n| self.holds[*n]).sum();
        let free = (0..here.len()).filter(|zone| here[*zone] < self.zones[*zone].len());
        free.min_by(|a, b| {
            let (in_a, in_b): (usize, usize) = (held(*a), held(*b));
            let by_nodes = (in_a * self.zones[*b].len()).cmp(&(in_b * self.zones[*a].len()));
            here[*a].cmp(&here[*b]).then(by_nodes).then(a.cmp(b))
        })
    }
}

/// How many of `voters`, given by their zones, are in `zone`.
#[must_use]
pub fn votes_in<'a>(voters: impl IntoIterator<Item = &'a str>, zone: &str) -> usize {
    voters.into_iter().filter(|voter| *voter == zone).count()
}

/// The zone that should give one vote away because others could have it: the one with most votes, if
/// a zone of a candidate has at least two fewer. Each such move makes the zones more equal, and none
/// can be undone by another, so that votes come to rest.
#[must_use]
pub fn crowded_zone<'a>(
    voters: &[&'a str],
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let votes = |zone: &str| votes_in(voters.iter().copied(), zone);
    let fewest = candidates.into_iter().map(votes).min()?;
    // Between equals the zone whose name comes first.
    let crowded = { voters.iter().copied() }.max_by(|a, b| votes(a).cmp(&votes(b)).then(b.cmp(a)));
    crowded.filter(|zone| relieves(votes(zone), fewest))
}

/// Whether a vote should go from a zone with `from` of them to one with `to`.
#[must_use]
pub fn relieves(from: usize, to: usize) -> bool {
    from >= to + 2
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_of_rule_7() {
        let base: Vec<_> = [1, 2, 3, 4, 5, 6, 100].map(|n| voters_for(n, 2)).into();
        assert_eq!(base, [1, 1, 3, 3, 5, 5, 5]);
        assert_eq!(voters_for(12, 3), 7);
        assert_eq!(voters_for(6, 3), 5, "seven voters need seven nodes");
        assert_eq!(voters_for(8, 4), 7);
        assert_eq!(
            (tolerated_by(1), tolerated_by(5), tolerated_by(7)),
            (0, 2, 3)
        );
        for nodes in 1..20 {
            for m in 0..=8 {
                let voters = voters_for(nodes, m);
                assert!(voters % 2 == 1 && voters <= nodes.max(1));
            }
        }
    }

    /// Replicas and leaders differ by at most one between nodes, whatever the sizes.
    #[test]
    fn voters_and_leaders_are_spread_evenly() {
        for count in 1..=15_u64 {
            let nodes: Vec<_> = (0..count).map(|n| (NodeId(100 - n), "z")).collect();
            let voters = voters_for(nodes.len(), 2);
            for groups in [1_u16, 3, 8, 9, 64] {
                let dealt = deal_votes(groups, &nodes, voters);
                let (holds, leads) = tally(&nodes, &dealt);
                assert!(
                    gap(&holds) <= 1,
                    "{count} nodes, {groups} groups: {holds:?}"
                );
                assert!(
                    gap(&leads) <= 1,
                    "{count} nodes, {groups} groups: {leads:?}"
                );
            }
        }
    }

    #[test]
    fn a_zone_has_no_more_votes_than_it_must() {
        let nodes = [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b"), (6, "c")];
        let nodes = nodes.map(|(id, zone)| (NodeId(id), zone));
        for members in deal_votes(8, &nodes, 5) {
            let zone = |node: &NodeId| nodes.iter().find(|n| n.0 == *node).expect("known").1;
            let count = |z| votes_in(members.iter().map(zone), z);
            assert_eq!((count("a"), count("b"), count("c")), (2, 2, 1));
        }
        assert!(deal_votes(3, &[], 1).iter().all(Vec::is_empty));
    }

    #[test]
    fn a_crowded_zone_gives_a_vote_only_where_that_helps() {
        let five = ["a", "a", "a", "b", "b"];
        assert_eq!(crowded_zone(&five, ["c"]), Some("a"));
        assert_eq!(crowded_zone(&five, ["a", "b"]), None);
        assert_eq!(crowded_zone(&["a", "a", "b", "b", "c"], ["c"]), None);
        assert_eq!(crowded_zone(&["b", "b", "a", "a"], ["c"]), Some("a"));
        assert_eq!(crowded_zone(&["a"], ["b"]), None, "one vote has no spread");
        assert_eq!(crowded_zone(&five, []), None);
    }

    fn tally(nodes: &[(NodeId, &str)], dealt: &[Vec<NodeId>]) -> (Vec<usize>, Vec<usize>) {
        let mut holds = vec![0; nodes.len()];
        let mut leads = vec![0; nodes.len()];
        let place = |n: &NodeId| nodes.iter().position(|(m, _)| m == n).expect("known");
        for members in dealt {
            leads[place(&members[0])] += 1;
            members.iter().for_each(|n| holds[place(n)] += 1);
        }
        (holds, leads)
    }

    fn gap(of: &[usize]) -> usize {
        of.iter().max().expect("some") - of.iter().min().expect("some")
    }

    fn zones() -> impl Strategy<Value = (Vec<usize>, u16, usize)> {
        (vec(1..=7_usize, 1..=6), 1..=40_u16, 0..=4_usize)
    }

    const NAMES: [&str; 6] = ["", "b", "c", "d", "e", "f"];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// In every group: as many different nodes as votes, and no zone has two votes more than one
        /// that has a node without a vote. In all: nodes of one zone hold equally many, and no zone
        /// of the same size has more than one vote more for each of its nodes.
        #[test]
        fn votes_are_spread_by_zone_and_then_by_node((sizes, groups, m) in zones()) {
            let names = NAMES.iter().zip(&sizes);
            let zone_of = names.flat_map(|(name, size)| std::iter::repeat_n(*name, *size));
            let nodes: Vec<_> = (1..).map(NodeId).zip(zone_of).collect();
            let voters = voters_for(nodes.len(), m);
            let dealt = deal_votes(groups, &nodes, voters);
            prop_assert_eq!(dealt.len(), usize::from(groups));
            let backwards: Vec<_> = nodes.iter().rev().copied().collect();
            prop_assert_eq!(&deal_votes(groups, &backwards, voters), &dealt);
            for members in &dealt {
                let distinct: BTreeSet<_> = members.iter().collect();
                prop_assert_eq!((distinct.len(), members.len()), (voters, voters));
                let votes = |name: &str| {
                    let of = nodes.iter().filter(|(n, z)| *z == name && members.contains(n));
                    of.count()
                };
                let most = NAMES.map(votes).into_iter().max().expect("six names");
                for (name, size) in NAMES.iter().zip(&sizes) {
                    prop_assert!(votes(name) == *size || votes(name) + 1 >= most);
                }
            }
            let (holds, _) = tally(&nodes, &dealt);
            for name in NAMES {
                let of = nodes.iter().zip(&holds).filter(|((_, zone), _)| *zone == name);
                let of: Vec<_> = of.map(|(_, held)| *held).collect();
                prop_assert!(of.is_empty() || gap(&of) <= 1, "{name}: {of:?}");
            }
        }

        /// Moving one vote after another out of the crowded zone ends, and where it ends no zone has
        /// two votes more than one with a node to spare.
        #[test]
        fn crowded_zones_come_to_rest((sizes, _, m) in zones(), first in 0..6_usize) {
            let names = NAMES.iter().zip(&sizes);
            let mut spare: Vec<_> = names
                .flat_map(|(name, size)| std::iter::repeat_n(*name, *size))
                .collect();
            let count = voters_for(spare.len(), m);
            let turn = first % spare.len();
            spare.rotate_left(turn);
            let mut voting = spare.split_off(spare.len() - count);
            let mut moves = 0;
            while let Some(from) = crowded_zone(&voting, spare.iter().copied()) {
                let most = votes_in(voting.iter().copied(), from);
                let crowd = |zone: &str| votes_in(voting.iter().copied(), zone);
                let to = (0..spare.len()).min_by_key(|to| crowd(spare[*to])).expect("so it says");
                prop_assert!(relieves(most, crowd(spare[to])));
                let left = voting.iter().position(|zone| *zone == from).expect("it votes");
                std::mem::swap(&mut spare[to], &mut voting[left]);
                moves += 1;
                prop_assert!(moves <= count, "votes do not come to rest");
            }
            let votes = |zone: &str| votes_in(voting.iter().copied(), zone);
            let most = voting.iter().map(|zone| votes(zone)).max().unwrap_or(0);
            prop_assert!(spare.iter().all(|zone| votes(zone) + 1 >= most));
        }
    }
}
