//! The status says what the cluster is made of and what that means for the data.

use marram_client::NodeState;
use marram_cluster_tests::Shared;

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_says_so() {
    let cluster = Shared::cluster();
    cluster.healthy().await;
    for server in 1..=cluster.nodes() + 1 {
        let status = cluster
            .client_of(server)
            .cluster_status()
            .await
            .expect("answered");
        assert_eq!(status.nodes.len(), 6);
        assert!(
            status.nodes.iter().all(|node| node.state == NodeState::Up),
            "{status:?}"
        );
        assert_eq!(status.default_profile, "4+2");
        assert_eq!(
            status.groups.len(),
            9,
            "the root group and eight object groups"
        );
        assert!(
            status
                .groups
                .iter()
                .all(|group| group.voter_node_ids.len() == 5)
        );
        let redundancy = status.redundancy.expect("said");
        assert_eq!(redundancy.tolerated_losses, 2, "{redundancy:?}");
        assert!(redundancy.writable && !redundancy.sentences.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_are_spread() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    let limit = std::time::Duration::from_secs(60);
    marram_cluster_tests::until("no node leads more than three groups", limit, async || {
        let status = client
            .cluster_status()
            .await
            .map_err(|error| error.to_string())?;
        let leaders: Vec<Option<u64>> = status.groups.iter().map(|g| g.leader_node_id).collect();
        let led = |node: &Option<u64>| leaders.iter().filter(|leader| *leader == node).count();
        match leaders
            .iter()
            .all(|leader| leader.is_some() && led(leader) <= 3)
        {
            true => Ok(()),
            false => Err(format!("{leaders:?}")),
        }
    })
    .await;
}
