//! A carry that takes long keeps nothing else waiting, and is stopped when it is not to go on.

use marram_meta::{DriveCommand, Pausable};
use marram_placement::Move;

use super::fake::Fake;
use super::*;

/// Rounds within which whatever is not kept waiting must have come to its end.
const SOON: usize = 80;

fn drain(fake: &Fake, node: NodeId) {
    for duty in [NodeDuty::Cordoned, NodeDuty::Draining] {
        fake.state().set_duty(node, duty);
    }
    fake.publish();
}

fn pause(fake: &Fake, paused: bool) {
    let work = Pausable::Moves;
    let command = RootCommand::Drives(DriveCommand::SetPaused { work, paused });
    fake.state().root(&command);
    fake.publish();
}

/// The rows that a node has slots of.
fn rows_of(state: &State, node: NodeId) -> Vec<u16> {
    let view = state.view();
    let drive = view.nodes[&node].drives[0].drive;
    let rows = (0..).zip(state.table().rows);
    let rows = rows.filter(|(_, row)| row.drives.contains(&drive));
    rows.map(|(index, _)| index).collect()
}

fn moves(state: &State) -> Vec<(u16, Move)> {
    let rows = (0..).zip(state.table().rows);
    rows.filter_map(|(index, row)| Some((index, row.moving?)))
        .collect()
}

/// Runs rounds until it is so.
async fn until(fake: &Fake, rounds: &mut Rounds<Fake, Fake>, is_so: impl Fn(&State) -> bool) {
    for _ in 0..SOON {
        if is_so(&fake.state()) {
            return;
        }
        rounds.round().await;
    }
    panic!("not within {SOON} rounds: {:?}", moves(&fake.state()));
}

#[tokio::test]
async fn finished_rows_are_cut_while_another_is_carried() {
    let fake = Fake::new(6, 31);
    fake.state().write(90);
    let node = any_node(&fake, 1);
    let slow = rows_of(&fake.state(), node)[0];
    fake.state().slow.rows.insert(slow);
    drain(&fake, node);
    let work = fake.work();
    let mut rounds = Rounds::new(Arc::clone(&work));
    until(&fake, &mut rounds, |state| {
        rows_of(state, node) == [slow] && moves(state).len() == 1
    })
    .await;
    assert_eq!(moves(&fake.state())[0].1.phase, Phase::Dual);
    // The progress is that of the view with which a round begins.
    rounds.round().await;
    let (under_way, written) = {
        let progress = work.progress.borrow();
        (progress.under_way, progress.written)
    };
    assert_eq!(under_way, 1, "and the progress tells of it");
    assert!(written > 0);

    fake.state().slow.rows.clear();
    fake.quick.notify_waiters();
    drop(rounds);
    settle(&fake).await;
    assert_eq!(slots_of(&fake.state(), node), 0);
    check_whole(&mut fake.state(), false);
}

#[tokio::test]
async fn a_lost_node_is_rebuilt_while_a_drain_is_carried() {
    let fake = Fake::new(7, 32);
    fake.state().write(90);
    let (drained, fenced) = (any_node(&fake, 0), any_node(&fake, 1));
    let slow = rows_of(&fake.state(), drained);
    fake.state().slow.rows.extend(slow.iter().copied());
    drain(&fake, drained);
    let mut rounds = Rounds::new(fake.work());
    until(&fake, &mut rounds, |state| {
        !state.slow.waiting.is_empty() && moves(state).len() == slow.len()
    })
    .await;

    let lost = fake.state().view().nodes[&fenced].drives[0].drive;
    let begun = moves(&fake.state());
    // Those to the node that is lost are cancelled.
    let carried: Vec<_> = begun.into_iter().filter(|(_, m)| m.to != lost).collect();
    assert!(carried.len() > 4, "{carried:?}");
    fake.state().down.insert(fenced);
    fake.state().set_duty(fenced, NodeDuty::Fenced);
    fake.publish();
    let to_rebuild = rows_of(&fake.state(), fenced);
    let to_rebuild: Vec<u16> = to_rebuild
        .into_iter()
        .filter(|row| !slow.contains(row))
        .collect();
    assert!(to_rebuild.len() > 2, "{to_rebuild:?}");
    until(&fake, &mut rounds, |state| {
        let left = rows_of(state, fenced);
        !to_rebuild.iter().any(|row| left.contains(row))
    })
    .await;
    let now = moves(&fake.state());
    assert!(
        carried.iter().all(|one| now.contains(one)),
        "the drain is under way as before"
    );

    fake.state().slow.rows.clear();
    fake.quick.notify_waiters();
    drop(rounds);
    settle(&fake).await;
    check_whole(&mut fake.state(), false);
    assert_eq!(slots_of(&fake.state(), drained), 0);
    assert_eq!(slots_of(&fake.state(), fenced), 0);
}

/// What lost a slot for which there is no other node gets narrower now, not when a drain is over that may
/// take hours.
#[tokio::test]
async fn rows_that_lost_a_slot_for_good_do_not_wait_for_a_drain() {
    let fake = Fake::new(4, 41);
    fake.state().write(90);
    let (drained, fenced) = (any_node(&fake, 0), any_node(&fake, 1));
    let slow = rows_of(&fake.state(), drained);
    fake.state().slow.rows.extend(slow.iter().copied());
    drain(&fake, drained);
    let mut rounds = Rounds::new(fake.work());
    until(&fake, &mut rounds, |state| {
        !state.slow.waiting.is_empty() && moves(state).len() == slow.len()
    })
    .await;
    let lost = fake.state().view().nodes[&fenced].drives[0].drive;
    let begun = moves(&fake.state());
    // One that was cut before may end meanwhile.
    let goes_on = |m: &Move| m.to != lost && m.phase != Phase::Cut;
    let carried: Vec<_> = begun.into_iter().filter(|(_, m)| goes_on(m)).collect();
    assert!(carried.len() > 4, "{carried:?}");
    fake.state().down.insert(fenced);
    fake.state().set_duty(fenced, NodeDuty::Fenced);
    fake.publish();
    let held = rows_of(&fake.state(), fenced);
    let narrowed: Vec<u16> = held.into_iter().filter(|row| !slow.contains(row)).collect();
    assert!(narrowed.len() > 2, "{narrowed:?}");
    until(&fake, &mut rounds, |state| {
        let vacated = |(row, m): &(u16, Move)| m.to.is_vacant().then_some(*row);
        let vacated: Vec<u16> = moves(state).iter().filter_map(vacated).collect();
        narrowed.iter().all(|row| vacated.contains(row))
    })
    .await;
    let now = moves(&fake.state());
    assert!(
        carried.iter().all(|one| now.contains(one)),
        "the drain is under way as before"
    );
}

/// A rebuild of more rows than are worked on at once leaves places for what is to be cut and cleaned, and
/// for nothing that is less urgent than itself.
#[tokio::test]
async fn a_rebuild_that_takes_long_leaves_room_for_the_end_of_other_moves() {
    let fake = Fake::new(5, 36);
    fake.state().write(120);
    let lost = any_node(&fake, 0);
    let rebuilt = rows_of(&fake.state(), lost);
    assert!(rebuilt.len() > running::ROWS_AT_ONCE, "{rebuilt:?}");
    fake.state().slow.rows.extend(rebuilt.iter().copied());
    let (moved, to) = {
        let mut state = fake.state();
        let (table, view) = (state.table(), state.view());
        let moved = (0..24).find(|row| !rebuilt.contains(row)).unwrap();
        let row = &table.rows[usize::from(moved)];
        let fits = |n: &&marram_meta::NodeRecord| {
            n.node != lost && !row.drives.contains(&n.drives[0].drive)
        };
        let to = view.nodes.values().find(fits).unwrap().drives[0].drive;
        let (pg, slot, from) = (moved, 0, row.drives[0]);
        state.start(SlotMove { pg, slot, from, to });
        (usize::from(moved), to)
    };
    fake.state().down.insert(lost);
    fake.state().set_duty(lost, NodeDuty::Fenced);
    fake.publish();
    let mut rounds = Rounds::new(fake.work());
    until(&fake, &mut rounds, |state| {
        let row = &state.table().rows[moved];
        row.moving.is_none() && row.drives[0] == to
    })
    .await;
    assert!(fake.state().slow.waiting.len() >= running::CARRIES_AT_ONCE);
    fake.state().slow.rows.clear();
    fake.quick.notify_waiters();
    drop(rounds);
    settle(&fake).await;
    check_whole(&mut fake.state(), false);
}

#[tokio::test]
async fn a_pause_stops_what_is_carried_and_it_goes_on_where_it_was() {
    let fake = Fake::versioned(6, 33);
    fake.state().write(300);
    let node = any_node(&fake, 2);
    let slow = rows_of(&fake.state(), node);
    // Each has extents in three groups: the first request of each row is quick.
    fake.state().slow.quick_requests = 1;
    fake.state().slow.rows.extend(slow.iter().copied());
    drain(&fake, node);
    let mut rounds = Rounds::new(fake.work());
    until(&fake, &mut rounds, |state| state.slow.waiting.len() >= 4).await;
    let begun = moves(&fake.state());
    let asked = fake.state().slow.asked.len();
    assert!(asked > 0);

    pause(&fake, true);
    rounds.round().await;
    fake.state().slow.rows.clear();
    fake.quick.notify_waiters();
    for _ in 0..20 {
        rounds.round().await;
    }
    assert_eq!(
        fake.state().slow.asked.len(),
        asked,
        "nothing more is copied"
    );
    assert_eq!(moves(&fake.state()), begun, "and no move goes on");

    pause(&fake, false);
    until(&fake, &mut rounds, |state| slots_of(state, node) == 0).await;
    let mut state = fake.state();
    check_whole(&mut state, false);
    let all = state.slow.asked.len();
    let each: BTreeSet<_> = state.slow.asked.iter().collect();
    assert_eq!(each.len(), all, "what was carried before was not again");
}

#[tokio::test]
async fn a_carry_whose_target_is_given_up_is_cancelled_in_the_middle() {
    let fake = Fake::new(6, 34);
    fake.state().write(90);
    let node = any_node(&fake, 3);
    let slow = rows_of(&fake.state(), node)[0];
    fake.state().slow.rows.insert(slow);
    drain(&fake, node);
    let mut rounds = Rounds::new(fake.work());
    until(&fake, &mut rounds, |state| {
        state.slow.waiting.contains(&slow)
    })
    .await;
    let target = moves(&fake.state())
        .iter()
        .find(|(row, _)| *row == slow)
        .map(|(_, m)| m.to)
        .unwrap();
    let lost = home(&fake.state(), target);
    fake.state().down.insert(lost);
    fake.state().set_duty(lost, NodeDuty::Fenced);
    fake.publish();
    until(&fake, &mut rounds, |state| {
        let row = state.table().rows[usize::from(slow)].clone();
        !row.names(target) || row.moving.is_some_and(|m| m.from == target)
    })
    .await;
}

/// What a drive does not do is tried again at once, and there are more such rows than places.
#[tokio::test]
async fn rows_that_fail_again_and_again_leave_places_to_others() {
    let fake = Fake::new(5, 35);
    fake.state().write(120);
    let node = any_node(&fake, 0);
    let rows = rows_of(&fake.state(), node);
    let failing = &rows[..rows.len() - 2];
    assert!(failing.len() >= running::CARRIES_AT_ONCE, "{failing:?}");
    fake.state().slow.away.extend(failing.iter().copied());
    drain(&fake, node);
    let mut rounds = Rounds::new(fake.work());
    for _ in 0..SOON {
        rounds.round().await;
        // Only now: in every round all places are taken.
        fake.quick.notify_waiters();
    }
    assert_eq!(rows_of(&fake.state(), node), failing);
}
