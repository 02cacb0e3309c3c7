//! What these tests share.

use std::time::Duration;

use marram_client::{Client, ClusterStatus, DriveEntry, DriveScrub, ScrubStage, ScrubStatus};
use marram_cluster_tests::{Cluster, until};

/// How long work in the background may take on a busy machine.
pub(super) const WITHIN: Duration = Duration::from_secs(150);

/// Waits until every shard is where it belongs and nothing moves.
pub(super) async fn settled(client: &Client) {
    until("every shard is where it belongs", WITHIN, async || {
        let status = client.cluster_status().await.map_err(|e| e.to_string())?;
        let still = status.moves_under_way == 0 && status.placement_groups_to_move == 0;
        match &status.redundancy {
            Some(redundancy) if still && redundancy.fully_redundant => Ok(()),
            redundancy => Err(format!("{redundancy:?}")),
        }
    })
    .await;
}

pub(super) async fn status(client: &Client) -> ClusterStatus {
    client.cluster_status().await.expect("answered")
}

/// The drives of all nodes, those of a node by its number.
pub(super) async fn drives(client: &Client) -> Vec<DriveEntry> {
    client.list_drives(None).await.expect("answered")
}

/// A drive of a node, by their numbers.
pub(super) async fn drive(client: &Client, node: u16, number: u32) -> DriveEntry {
    let name = format!("node-{node}");
    let mut drives = drives(client).await.into_iter();
    drives
        .find(|drive| drive.node == name && drive.number == number)
        .unwrap_or_else(|| panic!("{name} has no drive {number}"))
}

pub(super) async fn scrubs(client: &Client) -> ScrubStatus {
    client.scrub_status().await.expect("answered")
}

/// The scrub of a node's first drive.
pub(super) async fn scrub_of(client: &Client, node: u16) -> DriveScrub {
    let name = format!("node-{node}");
    let mut drives = scrubs(client).await.drives.into_iter();
    drives
        .find(|drive| drive.node == name)
        .unwrap_or_else(|| panic!("nothing is known of {name}"))
}

/// Has every drive read through once, to the end.
pub(super) async fn scrub_all(cluster: &Cluster, client: &Client) -> ScrubStatus {
    let before = scrubs(client).await;
    let ended = |status: &ScrubStatus, drive: u64| {
        let known = status.drives.iter().find(|d| d.drive_id == drive);
        known.and_then(|d| d.last).map_or(0, |pass| pass.ended_ms)
    };
    let said = marram_cluster_tests::run(cluster, &["admin", "scrub", "--watch", "--json"]).done();
    assert!(!said.json_lines().is_empty());
    let after = scrubs(client).await;
    for drive in &after.drives {
        assert_eq!(drive.stage, ScrubStage::Resting, "{drive:?}");
        let id = drive.drive_id;
        assert!(ended(&after, id) > ended(&before, id), "{drive:?}");
    }
    after
}
