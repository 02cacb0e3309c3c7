//! Work in the background, and what operators decided for a while.

use marram_meta::{NodeDuty, NodeRecord, Pausable};
use marram_proto::v1;
use v1::Severity::{Note, Warning};

use super::super::facts::Facts;
use super::super::say::{bytes, count, found, time};

/// Garbage is due after its lags; what is due and still there after so long is not being removed.
const GARBAGE_MS_MAX: u64 = 3 * 86_400_000;

/// Does work in the background go on?
pub(super) fn going_on(facts: &Facts) -> Vec<v1::Finding> {
    let mut findings = paused(facts);
    findings.extend(moves(facts));
    findings.extend(garbage(facts));
    findings.extend(facts.members().filter_map(|node| decided(facts, node)));
    findings
}

fn paused(facts: &Facts) -> Vec<v1::Finding> {
    let works = [
        (
            Pausable::Garbage,
            "garbage collection",
            "`marram admin gc resume`: until then deleted data keeps its room",
        ),
        (
            Pausable::Scrub,
            "scrubbing",
            "`marram admin scrub resume`: until then damage is not looked for",
        ),
        (
            Pausable::Repair,
            "repair",
            "`marram admin repair resume`: until then what is lost stays lost",
        ),
        (
            Pausable::Moves,
            "the moving of data",
            "`marram admin rebalance resume`: until then drains and new nodes wait",
        ),
    ];
    let paused = works.into_iter().filter_map(|(work, name, remedy)| {
        let since = facts.view.upkeep.paused(work)?;
        let since = time(facts.now_ms.saturating_sub(since));
        let remedy = format!("{remedy}. See docs/runbooks/paused.md");
        Some(found(
            Warning,
            "",
            format!("{name} has been paused for {since}"),
            remedy,
        ))
    });
    paused.collect()
}

fn moves(facts: &Facts) -> Vec<v1::Finding> {
    let Some(work) = &facts.status.work else {
        return Vec::new();
    };
    let runbook = "See docs/runbooks/moves-stuck.md";
    let mut findings = Vec::new();
    if work.moves_waiting > 0 {
        let groups = count(
            work.moves_waiting,
            "placement group waits",
            "placement groups wait",
        );
        findings.push(found(
            Warning,
            "",
            format!("{groups} for a source or for room to move on"),
            format!("see what `nodes` and `room` found. {runbook}"),
        ));
    }
    if work.slots_without_place > 0 {
        let slots = count(work.slots_without_place, "slot", "slots");
        findings.push(found(
            Warning,
            "",
            format!("{slots} of placement groups must leave their drive and have no other place"),
            format!("add nodes or drives, so that every shard finds a node of its own. {runbook}"),
        ));
    }
    let notes = work.notes.iter().map(|note| {
        let remedy =
            "the sentence says what is missing; `marram admin status` follows how it goes on";
        found(Warning, "", note, remedy)
    });
    findings.extend(notes);
    if facts.status.rebalancing {
        let evidence = "a rebalance was asked for and is not over";
        findings.push(found(
            Note,
            "",
            evidence,
            "nothing; `marram admin rebalance --cancel` ends it",
        ));
    }
    findings
}

fn garbage(facts: &Facts) -> Option<v1::Finding> {
    let garbage = facts.garbage.as_ref()?;
    let old = garbage.due > 0 && garbage.oldest_age_ms > GARBAGE_MS_MAX;
    (old && facts.view.upkeep.paused(Pausable::Garbage).is_none()).then(|| {
        found(
            Warning,
            "",
            format!(
                "{} of garbage are due and not removed; the oldest is {} old",
                bytes(garbage.bytes),
                time(garbage.oldest_age_ms)
            ),
            "a node or drive that is away keeps it: bring it back, or fence or remove it. `marram admin gc status`",
        )
    })
}

/// What operators decided about a node and may have forgotten.
fn decided(facts: &Facts, node: &NodeRecord) -> Option<v1::Finding> {
    let left = |until: u64| time(until.saturating_sub(facts.now_ms));
    let name = &node.name;
    let (evidence, remedy) = if let Some(until) = node.absence.maintenance_until_ms {
        let left = left(until);
        (
            format!("it is in maintenance for {left} more: nothing is rebuilt while it is away"),
            format!("when the work is done, `marram admin maintenance --end {name}`"),
        )
    } else if let Some(until) = node.absence.leads_not_until_ms {
        let left = left(until);
        (
            format!("it leads no group for {left} more"),
            "nothing: it ends by itself".to_owned(),
        )
    } else {
        match node.duty {
            NodeDuty::Serving => return None,
            NodeDuty::Cordoned => (
                "it is cordoned and takes no new data".to_owned(),
                format!("when it shall, `marram admin uncordon {name}`"),
            ),
            NodeDuty::Draining => (
                "it is being drained".to_owned(),
                format!("when it is empty, `marram admin remove {name}`"),
            ),
            NodeDuty::Fenced => (
                "it was given up for good".to_owned(),
                format!("when what it had is rebuilt, `marram admin remove {name}`"),
            ),
        }
    };
    Some(found(Note, name, evidence, remedy))
}

#[cfg(test)]
mod tests {
    use marram_types::NodeId;

    use super::super::testing::{NOW_MS, facts, only, severities};
    use super::*;

    #[test]
    fn pauses_are_found_with_their_age() {
        let mut facts = facts(7);
        facts.decided().upkeep.garbage_paused_ms = Some(NOW_MS - 7_200_000);
        assert_eq!(
            only(&going_on(&facts)).2,
            "garbage collection has been paused for 2 h"
        );
        facts.decided().upkeep.scrub_paused_ms = Some(NOW_MS);
        assert_eq!(severities(&going_on(&facts)), [Warning, Warning]);
        facts.decided().upkeep.repair_paused_ms = Some(NOW_MS);
        facts.decided().upkeep.moves_paused_ms = Some(NOW_MS);
        assert_eq!(severities(&going_on(&facts)), [Warning; 4]);
    }

    #[test]
    fn moves_that_wait_and_what_is_not_done_are_found() {
        let mut facts = facts(7);
        facts.status.rebalancing = true;
        facts.status.work = Some(v1::WorkStatus {
            moves_under_way: 5,
            moves_waiting: 1,
            slots_without_place: 2,
            notes: vec!["Too few nodes.".to_owned()],
            ..v1::WorkStatus::default()
        });
        assert_eq!(
            severities(&going_on(&facts)),
            [Warning, Warning, Warning, Note]
        );
        facts.status.rebalancing = false;
        facts.status.work = Some(v1::WorkStatus {
            moves_under_way: 5,
            ..v1::WorkStatus::default()
        });
        assert_eq!(going_on(&facts), [], "moves that go on are no finding");
    }

    #[test]
    fn old_garbage_is_found_unless_it_is_kept_on_purpose() {
        let mut facts = facts(7);
        let garbage = facts.garbage.as_mut().expect("there");
        (garbage.due, garbage.bytes, garbage.oldest_age_ms) = (1, 1 << 30, GARBAGE_MS_MAX + 1);
        assert!(only(&going_on(&facts)).2.starts_with("1.0 GiB of garbage"));
        facts.decided().upkeep.garbage_paused_ms = Some(NOW_MS);
        assert!(only(&going_on(&facts)).2.contains("paused"));
    }

    #[test]
    fn decisions_about_nodes_are_told_of() {
        let mut facts = facts(7);
        facts
            .decided()
            .nodes
            .get_mut(&NodeId(3))
            .expect("there")
            .duty = NodeDuty::Cordoned;
        let (severity, subject, _) = only(&going_on(&facts));
        assert_eq!((severity, subject.as_str()), (Note, "node-3"));
        let absence = &mut facts
            .decided()
            .nodes
            .get_mut(&NodeId(3))
            .expect("there")
            .absence;
        absence.maintenance_until_ms = Some(NOW_MS + 600_000);
        assert!(only(&going_on(&facts)).2.contains("for 10 min more"));
    }
}
