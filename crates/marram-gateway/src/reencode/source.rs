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
use marram_types::{Crc64Nvme, Profile};

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
    /// The profile that the bytes are written by.
    written_as: Profile,
    /// Bytes that the pace was not asked for yet.
    owed: u64,
}

impl ExtentSource {
    pub(super) fn new(
        core: &Arc<Core>,
        pace: &Arc<dyn WorkPace>,
        extent: Extent,
        written_as: Profile,
    ) -> Result<Self, GeometryError> {
        let length = extent.length;
        Ok(Self {
            core: Arc::clone(core),
            pace: Arc::clone(pace),
            written_as,
            owed: 0,
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
            // Each byte is read once and written as shards.
            let (k, width) = (self.written_as.k() as u64, self.written_as.width() as u64);
            self.owed += step.len() + step.len() * width / k;
            self.ahead.push_back(Box::pin(fetch::step(core, step)));
        }
    }
}

impl Source for ExtentSource {
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
            if self.owed > 0 {
                self.pace.take(self.owed).await;
                self.owed = 0;
            }
            match self.ahead.next().await {
                None => return Ok(None),
                Some(pieces) => self.pieces.extend(pieces?),
            }
        }
    }
}
