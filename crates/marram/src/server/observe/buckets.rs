//! What buckets hold, for who asks for it: their names are told with it. The server that leads the root group tells
//! it of the whole cluster, because only who adds all groups up knows which buckets hold most.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;
use marram_meta::{BucketState, ClusterView, ObjectAnswer, ObjectQuery, USAGES_PAGE_MAX, Usage};
use marram_metrics::catalogue::{
    BUCKET_NONCURRENT_SIZE, BUCKET_OBJECT, BUCKET_OBJECTS, BUCKET_QUOTA, BUCKET_UPLOAD_SIZE,
};
use marram_metrics::{Sheet, Source};
use marram_raft::{RaftHost, Role, Router};
use marram_types::{BucketId, GroupId};
use tokio::sync::watch;

mod sums;

use sums::{Held, Sums};

/// How long a group may take for a page. Without one group there are no sums: they would be wrong.
const PAGE_TIME: Duration = Duration::from_secs(2);
/// Stands for all buckets that are not among the first: no bucket can have this name.
const REST: &str = "(rest)";

/// The buckets that hold most.
pub(in crate::server) struct Buckets {
    top: usize,
    host: Arc<RaftHost>,
    router: Arc<Router>,
    view: watch::Receiver<Arc<ClusterView>>,
    sums: Sums,
}

#[async_trait]
impl Source for Buckets {
    async fn collect(&self, sheet: &mut Sheet) {
        let root = self.host.status(GroupId::ROOT);
        if root.is_none_or(|status| status.role != Role::Leader) {
            return;
        }
        let view = self.view.borrow().clone();
        let groups = view.groups.keys().copied();
        let groups: Vec<_> = groups.filter(|group| *group != GroupId::ROOT).collect();
        let add_up = add_up(Arc::clone(&self.router), groups);
        if let Some(held) = self.sums.newest(add_up).await {
            write(sheet, &view, &held, self.top);
        }
    }
}

impl Buckets {
    /// So many of them, by the replicas of this server, the way to those of others, and the cluster's view.
    pub(in crate::server) fn new(
        top: u32,
        host: Arc<RaftHost>,
        router: Arc<Router>,
        view: watch::Receiver<Arc<ClusterView>>,
    ) -> Self {
        Self {
            top: usize::try_from(top).expect("a u32 fits a usize"),
            host,
            router,
            view,
            sums: Sums::default(),
        }
    }
}

/// What each bucket holds in the whole cluster; none where a group did not tell.
async fn add_up(router: Arc<Router>, groups: Vec<GroupId>) -> Option<Held> {
    let asked = groups.into_iter().map(|group| of_group(&router, group));
    let mut sum: BTreeMap<BucketId, Usage> = BTreeMap::new();
    for (bucket, usage) in try_join_all(asked).await.ok()?.into_iter().flatten() {
        let all = sum.entry(bucket).or_default();
        *all = all.plus(usage);
    }
    Some(Arc::new(sum))
}

/// What a group holds of each bucket.
async fn of_group(router: &Router, group: GroupId) -> Result<Vec<(BucketId, Usage)>, ()> {
    let mut all = Vec::new();
    loop {
        let query = ObjectQuery::Usages {
            after: all.last().map(|(bucket, _)| *bucket),
            limit: USAGES_PAGE_MAX,
        };
        let query = Bytes::from(query.encode());
        let asked = router.query(group, query, false, PAGE_TIME).await;
        let (answer, _) = asked.map_err(|error| {
            tracing::debug!(%group, %error, "what buckets hold is not known");
        })?;
        match ObjectAnswer::decode(&answer) {
            Ok(ObjectAnswer::Usages(page)) => {
                all.extend(page.buckets);
                if !page.more {
                    return Ok(all);
                }
            }
            Ok(_) | Err(_) => return Err(()),
        }
    }
}

/// Writes the first ones, the largest first, and the sum of all others.
fn write(sheet: &mut Sheet, view: &ClusterView, held: &BTreeMap<BucketId, Usage>, top: usize) {
    let living = view
        .buckets
        .values()
        .filter(|bucket| bucket.state != BucketState::Deleted);
    let mut all: Vec<_> = living
        .map(|bucket| {
            let usage = held.get(&bucket.bucket).copied().unwrap_or_default();
            (bucket, usage)
        })
        .collect();
    all.sort_by_key(|(bucket, usage)| (Reverse(usage.held().bytes), bucket.name.clone()));
    let rest = all.split_off(top.min(all.len()));
    for (bucket, usage) in &all {
        let name = bucket.name.to_string();
        row(sheet, &name, *usage);
        if let Some(bytes) = bucket.quota.and_then(|quota| quota.bytes) {
            sheet.set(&BUCKET_QUOTA, &[&name], bytes);
        }
    }
    let rest = rest.into_iter().map(|(_, usage)| usage);
    row(sheet, REST, rest.fold(Usage::default(), Usage::plus));
}

fn row(sheet: &mut Sheet, name: &str, usage: Usage) {
    sheet.set(&BUCKET_OBJECTS, &[name], usage.objects);
    sheet.set(&BUCKET_OBJECT, &[name], usage.bytes);
    sheet.set(&BUCKET_NONCURRENT_SIZE, &[name], usage.noncurrent_bytes);
    sheet.set(&BUCKET_UPLOAD_SIZE, &[name], usage.part_bytes);
}

#[cfg(test)]
mod tests {
    use marram_meta::{BucketRecord, Quota, Versioning};
    use marram_metrics::{Format, Sources};
    use marram_types::BucketName;

    use super::*;

    fn bucket(number: u64, name: &str, quota: Option<u64>) -> BucketRecord {
        BucketRecord {
            bucket: BucketId(number),
            name: BucketName::new(name).expect("a name"),
            epoch: 1,
            state: BucketState::Active,
            profile: "2+1".parse().expect("a profile"),
            created_ms: 0,
            versioning: Versioning::default(),
            quota: quota.map(|bytes| Quota {
                bytes: Some(bytes),
                objects: None,
                since: 1,
            }),
            lifecycle: None,
            allowed: Vec::new(),
        }
    }

    struct Told(ClusterView, BTreeMap<BucketId, Usage>, usize);

    #[async_trait]
    impl Source for Told {
        async fn collect(&self, sheet: &mut Sheet) {
            write(sheet, &self.0, &self.1, self.2);
        }
    }

    async fn page(top: usize) -> Vec<String> {
        let mut view = ClusterView::default();
        let mut held = BTreeMap::new();
        for (number, name, bytes, quota) in [
            (1, "small", 10, None),
            (2, "large", 1000, Some(5000)),
            (3, "middle", 100, None),
            (4, "empty", 0, None),
            (5, "gone", 9999, None),
        ] {
            let mut record = bucket(number, name, quota);
            if name == "gone" {
                record.state = BucketState::Deleted;
            }
            view.buckets.insert(record.name.clone(), record);
            let usage = Usage {
                objects: number,
                bytes,
                part_bytes: 1,
                ..Usage::default()
            };
            held.insert(BucketId(number), usage);
        }
        held.remove(&BucketId(4));
        let sources = Sources::default();
        sources.add(Arc::new(Told(view, held, top)));
        let page = sources.scrape(Format::Prometheus).await.expect("written");
        let lines = page
            .lines()
            .filter(|line| line.starts_with("marram_bucket_"));
        lines.map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn the_largest_are_told_and_the_sum_of_the_rest() {
        let said = page(2).await;
        for line in [
            "marram_bucket_object_bytes{bucket=\"large\"} 1000",
            "marram_bucket_object_bytes{bucket=\"middle\"} 100",
            "marram_bucket_object_bytes{bucket=\"(rest)\"} 10",
            "marram_bucket_objects{bucket=\"(rest)\"} 1",
            "marram_bucket_upload_bytes{bucket=\"large\"} 1",
            "marram_bucket_quota_bytes{bucket=\"large\"} 5000",
        ] {
            assert!(said.iter().any(|l| l == line), "{line}\n{said:#?}");
        }
        assert_eq!(said.len(), 3 * 4 + 1, "{said:#?}");
        let all = page(100).await;
        assert_eq!(all.len(), 5 * 4 + 1, "{all:#?}");
        let rest = "marram_bucket_object_bytes{bucket=\"(rest)\"} 0";
        assert!(all.iter().any(|line| line == rest), "{all:#?}");
    }
}
