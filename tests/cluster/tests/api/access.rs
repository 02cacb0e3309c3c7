//! Access keys of applications, made and taken back by an operator.

use std::process::Command;
use std::time::{Duration, Instant};

use marram_client::{Client, ErrorKind, ListQuery, PutOptions, RetryPolicy, Secret};
use marram_cluster_tests::{Pool, Ran, Shared, binary, run, until};
use serde_json::Value;

/// How long a change may take to reach every server of a busy machine. (It is a second at most where
/// there is time; `marram admin key --help` says so.)
const EVERYWHERE_WITHIN: Duration = Duration::from_secs(20);

/// A key as `key create` or `key rotate` printed it.
struct Made {
    id: String,
    secret: String,
}

fn made(cluster: &Shared, args: &[&str]) -> Made {
    let all = [&["admin", "key"], args, &["--json"]].concat();
    let ran = run(cluster, &all).done();
    let value: Value = ran.json_lines().remove(0);
    let text = |name: &str| value[name].as_str().expect("text").to_owned();
    Made {
        id: text("id"),
        secret: text("secret"),
    }
}

fn key(cluster: &Shared, args: &[&str]) -> Ran {
    run(cluster, &[&["admin", "key"], args].concat())
}

/// A command of somebody who has this key: its exit code, and what it said.
fn run_as(cluster: &Shared, made: &Made, args: &[&str]) -> (i32, String) {
    let output = Command::new(binary())
        .args(args)
        .envs(cluster.env())
        .env("MARRAM_ACCESS_KEY", &made.id)
        .env("MARRAM_SECRET_KEY", &made.secret)
        .output()
        .expect("marram runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code().expect("it ended"), said)
}

/// One client for each server and for the gateway, with this key.
fn everywhere(cluster: &Shared, made: &Made) -> Vec<Client> {
    let config = cluster.config();
    let one = |endpoint: &String| {
        let mut config = config.clone();
        config.endpoints = vec![endpoint.clone()];
        config.access_key = made.id.clone();
        config.secret_key = Secret::new(made.secret.clone());
        config.retry = RetryPolicy::never();
        Client::connect(config).expect("valid")
    };
    config.endpoints.iter().map(one).collect()
}

/// Waits until every server answers a list so.
async fn all_say(clients: &[Client], what: &str, wanted: Result<(), ErrorKind>) {
    let began = Instant::now();
    until(what, EVERYWHERE_WITHIN, async || {
        for client in clients {
            let said = client.list("access", ListQuery::all("in/")).next().await;
            let said = said.map(|_| ()).map_err(|error| error.kind());
            if said != wanted {
                return Err(format!("one says {said:?}"));
            }
        }
        Ok(())
    })
    .await;
    println!("{what}: on all servers after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_what_it_was_made_for_until_it_is_taken_back() {
    let cluster = Shared::cluster();
    let admin = cluster.client();
    admin.create_bucket("access", None).await.expect("made");
    let app = made(
        &cluster,
        &[
            "create",
            "--grant",
            "list,read,write:access/in/",
            "--grant",
            "read:access/out/",
            "--note",
            "an application",
            "--expires",
            "30d",
        ],
    );
    let clients = everywhere(&cluster, &app);
    all_say(&clients, "the new key is known", Ok(())).await;

    may_and_may_not(&cluster, &app, &clients[0]).await;
    let latest = rotated(&cluster, &app, &clients).await;
    taken_back(&cluster, &app, &latest).await;
}

async fn may_and_may_not(cluster: &Shared, app: &Made, client: &Client) {
    // What it may, also of large objects, whose shards come from the nodes themselves.
    let mut pool = Pool::new(70, 24 << 20);
    let large = pool.content(20 << 20);
    let put = client.put(
        "access",
        "in/large",
        large.clone().into(),
        PutOptions::default(),
    );
    put.await.expect("it may write there");
    let mut config = cluster.config();
    config.access_key = app.id.clone();
    config.secret_key = Secret::new(app.secret.clone());
    let direct = Client::connect(config).expect("valid");
    let got = marram_cluster_tests::get(&direct, "access", "in/large").await;
    assert_eq!(got.expect("it may read there"), large);

    // And what it may not: exit code 4, with the reason in words.
    for (args, lacks) in [
        (vec!["ls", "m://access"], "list"),
        (vec!["rm", "m://access/out/a"], "write"),
        (vec!["cat", "m://access/elsewhere"], "read"),
        (vec!["mb", "m://another-bucket"], "admin"),
        (vec!["admin", "status"], "admin"),
        (vec!["admin", "key", "list"], "admin"),
    ] {
        let (code, said) = run_as(cluster, app, &args);
        assert_eq!(code, 4, "{args:?}: {said}");
        assert!(
            said.contains(lacks) && said.contains(&app.id),
            "{args:?}: {said}"
        );
    }
    let (code, said) = run_as(cluster, app, &["ls", "m://access/in/"]);
    assert_eq!(code, 0, "{said}");
}

/// Another secret, and another; says who has the last one.
async fn rotated(cluster: &Shared, app: &Made, clients: &[Client]) -> Vec<Client> {
    let second = made(cluster, &["rotate", &app.id]);
    let renewed = everywhere(cluster, &second);
    all_say(&renewed, "the second secret is known", Ok(())).await;
    all_say(clients, "the first one holds", Ok(())).await;
    let third = made(cluster, &["rotate", &app.id, "--overlap", "0s"]);
    let latest = everywhere(cluster, &third);
    all_say(&latest, "the third secret is known", Ok(())).await;
    for old in [clients, &renewed] {
        all_say(old, "an old secret is refused", Err(ErrorKind::Denied)).await;
    }
    let shown = key(cluster, &["list"]).done();
    assert!(
        !shown.text().contains(&third.secret),
        "secrets are not shown"
    );
    latest
}

async fn taken_back(cluster: &Shared, app: &Made, latest: &[Client]) {
    let _ = key(cluster, &["revoke", &app.id, "list,read,write:access/in/"]).done();
    all_say(latest, "the grant is taken back", Err(ErrorKind::Denied)).await;
    let _ = key(cluster, &["grant", &app.id, "list:access"]).done();
    all_say(latest, "another grant is given", Ok(())).await;
    let _ = key(cluster, &["disable", &app.id]).done();
    all_say(latest, "the key is off", Err(ErrorKind::Denied)).await;
    let _ = key(cluster, &["enable", &app.id]).done();
    all_say(latest, "the key is on", Ok(())).await;
    let listed = key(cluster, &["list"]).done();
    let line = listed.text().lines().find(|line| line.starts_with(&app.id));
    let line = line.expect("it is listed");
    assert!(
        line.contains("list:access") && line.contains("(an application)"),
        "{line}"
    );
    let _ = key(cluster, &["delete", &app.id]).done();
    all_say(latest, "the key is gone", Err(ErrorKind::Denied)).await;
    assert_eq!(key(cluster, &["disable", &app.id]).code, 3);
}

#[test]
fn what_cannot_be_is_said_at_once() {
    let cluster = Shared::cluster();
    for (args, says) in [
        (vec!["create"], "--grant"),
        (
            vec!["create", "--grant", "look:photos"],
            "list, read, write and admin",
        ),
        (
            vec!["create", "--grant", "admin:photos/in/"],
            "not on a prefix",
        ),
        (
            vec!["create", "--grant", "read:photos", "--expires", "soon"],
            "30d",
        ),
        (vec!["expire", "MKNOBODY"], "--never"),
    ] {
        let ran = key(&cluster, &args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{args:?}: {}", ran.err);
    }
    let listed = run(&cluster, &["admin", "key", "list", "--json"]).done();
    let first = listed.json_lines().into_iter().find(|key| {
        let grants = key["grants"].as_array().expect("a list");
        grants.contains(&"admin:*".into())
    });
    let id = first.expect("the cluster's first key")["id"].clone();
    let ran = key(&cluster, &["delete", id.as_str().expect("text")]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("LAST_ADMIN_KEY"), "{}", ran.err);
}
