//! Whose clock is wrong, by what the root group's leader sees of all of them.

use std::collections::BTreeMap;

use marram_types::{CLOCKS_APART_MS, NodeId, middle_clock};

/// What was found out about the clocks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Nodes whose clock is far from the middle of all, and how far it is ahead of it, in milliseconds.
    pub(super) wrong: BTreeMap<NodeId, i64>,
    /// Two nodes whose clocks differ so much, without a third to say which one is wrong.
    pub(super) apart: Option<(NodeId, NodeId, u64)>,
}

/// Judges the clocks of `own` and its peers, of which `ahead` says how far each is ahead of its own.
pub(super) fn judge(own: NodeId, ahead: &BTreeMap<NodeId, i64>) -> Judged {
    let Some(middle) = middle_clock(ahead.values().copied()) else {
        let other = ahead
            .iter()
            .find(|(_, ahead)| ahead.abs() >= CLOCKS_APART_MS);
        return Judged {
            wrong: BTreeMap::new(),
            apart: other.map(|(other, ahead)| (own, *other, ahead.unsigned_abs())),
        };
    };
    let all = ahead.iter().map(|(node, ahead)| (*node, *ahead));
    let off = all
        .chain([(own, 0)])
        .map(|(node, ahead)| (node, ahead - middle));
    Judged {
        wrong: off
            .filter(|(_, off)| off.abs() >= CLOCKS_APART_MS)
            .collect(),
        apart: None,
    }
}

impl Judged {
    /// What people should know.
    pub(super) fn notes<'a>(&self, name: &dyn Fn(NodeId) -> &'a str) -> Vec<String> {
        let wrong = self.wrong.iter().map(|(node, ahead)| {
            let way = if *ahead > 0 { "ahead of" } else { "behind" };
            format!(
                "The clock of {} is {} {way} those of the others, and it goes by theirs meanwhile: set its clock.",
                name(*node),
                span(ahead.unsigned_abs())
            )
        });
        let apart = self.apart.map(|(one, other, ms)| {
            format!(
                "The clocks of {} and {} are {} apart, and there is no third to say which one is wrong: set them, one of the two refuses tokens.",
                name(one),
                name(other),
                span(ms)
            )
        });
        wrong.chain(apart).collect()
    }
}

fn span(ms: u64) -> String {
    let s = ms.div_ceil(1000);
    match s {
        0..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        _ => format!("{} h", s / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MIN: i64 = 600_000;

    fn judged(own: u64, ahead: &[(u64, i64)]) -> Judged {
        let ahead = ahead.iter().map(|(node, ahead)| (NodeId(*node), *ahead));
        judge(NodeId(own), &ahead.collect())
    }

    fn said(judged: &Judged) -> Vec<String> {
        let name =
            |node: NodeId| ["?", "one", "two", "three"][usize::try_from(node.0).unwrap_or(0)];
        judged.notes(&name)
    }

    #[test]
    fn whoever_leads_names_the_same_nodes() {
        // Node 2 is ahead and node 3 behind; node 1 is right, whoever looks.
        let wrong = BTreeMap::from([(NodeId(2), TEN_MIN), (NodeId(3), -TEN_MIN)]);
        for (own, ahead) in [
            (1, [(2, TEN_MIN), (3, -TEN_MIN)]),
            (2, [(1, -TEN_MIN), (3, -2 * TEN_MIN)]),
            (3, [(1, TEN_MIN), (2, 2 * TEN_MIN)]),
        ] {
            let judged = judged(own, &ahead);
            assert_eq!(judged.wrong, wrong, "node {own} looks");
            let said = said(&judged);
            assert!(
                said[0].contains("The clock of two is 10 min ahead of"),
                "{said:?}"
            );
            assert!(
                said[1].contains("The clock of three is 10 min behind"),
                "{said:?}"
            );
        }
    }

    #[test]
    fn small_differences_are_nobodys_affair() {
        let fine = judged(1, &[(2, 4_000), (3, -300)]);
        assert_eq!(fine, Judged::default());
        assert_eq!(judged(1, &[]), Judged::default());
        assert_eq!(judged(1, &[(2, 400)]), Judged::default());
    }

    #[test]
    fn of_two_clocks_nobody_knows_which_is_wrong() {
        let two = judged(1, &[(2, -TEN_MIN)]);
        assert!(two.wrong.is_empty());
        let said = said(&two);
        assert!(said[0].contains("one and two are 10 min apart"), "{said:?}");
    }
}
