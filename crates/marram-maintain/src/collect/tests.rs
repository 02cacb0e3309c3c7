//! The collector against groups of real metadata and drives in memory.

use super::*;

pub(crate) mod fake;

use fake::{World, extent};
use marram_meta::NodeDuty;
use marram_types::{DataId, DriveId, ReplicaId};

const FLOOR_LAG: Duration = Duration::from_secs(40);
const READ_LAG: Duration = Duration::from_secs(20);
const DRAIN_GRACE: Duration = Duration::from_secs(10);

fn collector(world: &Arc<World>) -> Collector<World, World> {
    let lags = GcLags {
        floor: FLOOR_LAG,
        readers: READ_LAG,
        drain: DRAIN_GRACE,
    };
    let view = world.view.subscribe();
    let mut collector = Collector::new(Arc::clone(world), Arc::clone(world), view, lags);
    let clock = Arc::clone(world);
    collector.clock = Box::new(move || clock.now());
    collector
}

async fn run(world: &Arc<World>, collector: &mut Collector<World, World>, seconds: u64) {
    for _ in 0..seconds {
        world.advance(1);
        collector.round().await;
    }
}

/// What is displaced while a node is emptied goes when readers are done with it, long before the
/// floor would have reached it.
#[tokio::test]
async fn a_drain_does_not_wait_for_uploads_of_a_day() {
    let world = World::new();
    let mut collector = collector(&world);
    let old = world.put("key");
    run(&world, &mut collector, 2).await;
    world.put("key");
    world.set_duty(NodeDuty::Draining);
    run(&world, &mut collector, 18).await;
    assert_eq!(world.drives_with(old), 6, "readers may still be at it");
    run(&world, &mut collector, 8).await;
    assert_eq!(world.drives_with(old), 0);
}

/// Writers and nodes learn of a drain some moments after the group's leader did: what they begin
/// meanwhile is waited for no longer than what began before.
#[tokio::test]
async fn a_drain_covers_what_began_before_everybody_knew_of_it() {
    let world = World::new();
    let mut collector = collector(&world);
    run(&world, &mut collector, 2).await;
    world.set_duty(NodeDuty::Draining);
    run(&world, &mut collector, 3).await;
    let late = world.put("key");
    run(&world, &mut collector, 1).await;
    world.put("key");
    run(&world, &mut collector, 26).await;
    assert_eq!(world.drives_with(late), 0);
}

/// What is begun and displaced while a placement group still moves away counts as lying on the drive that
/// is emptied. It does not keep the drive from being removed for longer than the drain's grace either.
#[tokio::test]
async fn a_drain_covers_what_is_displaced_while_data_moves_away() {
    let world = World::new();
    let mut collector = collector(&world);
    let row = world.row();
    let on_seven = row.begin(0, DriveId(7), row.epoch + 1).unwrap();
    let on_seven = on_seven.cut(row.epoch + 2).unwrap();
    let on_seven = on_seven.end(row.epoch + 3).unwrap();
    world.fence(on_seven.clone());
    run(&world, &mut collector, 2).await;
    world.set_duty(NodeDuty::Draining);
    // The moves take longer than it takes until everybody knows, and than the grace.
    run(&world, &mut collector, 14).await;
    let leaves = on_seven.begin(0, row.drives[0], row.epoch + 4).unwrap();
    world.fence(leaves.clone());
    let late = world.put("key");
    run(&world, &mut collector, 1).await;
    world.put("key");
    let left = leaves.cut(row.epoch + 5).unwrap();
    world.fence(left.end(row.epoch + 6).unwrap());
    run(&world, &mut collector, 28).await;
    let floor = world.counters().gc_floor;
    assert!(floor > late.begin, "{floor} has not passed {}", late.begin);
}

#[tokio::test]
async fn displaced_data_goes_when_both_lags_have_passed() {
    let world = World::new();
    let mut collector = collector(&world);
    let old = world.put("key");
    run(&world, &mut collector, 5).await;
    let new = world.put("key");
    run(&world, &mut collector, 15).await;
    assert_eq!(world.drives_with(old), 6, "readers may still be at it");
    run(&world, &mut collector, 15).await;
    assert_eq!(
        world.drives_with(old),
        6,
        "a repeated commit may still come"
    );
    run(&world, &mut collector, 15).await;
    assert_eq!((world.drives_with(old), world.drives_with(new)), (0, 6));
    assert_eq!(world.queued(), 0);
    let told = world.drops();
    run(&world, &mut collector, 60).await;
    assert_eq!(
        world.drops(),
        told,
        "what is collected is not dropped again"
    );
    assert_eq!(world.drives_with(new), 6);
}

/// Writers that need less than the lag are never refused, and floors follow all the same.
#[tokio::test]
async fn floors_never_pass_a_write_that_is_in_time() {
    let world = World::new();
    let mut collector = collector(&world);
    let mut begun: Vec<(u64, DataId)> = Vec::new();
    for second in 0..400_u64 {
        run(&world, &mut collector, 1).await;
        begun.push((second, world.begin()));
        // Each commits just before the lag is over.
        let late = begun.iter().position(|(at, _)| at + 39 <= second);
        if let Some(at) = late {
            let (_, data) = begun.remove(at);
            assert!(
                world.commit(&format!("key-{}", second % 3), data),
                "{second}"
            );
        }
        let counters = world.counters();
        let oldest = begun.iter().map(|(_, data)| data.begin).min();
        assert!(counters.gc_floor <= oldest.unwrap_or(0), "second {second}");
        assert!(counters.gc_floor <= counters.read_floor);
    }
    assert!(world.counters().gc_floor > 100, "floors rise");
    assert!(world.queued() < 100, "garbage is collected meanwhile");
}

#[tokio::test]
async fn a_node_that_is_away_keeps_its_entries_and_no_others() {
    let world = World::new();
    let mut collector = collector(&world);
    // More than one page of entries that need drive 1, and one behind them that does not.
    let mut stuck = Vec::new();
    for index in 0..300 {
        stuck.push(world.put(&format!("a-{index}")));
    }
    for index in 0..300 {
        world.delete(&format!("a-{index}"));
    }
    let free = world.put_narrow("b");
    world.delete("b");
    world.set_up(1, false);
    run(&world, &mut collector, 60).await;
    assert_eq!(world.queued(), 300);
    assert_eq!(world.drives_with(free), 0, "not behind those that wait");
    assert!(stuck.iter().all(|data| world.drives_with(*data) == 1));
    let told = world.drops();
    run(&world, &mut collector, 100).await;
    assert_eq!(
        world.drops(),
        told,
        "drives that answered are not told again"
    );
    world.set_up(1, true);
    run(&world, &mut collector, 3).await;
    assert_eq!(world.queued(), 0);
    assert!(stuck.iter().all(|data| world.drives_with(*data) == 0));
}

#[tokio::test]
async fn a_drive_that_fails_is_told_again() {
    let world = World::new();
    let mut collector = collector(&world);
    let data = world.put("key");
    world.delete("key");
    world.fail(2, true);
    run(&world, &mut collector, 100).await;
    assert_eq!((world.queued(), world.drives_with(data)), (1, 1));
    world.fail(2, false);
    run(&world, &mut collector, 31).await;
    assert_eq!((world.queued(), world.drives_with(data)), (0, 0));
}

#[tokio::test]
async fn nobody_waits_for_nodes_that_do_not_come_back() {
    for removed in [false, true] {
        let world = World::new();
        let mut collector = collector(&world);
        let data = world.put("key");
        world.delete("key");
        world.set_up(1, false);
        run(&world, &mut collector, 60).await;
        assert_eq!(world.queued(), 1);
        world.change_node(1, |node| {
            if removed {
                node.state = NodeState::Tombstoned;
            } else {
                node.duty = NodeDuty::Fenced;
            }
        });
        run(&world, &mut collector, 31).await;
        assert_eq!((world.queued(), world.drives_with(data)), (0, 1));
    }
}

/// A drive that the view does not name is one that it does not name yet.
#[tokio::test]
async fn an_unknown_drive_is_waited_for() {
    let world = World::new();
    let mut collector = collector(&world);
    world.put("key");
    world.delete("key");
    let known = world.view.borrow().nodes[&NodeId(3)].clone();
    world.change_node(3, |node| node.drives.clear());
    run(&world, &mut collector, 80).await;
    assert_eq!(world.queued(), 1);
    world.change_node(3, |node| *node = known.clone());
    run(&world, &mut collector, 31).await;
    assert_eq!(world.queued(), 0);
}

#[tokio::test]
async fn a_lost_answer_does_no_harm() {
    let world = World::new();
    let mut collector = collector(&world);
    let data = world.put("key");
    world.delete("key");
    world.lose_answers(true);
    run(&world, &mut collector, 100).await;
    assert_eq!(world.drives_with(data), 0);
    world.lose_answers(false);
    world.put("key");
    run(&world, &mut collector, 100).await;
    assert_eq!(world.queued(), 0);
}

/// Who comes to lead has sampled before and need not wait for another lag.
#[tokio::test]
async fn only_the_leader_acts_and_its_successor_goes_on() {
    let world = World::new();
    let (mut first, mut second) = (collector(&world), collector(&world));
    let data = world.put("key");
    world.delete("key");
    world.put("other");
    world.lead(false);
    run(&world, &mut first, 1).await;
    for _ in 0..100 {
        run(&world, &mut second, 1).await;
    }
    assert_eq!(world.counters().gc_floor, 0, "followers raise nothing");
    assert_eq!(world.drives_with(data), 6);
    world.lead(true);
    run(&world, &mut second, 5).await;
    assert_eq!((world.queued(), world.drives_with(data)), (0, 0));
}

#[tokio::test]
async fn groups_of_others_are_left_alone() {
    let world = World::new();
    world.lead(false);
    world.view.send_modify(|view| {
        let mut changed = ClusterView::clone(view);
        for group in changed.groups.values_mut() {
            group.voters = vec![ReplicaId(2)];
        }
        *view = Arc::new(changed);
    });
    let mut collector = collector(&world);
    run(&world, &mut collector, 10).await;
    assert!(collector.groups.is_empty());
}

#[test]
fn owners_know_who_is_gone() {
    let world = World::new();
    world.change_node(2, |node| node.duty = NodeDuty::Fenced);
    world.change_node(4, |node| node.duty = NodeDuty::Draining);
    let owners = Owners::of(&world.view.borrow());
    assert_eq!(owners.get(DriveId(2)), Some(owners::Owner::Gone));
    assert_eq!(owners.node(DriveId(2)), None);
    assert_eq!(owners.node(DriveId(4)), Some(NodeId(4)));
    assert_eq!(owners.get(DriveId(99)), None);
    assert_eq!(extent(world.begin()).slots.len(), 6);
}

/// What a key has beside its current version is no garbage, however often it is asked, until it is deleted
/// by its generation.
#[tokio::test]
async fn a_version_that_is_not_current_is_never_collected() {
    let world = World::new();
    world.keep_versions();
    let mut collector = collector(&world);
    let old = world.put("key");
    let generation = world.generation("key");
    run(&world, &mut collector, 2).await;
    let hidden = world.put("key");
    world.delete("key");
    run(&world, &mut collector, 200).await;
    assert_eq!((world.drives_with(old), world.drives_with(hidden)), (6, 6));
    world.delete_version("key", generation);
    run(&world, &mut collector, 200).await;
    assert_eq!((world.drives_with(old), world.drives_with(hidden)), (0, 6));
}
