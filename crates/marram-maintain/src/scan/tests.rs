//! What a node removes of what its drives hold, and what it keeps.

use super::*;
use crate::collect::tests::fake::{GROUP, World};
use marram_meta::ObjectCommand;

/// The drive that is scanned; no row names it at first.
const OWN: DriveId = DriveId(7);

async fn scan(world: &Arc<World>) {
    let again = || Arc::clone(world);
    let view = world.view.subscribe();
    let scanner = Scanner::new(again(), again(), again(), view, Duration::from_hours(1));
    scanner.scan(Duration::ZERO).await;
}

fn raise(world: &World, gc_floor: u64) {
    world.run(&ObjectCommand::RaiseFloors {
        gc_floor,
        read_floor: gc_floor,
    });
}

#[tokio::test]
async fn unreferenced_data_goes_below_the_floor_only() {
    let world = World::new();
    let orphan = world.begin();
    world.hold(OWN, orphan, 3);
    world.put("key");
    let later = world.begin();
    world.hold(OWN, later, 3);
    scan(&world).await;
    assert!(world.has(OWN, orphan), "its commit may still come");
    raise(&world, orphan.begin);
    scan(&world).await;
    assert!(world.has(OWN, orphan), "at the floor is not below it");
    raise(&world, orphan.begin + 1);
    scan(&world).await;
    assert!(!world.has(OWN, orphan));
    assert!(world.has(OWN, later));
}

/// A commit between two questions, after which the floor passes it: whatever is asked first, what is
/// committed stays.
#[tokio::test]
async fn a_commit_in_the_middle_is_not_lost() {
    for after_references in [false, true] {
        let world = World::new();
        let data = world.begin();
        world.hold(OWN, data, 3);
        // Once it is committed, only its own place can permit that this copy goes.
        world.set_up(4, false);
        let seen = std::sync::atomic::AtomicBool::new(false);
        *world.before_query.lock().unwrap() = Some(Box::new(move |world, query| {
            let order = std::sync::atomic::Ordering::Relaxed;
            if seen.load(order) {
                world.commit("key", data);
                raise(world, data.begin + 1);
            }
            let counts = !after_references || matches!(query, ObjectQuery::References(_));
            seen.fetch_or(counts, order);
        }));
        scan(&world).await;
        assert!(world.has(OWN, data));
    }
}

#[tokio::test]
async fn garbage_is_left_to_the_queue() {
    let world = World::new();
    let data = world.put("key");
    world.hold(OWN, data, 3);
    world.delete("key");
    raise(&world, 1 << 40);
    scan(&world).await;
    assert!(world.has(OWN, data));
    assert_eq!(world.queued(), 1);
}

#[tokio::test]
async fn a_copy_left_over_from_a_move_goes() {
    let world = World::new();
    let data = world.put("key");
    world.hold(OWN, data, 3);
    scan(&world).await;
    assert!(!world.has(OWN, data));
    assert_eq!(world.drives_with(data), 6);
}

/// The place that readers look at does not have the shard whole, or does not answer: this copy may
/// be the last one.
#[tokio::test]
async fn a_copy_that_may_be_the_last_one_stays() {
    let wrongs: [fn(&World, DataId); 5] = [
        |world, data| world.lose(DriveId(4), data),
        |world, _| {
            world.damaged.lock().unwrap().insert(DriveId(4));
        },
        |world, _| world.set_up(4, false),
        |world, _| world.fail(4, true),
        |world, data| {
            world.run(&ObjectCommand::ShardMissing {
                pg: crate::collect::tests::fake::PG,
                data,
                shard: 3,
                at: DriveId(4),
            });
        },
    ];
    for wrong in wrongs {
        let world = World::new();
        let data = world.put("key");
        world.hold(OWN, data, 3);
        wrong(&world, data);
        scan(&world).await;
        assert!(world.has(OWN, data));
    }
}

/// As after a restore of metadata from before a move.
#[tokio::test]
async fn a_copy_whose_own_place_lost_it_goes_there_first() {
    let wrongs: [fn(&World, DataId); 2] = [
        |world, data| world.lose(DriveId(4), data),
        |world, _| {
            world.damaged.lock().unwrap().insert(DriveId(4));
        },
    ];
    for wrong in wrongs {
        let world = World::new();
        let data = world.put("key");
        world.hold(OWN, data, 3);
        wrong(&world, data);
        scan(&world).await;
        assert!(world.has(OWN, data) && world.has(DriveId(4), data));
        assert!(world.damaged.lock().unwrap().is_empty());
        scan(&world).await;
        assert!(!world.has(OWN, data));
        assert_eq!(world.drives_with(data), 6);
    }
}

/// As where a reader looked before the scan did, and said that the shard is missing.
#[tokio::test]
async fn a_copy_comes_home_though_the_row_says_that_the_shard_is_missing() {
    let world = World::new();
    let data = world.put("key");
    world.hold(OWN, data, 3);
    world.lose(DriveId(4), data);
    world.run(&ObjectCommand::ShardMissing {
        pg: crate::collect::tests::fake::PG,
        data,
        shard: 3,
        at: DriveId(4),
    });
    scan(&world).await;
    assert!(world.has(OWN, data) && world.has(DriveId(4), data));
    scan(&world).await;
    assert!(world.has(OWN, data), "the row does not know it yet");
}

#[tokio::test]
async fn nothing_goes_while_the_row_moves_or_is_not_agreed_on() {
    let world = World::new();
    let data = world.put("key");
    let stable = world.row();
    world.hold(OWN, data, 5);
    // Slot 3 moves here: slot 5 is not wanted, and waits all the same.
    let dual = stable.begin(3, OWN, 2).expect("begins");
    world.fence(dual.clone());
    scan(&world).await;
    assert!(world.has(OWN, data));
    // The group knows a newer row than this node's view.
    let cut = dual.cut(3).expect("cuts");
    let ended = cut.end(4).expect("ends");
    world.fence(cut);
    world.fence_group(ended.clone());
    scan(&world).await;
    assert!(world.has(OWN, data));
    // Both agree: slot 3 is wanted here, slot 5 is not.
    world.fence(ended);
    world.hold(OWN, data, 3);
    scan(&world).await;
    assert!(world.has(OWN, data));
    let held = world.list(OWN, None, 10).await.expect("lists");
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].shard.slot, 3);
}

#[tokio::test]
async fn a_shard_that_the_row_names_here_stays() {
    let world = World::new();
    let data = world.begin();
    let extent = crate::collect::tests::fake::extent(data);
    // Written during a move that was cancelled: only the place here got it, so the row names it.
    let mut wrote = world.write(&extent);
    wrote[3] = (3, OWN);
    world.lose(DriveId(4), data);
    world.hold(OWN, data, 3);
    world.commit_wrote("key", extent, wrote);
    scan(&world).await;
    assert!(world.has(OWN, data));
}

#[tokio::test]
async fn every_page_is_judged() {
    let world = World::new();
    let mut dead = Vec::new();
    for _ in 0..600 {
        let data = world.begin();
        world.hold(OWN, data, 1);
        dead.push(data);
    }
    let live = world.put("key");
    raise(&world, live.begin + 1);
    scan(&world).await;
    assert!(dead.iter().all(|data| !world.has(OWN, *data)));
    assert_eq!(world.drives_with(live), 6);
}

#[tokio::test]
async fn a_group_that_nobody_knows_is_not_judged() {
    let world = World::new();
    let data = DataId {
        group: GroupId(GROUP.0 + 1),
        begin: 0,
        random: 1,
    };
    world.hold(OWN, data, 1);
    raise(&world, 1 << 40);
    scan(&world).await;
    assert!(world.has(OWN, data));
}

#[test]
fn before_is_right_before() {
    let data = |begin, random| DataId {
        group: GROUP,
        begin,
        random,
    };
    assert_eq!(before(data(5, 7)), Some(data(5, 6)));
    assert_eq!(before(data(5, 0)), Some(data(4, u64::MAX)));
    assert_eq!(before(data(0, 0)), None);
}

/// A node asks what it holds is good for: a version that is not current is.
#[tokio::test]
async fn what_a_version_that_is_not_current_holds_stays() {
    let world = World::new();
    world.keep_versions();
    let old = world.put("key");
    let generation = world.generation("key");
    let hidden = world.put("key");
    world.delete("key");
    raise(&world, 1 << 40);
    let before = (world.drives_with(old), world.drives_with(hidden));
    scan(&world).await;
    assert_eq!((world.drives_with(old), world.drives_with(hidden)), before);
    // Removed for good it is garbage, which the queue alone lets go.
    world.delete_version("key", generation);
    raise(&world, 1 << 40);
    scan(&world).await;
    assert_eq!((world.drives_with(old), world.queued()), (before.0, 1));
}
