//! What a put leaves behind is removed, in the background.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use marram_meta::NewExtent;
use marram_object::Abandoned;
use marram_types::{DataId, DriveId};
use tokio::sync::OwnedSemaphorePermit;

use super::window::WindowMemory;
use super::writer::Runs;
use crate::core::Core;

/// How long runs that are still on their way are awaited first: one that arrived after the removal
/// would stay until the collector finds it.
const RUNS_TIME: Duration = Duration::from_secs(20);
/// How long one removal may take.
const REMOVE_TIME: Duration = Duration::from_secs(10);

/// What a write holds of the memory that all transfers share, kept until its cleanup has ended: the
/// runs still hold the bytes of its windows.
pub(super) struct Held {
    /// The write's place among the transfers.
    pub(super) place: Arc<Option<OwnedSemaphorePermit>>,
    /// That of windows that are not durable.
    pub(super) windows: Vec<WindowMemory>,
}

/// Removes the data of extents that no commit names or will name (rules.md 27).
pub(super) fn start(core: &Arc<Core>, abandoned: Vec<Abandoned>, runs: Runs, held: Held) {
    if abandoned.is_empty() {
        return;
    }
    let tasks = core.tasks.clone();
    let core = core.clone();
    tasks.spawn(async move {
        let drained = tokio::time::timeout(RUNS_TIME, runs.for_each(|_| async {})).await;
        if drained.is_err() {
            tracing::info!("runs of a write that broke off are still on their way");
        }
        remove(&core, abandoned).await;
        let Held { place, windows } = held;
        drop((place, windows));
    });
}

/// Removes extents that were written to the end and that no commit was sent for.
pub(crate) fn abandon(core: &Arc<Core>, extents: &[NewExtent]) {
    let abandoned = extents.iter().map(|new| Abandoned {
        data: new.extent.data,
        drives: new.wrote.iter().map(|(_, drive)| *drive).collect(),
    });
    let abandoned: Vec<Abandoned> = abandoned.collect();
    let tasks = core.tasks.clone();
    let core = core.clone();
    tasks.spawn(async move { remove(&core, abandoned).await });
}

async fn remove(core: &Core, abandoned: Vec<Abandoned>) {
    for Abandoned { data, drives } in &abandoned {
        tracing::info!(target: "gc", %data, ?drives, "no commit names the data of a write that broke off: its shards are removed");
    }
    let mut by_drive: BTreeMap<DriveId, Vec<DataId>> = BTreeMap::new();
    for extent in abandoned {
        for drive in extent.drives {
            by_drive.entry(drive).or_default().push(extent.data);
        }
    }
    let places = core.places();
    let removals = by_drive.into_iter().filter_map(|(drive, data)| {
        let place = places.place(drive)?;
        Some(async move {
            if let Err(error) = core.drives.remove(place, data, REMOVE_TIME).await {
                // The collector finds what stays (rules.md 27).
                tracing::info!(node = %place.node, %drive, %error, "abandoned shards stay for now");
            }
        })
    });
    futures::future::join_all(removals).await;
}
