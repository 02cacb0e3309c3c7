//! Slots that the layout has no drive for any more: nodes are gone for good, or drained although too
//! few are left. Such a slot moves to no drive, and what uses it is encoded anew without it, narrower
//! (rules.md 19). Pure, so that every situation is a test.
//!
//! ```text
//! Dual   every group is fenced: no new data uses the slot; what does is encoded anew
//! Cut    nothing in any group uses the slot
//! ```
//! When there are drives enough again, the planner moves the slot from no drive to one of them, and
//! the data is widened.

use std::time::Duration;

use marram_meta::{BucketState, ClusterView};
use marram_placement::{Move, PgRow, PoolTable, SlotMove, Standing};
use marram_types::{DriveId, Profile};

use crate::moves::Homes;

/// Drives that keep slots.
fn staying(homes: &Homes) -> usize {
    let all = homes.all().values();
    all.filter(|(_, standing)| *standing >= Standing::Kept)
        .count()
}

/// Whether what is on a drive may become narrower: nothing comes from it any more, or its node is
/// drained and an operator accepted it.
fn may_go(drive: DriveId, view: &ClusterView, homes: &Homes) -> bool {
    match homes.standing(drive) {
        _ if drive.is_vacant() => false,
        Standing::Gone => true,
        Standing::Leaving => homes
            .node(drive)
            .is_some_and(|n| view.narrower.contains(&n)),
        Standing::Kept | Standing::Serving => false,
    }
}

/// The most losses that a bucket promises which uses the pool; 1 where none does.
fn promised(view: &ClusterView, table: &PoolTable) -> usize {
    let buckets = view.buckets.values();
    let of_buckets = buckets
        .filter(|bucket| bucket.state != BucketState::Deleted)
        .map(|bucket| bucket.profile);
    let width = usize::from(table.width);
    let uses = |profile: &Profile| profile.width() == width || profile.as_copies().width() == width;
    of_buckets.filter(uses).map(Profile::m).max().unwrap_or(1)
}

/// The slots of a pool to take out of use now. `busy` says that a placement group has moves to make
/// first: what finds another drive goes there. `since` is how long the nodes have stayed as they are;
/// what was lost may be replaced within `grace`, so it is waited for as long as another loss would
/// do no harm.
pub(crate) fn plan(
    table: &PoolTable,
    view: &ClusterView,
    homes: &Homes,
    busy: impl Fn(u16) -> bool,
    (since, grace): (Duration, Duration),
) -> Vec<SlotMove> {
    let lacking = usize::from(table.width).saturating_sub(staying(homes));
    if lacking == 0 {
        return Vec::new();
    }
    let m = promised(view, table);
    let mut found = Vec::new();
    for (pg, row) in (0_u16..).zip(&table.rows) {
        let vacant = row.drives.iter().filter(|drive| drive.is_vacant()).count();
        if row.moving.is_some() || vacant >= lacking || busy(pg) {
            continue;
        }
        let gone =
            |drive: &&DriveId| !drive.is_vacant() && homes.standing(**drive) == Standing::Gone;
        let lost = row.drives.iter().filter(gone).count();
        let is_due = since >= grace || lost >= m;
        let due = |drive: DriveId| {
            may_go(drive, view, homes) && (is_due || homes.standing(drive) == Standing::Leaving)
        };
        let slots = (0..).zip(&row.drives).filter(|(_, drive)| due(**drive));
        // What nothing comes from any more goes first.
        if let Some((slot, from)) = slots.min_by_key(|(_, drive)| homes.standing(**drive)) {
            let planned = SlotMove {
                pg,
                slot,
                from: *from,
                to: DriveId::vacant(slot),
            };
            found.push((lost, planned));
        }
    }
    found.sort_by_key(|(lost, planned)| (std::cmp::Reverse(*lost), planned.pg));
    found.into_iter().map(|(_, planned)| planned).collect()
}

/// Whether a slot on its way to no drive is to stay where it is after all: its node serves again, or
/// there are drives enough.
pub(crate) fn is_void(moving: Move, row: &PgRow, view: &ClusterView, homes: &Homes) -> bool {
    !may_go(moving.from, view, homes) || staying(homes) >= row.drives.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use marram_meta::{BucketRecord, DriveRecord, NodeDuty, NodeRecord, NodeState};
    use marram_placement::{Phase, Spread};
    use marram_types::{BucketId, BucketName, NodeId};

    use super::*;

    const GRACE: Duration = Duration::from_secs(600);

    /// Six nodes of a drive each, one row over all of them, and a bucket of 4+2.
    fn view(duties: &[(u64, NodeDuty)]) -> Arc<ClusterView> {
        let mut view = ClusterView::default();
        for number in 1..=6 {
            let duty = duties.iter().find(|(node, _)| *node == number);
            let record = NodeRecord {
                node: NodeId(number),
                name: String::new(),
                mesh_addr: String::new(),
                api_addr: String::new(),
                public_key: [0; 32],
                zone: String::new(),
                drives: vec![DriveRecord::new(DriveId(number * 10), 0, 1)],
                replica: None,
                replicas_past: Vec::new(),
                state: NodeState::Active,
                duty: duty.map_or(NodeDuty::Serving, |(_, duty)| *duty),
                absence: marram_meta::Absence::default(),
            };
            view.nodes.insert(record.node, record);
        }
        let table = PoolTable {
            width: 6,
            epoch: 1,
            rows: vec![PgRow::stable(1, (1..=6).map(|n| DriveId(n * 10)).collect())],
            domains: Spread::default(),
        };
        view.pools.insert(table.pool(), table);
        let name = BucketName::new("photos").expect("a name");
        view.buckets.insert(
            name.clone(),
            BucketRecord {
                bucket: BucketId(7),
                name,
                epoch: 1,
                state: BucketState::Active,
                profile: "4+2".parse().expect("a profile"),
                created_ms: 0,
                versioning: marram_meta::Versioning::Off,
                quota: None,
                lifecycle: None,
            },
        );
        Arc::new(view)
    }

    fn planned(view: &ClusterView, since: Duration) -> Vec<(u8, u64)> {
        let table = view.pools.values().next().expect("a pool");
        let homes = Homes::of(view);
        let moves = plan(table, view, &homes, |_| false, (since, GRACE));
        assert!(moves.iter().all(|m| m.to == DriveId::vacant(m.slot)));
        assert_eq!(plan(table, view, &homes, |_| true, (GRACE, GRACE)), []);
        moves.iter().map(|m| (m.slot, m.from.0)).collect()
    }

    #[test]
    fn a_lost_node_is_waited_for_and_the_second_one_is_not() {
        assert_eq!(planned(&view(&[]), GRACE), []);
        let one = view(&[(3, NodeDuty::Fenced)]);
        assert_eq!(planned(&one, Duration::from_secs(599)), []);
        assert_eq!(planned(&one, GRACE), [(2, 30)]);
        let two = view(&[(3, NodeDuty::Fenced), (5, NodeDuty::Fenced)]);
        assert_eq!(planned(&two, Duration::ZERO), [(2, 30)]);
        assert_eq!(planned(&view(&[(3, NodeDuty::Cordoned)]), GRACE), []);
    }

    #[test]
    fn a_drained_node_becomes_narrower_only_where_it_was_accepted() {
        let drained = view(&[(3, NodeDuty::Draining)]);
        assert_eq!(planned(&drained, GRACE), []);
        let mut accepted = ClusterView::clone(&drained);
        accepted.narrower.insert(NodeId(3));
        assert_eq!(planned(&accepted, Duration::ZERO), [(2, 30)]);
    }

    #[test]
    fn no_more_slots_are_vacant_than_drives_lack() {
        let mut one = ClusterView::clone(&view(&[(3, NodeDuty::Fenced), (5, NodeDuty::Draining)]));
        one.narrower.insert(NodeId(5));
        let table = one.pools.values_mut().next().expect("a pool");
        table.rows[0].drives[2] = DriveId::vacant(2);
        assert_eq!(planned(&one, GRACE), [(4, 50)]);
        let table = one.pools.values_mut().next().expect("a pool");
        table.rows[0].drives[4] = DriveId::vacant(4);
        assert_eq!(planned(&one, GRACE), []);
    }

    #[test]
    fn a_slot_stays_when_its_node_serves_again_or_drives_are_enough() {
        let row = PgRow::stable(1, (1..=6).map(|n| DriveId(n * 10)).collect());
        let moving = Move {
            slot: 2,
            from: DriveId(30),
            to: DriveId::vacant(2),
            phase: Phase::Dual,
        };
        let void = |view: &ClusterView| is_void(moving, &row, view, &Homes::of(view));
        let fenced = view(&[(3, NodeDuty::Fenced)]);
        assert!(!void(&fenced));
        assert!(void(&view(&[])));
        assert!(void(&view(&[(3, NodeDuty::Draining)])));
        let mut grown = ClusterView::clone(&fenced);
        let mut seventh = grown.nodes[&NodeId(1)].clone();
        seventh.node = NodeId(7);
        seventh.drives[0].drive = DriveId(70);
        grown.nodes.insert(seventh.node, seventh);
        assert!(void(&grown));
    }
}
