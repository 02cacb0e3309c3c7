//! Every new shard is looked at again after the last write: a drive may have lost since what it had
//! acknowledged (placement-protocol.md 13).

use std::time::Duration;

use futures::future::try_join_all;
use marram_erasure::{Geometry, GeometryError};
use marram_meta::{Extent, NewExtent};
use marram_types::{DriveId, ShardId};

use super::Stop;
use crate::core::Core;
use crate::drives::DriveError;

/// How long a node may take to read shards through.
const LOOK_WITHIN: Duration = Duration::from_secs(110);
/// How often a node is asked whose view of the layout is another one.
const LOOKS_MAX: usize = 8;
/// The pause before it is asked again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Bytes of each shard of an extent.
pub(super) fn shard_len(extent: &Extent) -> Result<u64, GeometryError> {
    let geometry = Geometry::with_cell(extent.profile, extent.cell, extent.length)?;
    Ok(geometry.shard_len())
}

/// Looks at every shard of some extents, at all places where it was written.
pub(super) async fn look_at_all(core: &Core, extents: &[NewExtent]) -> Result<(), Stop> {
    for new in extents {
        let length = shard_len(&new.extent)?;
        let looks = new.wrote.iter().map(|(shard, drive)| {
            let shard = ShardId {
                data: new.extent.data,
                slot: *shard,
                repair: 0,
            };
            look(core, &new.extent, *drive, (shard, length))
        });
        let _all = try_join_all(looks).await?;
    }
    Ok(())
}

async fn look(
    core: &Core,
    extent: &Extent,
    drive: DriveId,
    shard: (ShardId, u64),
) -> Result<(), Stop> {
    let mut last = DriveError::Stale;
    for _ in 0..LOOKS_MAX {
        let places = core.places();
        let table = places.pool(extent.pg.pool);
        let row = table.and_then(|table| table.row(extent.pg));
        let (Some(row), Some(place)) = (row, places.place(drive)) else {
            return Err(Stop::Look(DriveError::NotFound));
        };
        let asked = core
            .drives
            .look(place, (extent.pg, row.epoch), vec![shard], LOOK_WITHIN);
        match asked.await {
            Ok(seen) if seen == [true] => return Ok(()),
            Ok(_) => return Err(Stop::Lost),
            // Its view is older or newer; or it has enough to do.
            Err(
                error @ (DriveError::Stale
                | DriveError::Away
                | DriveError::NotOpen
                | DriveError::Overloaded),
            ) => {
                last = error;
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            }
            Err(error) => return Err(Stop::Look(error)),
        }
    }
    Err(Stop::Look(last))
}
