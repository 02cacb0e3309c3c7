//! Every pair of the six nodes is killed in turn. Each time everything is read byte for byte, and
//! new objects are written, which have to survive the next pair.

use marram_client::Client;
use marram_cluster_tests::{
    Cluster, Object, Options, Pool, Scratch, log_uniform_sizes, put_all, room, verify_all,
};

const OBJECTS: usize = 500;
const SIZE_MAX: u64 = 40 << 20;
const TOTAL_MAX: u64 = 1 << 30;
/// What is written while a pair is away: inline, copies, stripes of one window and of several.
const NEW_SIZES: [usize; 5] = [0, 3000, 90_000, 1_500_000, 20_000_000];
const BUCKET: &str = "every-pair";

#[tokio::test(flavor = "multi_thread")]
async fn any_two_nodes_may_be_lost() {
    let _room = room().await;
    let scratch = Scratch::new("every-pair");
    let cluster = Cluster::start(scratch.path(), &Options::default());
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(100, 80 << 20);
    let sizes = log_uniform_sizes(100, OBJECTS, SIZE_MAX, TOTAL_MAX);
    let mut objects: Vec<Object> = sizes
        .into_iter()
        .enumerate()
        .map(|(i, size)| pool.object(format!("before/{i}"), size))
        .collect();
    for info in put_all(&client, BUCKET, &objects).await {
        assert!(!info.under_protected, "{info:?}");
    }
    cluster.healthy().await;
    for first in 1..=6 {
        for second in first + 1..=6 {
            let pair = [first, second];
            println!("nodes {first} and {second} are lost");
            cluster.kill(&pair);
            // In turns, so that both ways of reading large objects meet every node's loss.
            let reader = if (first + second) % 2 == 0 {
                cluster.client()
            } else {
                cluster.client_through_gateways()
            };
            verify_all(&reader, BUCKET, &objects).await;
            let new = write_new(&client, &mut pool, pair).await;
            objects.extend(new);
            cluster.restart(&pair);
            cluster.healthy().await;
        }
    }
    verify_all(&client, BUCKET, &objects).await;
}

/// Four nodes live: large objects are narrowed to 2+2, and nothing loses its protection.
async fn write_new(client: &Client, pool: &mut Pool, pair: [u16; 2]) -> Vec<Object> {
    let [first, second] = pair;
    let key = |size| format!("without-{first}-and-{second}/{size}");
    let new: Vec<Object> = NEW_SIZES
        .iter()
        .map(|size| pool.object(key(size), *size))
        .collect();
    for info in put_all(client, BUCKET, &new).await {
        assert!(!info.under_protected, "{info:?}");
        if info.size > 128 << 10 {
            assert!(info.profiles.iter().all(|p| p == "2+2"), "{info:?}");
        }
    }
    verify_all(client, BUCKET, &new).await;
    new
}
