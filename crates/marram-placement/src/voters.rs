//! Voters of Raft groups: how many, and on which nodes.

use marram_types::{GroupId, NodeId};

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

/// The nodes that vote in `group`, the first choice for its leader first. Voters are dealt out like
/// cards, so that nodes hold equally many replicas, and each group's leader is the member that
/// leads fewest of the groups before it. Any order of `nodes` gives the same answer.
#[must_use]
pub fn group_voters(group: GroupId, nodes: &[NodeId], voters: usize) -> Vec<NodeId> {
    let mut sorted = nodes.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let count = sorted.len();
    let voters = voters.min(count);
    if voters == 0 {
        return Vec::new();
    }
    let mut leads = vec![0_u32; count];
    let mut members = Vec::new();
    for g in 0..=usize::from(group.0) {
        members = (0..voters).map(|i| (g * voters + i) % count).collect();
        let first = (0..voters)
            .min_by_key(|i| leads[members[*i]])
            .expect("there is a voter");
        members.rotate_left(first);
        leads[members[0]] += 1;
    }
    members.into_iter().map(|i| sorted[i]).collect()
}

#[cfg(test)]
mod tests {
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
            let nodes: Vec<_> = (0..count).map(|n| NodeId(100 - n)).collect();
            let voters = voters_for(nodes.len(), 2);
            for groups in [1_u16, 3, 8, 9, 64] {
                let mut holds = vec![0; nodes.len()];
                let mut leads = vec![0; nodes.len()];
                for group in 0..groups {
                    let members = group_voters(GroupId(group), &nodes, voters);
                    let place = |n: &NodeId| nodes.iter().position(|m| m == n).expect("known");
                    assert_eq!(members.len(), voters);
                    leads[place(&members[0])] += 1;
                    members.iter().for_each(|n| holds[place(n)] += 1);
                }
                let gap = |v: &[i32]| v.iter().max().expect("some") - v.iter().min().expect("some");
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
}
