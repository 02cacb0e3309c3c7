//! Objects that were written while nodes were away get their whole width when these are back, while
//! they are read and overwritten.

use marram_cluster_tests::{Cluster, Load, Scratch, put_all, room, verify_all};

use super::settle::{nothing_stays, objects, options, unchanged, until_data, until_whole};

const BUCKET: &str = "widen";

#[tokio::test(flavor = "multi_thread")]
async fn narrow_objects_are_widened_when_their_nodes_are_back() {
    let _room = room().await;
    let scratch = Scratch::new("widen");
    let cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    client
        .create_bucket(BUCKET, Some("4+2"))
        .await
        .expect("made");
    cluster.kill(&[2, 5]);
    let mut all = objects(41, "narrow");
    let infos = put_all(&client, BUCKET, &all).await;
    until_data(&client, "objects are narrow", |_, data| {
        data.narrowed_versions > 4
    })
    .await;
    let load = Load::start(&client, BUCKET, 3);
    cluster.restart(&[2, 5]);
    until_whole(&client).await;
    let done = load.stop().await;
    println!("{} calls under load", done.calls);
    until_whole(&client).await;
    let profile = client.bucket_profile(BUCKET).await.expect("asked");
    assert!(profile.is_done(), "{profile:?}");
    unchanged(&client, BUCKET, &all, &infos).await;
    all.extend(done.objects);
    verify_all(&client, BUCKET, &all).await;
    // The promise of the whole profile: any two nodes.
    for pair in [[1, 3], [4, 6]] {
        cluster.kill(&pair);
        verify_all(&cluster.client_through_gateways(), BUCKET, &all).await;
        cluster.restart(&pair);
        cluster.healthy().await;
    }
    nothing_stays(&client, BUCKET).await;
}
