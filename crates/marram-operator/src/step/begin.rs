//! Which operation begins: the most urgent one.

use crate::api::{Operation, OperationKind, OperationType, Phase};
use crate::step::{
    Hold, Step, create, expand, gates, grow, hibernate, replace, requests, shrink, started,
    suspended, tokens, upgrade,
};
use crate::view::View;

/// Operations that may wait at once.
const SUSPENDED_MAX: usize = 4;

/// The first step of whatever is to be done, where nothing is under way.
pub(super) fn begin(view: &View) -> Step {
    let step = first(view);
    let asked = match &step {
        Step::Rest => requests::next(view, |_| true),
        // What a person asks for may be what mends it, and is not about it else.
        Step::Hold(hold) if hold.condition == "DataLossRisk" => requests::next(view, replaces),
        Step::Hold(_) => requests::next(view, |_| true),
        _ => None,
    };
    asked.map_or(step, |operation| Step::Record(Box::new(operation)))
}

fn replaces(kind: OperationType) -> bool {
    kind == OperationType::ReplaceNode
}

/// What is to be done without anybody having asked for it; and the replacement of a node, which is as urgent.
fn first(view: &View) -> Step {
    let record = |operation: Operation| Step::Record(Box::new(operation));
    if view.status.cluster_id.is_none() {
        return match create::without_keys(view) {
            Some(hold) => Step::Hold(hold),
            None => record(creation(view)),
        };
    }
    if let Some(hold) = all_is_gone(view) {
        return Step::Hold(hold);
    }
    if let Some(loss) = replace::loss(view) {
        return match replace::refused(view, &loss) {
            Some(hold) => Step::Hold(hold),
            None => record(replace::begin(view, loss)),
        };
    }
    if let Some(asked) = requests::next(view, replaces) {
        return record(asked);
    }
    let held = match view.spec.hibernate && view.replicas() > 0 {
        true => hibernate::blocked(view),
        false => return change(view),
    };
    match held {
        None => record(hibernate::begin(view)),
        // What stands against it may be what another operation mends.
        Some(held) => or_held(change(view), held),
    }
}

/// What stands against something is said where nothing else is to be done.
fn or_held(step: Step, held: Hold) -> Step {
    match step {
        Step::Rest | Step::Hold(_) => Step::Hold(held),
        step => step,
    }
}

/// The first step of a change of a cluster that is awake.
fn change(view: &View) -> Step {
    if !expand::is_wanted(view) {
        return scale(view);
    }
    match expand::blocked(view) {
        None => Step::Record(Box::new(expand::begin(view))),
        Some(held) => or_held(scale(view), held),
    }
}

/// The first step towards the number of nodes and the template that are wanted.
fn scale(view: &View) -> Step {
    let record = |operation: Operation| Step::Record(Box::new(operation));
    let wanted = view.spec.nodes();
    if view.set.is_some() && wanted > view.replicas() && view.cluster.is_ok() {
        return record(grow::begin(view));
    }
    if upgrade::is_wanted(view) {
        return record(upgrade::begin(view));
    }
    if view.set.is_some() && wanted < view.replicas() {
        return match gates::blocked(view) {
            Some(hold) => Step::Hold(hold),
            None => record(shrink::begin(view)),
        };
    }
    tokens::tokens(view, &[]).unwrap_or(Step::Rest)
}

/// The cluster is founded, or taken over with the volumes that are there: then it is as large as these.
fn creation(view: &View) -> Operation {
    let adopted = create::is_adopted(view);
    let there = view.claims.iter().filter(|(_, claim)| !claim.retired);
    let last = there.map(|(ordinal, _)| ordinal + 1).max();
    let (to, phase) = match adopted {
        true => (last.unwrap_or_else(|| view.spec.nodes()), Phase::Starting),
        false => (view.spec.nodes(), Phase::Keys),
    };
    let mut operation = started(view, OperationKind::Create, phase, (0, to));
    operation.node_id = adopted.then(|| create::ADOPTED.to_owned());
    operation
}

/// A cluster that was founded, of which no volume is left: it is never founded again.
fn all_is_gone(view: &View) -> Option<Hold> {
    let waiting = view.pods.values().filter(|pod| pod.waits_for_token).count();
    let gone = view.cluster.is_err() && waiting > 0 && waiting == view.pods.len();
    gone.then(|| Hold {
        condition: "DataLossRisk",
        reason: "AllVolumesEmpty",
        message: format!(
            "the cluster {} was founded, and all of its {waiting} pods have empty volumes: restore the \
             volumes, or delete the resource and its Secret {} to begin anew",
            view.status.cluster_id.clone().unwrap_or_default(),
            view.names.keys()
        ),
    })
}

/// What is more urgent than the operation under way, which waits meanwhile, if that is at a point where it
/// can.
pub(super) fn preempts(view: &View, operation: &Operation) -> Option<Operation> {
    if operation.kind == OperationKind::Shrink && shrink::may_cancel(view, operation) {
        return Some(shrink::cancellation(view, operation));
    }
    if !may_wait(operation) || operation.suspended.len() >= SUSPENDED_MAX {
        return None;
    }
    let mut urgent = match operation.kind {
        kind if kind >= OperationKind::Drain => anything(view, operation),
        // What does not grow may never do so: it holds nothing up.
        OperationKind::Expand if expand::stands_still(view, operation) => {
            more_urgent(view, operation).or_else(|| beside_expansion(view))
        }
        _ => more_urgent(view, operation),
    }?;
    urgent.suspended = operation.suspended.clone();
    urgent.suspended.push(suspended(operation));
    Some(urgent)
}

/// What would be begun if no volume had to get larger.
fn beside_expansion(view: &View) -> Option<Operation> {
    let sleeps = view.spec.hibernate && hibernate::blocked(view).is_none();
    let step = match sleeps {
        true => Step::Record(Box::new(hibernate::begin(view))),
        false => scale(view),
    };
    match step {
        Step::Record(operation) => Some(*operation),
        Step::Rest | Step::Hold(_) => requests::next(view, |_| true),
        Step::Act(_) | Step::End(_) => None,
    }
}

/// What begins by itself is more urgent than what somebody asked for.
fn anything(view: &View, operation: &Operation) -> Option<Operation> {
    match first(view) {
        Step::Record(urgent) if urgent.kind < operation.kind => Some(*urgent),
        _ => None,
    }
}

fn more_urgent(view: &View, operation: &Operation) -> Option<Operation> {
    if operation.kind > OperationKind::Replace
        && let Some(loss) = replace::loss(view)
        && replace::refused(view, &loss).is_none()
    {
        let urgent = replace::begin(view, loss);
        // A node that is emptied and dies meanwhile is computed from the others: it goes anyway. One that
        // is to join is no loss.
        let own = matches!(operation.kind, OperationKind::Shrink | OperationKind::Grow);
        let same = own && urgent.pods == operation.pods;
        if !same {
            return Some(urgent);
        }
    }
    // Full drives may be what the operation under way waits for.
    let waiting = operation.suspended.iter();
    let expands = waiting
        .chain([&suspended(operation)])
        .any(|it| it.kind == OperationKind::Expand);
    if operation.kind > OperationKind::Expand
        && !expands
        && expand::is_wanted(view)
        && expand::blocked(view).is_none()
    {
        return Some(expand::begin(view));
    }
    let grows = view.spec.nodes() > view.replicas() && view.cluster.is_ok();
    (operation.kind == OperationKind::Upgrade && grows).then(|| grow::begin(view))
}

/// Whether an operation may wait where it is: not while a pod or a member is just going.
fn may_wait(operation: &Operation) -> bool {
    use Phase::{
        Choosing, Closing, Cordoning, Draining, Joining, Resizing, Uncordoning, Verifying, Waking,
    };
    // What somebody asked for may wait anywhere: each of its steps is one call of the cluster.
    let asked = operation.kind >= OperationKind::Drain;
    let safe = matches!(
        operation.phase,
        Choosing
            | Closing
            | Cordoning
            | Draining
            | Joining
            | Resizing
            | Uncordoning
            | Verifying
            | Waking
    );
    (asked || safe) && operation.kind != OperationKind::Create
}
