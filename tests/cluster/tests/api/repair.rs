//! What lacks redundancy in a whole cluster: nothing.

use marram_cluster_tests::{Shared, run, said};

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_has_nothing_to_repair_and_a_node_that_works_is_not_rebuilt() {
    let cluster = Shared::cluster();
    cluster.healthy().await;
    let status = said(&cluster, &["admin", "repair"]);
    let again = said(&cluster, &["admin", "repair", "status"]);
    assert_eq!(status["levels"], again["levels"], "the same question");
    assert_eq!(status["levels"], serde_json::json!([]), "{status}");
    assert_eq!(status["nodes"], serde_json::json!([]), "{status}");
    let text = run(&cluster, &["admin", "repair"]).done();
    assert!(
        text.text().starts_with("nothing lacks redundancy"),
        "{}",
        text.text()
    );
    let text = run(&cluster, &["admin", "repair", "--watch"]).done();
    assert_eq!(text.text(), "nothing lacks redundancy\n");
    for (target, code, why) in [
        ("node-2", 1, "node-2 works"),
        ("node-2/0", 1, "works: there is nothing to rebuild"),
        ("node-9", 3, "no node"),
        ("node-2/9", 3, "no node"),
    ] {
        let refused = run(&cluster, &["admin", "repair", "start", target]);
        assert_eq!(refused.code, code, "{target}: {refused:?}");
        assert!(refused.err.contains(why), "{target}: {refused:?}");
    }
}
