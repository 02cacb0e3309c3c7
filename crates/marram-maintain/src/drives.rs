//! What a node has the root group decide about its own drives: pure.
//!
//! The node is the best witness of its drives, so it needs nobody's word for them. What it finds is
//! decided only after a grace, and then data moves without a human.

use std::collections::BTreeMap;
use std::time::Duration;

use marram_meta::{AWAY_DRAINING_SINCE, DriveCommand, DriveDuty, NodeRecord, NodeState};
use marram_types::DriveId;

/// A drive has to have become larger or smaller by one part in this many to be told of.
const CAPACITY_PARTS: u64 = 100;

/// How a node finds one of its drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is open and takes what it can.
    Open,
    /// It failed and takes nothing any more.
    Retired,
    /// It is not there.
    Absent,
}

/// What a node knows of one of its drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnDrive {
    /// How it is found.
    pub found: Found,
    /// For how long it has been found so.
    pub since: Duration,
    /// Bytes that it can offer; none where that is not known.
    pub offers: Option<u64>,
}

/// How long a node waits before what its drives held is rebuilt elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriveGraces {
    /// A drive that failed: it does not come back.
    pub failed: Duration,
    /// A drive that is not there: its cable or its mount may be mended.
    pub away: Duration,
}

/// What is to be decided about the drives of a node, in a cluster that takes commands up to `version`.
/// What is not in `found` is not there since the process began: `up` is how long that is.
#[must_use]
pub fn drive_commands(
    record: &NodeRecord,
    found: &BTreeMap<DriveId, OwnDrive>,
    up: Duration,
    graces: DriveGraces,
    version: u8,
) -> Vec<DriveCommand> {
    if record.state == NodeState::Tombstoned {
        return Vec::new();
    }
    let absent = OwnDrive {
        found: Found::Absent,
        since: up,
        offers: None,
    };
    let mut commands = Vec::new();
    for held in record.present_drives() {
        let drive = held.drive;
        let own = found.get(&drive).copied().unwrap_or(absent);
        let duty = duty_of(held.duty, own, graces, version);
        commands.extend(duty.map(|duty| DriveCommand::SetDuty { drive, duty }));
        let other = |offers: &u64| held.capacity.abs_diff(*offers) > held.capacity / CAPACITY_PARTS;
        let offers = own.offers.filter(|_| own.found == Found::Open);
        let capacity = offers.filter(other);
        commands.extend(capacity.map(|capacity| DriveCommand::SetCapacity { drive, capacity }));
    }
    commands
}

/// What a drive is to be there for by what its node finds; nothing where that stays.
fn duty_of(duty: DriveDuty, own: OwnDrive, graces: DriveGraces, version: u8) -> Option<DriveDuty> {
    use DriveDuty::{Away, AwayDraining, Draining, Failed, Removed, Serving};
    match (duty, own.found) {
        (Failed | Removed, _) => None,
        (_, Found::Retired) => (own.since >= graces.failed).then_some(Failed),
        (Serving | Draining, Found::Absent) => {
            // An older release knows no drive that is away and drained: there the wish is lost, and
            // the operator has to say it again.
            let drained = duty == Draining && version >= AWAY_DRAINING_SINCE;
            let away = if drained { AwayDraining } else { Away };
            (own.since >= graces.away).then_some(away)
        }
        (Away, Found::Open) => Some(Serving),
        (AwayDraining, Found::Open) => Some(Draining),
        (Serving | Draining, Found::Open) | (Away | AwayDraining, Found::Absent) => None,
    }
}

/// Drives that were removed for ever and are still open: to be closed.
#[must_use]
pub fn drives_to_close(record: &NodeRecord, open: &[DriveId]) -> Vec<DriveId> {
    let removed = |drive: &&DriveId| {
        let held = record.drive(**drive);
        held.is_some_and(|held| held.duty == DriveDuty::Removed)
    };
    open.iter().filter(removed).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use marram_meta::{DriveRecord, NodeDuty};
    use marram_types::NodeId;

    const DRIVE: DriveId = DriveId(258);
    const NOW: u8 = AWAY_DRAINING_SINCE;
    const GRACES: DriveGraces = DriveGraces {
        failed: Duration::from_secs(30),
        away: Duration::from_secs(600),
    };

    fn record(duty: DriveDuty) -> NodeRecord {
        NodeRecord {
            node: NodeId(1),
            name: "node-1".into(),
            mesh_addr: String::new(),
            api_addr: String::new(),
            public_key: [0; 32],
            zone: String::new(),
            drives: vec![DriveRecord {
                duty,
                ..DriveRecord::new(DRIVE, 2, 1_000_000)
            }],
            replica: None,
            replicas_past: Vec::new(),
            state: NodeState::Active,
            duty: NodeDuty::Serving,
            absence: marram_meta::Absence::default(),
        }
    }

    fn set(duty: DriveDuty) -> Vec<DriveCommand> {
        vec![DriveCommand::SetDuty { drive: DRIVE, duty }]
    }

    fn own(found: Found, seconds: u64) -> BTreeMap<DriveId, OwnDrive> {
        let own = OwnDrive {
            found,
            since: Duration::from_secs(seconds),
            offers: Some(1_000_000),
        };
        [(DRIVE, own)].into()
    }

    #[test]
    fn what_is_found_is_decided_after_its_grace_and_once() {
        use DriveDuty::{Away, AwayDraining, Draining, Failed, Removed, Serving};
        let up = Duration::from_hours(1);
        let decided =
            |duty, found: &BTreeMap<_, _>| drive_commands(&record(duty), found, up, GRACES, NOW);
        for duty in [Serving, Draining, Away, AwayDraining] {
            assert_eq!(decided(duty, &own(Found::Retired, 29)), [], "{duty:?}");
            assert_eq!(decided(duty, &own(Found::Retired, 30)), set(Failed));
        }
        for (duty, away) in [(Serving, Away), (Draining, AwayDraining)] {
            assert_eq!(decided(duty, &own(Found::Absent, 599)), [], "{duty:?}");
            assert_eq!(decided(duty, &own(Found::Absent, 600)), set(away));
            assert_eq!(decided(duty, &BTreeMap::new()), set(away), "never found");
            assert_eq!(decided(duty, &own(Found::Open, 9_999)), []);
        }
        for (away, back) in [(Away, Serving), (AwayDraining, Draining)] {
            assert_eq!(decided(away, &own(Found::Open, 0)), set(back), "it is back");
            assert_eq!(decided(away, &own(Found::Absent, 9_999)), []);
        }
        for duty in [Failed, Removed] {
            for found in [Found::Open, Found::Retired, Found::Absent] {
                assert_eq!(decided(duty, &own(found, 9_999)), [], "{duty:?}");
            }
        }
        let none = BTreeMap::new();
        let young = drive_commands(&record(Serving), &none, GRACES.failed, GRACES, NOW);
        assert_eq!(young, [], "the node has only just started");
        let mut gone = record(Serving);
        gone.state = NodeState::Tombstoned;
        assert_eq!(drive_commands(&gone, &none, up, GRACES, NOW), []);
    }

    /// Members of an older release could not read the newer duty (rules.md 9).
    #[test]
    fn a_cluster_that_is_not_all_upgraded_is_told_only_what_all_know() {
        let before = AWAY_DRAINING_SINCE - 1;
        let found = own(Found::Absent, 600);
        let drained = record(DriveDuty::Draining);
        let decided = drive_commands(&drained, &found, Duration::ZERO, GRACES, before);
        assert_eq!(decided, set(DriveDuty::Away));
    }

    #[test]
    fn a_drive_of_another_size_is_told_of() {
        let decided = |offers| {
            let mut found = own(Found::Open, 1);
            found.get_mut(&DRIVE).expect("there").offers = offers;
            let record = record(DriveDuty::Serving);
            drive_commands(&record, &found, Duration::ZERO, GRACES, NOW)
        };
        for same in [None, Some(1_000_000), Some(1_009_999), Some(990_001)] {
            assert_eq!(decided(same), [], "{same:?}");
        }
        for capacity in [2_000_000, 500_000] {
            let command = DriveCommand::SetCapacity {
                drive: DRIVE,
                capacity,
            };
            assert_eq!(decided(Some(capacity)), [command]);
        }
    }

    #[test]
    fn only_removed_drives_are_closed() {
        assert_eq!(drives_to_close(&record(DriveDuty::Failed), &[DRIVE]), []);
        let removed = record(DriveDuty::Removed);
        assert_eq!(drives_to_close(&removed, &[DRIVE, DriveId(9)]), [DRIVE]);
        assert_eq!(drives_to_close(&removed, &[]), []);
    }
}
