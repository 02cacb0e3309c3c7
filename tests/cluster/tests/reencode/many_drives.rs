//! Nodes of several drives: when one is gone for good, its shards do not come to lie beside others on the
//! nodes that are left. The data becomes narrower and is widened when a node comes (rules.md 19).

use std::collections::BTreeSet;

use marram_client::Client;
use marram_cluster_tests::{
    Cluster, Object, Options, Scratch, put_all, room, run, until, verify_all,
};

use super::settle::{DONE_WITHIN, nothing_stays, objects, options, until_data, until_whole};

const BUCKET: &str = "many-drives";

/// The profiles that objects are kept by.
async fn profiles(client: &Client, objects: &[Object]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for object in objects {
        let info = client.head(BUCKET, &object.key).await.expect("there");
        found.extend(info.profiles);
    }
    found
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn free_drives_of_other_nodes_do_not_take_the_place_of_a_node() {
    let _room = room().await;
    let scratch = Scratch::new("many-drives");
    let mut options = Options {
        drives: 2,
        ..options()
    };
    options.env.push(("MARRAM_REPAIR_GRACE", "6".to_owned()));
    let mut cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client
        .create_bucket(BUCKET, Some("4+2"))
        .await
        .expect("made");
    let mut all = objects(51, "before");
    put_all(&client, BUCKET, &all).await;
    assert_eq!(
        profiles(&client, &all).await,
        set(&["inline", "1+2", "4+2"])
    );

    // Nobody says anything: the grace passes, and five nodes are left for six shards.
    cluster.kill(&[3]);
    until_data(&client, "all is narrower, and whole", |status, data| {
        let given_up = status.nodes.iter().any(|n| n.condition.rebuilt_elsewhere);
        given_up
            && status.moves_under_way == 0
            && data.narrowed_versions > 4
            && data.fully_redundant
    })
    .await;
    assert_eq!(
        profiles(&client, &all).await,
        set(&["inline", "1+2", "3+2"])
    );
    let later = objects(52, "meanwhile");
    put_all(&client, BUCKET, &later).await;
    assert_eq!(
        profiles(&client, &later).await,
        set(&["inline", "1+2", "3+2"])
    );
    all.extend(later);
    verify_all(&client, BUCKET, &all).await;
    // Two more losses: with two shards on a node these could be three.
    cluster.kill(&[1, 5]);
    verify_all(&cluster.client_through_gateways(), BUCKET, &all).await;
    cluster.restart(&[1, 5]);

    let _said = run(&cluster, &["admin", "fence", "node-3", "--force"]).done();
    until("the lost node can be removed", DONE_WITHIN, async || {
        let removed = run(&cluster, &["admin", "remove", "node-3"]);
        if removed.code == 0 {
            Ok(())
        } else {
            Err(removed.err)
        }
    })
    .await;
    until_data(&client, "five nodes are whole", |status, data| {
        status.moves_under_way == 0 && data.fully_redundant && data.narrowed_versions > 4
    })
    .await;
    cluster.add_node();
    let client = cluster.client();
    until_whole(&client).await;
    assert_eq!(
        profiles(&client, &all).await,
        set(&["inline", "1+2", "4+2"])
    );
    verify_all(&client, BUCKET, &all).await;
    nothing_stays(&client, BUCKET).await;
}
