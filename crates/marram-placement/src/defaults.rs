//! The profile of a new cluster.

use marram_types::Profile;

/// The profile that a cluster of `nodes` nodes starts with. A single node
/// codes over its own drives; `drives_of_smallest_node` counts only then.
#[must_use]
pub fn default_profile(nodes: usize, drives_of_smallest_node: usize) -> Profile {
    let (k, m) = match nodes {
        0 | 1 => match drives_of_smallest_node {
            0 | 1 => (1, 0),
            2 => (1, 1),
            3 => (2, 1),
            4 => (2, 2),
            5 => (3, 2),
            _ => (4, 2),
        },
        2 => (1, 1),
        3..=5 => (1, 2),
        6..=11 => (4, 2),
        _ => (8, 3),
    };
    Profile::new(k, m).expect("the profiles above are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_size_as_documented() {
        let of = |nodes, drives| default_profile(nodes, drives).to_string();
        let single: Vec<_> = (1..=7).map(|drives| of(1, drives)).collect();
        assert_eq!(single, ["1+0", "1+1", "2+1", "2+2", "3+2", "4+2", "4+2"]);
        let many: Vec<_> = [2, 3, 5, 6, 11, 12, 100].map(|n| of(n, 1)).into();
        assert_eq!(many, ["1+1", "1+2", "1+2", "4+2", "4+2", "8+3", "8+3"]);
    }

    #[test]
    fn a_default_never_needs_more_nodes_than_there_are() {
        for nodes in 2..40 {
            assert!(default_profile(nodes, 1).width() <= nodes);
        }
    }
}
