//! Watching objects by the command line: through a server, and through a gateway without drives.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use marram_cluster_tests::{Cluster, Scratch, Shared, binary, run};
use serde_json::Value;

/// Numbers and names that an event has for somebody who reads it.
fn brief(line: &Value) -> (String, String, u64) {
    let text = |name: &str| line[name].as_str().expect("text").to_owned();
    (
        text("kind"),
        text("key"),
        line["size"].as_u64().expect("a number"),
    )
}

#[test]
fn changes_are_printed_and_a_watch_goes_on_where_it_was() {
    let cluster = Shared::cluster();
    let scratch = Scratch::new("object-watch");
    let _ = run(&cluster, &["mb", "m://watched"]).done();
    let gateway = cluster.endpoint(cluster.nodes() + 1).to_owned();
    let below = ["watch", "m://watched/in/", "--json", "--bookmarks", "1s"];
    let mut watching = Command::new(binary())
        .args(below)
        .envs(cluster.env())
        .env("MARRAM_ENDPOINT", &gateway)
        .stdout(Stdio::piped())
        .spawn()
        .expect("marram can be started");
    let out = watching.stdout.take().expect("piped");
    let mut lines = BufReader::new(out).lines();
    let mut next = || {
        let line = lines.next().expect("it goes on").expect("read");
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    assert!(next().get("kind").is_none(), "first that it has begun");
    let mut event = || loop {
        let line = next();
        if line.get("kind").is_some() {
            return line;
        }
    };
    let put = |key: &str, text: &str| {
        let file = scratch.path().join("content");
        fs::write(&file, text).expect("written");
        let target = format!("m://watched/{key}");
        let _ = run(
            &cluster,
            &["cp", "-q", file.to_str().expect("UTF-8"), &target],
        )
        .done();
    };
    put("in/a", "1");
    let zero = event();
    put("out/x", "1");
    put("in/b", "22");
    let one = event();
    let said = |line: &Value| line["revision"].as_str().expect("text").to_owned();
    let gone = run(&cluster, &["rm", "--json", "m://watched/in/a"]).done();
    let two = event();
    let generation = &gone.json_lines()[0]["generation"];
    assert_eq!(
        generation, &two["generation"],
        "the answer tells what the event tells"
    );
    watching.kill().expect("it runs");
    watching.wait().expect("it ends");
    assert_eq!(brief(&zero), ("put".to_owned(), "in/a".to_owned(), 1));
    assert_eq!(brief(&one), ("put".to_owned(), "in/b".to_owned(), 2));
    assert_eq!(brief(&two), ("deleted".to_owned(), "in/a".to_owned(), 0));
    taken_up(&cluster, &said(&one), &two);
}

/// A watch goes on behind this revision, with this event; one that nobody has told is refused.
fn taken_up(cluster: &Cluster, revision: &str, event: &Value) {
    let again = [
        "watch",
        "m://watched",
        "--json",
        "--from",
        revision,
        "--count",
        "1",
    ];
    let again = run(cluster, &again).done().json_lines();
    let again = again.iter().find(|line| line.get("kind").is_some());
    assert_eq!(brief(again.expect("an event")), brief(event));
    let text = ["watch", "m://watched", "--from", revision, "--count", "1"];
    let text = run(cluster, &text).done();
    assert!(text.text().contains("m://watched/in/a"), "{}", text.text());
    assert!(text.err.contains("--from "), "{}", text.err);
    let forged = run(cluster, &["watch", "m://watched", "--from", "00"]);
    assert_ne!(forged.code, 0);
    assert!(forged.err.contains("revision"), "{}", forged.err);
}
