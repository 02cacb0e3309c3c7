//! Moves, cancelled moves, cleanup, late commits, read floor: safe as they are, and unsafe
//! without any one of the safeguards.
#![expect(clippy::panic, reason = "a panic is how a test fails")]

use marram_models::placement::{Bounds, Placement, Safeguard};
use marram_models::{caught, full, safe};

const LATE: &str = "a late commit was kept by an override";
const HALF: &str = "a commit in Dual that reached the new place only";
const MOVED: &str = "moved there and clean";
const CANCELLED: &str = "cancelled and clean";
const BACK: &str = "moved there, back and clean";
const FENCED: &str = "a slow writer was fenced off";
const REPAIRED: &str = "a lost slot was found and repaired";
const REFUSED: &str = "an old read was refused";

/// One writer, nothing is lost, tickets are worked off.
const ONE: Bounds = Bounds {
    writers: 1,
    epochs: 7,
    loss: false,
    reader: false,
    repair: true,
};
/// The same with two writers of one key.
const TWO: Bounds = Bounds { writers: 2, ..ONE };

fn protocol(bounds: Bounds) -> Placement {
    Placement {
        bounds,
        without: None,
        repair_only_clears: false,
    }
}

#[track_caller]
fn is_safe(name: &str, model: Placement, goals: &[&str]) {
    if let Err(told) = safe(name, &model, goals) {
        panic!("{told}");
    }
}

#[test]
fn two_writers_and_moves() {
    let epochs = if full() { 8 } else { 6 };
    let bounds = Bounds { epochs, ..TWO };
    let goals = [LATE, HALF, MOVED, CANCELLED, FENCED];
    is_safe("two writers, moves", protocol(bounds), &goals);
}

#[test]
fn two_writers_a_move_and_a_loss() {
    let epochs = if full() { 6 } else { 4 };
    let bounds = Bounds {
        epochs,
        loss: true,
        ..TWO
    };
    let goals = [LATE, HALF, MOVED, CANCELLED, FENCED, REPAIRED];
    is_safe("two writers, a loss", protocol(bounds), &goals);
}

#[test]
fn two_writers_and_a_reader() {
    let bounds = Bounds {
        reader: true,
        repair: full(),
        ..TWO
    };
    let goals = [LATE, HALF, MOVED, CANCELLED, BACK, FENCED, REFUSED];
    is_safe("two writers, a reader", protocol(bounds), &goals);
}

#[test]
fn one_writer_and_many_moves() {
    let epochs = if full() { 19 } else { 10 };
    let bounds = Bounds {
        epochs,
        loss: true,
        reader: true,
        ..ONE
    };
    let goals = [LATE, HALF, MOVED, CANCELLED, BACK, FENCED, REPAIRED];
    is_safe("one writer, many moves", protocol(bounds), &goals);
}

/// A repair's entry need not name the epoch if it never sets an override.
#[test]
fn repairs_that_only_clear_overrides() {
    let many = Bounds {
        epochs: 10,
        loss: true,
        ..ONE
    };
    let writers = Bounds { epochs: 5, ..TWO };
    for bounds in [many, writers] {
        let model = Placement {
            repair_only_clears: true,
            ..protocol(bounds)
        };
        is_safe("repairs only clear", model, &[LATE, MOVED, CANCELLED]);
    }
}

/// Each safeguard, the bounds in which its absence shows, and the property that is broken.
macro_rules! needed {
    ($($test:ident: $safeguard:ident, $bounds:expr, $property:literal;)*) => {$(
        #[test]
        fn $test() {
            let model = Placement {
                without: Some(Safeguard::$safeguard),
                ..protocol($bounds)
            };
            if let Err(told) = caught(stringify!($safeguard), &model, $property) {
                panic!("{told}");
            }
        }
    )*};
}

needed! {
    the_fence_comes_before_the_scan: FenceBeforeScan, ONE, "claims";
    the_copy_comes_before_the_cut: CopyBeforeCut, ONE, "claims";
    a_cut_names_its_epoch: CutNamesEpoch, ONE, "claims";
    a_copy_rebuilds: RebuildInCopy, Bounds { loss: true, ..ONE }, "claims";
    a_late_commit_needs_an_override: Override, ONE, "claims";
    a_half_commit_in_dual_needs_an_override: OverrideInDual, ONE, "claims";
    commits_below_the_floor_are_refused: CommitFloor, ONE, "claims";
    garbage_waits_for_the_floor: GarbageFloor, ONE, "claims";
    displaced_data_waits_for_the_read_floor: ReadFloor, Bounds { reader: true, ..TWO }, "reader";
    old_reads_are_refused: RefuseOldReads, Bounds { reader: true, ..TWO }, "reader";
    a_new_epoch_voids_permissions: PermissionEpoch, ONE, "claims";
    cleanup_spares_overrides: CleanupSparesOverrides, ONE, "claims";
    cleanup_verifies_the_other_place: CleanupVerifies, Bounds { loss: true, ..ONE }, "cleanup";
    a_repair_names_its_epoch: RepairNamesEpoch, ONE, "claims";
    a_repair_names_its_data: RepairNamesData, TWO, "claims";
}
