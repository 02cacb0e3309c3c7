//! Targets that are full: nothing is written above the limit, and moves go elsewhere.

use super::*;

/// How long a full drive gets no moves: longer than a test.
const LONG: Duration = Duration::from_secs(3600);
const LIMIT: usize = 10;

fn drive_of(state: &State, node: NodeId) -> DriveId {
    state.view().nodes[&node].drives[0].drive
}

fn moving(state: &State) -> usize {
    let rows = state.table().rows;
    rows.iter().filter(|row| row.moving.is_some()).count()
}

/// A new node takes as much as it has room for; the moves that it cannot take are taken back, and what is left
/// to be moved is told until there is room.
#[tokio::test]
async fn a_full_target_takes_nothing_above_its_limit_and_gets_the_rest_when_there_is_room() {
    let fake = Fake::new(4, 31);
    fake.state().write(120);
    let node = fake.state().add_node(9);
    let drive = drive_of(&fake.state(), node);
    fake.state().limits.insert(drive, LIMIT);
    fake.publish();
    let work = fake.work_without(LONG);
    let mut rounds = Rounds::new(Arc::clone(&work));
    let mut was_refused = false;
    for _ in 0..ROUNDS_MAX {
        rounds.round().await;
        let mut state = fake.state();
        state.fence_all();
        let held = state.disks.get(&drive).map_or(0, BTreeSet::len);
        assert!(held <= LIMIT, "{held} shards");
        was_refused |= !work.unfit().is_empty();
        if was_refused && moving(&state) == 0 {
            break;
        }
    }
    {
        let mut state = fake.state();
        assert!(was_refused && moving(&state) == 0, "{:?}", state.table());
        check_whole(&mut state, false);
        assert!(slots_of(&state, node) < 14, "less than its share");
        let plan = state.view().plan_of(&state.table(), &state.view().seats());
        assert!(plan.unwrap().worth, "the status tells what is yet to move");
    }
    // Nothing is tried again and again meanwhile.
    let before = fake.state().table();
    for _ in 0..20 {
        rounds.round().await;
        fake.state().fence_all();
    }
    assert_eq!(fake.state().table(), before);
    fake.state().limits.clear();
    settle(&fake).await;
    let mut state = fake.state();
    check_whole(&mut state, false);
    assert!((14..=15).contains(&slots_of(&state, node)));
}

/// What a lost node had goes to those that have room.
#[tokio::test]
async fn what_a_lost_node_had_goes_past_a_full_one() {
    let fake = Fake::new(6, 32);
    fake.state().write(120);
    let (lost, full) = (any_node(&fake, 2), any_node(&fake, 4));
    let drive = drive_of(&fake.state(), full);
    let held = fake.state().disks[&drive].len();
    fake.state().limits.insert(drive, held);
    fake.state().down.insert(lost);
    fake.state().set_duty(lost, NodeDuty::Fenced);
    fake.publish();
    let work = fake.work_without(LONG);
    let mut rounds = Rounds::new(Arc::clone(&work));
    for _ in 0..ROUNDS_MAX {
        rounds.round().await;
        let mut state = fake.state();
        state.fence_all();
        assert!(state.disks[&drive].len() <= held);
        if slots_of(&state, lost) == 0 && moving(&state) == 0 {
            break;
        }
    }
    let mut state = fake.state();
    assert_eq!((slots_of(&state, lost), moving(&state)), (0, 0));
    check_whole(&mut state, false);
}
