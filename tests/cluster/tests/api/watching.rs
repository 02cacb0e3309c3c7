//! What operators look at: a live table, and a bundle for maintainers without anything secret in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use marram_client::{JoinRole, PutBody, PutOptions};
use marram_cluster_tests::{Scratch, Shared, run};

const BUCKET: &str = "named-in-no-bundle";
/// Longer files of a cluster are no keys.
const LONG_FILE: u64 = 64 * 1024;

#[test]
fn top_says_what_nodes_do() {
    let cluster = Shared::cluster();
    let once = ["admin", "top", "--once", "--every", "500ms"];
    let ran = run(&cluster, &once).done();
    let lines: Vec<&str> = ran.text().lines().collect();
    for node in 1..=6 {
        let of_node = |line: &&&str| line.starts_with(&format!("node-{node} "));
        assert_eq!(lines.iter().filter(of_node).count(), 1, "{}", ran.text());
    }
    assert!(!ran.text().contains('\u{1b}'), "no colours on a pipe");
    let ran = run(&cluster, &[&once[..], &["--json"]].concat()).done();
    let moment = &ran.json_lines()[0];
    let nodes = moment["nodes"].as_array().expect("a list");
    let leads: u64 = nodes.iter().filter_map(|node| node["leads"].as_u64()).sum();
    // The gateway is there because it is an endpoint; it leads nothing and has no drive.
    assert_eq!((nodes.len(), leads), (7, 9), "{moment}");
    // A gateway that rests may use less than the kernel counts in that time.
    for node in nodes {
        let processors = node["processors"].as_f64().expect("a number");
        assert!(processors > 0.0 || node["fill"].is_null(), "{moment}");
    }
    let fills = nodes.iter().filter(|node| node["fill"].is_f64());
    assert_eq!(fills.count(), 6, "{moment}");
}

/// All files of a bundle, by their paths.
fn unpacked(bundle: &Path, to: &Path) -> BTreeMap<String, String> {
    let tar = Command::new("tar")
        .arg("-xzf")
        .arg(bundle)
        .arg("-C")
        .arg(to)
        .status();
    assert!(tar.expect("tar runs").success());
    let mut files = BTreeMap::new();
    let mut folders = vec![to.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(to).expect("below").display().to_string();
            files.insert(name, fs::read_to_string(&path).expect("text"));
        }
    }
    files
}

/// Everything secret that the cluster's folder holds, with where it comes from.
fn secrets(folder: &Path) -> Vec<(String, String)> {
    let mut secrets = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if !matches!(name, "server.log" | "dev.log" | "cluster.json" | "pid")
                && path.metadata().is_ok_and(|file| file.len() < LONG_FILE)
                && let Ok(text) = fs::read_to_string(&path)
            {
                // Keys in PEM, the key-encryption key, the first access key: all are long words.
                let words =
                    text.split(|c: char| c.is_whitespace() || matches!(c, '=' | '\'' | '"'));
                let is_key = |word: &&str| {
                    word.len() >= 32
                        && !word.starts_with('/')
                        && word.chars().all(|c| c.is_ascii_graphic())
                };
                let long = words.filter(is_key);
                secrets.extend(long.map(|word| (path.display().to_string(), word.to_owned())));
            }
        }
    }
    secrets
}

/// What may be in no bundle: each with what it is.
struct Forbidden {
    /// In none at all.
    secrets: Vec<(String, String)>,
    /// In none without `--names`.
    names: Vec<(String, String)>,
    access_key: String,
}

/// Gives the cluster something of everything that is secret.
async fn forbidden(cluster: &Shared) -> Forbidden {
    // A node: only those say what they logged.
    let client = cluster.client_of(1);
    client.create_bucket(BUCKET, None).await.expect("made");
    let body = PutBody::from("the content of an object that is nobody's business");
    let put = client.put(BUCKET, "a-key-of-an-object", body, PutOptions::default());
    put.await.expect("put");
    // The log names the bucket now.
    client.set_bucket_profile(BUCKET, "4+2").await.expect("set");
    let ttl = std::time::Duration::from_secs(60);
    let token = client
        .create_join_token(JoinRole::Gateway, ttl, (None, None))
        .await;
    let token = token.expect("made").token;
    let grants = [format!("read:{BUCKET}").parse().expect("a grant")];
    let key = client
        .create_access_key(&grants, "", None)
        .await
        .expect("made");
    let access_key = key.key.id.clone();

    let named = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let mut secrets = secrets(cluster.dir());
    assert!(
        secrets.len() > 12,
        "keys of six nodes and more: {}",
        secrets.len()
    );
    secrets.push(named(
        "the secret of a join token",
        token.split('.').nth(1).expect("id.secret.hash"),
    ));
    secrets.push(named("a join token", &token));
    secrets.push(named("the secret of an access key", &key.secret));
    secrets.push(named("an object's key", "a-key-of-an-object"));
    secrets.push(named("an object", "nobody's business"));
    let names = vec![
        named("a bucket's name", BUCKET),
        named("an access key", &access_key),
    ];
    Forbidden {
        secrets,
        names,
        access_key,
    }
}

/// Makes a bundle and unpacks it.
fn bundle(
    cluster: &Shared,
    scratch: &Scratch,
    name: &str,
    more: &[&str],
) -> BTreeMap<String, String> {
    let out = scratch.path().join(format!("{name}.tar.gz"));
    let words = ["admin", "support-bundle", out.to_str().expect("UTF-8")];
    let _ = run(cluster, &[&words[..], more].concat()).done();
    let folder = scratch.path().join(format!("{name}-unpacked"));
    fs::create_dir(&folder).expect("made");
    unpacked(&out, &folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_has_what_helps_and_no_secrets() {
    let cluster = Shared::cluster();
    let forbidden = forbidden(&cluster).await;
    let scratch = Scratch::new("bundle");
    let files = bundle(&cluster, &scratch, "plain", &[]);
    for name in [
        "README.txt",
        "about.json",
        "status.json",
        "doctor.txt",
        "layout.json",
    ] {
        assert!(
            files.contains_key(&format!("plain/{name}")),
            "{name}: {:?}",
            files.keys()
        );
    }
    for node in 1..=6 {
        let file = |name: &str| &files[&format!("plain/nodes/node-{node}/{name}")];
        assert!(file("metrics.txt").contains("\nmarram_ready 1\n"));
        assert!(file("log.txt").contains(" INFO "), "{}", file("log.txt"));
        assert!(file("facts.json").contains("\"origin\""));
    }
    let gateways = files.keys().filter(|name| name.contains("/gateways/"));
    let gateways: Vec<&String> = gateways.collect();
    assert_eq!(
        gateways.len(),
        3,
        "facts, metrics and log of one: {gateways:?}"
    );
    let of_gateway = |end: &str| {
        let mut found = gateways.iter().filter(|name| name.ends_with(end));
        &files[*found.next().expect("there")]
    };
    assert!(of_gateway("metrics.txt").contains("kind=\"gateway\""));
    assert!(of_gateway("log.txt").contains(" INFO "));
    let about = &files["plain/about.json"];
    assert!(about.contains("\"missing\": []"), "{about}");
    let named = bundle(&cluster, &scratch, "named", &["--names"]);
    assert!(named["named/buckets.json"].contains(BUCKET));
    assert!(named["named/access-keys.json"].contains(&forbidden.access_key));
    let in_logs = named.iter().filter(|(name, _)| name.ends_with("log.txt"));
    assert!(
        in_logs.into_iter().any(|(_, text)| text.contains(BUCKET)),
        "nothing to leave out"
    );

    for (file, text) in files.iter().chain(&named) {
        for (what, secret) in &forbidden.secrets {
            assert!(
                !text.contains(secret.as_str()),
                "{file} has something of {what}"
            );
        }
    }
    for (file, text) in &files {
        for (what, name) in &forbidden.names {
            assert!(!text.contains(name.as_str()), "{file} has {what}");
        }
    }
}
