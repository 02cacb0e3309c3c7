//! Which file a group's state is taken from, and whether it may be (pure).

use std::collections::{BTreeMap, BTreeSet};

use marram_meta::{BackupGroup, BackupHeader, BackupKind, ClusterView, NodeState};
use marram_types::{ClusterId, GroupId, ReplicaId};

/// Why files are no beginning of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SourceError {
    #[error("the files are of another cluster: {found}; this server's certificate is of {own}")]
    OtherCluster { found: ClusterId, own: ClusterId },
    #[error("file {0} is what one replica had, not a backup of the cluster: give it to --recover")]
    NotABackup(usize),
    #[error("file {0} is a backup of a cluster: give it to --restore")]
    NotAnExport(usize),
    #[error("two files are of replica {0}: give one file of each survivor")]
    Twice(ReplicaId),
    #[error("no file has group {0}: the export of a server with a replica of it is missing")]
    NoGroup(GroupId),
    #[error(
        "nothing is lost: the files hold a majority of the voters of every group. Start these \
         servers instead"
    )]
    NothingLost,
    #[error(
        "the voters without a file are on {}; --gone names {}. It must name exactly those nodes, \
         and only if none of them will ever come back", names(.missing), names(.given)
    )]
    Gone {
        missing: BTreeSet<String>,
        given: BTreeSet<String>,
    },
}

fn names(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return "nobody".to_owned();
    }
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// A file's header and groups.
pub(super) type Held = (BackupHeader, Vec<BackupGroup>);

/// What a group is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The number of the file.
    pub(super) file: usize,
    /// The group as it has it.
    pub(super) group: BackupGroup,
    /// Whether the survivors are a majority of its voters: then nothing of it is lost.
    pub(super) has_quorum: bool,
}

/// Takes every group from the one backup.
pub(super) fn of_backup(
    own: ClusterId,
    files: &[Held],
) -> Result<BTreeMap<GroupId, Chosen>, SourceError> {
    same_cluster(own, files)?;
    let wrong = files
        .iter()
        .position(|(h, _)| h.kind != BackupKind::Cluster);
    if let Some(wrong) = wrong {
        return Err(SourceError::NotABackup(wrong + 1));
    }
    complete(files, longest(files))
}

/// Takes every group from the survivor with the longest log: the highest term, then the highest
/// index. Whatever a majority had committed and any survivor has is in it.
pub(super) fn of_survivors(
    own: ClusterId,
    files: &[Held],
) -> Result<BTreeMap<GroupId, Chosen>, SourceError> {
    same_cluster(own, files)?;
    let mut seen = BTreeSet::new();
    for (number, (header, _)) in files.iter().enumerate() {
        let replica = header
            .replica
            .filter(|_| header.kind == BackupKind::Replica);
        let replica = replica.ok_or(SourceError::NotAnExport(number + 1))?;
        if !seen.insert(replica) {
            return Err(SourceError::Twice(replica));
        }
    }
    let mut chosen = complete(files, longest(files))?;
    for held in chosen.values_mut() {
        held.has_quorum = is_quorum(&held.group, &seen);
    }
    if chosen.values().all(|held| held.has_quorum) {
        return Err(SourceError::NothingLost);
    }
    Ok(chosen)
}

fn same_cluster(own: ClusterId, files: &[Held]) -> Result<(), SourceError> {
    let other = files.iter().find(|(header, _)| header.cluster != own);
    other.map_or(Ok(()), |(header, _)| {
        let found = header.cluster;
        Err(SourceError::OtherCluster { found, own })
    })
}

fn longest(files: &[Held]) -> BTreeMap<GroupId, Chosen> {
    let mut chosen: BTreeMap<GroupId, Chosen> = BTreeMap::new();
    for (file, (_, groups)) in files.iter().enumerate() {
        for group in groups {
            let shorter =
                |held: &Chosen| (held.group.term, held.group.index) < (group.term, group.index);
            if chosen.get(&group.group).is_none_or(shorter) {
                let group = group.clone();
                let has_quorum = false;
                chosen.insert(
                    group.group,
                    Chosen {
                        file,
                        group,
                        has_quorum,
                    },
                );
            }
        }
    }
    chosen
}

fn complete(
    files: &[Held],
    chosen: BTreeMap<GroupId, Chosen>,
) -> Result<BTreeMap<GroupId, Chosen>, SourceError> {
    let groups = files.iter().map(|(header, _)| header.object_groups);
    let mut all = (0..=groups.max().unwrap_or(0)).map(GroupId);
    match all.find(|group| !chosen.contains_key(group)) {
        Some(missing) => Err(SourceError::NoGroup(missing)),
        None => Ok(chosen),
    }
}

/// Whether these replicas could commit in the group: a majority of each half.
fn is_quorum(group: &BackupGroup, replicas: &BTreeSet<ReplicaId>) -> bool {
    group.voters.iter().all(|half| {
        let here = half.iter().filter(|voter| replicas.contains(voter));
        here.count() * 2 > half.len()
    })
}

/// Checks that `gone` names exactly the nodes whose votes are missing, as the root's state `view`
/// knows them.
pub(super) fn check_gone(
    view: &ClusterView,
    chosen: &BTreeMap<GroupId, Chosen>,
    replicas: &BTreeSet<ReplicaId>,
    gone: &[String],
) -> Result<(), SourceError> {
    let lost = chosen.values().filter(|held| !held.has_quorum);
    let voters = lost.flat_map(|held| held.group.voters.iter().flatten());
    let missing: BTreeSet<_> = voters
        .filter(|voter| !replicas.contains(voter))
        .map(|voter| {
            let mut nodes = view.nodes.values();
            let node = nodes.find(|node| {
                node.state == NodeState::Active
                    && (node.replica == Some(*voter) || node.replicas_past.contains(voter))
            });
            node.map_or_else(|| format!("replica {voter}"), |node| node.name.clone())
        })
        .collect();
    let given: BTreeSet<_> = gone.iter().cloned().collect();
    if missing == given {
        Ok(())
    } else {
        Err(SourceError::Gone { missing, given })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: ClusterId = ClusterId(7);

    fn group(number: u16, (term, index): (u64, u64), voters: &[u64]) -> BackupGroup {
        BackupGroup {
            group: GroupId(number),
            term,
            index,
            applied: index,
            voters: vec![voters.iter().copied().map(ReplicaId).collect()],
        }
    }

    fn export(replica: u64, groups: Vec<BackupGroup>) -> Held {
        let header = BackupHeader {
            kind: BackupKind::Replica,
            cluster: OWN,
            name: "dune".to_owned(),
            made_ms: 1,
            kept_until_ms: 0,
            object_groups: 1,
            replica: Some(ReplicaId(replica)),
        };
        (header, groups)
    }

    const ALL: [u64; 5] = [1, 2, 3, 4, 5];

    #[test]
    fn the_longest_log_of_the_survivors_goes_on() {
        let files = [
            export(1, vec![group(0, (3, 90), &ALL), group(1, (4, 70), &ALL)]),
            export(2, vec![group(0, (3, 91), &ALL), group(1, (5, 60), &ALL)]),
        ];
        let chosen = of_survivors(OWN, &files).unwrap();
        let taken: Vec<_> = chosen.values().map(|c| (c.file, c.group.index)).collect();
        assert_eq!(
            taken,
            [(1, 91), (1, 60)],
            "a higher term before a higher index"
        );
        assert!(chosen.values().all(|held| !held.has_quorum));
    }

    #[test]
    fn where_a_majority_is_there_nothing_is_recovered() {
        let held = |replica| {
            let groups = vec![group(0, (3, 90), &ALL), group(1, (3, 9), &[1, 2, 3])];
            export(replica, groups)
        };
        let files = [held(1), held(2), held(3)];
        assert_eq!(of_survivors(OWN, &files), Err(SourceError::NothingLost));
        let chosen = of_survivors(OWN, &files[..2]).unwrap();
        assert!(!chosen[&GroupId(0)].has_quorum && chosen[&GroupId(1)].has_quorum);
        // Half of a change counts as much as the other.
        let mut joint = group(1, (3, 9), &[1, 2, 3]);
        joint
            .voters
            .push(vec![ReplicaId(8), ReplicaId(9), ReplicaId(1)]);
        assert!(!is_quorum(
            &joint,
            &BTreeSet::from([1, 2, 3].map(ReplicaId))
        ));
        assert!(is_quorum(&joint, &BTreeSet::from([1, 2, 9].map(ReplicaId))));
    }

    #[test]
    fn files_that_do_not_fit_are_refused() {
        let one = export(1, vec![group(0, (3, 90), &ALL), group(1, (3, 9), &ALL)]);
        let other = ClusterId(8);
        let found = OWN;
        let wrong = SourceError::OtherCluster { found, own: other };
        assert_eq!(of_survivors(other, std::slice::from_ref(&one)), Err(wrong));
        let twice = of_survivors(OWN, &[one.clone(), one.clone()]);
        assert_eq!(twice, Err(SourceError::Twice(ReplicaId(1))));
        let less = export(1, vec![group(0, (3, 90), &ALL)]);
        let missing = Err(SourceError::NoGroup(GroupId(1)));
        assert_eq!(of_survivors(OWN, &[less]), missing);
        let not = of_backup(OWN, std::slice::from_ref(&one));
        assert_eq!(not, Err(SourceError::NotABackup(1)));
        let mut backup = one;
        backup.0.kind = BackupKind::Cluster;
        let not = of_survivors(OWN, std::slice::from_ref(&backup));
        assert_eq!(not, Err(SourceError::NotAnExport(1)));
        assert_eq!(of_backup(OWN, &[backup]).unwrap().len(), 2);
    }

    #[test]
    fn the_nodes_that_are_gone_are_named_by_whoever_asks() {
        let files = [export(
            1,
            vec![group(0, (3, 90), &ALL), group(1, (3, 9), &[1])],
        )];
        let chosen = of_survivors(OWN, &files).unwrap();
        let here = BTreeSet::from([ReplicaId(1)]);
        let missing = [2, 3, 4, 5].map(|n| format!("replica {n}"));
        let view = ClusterView::default();
        assert_eq!(check_gone(&view, &chosen, &here, &missing), Ok(()));
        for given in [&missing[..3], &[]] {
            let refused = check_gone(&view, &chosen, &here, given);
            assert!(matches!(refused, Err(SourceError::Gone { .. })));
        }
    }
}
