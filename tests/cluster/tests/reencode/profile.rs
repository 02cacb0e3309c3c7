//! A bucket gets another profile under load, while nodes are killed that do the work.

use marram_client::{Client, NodeState};
use marram_cluster_tests::{Cluster, Load, Scratch, put_all, room, run, until, verify_all};

use super::settle::{
    DONE_WITHIN, nothing_stays, objects, options, unchanged, until_data, until_whole,
};

const BUCKET: &str = "profile";

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_gets_another_profile_while_it_is_used_and_nodes_die() {
    let _room = room().await;
    let scratch = Scratch::new("profile");
    let cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    client
        .create_bucket(BUCKET, Some("2+1"))
        .await
        .expect("made");
    let mut all = objects(42, "before");
    let infos = put_all(&client, BUCKET, &all).await;
    refuses_what_cannot_be(&cluster);

    let load = Load::start(&client, BUCKET, 5);
    let set = [
        "admin",
        "bucket",
        "set-profile",
        "m://profile",
        "4+2",
        "--json",
    ];
    let said = run(&cluster, &set).done();
    assert_eq!(said.json_lines()[0]["profile"], "4+2");
    for node in 1..=3 {
        dies_in_the_middle(&cluster, &client, node).await;
    }
    let again = run(&cluster, &set).done();
    assert_eq!(again.json_lines()[0]["profile"], "4+2", "it is idempotent");
    let done = load.stop().await;
    println!("{} calls under load", done.calls);
    let _said = run(
        &cluster,
        &["admin", "bucket", "profile", "m://profile", "--watch"],
    )
    .done();
    until_whole(&client).await;
    unchanged(&client, BUCKET, &all, &infos).await;
    all.extend(done.objects);
    verify_all(&client, BUCKET, &all).await;
    cluster.kill(&[2, 6]);
    verify_all(&cluster.client_through_gateways(), BUCKET, &all).await;
    cluster.restart(&[2, 6]);
    cluster.healthy().await;
    nothing_stays(&client, BUCKET).await;
}

fn refuses_what_cannot_be(cluster: &Cluster) {
    for (wanted, why) in [
        ("7+2", "needs 9 nodes"),
        ("2+3", "voters"),
        ("4", "k+m"),
        ("0+2", "k+m"),
    ] {
        let refused = run(
            cluster,
            &["admin", "bucket", "set-profile", "m://profile", wanted],
        );
        assert_eq!(refused.code, 1, "{wanted}: {}", refused.err);
        assert!(refused.err.contains(why), "{wanted}: {}", refused.err);
    }
    let nowhere = run(
        cluster,
        &["admin", "bucket", "set-profile", "m://nowhere", "4+2"],
    );
    assert_eq!(nowhere.code, 3, "{}", nowhere.err);
}

/// Each node leads groups and does the work; it dies once in the middle of it.
async fn dies_in_the_middle(cluster: &Cluster, client: &Client, node: u16) {
    until("some more is done, or all", DONE_WITHIN, async || {
        let profile = client
            .bucket_profile(BUCKET)
            .await
            .map_err(|e| e.to_string())?;
        let went = profile.versions.saturating_sub(profile.versions_to_go);
        if profile.is_done() || went >= u64::from(node) * 3 {
            Ok(())
        } else {
            Err(format!("{profile:?}"))
        }
    })
    .await;
    cluster.kill(&[node]);
    until_data(client, "its loss is seen", |status, _| {
        let away = status.nodes.iter().filter(|n| n.state == NodeState::Away);
        away.count() == 1
    })
    .await;
    cluster.restart(&[node]);
    cluster.healthy().await;
}
