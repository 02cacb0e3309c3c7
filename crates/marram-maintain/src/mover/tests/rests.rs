//! Work that an operator has paused rests, also what was begun; the other work goes on.

use marram_meta::{DriveCommand, Pausable};

use super::fake::Fake;
use super::*;

fn pause(fake: &Fake, work: Pausable, paused: bool) {
    let command = RootCommand::Drives(DriveCommand::SetPaused { work, paused });
    fake.state().root(&command);
    fake.publish();
}

fn moving(state: &State) -> Vec<marram_placement::PgRow> {
    let rows = state.table().rows.into_iter();
    rows.filter(|row| row.moving.is_some()).collect()
}

/// Slots that are read from the node.
fn read_from(state: &State, node: NodeId) -> usize {
    let view = state.view();
    let drive = view.nodes[&node].drives[0].drive;
    let rows = state.table().rows.into_iter();
    rows.filter(|row| row.drives.contains(&drive)).count()
}

#[tokio::test]
async fn moves_rest_while_what_is_gone_is_rebuilt() {
    let fake = Fake::new(6, 11);
    fake.state().write(60);
    let (drained, fenced) = (any_node(&fake, 0), any_node(&fake, 1));
    for duty in [NodeDuty::Cordoned, NodeDuty::Draining] {
        fake.state().set_duty(drained, duty);
    }
    fake.publish();
    let mut rounds = Rounds::new(fake.work());
    while !moving(&fake.state())
        .iter()
        .any(|row| row.moving.is_some_and(|m| m.phase == Phase::Dual))
    {
        rounds.round().await;
    }
    pause(&fake, Pausable::Moves, true);
    let before = moving(&fake.state());
    for _ in 0..20 {
        rounds.round().await;
    }
    assert_eq!(
        moving(&fake.state()),
        before,
        "what was begun stays as it is"
    );

    let held = read_from(&fake.state(), drained);
    fake.state().down.insert(fenced);
    fake.state().set_duty(fenced, NodeDuty::Fenced);
    fake.publish();
    for _ in 0..ROUNDS_MAX {
        rounds.round().await;
        if slots_of(&fake.state(), fenced) == 0 {
            break;
        }
    }
    assert_eq!(slots_of(&fake.state(), fenced), 0, "rebuilt elsewhere");
    assert_eq!(
        read_from(&fake.state(), drained),
        held,
        "and no other moved"
    );

    pause(&fake, Pausable::Moves, false);
    settle(&fake).await;
    assert_eq!(slots_of(&fake.state(), drained), 0);
    check_whole(&mut fake.state(), false);
}

#[tokio::test]
async fn repairs_rest_and_go_on_when_they_are_let() {
    let fake = Fake::new(6, 12);
    fake.state().write(60);
    let (drained, fenced) = (any_node(&fake, 0), any_node(&fake, 1));
    pause(&fake, Pausable::Repair, true);
    {
        let mut state = fake.state();
        let (group, _, live) = state.live()[0].clone();
        lose(&mut state, group, &live, 1);
        state.down.insert(fenced);
        state.set_duty(fenced, NodeDuty::Fenced);
        for duty in [NodeDuty::Cordoned, NodeDuty::Draining] {
            state.set_duty(drained, duty);
        }
    }
    fake.publish();
    let held = slots_of(&fake.state(), fenced);
    let work = fake.work();
    let mut rounds = Rounds::new(Arc::clone(&work));
    let mut repairs = Repairs::new(work);
    for _ in 0..40 {
        rounds.round().await;
        assert_eq!(repairs.pass().await, 0);
    }
    assert!(fake.state().tickets() > 0, "what lacks a shard waits");
    assert_eq!(slots_of(&fake.state(), fenced), held);
    assert!(
        slots_of(&fake.state(), drained) < held,
        "a drain is no repair"
    );

    pause(&fake, Pausable::Repair, false);
    settle(&fake).await;
    assert_eq!(slots_of(&fake.state(), fenced), 0);
    assert_eq!(fake.state().tickets(), 0);
}
