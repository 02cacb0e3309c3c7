//! Situations and the decisions that follow.

use marram_meta::Absence;

use super::testing::cluster;
use super::*;

const PATIENCE: Patience = Patience {
    grace_ms: 600_000,
    urgent_ms: 30_000,
};

struct World {
    view: ClusterView,
    health: BTreeMap<NodeId, NodeHealth>,
    observers: usize,
    /// How many nodes can be rebuilt on the others.
    can_lose: usize,
    /// How many can be lost with narrower stripes.
    can_narrow: usize,
    now_ms: u64,
}

impl World {
    /// Nine nodes with pools of width 4 (2+2), all well.
    fn new() -> Self {
        Self::of(cluster(9, 4))
    }

    fn of(view: ClusterView) -> Self {
        let up = NodeHealth {
            health: Health::Up,
            for_ms: 1_000_000,
            words: 8,
            ..NodeHealth::default()
        };
        Self {
            health: view.nodes.keys().map(|node| (*node, up)).collect(),
            observers: view.nodes.len(),
            can_lose: 5,
            can_narrow: 0,
            now_ms: 50_000,
            view,
        }
    }

    fn see(&mut self, node: u64, health: Health, for_ms: u64) {
        let seen = self.health.get_mut(&NodeId(node)).expect("known");
        (seen.health, seen.for_ms) = (health, for_ms);
    }

    fn dead(&mut self, nodes: &[u64], for_ms: u64) {
        for node in nodes {
            self.see(*node, Health::Dead, for_ms);
        }
        self.observers = self.view.nodes.len() - nodes.len();
    }

    fn absence(&mut self, node: u64) -> &mut Absence {
        let node = self.view.nodes.get_mut(&NodeId(node));
        &mut node.expect("known").absence
    }

    fn decide(&self) -> Decisions {
        let mut holds = |gone: &BTreeSet<NodeId>| match gone.len() {
            lost if lost <= self.can_lose => Holds::Places,
            lost if lost <= self.can_narrow => Holds::Narrower,
            _ => Holds::Nothing,
        };
        decide(
            &self.view,
            &self.health,
            self.observers,
            self.now_ms,
            PATIENCE,
            &mut holds,
        )
    }

    fn commands(&self) -> Vec<RootCommand> {
        self.decide().commands
    }
}

fn give_up(node: u64, rebuild: bool) -> RootCommand {
    let node = NodeId(node);
    RootCommand::GiveUp { node, rebuild }
}

#[test]
fn a_dead_node_is_given_up_after_the_grace_and_not_before() {
    let mut world = World::new();
    assert_eq!(world.decide(), Decisions::default());
    world.dead(&[3], PATIENCE.grace_ms - 1);
    assert_eq!(world.decide(), Decisions::default());
    world.dead(&[3], PATIENCE.grace_ms);
    assert_eq!(world.commands(), [give_up(3, true)]);
    // Given up already: once is enough.
    world.absence(3).lost = Some(Lost {
        since_ms: 1,
        rebuild: true,
    });
    assert_eq!(world.decide(), Decisions::default());
}

#[test]
fn what_comes_and_goes_for_the_grace_is_given_up_and_one_observers_word_never_counts() {
    let mut world = World::new();
    world.see(3, Health::Suspect, PATIENCE.grace_ms);
    assert_eq!(world.commands(), [give_up(3, true)]);
    world.health.get_mut(&NodeId(3)).expect("known").words = 1;
    assert_eq!(world.commands(), []);
    for health in [Health::Slow, Health::Up, Health::Unknown] {
        world = World::new();
        world.see(3, health, PATIENCE.grace_ms);
        assert_eq!(world.commands(), [], "{health:?}");
    }
}

#[test]
fn the_last_spare_shard_is_rebuilt_as_soon_as_its_node_is_dead() {
    // 2+2 on nine nodes: two dead ones share some placement groups.
    let sure_ms = PATIENCE.at_the_limit_ms();
    assert_eq!(sure_ms, DEAD_AFTER_MS);
    let mut world = World::new();
    world.dead(&[3], PATIENCE.urgent_ms);
    assert_eq!(world.commands(), [], "one of two spare shards");
    world.dead(&[3, 5], sure_ms);
    assert_eq!(world.commands(), [give_up(3, true), give_up(5, true)]);
    world.see(5, Health::Suspect, PATIENCE.urgent_ms);
    assert_eq!(world.commands(), [], "it may only be slow to answer");
    world.dead(&[3, 5], sure_ms);
    for node in [3, 5] {
        world.health.get_mut(&NodeId(node)).expect("known").words = 1;
    }
    assert_eq!(world.commands(), [], "one observer's word");
    assert_eq!(Patience::new(2_000).urgent_ms, 2_000);
    assert_eq!(Patience::new(2_000).at_the_limit_ms(), 2_000);
    assert_eq!(Patience::new(600_000).urgent_ms, 30_000);
}

#[test]
fn a_drive_that_is_gone_counts_for_the_last_spare_shard() {
    let mut world = World::new();
    world.dead(&[3], PATIENCE.at_the_limit_ms());
    assert_eq!(world.commands(), []);
    let fifth = world.view.nodes.get_mut(&NodeId(5)).expect("known");
    fifth.drives[0].duty = marram_meta::DriveDuty::Failed;
    assert_eq!(world.commands(), [give_up(3, true)]);
}

/// Encoding everything anew is not begun for what may be back in a moment.
#[test]
fn what_gets_narrower_waits_for_the_grace_and_votes_do_not() {
    let mut world = World::new();
    (world.can_lose, world.can_narrow) = (0, 2);
    world.dead(&[3, 5], PATIENCE.at_the_limit_ms());
    let decisions = world.decide();
    assert_eq!(decisions.commands, []);
    assert!(
        decisions.notes[0].contains("which gets narrower in 596 s"),
        "{decisions:?}"
    );
    world.dead(&[3, 5], PATIENCE.urgent_ms);
    assert_eq!(world.commands(), [give_up(3, false), give_up(5, false)]);
    world.dead(&[3, 5], PATIENCE.grace_ms);
    assert_eq!(world.commands(), [give_up(3, true), give_up(5, true)]);
    world.dead(&[3], PATIENCE.grace_ms);
    world.see(5, Health::Up, 1_000);
    assert_eq!(
        world.commands(),
        [give_up(3, true)],
        "also far from the limit"
    );
}

#[test]
fn what_the_others_cannot_hold_is_said_and_only_votes_go() {
    let mut world = World::new();
    world.can_lose = 1;
    world.dead(&[3, 5], PATIENCE.grace_ms);
    world.see(5, Health::Dead, PATIENCE.grace_ms + 1);
    let decisions = world.decide();
    assert_eq!(decisions.commands, [give_up(5, true), give_up(3, false)]);
    let note = "node-3 does not come back, and what it had cannot be rebuilt: 7 nodes are left";
    assert!(decisions.notes[0].starts_with(note), "{decisions:?}");
    // Until there is room.
    world.absence(3).lost = Some(Lost {
        since_ms: 1,
        rebuild: false,
    });
    world.absence(5).lost = Some(Lost {
        since_ms: 1,
        rebuild: true,
    });
    world.can_lose = 0;
    assert_eq!(world.commands(), []);
    world.can_lose = 1;
    assert_eq!(world.commands(), [give_up(3, true)]);
}

#[test]
fn when_half_is_away_nothing_is_given_up() {
    let mut world = World::new();
    world.dead(&[1, 2, 3, 4], PATIENCE.grace_ms);
    assert_eq!(world.commands().len(), 4, "less than half");
    world.see(5, Health::Suspect, 10);
    let decisions = world.decide();
    assert_eq!(decisions.commands, []);
    assert!(decisions.notes[0].starts_with("5 of 9 nodes are away at once"));
    // One after the other: those that are dealt with do not count.
    for node in [1, 2, 3] {
        world.absence(node).lost = Some(Lost {
            since_ms: 1,
            rebuild: true,
        });
    }
    assert_eq!(world.commands(), [give_up(4, true)]);
}

#[test]
fn without_the_word_of_most_nothing_is_given_up() {
    let mut world = World::new();
    world.dead(&[3], PATIENCE.grace_ms);
    world.observers = 4;
    let decisions = world.decide();
    assert_eq!(decisions.commands, []);
    assert!(decisions.notes[0].starts_with("Only 4 of 9 nodes say"));
    world.observers = 5;
    assert_eq!(world.commands(), [give_up(3, true)]);
}

#[test]
fn maintenance_excuses_and_fencing_leaves_nothing_to_decide() {
    let mut world = World::new();
    world.dead(&[3, 4], PATIENCE.grace_ms);
    world.absence(3).maintenance_until_ms = Some(world.now_ms + 9_000);
    world.view.nodes.get_mut(&NodeId(4)).expect("known").duty = NodeDuty::Fenced;
    let decisions = world.decide();
    assert_eq!(decisions.commands, []);
    let note = "node-3 does not answer; it is in maintenance for 9 s more, and nothing is rebuilt.";
    assert_eq!(decisions.notes, [note]);
}

#[test]
fn whoever_is_steadily_back_is_taken_back() {
    let mut world = World::new();
    world.absence(3).lost = Some(Lost {
        since_ms: 1,
        rebuild: true,
    });
    let back = [RootCommand::TakeBack { node: NodeId(3) }];
    assert_eq!(world.commands(), back);
    world.see(3, Health::Slow, 0);
    assert_eq!(world.commands(), back);
    for health in [Health::Suspect, Health::Dead, Health::Unknown] {
        world.see(3, health, 1);
        assert_eq!(world.commands(), [], "{health:?}");
    }
}

#[test]
fn pauses_end_when_their_time_has_come() {
    let mut world = World::new();
    world.absence(2).maintenance_until_ms = Some(50_000);
    world.absence(2).leads_not_until_ms = Some(50_001);
    world.absence(3).leads_not_until_ms = Some(40_000);
    let end = |node, pause, until| RootCommand::EndPause {
        node: NodeId(node),
        pause,
        only: Some(until),
    };
    let ended = [
        end(2, Pause::Maintenance, 50_000),
        end(3, Pause::Leading, 40_000),
    ];
    assert_eq!(world.commands(), ended);
}
