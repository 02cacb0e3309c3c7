//! The steps of one read, in order, fetched ahead, with one more look at the row where a plan
//! fails (placement-protocol.md 15).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use marram_erasure::GeometryError;
use marram_meta::{Body, Extent, HeadAnswer, VersionRow, Versioning};
use marram_object::{ReadPlan, Unreadable};
use marram_types::Generation;
use tokio::sync::OwnedSemaphorePermit;

use super::held::Held;
use super::{GetError, fetch};
use crate::core::{Core, MEMORY_UNIT_BYTES};
use crate::objects::{
    Conditions, LookupError, ObjectName, Seen, lookup_to_read, lookup_version_to_read,
};

/// Steps of up to 8 MiB that are fetched while the client takes the one before.
const STEPS_AHEAD_MAX: usize = 1;
/// How often a plan that failed is made anew for one read.
const PLANS_MAX: u32 = 4;
/// Wait before another look where the row is the same as before: a node may be starting.
const SAME_ROW_WAIT: Duration = Duration::from_millis(500);

struct Fetched {
    pieces: Result<Vec<Bytes>, Unreadable>,
    len: u64,
    _memory: Option<OwnedSemaphorePermit>,
}

/// What is read.
pub(super) struct Which {
    pub(super) name: ObjectName,
    /// The version that was asked for.
    pub(super) generation: Option<Generation>,
    /// What must hold of the version that is read.
    pub(super) conditions: Conditions,
}

/// One read.
pub(super) struct Reader {
    core: Arc<Core>,
    which: Which,
    row: VersionRow,
    range: Range<u64>,
    /// Offset in the object of the next byte to give.
    at: u64,
    plan: ReadPlan,
    ahead: FuturesOrdered<BoxFuture<'static, Fetched>>,
    plans: u32,
    /// Memory of the step that was given last: the client is taking it.
    taken: VecDeque<OwnedSemaphorePermit>,
    /// Keeps what is displaced while it lasts; none where a call of many ranges has one for all.
    held: Option<Held>,
}

fn plan(row: &VersionRow, range: Range<u64>) -> Result<ReadPlan, GeometryError> {
    ReadPlan::new(extents(row), range)
}

fn extents(row: &VersionRow) -> Vec<Extent> {
    match &row.body {
        Body::Extents(extents) => extents.clone(),
        Body::Inline { .. } | Body::Spilled { .. } | Body::Parts(_) => Vec::new(),
    }
}

impl Reader {
    pub(super) fn new(
        core: Arc<Core>,
        which: Which,
        row: VersionRow,
        range: Range<u64>,
    ) -> Result<Self, GetError> {
        Ok(Self {
            plan: plan(&row, range.clone())?,
            core,
            which,
            row,
            at: range.start,
            range,
            ahead: FuturesOrdered::new(),
            plans: 1,
            taken: VecDeque::new(),
            held: None,
        })
    }

    /// The same, which keeps what it may still need for as long as it lasts.
    pub(super) fn holding(mut self, held: Held) -> Self {
        self.held = Some(held);
        self
    }

    pub(super) fn name(&self) -> &ObjectName {
        &self.which.name
    }

    /// The version that is being read.
    pub(super) fn row(&self) -> &VersionRow {
        &self.row
    }

    /// The bytes that are being read.
    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The first step's bytes; nothing of an empty read. Until it is there the version may change.
    pub(super) async fn first(&mut self) -> Result<Vec<Bytes>, GetError> {
        Ok(self.next().await?.unwrap_or_default())
    }

    /// The next step's bytes, in order.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Bytes>>, GetError> {
        self.taken.clear();
        loop {
            self.look_ahead();
            let Some(fetched) = self.ahead.next().await else {
                return Ok(None);
            };
            match fetched.pieces {
                Ok(pieces) => {
                    self.at += fetched.len;
                    self.taken.extend(fetched._memory);
                    return Ok(Some(pieces));
                }
                Err(error) => self.plan_again(error).await?,
            }
        }
    }

    /// Starts steps while there is memory; the first one needs no permit, so that every read goes
    /// on, however many there are.
    fn look_ahead(&mut self) {
        while self.ahead.len() <= STEPS_AHEAD_MAX {
            let memory = if self.ahead.is_empty() {
                None
            } else {
                let Some(memory) = self.memory() else {
                    return;
                };
                Some(memory)
            };
            let places = self.core.places();
            let core = self.core.clone();
            let step = self
                .plan
                .next_step(|extent, shard| fetch::health(&core, &places, extent, shard));
            let Some(step) = step else {
                return;
            };
            let len = step.len();
            self.ahead.push_back(Box::pin(async move {
                Fetched {
                    pieces: fetch::step(core, step, None).await,
                    len,
                    _memory: memory,
                }
            }));
        }
    }

    fn memory(&self) -> Option<OwnedSemaphorePermit> {
        let bytes = self
            .plan
            .remaining()
            .min(marram_erasure::STRIPE_BYTES_MAX as u64);
        let units = bytes.div_ceil(MEMORY_UNIT_BYTES as u64).max(1);
        let units = u32::try_from(units).expect("a step has at most 8 MiB");
        let downloads = self.core.memory.downloads.clone();
        downloads.try_acquire_many_owned(units).ok()
    }

    /// Looks the object up again after a plan failed. The read goes on with other data of the same
    /// version; another version is taken only while nothing was given.
    async fn plan_again(&mut self, error: Unreadable) -> Result<(), GetError> {
        self.ahead.clear();
        if self.plans >= PLANS_MAX {
            return Err(error.into());
        }
        self.plans += 1;
        tracing::info!(%error, "a read plan failed; the object is looked up again");
        let started = self.at > self.range.start;
        let given = started.then_some(self.row.generation);
        let (found, seen) = look_again(&self.core, &self.which, given).await?;
        if let Some(held) = &mut self.held {
            held.look_again(seen);
        }
        if found.version != self.row.version {
            let whole = self.range == (0..self.row.size);
            let must_be_it = started || self.which.generation.is_some();
            if must_be_it || matches!(found.body, Body::Inline { .. }) || !whole {
                return Err(GetError::Changed);
            }
            let conditions = &self.which.conditions;
            conditions.check(&found).map_err(LookupError::from)?;
            self.range = 0..found.size;
        } else if extents(&found) == extents(&self.row) {
            tokio::time::sleep(SAME_ROW_WAIT).await;
        }
        self.row = found;
        self.plan = plan(&self.row, self.at..self.range.end)?;
        Ok(())
    }
}

/// The version that was asked for, or of which bytes were given already: where the bucket keeps versions that
/// one is there even when it is not current any more.
async fn look_again(
    core: &Core,
    which: &Which,
    given: Option<Generation>,
) -> Result<(VersionRow, Seen), GetError> {
    let kept = match given {
        None => None,
        Some(_) => {
            let bucket = core.bucket(&which.name.bucket).await;
            let bucket = bucket.map_err(LookupError::from)?;
            given.filter(|_| bucket.versioning != Versioning::Off)
        }
    };
    let found = match which.generation.or(kept) {
        None => lookup_to_read(core, &which.name).await,
        wanted => lookup_version_to_read(core, &which.name, wanted).await,
    };
    match found {
        // It was removed, or it is described anew: then the current version is the one that it was, with
        // the same data.
        Err(LookupError::NoVersion { .. }) => match lookup_to_read(core, &which.name).await {
            Err(LookupError::NotFound { .. } | LookupError::Deleted { .. }) => {
                Err(GetError::Changed)
            }
            current => current.map(read_row).map_err(Into::into),
        },
        // There was one: its reader has some of its bytes.
        Err(LookupError::NotFound { .. } | LookupError::Deleted { .. }) if given.is_some() => {
            Err(GetError::Changed)
        }
        found => found.map(read_row).map_err(Into::into),
    }
}

fn read_row((head, seen): (HeadAnswer, Seen)) -> (VersionRow, Seen) {
    (head.row, seen)
}
