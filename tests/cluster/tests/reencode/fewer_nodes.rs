//! Fewer nodes than the profile is wide: what was lost or is drained becomes narrower and keeps its
//! parity, and is widened when there are nodes enough again.

use marram_cluster_tests::{Cluster, Scratch, put_all, room, run, until, verify_all};

use super::settle::{DONE_WITHIN, nothing_stays, objects, options, until_data, until_whole};

const BUCKET: &str = "fewer";

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_lost_for_good_cost_width_and_not_safety() {
    let _room = room().await;
    let scratch = Scratch::new("lost-for-good");
    let mut cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    client
        .create_bucket(BUCKET, Some("4+2"))
        .await
        .expect("made");
    let all = objects(43, "all");
    put_all(&client, BUCKET, &all).await;
    cluster.kill(&[3, 6]);
    for node in ["node-3", "node-6"] {
        let _said = run(&cluster, &["admin", "fence", node, "--force"]).done();
    }
    // Four nodes are left: 2+2 on each of them.
    until_data(
        &client,
        "all objects are narrower, and whole",
        |status, data| {
            status.moves_under_way == 0 && data.narrowed_versions > 4 && data.fully_redundant
        },
    )
    .await;
    verify_all(&client, BUCKET, &all).await;
    for node in ["node-3", "node-6"] {
        until("a lost node can be removed", DONE_WITHIN, async || {
            let removed = run(&cluster, &["admin", "remove", node]);
            if removed.code == 0 {
                Ok(())
            } else {
                Err(removed.err)
            }
        })
        .await;
    }
    cluster.kill(&[1]);
    verify_all(&cluster.client_through_gateways(), BUCKET, &all).await;
    cluster.restart(&[1]);
    cluster.add_node();
    cluster.add_node();
    let client = cluster.client();
    until_whole(&client).await;
    verify_all(&client, BUCKET, &all).await;
    nothing_stays(&client, BUCKET).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_too_many_is_drained_only_where_narrower_stripes_are_accepted() {
    let _room = room().await;
    let scratch = Scratch::new("narrower");
    let cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    client
        .create_bucket(BUCKET, Some("4+2"))
        .await
        .expect("made");
    let all = objects(44, "all");
    put_all(&client, BUCKET, &all).await;
    let said = "would leave 5 nodes; profile 4+2 of bucket fewer needs 6, or accept narrower \
                stripes: --allow-narrower";
    for command in ["drain", "remove"] {
        let refused = run(&cluster, &["admin", command, "node-4"]);
        assert_eq!(refused.code, 1, "{}", refused.err);
        assert!(refused.err.contains(said), "{}", refused.err);
    }
    let status = client.cluster_status().await.expect("asked");
    let fourth = status.nodes.iter().find(|node| node.name == "node-4");
    assert_eq!(
        fourth.expect("there").duty,
        marram_client::NodeDuty::Serving
    );
    let _said = run(
        &cluster,
        &["admin", "drain", "node-4", "--allow-narrower", "--watch"],
    )
    .done();
    until("the drained node can be removed", DONE_WITHIN, async || {
        let removed = run(&cluster, &["admin", "remove", "node-4"]);
        if removed.code == 0 {
            Ok(())
        } else {
            Err(removed.err)
        }
    })
    .await;
    until_data(&client, "all is whole", |_, data| data.fully_redundant).await;
    verify_all(&client, BUCKET, &all).await;
    cluster.kill(&[1, 6]);
    verify_all(&cluster.client_through_gateways(), BUCKET, &all).await;
    cluster.restart(&[1, 6]);
    nothing_stays(&client, BUCKET).await;
}
