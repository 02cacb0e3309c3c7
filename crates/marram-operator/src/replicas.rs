//! How many replicas the StatefulSet has: a function of what it has, and of the operation that is written
//! down. What a person wishes begins an operation; it never reaches the StatefulSet by itself.

use crate::api::{Operation, OperationKind, Phase};

/// The replicas to apply. `live` are those that the StatefulSet has, if there is one; `last` those it had
/// when it was last seen.
#[must_use]
pub fn replicas(live: Option<i32>, operation: Option<&Operation>, last: Option<i32>) -> i32 {
    let Some(live) = live else {
        // It is made, or was deleted by hand: then it comes back as large as it was.
        return match operation {
            Some(op) if op.kind == OperationKind::Create => op.to.max(last.unwrap_or(0)),
            Some(op) if op.kind == OperationKind::Hibernate => match op.phase {
                Phase::Waking => op.from,
                Phase::Asleep | Phase::Stopping => op.to,
                _ => last.unwrap_or(op.from),
            },
            Some(op) => last.unwrap_or(op.from),
            None => last.unwrap_or(0),
        };
    };
    match operation {
        Some(op) if op.kind == OperationKind::Create => live.max(op.to),
        Some(op) if op.kind == OperationKind::Hibernate && op.phase == Phase::Waking => {
            live.max(op.from)
        }
        Some(op) if op.kind == OperationKind::Grow && op.phase == Phase::Starting => {
            // One more, from the number that was written down: never two for one decision.
            if live == op.from { op.to } else { live }
        }
        // Taking one away is a patch of its own, which tests the number that it changes.
        _ => live,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::operation;

    /// What is written down: kind, phase, and replicas before and after.
    type Written = Option<(OperationKind, Phase, i32, i32)>;

    /// Live replicas, what is written down, those seen last, and what is to be applied.
    type Case = (Option<i32>, Written, Option<i32>, i32, &'static str);

    fn expect(cases: &[Case]) {
        for (live, op, last, expected, what) in cases {
            let op = op.map(|(kind, phase, from, to)| operation(kind, phase, from, to));
            assert_eq!(replicas(*live, op.as_ref(), *last), *expected, "{what}");
        }
    }

    #[test]
    fn a_cluster_that_is_made_is_as_large_as_it_is_written_down() {
        use Phase::{Joining, Starting};
        let create = |phase| Some((OperationKind::Create, phase, 0, 3));
        expect(&[
            (None, create(Starting), None, 3, "first"),
            (Some(3), create(Joining), Some(3), 3, "again"),
            (Some(4), create(Joining), Some(4), 4, "no fewer"),
            (None, create(Starting), Some(5), 5, "taken over"),
        ]);
    }

    #[test]
    fn only_an_operation_changes_the_number() {
        use OperationKind::{Grow, Shrink, Upgrade};
        use Phase::{Draining, Joining, Restarting, Shrinking, Starting};
        let upgrade = Some((Upgrade, Restarting, 6, 6));
        expect(&[
            (
                Some(3),
                Some((Grow, Starting, 3, 4)),
                Some(3),
                4,
                "one more",
            ),
            (Some(4), Some((Grow, Starting, 3, 4)), Some(4), 4, "not two"),
            (Some(3), Some((Grow, Joining, 3, 4)), Some(4), 3, "a hand"),
            (
                Some(4),
                Some((Shrink, Shrinking, 4, 3)),
                Some(4),
                4,
                "a patch",
            ),
            (
                Some(3),
                Some((Shrink, Shrinking, 4, 3)),
                Some(4),
                3,
                "stays",
            ),
            (Some(6), upgrade, Some(6), 6, "same"),
            (Some(6), None, Some(6), 6, "at rest"),
            (None, None, Some(6), 6, "deleted"),
            (None, Some((Shrink, Draining, 6, 5)), Some(6), 6, "deleted"),
        ]);
    }

    #[test]
    fn a_cluster_that_wakes_has_as_many_as_before() {
        use Phase::{Asleep, Stopping, Verifying, Waking};
        let sleeps = |phase| Some((OperationKind::Hibernate, phase, 3, 0));
        expect(&[
            (Some(3), sleeps(Verifying), Some(3), 3, "not yet"),
            (None, sleeps(Verifying), Some(3), 3, "deleted before"),
            (Some(2), sleeps(Stopping), Some(3), 2, "a patch"),
            (Some(0), sleeps(Asleep), Some(0), 0, "asleep"),
            (None, sleeps(Asleep), Some(0), 0, "deleted asleep"),
            (Some(0), sleeps(Waking), Some(0), 3, "as before"),
            (Some(4), sleeps(Waking), Some(4), 4, "no fewer"),
            (
                None,
                sleeps(Waking),
                Some(0),
                3,
                "deleted asleep, and wakes",
            ),
        ]);
    }
}
