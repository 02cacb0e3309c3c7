//! One step of a pass: a page is read through, or a page of what a group says is looked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use marram_erasure::Geometry;
use marram_meta::{ClusterView, ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery};
use marram_types::caps::MIB;
use marram_types::{DataId, DriveId, GroupId, PgId, ShardId};
use tokio::sync::watch;

use super::{Fault, FaultyRun, ScrubDrives, ScrubNote, ScrubStage};
use crate::consensus::{Consensus, ConsensusError};
use crate::scan::OwnDriveError;

/// Bytes that one step reads, about.
pub(super) const PAGE_BYTES: u64 = 4 * MIB as u64;
/// Extents of one answer of a group.
const COMPARED_PAGE: u32 = 256;

/// Why a step could not be taken now. It is taken again.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Drive(#[from] OwnDriveError),
    #[error(transparent)]
    Group(#[from] ConsensusError),
    #[error("group {0} answered something else than it was asked")]
    Answer(GroupId),
}

/// A pass over one drive.
pub(super) struct Pass<'a, C, D> {
    pub(super) consensus: &'a C,
    pub(super) own: &'a D,
    pub(super) view: &'a watch::Receiver<Arc<ClusterView>>,
    pub(super) drive: DriveId,
}

impl<C: Consensus, D: ScrubDrives> Pass<'_, C, D> {
    /// Takes a step. `note` has gone on only when every fault of it was reported.
    pub(super) async fn step(&self, note: &mut ScrubNote) -> Result<(), StepError> {
        match note.stage {
            ScrubStage::Resting => Ok(()),
            ScrubStage::Reading { after } => {
                let page = self.own.read(self.drive, after, PAGE_BYTES).await?;
                self.own.pace(self.drive, page.bytes).await;
                let told = self.report(&page.faulty).await?;
                let found = &mut note.found;
                found.runs += page.runs;
                found.bytes += page.bytes;
                found.mended += page.mended;
                found.tickets += told;
                for run in &page.faulty {
                    match run.fault {
                        Fault::Damaged => found.damaged += 1,
                        Fault::Unreadable => found.unreadable += 1,
                        Fault::Gone => found.gone += 1,
                    }
                }
                note.stage = match page.last.filter(|_| !page.done) {
                    after @ Some(_) => ScrubStage::Reading { after },
                    None => ScrubStage::Comparing {
                        group: GroupId::ROOT,
                        after: None,
                    },
                };
                Ok(())
            }
            ScrubStage::Comparing { group, after } => self.compare(note, group, after).await,
        }
    }

    /// Reports shards whose runs cannot be read. How many of them a group filed a ticket for.
    async fn report(&self, faulty: &[FaultyRun]) -> Result<u64, StepError> {
        let mut told = 0;
        let shards: BTreeSet<_> = faulty.iter().map(|run| (run.shard, run.pg)).collect();
        for (shard, pg) in shards {
            let fault = faulty.iter().find(|run| run.shard == shard);
            let fault = fault.map(|run| run.fault);
            tracing::warn!(target: "scrub", drive = %self.drive, %shard, ?fault, "a shard is not what was written");
            told += u64::from(self.say_missing(pg, shard).await?);
        }
        Ok(told)
    }

    async fn say_missing(&self, pg: PgId, shard: ShardId) -> Result<bool, ConsensusError> {
        tell_missing(self.consensus, self.view, (self.drive, pg, shard)).await
    }

    /// Compares a page of a group, or goes on to the next group, or ends the pass.
    async fn compare(
        &self,
        note: &mut ScrubNote,
        group: GroupId,
        after: Option<(PgId, DataId)>,
    ) -> Result<(), StepError> {
        let next_group = {
            let view = self.view.borrow();
            let mut later = view.groups.keys().filter(|other| **other > group);
            later.next().copied()
        };
        let next = if group == GroupId::ROOT {
            None
        } else {
            self.compare_page(note, group, after).await?
        };
        match (next, next_group) {
            (after @ Some(_), _) => note.stage = ScrubStage::Comparing { group, after },
            (None, Some(group)) => {
                note.stage = ScrubStage::Comparing { group, after: None };
            }
            (None, None) => {
                let pass = note.end(self.own.now_ms());
                tracing::info!(target: "scrub", drive = %self.drive, found = ?pass.found, "a pass has ended");
            }
        }
        Ok(())
    }

    async fn compare_page(
        &self,
        note: &mut ScrubNote,
        group: GroupId,
        after: Option<(PgId, DataId)>,
    ) -> Result<Option<(PgId, DataId)>, StepError> {
        let query = ObjectQuery::OnDrive {
            drive: self.drive,
            after,
            limit: COMPARED_PAGE,
        };
        let answer = self.consensus.ask_object(group, query).await?;
        let ObjectAnswer::OnDrive(page) = answer else {
            return Err(StepError::Answer(group));
        };
        let mut wanted = Vec::new();
        for on in &page.extents {
            let extent = &on.extent;
            let geometry = Geometry::with_cell(extent.profile, extent.cell, extent.length);
            let Ok(geometry) = geometry else {
                tracing::error!(target: "scrub", data = %extent.data, "an extent is damaged");
                continue;
            };
            for slot in &on.shards {
                let shard = ShardId {
                    data: extent.data,
                    slot: *slot,
                    repair: 0,
                };
                wanted.push((extent.pg, shard, geometry.shard_len()));
            }
        }
        let asked = wanted
            .iter()
            .map(|(_, shard, len)| (*shard, *len))
            .collect();
        let held = self.own.holds(self.drive, asked).await?;
        let (mut missing, mut told) = (0, 0);
        for ((pg, shard, _), held) in wanted.iter().zip(&held) {
            if *held {
                continue;
            }
            missing += 1;
            tracing::warn!(target: "scrub", drive = %self.drive, %shard, "a shard is not on the drive that its group names");
            told += u64::from(self.say_missing(*pg, *shard).await?);
        }
        note.found.compared += held.len() as u64;
        note.found.missing += missing;
        note.found.tickets += told;
        Ok(page.next)
    }
}

/// Tells the shard's group that readers do not find it on a drive. Whether that is so: the data may have
/// been replaced meanwhile, or this may be a copy that nobody reads.
pub(crate) async fn tell_missing<C: Consensus>(
    consensus: &C,
    view: &watch::Receiver<Arc<ClusterView>>,
    (drive, pg, shard): (DriveId, PgId, ShardId),
) -> Result<bool, ConsensusError> {
    let command = ObjectCommand::ShardMissing {
        pg,
        data: shard.data,
        shard: shard.slot,
        at: drive,
    };
    let group = shard.data.group;
    if !view.borrow().groups.contains_key(&group) {
        tracing::warn!(target: "scrub", %group, %shard, "a shard of a group that this node has not heard of");
        return Ok(false);
    }
    let outcome = consensus.propose_object(group, command).await?;
    Ok(matches!(
        outcome,
        ObjectOutcome::Shard { missing: true, .. }
    ))
}
