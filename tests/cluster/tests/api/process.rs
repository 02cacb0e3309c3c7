//! What single processes log, changed while they run.

use std::time::Duration;

use marram_client::{Client, InspectOptions, LogLevelChange};
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
