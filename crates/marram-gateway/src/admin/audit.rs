//! Which objects, in all of their versions, have all of their shards: after a restore the metadata may name what is not there
//! any more.
//!
//! The last byte of each shard is asked for where readers would look, which has its block verified.
//! Whether all of a shard is good is for reads and scrubs to say.

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use marram_erasure::Geometry;
use marram_meta::{Body, Extent};
use marram_proto::v1;
use marram_types::{Generation, ShardId};

use crate::admin::AdminError;
use crate::core::Core;
use crate::drives::{DriveError, Part};
use crate::objects::{LookupError, ObjectName, list_versions, lookup_version};

/// Versions of one page at most: the answer must come within a call's time.
const PAGE_MAX: i32 = 100;
/// Objects looked at at once.
const OBJECTS_AT_ONCE: usize = 16;
/// How long a drive may take to say whether it has a shard.
const LOOK_TIME: Duration = Duration::from_secs(3);

/// What is left of an object, or of an extent of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Whole,
    Degraded,
    /// Some of its shards are on nodes that do not answer, and without those it cannot be read.
    Unknown,
    Lost,
}

/// Looks at a page of objects.
pub(crate) async fn audit(
    core: &Core,
    request: v1::AuditObjectsRequest,
) -> Result<v1::AuditObjectsResponse, AdminError> {
    let page = list_versions(
        core,
        v1::ListObjectVersionsRequest {
            bucket: request.bucket.clone(),
            page_token: request.page_token,
            page_size: page_size(request.page_size),
            ..v1::ListObjectVersionsRequest::default()
        },
    );
    let page = page.await.map_err(AdminError::List)?;
    let with_bytes = page.versions.into_iter().filter(|v| !v.delete_marker);
    let looks = with_bytes.map(|version| {
        let name = ObjectName::new(request.bucket.clone(), version.key.clone());
        async move {
            let left = match name {
                Ok(name) => look(core, &name, Generation(version.generation)).await?,
                Err(_) => None,
            };
            Ok::<_, AdminError>((version, left))
        }
    });
    let looked: Vec<_> = stream::iter(looks)
        .buffered(OBJECTS_AT_ONCE)
        .collect()
        .await;
    let mut answer = v1::AuditObjectsResponse {
        next_page_token: page.next_page_token,
        ..v1::AuditObjectsResponse::default()
    };
    for looked in looked {
        let (version, left) = looked?;
        // One that was deleted meanwhile is no affair of an audit.
        let Some(left) = left else { continue };
        answer.checked += 1;
        match left {
            Left::Whole => {}
            Left::Degraded => answer.degraded += 1,
            Left::Unknown if version.is_current => answer.unknown.push(version.key),
            Left::Unknown => answer.unknown_versions.push(named(version)),
            Left::Lost if version.is_current => answer.lost.push(version.key),
            Left::Lost => answer.lost_versions.push(named(version)),
        }
    }
    Ok(answer)
}

fn page_size(asked: u32) -> i32 {
    match i32::try_from(asked) {
        Ok(size @ 1..PAGE_MAX) => size,
        Ok(_) | Err(_) => PAGE_MAX,
    }
}

fn named(version: v1::ObjectVersion) -> v1::VersionName {
    v1::VersionName {
        key: version.key,
        generation: version.generation,
    }
}

/// What is left of a version; none when it is gone.
async fn look(
    core: &Core,
    name: &ObjectName,
    generation: Generation,
) -> Result<Option<Left>, AdminError> {
    let row = match lookup_version(core, name, Some(generation)).await {
        Ok(head) => head.row,
        Err(LookupError::NoVersion { .. }) => return Ok(None),
        Err(error) => return Err(AdminError::Lookup(error)),
    };
    let Body::Extents(extents) = &row.body else {
        return Ok(Some(Left::Whole));
    };
    let left = join_all(extents.iter().map(|extent| extent_left(core, extent))).await;
    Ok(Some(left.into_iter().max().unwrap_or(Left::Whole)))
}

async fn extent_left(core: &Core, extent: &Extent) -> Left {
    let geometry = Geometry::with_cell(extent.profile, extent.cell, extent.length);
    let Ok(last) = geometry.map(|geometry| geometry.shard_len().saturating_sub(1)) else {
        return Left::Unknown;
    };
    let width = u8::try_from(extent.profile.width()).expect("at most 40 shards");
    let shards = join_all((0..width).map(|shard| is_there(core, extent, shard, last))).await;
    judge(extent.profile.k(), &shards)
}

/// Whether a shard is there; none when nobody can say.
async fn is_there(core: &Core, extent: &Extent, shard: u8, last: u64) -> Option<bool> {
    // Whatever the row says of it: readers ask for what is marked missing, too, when others do not suffice.
    let place = core.places().shard(extent, shard)?;
    let part = Part {
        in_background: false,
        place,
        shard: ShardId {
            data: extent.data,
            slot: shard,
            repair: 0,
        },
        offset: last,
        len: 1,
    };
    match core.drives.read(part, LOOK_TIME).await {
        Ok(_) => Some(true),
        Err(DriveError::NotFound | DriveError::Corrupt) => Some(false),
        Err(_) => None,
    }
}

/// What answers about each shard mean for an extent that is read from any `k` of them.
fn judge(k: usize, shards: &[Option<bool>]) -> Left {
    let there = shards.iter().filter(|shard| **shard == Some(true)).count();
    let gone = shards.iter().filter(|shard| **shard == Some(false)).count();
    if shards.len() - gone < k {
        Left::Lost
    } else if there < k {
        Left::Unknown
    } else if there < shards.len() {
        Left::Degraded
    } else {
        Left::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_is_only_what_nobody_may_still_have() {
        let (yes, no, away) = (Some(true), Some(false), None);
        assert_eq!(judge(2, &[yes, yes, yes]), Left::Whole);
        assert_eq!(judge(2, &[yes, no, yes]), Left::Degraded);
        assert_eq!(judge(2, &[yes, away, yes]), Left::Degraded);
        assert_eq!(judge(2, &[yes, no, away]), Left::Unknown);
        assert_eq!(judge(2, &[away, away, away]), Left::Unknown);
        assert_eq!(judge(2, &[yes, no, no]), Left::Lost);
    }
}
