//! Starts that must fail: with a message that says what is wrong, and without touching any data.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use marram_cluster_tests::{
    Cluster, Object, Options, Pool, Scratch, binary, put_all, room, verify_all,
};
use marram_types::crc32c;

const BUCKET: &str = "refused";
/// A server that cannot start says so within this time.
const SAID_WITHIN: Duration = Duration::from_secs(20);

fn one_node() -> Options {
    Options {
        nodes: 1,
        ..Options::default()
    }
}

async fn fill(cluster: &Cluster) -> Vec<Object> {
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(600, 4 << 20);
    let objects = vec![
        pool.object("a", 100),
        pool.object("b", 50_000),
        pool.object("c", 3 << 20),
    ];
    put_all(&client, BUCKET, &objects).await;
    objects
}

/// Starts a server of the cluster in `dir` on these drives and on free ports; it must fail. Returns
/// what it said.
fn refused(dir: &Path, drives: &[&Path], api: u16) -> String {
    let mut child = Command::new(binary())
        .args([
            "server",
            "--name=node-1",
            "--mesh-listen=127.0.0.1:0",
            "--metrics-listen=127.0.0.1:0",
            "--join=127.0.0.1:1",
        ])
        .arg(format!("--api-listen=127.0.0.1:{api}"))
        .arg(format!("--kek-file={}", dir.join("kek").display()))
        .args(drives.iter().map(|d| format!("--data={}", d.display())))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("marram can be started");
    let deadline = Instant::now() + SAID_WITHIN;
    while child.try_wait().expect("it can be waited for").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let output = child.wait_with_output().expect("it ended");
            panic!("it started:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().expect("it ended");
    assert!(!output.status.success());
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[track_caller]
fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_use_or_of_another_cluster_or_format() {
    let _room = room().await;
    let (ours, theirs) = (Scratch::new("ours"), Scratch::new("theirs"));
    let mut cluster = Cluster::start(ours.path(), &one_node());
    let objects = fill(&cluster).await;
    let drive = cluster.drive(1);
    let pid = cluster.pid(1).expect("it runs").to_string();

    let said = refused(ours.path(), &[&drive], 0);
    says(&said, &["in use", &pid, &drive.display().to_string()]);
    let again = Command::new(binary())
        .arg("dev")
        .arg("--dir")
        .arg(ours.path())
        .output();
    let again = again.expect("marram can be started");
    assert_eq!(again.status.code(), Some(1), "one at a time");
    says(
        &String::from_utf8_lossy(&again.stderr),
        &["another `marram dev` runs"],
    );
    verify_all(&cluster.client(), BUCKET, &objects).await;

    let mut other = Cluster::start(theirs.path(), &one_node());
    other.stop();
    cluster.stop();
    let first = other.drive(1);
    let said = refused(theirs.path(), &[&first, &drive], 0);
    says(&said, &["belongs to cluster", &drive.display().to_string()]);

    let identity = drive.join("marram.identity");
    let good = fs::read(&identity).expect("the drive has an identity");
    fs::write(&identity, with_format(&good, 200)).expect("written");
    says(&refused(ours.path(), &[&drive], 0), &["format 200"]);
    let mut damaged = good.clone();
    damaged[12] ^= 4;
    fs::write(&identity, damaged).expect("written");
    says(&refused(ours.path(), &[&drive], 0), &["damaged"]);

    fs::write(&identity, good).expect("written");
    let cluster = Cluster::start(ours.path(), &one_node());
    verify_all(&cluster.client(), BUCKET, &objects).await;
}

/// The identity as a later release would write it: another format, a checksum that fits.
fn with_format(identity: &[u8], format: u8) -> Vec<u8> {
    let mut changed = identity[..identity.len() - 4].to_vec();
    changed[8] = format;
    let checksum = crc32c(&changed);
    changed.extend(checksum.to_be_bytes());
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use() {
    let _room = room().await;
    let scratch = Scratch::new("port-in-use");
    let mut cluster = Cluster::start(scratch.path(), &one_node());
    let objects = fill(&cluster).await;
    let address = cluster.endpoint(1).to_owned();
    cluster.stop();
    let taken = TcpListener::bind(&address).expect("the port is free now");
    let port = address.rsplit(':').next().expect("host:port");
    let said = Cluster::try_start(scratch.path(), &one_node()).expect_err("the port is taken");
    says(&said, &[port, "in use"]);
    drop(taken);
    let cluster = Cluster::start(scratch.path(), &one_node());
    verify_all(&cluster.client(), BUCKET, &objects).await;
}
