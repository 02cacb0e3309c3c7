//! One step of a read: fetches in parallel, others where one fails or dawdles.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use marram_meta::Extent;
use marram_object::{Fetch, Health, ReadStep, Unreadable};

use super::report;
use crate::core::Core;
use crate::drives::{DriveError, Part};
use crate::places::Places;
use crate::reencode::{WorkPace, paced};

type Fetches = FuturesUnordered<BoxFuture<'static, (Fetch, Result<Bytes, DriveError>)>>;

/// How gladly the drive of a shard is asked.
pub(crate) fn health(core: &Core, places: &Places, extent: &Extent, shard: u8) -> Health {
    let Some(place) = places.shard(extent, shard) else {
        return Health::Gone;
    };
    let poor = !core.drives.is_up(place.node)
        || core.conditions.is_slow(place.drive)
        || core.is_suspect(place)
        || core.prefers_others(place.node);
    if poor {
        Health::Poor
    } else if core.drives.is_near(place.node) {
        Health::Near
    } else {
        Health::Good
    }
}

/// Fetches a step: its bytes in order. Work in the background has a pace: it waits for its turn at each
/// drive, asks no others meanwhile, and says nothing of how fast the drives are.
pub(crate) async fn step(
    core: Arc<Core>,
    mut step: ReadStep,
    pace: Option<Arc<dyn WorkPace>>,
) -> Result<Vec<Bytes>, Unreadable> {
    let mut fetches = Fetches::new();
    let mut asked: Vec<Fetch> = Vec::new();
    let pace = pace.as_ref();
    let first = step.start()?;
    send((&core, pace), &step, first, &mut fetches, &mut asked);
    let mut dawdling: Vec<Fetch> = Vec::new();
    let mut hedges = Hedges::default();
    let patience = core.conditions.hedge_after();
    let hedge = tokio::time::sleep(patience);
    tokio::pin!(hedge);
    while !step.is_ready() {
        tokio::select! {
            Some((fetch, answer)) = fetches.next(), if !fetches.is_empty() => {
                asked.retain(|other| *other != fetch);
                dawdling.retain(|other| *other != fetch);
                let more = match answer {
                    Ok(bytes) => {
                        hedges.arrived(fetch);
                        step.arrived(fetch, bytes)?
                    }
                    Err(error) => {
                        log_failure(&step, fetch, error);
                        step.failed(fetch.shard)?
                    }
                };
                send((&core, pace), &step, more, &mut fetches, &mut asked);
            }
            () = &mut hedge, if !asked.is_empty() && pace.is_none() => {
                hedge.as_mut().reset(tokio::time::Instant::now() + patience);
                if dawdling.is_empty() && core.conditions.may_hedge(asked.len()) {
                    dawdling.clone_from(&asked);
                    let more = step.hedge();
                    core.calls.hedged(more.len());
                    hedges.asked.extend(&more);
                    send((&core, pace), &step, more, &mut fetches, &mut asked);
                }
            }
            // Nothing is on its way and the step is not ready: every shard left has failed.
            else => return Err(unreadable(&step)),
        }
    }
    core.calls.hedges_won(hedges.came.min(dawdling.len()));
    overtaken(&core, &step, &dawdling);
    Ok(step.finish().expect("the step is ready"))
}

/// What was asked beside late fetches.
#[derive(Default)]
struct Hedges {
    asked: Vec<Fetch>,
    /// How many of them were answered.
    came: usize,
}

impl Hedges {
    fn arrived(&mut self, fetch: Fetch) {
        self.came += usize::from(self.asked.contains(&fetch));
    }
}

fn unreadable(step: &ReadStep) -> Unreadable {
    let extent = step.extent();
    Unreadable {
        data: extent.data,
        left: 0,
        width: extent.profile.width(),
        need: extent.profile.k(),
    }
}

/// Asks the drives of shards.
fn send(
    (core, pace): (&Arc<Core>, Option<&Arc<dyn WorkPace>>),
    step: &ReadStep,
    wanted: Vec<Fetch>,
    fetches: &mut Fetches,
    asked: &mut Vec<Fetch>,
) {
    let places = core.places();
    for fetch in wanted {
        asked.push(fetch);
        let place = places.shard(step.extent(), fetch.shard);
        let shard = step.shard_id(fetch.shard);
        let known_missing = step.extent().is_missing(fetch.shard);
        let pg = step.extent().pg;
        let (core, pace) = (core.clone(), pace.cloned());
        let fetching = async move {
            let Some(place) = place else {
                return (fetch, Err(DriveError::NotFound));
            };
            let part = Part {
                place,
                shard,
                offset: fetch.offset,
                len: u32::try_from(fetch.len).expect("a step has at most 8 MiB"),
                in_background: pace.is_some(),
            };
            let started = Instant::now();
            let answer = match &pace {
                None => {
                    core.drives
                        .read(part, core.conditions.fetch_deadline())
                        .await
                }
                Some(pace) => paced::read(&core, pace, part).await,
            };
            match &answer {
                Ok(_) if part.in_background => {}
                Err(DriveError::Overloaded) if part.in_background => {}
                Ok(_) => core.conditions.fetch_succeeded(started.elapsed()),
                Err(DriveError::Corrupt | DriveError::NotFound) if known_missing => {}
                // A bad or missing shard says nothing about the rest of the drive.
                Err(DriveError::Corrupt | DriveError::NotFound) => {
                    report::tell(&core, pg, place, shard, fetch.offset);
                }
                Err(error) => core.conditions.failed(place.drive, *error),
            }
            (fetch, answer)
        };
        fetches.push(fetching.boxed());
    }
}

/// Remembers the drives that others overtook, so that the reads that follow ask others first.
fn overtaken(core: &Core, step: &ReadStep, dawdling: &[Fetch]) {
    let places = core.places();
    for fetch in dawdling {
        if let Some(place) = places.shard(step.extent(), fetch.shard) {
            core.conditions.overtaken(place.drive);
        }
    }
}

fn log_failure(step: &ReadStep, fetch: Fetch, error: DriveError) {
    let shard = step.shard_id(fetch.shard);
    match error {
        DriveError::Corrupt | DriveError::NotFound => {
            tracing::warn!(%shard, %error, "a shard must be repaired; it is read from others");
        }
        _ => tracing::debug!(%shard, %error, "a shard is read from others"),
    }
}
