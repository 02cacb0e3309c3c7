//! One group's garbage queue: has the drives drop what may go, and tells the group when all did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use marram_meta::{CollectedEntry, GarbageEntry, ObjectAnswer, ObjectCommand, ObjectQuery};
use marram_types::{DataId, DriveId, GroupId, NodeId};
use tokio::time::Instant;

use super::owners::{Owner, Owners};
use crate::consensus::{Consensus, ConsensusError};
use crate::fault::fault_point;
use crate::shards::{SHARDS_PER_REQUEST_MAX, Shards};

/// Entries of one page, and most that one entry of the log tells to be collected.
pub(super) const PAGE: u32 = 256;
/// Pages of one group in one turn.
const PAGES_PER_TURN: usize = 8;
/// Nodes that are asked at once for one page.
const NODES_AT_ONCE: usize = 16;
/// Entries of one group of which it is kept in mind which drives have dropped them. Of others all
/// drives are told again, which does no harm.
const PARTLY_DONE_MAX: usize = 65_536;
/// How often entries that wait for a node are looked at while nothing else changes.
const WAITING_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// An entry's key in the queue.
type EntryKey = (u64, DataId);

/// What the work on a queue needs from outside.
pub(super) struct Seams<'a, C, S> {
    pub(super) consensus: &'a C,
    pub(super) shards: &'a Arc<S>,
    pub(super) owners: &'a Owners,
    /// The nodes that are there.
    pub(super) up: &'a BTreeSet<NodeId>,
}

/// How far the work on one group's queue is. Kept in memory only: who leads next begins anew.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The floors as of the last pass that was begun.
    floors: (u64, u64),
    /// The nodes that were there then.
    up: BTreeSet<NodeId>,
    /// A pass through the queue is under way.
    under_way: bool,
    /// Where it is.
    after: Option<EntryKey>,
    /// Entries stayed in the queue in this pass or the last one.
    waiting: bool,
    /// When the last pass was begun.
    begun: Option<Instant>,
    /// Drives that have dropped the data of entries that wait for others.
    partly: BTreeMap<EntryKey, BTreeSet<DriveId>>,
}

impl Queue {
    /// Whether something may have become due: the floors have risen, or entries wait for a node.
    fn is_due(&self, now: Instant, floors: (u64, u64), up: &BTreeSet<NodeId>) -> bool {
        let rested = |begun| now.saturating_duration_since(begun) >= WAITING_AGAIN_AFTER;
        let Some(begun) = self.begun else {
            return true;
        };
        self.under_way || self.floors != floors || self.waiting && (rested(begun) || *up != self.up)
    }

    /// Goes on with the queue. `floors` are the group's, at least. Says how many entries it had the
    /// group apply.
    pub(super) async fn turn<C: Consensus, S: Shards>(
        &mut self,
        seams: &Seams<'_, C, S>,
        group: GroupId,
        (now, floors): (Instant, (u64, u64)),
    ) -> Result<u64, ConsensusError> {
        let mut proposed = 0;
        if !self.is_due(now, floors, seams.up) {
            return Ok(proposed);
        }
        if !self.under_way {
            self.under_way = true;
            self.after = None;
            self.waiting = false;
            self.floors = floors;
            self.up.clone_from(seams.up);
            self.begun = Some(now);
        }
        for _ in 0..PAGES_PER_TURN {
            let after = self.after;
            let query = ObjectQuery::Garbage { after, limit: PAGE };
            let answer = seams.consensus.ask_object(group, query).await?;
            let ObjectAnswer::Garbage(entries) = answer else {
                tracing::error!(%group, "a group answered something else than its garbage");
                self.under_way = false;
                return Ok(proposed);
            };
            proposed += u64::from(self.page(seams, group, &entries).await?);
            match entries.last() {
                Some(last) if entries.len() >= PAGE as usize => {
                    self.after = Some((last.at, last.extent.data));
                }
                _ => {
                    self.under_way = false;
                    return Ok(proposed);
                }
            }
        }
        Ok(proposed)
    }

    async fn page<C: Consensus, S: Shards>(
        &mut self,
        seams: &Seams<'_, C, S>,
        group: GroupId,
        entries: &[GarbageEntry],
    ) -> Result<bool, ConsensusError> {
        let mut sends: BTreeMap<NodeId, BTreeMap<DriveId, Vec<DataId>>> = BTreeMap::new();
        let mut owing: Vec<(EntryKey, BTreeSet<DriveId>)> = Vec::new();
        for entry in entries {
            let key = (entry.at, entry.extent.data);
            let owed = self.owed(seams.owners, entry);
            let mut told = Vec::new();
            for drive in &owed {
                let node = seams.owners.node(*drive);
                if let Some(node) = node.filter(|node| seams.up.contains(node)) {
                    let of_node = sends.entry(node).or_default();
                    of_node.entry(*drive).or_default().push(key.1);
                    told.push(*drive);
                }
            }
            if !told.is_empty() {
                tracing::info!(
                    target: "gc",
                    data = %key.1,
                    pg = %entry.extent.pg,
                    drives = ?told,
                    displaced_at = entry.at,
                    "no version holds the data and the floors have passed it: its shards are removed"
                );
            }
            owing.push((key, owed));
        }
        if !sends.is_empty() {
            fault_point("garbage.due");
        }
        let dropped = drop_all(seams.shards, sends).await;
        if !dropped.is_empty() {
            fault_point("garbage.dropped");
        }
        let mut collected = Vec::new();
        for (key, owed) in owing {
            let (done, owed): (Vec<_>, Vec<_>) = owed
                .into_iter()
                .partition(|drive| dropped.contains(&(*drive, key.1)));
            if owed.is_empty() {
                self.partly.remove(&key);
                let (at, data) = key;
                collected.push(CollectedEntry { at, data });
                continue;
            }
            self.waiting = true;
            self.note_partly(key, done);
        }
        collect(seams.consensus, group, collected).await
    }

    /// The drives that have yet to drop an entry's data.
    fn owed(&self, owners: &Owners, entry: &GarbageEntry) -> BTreeSet<DriveId> {
        let done = self.partly.get(&(entry.at, entry.extent.data));
        let owes = |drive: &DriveId| {
            owners.get(*drive) != Some(Owner::Gone) && !done.is_some_and(|d| d.contains(drive))
        };
        let drives = entry.places.iter().flatten().copied();
        drives.filter(owes).collect()
    }

    fn note_partly(&mut self, key: EntryKey, done: Vec<DriveId>) {
        let known = self.partly.contains_key(&key);
        if !done.is_empty() && (known || self.partly.len() < PARTLY_DONE_MAX) {
            self.partly.entry(key).or_default().extend(done);
        }
    }
}

/// Has the nodes drop data, each node's requests one after the other. Answers what is dropped.
async fn drop_all<S: Shards>(
    shards: &Arc<S>,
    sends: BTreeMap<NodeId, BTreeMap<DriveId, Vec<DataId>>>,
) -> BTreeSet<(DriveId, DataId)> {
    let of_nodes = sends
        .into_iter()
        .map(|(node, drives)| drop_on(Arc::clone(shards), node, drives));
    let dropped: Vec<_> = futures::stream::iter(of_nodes)
        .buffer_unordered(NODES_AT_ONCE)
        .collect()
        .await;
    dropped.into_iter().flatten().collect()
}

async fn drop_on<S: Shards>(
    shards: Arc<S>,
    node: NodeId,
    drives: BTreeMap<DriveId, Vec<DataId>>,
) -> Vec<(DriveId, DataId)> {
    let mut dropped = Vec::new();
    for (drive, data) in drives {
        for some in data.chunks(SHARDS_PER_REQUEST_MAX) {
            if let Err(error) = shards.drop_data(node, drive, some.to_vec()).await {
                tracing::info!(target: "gc", %node, %drive, %error, "garbage stays for now");
                if !shards.is_up(node) {
                    return dropped;
                }
                break;
            }
            dropped.extend(some.iter().map(|data| (drive, *data)));
        }
    }
    dropped
}

/// Tells the group that the shards of these entries are gone. Says whether there were any.
async fn collect<C: Consensus>(
    consensus: &C,
    group: GroupId,
    entries: Vec<CollectedEntry>,
) -> Result<bool, ConsensusError> {
    if entries.is_empty() {
        return Ok(false);
    }
    tracing::debug!(target: "gc", %group, entries = entries.len(), "garbage is collected");
    // An answer that is lost does no harm: the entries are gone, or come again.
    let command = ObjectCommand::Collected(entries);
    consensus.propose_object(group, command).await.map(|_| true)
}
