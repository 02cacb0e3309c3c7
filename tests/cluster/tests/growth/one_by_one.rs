//! One node more, one node less, one node lost for good, under a load that compares every answer.

use std::time::Duration;

use marram_client::Client;
use marram_cluster_tests::{
    Cluster, Load, Object, Options, Pool, Scratch, log_uniform_sizes, moves_begun, put_all, room,
    run, settled, slots, total_slots, verify_all,
};

const BUCKET: &str = "growth";
const OBJECTS: usize = 80;
const SIZE_MAX: u64 = 12 << 20;
const TOTAL_MAX: u64 = 160 << 20;
/// How long the data of one node may take to move on a busy machine.
const MOVED_WITHIN: Duration = Duration::from_secs(120);
/// How far the moves of a step may be from the fewest there can be.
const TOLERANCE: f64 = 0.05;

/// Compares the moves that leaders began with the fewest by which what is wanted can be had.
fn check_moves(cluster: &Cluster, what: &str, before: u64, fewest: f64) {
    let moved = moves_begun(cluster) - before;
    println!("{what}: {moved} slots moved, {fewest:.1} at best");
    assert!(
        moved as f64 <= fewest * (1.0 + TOLERANCE) + 1.0,
        "{what}: {moved} of {fewest}"
    );
}

/// A node comes, and gets its share by no more moves than that takes.
async fn comes(cluster: &mut Cluster, client: &Client) {
    let before = moves_begun(cluster);
    let name = format!("node-{}", cluster.add_node());
    let status = settled(client, MOVED_WITHIN, &[&name], &[]).await;
    let share = total_slots(&status) as f64 / cluster.members().len() as f64;
    check_moves(cluster, &format!("{name} comes"), before, share);
}

/// What a node holds now.
async fn held(client: &Client, name: &str) -> f64 {
    let status = client.cluster_status().await.expect("answered");
    slots(&status)[name] as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_go_and_are_lost_while_the_cluster_is_used() {
    let _room = room().await;
    let scratch = Scratch::new("growth");
    let options = Options {
        quick_garbage: true,
        ..Options::default()
    };
    let mut cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(700, 40 << 20);
    let sizes = log_uniform_sizes(700, OBJECTS, SIZE_MAX, TOTAL_MAX);
    let mut objects: Vec<Object> = (0..)
        .zip(sizes)
        .map(|(i, size)| pool.object(format!("before/{i}"), size))
        .collect();
    put_all(&client, BUCKET, &objects).await;

    let load = Load::start(&client, BUCKET, 1);
    comes(&mut cluster, &client).await;
    verify_all(&client, BUCKET, &objects).await;

    // One that holds data and votes goes.
    let (before, fewest) = (moves_begun(&cluster), held(&client, "node-3").await);
    let _said = run(&cluster, &["admin", "drain", "node-3", "--watch"]).done();
    settled(&client, MOVED_WITHIN, &[], &["node-3"]).await;
    check_moves(&cluster, "node-3 goes", before, fewest);
    cluster.remove_node(3).await;
    let done = load.stop().await;
    assert!(done.calls > 100, "{} calls under load", done.calls);
    objects.extend(done.objects);
    verify_all(&client, BUCKET, &objects).await;

    // One dies and is given up: what it had is computed again elsewhere. Then any two others may go.
    comes(&mut cluster, &client).await;
    let (before, fewest) = (moves_begun(&cluster), held(&client, "node-5").await);
    cluster.kill(&[5]);
    let _said = run(&cluster, &["admin", "fence", "node-5", "--force"]).done();
    settled(&client, MOVED_WITHIN, &[], &["node-5"]).await;
    check_moves(&cluster, "node-5 is lost", before, fewest);
    verify_all(&client, BUCKET, &objects).await;
    for pair in [[1, 7], [2, 8]] {
        println!("nodes {pair:?} are lost");
        cluster.kill(&pair);
        verify_all(&cluster.client_through_gateways(), BUCKET, &objects).await;
        verify_all(&cluster.client(), BUCKET, &objects).await;
        cluster.restart(&pair);
        settled(&client, MOVED_WITHIN, &[], &[]).await;
    }
}
