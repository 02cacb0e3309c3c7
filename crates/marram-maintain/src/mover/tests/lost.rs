//! What can be read from no drive keeps nothing else from moving, and nothing of it is thrown away.

use marram_meta::{DriveCommand, Pausable};

use super::fake::Fake;
use super::*;

/// Rounds within which all is done that can be.
const SOON: usize = 200;

/// Lets the mover work until it is so.
async fn until(
    fake: &Arc<Fake>,
    what: &str,
    is_so: impl Fn(&State) -> bool,
) -> Arc<Work<Fake, Fake>> {
    let work = fake.work();
    let mut rounds = Rounds::new(Arc::clone(&work));
    let mut repairs = Repairs::new(Arc::clone(&work));
    for _ in 0..SOON {
        rounds.round().await;
        repairs.pass().await;
        if is_so(&fake.state()) {
            return work;
        }
    }
    panic!(
        "{what}: not within {SOON} rounds: {:?}",
        fake.state().table()
    );
}

fn nothing_moves(state: &State) -> bool {
    state.table().rows.iter().all(|row| row.moving.is_none())
}

fn shard(extent: &Extent, shard: u8) -> ShardId {
    ShardId {
        data: extent.data,
        slot: shard,
        repair: 0,
    }
}

/// The extents of which shards are marked missing, each with how many.
fn lacking(state: &State) -> BTreeMap<DataId, u32> {
    let live = state.live().into_iter();
    let lacking = live.filter(|(_, _, live)| live.extent.missing != 0);
    lacking
        .map(|(_, _, live)| (live.extent.data, live.extent.missing.count_ones()))
        .collect()
}

/// Extents of rows that have slots of both nodes.
fn of_both(state: &State, nodes: [NodeId; 2]) -> BTreeSet<DataId> {
    let view = state.view();
    let drives = nodes.map(|node| view.nodes[&node].drives[0].drive);
    let live = state.live().into_iter();
    let both = live.filter(|(_, row, _)| drives.iter().all(|d| row.drives.contains(d)));
    both.map(|(_, _, live)| live.extent.data).collect()
}

fn give_up(fake: &Fake, nodes: &[NodeId]) {
    for node in nodes {
        fake.state().down.insert(*node);
        let rebuild = true;
        let command = RootCommand::GiveUp {
            node: *node,
            rebuild,
        };
        assert_eq!(fake.state().root(&command), marram_meta::RootOutcome::Done);
    }
    fake.publish();
}

fn take_back(fake: &Fake, nodes: &[NodeId]) {
    for node in nodes {
        fake.state().down.remove(node);
        let command = RootCommand::TakeBack { node: *node };
        assert_eq!(fake.state().root(&command), marram_meta::RootOutcome::Done);
    }
    fake.publish();
}

/// A node is drained of a shard that is damaged there, and the others do not make it up.
#[tokio::test]
async fn a_drain_goes_on_without_what_is_damaged_everywhere() {
    let fake = Fake::versioned(6, 41);
    fake.state().write(90);
    let node = any_node(&fake, 1);
    let (key, extent, drive) = {
        let mut state = fake.state();
        let drive = state.view().nodes[&node].drives[0].drive;
        let live = state.live().into_iter();
        let mut here = live.filter(|(_, row, _)| row.drives[0] == drive);
        let (_, row, live) = here.next().expect("the node has a first slot");
        for slot in [0, 1] {
            let at = row.drives[usize::from(slot)];
            state.damaged.insert((at, shard(&live.extent, slot)));
        }
        (live.key, live.extent, drive)
    };
    for duty in [NodeDuty::Cordoned, NodeDuty::Draining] {
        fake.state().set_duty(node, duty);
    }
    fake.publish();
    let work = until(&fake, "the node is drained", |state| {
        slots_of(state, node) == 0 && nothing_moves(state)
    })
    .await;
    {
        let state = fake.state();
        assert_eq!(lacking(&state).keys().collect::<Vec<_>>(), [&extent.data]);
        let left: Vec<_> = state.disks[&drive].iter().copied().collect();
        assert_eq!(left, [shard(&extent, 0)], "it keeps nothing else, and that");
    }

    // Whoever reads finds the other one damaged, and says so: then it is known to be lost, by name.
    let (group, pg) = (extent.data.group, extent.pg);
    let at = fake.state().table().rows[usize::from(pg.index)].drives[1];
    let (data, shard) = (extent.data, 1);
    let found = ObjectCommand::ShardMissing {
        pg,
        data,
        shard,
        at,
    };
    fake.state().object(group, &found);
    let mut repairs = Repairs::new(Arc::clone(&work));
    repairs.pass().await;
    let told = work.progress.borrow().unreadable.clone();
    assert_eq!(told.extents, 1);
    let named: Vec<&String> = told.objects.iter().map(|(_, key)| key).collect();
    assert_eq!(named, [&key]);

    // Also by a leader that was elected while repairs were paused.
    let paused = DriveCommand::SetPaused {
        work: Pausable::Repair,
        paused: true,
    };
    fake.state().root(&RootCommand::Drives(paused));
    fake.publish();
    let work = fake.work();
    Repairs::new(Arc::clone(&work)).pass().await;
    assert_eq!(work.progress.borrow().unreadable, told);
}

/// Two nodes are given up that had two of three shards of some extents: their rows are brought to the others,
/// and when the nodes return nothing is lost.
#[tokio::test]
async fn rows_of_two_lost_nodes_go_on_and_what_returns_is_taken_back() {
    let fake = Fake::new(7, 42);
    fake.state().write(120);
    let nodes = [any_node(&fake, 2), any_node(&fake, 4)];
    let unreadable = of_both(&fake.state(), nodes);
    assert!(unreadable.len() > 2, "{unreadable:?}");
    give_up(&fake, &nodes);
    until(&fake, "no row has a slot of theirs", |state| {
        nodes.iter().all(|node| slots_of(state, *node) == 0) && nothing_moves(state)
    })
    .await;
    let lost = lacking(&fake.state());
    assert_eq!(lost.keys().copied().collect::<BTreeSet<_>>(), unreadable);
    assert!(lost.values().all(|shards| *shards == 2), "{lost:?}");

    take_back(&fake, &nodes);
    {
        // What the scan of each does with what it finds.
        let mut state = fake.state();
        for (_, row, live) in state.live() {
            for (of, slot) in live.extent.shards() {
                let id = shard(&live.extent, of);
                let place = row.read_place(slot).unwrap();
                let held = state.disks.values().any(|held| held.contains(&id));
                if live.extent.is_missing(of) && held {
                    state.disks.entry(place).or_default().insert(id);
                }
            }
        }
    }
    until(&fake, "every shard is back", |state| {
        lacking(state).is_empty()
    })
    .await;
    fake.state().fence_all();
    let claims = fake.state().live();
    assert!(claims.iter().all(|(_, _, live)| live.extent.missing == 0));
}

/// A node that is only away may be back in a moment: nothing is marked for it.
#[tokio::test]
async fn nothing_is_taken_for_lost_while_a_node_that_may_have_it_is_away() {
    let fake = Fake::new(7, 43);
    fake.state().write(120);
    let nodes = [any_node(&fake, 2), any_node(&fake, 4)];
    let waits = of_both(&fake.state(), nodes);
    assert!(waits.len() > 2, "{waits:?}");
    fake.state().down.insert(nodes[1]);
    give_up(&fake, &nodes[..1]);
    let moves = |state: &State| {
        let live = state.live().into_iter();
        let mut both = live.filter(|(_, _, live)| waits.contains(&live.extent.data));
        both.all(|(_, row, _)| row.moving.is_some_and(|m| m.phase == Phase::Dual))
    };
    until(&fake, "their rows move", moves).await;
    let work = fake.work();
    let (mut rounds, mut repairs) = (Rounds::new(Arc::clone(&work)), Repairs::new(work));
    for _ in 0..SOON {
        rounds.round().await;
        repairs.pass().await;
    }
    drop(rounds);
    assert!(moves(&fake.state()), "and are not cut");
    assert_eq!(lacking(&fake.state()), BTreeMap::new());
    fake.state().down.remove(&nodes[1]);
    fake.publish();
    until(&fake, "all of it is rebuilt", |state| {
        slots_of(state, nodes[0]) == 0 && nothing_moves(state)
    })
    .await;
    assert_eq!(lacking(&fake.state()), BTreeMap::new());
    check_whole(&mut fake.state(), false);
}
