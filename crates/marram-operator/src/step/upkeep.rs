//! What ClusterOperations ask for, beside replacing a node: data moves to where it belongs, is read and compared,
//! or leaves a failure domain.

use marram_client::{DriveScrub, NodeDuty, NodeStatus, ScrubFindings, ScrubStatus};

use crate::api::{Operation, Phase};
use crate::step::{Act, Step, advanced, left, shrink, waits};
use crate::view::View;

/// What is left of a scrub that has only begun.
pub(crate) const PERCENT: u64 = 100;

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Data moves until every node holds its share.
pub(super) fn rebalance(view: &View, operation: &Operation) -> Step {
    let cluster = match &view.cluster {
        Ok(cluster) => &cluster.status,
        Err(why) => return waits(operation, format!("the cluster does not answer: {why}")),
    };
    if operation.phase == Phase::Starting {
        return Step::Act(Act::Rebalance);
    }
    if !cluster.rebalancing {
        return Step::End("every node holds its share, as far as that can be".to_owned());
    }
    let groups = cluster.placement_groups_to_move;
    let message = format!("data of {groups} placement groups has yet to move");
    left(view, operation, whole(groups), message)
}

/// All drives are read, of all nodes or of one.
pub(super) fn scrub(view: &View, operation: &Operation) -> Step {
    if let Err(why) = &view.cluster {
        return waits(operation, format!("the cluster does not answer: {why}"));
    }
    let node = operation.pods.first();
    if operation.phase == Phase::Starting {
        return Step::Act(Act::Scrub {
            node: node.cloned(),
        });
    }
    let Some(scrub) = &view.scrub else {
        return waits(operation, "the cluster does not say how far the scrubs are");
    };
    let ours = |name: &String| node.is_none_or(|node| node == name);
    let away: Vec<&str> = scrub
        .away
        .iter()
        .filter(|name| ours(name))
        .map(String::as_str)
        .collect();
    let drives: Vec<&DriveScrub> = scrub.drives.iter().filter(|d| ours(&d.node)).collect();
    let done = |drive: &&&DriveScrub| {
        let last = drive.last.as_ref();
        last.is_some_and(|last| whole(last.ended_ms) >= operation.started_at * 1000)
    };
    let read = drives.iter().filter(done).count();
    if read == drives.len() && away.is_empty() && read > 0 {
        return Step::End(findings(&drives));
    }
    let rest = drives.iter().filter(|drive| !done(drive));
    let rest: u64 = rest
        .map(|drive| drive.total_bytes.saturating_sub(drive.found.bytes))
        .sum();
    let all: u64 = drives.iter().map(|drive| drive.total_bytes).sum();
    // In per cent: bytes would be written down with every look.
    let rest = rest
        .saturating_mul(100)
        .checked_div(all)
        .map_or(PERCENT, |share| share.min(PERCENT));
    let message = progress(scrub, (read, drives.len()), &away);
    left(view, operation, whole(rest), message)
}

fn progress(scrub: &ScrubStatus, (read, all): (usize, usize), away: &[&str]) -> String {
    let mut message = format!("{read} of {all} drives are read");
    if scrub.paused_since_ms.is_some() {
        message.push_str("; scrubs are paused: marram admin scrub resume");
    }
    if !away.is_empty() {
        message.push_str("; these nodes do not answer: ");
        message.push_str(&away.join(", "));
    }
    message
}

fn findings(drives: &[&DriveScrub]) -> String {
    let last = drives.iter().filter_map(|drive| drive.last.as_ref());
    let found: Vec<ScrubFindings> = last.map(|last| last.found).collect();
    let sum = |of: fn(&ScrubFindings) -> u64| found.iter().map(of).sum::<u64>();
    format!(
        "{} drives are read: {} runs were damaged, {} unreadable, {} shards missing; {} shards are repaired",
        drives.len(),
        sum(|f| f.damaged),
        sum(|f| f.unreadable + f.gone),
        sum(|f| f.missing),
        sum(|f| f.tickets)
    )
}

/// The nodes of a failure domain take no new data, give away what they have, and are proven to be empty; or they
/// take data again.
pub(super) fn drain(view: &View, operation: &Operation) -> Step {
    if let Err(why) = &view.cluster {
        return waits(operation, format!("the cluster does not answer: {why}"));
    }
    let of = |duties: &[NodeDuty]| -> Option<String> {
        let mut members = members(view, operation);
        let found = members.find(|node| duties.contains(&node.duty))?;
        Some(found.node_id.to_string())
    };
    use NodeDuty::{Cordoned, Draining, Serving};
    match operation.phase {
        Phase::Uncordoning => match of(&[Cordoned, Draining]) {
            Some(node) => shrink::duty(view, &node, Serving),
            None => Step::End(format!("{} take data", operation.pods.join(", "))),
        },
        Phase::Cordoning => match of(&[Serving]) {
            Some(node) => shrink::duty(view, &node, Cordoned),
            None => advanced(view, operation, Phase::Draining),
        },
        Phase::Draining => match of(&[Serving, Cordoned]) {
            Some(node) => shrink::duty(view, &node, Draining),
            None => emptying(view, operation),
        },
        _ => match (slots(view, operation), view.fully_redundant()) {
            (0, Ok(())) => Step::End(format!(
                "{} are empty, and all data is redundant without them; RestoreDomain brings them back",
                operation.pods.join(", ")
            )),
            (0, Err(why)) => waits(operation, format!("they are empty, but: {why}")),
            _ => advanced(view, operation, Phase::Draining),
        },
    }
}

fn members<'a>(
    view: &'a View,
    operation: &'a Operation,
) -> impl Iterator<Item = &'a NodeStatus> + use<'a> {
    operation.pods.iter().filter_map(|name| view.member(name))
}

fn slots(view: &View, operation: &Operation) -> u64 {
    members(view, operation).map(|node| node.slots).sum()
}

fn emptying(view: &View, operation: &Operation) -> Step {
    match slots(view, operation) {
        0 => advanced(view, operation, Phase::Verifying),
        slots => {
            let message = format!("{} give away {slots} slots", operation.pods.join(", "));
            left(view, operation, whole(slots), message)
        }
    }
}
