//! Backups of the metadata, for a client that puts the file together.
//!
//! What makes the groups one backup: while it is read no move takes a step and, as `end` checks, no
//! bucket is made or removed, so all groups know the same placement groups and buckets whenever each
//! was read; an object is in one group, whose copy is a state of one moment. What any of these states
//! names stays on the drives for as long as the backup was promised to be of use: each group holds its
//! read floor from an entry before its copy on.

use std::time::Duration;

use marram_meta::{
    BACKUP_NOTES_SINCE, BackupNote, ClusterView, Envelope, HOLD_MS_MAX, NodeRecord, NodeState,
    ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery, RootCommand, RootOutcome,
};
use marram_proto::v1;
use marram_types::{Crc64Nvme, GroupId, NodeId, crc32c};

use crate::admin::AdminError;
use crate::core::Core;
use crate::drives::{CopyAsk, DriveError};
use crate::groups::{COMMAND_TIME, GroupError};
use crate::validate::InvalidField;

/// How long the layout rests at most before a backup has to ask again, in milliseconds; it does with
/// every group.
const LAYOUT_RESTS_MS: u64 = 5 * 60 * 1000;
/// A backup may take so long: what it names is kept at least for this time, in milliseconds.
const BACKUP_MS: u64 = 60 * 60 * 1000;
/// How long a node may take for one piece, the first of which it writes the whole copy for.
const PIECE_TIME: Duration = Duration::from_secs(20);

/// Begins a backup.
pub(crate) async fn begin(
    core: &Core,
    request: v1::BeginBackupRequest,
) -> Result<v1::BeginBackupResponse, AdminError> {
    hold_layout(core).await?;
    let made_ms = (core.now_ms)();
    let kept_until_ms = made_ms.saturating_add(request.keep_ms.clamp(BACKUP_MS, HOLD_MS_MAX));
    let view = core.fresh_view().await?;
    let cluster = view.cluster.as_ref().ok_or(AdminError::NotReady)?;
    let mut marks = Vec::new();
    for group in (1..=cluster.object_groups).map(GroupId) {
        hold_floors(core, group, kept_until_ms).await?;
        let ObjectAnswer::Status(counters) = core.ask(group, &ObjectQuery::Status, true).await?
        else {
            return Err(GroupError::Kind(group).into());
        };
        marks.push(v1::BackupMark {
            group: u32::from(group.0),
            at_least: counters.applied,
        });
    }
    marks.push(v1::BackupMark {
        group: u32::from(GroupId::ROOT.0),
        at_least: view.index,
    });
    tracing::info!(target: "admin", kept_until_ms, "a backup of the metadata begins");
    Ok(v1::BeginBackupResponse {
        cluster_id: cluster.cluster.to_string(),
        cluster_name: cluster.name.clone(),
        object_groups: u32::from(cluster.object_groups),
        made_ms,
        kept_until_ms,
        marks,
        layout: digest(&view),
    })
}

/// Reads a piece.
pub(crate) async fn read(
    core: &Core,
    request: v1::ReadBackupRequest,
) -> Result<v1::ReadBackupResponse, AdminError> {
    let group = u16::try_from(request.group).map_err(|_| AdminError::NoGroup(request.group))?;
    let group = GroupId(group);
    let ask = |copy| CopyAsk {
        group,
        copy,
        offset: request.offset,
        at_least: request.at_least,
    };
    if !request.copy.is_empty() {
        let node = NodeId(request.node_id);
        let ask = ask(request.copy.clone());
        let piece = core.drives.copy_piece(node, ask, PIECE_TIME).await;
        return piece
            .map(|piece| answer(node, piece))
            .map_err(|error| AdminError::Copy {
                group,
                why: error.to_string(),
            });
    }
    hold_layout(core).await?;
    let view = core.view();
    let mut why = "no node with a replica of it is known".to_owned();
    for node in readers(&view, group, |node| core.drives.is_up(node)) {
        let piece = core
            .drives
            .copy_piece(node, ask(String::new()), PIECE_TIME)
            .await;
        match piece {
            Ok(piece) => return Ok(answer(node, piece)),
            Err(DriveError::Away | DriveError::NotOpen) => {
                "a node with a replica of it is not far enough, or away".clone_into(&mut why);
            }
            Err(error) => why = format!("node {node}: {error}"),
        }
    }
    Err(AdminError::NoCopy { group, why })
}

/// Ends a backup.
pub(crate) async fn end(
    core: &Core,
    request: v1::EndBackupRequest,
) -> Result<v1::EndBackupResponse, AdminError> {
    let unchanged = digest(core.fresh_view().await?.as_ref()) == request.layout;
    let let_go = RootCommand::HoldLayout { until_ms: 0 };
    decide(core, &let_go).await?;
    tracing::info!(target: "admin", unchanged, "a backup of the metadata ends");
    Ok(v1::EndBackupResponse { unchanged })
}

/// Remembers a whole backup. Not tied to a request id: what comes twice, or late, changes nothing.
pub(crate) async fn record(
    core: &Core,
    request: v1::RecordBackupRequest,
) -> Result<v1::RecordBackupResponse, AdminError> {
    core.pass_gate(BACKUP_NOTES_SINCE)?;
    let view = core.fresh_view().await?;
    let backup = checked(&view, &request)?;
    decide(core, &RootCommand::NoteBackup(backup)).await?;
    let known = core.fresh_view().await?.upkeep.backup;
    let BackupNote { made_ms, bytes, .. } = backup;
    tracing::info!(target: "admin", made_ms, bytes, "a backup of the metadata is kept");
    Ok(v1::RecordBackupResponse {
        last_backup: known.map(note),
    })
}

/// A backup as it is told of.
pub(crate) fn note(backup: BackupNote) -> v1::BackupNote {
    v1::BackupNote {
        made_ms: backup.made_ms,
        kept_until_ms: backup.kept_until_ms,
        bytes: backup.bytes,
        root_index: backup.root_index,
    }
}

/// The backup of a request, if this cluster can be what it is of.
fn checked(
    view: &ClusterView,
    request: &v1::RecordBackupRequest,
) -> Result<BackupNote, InvalidField> {
    let wrong = |field, rule| Err(InvalidField::Wrong { field, rule });
    let own = view.cluster.as_ref().map(|c| c.cluster.to_string());
    if own.as_deref() != Some(request.cluster_id.as_str()) {
        return wrong("cluster_id", "it must be that of this cluster");
    }
    let backup = request.backup.unwrap_or_default();
    if backup.made_ms == 0 {
        return wrong("backup.made_ms", "it must say when the backup was begun");
    }
    if backup.bytes == 0 {
        return wrong("backup.bytes", "it must be the size of a whole backup");
    }
    if backup.kept_until_ms < backup.made_ms {
        let rule = "it must not be before the backup was begun";
        return wrong("backup.kept_until_ms", rule);
    }
    if !(1..=view.index).contains(&backup.root_index) {
        let rule = "it must be the index of a decision that this cluster has made";
        return wrong("backup.root_index", rule);
    }
    Ok(BackupNote {
        made_ms: backup.made_ms,
        kept_until_ms: backup.kept_until_ms,
        bytes: backup.bytes,
        root_index: backup.root_index,
    })
}

/// Lets go of what is kept for backups.
pub(crate) async fn release(core: &Core) -> Result<v1::ReleaseBackupsResponse, AdminError> {
    let view = core.fresh_view().await?;
    let groups = view.cluster.as_ref().map_or(0, |c| c.object_groups);
    for group in (1..=groups).map(GroupId) {
        hold_floors(core, group, 0).await?;
    }
    if let Some(known) = view.upkeep.backup
        && core.pass_gate(BACKUP_NOTES_SINCE).is_ok()
    {
        let now_ms = (core.now_ms)().max(known.made_ms);
        let kept_until_ms = known.kept_until_ms.min(now_ms);
        let note = BackupNote {
            kept_until_ms,
            ..known
        };
        decide(core, &RootCommand::NoteBackup(note)).await?;
    }
    tracing::info!(target: "admin", "nothing is kept for backups any more");
    Ok(v1::ReleaseBackupsResponse {})
}

fn answer(node: NodeId, piece: crate::drives::CopyPiece) -> v1::ReadBackupResponse {
    v1::ReadBackupResponse {
        copy: piece.copy,
        node_id: node.0,
        total_bytes: piece.total_bytes,
        index: piece.index,
        term: piece.term,
        crc32c: crc32c(&piece.bytes),
        piece: piece.bytes,
    }
}

async fn hold_layout(core: &Core) -> Result<(), AdminError> {
    let until_ms = (core.now_ms)() + LAYOUT_RESTS_MS;
    decide(core, &RootCommand::HoldLayout { until_ms }).await
}

async fn decide(core: &Core, command: &RootCommand) -> Result<(), AdminError> {
    match core.root_decision(command).await? {
        RootOutcome::Done => Ok(()),
        _ => Err(GroupError::Kind(GroupId::ROOT).into()),
    }
}

/// Not tied to a request id: a hold that comes twice holds once.
async fn hold_floors(core: &Core, group: GroupId, until_ms: u64) -> Result<(), AdminError> {
    let sealed = Envelope::seal_internal(&ObjectCommand::HoldFloors { until_ms });
    let outcome = core
        .groups
        .propose(group, sealed.into(), COMMAND_TIME)
        .await?;
    match ObjectOutcome::decode(&outcome).map_err(GroupError::from)? {
        ObjectOutcome::Done => Ok(()),
        _ => Err(GroupError::Kind(group).into()),
    }
}

/// What must be the same before the first group is read and after the last: buckets and layout.
fn digest(view: &ClusterView) -> u64 {
    let compared = ClusterView {
        buckets: view.buckets.clone(),
        pools: view.pools.clone(),
        ..ClusterView::default()
    };
    Crc64Nvme::of(&compared.encode())
}

/// The nodes with a replica of a group, those that answer first. Every node has one of the root
/// group.
fn readers(view: &ClusterView, group: GroupId, is_up: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
    let voters = view.groups.get(&group).map_or(&[][..], |g| &g.voters);
    let has = |node: &&NodeRecord| {
        let votes = node.replica.is_some_and(|r| voters.contains(&r));
        node.state == NodeState::Active && (votes || group == GroupId::ROOT)
    };
    let mut nodes: Vec<_> = view.nodes.values().filter(has).map(|n| n.node).collect();
    nodes.sort_by_key(|node| !is_up(*node));
    nodes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use marram_meta::{GroupRecord, NodeDuty};
    use marram_types::ReplicaId;

    use super::*;

    fn node(id: u64) -> NodeRecord {
        NodeRecord {
            node: NodeId(id),
            name: format!("node-{id}"),
            mesh_addr: String::new(),
            api_addr: String::new(),
            public_key: [0; 32],
            zone: String::new(),
            drives: Vec::new(),
            replica: Some(ReplicaId(id * 10)),
            replicas_past: Vec::new(),
            state: NodeState::Active,
            duty: NodeDuty::Serving,
            absence: marram_meta::Absence::default(),
        }
    }

    #[test]
    fn a_backup_of_another_cluster_is_not_remembered() {
        let view = ClusterView {
            index: 40,
            cluster: Some(marram_meta::ClusterRecord {
                cluster: marram_types::ClusterId(7),
                name: "tests".to_owned(),
                version: marram_meta::COMMAND_VERSION,
                object_groups: 1,
                expected_nodes: 1,
                default_profile: None,
            }),
            ..ClusterView::default()
        };
        let good = v1::RecordBackupRequest {
            cluster_id: marram_types::ClusterId(7).to_string(),
            backup: Some(v1::BackupNote {
                made_ms: 5,
                kept_until_ms: 6,
                bytes: 7,
                root_index: 40,
            }),
        };
        let known = checked(&view, &good).map(note);
        assert_eq!(known.ok(), good.backup);
        let field = |edit: &dyn Fn(&mut v1::RecordBackupRequest, &mut v1::BackupNote)| {
            let (mut bad, mut backup) = (good.clone(), good.backup.expect("there"));
            edit(&mut bad, &mut backup);
            bad.backup = Some(backup);
            match checked(&view, &bad) {
                Err(InvalidField::Wrong { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(field(&|r, _| r.cluster_id.clear()), "cluster_id");
        assert_eq!(field(&|_, b| b.made_ms = 0), "backup.made_ms");
        assert_eq!(field(&|_, b| b.kept_until_ms = 4), "backup.kept_until_ms");
        assert_eq!(field(&|_, b| b.bytes = 0), "backup.bytes");
        assert_eq!(field(&|_, b| b.root_index = 0), "backup.root_index");
        assert_eq!(field(&|_, b| b.root_index = 41), "backup.root_index");
    }

    #[test]
    fn a_group_is_read_where_it_is_and_first_where_somebody_answers() {
        let group = GroupId(2);
        let voters = vec![ReplicaId(10), ReplicaId(30)];
        let view = ClusterView {
            nodes: (1..=3).map(|n| (NodeId(n), node(n))).collect(),
            groups: BTreeMap::from([(group, GroupRecord::new(group, voters))]),
            ..ClusterView::default()
        };
        let up = |node| node != NodeId(1);
        assert_eq!(readers(&view, group, up), [NodeId(3), NodeId(1)]);
        let all = readers(&view, GroupId::ROOT, up);
        assert_eq!(all, [NodeId(2), NodeId(3), NodeId(1)]);
        assert_eq!(readers(&view, GroupId(9), up), []);
    }
}
