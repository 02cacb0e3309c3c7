//! The CA is replaced while the cluster serves, in three steps, none before everybody is ready for it.

use std::time::Duration;

use marram_client::{CaStep, Client, ErrorKind, NodeState};
use marram_cluster_tests::{
    Cluster, Options, Pool, Scratch, put_all, room, run, until, verify_all,
};
use rustix::process::Signal;

const BUCKET: &str = "rotation";
const WITHIN: Duration = Duration::from_secs(60);

/// Until node-3 counts as away and another node leads the root group.
async fn until_others_go_on(client: &Client) {
    until("the others go on without node-3", WITHIN, async || {
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        let node = |id| status.nodes.iter().find(|node| Some(node.node_id) == id);
        let leader = node(status.groups[0].leader_node_id);
        let away = status.nodes.iter().find(|node| node.name == "node-3");
        match (leader, away.map(|node| node.state)) {
            (Some(leader), Some(NodeState::Away)) if leader.name != "node-3" => Ok(()),
            others => Err(format!("{others:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_steps_each_after_everybody_did_the_one_before() {
    let _room = room().await;
    let scratch = Scratch::new("rotation");
    let options = Options {
        nodes: 3,
        gateways: 1,
        ..Options::default()
    };
    let mut cluster = Cluster::start(scratch.path(), &options);
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(800, 4 << 20);
    let mut object = |key: &str| pool.object(key, 300_000);
    let mut all = vec![object("before")];
    put_all(&client, BUCKET, &all).await;
    let old = client.ca_status().await.expect("answered").authorities[0]
        .fingerprint
        .clone();

    // A node that does not answer holds the second step up, by name.
    cluster.signal(3, Signal::STOP);
    let client = cluster.client_of(1);
    until_others_go_on(&client).await;
    let made = client.rotate_ca(Some(&old)).await.expect("made");
    assert_eq!(made.made, Some(CaStep::Trust));
    let refused = client.rotate_ca(Some(&old)).await.expect_err("too early");
    assert_eq!(refused.kind(), ErrorKind::Precondition, "{refused}");
    assert!(refused.to_string().contains("node-3"), "{refused}");
    until("all but node-3 trust the new CA", WITHIN, async || {
        let status = client.ca_status().await.map_err(|e| e.to_string())?;
        match status.waiting_for[..] {
            [ref one] if one == "node-3" => Ok(()),
            ref others => Err(format!("{others:?}")),
        }
    })
    .await;
    cluster.signal(3, Signal::CONT);
    cluster.healthy().await;

    // The rest of the steps by the command that goes on with whatever is left.
    let said = run(&cluster, &["admin", "ca", "rotate", "--watch", "--json"]).done();
    let steps: Vec<_> = said
        .json_lines()
        .into_iter()
        .map(|l| l["made"].clone())
        .collect();
    assert_eq!(steps, ["issue", "drop"]);
    let again = run(
        &cluster,
        &["admin", "ca", "rotate", "--replaces", &old, "--json"],
    )
    .done();
    assert!(
        again.json_lines()[0]["made"].is_null(),
        "nothing is left to do"
    );
    let status = client.ca_status().await.expect("answered");
    assert_eq!(status.authorities.len(), 1);
    assert_ne!(status.authorities[0].fingerprint, old);
    let issuer = &status.authorities[0].fingerprint;
    assert!(status.members.iter().all(|member| member.issuer == *issuer));
    verify_all(&client, BUCKET, &all).await;
    all.push(object("after"));
    put_all(&cluster.client_of(4), BUCKET, &all[1..]).await;

    // What was open before does not count: everything starts anew, and a new node comes by a token of
    // the new CA.
    cluster.stop();
    let mut cluster = Cluster::start(scratch.path(), &options);
    cluster.add_node();
    cluster.healthy().await;
    verify_all(&cluster.client(), BUCKET, &all).await;
}
