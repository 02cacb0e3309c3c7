//! `marram server --export-metadata FILE`: what this node's replica has, for `--recover`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use marram_meta::{BackupGroup, BackupHeader, BackupKind, ClusterView};
use marram_raft::{MetaLogic, OfflineReplica};
use marram_store::OsVfs;
use marram_store::wal::Wal;
use marram_types::{GroupId, NodeId, ReplicaId};

use super::super::lifetime::now_ms;
use super::super::node::open_log;
use super::super::storage::Storage;
use crate::backup_file::BackupWriter;

/// Bytes read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Writes the file and says what is in it. The replica is as it was.
pub(in super::super) fn export(
    storage: &Storage,
    (node, replica): (NodeId, ReplicaId),
    target: &Path,
) -> Result<()> {
    let offline = OfflineReplica {
        dir: storage.raft_dir().join("state"),
        vfs: Arc::new(OsVfs),
        replica,
    };
    let log = storage.raft_dir().join("log");
    anyhow::ensure!(
        Wal::exists(&OsVfs, &log),
        "{} is gone: this replica cannot help; start the server, which asks for a fresh one",
        log.display()
    );
    let wal = open_log(storage)?;
    let view = marram_meta::view(&offline.view(GroupId::ROOT)?)?;
    let header = header(&view, replica)?;
    let failed = || format!("cannot write {}", target.display());
    let mut writer = BackupWriter::create(target, header).with_context(failed)?;
    for group in offline.groups()? {
        let held = offline.read(group, &wal, &MetaLogic::default())?;
        writer
            .group(BackupGroup {
                group,
                term: held.last.term,
                index: held.last.index,
                applied: held.applied,
                voters: held.voters.clone(),
            })
            .with_context(failed)?;
        let mut offset = 0;
        while offset < held.bytes {
            let piece = held.read(offset, PIECE_BYTES.min(held.bytes - offset))?;
            writer.piece(&piece).with_context(failed)?;
            offset += piece.len() as u64;
        }
        writer.group_end().with_context(failed)?;
        println!(
            "group {group}: entry {} of term {}, {} of them known to be committed, voters on {}",
            held.last.index,
            held.last.term,
            held.applied,
            voters_text(&view, &held.voters)
        );
    }
    let bytes = writer.finish().with_context(failed)?;
    println!(
        "{}: {bytes} bytes of replica {replica} on node {node}; give it to marram server --recover, \
         and do not start this server before that has been done",
        target.display()
    );
    Ok(())
}

fn header(view: &ClusterView, replica: ReplicaId) -> Result<BackupHeader> {
    let cluster = view
        .cluster
        .as_ref()
        .context("the root group's state is empty")?;
    Ok(BackupHeader {
        kind: BackupKind::Replica,
        cluster: cluster.cluster,
        name: cluster.name.clone(),
        made_ms: now_ms(),
        kept_until_ms: 0,
        object_groups: cluster.object_groups,
        replica: Some(replica),
    })
}

/// The nodes of voters, both halves where a change is under way.
fn voters_text(view: &ClusterView, halves: &[Vec<ReplicaId>]) -> String {
    let name = |replica: &ReplicaId| {
        let mut nodes = view.nodes.values();
        let node = nodes.find(|node| node.replica == Some(*replica));
        node.map_or_else(|| format!("replica {replica}"), |node| node.name.clone())
    };
    let half = |half: &Vec<ReplicaId>| half.iter().map(name).collect::<Vec<_>>().join(", ");
    halves
        .iter()
        .map(half)
        .collect::<Vec<_>>()
        .join(", to become ")
}
