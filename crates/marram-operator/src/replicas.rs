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
            Some(op) => last.unwrap_or(op.from),
            None => last.unwrap_or(0),
        };
    };
    match operation {
        Some(op) if op.kind == OperationKind::Create => live.max(op.to),
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

    #[test]
    fn only_an_operation_changes_the_number() {
        use OperationKind::{Create, Grow, Shrink, Upgrade};
        type Case = (
            Option<i32>,
            Option<(OperationKind, Phase, i32, i32)>,
            Option<i32>,
            i32,
        );
        let cases: [(Case, &str); 13] = [
            (
                (None, Some((Create, Phase::Starting, 0, 3)), None, 3),
                "first",
            ),
            (
                (Some(3), Some((Create, Phase::Joining, 0, 3)), Some(3), 3),
                "again",
            ),
            (
                (Some(4), Some((Create, Phase::Joining, 0, 3)), Some(4), 4),
                "no fewer",
            ),
            (
                (None, Some((Create, Phase::Starting, 0, 3)), Some(5), 5),
                "taken over",
            ),
            (
                (Some(3), Some((Grow, Phase::Starting, 3, 4)), Some(3), 4),
                "one more",
            ),
            (
                (Some(4), Some((Grow, Phase::Starting, 3, 4)), Some(4), 4),
                "not two",
            ),
            (
                (Some(3), Some((Grow, Phase::Joining, 3, 4)), Some(4), 3),
                "a hand",
            ),
            (
                (Some(4), Some((Shrink, Phase::Shrinking, 4, 3)), Some(4), 4),
                "a patch",
            ),
            (
                (Some(3), Some((Shrink, Phase::Shrinking, 4, 3)), Some(4), 3),
                "stays",
            ),
            (
                (
                    Some(6),
                    Some((Upgrade, Phase::Restarting, 6, 6)),
                    Some(6),
                    6,
                ),
                "same",
            ),
            ((Some(6), None, Some(6), 6), "at rest"),
            ((None, None, Some(6), 6), "deleted"),
            (
                (None, Some((Shrink, Phase::Draining, 6, 5)), Some(6), 6),
                "deleted",
            ),
        ];
        for ((live, op, last, expected), what) in cases {
            let op = op.map(|(kind, phase, from, to)| operation(kind, phase, from, to));
            assert_eq!(replicas(live, op.as_ref(), last), expected, "{what}");
        }
    }
}
