//! One node more: a replica, a token with the zone of the host that the pod landed on, a member.

use crate::api::{Operation, OperationKind, Phase};
use crate::step::{Act, Step, advanced, create, started, tokens, waits};
use crate::view::{View, is_up};

/// Before the replica: a claim that an emptied member left behind makes room.
pub(super) fn begin(view: &View) -> Operation {
    let from = view.replicas();
    let mut operation = started(view, OperationKind::Grow, Phase::Clearing, (from, from + 1));
    operation.pods = vec![view.names.pod(from)];
    operation
}

pub(super) fn step(view: &View, operation: &Operation) -> Step {
    let ordinal = operation.from;
    match operation.phase {
        Phase::Clearing => match view.claims.get(&ordinal) {
            Some(claim) if claim.deleting => waits(operation, format!("{} goes", claim.name)),
            // Nothing is left on it: that was made sure of before its member was removed.
            Some(claim) if claim.retired => Step::Act(Act::DeleteClaim {
                claim: claim.name.clone(),
                uid: claim.uid.clone(),
            }),
            _ => advanced(view, operation, Phase::Starting),
        },
        // The replicas follow from the phase.
        Phase::Starting if view.replicas() >= operation.to => {
            advanced(view, operation, Phase::Joining)
        }
        Phase::Starting => Step::Rest,
        _ => joining(view, operation, ordinal),
    }
}

fn joining(view: &View, operation: &Operation, ordinal: i32) -> Step {
    let name = view.names.pod(ordinal);
    let may_join = view.member(&name).is_some() || view.tokens.contains_key(&name);
    // A pod that found no place, and so has no token, goes again; one with a token is waited for.
    if !may_join && view.spec.nodes() < operation.to {
        let mut back = operation.clone();
        (back.from, back.to) = (operation.to, operation.from);
        back.kind = OperationKind::Shrink;
        return advanced(view, &back, Phase::Shrinking);
    }
    if view.zones_are_mixed() {
        return waits(operation, create::mixed(view));
    }
    if let Some(step) = tokens::tokens(view, std::slice::from_ref(&name)) {
        return step;
    }
    if view.member(&name).is_some_and(is_up) {
        return Step::End(format!("{name} is a member: {} nodes", operation.to));
    }
    let why = create::trouble(view).unwrap_or_else(|| format!("{name} joins"));
    waits(operation, why)
}
