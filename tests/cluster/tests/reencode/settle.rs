//! What the tests of this family share: clusters with little patience, and waiting until all is done.

use std::time::Duration;

use futures::{StreamExt, stream};
use marram_client::{Client, ClusterStatus, ListQuery, ObjectInfo, Preconditions, Redundancy};
use marram_cluster_tests::{Object, Options, Pool, log_uniform_sizes, until};

/// How long the work of a test may take on a busy machine.
pub(super) const DONE_WITHIN: Duration = Duration::from_secs(180);
const OBJECTS: usize = 40;
const SIZE_MAX: u64 = 12 << 20;
const TOTAL_MAX: u64 = 80 << 20;

/// Six nodes that forget soon.
pub(super) fn options() -> Options {
    Options {
        quick_garbage: true,
        env: vec![
            ("MARRAM_GC_FLOOR_LAG", "40".to_owned()),
            ("MARRAM_NARROW_GRACE", "2".to_owned()),
        ],
        ..Options::default()
    }
}

/// Objects of all classes, and one of several windows.
pub(super) fn objects(seed: u64, prefix: &str) -> Vec<Object> {
    let mut pool = Pool::new(seed, 40 << 20);
    let sizes = log_uniform_sizes(seed, OBJECTS, SIZE_MAX, TOTAL_MAX);
    let sizes = sizes.into_iter().chain([60_000, 400_000, 33 << 20]);
    (0..)
        .zip(sizes)
        .map(|(i, size)| pool.object(format!("{prefix}/{i}"), size))
        .collect()
}

/// Waits until the cluster says so of the data.
pub(super) async fn until_data(
    client: &Client,
    what: &str,
    is: impl Fn(&ClusterStatus, &Redundancy) -> bool,
) {
    until(what, DONE_WITHIN, async || {
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        match &status.redundancy {
            Some(data) if is(&status, data) => Ok(()),
            data => Err(format!("{data:?}")),
        }
    })
    .await;
}

/// Waits until every object has the profile of its bucket and every shard is where it belongs.
pub(super) async fn until_whole(client: &Client) {
    until_data(client, "every object has its profile", |status, data| {
        let still = status.moves_under_way == 0 && status.placement_groups_to_move == 0;
        let wide = data.narrowed_versions == 0 && data.reencodings_waiting == Some(0);
        still && wide && data.fully_redundant
    })
    .await;
}

/// Deletes everything in a bucket, and waits until no drive of a living node holds a record: what is
/// left then belongs to nobody.
pub(super) async fn nothing_stays(client: &Client, bucket: &str) {
    let mut pages = client.list(bucket, ListQuery::all(""));
    while let Some(page) = pages.next().await.expect("listed") {
        let any = Preconditions::default();
        stream::iter(page.objects)
            .for_each_concurrent(8, async |object| {
                let deleted = client.delete(bucket, &object.key, &any).await;
                deleted.unwrap_or_else(|error| panic!("delete {}: {error}", object.key));
            })
            .await;
    }
    until_data(client, "the drives are empty", |status, _| {
        let drives = status.nodes.iter().flat_map(|node| &node.drives);
        drives.map(|drive| drive.record_bytes).sum::<u64>() == 0
    })
    .await;
}

/// Checks that nothing of some objects changed but how their bytes are kept, which is by the profile.
pub(super) async fn unchanged(
    client: &Client,
    bucket: &str,
    objects: &[Object],
    infos: &[ObjectInfo],
) {
    for (object, info) in objects.iter().zip(infos) {
        let now = client.head(bucket, &object.key).await.expect("there");
        let kept = ObjectInfo {
            profiles: now.profiles.clone(),
            under_protected: false,
            ..info.clone()
        };
        assert_eq!(now, kept);
        let right = |profile: &String| ["inline", "1+2", "4+2"].contains(&profile.as_str());
        assert!(now.profiles.iter().all(right), "{now:?}");
    }
}
