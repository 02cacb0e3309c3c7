//! Transitions of a row and its stored form.

use proptest::prelude::*;

use super::*;

fn row() -> PgRow {
    PgRow::stable(4, [1, 2, 3].map(DriveId).into())
}

fn places(read: u64, also: Option<u64>) -> Option<Places> {
    Some(Places {
        read: DriveId(read),
        also: also.map(DriveId),
    })
}

#[test]
fn a_move_goes_through_dual_and_cut() {
    let dual = row().begin(1, DriveId(9), 5).expect("stable");
    assert_eq!(dual.drives, row().drives, "readers stay at the old place");
    assert_eq!(dual.must_hold(1), places(2, Some(9)));
    assert_eq!(dual.must_hold(0), places(1, None));
    let cut = dual.cut(6).expect("dual");
    assert_eq!(cut.must_hold(1), places(9, None));
    assert_eq!(cut.read_place(1), Some(DriveId(9)));
    assert!(cut.names(DriveId(2)) && cut.names(DriveId(9)));
    let end = cut.end(7).expect("cut");
    assert_eq!(end, PgRow::stable(7, [1, 9, 3].map(DriveId).into()));
    assert!(!end.names(DriveId(2)));
}

#[test]
fn a_cancelled_move_cleans_its_target() {
    let dual = row().begin(1, DriveId(9), 5).expect("stable");
    let back = dual.cancel(6).expect("dual");
    let moving = back.moving.expect("a move");
    assert_eq!((moving.from, moving.to), (DriveId(9), DriveId(2)));
    assert_eq!(moving.phase, Phase::Cut);
    assert_eq!(back.must_hold(1), places(2, None));
    assert_eq!(back.end(7), Ok(PgRow::stable(7, row().drives)));
}

#[test]
fn refusals() {
    let row = row();
    let no_slot = MoveError::NoSuchSlot { slot: 3, width: 3 };
    assert_eq!(row.begin(3, DriveId(9), 5), Err(no_slot));
    let held = DriveId(1);
    let in_row = MoveError::TargetInRow { drive: held };
    assert_eq!(row.begin(1, held, 5), Err(in_row));
    let old = MoveError::OldEpoch { held: 4, given: 4 };
    assert_eq!(row.begin(1, DriveId(9), 4), Err(old));
    let phase = |wanted, moving| Err(MoveError::WrongPhase { wanted, moving });
    assert_eq!(row.cut(5), phase(Phase::Dual, None));
    assert_eq!(row.cancel(5), phase(Phase::Dual, None));
    assert_eq!(row.end(5), phase(Phase::Cut, None));
    let dual = row.begin(1, DriveId(9), 5).expect("stable");
    let moving = dual.moving.expect("a move");
    assert_eq!(
        dual.begin(0, DriveId(8), 6),
        Err(MoveError::Moving { moving })
    );
    assert_eq!(dual.end(6), phase(Phase::Cut, Some(moving)));
    let cut = dual.cut(6).expect("dual");
    assert_eq!(cut.cancel(7), phase(Phase::Dual, cut.moving));
    assert_eq!(cut.cut(7), phase(Phase::Dual, cut.moving));
    assert_eq!(row.must_hold(3), None);
}

#[test]
fn what_was_written_covers_all_places_or_not() {
    let dual = row().begin(1, DriveId(9), 5).expect("stable");
    let places = dual.must_hold(1).expect("a slot");
    assert!(places.covered_by(&[DriveId(9), DriveId(2)]));
    assert!(!places.covered_by(&[DriveId(2)]));
    assert!(places.contains(DriveId(9)) && !places.contains(DriveId(1)));
}

fn encoded(row: &PgRow) -> Vec<u8> {
    let mut out = Writer::new();
    row.encode(&mut out);
    out.finish()
}

#[test]
fn unsound_rows_are_not_read() {
    let dual = row().begin(1, DriveId(9), 5).expect("stable");
    let mut twice = row();
    twice.drives[0] = DriveId(2);
    let mut phase = dual.clone();
    phase.moving.as_mut().expect("a move").phase = Phase::Cut;
    let mut target = dual.clone();
    target.moving.as_mut().expect("a move").to = DriveId(3);
    let mut slot = dual;
    slot.moving.as_mut().expect("a move").slot = 3;
    let empty = PgRow::stable(1, Vec::new());
    for bad in [twice, phase, target, slot, empty] {
        let read = PgRow::decode(&mut Reader::new(&encoded(&bad)));
        assert_eq!(read, Err(DecodeError::Invalid("placement row")), "{bad:?}");
    }
    let mut newer = encoded(&row());
    newer[0] += 1;
    assert!(PgRow::decode(&mut Reader::new(&newer)).is_err());
}

proptest! {
    /// Whatever steps are tried, the row stays sound, its epoch rises, and it round-trips.
    #[test]
    fn steps_keep_rows_sound(
        width in 1_u64..6,
        steps in prop::collection::vec((0_u8..4, 0_u8..7, 0_u64..12), 0..30),
    ) {
        let mut row = PgRow::stable(0, (0..width).map(DriveId).collect());
        for (step, slot, to) in steps {
            let epoch = row.epoch + 1 + to;
            let next = match step {
                0 => row.begin(slot, DriveId(to), epoch),
                1 => row.cut(epoch),
                2 => row.end(epoch),
                _ => row.cancel(epoch),
            };
            if let Ok(next) = next {
                prop_assert!(next.epoch > row.epoch);
                row = next;
            }
            prop_assert!(row.is_sound());
            let bytes = encoded(&row);
            let mut from = Reader::new(&bytes);
            prop_assert_eq!(PgRow::decode(&mut from), Ok(row.clone()));
            prop_assert_eq!(from.finish(), Ok(()));
            for cut in 0..bytes.len() {
                prop_assert!(PgRow::decode(&mut Reader::new(&bytes[..cut])).is_err());
            }
        }
    }
}
