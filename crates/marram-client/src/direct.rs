//! Reading an object from the nodes themselves (rules.md 31): the gateway gives a plan, and the data
//! shards of each stripe come from k nodes at once. Parity steps in for a shard that is missing,
//! damaged or late, and is decoded here.
//!
//! It is an attempt: whatever fails beyond what parity covers ends it, and the download goes on
//! through a gateway where it stopped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use marram_meta::Extent;
use marram_object::{Fetch, Health, ReadPlan, ReadStep};
use marram_proto::v1;
use marram_types::caps::MIB;
use marram_types::{DataId, GroupId, PgId, Profile, crc32c};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::client::{Client, within};

/// Bytes fetched ahead of the reader.
const AHEAD_BYTES_MAX: u64 = 16 * MIB as u64;
/// How long one part of a shard may take.
const FETCH_TIME: Duration = Duration::from_secs(10);
/// Parity is fetched beside what has not come after this time.
const HEDGE_AFTER: Duration = Duration::from_millis(400);
/// A plan is renewed this long before its tickets end.
const RENEW_BEFORE: Duration = Duration::from_secs(15);

/// The plan is not one that this client can carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the read plan is malformed")]
pub(crate) struct BadPlan;

/// Too few shards could be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too few nodes could be read from")]
pub(crate) struct Failed;

/// A step on its way; dropped, it is given up.
struct Running(JoinHandle<Result<Vec<Bytes>, Failed>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A step's length, and its bytes in order.
type Fetched = (u64, Result<Vec<Bytes>, Failed>);

/// What all fetches of a plan share.
struct Shared {
    client: Client,
    nodes: Vec<v1::PlanNode>,
    /// By extent, then by shard.
    shards: Vec<Vec<v1::PlanShard>>,
}

/// A plan that is carried out.
pub(crate) struct Direct {
    shared: Arc<Shared>,
    plan: ReadPlan,
    ahead: FuturesOrdered<BoxFuture<'static, Fetched>>,
    ahead_bytes: u64,
    pieces: VecDeque<Bytes>,
    renew_at: Instant,
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Direct").finish_non_exhaustive()
    }
}

/// The extent as marram-object knows it. The data id only tells extents of this plan apart.
fn extent(index: usize, planned: &v1::PlanExtent) -> Result<Extent, BadPlan> {
    let small = |n: u32| u8::try_from(n).map_err(|_| BadPlan);
    let profile = Profile::new(small(planned.k)?, small(planned.m)?).map_err(|_| BadPlan)?;
    if planned.shards.len() != profile.width() || planned.length == 0 {
        return Err(BadPlan);
    }
    let lost = (0..).zip(&planned.shards).filter(|(_, s)| s.node.is_none());
    Ok(Extent {
        data: DataId {
            group: GroupId(0),
            begin: 0,
            random: index as u64,
        },
        pg: PgId::default(),
        profile,
        cell: planned.cell,
        length: planned.length,
        slots: (0..small(planned.k + planned.m)?).collect(),
        missing: lost.fold(0, |bits, (shard, _): (u32, _)| bits | 1 << shard),
        overrides: Vec::new(),
    })
}

impl Direct {
    /// Begins to carry out a plan, for the object bytes from `from` to `until`.
    pub(crate) fn new(
        client: Client,
        plan: v1::ReadPlan,
        from: u64,
        until: u64,
    ) -> Result<Self, BadPlan> {
        let first = plan.extents.first().ok_or(BadPlan)?.offset;
        let mut end = first;
        for planned in &plan.extents {
            if planned.offset != end {
                return Err(BadPlan);
            }
            end = end.checked_add(planned.length).ok_or(BadPlan)?;
        }
        if !(first..end).contains(&from) {
            return Err(BadPlan);
        }
        let extents = plan.extents.iter().enumerate();
        let extents = extents
            .map(|(index, planned)| extent(index, planned))
            .collect::<Result<Vec<_>, _>>()?;
        let range = from - first..until.min(end) - first;
        let valid = Duration::from_millis(u64::from(plan.valid_ms));
        Ok(Self {
            plan: ReadPlan::stripe_by_stripe(extents, range).map_err(|_| BadPlan)?,
            shared: Arc::new(Shared {
                client,
                nodes: plan.nodes,
                shards: plan.extents.into_iter().map(|e| e.shards).collect(),
            }),
            ahead: FuturesOrdered::new(),
            ahead_bytes: 0,
            pieces: VecDeque::new(),
            renew_at: Instant::now() + valid.saturating_sub(RENEW_BEFORE),
        })
    }

    /// The next bytes in order, at most 1 MiB, each verified; `None` at the end of the plan, which
    /// may be before that of the range.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Failed>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Some(Ok(piece));
            }
            self.look_ahead();
            let (len, pieces) = self.ahead.next().await?;
            self.ahead_bytes -= len;
            match pieces {
                Ok(pieces) => self.pieces = pieces.into(),
                Err(failed) => return Some(Err(failed)),
            }
        }
    }

    fn look_ahead(&mut self) {
        while self.ahead_bytes < AHEAD_BYTES_MAX && Instant::now() < self.renew_at {
            let shared = &self.shared;
            let step = self
                .plan
                .next_step(|extent, shard| shared.health(extent, shard));
            let Some(step) = step else {
                return;
            };
            let len = step.len();
            self.ahead_bytes += len;
            // A task of its own: steps are received and verified on several cores.
            let mut running = Running(tokio::spawn(Arc::clone(shared).fetch_step(step)));
            self.ahead.push_back(Box::pin(async move {
                let done = (&mut running.0).await;
                (len, done.unwrap_or(Err(Failed)))
            }));
        }
    }
}

type Fetches<'a> = FuturesUnordered<BoxFuture<'a, (Fetch, Option<Bytes>)>>;

impl Shared {
    fn shard(&self, extent: &Extent, shard: u8) -> Option<(&v1::PlanNode, &v1::PlanShard)> {
        let extent = usize::try_from(extent.data.random).ok()?;
        let shard = self.shards.get(extent)?.get(usize::from(shard))?;
        let node = usize::try_from(shard.node?).ok()?;
        Some((self.nodes.get(node)?, shard))
    }

    fn health(&self, extent: &Extent, shard: u8) -> Health {
        match self.shard(extent, shard) {
            None => Health::Gone,
            Some((node, _)) if node.away || self.client.nodes().is_poor(&node.api_address) => {
                Health::Poor
            }
            Some(_) => Health::Good,
        }
    }

    async fn fetch_step(self: Arc<Self>, mut step: ReadStep) -> Result<Vec<Bytes>, Failed> {
        let mut fetches = Fetches::new();
        let first = step.start().map_err(|_| Failed)?;
        self.send(&step, first, &mut fetches);
        let hedge = tokio::time::sleep(HEDGE_AFTER);
        tokio::pin!(hedge);
        let mut hedged = false;
        while !step.is_ready() {
            let more = tokio::select! {
                Some((fetch, bytes)) = fetches.next(), if !fetches.is_empty() => match bytes {
                    Some(bytes) => step.arrived(fetch, bytes),
                    None => step.failed(fetch.shard),
                }
                .map_err(|_| Failed)?,
                () = &mut hedge, if !hedged => {
                    hedged = true;
                    step.hedge()
                }
                else => return Err(Failed),
            };
            self.send(&step, more, &mut fetches);
        }
        step.finish().map_err(|_| Failed)
    }

    fn send<'a>(&'a self, step: &ReadStep, wanted: Vec<Fetch>, fetches: &mut Fetches<'a>) {
        for fetch in wanted {
            let source = self.shard(step.extent(), fetch.shard);
            fetches.push(
                async move {
                    match source {
                        Some((node, shard)) => (fetch, self.fetch(node, shard, fetch).await),
                        None => (fetch, None),
                    }
                }
                .boxed(),
            );
        }
    }

    /// One part of one shard, verified; nothing when it cannot be had.
    async fn fetch(
        &self,
        node: &v1::PlanNode,
        shard: &v1::PlanShard,
        fetch: Fetch,
    ) -> Option<Bytes> {
        let address = &node.api_address;
        let lane = self.client.node_lane(address)?;
        let request = v1::ReadShardRequest {
            ticket: shard.ticket.clone(),
            offset: fetch.offset,
            length: u32::try_from(fetch.len).ok()?,
        };
        let mut objects = lane.objects();
        let call = objects.read_shard(lane.request(request));
        let answer = match within(FETCH_TIME, call).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => {
                tracing::debug!(%address, %status, "a shard was not read from its node");
                // A missing or damaged shard, or an old ticket, says nothing about the node.
                let of_shard = [Code::NotFound, Code::DataLoss, Code::PermissionDenied];
                if !of_shard.contains(&status.code()) {
                    self.client.nodes().failed(address);
                }
                return None;
            }
            Err(_) => {
                self.client.nodes().failed(address);
                return None;
            }
        };
        let chunk = answer.chunk?;
        let right = chunk.data.len() == fetch.len && crc32c(&chunk.data) == chunk.crc32c;
        right.then_some(chunk.data)
    }
}
