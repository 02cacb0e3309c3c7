//! What single processes log, changed while they run, and what they spend time and memory with.

use std::process::Command;
use std::time::Duration;

use marram_client::{Client, ErrorKind, InspectOptions, LogLevelChange, Secret};
use marram_cluster_tests::{Shared, run, until};
use serde_json::Value;

/// More than the usual, of a part that is never silent for long.
const MORE: &str = "info,openraft=debug";

async fn says_more(client: &Client, node: &str) -> bool {
    let options = InspectOptions {
        log_lines: 2000,
        ..InspectOptions::default()
    };
    let said = client.inspect_node(node, options).await.expect("answered");
    said.log.iter().any(|line| line.contains("DEBUG openraft"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_logs_more_for_a_while_and_then_as_before() {
    let cluster = Shared::cluster();
    let client = &cluster.client();
    let before = client.log_level("node-2").await.expect("answered");
    assert_eq!((before.ends_in_ms, &before.then), (None, &before.filter));
    assert!(!says_more(client, "node-2").await);
    let args = [
        "admin",
        "log-level",
        MORE,
        "--node",
        "node-2",
        "--for",
        "5s",
    ];
    let said = run(&cluster, &args).done();
    let said = said.text();
    assert!(
        said.contains("node-2: ") && said.contains("s more, then "),
        "{said}"
    );
    let limit = Duration::from_secs(30);
    until("node-2 says more", limit, async || {
        match says_more(client, "node-2").await {
            true => Ok(()),
            false => Err("no line of openraft".to_owned()),
        }
    })
    .await;
    assert!(
        !says_more(client, "node-3").await,
        "only the one that was told"
    );
    until("it ends by itself", limit, async || {
        let level = client.log_level("node-2").await;
        match level {
            Ok(level) if level == before => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_are_told_and_a_gateway_by_itself() {
    let cluster = Shared::cluster();
    let ran = run(&cluster, &["admin", "log-level", "--all", "--json"]).done();
    let levels: Vec<Value> = ran.json_lines();
    assert_eq!(levels.len(), 6, "{levels:?}");
    // Another test may have one of them say more for a while.
    assert!(
        levels.iter().all(|l| l["then"] == levels[0]["then"]),
        "{levels:?}"
    );
    let ran = run(
        &cluster,
        &["admin", "log-level", "info,marram=lout", "--all"],
    );
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(format!("{ran:?}").contains("marram=lout"), "{ran:?}");
    let gateway = cluster.client_of(7);
    let name = gateway.diagnose().await.expect("answered").answered_by;
    let change = LogLevelChange::Lasting("warn".to_owned());
    let set = gateway.set_log_level(&name, change).await.expect("set");
    assert_eq!((set.name, &*set.filter), (name.clone(), "warn"));
    let reset = gateway.set_log_level(&name, LogLevelChange::Reset).await;
    assert_eq!(reset.expect("reset").then, levels[0]["then"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_profiled_for_those_who_may_and_go_reads_it() {
    let cluster = Shared::cluster();
    let file = cluster.dir().join("cpu.pb.gz");
    let name = file.to_str().expect("UTF-8");
    let asked = [
        "admin",
        "profile",
        "cpu",
        "--node",
        "node-3",
        "--seconds",
        "3",
    ];
    let args = [&asked[..], &["--output", name]].concat();
    let said = run(&cluster, &args).done();
    assert!(said.text().contains("go tool pprof"), "{said:?}");
    let mut go = Command::new("go");
    let read = go.args(["tool", "pprof", "-top", name]).output();
    let read = read.expect("Go is there, as .ci/run wants");
    let top = String::from_utf8_lossy(&read.stdout);
    assert!(
        read.status.success() && top.contains("Type: cpu"),
        "{read:?}"
    );
    assert!(
        top.contains("marram") && !top.contains("perf_signal_handler"),
        "{top}"
    );

    let memory = run(
        &cluster,
        &["admin", "profile", "memory", "--node", "node-3", "--json"],
    );
    let memory = memory.done().json_lines().remove(0);
    assert!(
        memory["resident_bytes"].as_u64() > Some(1 << 20),
        "{memory}"
    );
    assert!(memory["heap_bytes"].as_u64() > Some(1 << 16), "{memory}");
    let wrong = run(
        &cluster,
        &[
            "admin", "profile", "cpu", "--node", "nobody", "--output", name,
        ],
    );
    assert_eq!(wrong.code, 3, "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_admin_nothing_is_told_of_a_process() {
    let cluster = Shared::cluster();
    let made = run(
        &cluster,
        &[
            "admin",
            "key",
            "create",
            "--grant",
            "read:nothing-here",
            "--json",
        ],
    )
    .done();
    let made = made.json_lines().remove(0);
    let mut config = cluster.config();
    config.access_key = made["id"].as_str().expect("text").to_owned();
    config.secret_key = Secret::new(made["secret"].as_str().expect("text").to_owned());
    let client = Client::connect(config).expect("valid");
    let change = LogLevelChange::Lasting("trace".to_owned());
    let refused = [
        client.profile_cpu("node-1", 1).await.map(drop),
        client.memory("node-1").await.map(drop),
        client.log_level("node-1").await.map(drop),
        client.set_log_level("node-1", change).await.map(drop),
    ];
    for answer in refused {
        let kind = answer.expect_err("not allowed").kind();
        assert_eq!(kind, ErrorKind::Denied);
    }
}
