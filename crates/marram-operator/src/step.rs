//! What to do next for a cluster: a function of what is wanted, what was seen, and the operation that is
//! written down. One step at a time; each is right when it is done twice, and none is done before it is
//! written down.
//!
//! ```text
//! begin     which operation begins, by urgency      gates   what stands against a smaller cluster
//! create, grow, shrink, replace, upgrade, hibernate, expand     the steps of each
//! tokens    which pods are given a join token       requests  ClusterOperations, in their turn
//! upkeep    the steps of what they ask for: rebalance, scrub, domains
//! ```

mod begin;
mod create;
mod expand;
mod gates;
mod grow;
mod hibernate;
mod replace;
mod requests;
mod shrink;
mod tokens;
mod upgrade;
mod upkeep;

use marram_client::NodeDuty;

use crate::api::{Operation, OperationKind, Phase, Suspended};
use crate::view::View;

pub(crate) use expand::is_wanted as expansion_is_wanted;
pub use gates::blocked;
pub use requests::{Verdict, verdict};
pub use tokens::TOKEN_SECONDS;
pub(crate) use upkeep::PERCENT as SCRUB_LEFT;

/// Characters of the names of pods in a summary.
const SUMMARY_PODS_MAX: usize = 120;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing now. What is waited for stands in the operation's message, or is nothing.
    Rest,
    /// Write this operation down, and look again.
    Record(Box<Operation>),
    /// The operation is over; what to tell of it.
    End(String),
    /// The operation is given up, or cannot begin; what to tell of it.
    Act(Act),
    /// Something that a person has to decide.
    Hold(Hold),
}

/// A side effect. The operation under way was written down before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Makes the Secret of the keys.
    MakeKeys,
    /// Has the server in a pod found the cluster.
    Found {
        /// The pod.
        pod: String,
        /// Its zone.
        zone: String,
        /// Nodes that data is placed on first.
        nodes: u32,
    },
    /// Writes down the id of a cluster that was there already.
    Adopt {
        /// The id.
        cluster_id: String,
    },
    /// Makes a join token for a pod and puts it where the pod finds it.
    Mint {
        /// The pod.
        pod: String,
        /// Its zone.
        zone: String,
    },
    /// Takes tokens away whose pods are members.
    DropTokens(Vec<String>),
    /// Changes what a member is there for.
    SetDuty {
        /// The member, by its id.
        node: String,
        /// What it is to be there for.
        duty: NodeDuty,
        /// Narrower stripes are agreed to.
        narrower: bool,
    },
    /// Removes a member from the cluster.
    RemoveNode {
        /// The member, by its id.
        node: String,
        /// Narrower stripes are agreed to.
        narrower: bool,
    },
    /// Takes one replica away.
    Shrink {
        /// How many there must be.
        from: i32,
        /// How many there are then.
        to: i32,
    },
    /// Marks the claim of a pod that is gone, or deletes it.
    Retire {
        /// The claim.
        claim: String,
        /// Its uid.
        uid: String,
        /// Whether it is deleted.
        delete: bool,
    },
    /// Deletes a claim.
    DeleteClaim {
        /// The claim.
        claim: String,
        /// Its uid.
        uid: String,
    },
    /// Deletes a pod, which comes back.
    DeletePod {
        /// The pod.
        pod: String,
        /// Its uid.
        uid: String,
        /// Its host is gone: nobody would confirm.
        force: bool,
    },
    /// Restarts pods whose members may stop: they are excused and hand their leaderships over first.
    Restart {
        /// The pods, each with its uid.
        pods: Vec<(String, String)>,
        /// How many more nodes may be lost meanwhile.
        margin: u32,
    },
    /// Excuses members that are about to stop.
    Excuse(Vec<String>),
    /// Members that restarted are excused no longer.
    Readmit(Vec<String>),
    /// Tells a claim how large its volume is to be.
    Resize {
        /// The claim.
        claim: String,
        /// Its uid.
        uid: String,
        /// The size.
        size: String,
    },
    /// Deletes the StatefulSet and leaves its pods, which the next one takes over.
    Orphan {
        /// Its uid.
        uid: String,
    },
    /// Gives a member up that answers.
    GiveUp {
        /// The member, by its id.
        node: String,
    },
    /// Has data move until every node holds its share.
    Rebalance,
    /// Has it stop moving.
    StopRebalance,
    /// Has all data be read and compared: of one node, or of all.
    Scrub {
        /// The node.
        node: Option<String>,
    },
    /// Gives the upgrade up: the pods before it come back.
    PutBack {
        /// What was wrong.
        reason: String,
        /// The revision that was proven.
        revision: String,
    },
}

/// Something that stands in the way until a person, or the cluster, changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The condition that says it.
    pub condition: &'static str,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, in a sentence with what can be done.
    pub message: String,
}

/// The next step.
#[must_use]
pub fn next(view: &View) -> Step {
    if view.spec.paused {
        return Step::Rest;
    }
    let Some(operation) = &view.status.operation else {
        return begin::begin(view);
    };
    if let Some(step) = requests::ended(view, operation) {
        return step;
    }
    if let Some(urgent) = begin::preempts(view, operation) {
        return Step::Record(Box::new(urgent));
    }
    match operation.kind {
        OperationKind::Create => create::step(view, operation),
        OperationKind::Replace => replace::step(view, operation),
        OperationKind::Hibernate => hibernate::step(view, operation),
        OperationKind::Cancel => shrink::cancel(view, operation),
        OperationKind::Expand => expand::step(view, operation),
        OperationKind::Grow => grow::step(view, operation),
        OperationKind::Upgrade => upgrade::step(view, operation),
        OperationKind::Shrink => shrink::step(view, operation),
        OperationKind::Drain => upkeep::drain(view, operation),
        OperationKind::Rebalance => upkeep::rebalance(view, operation),
        OperationKind::Scrub => upkeep::scrub(view, operation),
    }
}

/// A new operation.
fn started(view: &View, kind: OperationKind, phase: Phase, (from, to): (i32, i32)) -> Operation {
    let mut operation = Operation {
        kind,
        phase,
        from,
        to,
        pods: Vec::new(),
        node_id: None,
        claim_uid: None,
        proven_revision: None,
        template_hash: None,
        request: None,
        started_at: view.now,
        phase_since: view.now,
        progress_at: view.now,
        left: None,
        summary: String::new(),
        message: String::new(),
        suspended: Vec::new(),
    };
    operation.summary = summary(&operation);
    operation
}

/// The operation in its next phase.
fn advanced(view: &View, operation: &Operation, phase: Phase) -> Step {
    let mut next = operation.clone();
    next.phase = phase;
    (next.phase_since, next.progress_at) = (view.now, view.now);
    next.left = None;
    next.message.clear();
    next.summary = summary(&next);
    Step::Record(Box::new(next))
}

/// The operation with what it waits for; nothing to write where that is said already.
fn waits(operation: &Operation, message: impl Into<String>) -> Step {
    let message = message.into();
    if operation.message == message {
        return Step::Rest;
    }
    let mut next = operation.clone();
    next.message = message;
    Step::Record(Box::new(next))
}

/// The operation with what is left of its phase; time without progress counts from the last that was less.
fn left(view: &View, operation: &Operation, left: i64, message: impl Into<String>) -> Step {
    let less = operation.left.is_none_or(|before| left < before);
    let mut next = operation.clone();
    next.message = message.into();
    if less {
        (next.left, next.progress_at) = (Some(left), view.now);
    }
    if next == *operation {
        return Step::Rest;
    }
    Step::Record(Box::new(next))
}

/// In a few words: `Shrink 4->3 Draining`.
pub(crate) fn summary(operation: &Operation) -> String {
    let Operation {
        kind,
        phase,
        from,
        to,
        ..
    } = operation;
    use OperationKind::{Drain, Rebalance, Replace, Scrub, Upgrade};
    match kind {
        Replace | Upgrade | Drain | Rebalance | Scrub if operation.pods.is_empty() => {
            format!("{kind} {phase}")
        }
        Replace | Upgrade | Drain | Rebalance | Scrub => {
            let pods = operation.pods.join(",");
            let pods: String = pods.chars().take(SUMMARY_PODS_MAX).collect();
            format!("{kind} {pods} {phase}")
        }
        _ => format!("{kind} {from}->{to} {phase}"),
    }
}

/// What is kept of an operation that waits for a more urgent one.
fn suspended(operation: &Operation) -> Suspended {
    Suspended {
        kind: operation.kind,
        phase: operation.phase,
        from: operation.from,
        to: operation.to,
        pods: operation.pods.clone(),
        node_id: operation.node_id.clone(),
        proven_revision: operation.proven_revision.clone(),
        template_hash: operation.template_hash.clone(),
        request: operation.request.clone(),
        started_at: operation.started_at,
    }
}

/// The operation that goes on after this one, where one waits.
#[must_use]
pub fn resumed(now: i64, ended: &Operation) -> Option<Operation> {
    let mut waiting = ended.suspended.clone();
    let kept = waiting.pop()?;
    let mut operation = Operation {
        kind: kept.kind,
        phase: kept.phase,
        from: kept.from,
        to: kept.to,
        pods: kept.pods,
        node_id: kept.node_id,
        claim_uid: None,
        proven_revision: kept.proven_revision,
        template_hash: kept.template_hash,
        request: kept.request,
        started_at: kept.started_at,
        phase_since: now,
        progress_at: now,
        left: None,
        summary: String::new(),
        message: String::new(),
        suspended: waiting,
    };
    operation.summary = summary(&operation);
    Some(operation)
}

#[cfg(test)]
pub(crate) mod tests;
