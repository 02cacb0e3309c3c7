//! A drive becomes larger, and smaller again: slots follow its weight, and no more of them move than that
//! takes.

use std::fs;
use std::process::{Child, Command, Stdio};

use marram_client::Client;
use marram_cluster_tests::{
    Cluster, Object, Options, Pool, Scratch, moves_begun, put_all, room, settled, slots,
    total_slots, until, verify_all,
};

use super::kit::WITHIN;

const BUCKET: &str = "capacity";
const DRIVE_BYTES: u64 = 4 << 30;
/// How far slots and moves may be from the best there is.
const TOLERANCE: f64 = 0.05;

fn objects() -> Vec<Object> {
    let mut pool = Pool::new(980, 8 << 20);
    let sizes = [3_000, 60_000, 200_000, 1 << 20, 5 << 20];
    let each = |i: usize| pool.object(format!("{i}"), sizes[i % sizes.len()] + i);
    (0..40).map(each).collect()
}

/// A server that runs beside those that the cluster keeps. It ends with the test.
struct Own(Child);

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a node again with drives of another size: with the arguments and the environment that it had.
fn with_capacity(cluster: &Cluster, node: u16, bytes: u64) -> Own {
    let pid = cluster.pid(node).expect("it runs");
    let read = |what: &str| -> Vec<String> {
        let text = fs::read(format!("/proc/{pid}/{what}")).expect("it runs");
        let words = text
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty());
        let words = words.map(|word| String::from_utf8(word.to_vec()).expect("UTF-8"));
        words.collect()
    };
    let (mut args, env) = (read("cmdline"), read("environ"));
    let program = args.remove(0);
    let size = args
        .iter_mut()
        .find(|arg| arg.starts_with("--drive-capacity="));
    *size.expect("its drives have a size") = format!("--drive-capacity={bytes}");
    cluster.kill(&[node]);
    let log = cluster.dir().join(format!("node-{node}/server.log"));
    let log = fs::OpenOptions::new().append(true).open(log);
    let log = log.expect("a log");
    let child = Command::new(program)
        .args(args)
        .env_clear()
        .envs(env.iter().filter_map(|pair| pair.split_once('=')))
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("the log"))
        .stderr(log)
        .spawn();
    Own(child.expect("it starts"))
}

/// The slots of node 2, and the moves that were begun by now.
async fn now(cluster: &Cluster, client: &Client) -> (f64, u64) {
    let status = client.cluster_status().await.expect("answered");
    (slots(&status)["node-2"] as f64, moves_begun(cluster))
}

/// Waits until node 2 has so many slots. No more of them may have moved than it takes from what was before
/// its drive changed.
async fn has(cluster: &Cluster, client: &Client, (before, begun): (f64, u64), wanted: f64) {
    until("slots follow the weight", WITHIN, async || {
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        let held = slots(&status)["node-2"] as f64;
        match (held - wanted).abs() <= wanted * TOLERANCE {
            true => Ok(()),
            false => Err(format!("{held}, {wanted} are wanted")),
        }
    })
    .await;
    let status = settled(client, WITHIN, &[], &[]).await;
    let held = slots(&status);
    let moved = moves_begun(cluster) - begun;
    let fewest = (held["node-2"] as f64 - before).abs();
    println!("{moved} slots moved, {fewest} at best: {held:?}");
    assert!(
        (held["node-2"] as f64 - wanted).abs() <= wanted * TOLERANCE,
        "{held:?}"
    );
    let fair = moved as f64 <= fewest * (1.0 + TOLERANCE) + 1.0;
    assert!(fair && moved as f64 >= fewest, "{moved} for {fewest}");
    let others = held.iter().filter(|(name, _)| *name != "node-2");
    let others: Vec<u64> = others.map(|(_, slots)| *slots).collect();
    let (least, most) = (others.iter().min(), others.iter().max());
    let (least, most) = (*least.expect("some") as f64, *most.expect("some") as f64);
    assert!(most - least <= most * TOLERANCE + 1.0, "{held:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_becomes_larger_gets_more_and_gives_it_back() {
    let _room = room().await;
    let scratch = Scratch::new("capacity");
    let options = Options {
        drive_capacity: Some(DRIVE_BYTES),
        quick_garbage: true,
        env: vec![("MARRAM_BALANCE_QUIET", "0".to_owned())],
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let objects = objects();
    put_all(&client, BUCKET, &objects).await;
    let status = settled(&client, WITHIN, &[], &[]).await;
    // Six nodes and two pools of as many rows: stripes of 4+2, in which every node has a slot, and copies on
    // three nodes each.
    let rows = total_slots(&status) as f64 / 9.0;
    assert_eq!(rows.fract(), 0.0, "{}", total_slots(&status));
    assert!((slots(&status)["node-2"] as f64 - rows * 1.5).abs() <= 1.0);

    // Of the copies it gets two parts in seven.
    let before = now(&cluster, &client).await;
    let larger = with_capacity(&cluster, 2, 2 * DRIVE_BYTES);
    has(&cluster, &client, before, rows * (1.0 + 6.0 / 7.0)).await;
    verify_all(&client, BUCKET, &objects).await;

    let before = now(&cluster, &client).await;
    drop(larger);
    cluster.restart(&[2]);
    has(&cluster, &client, before, rows * 1.5).await;
    verify_all(&client, BUCKET, &objects).await;
}
