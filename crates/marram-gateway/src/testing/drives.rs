//! Drives in memory, with faults at will.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use marram_meta::{ClusterView, Pausable};
use marram_types::{DataId, DriveId, GroupId, NodeId, PgId, PoolId, ShardId};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::drives::{
    CopyAsk, CopyPiece, DriveError, DriveHealth, DriveReport, Drives, NodeReport, Part, Place, Run,
};

type Shards = BTreeMap<(DriveId, ShardId), BytesMut>;

#[derive(Default)]
struct State {
    shards: Shards,
    pgs: BTreeMap<DataId, PgId>,
    nodes: BTreeMap<DriveId, NodeId>,
    /// Nodes that do not answer, and are known not to.
    down: HashSet<NodeId>,
    /// Nodes that hold what they are asked until it is given up, and are believed to be well.
    stuck: HashSet<NodeId>,
    full: HashSet<DriveId>,
    /// The next drive that is looked at has lost everything.
    forgetful: bool,
    /// Runs until a node goes down.
    fuse: Option<(NodeId, usize)>,
    reads: usize,
    turns: Turns,
    /// What their nodes know of the cluster, and act by at once.
    view: Option<watch::Receiver<Arc<ClusterView>>>,
    /// Gateways that nodes have heard.
    gateways: BTreeMap<NodeId, Vec<marram_proto::mesh::v1::HeardGateway>>,
}

/// What work in the background asked for, and was given.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turns {
    /// So many are refused before any is given.
    busy: usize,
    /// Nodes do not know what a turn is.
    unknown: bool,
    /// How often it was refused.
    pub(crate) refused: usize,
    /// Bytes that it was given a turn for.
    pub(crate) given: u64,
    /// Bytes that it wrote.
    pub(crate) written: u64,
}

impl Turns {
    fn ask(&mut self, bytes: u64) -> Result<(), DriveError> {
        if self.busy > 0 {
            self.busy -= 1;
            self.refused += 1;
            return Err(DriveError::Overloaded);
        }
        self.given += bytes;
        Ok(())
    }
}

/// All drives.
#[derive(Default)]
pub(crate) struct FakeDrives(Mutex<State>);

impl FakeDrives {
    /// A node has heard a gateway.
    pub(crate) fn hear(&self, node: NodeId, gateway: marram_proto::mesh::v1::HeardGateway) {
        self.0
            .lock()
            .gateways
            .entry(node)
            .or_default()
            .push(gateway);
    }

    /// Their nodes know this.
    pub(crate) fn know(&self, view: watch::Receiver<Arc<ClusterView>>) {
        self.0.lock().view = Some(view);
    }

    pub(crate) fn stop(&self, node: NodeId) {
        self.0.lock().down.insert(node);
    }

    pub(crate) fn start(&self, node: NodeId) {
        let mut state = self.0.lock();
        state.down.remove(&node);
        state.stuck.remove(&node);
    }

    pub(crate) fn stick(&self, node: NodeId) {
        self.0.lock().stuck.insert(node);
    }

    /// A node goes down, unnoticed, after so many more runs anywhere.
    pub(crate) fn stop_after(&self, node: NodeId, runs: usize) {
        self.0.lock().fuse = Some((node, runs));
    }

    /// A drive that nothing was written to yet.
    pub(crate) fn add(&self, drive: DriveId, node: NodeId) {
        self.0.lock().nodes.insert(drive, node);
    }

    /// The next drive that is looked at has lost everything.
    pub(crate) fn forget(&self) {
        self.0.lock().forgetful = true;
    }

    pub(crate) fn fill(&self, drive: DriveId) {
        self.0.lock().full.insert(drive);
    }

    /// Damages one shard of every extent.
    pub(crate) fn lose_one_shard_each(&self) {
        let mut state = self.0.lock();
        let all: Vec<_> = state.shards.keys().copied().collect();
        let mut seen = HashSet::new();
        for (drive, shard) in all {
            if seen.insert(shard.data) {
                state.shards.remove(&(drive, shard));
            }
        }
    }

    /// Every shard of this number is lost.
    pub(crate) fn lose_shards(&self, slot: u8) {
        self.0
            .lock()
            .shards
            .retain(|(_, shard), _| shard.slot != slot);
    }

    /// All that is there now is lost.
    pub(crate) fn lose_all(&self) {
        self.0.lock().shards.clear();
    }

    /// Flips a byte of every shard, behind the checks of a drive.
    pub(crate) fn corrupt_silently(&self) {
        for bytes in self.0.lock().shards.values_mut() {
            bytes[0] ^= 1;
        }
    }

    /// Leaves a shard that nobody knows of on a drive.
    pub(crate) fn litter(&self, drive: DriveId) {
        let data = DataId {
            group: GroupId(1),
            begin: 1,
            random: 1,
        };
        let shard = ShardId {
            data,
            slot: 0,
            repair: 0,
        };
        let mut state = self.0.lock();
        state.shards.insert((drive, shard), BytesMut::zeroed(10));
    }

    /// Shards on the drives of a node.
    pub(crate) fn shards_of(&self, node: NodeId) -> usize {
        let state = self.0.lock();
        let its = |drive: &DriveId| state.nodes.get(drive) == Some(&node);
        state.shards.keys().filter(|(drive, _)| its(drive)).count()
    }

    pub(crate) fn shards(&self) -> usize {
        self.0.lock().shards.len()
    }

    /// Nodes are of a release that knew no turns.
    pub(crate) fn know_no_turns(&self) {
        self.0.lock().turns.unknown = true;
    }

    /// Refuses work in the background so many turns.
    pub(crate) fn be_busy(&self, turns: usize) {
        self.0.lock().turns.busy = turns;
    }

    /// What work in the background had.
    pub(crate) fn turns(&self) -> Turns {
        self.0.lock().turns
    }

    /// Reads that were begun.
    pub(crate) fn reads(&self) -> usize {
        self.0.lock().reads
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.lock().shards.values().map(BytesMut::len).sum()
    }
}

#[async_trait]
impl Drives for FakeDrives {
    fn is_up(&self, node: NodeId) -> bool {
        !self.0.lock().down.contains(&node)
    }

    fn answered_since(&self, node: NodeId, _then: Instant) -> bool {
        self.is_up(node)
    }

    fn is_near(&self, _node: NodeId) -> bool {
        false
    }

    async fn write(&self, run: Run, within: Duration) -> Result<(), DriveError> {
        let stuck = {
            let mut state = self.0.lock();
            let blown = match &mut state.fuse {
                Some((node, 0)) => Some(*node),
                Some((_, left)) => {
                    *left -= 1;
                    None
                }
                None => None,
            };
            if let Some(node) = blown {
                state.down.insert(node);
            }
            state.stuck.contains(&run.place.node)
        };
        if stuck {
            tokio::time::sleep(within).await;
            return Err(DriveError::Late);
        }
        let mut state = self.0.lock();
        if state.down.contains(&run.place.node) {
            return Err(DriveError::Away);
        }
        if state.full.contains(&run.place.drive) {
            return Err(DriveError::Full);
        }
        if run.in_background {
            state.turns.written += run.data.len() as u64;
        }
        state.nodes.insert(run.place.drive, run.place.node);
        state.pgs.insert(run.shard.data, run.pg);
        let shard = state
            .shards
            .entry((run.place.drive, run.shard))
            .or_default();
        let at = usize::try_from(run.offset).unwrap();
        shard.resize(shard.len().max(at + run.data.len()), 0);
        shard[at..at + run.data.len()].copy_from_slice(&run.data);
        Ok(())
    }

    async fn turn(&self, place: Place, bytes: u64, _: Duration) -> Result<(), DriveError> {
        if self.0.lock().turns.unknown {
            return Err(DriveError::Refused);
        }
        let mut state = self.0.lock();
        if state.down.contains(&place.node) {
            return Err(DriveError::Away);
        }
        state.turns.ask(bytes)
    }

    async fn read(&self, part: Part, within: Duration) -> Result<Bytes, DriveError> {
        if part.in_background {
            let mut state = self.0.lock();
            state.turns.ask(u64::from(part.len))?;
        }
        let stuck = {
            let mut state = self.0.lock();
            state.reads += 1;
            state.stuck.contains(&part.place.node)
        };
        if stuck {
            tokio::time::sleep(within).await;
            return Err(DriveError::Late);
        }
        let state = self.0.lock();
        if state.down.contains(&part.place.node) {
            return Err(DriveError::Away);
        }
        let key = (part.place.drive, part.shard);
        let shard = state.shards.get(&key).ok_or(DriveError::NotFound)?;
        let at = usize::try_from(part.offset).unwrap();
        let wanted = shard.get(at..at + part.len as usize);
        Ok(Bytes::copy_from_slice(wanted.ok_or(DriveError::NotFound)?))
    }

    async fn look(
        &self,
        place: Place,
        _pg: (PgId, u64),
        shards: Vec<(ShardId, u64)>,
        _within: Duration,
    ) -> Result<Vec<bool>, DriveError> {
        let mut state = self.0.lock();
        if state.down.contains(&place.node) {
            return Err(DriveError::Away);
        }
        if std::mem::take(&mut state.forgetful) {
            state.shards.retain(|(drive, _), _| *drive != place.drive);
        }
        let whole = |(shard, length): (ShardId, u64)| {
            let held = state.shards.get(&(place.drive, shard));
            held.is_some_and(|bytes| bytes.len() as u64 == length)
        };
        Ok(shards.into_iter().map(whole).collect())
    }

    async fn remove(
        &self,
        place: Place,
        data: Vec<DataId>,
        _within: Duration,
    ) -> Result<(), DriveError> {
        let mut state = self.0.lock();
        if state.down.contains(&place.node) {
            return Err(DriveError::Away);
        }
        state
            .shards
            .retain(|(drive, shard), _| *drive != place.drive || !data.contains(&shard.data));
        Ok(())
    }

    async fn copy_piece(
        &self,
        _node: NodeId,
        _ask: CopyAsk,
        _within: Duration,
    ) -> Result<CopyPiece, DriveError> {
        Err(DriveError::Refused)
    }

    async fn list(
        &self,
        place: Place,
        after: Option<ShardId>,
        limit: u32,
        _within: Duration,
    ) -> Result<Vec<(ShardId, PgId)>, DriveError> {
        let state = self.0.lock();
        if state.down.contains(&place.node) {
            return Err(DriveError::Away);
        }
        let shards = state
            .shards
            .keys()
            .filter(|(drive, _)| *drive == place.drive);
        let shards = shards.map(|(_, shard)| *shard);
        let page = shards.filter(|shard| after.is_none_or(|after| *shard > after));
        let unknown = PgId {
            pool: PoolId(6),
            index: 0,
        };
        let with_pg = |shard: ShardId| {
            let pg = state.pgs.get(&shard.data).copied().unwrap_or(unknown);
            (shard, pg)
        };
        Ok(page.take(limit as usize).map(with_pg).collect())
    }

    async fn report(&self, node: NodeId, _within: Duration) -> Result<NodeReport, DriveError> {
        let state = self.0.lock();
        if state.down.contains(&node) {
            return Err(DriveError::Away);
        }
        let of_node = state.nodes.iter().filter(|(_, of)| **of == node);
        let drives = of_node
            .map(|(drive, _)| DriveReport {
                drive: *drive,
                health: if state.full.contains(drive) {
                    DriveHealth::Full
                } else {
                    DriveHealth::Active
                },
                capacity: 1 << 40,
                free: 1 << 39,
                record_bytes: state
                    .shards
                    .iter()
                    .filter(|((of, _), _)| of == drive)
                    .map(|(_, bytes)| bytes.len() as u64)
                    .sum(),
            })
            .collect();
        Ok(NodeReport {
            drives,
            metrics_address: format!("metrics.of.{node}:7072"),
            not_ready: Vec::new(),
            gateways: state.gateways.get(&node).cloned().unwrap_or_default(),
        })
    }

    async fn upkeep(
        &self,
        node: NodeId,
        _start_scrub: bool,
        _within: Duration,
    ) -> Result<marram_proto::mesh::v1::UpkeepResponse, DriveError> {
        let state = self.0.lock();
        if state.down.contains(&node) {
            return Err(DriveError::Away);
        }
        let view = state.view.as_ref().map(|view| view.borrow().clone());
        let paused = |work| {
            view.as_ref()
                .is_some_and(|v| v.upkeep.paused(work).is_some())
        };
        Ok(marram_proto::mesh::v1::UpkeepResponse {
            garbage_paused: paused(Pausable::Garbage),
            scrub_paused: paused(Pausable::Scrub),
            repair_paused: paused(Pausable::Repair),
            moves_paused: paused(Pausable::Moves),
            ..Default::default()
        })
    }
}
