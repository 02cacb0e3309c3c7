//! Operators' commands may be given again: both times they are done, and the second time they change nothing.

use marram_cluster_tests::{Cluster, said};

pub(super) fn what_is_said_twice_is_done_once(cluster: &Cluster) {
    for work in ["repair", "rebalance", "gc", "scrub"] {
        for action in ["pause", "resume"] {
            let first = said(cluster, &["admin", work, action]);
            let again = said(cluster, &["admin", work, action]);
            assert_eq!(first["unchanged"], false, "{work} {action}: {first}");
            assert_eq!(again["unchanged"], true, "{work} {action}: {again}");
            assert_eq!(first["paused_since_ms"], again["paused_since_ms"]);
        }
    }
    for (action, duty) in [("cordon", "cordoned"), ("uncordon", "serving")] {
        let first = said(cluster, &["admin", action, "node-3"]);
        let again = said(cluster, &["admin", action, "node-3"]);
        assert_eq!(
            (&first["duty"], &again["duty"]),
            (&duty.into(), &duty.into())
        );
        assert_ne!(first["before"], first["duty"], "{first}");
        assert_eq!(again["before"], again["duty"], "{again}");
    }
    for _ in 0..2 {
        let excused = said(cluster, &["admin", "maintenance", "node-3", "--ttl", "10m"]);
        assert!(excused["until_ms"].is_u64(), "{excused}");
        let handed = said(
            cluster,
            &["admin", "transfer-leader", "node-3", "--hold", "1s"],
        );
        assert_eq!(handed["kept"], serde_json::json!([]), "{handed}");
    }
    for _ in 0..2 {
        let ended = said(cluster, &["admin", "maintenance", "node-3", "--end"]);
        assert!(ended["until_ms"].is_null(), "{ended}");
        let scrub = said(cluster, &["admin", "scrub", "node-3"]);
        assert!(scrub["drives"].is_array(), "{scrub}");
        let balance = said(cluster, &["admin", "rebalance", "--cancel"]);
        assert_eq!(balance["already"], true, "none was under way: {balance}");
        let renewed = said(cluster, &["admin", "reload-tls", "node-3"]);
        assert!(renewed.is_object(), "{renewed}");
        let raised = said(cluster, &["admin", "finalize-version"]);
        assert!(raised.is_object(), "{raised}");
    }
}
