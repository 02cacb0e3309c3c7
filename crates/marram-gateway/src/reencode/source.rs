//! The bytes of one extent, in order: verified from any k of its shards, a step fetched ahead.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use marram_erasure::GeometryError;
use marram_meta::Extent;
use marram_object::{ReadPlan, Unreadable};
use marram_types::Crc64Nvme;

use crate::core::Core;
use crate::get::fetch;
use crate::put::{PutError, Source};
use crate::reencode::WorkPace;

/// Steps of up to 8 MiB that are on their way or wait.
const STEPS_AHEAD_MAX: usize = 1;

type Step = BoxFuture<'static, Result<Vec<Bytes>, Unreadable>>;

/// The bytes of an extent whose overrides name the place of every shard.
pub(super) struct ExtentSource {
    core: Arc<Core>,
    plan: ReadPlan,
    ahead: FuturesOrdered<Step>,
    pieces: VecDeque<Bytes>,
    sum: Crc64Nvme,
    pace: Arc<dyn WorkPace>,
}

impl ExtentSource {
    pub(super) fn new(
        core: &Arc<Core>,
        pace: &Arc<dyn WorkPace>,
        extent: Extent,
    ) -> Result<Self, GeometryError> {
        let length = extent.length;
        Ok(Self {
            core: Arc::clone(core),
            pace: Arc::clone(pace),
            plan: ReadPlan::new(vec![extent], 0..length)?,
            ahead: FuturesOrdered::new(),
            pieces: VecDeque::new(),
            sum: Crc64Nvme::default(),
        })
    }

    /// CRC64/NVME of the bytes that were given so far.
    pub(super) fn crc64(&self) -> u64 {
        self.sum.value()
    }

    fn look_ahead(&mut self) {
        while self.ahead.len() <= STEPS_AHEAD_MAX {
            let (core, places) = (self.core.clone(), self.core.places());
            let health = |extent: &Extent, shard| fetch::health(&core, &places, extent, shard);
            let Some(step) = self.plan.next_step(health) else {
                return;
            };
            let pace = Some(Arc::clone(&self.pace));
            let fetching = fetch::step(core, step, pace);
            self.ahead.push_back(Box::pin(fetching));
        }
    }
}

impl Source for ExtentSource {
    fn pace(&self) -> Option<Arc<dyn WorkPace>> {
        Some(Arc::clone(&self.pace))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, PutError> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                if piece.is_empty() {
                    continue;
                }
                self.sum.update(&piece);
                return Ok(Some(piece));
            }
            self.look_ahead();
            match self.ahead.next().await {
                None => return Ok(None),
                Some(pieces) => self.pieces.extend(pieces?),
            }
        }
    }
}
