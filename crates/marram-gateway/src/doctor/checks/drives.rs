//! Whether drives work, how fast they are, and whether there is room.

use marram_meta::{DriveDuty, NodeRecord};
use marram_proto::v1;
use marram_types::NodeId;
use marram_types::caps::DRIVE_FULL_PERCENT;
use std::collections::BTreeMap;
use v1::Severity::{Critical, Note, Warning};

use super::super::facts::Facts;
use super::super::say::{bytes, count, drive_name, found, percent};
use super::cluster::profiles;

/// From here on a drive is told of: there is some time left to add others.
const FILLING_PERCENT: u64 = 80;
/// Fewer operations say nothing about a drive's speed.
const OPERATIONS_MIN: u64 = 100;
/// What is faster than this is fast enough, whatever the others are.
const SLOW_MIN_US: u64 = 100_000;
/// So many times slower than the drive in the middle is slow.
const SLOW_TIMES: u64 = 5;
/// Elections begin after half a second without a leader, and a leader's log is synced for each entry.
const METADATA_SLOW_US: u64 = 1_000_000;

/// Do all drives work?
pub(super) fn state(facts: &Facts) -> Vec<v1::Finding> {
    let runbook = "See docs/runbooks/drive-failing.md";
    let mut findings = Vec::new();
    for (node, record, status) in facts.drives() {
        let name = drive_name(node, record);
        let (severity, evidence, remedy) = match (status.state(), record.duty) {
            (_, DriveDuty::Failed) => (
                Warning,
                "it failed for good, and what it had is rebuilt elsewhere",
                "put another drive in its place, and `marram admin drive remove` this one",
            ),
            (v1::DriveState::Retired, _) => (
                Warning,
                "it failed and is not used any more",
                "replace it; what it had is rebuilt elsewhere",
            ),
            (v1::DriveState::Away, _) => (
                Warning,
                "its node answers and does not find it",
                "mount it again, or replace it",
            ),
            (_, DriveDuty::Draining) => {
                (Note, "it is being drained", "nothing: it goes on by itself")
            }
            _ => continue,
        };
        findings.push(found(
            severity,
            name,
            evidence,
            format!("{remedy}. {runbook}"),
        ));
    }
    for (node, folder) in facts.folders() {
        if folder.drive_id == 0 {
            findings.push(found(
                Warning,
                format!("{} {}", node.name, folder.path),
                "no drive is open in this data folder",
                "its log says why; an empty folder in place of a drive that was there is taken for a new \
                 drive once that one has failed or was given up: `marram admin drive fail`",
            ));
        }
        if folder.errors > 0 {
            let errors = count(
                folder.errors,
                "read, write or sync",
                "reads, writes and syncs",
            );
            findings.push(found(
                Warning,
                format!("{} {}", node.name, folder.path),
                format!("{errors} failed since the process started"),
                format!("look at the kernel's log and at SMART, and replace it in time. {runbook}"),
            ));
        }
    }
    findings
}

/// Are drives as fast as others?
pub(super) fn speed(facts: &Facts) -> Vec<v1::Finding> {
    let mut findings = slow(facts, "syncs", |folder| (folder.syncs, folder.sync_p99_us));
    findings.extend(slow(facts, "reads", |folder| {
        (folder.reads, folder.read_p99_us)
    }));
    let metadata = facts.folders().filter(|(_, folder)| {
        folder.metadata && folder.syncs >= OPERATIONS_MIN && folder.sync_p99_us >= METADATA_SLOW_US
    });
    for (node, folder) in metadata {
        findings.push(found(
            Warning,
            format!("{} {}", node.name, folder.path),
            format!("1 of 100 syncs of this metadata drive takes {} ms or longer", folder.sync_p99_us / 1000),
            "give the metadata a fast drive of its own: leaders change and writes wait when syncs take a second",
        ));
    }
    findings
}

fn slow(
    facts: &Facts,
    what: &str,
    of: impl Fn(&v1::FolderFacts) -> (u64, u64),
) -> Vec<v1::Finding> {
    let known = |folder: &v1::FolderFacts| of(folder).0 >= OPERATIONS_MIN;
    let mut times: Vec<u64> = facts
        .folders()
        .filter(|(_, folder)| known(folder))
        .map(|(_, folder)| of(folder).1)
        .collect();
    times.sort_unstable();
    // Of two drives nobody can say which one is slow.
    let Some(&middle) = times.get(times.len() / 2).filter(|_| times.len() > 2) else {
        return Vec::new();
    };
    let limit = SLOW_MIN_US.max(middle.saturating_mul(SLOW_TIMES));
    let slow = facts
        .folders()
        .filter(|(_, folder)| known(folder) && of(folder).1 > limit);
    let say = |(node, folder): (&NodeRecord, &v1::FolderFacts)| {
        let ms = of(folder).1 / 1000;
        found(
            Warning,
            format!("{} {}", node.name, folder.path),
            format!(
                "1 of 100 {what} takes {ms} ms or longer, where the drive in the middle takes {} ms",
                middle / 1000
            ),
            "look at SMART, the kernel's log and what else uses it; replace it, or drain it with `marram \
             admin drive drain`. See docs/runbooks/slow.md",
        )
    };
    slow.map(say).collect()
}

/// Is there room for data and metadata?
pub(super) fn room(facts: &Facts) -> Vec<v1::Finding> {
    let runbook = "See docs/runbooks/filling-up.md";
    let mut findings = Vec::new();
    for (node, record, drive) in facts
        .drives()
        .filter(|(.., drive)| drive.capacity_bytes > 0)
    {
        let used = drive.capacity_bytes.saturating_sub(drive.free_bytes);
        let used = percent(used, drive.capacity_bytes);
        let evidence = match drive.state() {
            v1::DriveState::Full => format!("it is full ({used} %) and takes no new shards"),
            _ if used >= FILLING_PERCENT => {
                format!(
                    "{used} % of it are used; from {DRIVE_FULL_PERCENT} % on it takes no new shards"
                )
            }
            _ => continue,
        };
        let remedy = format!(
            "add drives or nodes, or delete data; `marram admin layout plan` says whether others have room. \
             {runbook}"
        );
        findings.push(found(Warning, drive_name(node, record), evidence, remedy));
    }
    findings.extend(metadata_room(facts, runbook));
    findings.extend(room_to_rebuild(facts, runbook));
    findings
}

fn metadata_room(facts: &Facts, runbook: &str) -> Vec<v1::Finding> {
    let near = facts.folders().filter(|(_, folder)| {
        folder.metadata && folder.free_bytes < folder.metadata_kept_bytes.saturating_mul(2)
    });
    let say = |(node, folder): (&NodeRecord, &v1::FolderFacts)| {
        let (free, kept) = (folder.free_bytes, folder.metadata_kept_bytes);
        let (severity, what) = match free < kept {
            true => (Critical, "groups that this node leads take no more objects"),
            false => (
                Warning,
                "soon groups that this node leads take no more objects",
            ),
        };
        found(
            severity,
            format!("{} {}", node.name, folder.path),
            format!(
                "{} are free for metadata, {} must be: {what}",
                bytes(free),
                bytes(kept)
            ),
            format!(
                "make room on this drive: remove what is not Marram's, or give it more. {runbook}"
            ),
        )
    };
    near.map(say).collect()
}

/// Whether what the fullest node has would fit on the others, where there are enough of them for every
/// shard of an object to find a node of its own.
fn room_to_rebuild(facts: &Facts, runbook: &str) -> Option<v1::Finding> {
    let widest = profiles(facts)
        .into_iter()
        .map(marram_types::Profile::width)
        .max()?;
    let mut nodes: BTreeMap<NodeId, (u64, u64)> = BTreeMap::new();
    for (node, record, drive) in facts.drives() {
        if node.drive_takes_data(record.drive) {
            let reserve = drive.capacity_bytes / 100 * (100 - DRIVE_FULL_PERCENT);
            let (held, room) = nodes.entry(node.node).or_default();
            *held += drive.record_bytes;
            *room += drive.free_bytes.saturating_sub(reserve);
        }
    }
    if nodes.len() <= widest {
        return None;
    }
    let room: u64 = nodes.values().map(|(_, room)| room).sum();
    let (node, (held, own)) = nodes
        .into_iter()
        .max_by_key(|(_, (held, own))| held.saturating_add(*own))?;
    let left = room.saturating_sub(own);
    (held > left).then(|| {
        let name = facts.name(node.0);
        found(
            Warning,
            "",
            format!(
                "if {name} is lost, its {} do not fit on the others, which have room for {}",
                bytes(held),
                bytes(left)
            ),
            format!("add nodes or drives before one fails. {runbook}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use marram_types::DriveId;

    use super::super::testing::{facts, only, severities};
    use super::*;

    #[test]
    fn drives_that_failed_or_are_not_there_are_found() {
        let mut facts = facts(7);
        facts.status.nodes[1].drives[0].set_state(v1::DriveState::Retired);
        let (severity, subject, _) = only(&state(&facts));
        assert_eq!((severity, subject.as_str()), (Warning, "node-2/0"));
        facts.status.nodes[1].drives[0].set_state(v1::DriveState::Away);
        assert!(only(&state(&facts)).2.contains("does not find it"));
        let node = facts.decided().nodes.get_mut(&NodeId(2)).expect("there");
        node.drives[0].duty = DriveDuty::Draining;
        facts.status.nodes[1].drives[0].set_state(v1::DriveState::Active);
        assert_eq!(only(&state(&facts)).0, Note);
    }

    #[test]
    fn folders_without_drives_and_errors_are_found() {
        let mut facts = facts(7);
        facts.said(4).folders[0].drive_id = 0;
        facts.said(4).folders[0].errors = 2;
        let findings = state(&facts);
        assert_eq!(severities(&findings), [Warning, Warning]);
        assert_eq!(findings[1].subject, "node-4 /data/4");
        assert!(
            findings[1]
                .evidence
                .starts_with("2 reads, writes and syncs failed")
        );
    }

    #[test]
    fn one_slow_drive_is_found_and_slow_ones_alone_are_not() {
        let mut facts = facts(7);
        facts.said(4).folders[0].sync_p99_us = 99_000;
        assert_eq!(speed(&facts), [], "fast enough for anybody");
        facts.said(4).folders[0].sync_p99_us = 500_000;
        assert!(only(&speed(&facts)).2.contains("syncs takes 500 ms"));
        facts.said(4).folders[0].syncs = OPERATIONS_MIN - 1;
        assert_eq!(speed(&facts), [], "too few to judge by");
        for node in 1..=7 {
            facts.said(node).folders[0].read_p99_us = 400_000;
        }
        assert_eq!(speed(&facts), [], "slow, and none slower than others");
        facts.said(5).folders[0].sync_p99_us = METADATA_SLOW_US;
        assert_eq!(severities(&speed(&facts)), [Warning, Warning]);
    }

    #[test]
    fn drives_that_fill_up_are_found() {
        let mut facts = facts(7);
        let drive = &mut facts.status.nodes[2].drives[0];
        drive.free_bytes = drive.capacity_bytes / 5;
        assert!(only(&room(&facts)).2.starts_with("80 % of it are used"));
        facts.status.nodes[2].drives[0].set_state(v1::DriveState::Full);
        assert!(only(&room(&facts)).2.contains("takes no new shards"));
    }

    #[test]
    fn too_little_room_for_metadata_is_found() {
        let mut facts = facts(7);
        let kept = facts.said(1).folders[0].metadata_kept_bytes;
        facts.said(1).folders[0].free_bytes = kept;
        assert_eq!(only(&room(&facts)).0, Warning);
        facts.said(1).folders[0].free_bytes = kept - 1;
        assert_eq!(only(&room(&facts)).0, Critical);
    }

    #[test]
    fn a_cluster_that_could_not_rebuild_a_node_is_found() {
        let mut facts = facts(7);
        for node in &mut facts.status.nodes {
            node.drives[0].free_bytes = 210 << 30;
            node.drives[0].record_bytes = 790 << 30;
        }
        let found = only(&room(&facts));
        assert!(found.2.starts_with("if node-7 is lost"), "{found:?}");
        // The drives of six nodes with 4+2 have no other to go to.
        facts.decided().nodes.remove(&NodeId(7));
        assert_eq!(room(&facts), []);
        assert_eq!(facts.drives().next().expect("there").1.drive, DriveId(10));
    }
}
