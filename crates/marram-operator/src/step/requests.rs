//! ClusterOperations come in their turn: the oldest that nothing stands against, when nothing more urgent is to be
//! done.

use marram_client::{NodeDuty, NodeStatus};

use crate::api::{Operation, OperationKind, OperationType, Phase};
use crate::step::{Act, Step, advanced, gates, replace, started, summary};
use crate::view::{RequestView, View, is_up};

/// Whether one can begin, as far as the cluster is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It can.
    Begins,
    /// Something stands against it, and may change.
    Waits(String),
    /// It never can.
    Fails(String),
}

/// Whether this one can begin.
#[must_use]
pub fn verdict(view: &View, request: &RequestView) -> Verdict {
    if view.spec.paused {
        return Verdict::Waits("the cluster is paused".to_owned());
    }
    if let Err(why) = &view.cluster {
        return Verdict::Waits(format!("the cluster does not answer: {why}"));
    }
    match request.kind {
        OperationType::Rebalance => Verdict::Begins,
        OperationType::Scrub => match &request.node {
            Some(node) if view.member(node).is_none() => Verdict::Fails(no_node(view, node)),
            _ => Verdict::Begins,
        },
        OperationType::ReplaceNode => replaces(view, request),
        OperationType::DrainDomain => drains(view, request),
        OperationType::RestoreDomain => match of_domain(view, request).is_empty() {
            true => Verdict::Fails(no_domain(view, request)),
            false => Verdict::Begins,
        },
    }
}

fn replaces(view: &View, request: &RequestView) -> Verdict {
    let name = request.node.clone().unwrap_or_default();
    let ordinal = view.names.ordinal(&name);
    if ordinal.is_none_or(|ordinal| ordinal >= view.replicas()) {
        return Verdict::Fails(no_node(view, &name));
    }
    let Some(member) = view.member(&name) else {
        return Verdict::Waits(format!("{name} is no member of the cluster"));
    };
    let redundancy = view.cluster.as_ref().ok();
    let redundancy = redundancy.and_then(|cluster| cluster.status.redundancy.as_ref());
    let Some(losses) = redundancy.map(|redundancy| redundancy.tolerated_losses) else {
        return Verdict::Waits("the cluster does not say how redundant its data is".to_owned());
    };
    if request.accept_data_loss {
        return Verdict::Begins;
    }
    match is_up(member) {
        true if losses < 1 => Verdict::Waits(format!(
            "{name} answers, and objects would be lost with it: the cluster bears the loss of no node now"
        )),
        true => match view.fully_redundant() {
            Ok(()) => Verdict::Begins,
            Err(why) => Verdict::Waits(format!("not all data is redundant: {why}")),
        },
        false if losses < 0 => Verdict::Waits(format!(
            "with {name} away some objects cannot be read, and without it they are lost: bring any of the \
             nodes that are away back, or say spec.acceptDataLoss"
        )),
        false => Verdict::Begins,
    }
}

fn drains(view: &View, request: &RequestView) -> Verdict {
    let going = of_domain(view, request);
    if going.is_empty() {
        return Verdict::Fails(no_domain(view, request));
    }
    match gates::without(view, &going) {
        Some(why) => Verdict::Waits(why),
        None => Verdict::Begins,
    }
}

/// The members of the domain that it is about.
fn of_domain(view: &View, request: &RequestView) -> Vec<String> {
    let domain = request.domain.as_deref().unwrap_or_default();
    let of = |node: &&NodeStatus| node.zone == domain && node.duty != NodeDuty::Fenced;
    let members = view.members().filter(of);
    members.map(|node| node.name.clone()).collect()
}

fn no_node(view: &View, name: &str) -> String {
    let last = view.names.pod((view.replicas() - 1).max(0));
    let first = view.names.pod(0);
    format!("there is no node {name}: they are called {first} to {last}")
}

fn no_domain(view: &View, request: &RequestView) -> String {
    let mut zones: Vec<&str> = view.members().map(|node| node.zone.as_str()).collect();
    zones.sort_unstable();
    zones.dedup();
    zones.truncate(20);
    format!(
        "no node is in the failure domain {}: there are {}",
        request.domain.as_deref().unwrap_or_default(),
        zones.join(", ")
    )
}

/// What stands now against an operation that somebody asked for; none where nobody did.
pub(super) fn stands_against(view: &View, operation: &Operation) -> Option<String> {
    let asked = operation.request.as_ref()?;
    let mut known = view.requests.iter();
    match verdict(view, known.find(|it| it.request == *asked)?) {
        Verdict::Begins => None,
        Verdict::Waits(why) | Verdict::Fails(why) => Some(why),
    }
}

/// The one whose turn it is, of these types.
pub(super) fn next(view: &View, of: impl Fn(OperationType) -> bool) -> Option<Operation> {
    let waiting = view.requests.iter();
    let mut waiting =
        waiting.filter(|request| !request.over && !request.deleting && of(request.kind));
    let request = waiting.find(|request| verdict(view, request) == Verdict::Begins)?;
    Some(begin(view, request))
}

fn begin(view: &View, request: &RequestView) -> Operation {
    let replicas = view.replicas();
    let start = |kind, phase, pods: Vec<String>| {
        let mut operation = started(view, kind, phase, (replicas, replicas));
        operation.pods = pods;
        operation.summary = summary(&operation);
        operation
    };
    let node = || request.node.iter().cloned().collect();
    let mut operation = match request.kind {
        OperationType::Rebalance => start(OperationKind::Rebalance, Phase::Starting, Vec::new()),
        OperationType::Scrub => start(OperationKind::Scrub, Phase::Starting, node()),
        OperationType::DrainDomain => start(
            OperationKind::Drain,
            Phase::Cordoning,
            of_domain(view, request),
        ),
        OperationType::RestoreDomain => start(
            OperationKind::Drain,
            Phase::Uncordoning,
            of_domain(view, request),
        ),
        OperationType::ReplaceNode => {
            let ordinal = request.node.as_ref().and_then(|n| view.names.ordinal(n));
            replace::begin(view, replace::asked(view, ordinal.unwrap_or_default()))
        }
    };
    operation.request = Some(request.request.clone());
    operation
}

/// What is to be done about an operation whose ClusterOperation is over, or was deleted: a person took the wish
/// back.
pub(super) fn ended(view: &View, operation: &Operation) -> Option<Step> {
    let asked = operation.request.as_ref()?;
    let found = view.requests.iter().find(|it| it.request == *asked);
    match found {
        // It was said to be over, and the operator was killed before it could write that down here.
        Some(request) if request.over => {
            return Some(Step::End(format!("{} is over", asked.name)));
        }
        Some(request) if !request.deleting => return None,
        _ => {}
    }
    let gone = |what: &str| {
        let name = &asked.name;
        Step::End(format!("the ClusterOperation {name} was deleted: {what}"))
    };
    let cluster = view.cluster.as_ref().ok();
    match operation.kind {
        OperationKind::Rebalance => {
            let moves = cluster.is_none_or(|cluster| cluster.status.rebalancing);
            Some(match (moves, cluster) {
                (true, Some(_)) => Step::Act(Act::StopRebalance),
                (true, None) => Step::Rest,
                (false, _) => gone("what was moved stays where it is"),
            })
        }
        OperationKind::Scrub => Some(gone("what is being read is read to its end")),
        OperationKind::Drain if operation.phase != Phase::Uncordoning => {
            Some(advanced(view, operation, Phase::Uncordoning))
        }
        OperationKind::Replace if operation.phase == Phase::Fencing => {
            let id = operation.node_id.as_ref()?;
            let fenced = view.member_by_id(id)?.duty == NodeDuty::Fenced;
            (!fenced).then(|| gone("the node stays"))
        }
        _ => None,
    }
}
