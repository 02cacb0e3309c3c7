//! Finished spans on their way out of the process. Whoever finishes one never waits: what does not fit into the
//! queue is counted and gone.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::sampler::{Sampler, Sampling};
use crate::step::Finished;

/// Finished spans that wait to be taken away; more are dropped. About 2 MiB of memory.
pub const QUEUED_SPANS_MAX: usize = 4096;

/// The one look of a process that records nothing.
static ON: AtomicBool = AtomicBool::new(false);
static SINK: OnceLock<Sink> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);
static EXPORTED: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

struct Sink {
    queue: mpsc::Sender<Finished>,
    sampler: Sampler,
}

/// The finished spans of this process, for the one who takes them to a collector.
#[derive(Debug)]
pub struct Spans {
    queue: mpsc::Receiver<Finished>,
}

/// What became of the spans of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// A collector has them.
    pub exported: u64,
    /// The queue was full.
    pub dropped: u64,
    /// No collector took them.
    pub failed: u64,
}

/// Whether spans are recorded in this process.
#[inline]
#[must_use]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Records spans from now on. `None` where that was begun before.
#[must_use]
pub fn start(sampling: Sampling) -> Option<Spans> {
    let (queue, spans) = mpsc::channel(QUEUED_SPANS_MAX);
    let sink = Sink {
        queue,
        sampler: Sampler::new(sampling),
    };
    SINK.set(sink).ok()?;
    ON.store(true, Ordering::Relaxed);
    Some(Spans { queue: spans })
}

/// What became of the spans so far.
#[must_use]
pub fn counts() -> Counts {
    Counts {
        exported: EXPORTED.load(Ordering::Relaxed),
        dropped: DROPPED.load(Ordering::Relaxed),
        failed: FAILED.load(Ordering::Relaxed),
    }
}

pub(crate) fn sampler() -> Option<&'static Sampler> {
    is_on()
        .then(|| SINK.get().map(|sink| &sink.sampler))
        .flatten()
}

pub(crate) fn push(span: Finished) {
    let taken = SINK
        .get()
        .is_some_and(|sink| sink.queue.try_send(span).is_ok());
    if !taken {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

impl Spans {
    /// The next ones, at most so many, as soon as there is one; nothing when there will be no more.
    pub async fn next(&mut self, most: usize) -> Vec<Finished> {
        let mut batch = Vec::new();
        self.queue.recv_many(&mut batch, most).await;
        batch
    }

    /// Further ones that are there already.
    pub fn more(&mut self, batch: &mut Vec<Finished>, most: usize) {
        while batch.len() < most {
            match self.queue.try_recv() {
                Ok(span) => batch.push(span),
                Err(_) => return,
            }
        }
    }

    /// A collector has taken so many.
    pub fn exported(&self, count: usize) {
        EXPORTED.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// So many were given up, because no collector took them.
    pub fn failed(&self, count: usize) {
        FAILED.fetch_add(count as u64, Ordering::Relaxed);
    }
}
