//! A cluster made by hand, with the commands that operators give; and what is refused on the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use marram_cluster_tests::{ByHand, Daemon, Scratch, free_address, http_get, room, until};
use serde_json::Value;

const READY_WITHIN: Duration = Duration::from_secs(60);

#[track_caller]
fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
}

/// The token's state in the list.
fn state(cluster: &ByHand, token: &str) -> String {
    let id = token.split('.').next().expect("an id");
    let listed = cluster.done(&["token", "list", "--json"]);
    let listed = listed.lines().map(|line| {
        let read: Value = serde_json::from_str(line).expect("JSON");
        read
    });
    let found = listed.filter(|token| token["id"] == id);
    let states: Vec<Value> = found.map(|token| token["state"].clone()).collect();
    states[0].as_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn founded_and_joined_by_the_commands_of_the_manual() {
    let _room = room().await;
    let scratch = Scratch::new("by-hand");
    let cluster = ByHand::new(scratch.path());
    let _first = cluster.found();
    cluster.ready(1).await;
    let token = cluster.token(&["--ttl", "1h"]);
    let mut second = cluster.join("second", &token, &["--zone=z2"]);
    second.says("this server is a member");
    cluster.ready(2).await;
    let status = cluster.client(&cluster.api).cluster_status().await;
    let nodes = status.expect("answered").nodes;
    let about: Vec<_> = nodes
        .iter()
        .map(|n| (n.name.as_str(), n.zone.as_str()))
        .collect();
    assert_eq!(about, [("node-1", "default"), ("node-2", "z2")]);
    assert_eq!(state(&cluster, &token), "used");
    let keys = fs::metadata(cluster.file("second/d1/marram.keys")).expect("there");
    assert_eq!(keys.permissions().mode() & 0o777, 0o600);

    // A gateway, which is there before its token; that is good for several.
    let api = free_address();
    let token_file = cluster.file("edge.token");
    let args = [
        "gateway".to_owned(),
        "--name=edge".to_owned(),
        format!("--identity={}", cluster.file("edge.keys")),
        format!("--token-file={token_file}"),
        "--await-token".to_owned(),
        format!("--kek-file={}", cluster.file("kek")),
        format!("--api-listen={api}"),
        format!("--join={}", cluster.mesh),
    ];
    let mut gateway = Daemon::start(scratch.path(), "edge", &args);
    gateway.says("waiting for a join token");
    fs::write(&token_file, cluster.token(&["--role", "gateway"])).expect("written");
    let through = cluster.client(&api);
    until("the gateway answers", READY_WITHIN, async || {
        let status = through.cluster_status().await.map_err(|e| e.to_string())?;
        match status.answered_by.as_str() {
            "edge" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
    // It comes back without a token, and not at all once it was removed.
    drop(gateway);
    let without: Vec<_> = args.iter().filter(|arg| !arg.contains("-token")).collect();
    let _gateway = Daemon::start(scratch.path(), "edge", &without);
    until("the gateway answers again", READY_WITHIN, async || {
        let status = through.cluster_status().await;
        status.map(|_| ()).map_err(|e| e.to_string())
    })
    .await;
    cluster.done(&["gateway", "remove", "edge"]);
    assert_eq!(cluster.admin(&["gateway", "remove", "nobody"]).0, 3);
    let mut tries = 0;
    until("the removed gateway is refused", READY_WITHIN, async || {
        tries += 1;
        let bucket = format!("bucket-{tries}");
        let refused = through.create_bucket(&bucket, None).await.err();
        refused
            .map(|_| ())
            .ok_or_else(|| "it still acts".to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_token_is_told_by_name() {
    let _room = room().await;
    let scratch = Scratch::new("wrong-tokens");
    let cluster = ByHand::new(&scratch.path().join("ours"));
    let first = cluster.found();
    cluster.ready(1).await;

    let used = cluster.token(&[]);
    let mut second = cluster.join("second", &used, &[]);
    second.says("this server is a member");
    says(
        &cluster.join("third", &used, &[]).refused(),
        &["was used by node"],
    );

    let revoked = cluster.token(&[]);
    let id = revoked.split('.').next().expect("an id");
    cluster.done(&["token", "revoke", id]);
    cluster.done(&["token", "revoke", id]);
    assert_eq!(cluster.admin(&["token", "revoke", "0123456789abcdef"]).0, 3);
    says(
        &cluster.join("third", &revoked, &[]).refused(),
        &["was revoked"],
    );

    let expired = cluster.token(&["--ttl", "1s"]);
    until("the token expires", READY_WITHIN, async || {
        match state(&cluster, &expired).as_str() {
            "expired" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
    says(
        &cluster.join("third", &expired, &[]).refused(),
        &["expired", "s ago"],
    );

    let good = cluster.token(&[]);
    let mut parts = good.split('.');
    let (id, authority) = (parts.next().expect("an id"), parts.nth(1).expect("a hash"));
    let wrong = format!("{id}.{}.{authority}", "00".repeat(32));
    says(
        &cluster.join("third", &wrong, &[]).refused(),
        &["not one of this cluster"],
    );
    says(
        &cluster.join("third", "nonsense", &[]).refused(),
        &["not a join token"],
    );
    let gateway = cluster.token(&["--role", "gateway"]);
    says(
        &cluster.join("third", &gateway, &[]).refused(),
        &["role gateway"],
    );

    // A token of another cluster: nothing is sent, so our server heard of no newcomer.
    let other = ByHand::new(&scratch.path().join("theirs"));
    let theirs = other.found();
    other.ready(1).await;
    let foreign = cluster.join("third", &other.token(&[]), &[]);
    says(
        &foreign.refused(),
        &[&cluster.mesh, "another CA", "Nothing was sent"],
    );
    assert_eq!(
        state(&cluster, &good),
        "valid",
        "no attempt used a good one up"
    );
    drop(theirs);
    // Nor does a node of one cluster become one of another.
    let taken = cluster.file("second/d1");
    drop(second);
    let data = format!("--data={taken},{}", other.file("first/d1"));
    let mixed = mixed_drives(&cluster, &data);
    says(&mixed, &["belongs to cluster", &other.file("first/d1")]);
    drop(first);
}

/// A server whose drives belong to two clusters.
fn mixed_drives(cluster: &ByHand, data: &str) -> String {
    let (api, mesh) = (free_address(), free_address());
    let args = [
        "server".to_owned(),
        data.to_owned(),
        format!("--api-listen={api}"),
        format!("--mesh-listen={mesh}"),
        format!("--kek-file={}", cluster.file("kek")),
        format!("--join={}", cluster.mesh),
    ];
    Daemon::start(&cluster.folder, "mixed", &args).refused()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_addresses_keys_and_drives_that_are_taken() {
    let _room = room().await;
    let scratch = Scratch::new("taken");
    let cluster = ByHand::new(scratch.path());
    let mut first = cluster.found();
    cluster.ready(1).await;
    let token = cluster.token(&[]);
    let name = cluster.join("second", &token, &["--name=node-1"]);
    says(&name.refused(), &["the name \"node-1\" belongs to node"]);
    let advertised = format!("--mesh-advertise={}", cluster.mesh);
    let address = cluster.join("second", &token, &[&advertised]);
    says(
        &address.refused(),
        &["mesh address", &cluster.mesh, "belongs to node"],
    );
    fs::write(scratch.path().join("other-kek"), "77".repeat(32)).expect("written");
    let other_kek = format!("--kek-file={}", cluster.file("other-kek"));
    let kek = cluster.join("second", &token, &[&other_kek]);
    says(
        &kek.refused(),
        &["key-encryption key differs", "--kek-file"],
    );
    let bound = cluster.token(&["--name", "pod-7", "--zone", "z9"]);
    let zone = cluster.join("second", &bound, &["--zone=z1"]);
    says(&zone.refused(), &["bound to the zone \"z9\""]);
    // None of this used the tokens up.
    let mut second = cluster.join("second", &bound, &[]);
    second.says("this server is a member");
    cluster.ready(2).await;
    let status = cluster.client(&cluster.api).cluster_status().await;
    let nodes = status.expect("answered").nodes;
    let found = nodes.iter().find(|n| n.name == "pod-7").expect("its name");
    assert_eq!(found.zone, "z9");

    first.says("serving");
    drop((first, second));
    says(
        &cluster.found().refused(),
        &["belongs to a cluster already"],
    );
    // A member needs no token, and no other key-encryption key.
    let (api, mesh) = (cluster.api.clone(), cluster.mesh.clone());
    let resumed = cluster.server("first", (&api, &mesh), &[&other_kek]);
    says(&resumed.refused(), &["--kek-file"]);
    let keys = cluster.file("second/d1/marram.keys");
    fs::remove_file(&keys).expect("removed");
    let keyless = cluster.join("second", &token, &[]);
    says(&keyless.refused(), &[&keys, "is missing"]);
    let join = format!("--join={mesh}");
    let empty = cluster.server("empty", (&free_address(), &free_address()), &[&join]);
    says(
        &empty.refused(),
        &["needs a token", "marram admin token create"],
    );
}

#[tokio::test]
async fn a_server_may_be_there_before_its_token() {
    let _room = room().await;
    let scratch = Scratch::new("awaited-token");
    let cluster = ByHand::new(scratch.path());
    let file = cluster.file("invitation");
    let metrics = free_address();
    let listen = format!("--metrics-listen={metrics}");
    let (token_file, join) = (
        format!("--token-file={file}"),
        format!("--join={}", cluster.mesh),
    );
    let args = [
        token_file.as_str(),
        "--await-token",
        join.as_str(),
        "--zone=z2",
        &listen,
    ];
    let (api, mesh) = (free_address(), free_address());
    let mut newcomer = cluster.server("second", (&api, &mesh), &args);
    newcomer.says("waiting for a join token");
    let not_ready = |why: &str| {
        let alive = http_get(&metrics, "/livez", "").expect("it answers before it is a member");
        assert_eq!(alive.0, 200);
        let (status, says) = http_get(&metrics, "/readyz", "").expect("answered");
        assert!(status == 503 && says.contains(why), "{status}: {says}");
    };
    not_ready(&format!("[-] member: waiting for a join token in {file}"));

    let mut first = cluster.found();
    first.says("serving");
    let revoked = cluster.token(&[]);
    cluster.done(&["token", "revoke", revoked.split('.').next().expect("an id")]);
    fs::write(&file, &revoked).expect("written");
    newcomer.says("not admitted");
    not_ready("refused to admit this one");
    let status = cluster.client(&cluster.api).cluster_status().await;
    assert_eq!(
        status.expect("it answers").nodes.len(),
        1,
        "nobody was let in"
    );

    let good = cluster.token(&["--name", "second"]);
    fs::write(&file, &good).expect("written");
    newcomer.says("this server is a member");
    assert_eq!(state(&cluster, &good), "used");
    until("it is ready", READY_WITHIN, async || {
        match http_get(&metrics, "/readyz", "")? {
            (200, _) => Ok(()),
            (_, says) => Err(says),
        }
    })
    .await;
}
