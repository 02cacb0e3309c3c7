//! Whether drives and replicas hold what was written.

use marram_proto::v1;
use v1::Severity::{Critical, Warning};

use super::super::facts::Facts;
use super::super::say::{count, found, time};

const DAY_MS: u64 = 86_400_000;
/// How often a drive is read through where its node does not say it.
const EVERY_MS: u64 = 30 * DAY_MS;

/// When no pass has ended for so long, something keeps it from ending: twice the time in which there should be
/// one, and a day at least.
fn pass_ms_max(drive: &v1::DriveScrub) -> u64 {
    let every_ms = match drive.every_s {
        0 => EVERY_MS,
        every_s => every_s.saturating_mul(1000),
    };
    every_ms.saturating_mul(2).max(DAY_MS)
}

/// Do drives and replicas hold what was written?
pub(super) fn damage(facts: &Facts) -> Vec<v1::Finding> {
    let Some(scrub) = &facts.scrub else {
        let evidence = "nobody can say what the scrubs found";
        return vec![found(Warning, "", evidence, "see what `consensus` found")];
    };
    let mut findings: Vec<v1::Finding> = scrub
        .comparisons
        .iter()
        .filter_map(|c| differs(facts, c))
        .collect();
    findings.extend(scrub.drives.iter().flat_map(|drive| of_drive(facts, drive)));
    findings
}

fn differs(facts: &Facts, compared: &v1::ReplicaComparison) -> Option<v1::Finding> {
    let nodes = compared
        .different_node_ids
        .iter()
        .map(|node| facts.name(*node));
    let nodes: Vec<String> = nodes.collect();
    (!nodes.is_empty()).then(|| {
        found(
            Critical,
            format!("group {}", compared.group),
            format!(
                "replicas hold another state than their leader's: {}",
                nodes.join(", ")
            ),
            "see docs/runbooks/replicas-differ.md before anything is restarted",
        )
    })
}

fn of_drive(facts: &Facts, drive: &v1::DriveScrub) -> Vec<v1::Finding> {
    let subject = format!("{} drive {}", drive.node, drive.drive_id);
    let mut findings = Vec::new();
    let last = drive.last.and_then(|last| last.found);
    let passes = [last, drive.found].into_iter().flatten();
    let (mut bad, mut tickets) = (0, 0);
    for pass in passes {
        bad += pass.damaged + pass.unreadable + pass.gone + pass.missing;
        tickets += pass.tickets;
    }
    if bad > 0 {
        let runs = count(bad, "run of a shard is", "runs of shards are");
        let repaired = count(tickets, "shard is", "shards are");
        findings.push(found(
            Warning,
            &subject,
            format!("{runs} not what was written, by the last scrubs; {repaired} repaired for it"),
            "one now and then is what scrubs are for; a drive that goes on like that is replaced. See \
             docs/runbooks/drive-failing.md",
        ));
    }
    if drive.stuck {
        findings.push(found(
            Warning,
            &subject,
            "its scrub cannot go on, and tries again",
            "the node's log says why; see also what `consensus` found",
        ));
    }
    let ended = drive.last.map(|last| last.ended_ms);
    if let Some(age) = ended
        .map(|ended| facts.now_ms.saturating_sub(ended))
        .filter(|age| *age > pass_ms_max(drive))
    {
        findings.push(found(
            Warning,
            &subject,
            format!("it was last read through {} ago", time(age)),
            "let scrubs run: see what `work` found, and what --background-* leaves them",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW_MS, facts, only, severities};
    use super::*;

    fn with(drive: &v1::DriveScrub) -> Facts {
        let mut facts = facts(7);
        facts.scrub.as_mut().expect("there").drives = vec![v1::DriveScrub {
            node: "node-1".to_owned(),
            drive_id: 10,
            ..drive.clone()
        }];
        facts
    }

    #[test]
    fn damage_is_counted_over_the_last_pass_and_the_one_under_way() {
        let bad = v1::ScrubFindings {
            damaged: 1,
            missing: 2,
            tickets: 3,
            ..v1::ScrubFindings::default()
        };
        let last = v1::FullScrub {
            ended_ms: NOW_MS,
            found: Some(bad),
            ..v1::FullScrub::default()
        };
        let facts = with(&v1::DriveScrub {
            found: Some(bad),
            last: Some(last),
            ..v1::DriveScrub::default()
        });
        let (severity, subject, evidence) = only(&damage(&facts));
        assert_eq!((severity, subject.as_str()), (Warning, "node-1 drive 10"));
        assert!(
            evidence.starts_with("6 runs of shards are")
                && evidence.contains("6 shards are repaired")
        );
    }

    #[test]
    fn scrubs_that_do_not_go_on_are_found() {
        let last = v1::FullScrub {
            ended_ms: NOW_MS - 60 * DAY_MS - 1,
            ..v1::FullScrub::default()
        };
        let facts = with(&v1::DriveScrub {
            last: Some(last),
            stuck: true,
            ..v1::DriveScrub::default()
        });
        assert_eq!(severities(&damage(&facts)), [Warning, Warning]);
        for (every_s, late) in [(0, true), (40 * 86_400, false), (86_400, true), (1, true)] {
            let facts = with(&v1::DriveScrub {
                last: Some(last),
                every_s,
                ..v1::DriveScrub::default()
            });
            assert_eq!(damage(&facts).len(), usize::from(late), "every {every_s} s");
        }
        let lately = v1::FullScrub {
            ended_ms: NOW_MS - DAY_MS / 2,
            ..v1::FullScrub::default()
        };
        let facts = with(&v1::DriveScrub {
            last: Some(lately),
            every_s: 1,
            ..v1::DriveScrub::default()
        });
        assert_eq!(damage(&facts), [], "half a day is not late");
        let fresh = with(&v1::DriveScrub::default());
        assert_eq!(damage(&fresh), [], "no pass was ever made");
    }

    #[test]
    fn replicas_that_differ_are_the_worst() {
        let mut facts = facts(7);
        facts.scrub.as_mut().expect("there").comparisons = vec![v1::ReplicaComparison {
            group: 1,
            different_node_ids: vec![3],
            ..v1::ReplicaComparison::default()
        }];
        let (severity, subject, evidence) = only(&damage(&facts));
        assert_eq!((severity, subject.as_str()), (Critical, "group 1"));
        assert!(evidence.ends_with("node-3"));
        facts.scrub = None;
        assert_eq!(only(&damage(&facts)).0, Warning);
    }
}
