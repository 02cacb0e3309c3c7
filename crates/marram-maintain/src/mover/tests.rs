//! The mover over the real state machines and drives in memory: whatever fails, what rows claim is
//! there all the time, and in the end everything is where it belongs.

mod busy;
mod fake;
mod full;
mod long;
mod lost;
mod order;
mod rests;

use marram_meta::{NodeDuty, ObjectCommand, RootCommand};
use marram_placement::{Phase, SlotMove};

use self::fake::{Fake, POOL, State};
use super::*;
use crate::moves::Homes;

/// Rounds until the cluster must be at rest.
const ROUNDS_MAX: usize = 3000;

fn is_at_rest(state: &State) -> bool {
    let (view, table) = (state.view(), state.table());
    let plan = view.plan_of(&table, &view.seats()).unwrap();
    let moving = table.rows.iter().any(|row| row.moving.is_some());
    !moving && !plan.empties && !plan.worth && state.tickets() == 0
}

/// Every shard is at every place where it belongs. With `leftovers`, data that strayed may be at
/// other places too: only a scan of the drives finds what a mover that died left there.
fn check_whole(state: &mut State, leftovers: bool) {
    state.fence_all();
    for (_, row, live) in state.live() {
        let extent = &live.extent;
        assert!(
            extent.overrides.is_empty() && extent.missing == 0,
            "{live:?}"
        );
        for (shard, slot) in extent.shards() {
            let id = ShardId {
                data: extent.data,
                slot: shard,
                repair: 0,
            };
            let wanted = row.must_hold(slot).unwrap();
            for place in wanted.iter() {
                assert!(state.disks[&place].contains(&id), "{id} lacks at {place}");
            }
            let homes = Homes::of(&state.view());
            for (drive, held) in &state.disks {
                let lost = homes.node(*drive).is_none_or(|n| state.down.contains(&n));
                let tolerated = leftovers && state.strayed.contains(&extent.data);
                assert!(
                    wanted.contains(*drive) || lost || tolerated || !held.contains(&id),
                    "{id} is left over at {drive}"
                );
            }
        }
    }
}

async fn settle(fake: &Arc<Fake>) {
    let work = fake.work();
    let mut rounds = Rounds::new(Arc::clone(&work));
    let mut repairs = Repairs::new(work);
    for _ in 0..ROUNDS_MAX {
        rounds.round().await;
        repairs.pass().await;
        fake.state().fence_all();
        if is_at_rest(&fake.state()) {
            return;
        }
    }
    panic!("never at rest: {:?}", fake.state().table());
}

/// The same with writers beside it, faults, and movers that die at any call.
async fn settle_roughly(fake: &Arc<Fake>) {
    for life in 0_u64.. {
        {
            let mut state = fake.state();
            let calls = 1 + state.random(150);
            state.dies_in = (life < 25).then_some(calls);
            state.faults = (life < 30).then_some(12);
        }
        let work = fake.work();
        let mut rounds = Rounds::new(Arc::clone(&work));
        let mut repairs = Repairs::new(work);
        let lives = async {
            for _ in 0..ROUNDS_MAX {
                if life < 25 {
                    fake.state().begin_write();
                    fake.state().begin_write();
                }
                rounds.round().await;
                fake.state().commit_write();
                repairs.pass().await;
                fake.state().commit_write();
                if fake.state().random(3) == 0 {
                    fake.state().fence_all();
                }
                if life >= 25 && is_at_rest(&fake.state()) {
                    return;
                }
            }
            panic!("never at rest: {:?}", fake.state().table());
        };
        tokio::select! {
            () = lives => {}
            () = fake.died.notified() => {}
        }
        if life == 26 {
            fake.state().write(0);
        }
        if life > 31 {
            return;
        }
    }
}

fn slots_of(state: &State, node: NodeId) -> usize {
    let view = state.view();
    let drives: Vec<DriveId> = view.nodes[&node].drives.iter().map(|d| d.drive).collect();
    let rows = state.table().rows;
    let names = |row: &&marram_placement::PgRow| drives.iter().any(|d| row.names(*d));
    rows.iter().filter(names).count()
}

fn any_node(fake: &Fake, at: usize) -> NodeId {
    *fake.state().view().nodes.keys().nth(at).unwrap()
}

#[tokio::test]
async fn a_new_node_gets_its_share() {
    let fake = Fake::new(4, 1);
    fake.state().write(120);
    let node = fake.state().add_node(9);
    fake.publish();
    settle(&fake).await;
    let mut state = fake.state();
    check_whole(&mut state, false);
    let slots = slots_of(&state, node);
    assert!((14..=15).contains(&slots), "{slots} of 72 slots");
    assert_eq!(state.cuts, slots, "no more moves than needed");
    assert!(state.cleaned > 0);
}

#[tokio::test]
async fn a_draining_node_is_emptied_and_can_be_removed() {
    let fake = Fake::new(5, 2);
    fake.state().write(120);
    let node = any_node(&fake, 1);
    fake.state().set_duty(node, NodeDuty::Cordoned);
    fake.publish();
    settle(&fake).await;
    assert_eq!(fake.state().cuts, 0, "a cordoned node keeps what it has");
    fake.state().set_duty(node, NodeDuty::Draining);
    fake.publish();
    let progress = fake.work().progress.subscribe();
    settle(&fake).await;
    assert!(!progress.borrow().leading, "another one did it");
    let mut state = fake.state();
    check_whole(&mut state, false);
    assert_eq!(slots_of(&state, node), 0);
    let if_epoch = None;
    state.root(&RootCommand::BuryNode { node, if_epoch });
    let tombstone = state.view().tombstones[&node].epoch;
    let outcome = state.root(&RootCommand::RemoveNode { node, tombstone });
    assert_eq!(outcome, marram_meta::RootOutcome::Done);
}

#[tokio::test]
async fn a_fenced_node_is_rebuilt_elsewhere() {
    let fake = Fake::new(5, 3);
    fake.state().write(120);
    let node = any_node(&fake, 2);
    fake.state().down.insert(node);
    fake.state().set_duty(node, NodeDuty::Fenced);
    fake.publish();
    settle(&fake).await;
    let mut state = fake.state();
    check_whole(&mut state, false);
    assert_eq!(slots_of(&state, node), 0);
}

/// Versions that are not current move to a new node, and are rebuilt when one is lost, as current ones.
#[tokio::test]
async fn versions_that_are_not_current_are_moved_and_rebuilt() {
    let fake = Fake::versioned(5, 5);
    fake.state().write(500);
    let written = fake.state().usage();
    assert!(written.noncurrent > 50, "{written:?}");
    assert_eq!(
        fake.state().live().len() as u64,
        written.versions(),
        "one extent each"
    );
    let node = any_node(&fake, 2);
    fake.state().add_node(9);
    fake.publish();
    settle(&fake).await;
    fake.state().down.insert(node);
    fake.state().set_duty(node, NodeDuty::Fenced);
    fake.publish();
    settle(&fake).await;
    let mut state = fake.state();
    check_whole(&mut state, false);
    assert!(state.cuts > 0);
    assert_eq!(slots_of(&state, node), 0);
    assert_eq!(state.usage(), written);
    assert_eq!(state.live().len() as u64, written.versions());
}

#[tokio::test]
async fn movers_die_and_writers_go_on_while_nodes_come_and_go() {
    for seed in 0..12 {
        // Every other cluster keeps all versions: what is not current is moved and mended like the rest.
        let fake = match seed % 2 {
            0 => Fake::new(5, 100 + seed),
            _ => Fake::versioned(5, 100 + seed),
        };
        fake.state().write(60);
        let node = any_node(&fake, usize::try_from(seed).unwrap() % 5);
        {
            let mut state = fake.state();
            if seed % 3 != 1 {
                state.add_node(9);
            }
            match seed % 3 {
                0 => {}
                1 => {
                    state.set_duty(node, NodeDuty::Cordoned);
                    state.set_duty(node, NodeDuty::Draining);
                }
                _ => {
                    state.down.insert(node);
                    state.set_duty(node, NodeDuty::Fenced);
                }
            }
        }
        fake.publish();
        settle_roughly(&fake).await;
        {
            let mut state = fake.state();
            state.faults = None;
            state.dies_in = None;
            state.write(0);
        }
        settle(&fake).await;
        let mut state = fake.state();
        check_whole(&mut state, true);
        assert!(state.cuts > 0);
        if seed % 3 != 0 {
            assert_eq!(slots_of(&state, node), 0);
        }
    }
}

/// A shard is gone from where readers look, and the group is told so.
fn lose(state: &mut State, group: GroupId, live: &LiveExtent, shard: u8) {
    let (pg, data) = (live.extent.pg, live.extent.data);
    let at = live.places[usize::from(shard)];
    let held = state.disks.get_mut(&at).unwrap();
    held.retain(|id| id.data != data);
    let lost = ObjectCommand::ShardMissing {
        pg,
        data,
        shard,
        at,
    };
    state.object_unchecked(group, &lost);
}

#[tokio::test]
async fn what_is_known_to_be_lost_keeps_no_row() {
    let fake = Fake::new(5, 4);
    fake.state().write(120);
    let node = any_node(&fake, 0);
    let drive = fake.state().view().nodes[&node].drives[0].drive;
    // One extent with a shard on the node loses two shards.
    let (broken, missing) = {
        let mut state = fake.state();
        let live = state.live();
        let on = |(_, _, live): &&(GroupId, _, LiveExtent)| live.places.contains(&drive);
        let (group, _, live) = live.iter().find(on).unwrap().clone();
        for (shard, place) in (0..).zip(&live.places) {
            if shard < 2 || *place == drive {
                lose(&mut state, group, &live, shard);
            }
        }
        state.set_duty(node, NodeDuty::Cordoned);
        state.set_duty(node, NodeDuty::Draining);
        let lost = state.live().into_iter();
        let mut lost = lost.filter(|(_, _, of)| of.extent.data == live.extent.data);
        let (_, _, live) = lost.next().unwrap();
        assert!(live.extent.spare() < 0, "{live:?}");
        (live.extent.data, live.extent.missing)
    };
    fake.publish();
    let work = fake.work();
    let mut rounds = Rounds::new(Arc::clone(&work));
    for _ in 0..60 {
        rounds.round().await;
        fake.state().fence_all();
    }
    let state = fake.state();
    assert!(state.table().rows.iter().all(|row| row.moving.is_none()));
    assert_eq!(slots_of(&state, node), 0);
    assert_eq!(work.progress.borrow().waiting, 0);
    for (_, _, live) in state.live() {
        let lost = live.extent.data == broken;
        assert_eq!(
            live.extent.missing,
            if lost { missing } else { 0 },
            "{live:?}"
        );
    }
}

/// placement-protocol.md, what the models ask for: nothing has verified the place that stays after a cancelled move.
#[tokio::test]
async fn after_a_cancelled_move_the_last_copy_goes_back_before_it_is_cleaned() {
    let fake = Fake::new(4, 5);
    fake.state().write(80);
    let id = {
        let mut state = fake.state();
        let (group, row, live) = state.live()[0].clone();
        let pg = live.extent.pg;
        let drives: Vec<DriveId> = state
            .view()
            .nodes
            .values()
            .map(|n| n.drives[0].drive)
            .collect();
        let to = *drives.iter().find(|d| !row.drives.contains(*d)).unwrap();
        let from = row.drives[0];
        state.start(SlotMove {
            pg: pg.index,
            slot: 0,
            from,
            to,
        });
        state.fence_all();
        let epoch = state.table().row(pg).unwrap().epoch;
        let pgs = vec![(pg.index, epoch)];
        state.root(&RootCommand::CancelMoves { pool: POOL, pgs });
        state.fence_all();
        let data = live.extent.data;
        let id = |slot| ShardId {
            data,
            slot,
            repair: 0,
        };
        state.disks.entry(to).or_default().insert(id(0));
        lose(&mut state, group, &live, 0);
        lose(&mut state, group, &live, 1);
        (id(0), from, to)
    };
    fake.publish();
    let work = fake.work();
    let mut rounds = Rounds::new(Arc::clone(&work));
    for _ in 0..3 {
        rounds.round().await;
    }
    let state = fake.state();
    let (id, from, to) = id;
    assert!(state.disks[&from].contains(&id));
    assert!(!state.disks[&to].contains(&id));
}

#[tokio::test]
async fn a_lost_shard_comes_back_when_all_others_were_seen() {
    let fake = Fake::new(4, 6);
    fake.state().write(30);
    let mut repairs = Repairs::new(fake.work());
    {
        let mut state = fake.state();
        let (group, _, live) = state.live()[0].clone();
        lose(&mut state, group, &live, 1);
        assert_eq!(state.tickets(), 1);
        let other = home(&state, live.places[2]);
        state.down.insert(other);
    }
    assert_eq!(repairs.pass().await, 0, "two of three cannot be read");
    fake.state().down.clear();
    assert_eq!(repairs.pass().await, 1);
    let mut state = fake.state();
    assert_eq!(state.tickets(), 0);
    check_whole(&mut state, false);
}

fn home(state: &State, drive: DriveId) -> NodeId {
    let homes = Homes::of(&state.view());
    homes.node(drive).unwrap()
}

#[tokio::test]
async fn it_runs_as_a_task_and_says_that_it_leads() {
    let fake = Fake::new(4, 7);
    let mover = Mover::new(
        Arc::clone(&fake),
        Arc::clone(&fake),
        fake.work().view.clone(),
    );
    let mut progress = mover.progress();
    let task = tokio::spawn(mover.run());
    progress.wait_for(|p| p.leading).await.unwrap();
    task.abort();
}
