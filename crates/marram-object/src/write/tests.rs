//! Sessions driven by hand, then by random drives that fail.

use marram_types::caps::EXTENT_BYTES_MAX;
use marram_types::{DataId, GroupId, PgId};

use super::*;
use crate::NoPlace;

mod simulation;

fn profile(text: &str) -> Profile {
    text.parse().expect("valid")
}

/// A row of drives 1 to `width`.
fn plan(random: u64, width: u64) -> ExtentPlan {
    let group = GroupId(1);
    ExtentPlan {
        data: DataId {
            group,
            begin: 1,
            random,
        },
        pg: PgId::default(),
        row: (1..=width).map(DriveId).collect(),
        also: Vec::new(),
        living: vec![true; usize::try_from(width).expect("small")],
    }
}

/// The next command, which must be a window to write.
fn write(session: &mut WriteSession) -> WindowWrite {
    match session.next_command() {
        Some(Command::Write(write)) => write,
        other => panic!("expected a window, got {other:?}"),
    }
}

fn start(profile_text: &str, width: u64) -> WriteSession {
    let mut session = WriteSession::new(profile(profile_text));
    assert_eq!(session.next_command(), Some(Command::PlanExtent));
    session.extent_planned(plan(1, width)).expect("fits");
    session
}

fn end(session: &mut WriteSession, write: &WindowWrite, outcome: RunOutcome) {
    for target in &write.targets {
        session.run_ended(write.run(target.shard), outcome);
    }
}

#[test]
fn a_window_is_durable_with_its_last_shard_only() {
    let mut session = start("4+2", 6);
    let id = session.push_window(1000).expect("wanted");
    let window = write(&mut session);
    assert_eq!(
        (window.window, window.shard_offset, window.targets.len()),
        (id, 0, 6)
    );
    session.finish();
    for shard in 0..5 {
        session.run_ended(window.run(shard), RunOutcome::Durable);
        session.run_ended(window.run(shard), RunOutcome::Durable);
        assert_eq!(session.next_command(), None, "after {shard}");
    }
    session.run_ended(window.run(5), RunOutcome::Durable);
    assert_eq!(session.next_command(), Some(Command::Durable(id)));
    let Some(Command::Complete(done)) = session.next_command() else {
        panic!("not complete");
    };
    assert!(!done.narrowed && !done.under_protected);
    assert_eq!(done.extents.len(), 1);
    assert_eq!(done.extents[0].extent.length, 1000);
    assert_eq!(done.extents[0].extent.slots, [0, 1, 2, 3, 4, 5]);
    assert_eq!(
        (session.next_command(), session.abandoned()),
        (None, vec![])
    );
}

#[test]
fn at_most_two_windows_are_on_their_way() {
    let mut session = start("4+2", 6);
    let full = session.window_bytes();
    assert_eq!(full, 8 << 20);
    session.push_window(full).expect("wanted");
    session.push_window(full).expect("wanted");
    assert!(!session.wants_window());
    assert_eq!(session.push_window(1), Err(PushError::NotWanted));
    let (first, second) = (write(&mut session), write(&mut session));
    assert_eq!(second.shard_offset, 2 << 20);
    assert_eq!(first.extent, second.extent);
    end(&mut session, &second, RunOutcome::Durable);
    assert_eq!(
        session.next_command(),
        None,
        "windows become durable in order"
    );
    end(&mut session, &first, RunOutcome::Durable);
    assert_eq!(session.next_command(), Some(Command::Durable(first.window)));
    assert_eq!(
        session.next_command(),
        Some(Command::Durable(second.window))
    );
    let length = PushError::Length { len: 0, max: full };
    assert_eq!(session.push_window(0), Err(length));
}

/// Window 0 is durable in the first extent, window 1 fails on one drive and is written again,
/// narrower, in a second one.
#[test]
fn a_failed_run_ends_the_extent_before_its_window() {
    let mut session = start("4+2", 6);
    let full = session.window_bytes();
    for _ in 0..2 {
        session.push_window(full).expect("wanted");
    }
    let (first, second) = (write(&mut session), write(&mut session));
    session.run_ended(second.run(3), RunOutcome::Failed);
    let forget = Command::Forget {
        extent: second.extent,
        from: second.window,
    };
    assert_eq!(session.next_command(), Some(forget));
    assert_eq!(session.next_command(), Some(Command::PlanExtent));
    assert!(session.avoided().contains(&DriveId(4)));
    session.extent_planned(plan(2, 6)).expect("five live");
    let again = write(&mut session);
    assert_eq!((again.window, again.shard_offset), (second.window, 0));
    assert_eq!(again.geometry.profile(), profile("3+2"));
    assert_eq!(session.window_bytes(), 6 << 20);
    end(&mut session, &again, RunOutcome::Durable);
    assert_eq!(
        session.next_command(),
        None,
        "the first window is not durable yet"
    );
    end(&mut session, &first, RunOutcome::Durable);
    session.finish();
    let last = std::iter::from_fn(|| session.next_command()).last();
    let Some(Command::Complete(done)) = last else {
        panic!("not complete");
    };
    assert!(done.narrowed && !done.under_protected);
    let shape: Vec<_> = done
        .extents
        .iter()
        .map(|e| (e.extent.profile, e.extent.data.random))
        .collect();
    assert_eq!(shape, [(profile("4+2"), 1), (profile("3+2"), 2)]);
    assert!(done.extents.iter().all(|e| e.extent.length == full as u64));
    assert_eq!(done.extents[1].extent.slots, [0, 1, 2, 4, 5]);
}

#[test]
fn a_second_place_counts_only_when_every_run_reached_it() {
    let wrote = |failed: bool| {
        let mut session = WriteSession::new(profile("1+1"));
        session.next_command();
        let mut plan = plan(1, 2);
        plan.also = vec![None, Some(DriveId(9))];
        session.extent_planned(plan).expect("both live");
        let id = session.push_window(1000).expect("wanted");
        session.finish();
        let Some(Command::Write(window)) = session.next_command() else {
            panic!("not a window");
        };
        assert_eq!(window.targets[1].also, Some(DriveId(9)));
        if failed {
            session.second_place_failed(window.run(1));
        }
        session.run_ended(window.run(0), RunOutcome::Durable);
        session.run_ended(window.run(1), RunOutcome::Durable);
        assert_eq!(session.next_command(), Some(Command::Durable(id)));
        let Some(Command::Complete(done)) = session.next_command() else {
            panic!("not complete");
        };
        done.extents[0].wrote.clone()
    };
    let first = [(0, DriveId(1)), (1, DriveId(2))];
    assert_eq!(wrote(true), first);
    assert_eq!(wrote(false)[..2], first);
    assert_eq!(wrote(false)[2..], [(1, DriveId(9))]);
}

#[test]
fn an_extent_ends_at_its_largest_size_and_forgives() {
    let mut session = start("1+1", 2);
    let full = session.window_bytes() as u64;
    session.run_ended(
        RunId {
            extent: ExtentId(0),
            window: WindowId(99),
            shard: 0,
        },
        RunOutcome::Failed,
    );
    assert_eq!(session.avoided().len(), 1);
    for _ in 0..EXTENT_BYTES_MAX / full {
        session.push_window(session.window_bytes()).expect("wanted");
        let window = write(&mut session);
        assert_eq!(window.extent, ExtentId(0));
        end(&mut session, &window, RunOutcome::Durable);
        assert_eq!(
            session.next_command(),
            Some(Command::Durable(window.window))
        );
    }
    session.push_window(5).expect("wanted");
    assert_eq!(session.next_command(), Some(Command::PlanExtent));
    assert!(session.avoided().is_empty());
    session.extent_planned(plan(2, 2)).expect("fits");
    assert_eq!(write(&mut session).extent, ExtentId(1));
}

#[test]
fn no_place_waits_for_a_better_row() {
    let mut session = WriteSession::new(profile("4+2"));
    let mut poor = plan(1, 6);
    poor.living = vec![true, false, false, false, false, false];
    let refused: Result<(), NoPlace> = session.extent_planned(poor.clone());
    assert_eq!(refused.map_err(|e| (e.living, e.need)), Err((1, 2)));
    poor.living[1] = true;
    session.extent_planned(poor).expect("two live");
    session.push_window(10).expect("wanted");
    assert_eq!(session.next_command(), Some(Command::PlanExtent));
    let window = write(&mut session);
    assert_eq!(window.geometry.profile(), profile("1+1"));
    session.finish();
    end(&mut session, &window, RunOutcome::Durable);
    let last = std::iter::from_fn(|| session.next_command()).last();
    assert!(matches!(last, Some(Command::Complete(c)) if c.narrowed && c.under_protected));
}

#[test]
fn endless_failures_end_the_write() {
    let mut session = start("1+1", 2);
    session.push_window(10).expect("wanted");
    for attempt in 2..100 {
        let command = std::iter::from_fn(|| session.next_command())
            .find(|c| !matches!(c, Command::Forget { .. }));
        match command {
            Some(Command::Write(window)) => session.run_ended(window.run(0), RunOutcome::Failed),
            Some(Command::PlanExtent) => {
                let mut fresh = plan(attempt, 2);
                fresh.row = vec![DriveId(attempt * 10), DriveId(attempt * 10 + 1)];
                session.extent_planned(fresh).expect("fits");
            }
            Some(Command::Fail(WriteFailure::Failures { count })) => {
                assert_eq!(count, FAILURES_MAX + 1);
                assert_eq!(session.abandoned().len(), 17);
                return;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    panic!("the write never gave up");
}

#[test]
fn an_aborted_write_names_what_it_left() {
    let mut session = start("1+2", 3);
    session.push_window(10).expect("wanted");
    session.abort();
    assert_eq!(
        (session.next_command(), session.wants_window()),
        (None, false)
    );
    let left = session.abandoned();
    assert_eq!(left[0].drives, [DriveId(1), DriveId(2), DriveId(3)]);
}
