//! What this node does with shards on its own drives for those who move and repair: it restores
//! them, looks at them, and removes what the layout does not want.
//!
//! Work goes on when its caller is gone: a removal that was begun must end before the placement
//! group is let go, or it would take what a newer permission has brought (rules.md 24). So it runs in
//! a task of its own, and ends by its own deadline.
//!
//! ```text
//! gate      one permission at a time for each placement group, and none from the past
//! inspect   how much of a shard is on a drive
//! source    a shard's bytes from its place, or computed from others
//! restore   one shard from there to here
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use marram_maintain::{Pace, Restored, SHARDS_PER_REQUEST_MAX, Wanted, fault_point};
use marram_mesh::{RpcCode, RpcFailure};
use marram_meta::{ClusterView, Extent};
use marram_placement::PgRow;
use marram_proto::mesh::v1 as wire;
use marram_raft::Router;
use marram_store::Drive;
use marram_types::caps::EXTENT_BYTES_MAX;
use marram_types::{DriveId, GroupId, PgId, PoolId, ShardId};
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio::time::Instant;

use super::shards::{bad, drive, read_failure, shard_id, small};
use super::storage::Drives;

mod gate;
mod inspect;
mod restore;
mod source;
#[cfg(test)]
mod tests;

use gate::{Gate, Pass};
use inspect::{Found, Inspect};
use restore::{Restore, Stop};
pub(super) use source::{MeshSources, Sources};

/// How long a peer waits for the answer to a request.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// How long a request is worked on: what is done by then is still answered in time.
const WORK_WITHIN: Duration = Duration::from_secs(100);
/// How long a request waits for the view to reach its epoch: a decision comes to its leader first.
const VIEW_WITHIN: Duration = Duration::from_millis(500);
/// How long the root group may take to say how new the view must be.
const ROOT_WITHIN: Duration = Duration::from_secs(5);
/// Requests that are worked on at once.
const REQUESTS_AT_ONCE: usize = 64;
/// Shards of all requests that are read or written at once. Each has a few MiB in memory.
const SHARDS_AT_ONCE: usize = 4;

/// How new the root group is.
#[async_trait]
pub(super) trait RootIndex: Send + Sync + 'static {
    /// The index of a view that has every decision answered before this call; none when the root
    /// group does not answer.
    async fn root_index(&self) -> Option<u64>;
}

#[async_trait]
impl RootIndex for Router {
    async fn root_index(&self) -> Option<u64> {
        let asked = self.query(GroupId::ROOT, Bytes::new(), true, ROOT_WITHIN);
        let (answer, _) = asked.await.ok()?;
        ClusterView::decode(&answer).ok().map(|view| view.index)
    }
}

/// A request's permission: work on one drive for a placement group as of an epoch of its row.
struct Permit {
    drive: Drive,
    pg: PgId,
    epoch: u64,
    until: Instant,
}

/// The worker of a node.
pub(super) struct Work {
    drives: Arc<Drives>,
    view: watch::Receiver<Arc<ClusterView>>,
    root: Arc<dyn RootIndex>,
    /// The root's index at some time after this process began.
    began_at: OnceCell<u64>,
    sources: Arc<dyn Sources>,
    pace: Arc<Pace>,
    gate: Gate,
    requests: Arc<Semaphore>,
    shards: Semaphore,
}

impl Work {
    pub(super) fn new(
        drives: Arc<Drives>,
        view: watch::Receiver<Arc<ClusterView>>,
        root: Arc<dyn RootIndex>,
        sources: impl Sources,
        pace: Arc<Pace>,
    ) -> Self {
        Self {
            drives,
            view,
            root,
            began_at: OnceCell::new(),
            sources: Arc::new(sources),
            pace,
            gate: Gate::default(),
            requests: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
            shards: Semaphore::new(SHARDS_AT_ONCE),
        }
    }

    /// Brings shards to a drive.
    pub(super) async fn restore(
        self: &Arc<Self>,
        request: wire::RestoreShardsRequest,
    ) -> Result<wire::RestoreShardsResponse, RpcFailure> {
        let permit = self.permit(request.drive, request.pg, request.wanted.len())?;
        let wanted = request
            .wanted
            .into_iter()
            .map(|w| read_wanted(w, permit.pg))
            .collect::<Result<Vec<_>, _>>()?;
        let work = Arc::clone(self);
        self.detached(async move {
            let pass = work.enter(&permit).await?;
            let restored = futures::stream::iter(wanted)
                .map(|wanted| work.restore_one(&permit, wanted))
                .buffered(SHARDS_AT_ONCE)
                // Each to its end, or a removal would go on after the pass.
                .collect::<Vec<_>>()
                .await;
            drop(pass);
            let restored = restored.into_iter().collect::<Result<_, _>>()?;
            Ok(wire::RestoreShardsResponse { restored })
        })
        .await
    }

    async fn restore_one(
        &self,
        permit: &Permit,
        wanted: Wanted,
    ) -> Result<wire::RestoredShard, RpcFailure> {
        let _place = self.shards.acquire().await;
        self.still_holds(permit)?;
        let restore = Restore {
            drive: &permit.drive,
            sources: &*self.sources,
            pace: &self.pace,
            until: permit.until,
        };
        let shard = restore::shard_of(&wanted);
        let restored = match restore.run(&wanted).await {
            Ok(written) => Restored::Held { written },
            Err(Stop::Full) => {
                return Err(RpcFailure::new(RpcCode::Full, "the drive has no room"));
            }
            Err(Stop::NoSource) => Restored::NoSource,
            Err(Stop::Failed(reason)) => {
                tracing::warn!(%shard, drive = %permit.drive.id(), reason, "a shard was not restored");
                Restored::Failed
            }
        };
        Ok(write_restored(restored))
    }

    /// Reads shards through.
    pub(super) async fn look(
        self: &Arc<Self>,
        request: wire::LookShardsRequest,
    ) -> Result<wire::LookShardsResponse, RpcFailure> {
        let permit = self.permit(request.drive, request.pg, request.shards.len())?;
        let shards = request
            .shards
            .into_iter()
            .map(read_looked)
            .collect::<Result<Vec<_>, _>>()?;
        let work = Arc::clone(self);
        self.detached(async move {
            let pass = work.enter(&permit).await?;
            let seen = futures::stream::iter(shards)
                .map(|(shard, length)| work.look_one(&permit, shard, length))
                .buffered(SHARDS_AT_ONCE)
                .try_collect()
                .await;
            drop(pass);
            Ok(wire::LookShardsResponse { seen: seen? })
        })
        .await
    }

    async fn look_one(
        &self,
        permit: &Permit,
        shard: ShardId,
        length: u64,
    ) -> Result<i32, RpcFailure> {
        let _place = self.shards.acquire().await;
        self.still_holds(permit)?;
        let look = Inspect {
            drive: &permit.drive,
            pace: &self.pace,
            until: permit.until,
        };
        let found = look.run(shard, 0..length).await;
        let seen = match found.map_err(|error| read_failure(&error))? {
            Found::Whole => wire::ShardState::Whole,
            Found::Until(_) | Found::Holes => wire::ShardState::Missing,
            Found::Damaged => wire::ShardState::Damaged,
            Found::Late => return Err(late()),
        };
        Ok(seen.into())
    }

    /// Removes single shards that the layout of exactly this epoch does not want on the drive.
    pub(super) async fn clean(
        self: &Arc<Self>,
        request: wire::CleanShardsRequest,
    ) -> Result<wire::CleanShardsResponse, RpcFailure> {
        let permit = self.permit(request.drive, request.pg, request.shards.len())?;
        if request.slots.len() != request.shards.len() {
            return Err(bad("slots"));
        }
        let slots = request.slots.into_iter().map(|slot| small(slot, "slot"));
        let slots = slots.collect::<Result<Vec<u8>, _>>()?;
        let shards = request
            .shards
            .into_iter()
            .map(|shard| shard_id(Some(shard)))
            .collect::<Result<Vec<_>, _>>()?;
        let work = Arc::clone(self);
        self.detached(async move {
            work.has_caught_up().await?;
            let pass = work.enter(&permit).await?;
            work.refuse_wanted(&permit, &slots)?;
            tracing::info!(drive = %permit.drive.id(), pg = ?permit.pg, epoch = permit.epoch, ?shards, "shards that moved away are removed");
            let removed = permit.drive.delete_shards(shards).await;
            fault_point("clean.deleted");
            drop(pass);
            let removed = removed.map_err(|error| read_failure(&error))? as u64;
            Ok(wire::CleanShardsResponse { removed })
        })
        .await
    }

    fn permit(
        &self,
        id: u64,
        pg: Option<wire::PgEpoch>,
        shards: usize,
    ) -> Result<Permit, RpcFailure> {
        let pg = pg.ok_or_else(|| bad("placement group"))?;
        if shards > SHARDS_PER_REQUEST_MAX {
            return Err(bad("number of shards"));
        }
        Ok(Permit {
            drive: drive(&self.drives, id)?,
            pg: PgId {
                pool: PoolId(small(pg.pool, "pool")?),
                index: small(pg.pg, "placement group")?,
            },
            epoch: pg.epoch,
            until: Instant::now() + WORK_WITHIN,
        })
    }

    /// Runs work that its caller cannot interrupt.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RpcFailure>> + Send + 'static,
    ) -> Result<T, RpcFailure> {
        let busy = |_| RpcFailure::new(RpcCode::Overloaded, "too much work on shards");
        let place = Arc::clone(&self.requests)
            .try_acquire_owned()
            .map_err(busy)?;
        let work = tokio::spawn(async move {
            let done = work.await;
            drop(place);
            done
        });
        work.await
            .unwrap_or_else(|_| Err(RpcFailure::new(RpcCode::Internal, "the work was given up")))
    }

    /// Waits for the turn of the placement group. Until the pass is dropped, nobody else works for it
    /// on this node.
    async fn enter(&self, permit: &Permit) -> Result<Pass, RpcFailure> {
        let mut view = self.view.clone();
        let known = |v: &ClusterView| row(v, permit.pg).is_some_and(|r| r.epoch >= permit.epoch);
        let came = tokio::time::timeout(VIEW_WITHIN, view.wait_for(|v| known(v)));
        // Whether it came or not is judged below.
        let _came = came.await.is_ok();
        let pass = tokio::time::timeout_at(permit.until, self.gate.enter(permit.pg));
        let mut pass = pass.await.map_err(|_| late())?;
        let held = row(&self.view.borrow(), permit.pg).map(|r| r.epoch);
        gate::judge(&mut pass, held, permit.epoch)?;
        Ok(pass)
    }

    /// Work of a request ends when the row has changed: another decision is waiting.
    fn still_holds(&self, permit: &Permit) -> Result<(), RpcFailure> {
        match row(&self.view.borrow(), permit.pg) {
            Some(row) if row.epoch == permit.epoch => Ok(()),
            _ => Err(gate::stale()),
        }
    }

    /// A process that began anew may have a view from before what it saw in its former life, so it
    /// removes nothing until its view is as new as the root group once was in this one. From then on
    /// the view only gets newer.
    async fn has_caught_up(&self) -> Result<(), RpcFailure> {
        let behind = || RpcFailure::new(RpcCode::Unavailable, "this node has not caught up");
        let asked = async || self.root.root_index().await.ok_or_else(behind);
        let began_at = *self.began_at.get_or_try_init(asked).await?;
        if self.view.borrow().index < began_at {
            return Err(behind());
        }
        Ok(())
    }

    /// Only shards of slots that the row does not want on the drive are cleaned. Another slot of the
    /// row may be there: what is left of the one must not stay because of the other.
    fn refuse_wanted(&self, permit: &Permit, slots: &[u8]) -> Result<(), RpcFailure> {
        let view = self.view.borrow();
        let row = row(&view, permit.pg).filter(|row| row.epoch == permit.epoch);
        let row = row.ok_or_else(gate::stale)?;
        if slots
            .iter()
            .any(|slot| wants(row, *slot, permit.drive.id()))
        {
            return Err(RpcFailure::new(
                RpcCode::Refused,
                "the layout wants shards of this placement group on the drive",
            ));
        }
        Ok(())
    }
}

fn row(view: &ClusterView, pg: PgId) -> Option<&PgRow> {
    view.pools.get(&pg.pool)?.row(pg)
}

/// Whether the row wants a slot on a drive; also when it has no such slot: then nobody knows.
fn wants(row: &PgRow, slot: u8, drive: DriveId) -> bool {
    row.must_hold(slot)
        .is_none_or(|places| places.contains(drive))
}

fn late() -> RpcFailure {
    RpcFailure::new(RpcCode::DeadlineExceeded, "the work did not end in time")
}

fn read_wanted(wanted: wire::WantedShard, pg: PgId) -> Result<Wanted, RpcFailure> {
    let extent = Extent::from_bytes(&wanted.extent).map_err(|_| bad("extent"))?;
    let shard = small(wanted.shard, "shard")?;
    let width = extent.profile.width();
    let fits = extent.is_well_formed()
        && extent.pg == pg
        && extent.length <= EXTENT_BYTES_MAX
        && usize::from(shard) < width
        && wanted.places.len() == width;
    if !fits {
        return Err(bad("extent"));
    }
    Ok(Wanted {
        extent,
        shard,
        places: wanted.places.into_iter().map(DriveId).collect(),
    })
}

fn read_looked(shard: wire::LookedShard) -> Result<(ShardId, u64), RpcFailure> {
    if shard.length > EXTENT_BYTES_MAX {
        return Err(bad("length"));
    }
    Ok((shard_id(shard.shard)?, shard.length))
}

fn write_restored(restored: Restored) -> wire::RestoredShard {
    let (outcome, written) = match restored {
        Restored::Held { written } => (wire::RestoreOutcome::Held, written),
        Restored::NoSource => (wire::RestoreOutcome::NoSource, 0),
        Restored::Failed => (wire::RestoreOutcome::Failed, 0),
    };
    wire::RestoredShard {
        outcome: outcome.into(),
        written,
    }
}
