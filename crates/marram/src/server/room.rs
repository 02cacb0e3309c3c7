//! Watches how much space the metadata drive has left for the Raft log and the state machines.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use marram_raft::Room;
use marram_store::wal::reserved_bytes;
use marram_store::{OpenMode, OsVfs, Vfs};
use marram_types::caps::{
    METADATA_FREE_BYTES_MIN, METADATA_FREE_SHARE, WAL_SEGMENT_BYTES_MAX, WAL_SEGMENT_BYTES_MIN,
};
use marram_types::config::ServerConfig;

use super::storage::Drives;

/// How often it is measured: at any rate that a drive takes, little is written in between.
const MEASURE_EVERY: Duration = Duration::from_millis(250);
/// Of the bytes that are kept free of new objects, the last one in so many is kept free of all
/// other leaders' entries too.
const SPENT_SHARE: u64 = 4;

/// The last measurement.
#[derive(Debug)]
pub(super) struct Gauge(AtomicU8);

impl Default for Gauge {
    fn default() -> Self {
        Self(AtomicU8::new(Room::Ample as u8))
    }
}

impl Gauge {
    pub(super) fn room(&self) -> Room {
        match self.0.load(Ordering::Relaxed) {
            spent if spent == Room::Spent as u8 => Room::Spent,
            low if low == Room::Low as u8 => Room::Low,
            _ => Room::Ample,
        }
    }

    /// Takes a measurement, and says when it makes a difference.
    fn set(&self, space: Space, limits: Limits) {
        let room = limits.judge(space);
        let before = self.0.swap(room as u8, Ordering::Relaxed);
        if before == room as u8 {
            return;
        }
        let Space { capacity, free } = space;
        match room {
            Room::Ample => tracing::info!(free, capacity, "the metadata drive has room again"),
            Room::Low => tracing::warn!(
                free,
                capacity,
                "the metadata drive is nearly full: groups led here take no more objects"
            ),
            Room::Spent => tracing::error!(
                free,
                capacity,
                "the metadata drive is full: replicas here take nothing from their leaders"
            ),
        }
    }
}

/// Bytes of the metadata drive.
#[derive(Debug, Clone, Copy)]
struct Space {
    capacity: u64,
    free: u64,
}

/// What a server may use of its metadata drive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of each drive that may be used, where that is limited.
    pub(super) capacity: Option<u64>,
    /// Bytes that are kept free of new objects, where that was set.
    pub(super) kept: Option<u64>,
}

impl Limits {
    pub(super) fn of(config: &ServerConfig) -> Self {
        Self {
            capacity: config.drive_capacity,
            kept: config.metadata_free,
        }
    }

    /// Bytes that are kept free of new objects.
    fn kept(&self, capacity: u64) -> u64 {
        let usual = METADATA_FREE_BYTES_MIN.min(capacity / METADATA_FREE_SHARE);
        self.kept.unwrap_or(usual)
    }

    fn judge(&self, space: Space) -> Room {
        let kept = self.kept(space.capacity);
        if space.free < kept / SPENT_SHARE {
            Room::Spent
        } else if space.free < kept {
            Room::Low
        } else {
            Room::Ample
        }
    }

    /// Size of the log's segments, where `capacity` is the file system's: making one must not take
    /// what is kept free.
    pub(super) fn wal_segment_bytes(&self, capacity: u64) -> u64 {
        let capacity = self.capacity.map_or(capacity, |limit| limit.min(capacity));
        let fits = self.kept(capacity) / SPENT_SHARE / 2;
        fits.clamp(WAL_SEGMENT_BYTES_MIN, WAL_SEGMENT_BYTES_MAX)
    }
}

/// Measures for as long as the process runs.
pub(super) async fn watch(
    gauge: Arc<Gauge>,
    raft_dir: PathBuf,
    drives: Arc<Drives>,
    limits: Limits,
) {
    let mut tick = tokio::time::interval(MEASURE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (dir, drives) = (raft_dir.clone(), Arc::clone(&drives));
        let measured =
            tokio::task::spawn_blocking(move || measure(&dir, &drives, limits.capacity)).await;
        match measured {
            Ok(Ok(space)) => gauge.set(space, limits),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the metadata drive's free space cannot be measured");
            }
            Err(_) => return,
        }
    }
}

/// Bytes that are free for metadata, and bytes that are kept free of new objects.
pub(super) fn left(raft_dir: &Path, drives: &Drives, limits: Limits) -> io::Result<(u64, u64)> {
    let space = measure(raft_dir, drives, limits.capacity)?;
    Ok((space.free, limits.kept(space.capacity)))
}

/// What is free on the file system; within a limit, what the limit leaves beside shards, log and
/// state, if that is less.
fn measure(raft_dir: &Path, drives: &Drives, limit: Option<u64>) -> io::Result<Space> {
    let space = OsVfs.space(raft_dir)?;
    // What the log holds for its next segment is there when it is needed: a drive is not fuller for it.
    let held = reserved_bytes(&OsVfs, &raft_dir.join("log"));
    let (capacity, mut free) = (space.capacity, space.free.saturating_add(held));
    let Some((limit, drive)) = limit.zip(drives.metadata()) else {
        return Ok(Space { capacity, free });
    };
    let mut used = 0;
    for folder in ["log", "state"] {
        let folder = raft_dir.join(folder);
        for name in OsVfs.list(&folder)? {
            // A file that goes away meanwhile takes no space.
            let file = OsVfs.open(&folder.join(name), OpenMode::Existing);
            used += file.and_then(|file| file.len()).unwrap_or(0);
        }
    }
    drive.set_other_bytes(used.saturating_sub(held));
    free = free.min(drive.stat().free);
    let capacity = limit.min(capacity);
    Ok(Space { capacity, free })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSET: Limits = Limits {
        capacity: None,
        kept: None,
    };

    #[test]
    fn growth_stops_well_before_the_log_finds_no_space() {
        let mib = 1 << 20;
        let at = |capacity, free| UNSET.judge(Space { capacity, free });
        let large = 4 << 40;
        assert_eq!(at(large, METADATA_FREE_BYTES_MIN), Room::Ample);
        assert_eq!(at(large, METADATA_FREE_BYTES_MIN - 1), Room::Low);
        assert_eq!(at(large, METADATA_FREE_BYTES_MIN / 4 - 1), Room::Spent);
        assert_eq!(at(1000 * mib, 50 * mib), Room::Ample);
        assert_eq!(at(1000 * mib, 50 * mib - 1), Room::Low);
        assert_eq!(at(1000 * mib, 0), Room::Spent);
        let set = Limits {
            kept: Some(600 * mib),
            ..UNSET
        };
        let at = |free| {
            set.judge(Space {
                capacity: 1000 * mib,
                free,
            })
        };
        assert_eq!((at(600 * mib), at(599 * mib)), (Room::Ample, Room::Low));
    }

    #[test]
    fn a_new_segment_of_the_log_fits_into_what_is_kept() {
        assert_eq!(UNSET.wal_segment_bytes(4 << 40), WAL_SEGMENT_BYTES_MAX);
        for capacity in [2_u64 << 30, 10 << 30, 1 << 40] {
            assert!(UNSET.wal_segment_bytes(capacity) <= UNSET.kept(capacity) / SPENT_SHARE);
        }
        assert_eq!(UNSET.wal_segment_bytes(0), WAL_SEGMENT_BYTES_MIN);
        let limited = Limits {
            capacity: Some(1 << 30),
            ..UNSET
        };
        assert!(limited.wal_segment_bytes(4 << 40) < WAL_SEGMENT_BYTES_MAX);
    }
}
