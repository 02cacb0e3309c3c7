//! A running cluster gets further nodes, and keeps them; operators change what they are there for.

use marram_client::{NodeDuty, NodeState};
use marram_cluster_tests::{Cluster, Options, Scratch, room, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_cluster_grows_and_stays_grown() {
    let _room = room().await;
    let scratch = Scratch::new("growing");
    let options = Options {
        nodes: 3,
        ..Options::default()
    };
    let mut cluster = Cluster::start(scratch.path(), &options);
    let dir = scratch.path().to_str().expect("UTF-8");
    // Two wishes at once are two nodes, one after the other.
    let add = || run(&cluster, &["dev", "--dir", dir, "--add-node"]);
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(add);
        let other = add();
        (one.join().expect("ran"), other)
    });
    let (one, other) = (one.done(), other.done());
    let said = [one.text(), other.text()].concat();
    for name in ["node-4 takes part", "node-5 takes part"] {
        assert!(said.contains(name), "{said}");
    }
    let env = std::fs::read_to_string(scratch.path().join("env")).expect("there");
    let endpoints = env.lines().next().expect("a line").split(',').count();
    assert_eq!(endpoints, 5, "{env}");

    let drained = run(&cluster, &["admin", "drain", "node-5", "--json"]).done();
    let drained = &drained.json_lines()[0];
    assert_eq!(
        (drained["duty"].as_str(), drained["before"].as_str()),
        (Some("draining"), Some("serving"))
    );
    let plan = run(&cluster, &["admin", "layout", "plan", "--json"]).done();
    let plan = &plan.json_lines()[0];
    assert_eq!(plan["nodes"].as_array().map(Vec::len), Some(5));
    assert_eq!(run(&cluster, &["admin", "cordon", "nobody"]).code, 3);
    assert_eq!(run(&cluster, &["admin", "remove", "node-1"]).code, 1);

    cluster.stop();
    let cluster = Cluster::start(scratch.path(), &options);
    let status = cluster.client().cluster_status().await.expect("answered");
    let up = status.nodes.iter().filter(|n| n.state == NodeState::Up);
    assert_eq!(up.count(), 5);
    let last = status.nodes.iter().find(|node| node.name == "node-5");
    assert_eq!(last.map(|node| node.duty), Some(NodeDuty::Draining));
}
