//! One step of a read: a run of whole or partial stripes of one extent.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use marram_erasure::{Geometry, Shard, codec_for};
use marram_meta::Extent;
use marram_types::ShardId;
use marram_types::caps::BLOCK_BYTES;

use super::Health;

/// Bytes of one shard to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fetch {
    /// The shard, `0..k+m`.
    pub shard: u8,
    /// Offset in the shard.
    pub offset: u64,
    /// Length in bytes, at least 1.
    pub len: usize,
}

/// Fewer than `k` shards can be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("only {left} of the {width} shards of {data} can be had, and {need} are needed")]
pub struct Unreadable {
    /// The extent.
    pub data: marram_types::DataId,
    /// Shards that have not failed.
    pub left: usize,
    /// Its shards, `k + m`.
    pub width: usize,
    /// `k`.
    pub need: usize,
}

/// The step was finished before enough had arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shards needed have not arrived")]
pub struct NotReady;

/// What is known of one shard.
#[derive(Debug)]
struct Source {
    health: Health,
    /// Bytes of the shard that the reader wants from it; empty for parity.
    wanted: Range<u64>,
    /// An answer is awaited for this range.
    asked: Option<Range<u64>>,
    /// The answer dawdles: it is welcome, but not counted on.
    late: bool,
    failed: bool,
    here: Option<(Range<u64>, Bytes)>,
}

/// One step of a read, see the module's head.
#[derive(Debug)]
pub struct ReadStep {
    extent: Arc<Extent>,
    geometry: Geometry,
    /// The bytes of the extent that the step gives.
    range: Range<u64>,
    /// From the first to the last shard byte wanted: what decoding works on.
    hull: Range<u64>,
    sources: Vec<Source>,
    /// Whether any k shards will do; else the wanted data shards are awaited.
    any: bool,
    number: u64,
}

fn covers(outer: &Range<u64>, inner: &Range<u64>) -> bool {
    inner.is_empty() || (outer.start <= inner.start && inner.end <= outer.end)
}

impl Source {
    fn usable(&self) -> bool {
        !self.failed && self.health != Health::Gone
    }

    fn has(&self, range: &Range<u64>) -> bool {
        range.is_empty()
            || self
                .here
                .as_ref()
                .is_some_and(|(here, _)| covers(here, range))
    }

    fn asked_for(&self, range: &Range<u64>) -> bool {
        self.asked
            .as_ref()
            .is_some_and(|asked| covers(asked, range))
    }

    /// The bytes of `range`, which are here.
    fn bytes(&self, range: &Range<u64>) -> Option<Bytes> {
        let (here, bytes) = self.here.as_ref()?;
        let at = |offset: u64| usize::try_from(offset - here.start).expect("within bytes here");
        covers(here, range).then(|| bytes.slice(at(range.start)..at(range.end)))
    }
}

impl ReadStep {
    pub(super) fn new(
        extent: Arc<Extent>,
        geometry: Geometry,
        range: Range<u64>,
        healths: Vec<Health>,
        number: u64,
    ) -> Self {
        let mut sources: Vec<Source> = healths
            .into_iter()
            .map(|health| Source {
                health,
                wanted: 0..0,
                asked: None,
                late: false,
                failed: false,
                here: None,
            })
            .collect();
        let mut hull: Option<Range<u64>> = None;
        for run in geometry.locate(range.clone()) {
            let end = run.shard_offset + u64::from(run.len);
            let wanted = &mut sources[usize::from(run.shard)].wanted;
            // Runs of one shard follow each other without a gap.
            if wanted.is_empty() {
                wanted.start = run.shard_offset;
            }
            wanted.end = end;
            let (start, until) = hull.map_or((run.shard_offset, end), |h| (h.start, h.end));
            hull = Some(start.min(run.shard_offset)..until.max(end));
        }
        Self {
            any: geometry.profile().k() == 1,
            extent,
            geometry,
            range,
            hull: hull.unwrap_or_default(),
            sources,
            number,
        }
    }

    /// The extent that the step reads.
    #[must_use]
    pub fn extent(&self) -> &Extent {
        &self.extent
    }

    /// The stored name of a shard.
    #[must_use]
    pub fn shard_id(&self, shard: u8) -> ShardId {
        ShardId {
            data: self.extent.data,
            slot: shard,
            repair: 0,
        }
    }

    /// Bytes that the step gives.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether the step gives no bytes; a plan makes no such step.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The first fetches: the data shards wanted, when all of them are well, else the `k` best
    /// shards.
    ///
    /// # Errors
    /// When fewer than `k` shards can be had.
    pub fn start(&mut self) -> Result<Vec<Fetch>, Unreadable> {
        let well = |s: &Source| s.wanted.is_empty() || s.health <= Health::Good;
        self.any |= !self.sources.iter().all(well);
        if self.any {
            return self.top_up();
        }
        let wanted: Vec<_> = self
            .sources
            .iter()
            .map(|s| s.wanted.clone())
            .enumerate()
            .collect();
        Ok(wanted
            .into_iter()
            .filter(|(_, range)| !range.is_empty())
            .map(|(i, range)| self.ask(i, range))
            .collect())
    }

    /// Takes the answer to a fetch. Bytes of another length than asked for are a failure that the
    /// caller should have found; they are treated as one.
    ///
    /// # Errors
    /// As [`Self::failed`].
    pub fn arrived(&mut self, fetch: Fetch, bytes: Bytes) -> Result<Vec<Fetch>, Unreadable> {
        if bytes.len() != fetch.len {
            return self.failed(fetch.shard);
        }
        let Some(source) = self.sources.get_mut(usize::from(fetch.shard)) else {
            return Ok(Vec::new());
        };
        let range = fetch.offset..fetch.offset + fetch.len as u64;
        if source.asked.as_ref() == Some(&range) {
            source.asked = None;
            source.late = false;
        }
        if source
            .here
            .as_ref()
            .is_none_or(|(here, _)| covers(&range, here))
        {
            source.here = Some((range, bytes));
        }
        Ok(Vec::new())
    }

    /// Notes that a shard cannot be had (missing, damaged, its drive away) and says what to fetch
    /// in its place.
    ///
    /// # Errors
    /// When fewer than `k` shards are left.
    pub fn failed(&mut self, shard: u8) -> Result<Vec<Fetch>, Unreadable> {
        let Some(source) = self.sources.get_mut(usize::from(shard)) else {
            return Ok(Vec::new());
        };
        source.failed = true;
        source.asked = None;
        if self.is_ready() || (!self.any && !self.wanted_lost()) {
            return Ok(Vec::new());
        }
        self.any = true;
        self.top_up()
    }

    /// Says what to fetch beside the answers that dawdle: as many other shards as there are late
    /// ones. Whatever comes first is used. The driver decides when, and how often in all.
    pub fn hedge(&mut self) -> Vec<Fetch> {
        if self.is_ready() {
            return Vec::new();
        }
        for source in &mut self.sources {
            source.late |= source.asked.is_some();
        }
        self.any = true;
        // Too few shards is no failure here: the late ones may still come.
        self.top_up().unwrap_or_default()
    }

    /// Whether enough is here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.direct() || self.whole() >= self.k()
    }

    /// Whether bytes must be computed, because a wanted data shard is not here.
    #[must_use]
    pub fn needs_decoding(&self) -> bool {
        self.k() > 1 && !self.direct()
    }

    /// The step's bytes in order, in pieces of at most a cell: slices of what was fetched, or
    /// decoded.
    ///
    /// # Errors
    /// When the step is not ready.
    pub fn finish(mut self) -> Result<Vec<Bytes>, NotReady> {
        if !self.is_ready() {
            return Err(NotReady);
        }
        if !self.direct() {
            if self.k() == 1 {
                self.take_copy();
            } else {
                self.restore();
            }
        }
        self.geometry
            .locate(self.range.clone())
            .map(|run| {
                let range = run.shard_offset..run.shard_offset + u64::from(run.len);
                self.sources[usize::from(run.shard)]
                    .bytes(&range)
                    .ok_or(NotReady)
            })
            .collect()
    }

    fn k(&self) -> usize {
        self.geometry.profile().k()
    }

    /// All wanted data is here.
    fn direct(&self) -> bool {
        self.sources.iter().all(|s| s.has(&s.wanted))
    }

    /// Shards that are here from end to end of the hull.
    fn whole(&self) -> usize {
        self.sources.iter().filter(|s| s.has(&self.hull)).count()
    }

    /// A wanted data shard will not come.
    fn wanted_lost(&self) -> bool {
        let lost = |s: &Source| !s.usable() && !s.has(&s.wanted);
        self.sources.iter().any(lost)
    }

    fn ask(&mut self, index: usize, range: Range<u64>) -> Fetch {
        self.sources[index].asked = Some(range.clone());
        self.sources[index].late = false;
        Fetch {
            shard: u8::try_from(index).expect("at most 40 shards"),
            offset: range.start,
            len: usize::try_from(range.end - range.start).expect("a step has at most 8 MiB"),
        }
    }

    /// Asks for as many whole shards as are wanting to `k`, the best first: by health, then wanted
    /// data, data, parity (decoding costs more than the network saves). Copies are taken from near,
    /// then in turns.
    fn top_up(&mut self) -> Result<Vec<Fetch>, Unreadable> {
        let (k, width) = (self.k(), self.sources.len());
        let hull = self.hull.clone();
        let counted = |s: &Source| s.has(&hull) || (s.usable() && s.asked_for(&hull) && !s.late);
        let coming = self.sources.iter().filter(|s| counted(s)).count();
        let left = self
            .sources
            .iter()
            .filter(|s| s.has(&hull) || s.usable())
            .count();
        if left < k && (self.wanted_lost() || k == 1) {
            return Err(Unreadable {
                data: self.extent.data,
                left,
                width,
                need: k,
            });
        }
        let turn = if k == 1 { self.number } else { 0 };
        let turn = usize::try_from(turn % width as u64).expect("below the width");
        let mut choice: Vec<usize> = (0..width)
            .filter(|i| {
                let source = &self.sources[*i];
                source.usable() && !counted(source) && !source.asked_for(&hull)
            })
            .collect();
        choice.sort_by_key(|i| {
            let source = &self.sources[*i];
            let nearest = if k == 1 { Health::Near } else { Health::Good };
            let unwanted = k > 1 && source.wanted.is_empty();
            (
                source.late,
                source.health.max(nearest),
                unwanted,
                (i + width - turn) % width,
            )
        });
        choice.truncate(k.saturating_sub(coming));
        Ok(choice
            .into_iter()
            .map(|i| self.ask(i, hull.clone()))
            .collect())
    }

    /// Any copy is the data.
    fn take_copy(&mut self) {
        let copy = self.sources.iter().find(|s| s.has(&self.hull));
        let here = copy.and_then(|s| s.here.clone());
        self.sources[0].here = here;
    }

    /// Computes the wanted data that is not here, column by column.
    fn restore(&mut self) {
        let hull = self.hull.clone();
        let size = usize::try_from(hull.end - hull.start).expect("a step has at most 8 MiB");
        let here: Vec<Option<Bytes>> = self.sources.iter().map(|s| s.bytes(&hull)).collect();
        let mut out: Vec<Option<Vec<u8>>> = self
            .sources
            .iter()
            .map(|s| (!s.has(&s.wanted)).then(|| vec![0; size]))
            .collect();
        let codec = codec_for(self.geometry.profile());
        for at in (0..size).step_by(BLOCK_BYTES) {
            let column = at..size.min(at + BLOCK_BYTES);
            let mut shards: Vec<Shard<'_>> = here
                .iter()
                .zip(&mut out)
                .map(|pair| match pair {
                    (_, Some(out)) => Shard::Want(&mut out[column.clone()]),
                    (Some(bytes), None) => Shard::Have(&bytes[column.clone()]),
                    (None, None) => Shard::Skip,
                })
                .collect();
            codec
                .reconstruct(&mut shards)
                .expect("k shards are here, all as long as the hull");
        }
        for (source, out) in self.sources.iter_mut().zip(out) {
            if let Some(out) = out {
                source.here = Some((hull.clone(), out.into()));
            }
        }
    }
}
