//! Objects with a profile of their own, in a bucket that keeps less and then something else.

use marram_client::{Client, ObjectInfo, PutBody, PutOptions};
use marram_cluster_tests::{Cluster, Object, Pool, Scratch, put_all, room, run, verify_all};

use super::settle::{nothing_stays, objects, options, until_data, until_whole};

const BUCKET: &str = "own";

#[tokio::test(flavor = "multi_thread")]
async fn objects_keep_the_profile_that_they_asked_for() {
    let _room = room().await;
    let scratch = Scratch::new("own-profiles");
    let cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    client
        .create_bucket(BUCKET, Some("2+1"))
        .await
        .expect("made");
    until_data(&client, "one node may be lost", |_, data| {
        data.tolerated_losses == 1
    })
    .await;
    // Large enough to go up in parts.
    let mut pool = Pool::new(51, 40 << 20);
    let large = pool.object("own/large", 20 << 20);
    let file = scratch.path().join("large");
    std::fs::write(&file, &large.content).expect("written");
    let put = ["cp", "--profile", "4+2", path(&file), "m://own/own/large"];
    let refused = run(&cluster, &put);
    assert_ne!(refused.code, 0);
    let help = "marram admin bucket allow-profile m://own 4+2";
    assert!(refused.err.contains(help), "{}", refused.err);
    let allow = ["admin", "bucket", "allow-profile", "m://own", "4+2"];
    let _said = run(&cluster, &allow).done();
    let _said = run(&cluster, &put).done();

    let follow = objects(52, "follow");
    let _infos = put_all(&client, BUCKET, &follow).await;
    let mut own = objects(53, "own");
    put_own(&client, &own).await;
    own.push(large);
    let infos = heads(&client, &own).await;
    assert!(
        infos
            .iter()
            .all(|info| has(info, &["inline", "1+2", "4+2"]))
    );
    // A node is not let go while one that the bucket allows needs it.
    let refused = run(&cluster, &["admin", "drain", "node-6"]);
    assert!(
        refused.err.contains("profile 4+2 of bucket own needs 6"),
        "{}",
        refused.err
    );
    // What the bucket keeps may be lost with two nodes; these are not.
    cluster.kill(&[2, 5]);
    verify_all(&cluster.client_through_gateways(), BUCKET, &own).await;
    cluster.restart(&[2, 5]);
    cluster.healthy().await;
    until_whole(&client).await;

    another_profile_is_nothing_to_them(&cluster, &client, (&own, &infos), &follow).await;

    // Withdrawn, they are like any other.
    let withdraw = [&allow[..], &["--withdraw", "--watch"]].concat();
    let _said = run(&cluster, &withdraw).done();
    until_whole(&client).await;
    let now = heads(&client, &own).await;
    assert!(now.iter().all(followed), "{now:?}");
    verify_all(&client, BUCKET, &own).await;
    nothing_stays(&client, BUCKET).await;
}

/// Of the bucket: what follows it changes, and what has its own does not.
async fn another_profile_is_nothing_to_them(
    cluster: &Cluster,
    client: &Client,
    (own, infos): (&[Object], &[ObjectInfo]),
    follow: &[Object],
) {
    let set = [
        "admin",
        "bucket",
        "set-profile",
        "m://own",
        "3+2",
        "--watch",
    ];
    let _said = run(cluster, &set).done();
    until_whole(client).await;
    until_data(client, "two nodes may be lost", |_, data| {
        data.tolerated_losses == 2
    })
    .await;
    assert_eq!(heads(client, own).await, infos);
    let others = heads(client, follow).await;
    assert!(others.iter().all(followed), "{others:?}");
    cluster.kill(&[1, 4]);
    let gateways = cluster.client_through_gateways();
    verify_all(&gateways, BUCKET, own).await;
    verify_all(&gateways, BUCKET, follow).await;
    cluster.restart(&[1, 4]);
    cluster.healthy().await;
}

/// By the profile that the bucket has in the end.
fn followed(info: &ObjectInfo) -> bool {
    let right = |profile: &String| ["inline", "1+2", "3+2"].contains(&profile.as_str());
    info.own_profile.is_none() && info.profiles.iter().all(right)
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("a path of this test")
}

/// Kept as asked for, and told so.
fn has(info: &ObjectInfo, kept_as: &[&str]) -> bool {
    let right = |profile: &String| kept_as.contains(&profile.as_str());
    info.own_profile.as_deref() == Some("4+2") && info.profiles.iter().all(right)
}

async fn put_own(client: &Client, objects: &[Object]) {
    for object in objects {
        let options = PutOptions {
            profile: Some("4+2".to_owned()),
            ..PutOptions::default()
        };
        let body = PutBody::from(object.content.clone());
        let done = client.put(BUCKET, &object.key, body, options).await;
        done.unwrap_or_else(|error| panic!("put {:?}: {error}", object.key));
    }
}

async fn heads(client: &Client, objects: &[Object]) -> Vec<ObjectInfo> {
    let mut all = Vec::new();
    for object in objects {
        all.push(client.head(BUCKET, &object.key).await.expect("there"));
    }
    all
}
