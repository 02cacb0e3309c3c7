//! A process dies at each step by which nodes and drives are given up, are taken back, are drained, and by
//! which slots without a drive are taken out of use. It is started again, the work goes on, and in the end
//! drives hold what the metadata says, both ways.

use std::fs;
use std::path::Path;

use marram_client::DriveEntry;
use marram_cluster_tests::{Scratch, room, run, until};

use super::moves::{Crashes, MOVED_WITHIN};

/// Drain of a drive: the leader dies at each step of its moves, and who reads or writes a shard for them.
const DRAIN: [&str; 5] = [
    "move.started",
    "restore.written",
    "move.carried",
    "clean.deleted",
    "move.cleaned",
];

impl Crashes {
    /// Ends a test: everything is there, and somebody died at each place.
    async fn ends(&self) {
        self.all_is_there().await;
        assert_eq!(self.deaths, self.places, "one died at each place");
    }

    async fn drive(&self, node: &str, number: u32) -> Result<DriveEntry, String> {
        let drives = self.client.list_drives(Some(node)).await;
        let mut drives = drives.map_err(|e| e.to_string())?.into_iter();
        let found = drives.find(|drive| drive.number == number);
        found.ok_or_else(|| format!("{node} has no drive {number}"))
    }

    /// Waits until a drive has so many slots or none, with whoever dies meanwhile started again.
    async fn drive_has_slots(&mut self, node: &str, number: u32, some: bool) {
        let what = format!("drive {number} of {node} has slots: {some}");
        until(&what, MOVED_WITHIN, async || {
            self.start_again();
            let drive = self.drive(node, number).await?;
            match (drive.slots > 0) == some {
                true => Ok(()),
                false => Err(format!("{drive:?}")),
            }
        })
        .await;
        self.settled(&[], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_given_up_and_taken_back_though_the_leader_dies() {
    let _room = room().await;
    let scratch = Scratch::new("crashes-given-up");
    let grace = [("MARRAM_REPAIR_GRACE", "4")];
    let mut crashes = Crashes::start_with(scratch.path(), 902, 1, &grace).await;
    crashes.arm("node.given-up");
    crashes.nodes.retain(|node| *node != 5);
    crashes.cluster.kill(&[5]);
    crashes.died_at(&["node.given-up"]).await;
    crashes.settled(&[], &["node-5"]).await;

    crashes.arm("node.taken-back");
    crashes.cluster.restart(&[5]);
    crashes.nodes.push(5);
    crashes.died_at(&["node.taken-back"]).await;
    crashes.settled(&["node-5"], &[]).await;
    crashes.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_without_a_drive_are_emptied_though_the_leader_dies() {
    let _room = room().await;
    let scratch = Scratch::new("crashes-vacated");
    let grace = [("MARRAM_NARROW_GRACE", "2")];
    let mut crashes = Crashes::start_with(scratch.path(), 903, 1, &grace).await;
    // Seven nodes are one more than the profile is wide; without two of them it is one too few.
    let places = ["vacate.started", "vacate.emptied"];
    places.iter().for_each(|place| crashes.arm(place));
    for node in [5, 6] {
        crashes.nodes.retain(|one| *one != node);
        crashes.cluster.kill(&[node]);
        crashes.say(&["admin", "fence", &format!("node-{node}"), "--force"]);
    }
    crashes.died_at(&places).await;
    crashes.settled(&[], &["node-5", "node-6"]).await;
    let status = crashes.client.cluster_status().await.unwrap();
    let narrowed = status.redundancy.unwrap().narrowed_versions;
    assert!(narrowed > 0, "what had no place is narrower");
    // Nobody can ask them what they hold.
    crashes.remove("node-5").await;
    crashes.remove("node-6").await;
    crashes.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_is_drained_goes_away_and_returns_though_processes_die() {
    let _room = room().await;
    let scratch = Scratch::new("crashes-drives");
    let grace = [("MARRAM_DRIVE_AWAY_GRACE", "2")];
    let mut crashes = Crashes::start_with(scratch.path(), 904, 2, &grace).await;
    DRAIN.iter().for_each(|place| crashes.arm(place));
    crashes.say(&["admin", "drive", "drain", "node-2/1"]);
    crashes.died_at(&DRAIN).await;
    crashes.drive_has_slots("node-2", 1, false).await;
    until("the drained drive is removed", MOVED_WITHIN, async || {
        crashes.start_again();
        let removed = run(&crashes.cluster, &["admin", "drive", "remove", "node-2/1"]);
        if removed.code == 0 {
            Ok(())
        } else {
            Err(removed.err)
        }
    })
    .await;

    // Another one is not there when its node starts, and the node dies as soon as it has told of it.
    let folder = crashes.cluster.dir().join("node-3/drive-2");
    let kept = crashes.cluster.dir().join("kept");
    crashes.arm("drive.given-up");
    moved_while_down(&mut crashes, &folder, &kept);
    crashes.died_at(&["drive.given-up"]).await;
    crashes.drive_has_slots("node-3", 1, false).await;
    crashes.arm("drive.taken-back");
    moved_while_down(&mut crashes, &kept, &folder);
    crashes.died_at(&["drive.taken-back"]).await;
    crashes.drive_has_slots("node-3", 1, true).await;
    crashes.ends().await;
}

/// Node 3 is killed, and a folder moves before it starts again.
fn moved_while_down(crashes: &mut Crashes, from: &Path, to: &Path) {
    crashes.cluster.kill(&[3]);
    fs::rename(from, to).unwrap();
    crashes.cluster.restart(&[3]);
}
