//! What operators change: duties of nodes, and their removal.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod bootstrap;
pub(crate) mod compare;
pub(crate) mod excuse;
pub(crate) mod identity;
pub(crate) mod plan;
mod plan_id;
pub(crate) mod profile;
pub(crate) mod removal;
pub(crate) mod version;

use std::time::{Duration, Instant};

use marram_meta::{
    ClusterView, DRAIN_NARROWER_SINCE, DRAINS_SINCE, DrainCommand, DriveRefusal, NodeDuty,
    NodeRecord, NodeState, Refusal, RootCommand, RootOutcome, leaving,
};
use marram_placement::PlanError;
use marram_proto::v1;
use marram_types::{DriveId, GroupId, NodeId};

use crate::core::{Core, GateClosed};
use crate::groups::GroupError;
use crate::nodes::{InspectError, NodeError};
use crate::objects::{ListError, LookupError};
use crate::status::{Fault, Reason};
use crate::validate::InvalidField;

/// How long an answer waits until this server sees the change itself, so that the caller's next
/// question here is answered by it.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Looks at what leaves already before a drain is refused: each one more is for others that began to drain
/// between a look and its decision.
pub(crate) const LOOKS_MAX: u32 = 5;

/// Why an operator's wish was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error("there is no node {0:?}")]
    NoNode(String),
    #[error("no node is in zone {0:?}")]
    NoZone(String),
    #[error("{name}: {error}")]
    NotHanded { name: String, error: NodeError },
    #[error("{name} does not say how it is: {error}")]
    NotInspected { name: String, error: InspectError },
    #[error("{name}: {why}")]
    Profiled { name: String, why: String },
    #[error("filter is not valid: {0}")]
    Filter(String),
    #[error("several nodes are named {0:?}: give the id of one, as the cluster's status has it")]
    Ambiguous(String),
    #[error(
        "there is no drive {0:?}: give its id, or NODE/NUMBER as `marram admin drive list` has it"
    )]
    NoDrive(String),
    #[error("{0} does not answer; try again when it does")]
    Silent(String),
    #[error("{0} was removed from the cluster")]
    Removed(String),
    #[error(
        "{0} answers: fencing gives up what it has, and cannot be taken back. Drain it instead, \
         or force it"
    )]
    Answers(String),
    #[error("{name} works: there is nothing to rebuild. Drain it to move what it has elsewhere")]
    Works { name: String },
    #[error(
        "{name} is in maintenance, and waited for: end that first with `marram admin maintenance --end {name}`"
    )]
    Excused { name: String },
    #[error(
        "what {name} had cannot be rebuilt: {left} nodes are left that keep data, and {width} shards need a \
         place each. Add a node"
    )]
    CannotHold {
        name: String,
        left: usize,
        width: u8,
    },
    #[error(transparent)]
    Gate(#[from] GateClosed),
    #[error("{name} cannot be removed: {why}")]
    Held { name: String, why: String },
    #[error("{name}: {refusal}")]
    Refused { name: String, refusal: Refusal },
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("the layout cannot be planned: {0}")]
    Plan(#[from] PlanError),
    #[error("the cluster is not ready yet")]
    NotReady,
    #[error(transparent)]
    List(ListError),
    #[error(transparent)]
    Lookup(LookupError),
    #[error("there is no group {0}")]
    NoGroup(u32),
    #[error("group {group} cannot be copied now: {why}")]
    NoCopy { group: GroupId, why: String },
    #[error("the copy of group {group} broke off: {why}; begin the backup again")]
    Copy { group: GroupId, why: String },
    #[error(
        "version {version} cannot be used yet: {}. Give these nodes this release, or fence those \
         that do not come back", .behind.join(", ")
    )]
    TooOld { version: u8, behind: Vec<String> },
    #[error("there are more than {0} shards to compare, more than fit in memory: scrub instead")]
    TooManyShards(usize),
    #[error("the plan is out of date: {0} since it was made. Plan again")]
    OldPlan(&'static str),
    #[error(
        "draining {name} moves {bytes} bytes, and there is no room for them below the fill limit of \
         90 %: {lacks}. Add nodes, delete data, or force it"
    )]
    NoRoom {
        name: String,
        bytes: u64,
        lacks: String,
    },
    #[error(
        "draining {name} leaves {slots} slots of placement groups without a place: every shard needs a \
         drive of its own. Add nodes or drives, or force it"
    )]
    NoPlace { name: String, slots: usize },
}

impl Fault for AdminError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::NoNode(_) | Self::NoZone(_) | Self::Removed(_) | Self::NoDrive(_) => {
                Reason::NodeNotFound
            }
            Self::Silent(_) | Self::NotInspected { .. } => Reason::DataUnavailable,
            Self::NotHanded { .. } => Reason::MetadataUnavailable,
            Self::Ambiguous(_) | Self::Filter(_) => Reason::InvalidArgument,
            Self::TooManyShards(_) => Reason::Overloaded,
            Self::Answers(_)
            | Self::Held { .. }
            | Self::OldPlan(_)
            | Self::Profiled { .. }
            | Self::NoRoom { .. }
            | Self::NoPlace { .. }
            | Self::Works { .. }
            | Self::Excused { .. }
            | Self::CannotHold { .. } => Reason::NodeBusy,
            Self::Gate(error) => error.reason(),
            Self::Refused { refusal, .. } => refusal.reason(),
            Self::Group(error) => error.reason(),
            Self::Plan(_) => Reason::Internal,
            Self::List(error) => error.reason(),
            Self::Lookup(error) => error.reason(),
            Self::NotReady | Self::NoCopy { .. } => Reason::MetadataUnavailable,
            Self::NoGroup(_) => Reason::InvalidArgument,
            Self::Copy { .. } | Self::TooOld { .. } => Reason::NodeBusy,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::NoNode(name) | Self::Ambiguous(name) => vec![("node", name.clone())],
            Self::Removed(name) | Self::Answers(name) | Self::Silent(name) => {
                vec![("node", name.clone())]
            }
            Self::NoDrive(drive) => vec![("drive", drive.clone())],
            Self::Held { name, .. }
            | Self::NoRoom { name, .. }
            | Self::NoPlace { name, .. }
            | Self::Works { name }
            | Self::Excused { name }
            | Self::CannotHold { name, .. }
            | Self::NotHanded { name, .. }
            | Self::Profiled { name, .. }
            | Self::NotInspected { name, .. } => {
                vec![("node", name.clone())]
            }
            Self::Filter(_) => vec![("field", "filter".to_owned())],
            Self::NoZone(zone) => vec![("zone", zone.clone())],
            Self::Refused { name, refusal } => {
                let mut details = refusal.details();
                details.push(("node", name.clone()));
                details
            }
            Self::Group(error) => error.details(),
            Self::Gate(error) => error.details(),
            Self::List(error) => error.details(),
            Self::Lookup(error) => error.details(),
            Self::NoGroup(group) => {
                vec![("group", group.to_string()), ("field", "group".to_owned())]
            }
            Self::NoCopy { group, .. } | Self::Copy { group, .. } => {
                vec![("group", group.to_string())]
            }
            Self::TooOld { version, .. } => vec![("version", version.to_string())],
            Self::Plan(_) | Self::NotReady | Self::OldPlan(_) | Self::TooManyShards(_) => {
                Vec::new()
            }
        }
    }
}

/// The node of a name, or of an id where no node has that name. Members come before nodes that were
/// removed.
fn find<'v>(view: &'v ClusterView, wanted: &str) -> Result<&'v NodeRecord, AdminError> {
    let named = |state| {
        let of_name = |node: &&NodeRecord| node.name == wanted && node.state == state;
        view.nodes.values().filter(of_name).collect::<Vec<_>>()
    };
    match named(NodeState::Active)[..] {
        [node] => return Ok(node),
        [] => {}
        _ => return Err(AdminError::Ambiguous(wanted.to_owned())),
    }
    let of_id = wanted
        .parse()
        .ok()
        .and_then(|id| view.nodes.get(&NodeId(id)));
    of_id
        .or_else(|| named(NodeState::Tombstoned).pop())
        .ok_or_else(|| AdminError::NoNode(wanted.to_owned()))
}

/// A member.
pub(crate) fn member<'v>(
    view: &'v ClusterView,
    wanted: &str,
) -> Result<&'v NodeRecord, AdminError> {
    let node = find(view, wanted)?;
    match node.state {
        NodeState::Active => Ok(node),
        NodeState::Tombstoned => Err(AdminError::Removed(node.name.clone())),
    }
}

/// A duty as the API has it.
pub(crate) fn to_wire(duty: NodeDuty) -> v1::NodeDuty {
    match duty {
        NodeDuty::Serving => v1::NodeDuty::Serving,
        NodeDuty::Cordoned => v1::NodeDuty::Cordoned,
        NodeDuty::Draining => v1::NodeDuty::Draining,
        NodeDuty::Fenced => v1::NodeDuty::Fenced,
    }
}

fn from_wire(duty: v1::NodeDuty) -> Result<NodeDuty, InvalidField> {
    match duty {
        v1::NodeDuty::Serving => Ok(NodeDuty::Serving),
        v1::NodeDuty::Cordoned => Ok(NodeDuty::Cordoned),
        v1::NodeDuty::Draining => Ok(NodeDuty::Draining),
        v1::NodeDuty::Fenced => Ok(NodeDuty::Fenced),
        v1::NodeDuty::Unspecified => Err(InvalidField::Wrong {
            field: "duty",
            rule: "it must be serving, cordoned, draining or fenced",
        }),
    }
}

/// The steps from one duty to another. A step that may not be made is left to the root group, which
/// refuses it.
fn steps(from: NodeDuty, to: NodeDuty) -> Vec<NodeDuty> {
    if from == to {
        Vec::new()
    } else if from.may_become(to) || !from.may_become(NodeDuty::Cordoned) {
        vec![to]
    } else {
        vec![NodeDuty::Cordoned, to]
    }
}

/// Changes what a node is there for.
pub(crate) async fn set_duty(
    core: &Core,
    request: v1::SetNodeDutyRequest,
) -> Result<v1::SetNodeDutyResponse, AdminError> {
    let first = member(&*core.fresh_view().await?, &request.node)?.duty;
    let mut done = set_duty_once(core, &request).await;
    for _ in 1..LOOKS_MAX {
        if !is_outdated(&done) {
            break;
        }
        done = set_duty_once(core, &request).await;
    }
    // A look that came too late may have taken the first of two steps.
    done.map(|answer| v1::SetNodeDutyResponse {
        before: to_wire(first).into(),
        ..answer
    })
}

/// Whether other drives began to leave between the look and the decision: another look is taken.
pub(crate) fn is_outdated<T>(done: &Result<T, AdminError>) -> bool {
    let others = Refusal::Drive(DriveRefusal::OthersLeave);
    matches!(done, Err(AdminError::Refused { refusal, .. }) if *refusal == others)
}

async fn set_duty_once(
    core: &Core,
    request: &v1::SetNodeDutyRequest,
) -> Result<v1::SetNodeDutyResponse, AdminError> {
    let duty = from_wire(request.duty())?;
    let view = core.fresh_view().await?;
    let record = member(&view, &request.node)?;
    let (node, name, before) = (record.node, record.name.clone(), record.duty);
    if duty == NodeDuty::Fenced && before != duty && !request.force && core.drives.is_up(node) {
        return Err(AdminError::Answers(name));
    }
    if duty == NodeDuty::Draining && before != duty {
        if let Some(refusal) = view.leaves_too_few(node, request.allow_narrower) {
            return Err(AdminError::Refused { name, refusal });
        }
        if !request.force && !request.allow_narrower {
            let drives: Vec<DriveId> = record.drives.iter().map(|held| held.drive).collect();
            plan::refuse_without_room(core, &view, (&drives, &name)).await?;
        }
    }
    let (mut from, mut if_epoch) = (before, request.if_epoch);
    for to in steps(before, duty) {
        if to == NodeDuty::Draining && request.allow_narrower {
            drain_narrower(core, &name, (node, from), if_epoch).await?;
            continue;
        }
        let change = match to == NodeDuty::Draining && core.pass_gate(DRAINS_SINCE).is_ok() {
            true => RootCommand::Drain(DrainCommand::Node {
                node,
                from,
                if_epoch,
                leaving: (!request.force).then(|| leaving(view.nodes.values())),
            }),
            false => RootCommand::ChangeDuty {
                node,
                from,
                to,
                if_epoch,
            },
        };
        decide(core, &name, &change).await?;
        // The first step changes the epoch by itself.
        (from, if_epoch) = (to, None);
    }
    until_seen(core, |view| {
        view.nodes
            .get(&node)
            .is_none_or(|record| record.duty == duty)
    })
    .await;
    tracing::info!(target: "admin", node = node.0, %name, ?before, ?duty, "duty set");
    Ok(v1::SetNodeDutyResponse {
        node_id: node.0,
        name,
        duty: to_wire(duty).into(),
        before: to_wire(before).into(),
    })
}

/// Drains a node and accepts narrower stripes for what it holds. In one decision: an acceptance whose drain was
/// refused would count when somebody removes the node later.
async fn drain_narrower(
    core: &Core,
    name: &str,
    (node, from): (NodeId, NodeDuty),
    if_epoch: Option<u64>,
) -> Result<(), AdminError> {
    if core.pass_gate(DRAIN_NARROWER_SINCE).is_ok() {
        let drain = RootCommand::DrainNarrower {
            node,
            from,
            if_epoch,
        };
        return decide(core, name, &drain).await;
    }
    // Members of the last release know two decisions only.
    decide(core, name, &RootCommand::AcceptNarrower { node }).await?;
    let change = RootCommand::ChangeDuty {
        node,
        from,
        to: NodeDuty::Draining,
        if_epoch,
    };
    decide(core, name, &change).await
}

/// Has the root group decide. Not tied to a request id: the same decision again changes nothing. It
/// lapses at its deadline, so that an old attempt does not undo what was wished since.
pub(crate) async fn decide(
    core: &Core,
    name: &str,
    command: &RootCommand,
) -> Result<(), AdminError> {
    match core.root_decision(command).await? {
        RootOutcome::Done => Ok(()),
        RootOutcome::Refused(refusal) => Err(AdminError::Refused {
            name: name.to_owned(),
            refusal,
        }),
        _ => Err(GroupError::Kind(GroupId::ROOT).into()),
    }
}

/// Until this server's own view shows a change that was made; not for ever, because the change is
/// made either way.
pub(crate) async fn until_seen(core: &Core, shows: impl Fn(&ClusterView) -> bool) {
    let deadline = Instant::now() + SEEN_WITHIN;
    while !shows(&core.view()) && Instant::now() < deadline {
        core.wait_for_view().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wish_is_a_row_of_allowed_steps() {
        use NodeDuty::{Cordoned, Draining, Fenced, Serving};
        for from in [Serving, Cordoned, Draining] {
            for to in [Serving, Cordoned, Draining, Fenced] {
                let mut at = from;
                for step in steps(from, to) {
                    assert!(at.may_become(step), "{at:?} to {step:?}");
                    at = step;
                }
                assert_eq!(at, to);
            }
        }
        assert_eq!(steps(Fenced, Serving), [Serving], "which the root refuses");
        assert_eq!(steps(Serving, Serving), []);
    }
}
