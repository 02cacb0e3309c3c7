//! Situations and the answers.

use marram_meta::Extent;
use marram_placement::pool_of;
use marram_types::{DataId, DriveId, PgId, VersionId};

use super::super::redundancy::testing::view;
use super::*;

struct World {
    view: ClusterView,
    away: Vec<u64>,
    weak: Vec<Waiting>,
    usage: Option<Usage>,
}

impl World {
    /// Six nodes of 4+2 with five voters.
    fn new() -> Self {
        Self {
            view: view(6, 1, 5, "4+2"),
            away: Vec::new(),
            weak: vec![Some(Vec::new())],
            usage: Some(Usage::default()),
        }
    }

    fn ask(&self, stopped: &[u64], margin: i32) -> v1::OkToStopResponse {
        let stopped = stopped.iter().copied().map(NodeId).collect();
        let question = Question {
            view: &self.view,
            stopped: &stopped,
            margin,
        };
        let is_up = |node: NodeId| !self.away.contains(&node.0);
        question.judge(&BTreeMap::new(), self.usage, &self.weak, is_up)
    }

    fn is_ok(&self, stopped: &[u64], margin: i32) -> bool {
        let answer = self.ask(stopped, margin);
        println!("{stopped:?} {margin}: {answer:?}");
        answer.ok
    }
}

/// An extent of 4+2 on nodes 1 to 6, with these shards missing.
fn extent(missing: u64) -> LiveExtent {
    let data = DataId {
        group: GroupId(1),
        begin: 5,
        random: 6,
    };
    LiveExtent {
        crc64: None,
        extent: Extent {
            data,
            pg: PgId {
                pool: pool_of(6),
                index: 0,
            },
            profile: "4+2".parse().unwrap(),
            cell: 4096,
            length: 100_000,
            slots: (0..6).collect(),
            missing,
            overrides: Vec::new(),
        },
        places: (1..=6).map(|node| DriveId(node * 10)).collect(),
        nominal: "4+2".parse().unwrap(),
        version: VersionId(1),
        bucket: marram_types::BucketId(5),
        key: "key".to_owned(),
    }
}

#[test]
fn as_many_as_the_profile_has_parity_and_no_more() {
    let world = World::new();
    assert!(world.is_ok(&[1], 0));
    assert!(world.is_ok(&[1], 1));
    assert!(!world.is_ok(&[1], 2));
    assert!(world.is_ok(&[1, 6], 0));
    assert!(!world.is_ok(&[1, 6], 1));
    assert!(!world.is_ok(&[1, 2, 3], 0));
    let answer = world.ask(&[1, 2, 3], 0);
    assert_eq!(answer.tolerated_losses, -1);
    assert_eq!(answer.node_ids, [1, 2, 3]);
    let said = answer.reasons.join("\n");
    for wanted in ["Some objects could not be read.", "no majority"] {
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn who_is_away_or_excused_counts_as_stopped() {
    let mut world = World::new();
    world.away = vec![2];
    assert!(world.is_ok(&[1], 0));
    assert!(!world.is_ok(&[1], 1));
    let answer = world.ask(&[1], 0);
    assert_eq!(
        answer.reasons,
        ["Away, or in maintenance, already: node-2."]
    );
    let node = world.view.nodes.get_mut(&NodeId(3)).unwrap();
    node.absence.maintenance_until_ms = Some(1);
    assert!(!world.is_ok(&[1], 0));
    assert!(world.is_ok(&[3], 0), "it is asked about itself");
}

#[test]
fn repairs_that_wait_are_counted_shard_by_shard() {
    let mut world = World::new();
    // Shard 0, on node 1, is lost.
    world.weak = vec![Some(vec![extent(1)])];
    assert!(world.is_ok(&[1], 1), "what is lost there is lost already");
    assert!(world.is_ok(&[2], 0));
    assert!(!world.is_ok(&[2], 1));
    assert!(!world.is_ok(&[2, 3], 0));
    assert_eq!(world.ask(&[2, 3], 0).tolerated_losses, -1);
    // Two are lost: nobody else may go.
    world.weak = vec![Some(vec![extent(0b11)])];
    assert!(!world.is_ok(&[3], 0));
    let said = world.ask(&[3], 0).reasons.join("\n");
    assert!(said.contains("1 extents wait for repair"), "{said}");
    world.weak = vec![None];
    assert!(!world.is_ok(&[6], 0), "too many to say");
}

#[test]
fn what_cannot_be_known_is_not_fine() {
    let mut world = World::new();
    world.usage = None;
    assert!(!world.is_ok(&[6], 0));
    world.usage = Some(Usage {
        under_protected: 1,
        ..Usage::default()
    });
    assert!(world.is_ok(&[6], 0));
    assert!(!world.is_ok(&[6], 1));
}
