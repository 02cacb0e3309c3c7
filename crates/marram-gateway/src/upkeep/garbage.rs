//! How much waits to be removed.

use futures::future::join_all;
use marram_meta::{GarbageTotals, ObjectAnswer, ObjectQuery, Pausable};
use marram_proto::v1;
use marram_types::GroupId;

use super::{UPKEEP_TIME, ask, behind, members};
use crate::admin::AdminError;
use crate::core::Core;

/// Says how much garbage waits in all groups, and whether it is removed.
pub(crate) async fn get(core: &Core) -> Result<v1::GetGarbageResponse, AdminError> {
    let view = core.fresh_view().await?;
    let groups = view.cluster.as_ref().map_or(0, |c| c.object_groups);
    let asked = (1..=groups).map(|number| async move {
        let group = GroupId(number);
        let asked = core.ask(group, &ObjectQuery::GarbageTotals, true);
        match tokio::time::timeout(UPKEEP_TIME, asked).await {
            Ok(Ok(ObjectAnswer::GarbageTotals(totals))) => (group, Some(totals)),
            _ => (group, None),
        }
    });
    let (found, said) = tokio::join!(join_all(asked), ask(core, members(&view), false));
    let mut answer = v1::GetGarbageResponse {
        paused_since_ms: view.upkeep.paused(Pausable::Garbage),
        behind: behind(&view, &said),
        ..v1::GetGarbageResponse::default()
    };
    for (group, totals) in found {
        let Some(totals) = totals else {
            answer.silent_groups.push(u32::from(group.0));
            continue;
        };
        let of_group = of_group(group, &totals);
        answer.entries += of_group.entries;
        answer.bytes += of_group.bytes;
        answer.due += of_group.due;
        answer.oldest_age_ms = answer.oldest_age_ms.max(of_group.oldest_age_ms);
        answer.groups.push(of_group);
    }
    Ok(answer)
}

fn of_group(group: GroupId, totals: &GarbageTotals) -> v1::GroupGarbage {
    let age = |oldest: u64| totals.now_ms.saturating_sub(oldest);
    v1::GroupGarbage {
        group: u32::from(group.0),
        entries: totals.entries,
        bytes: totals.bytes,
        due: totals.due,
        oldest_age_ms: totals.oldest_ms.map_or(0, age),
        more: totals.more,
    }
}
