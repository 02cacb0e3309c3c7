//! Slots that the layout has no place for any more: nodes are gone for good, or drained although too
//! few are left, and no two slots of a row may be on one node (decisions/0061). Such a slot moves to no drive, and what uses it is encoded anew without it, narrower
//! (rules.md 19). Pure, so that every situation is a test.
//!
//! ```text
//! Dual   every group is fenced: no new data uses the slot; what does is encoded anew
//! Cut    nothing in any group uses the slot
//! ```
//! When there are drives enough again, the planner moves the slot from no drive to one of them, and
//! the data is widened.

use std::time::Duration;

use marram_meta::{ClusterView, NARROW_SINCE, RootCommand};
use marram_placement::{Apart, Move, PgRow, PoolTable, SlotMove, Standing};
use marram_types::{DriveId, PoolId};

use crate::moves::Homes;

/// What speaks for leaving a slot without a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// Nothing comes from its drive any more.
    Gone,
    /// Another slot of the row is on the same node, and the rows of the pool are apart by nodes.
    Shares,
    /// Its node is drained, and an operator accepted narrower stripes.
    Drained,
}

/// What a pool's rows have to go round.
struct Room<'v> {
    view: &'v ClusterView,
    homes: &'v Homes,
    apart: Apart,
    /// Slots of a row that find no place.
    lacking: usize,
}

impl<'v> Room<'v> {
    fn of(table: &PoolTable, view: &'v ClusterView, homes: &'v Homes) -> Self {
        let seats = view.seats();
        let apart = view.apart_in(table, &seats);
        Self {
            view,
            homes,
            apart,
            lacking: usize::from(table.width).saturating_sub(apart.places(&seats)),
        }
    }

    /// Why what is in a slot may become narrower; none where it may not.
    fn why(&self, row: &PgRow, slot: u8, drive: DriveId) -> Option<Why> {
        let node = self.homes.node(drive);
        match self.homes.standing(drive) {
            _ if drive.is_vacant() => None,
            Standing::Gone => Some(Why::Gone),
            Standing::Leaving if node.is_some_and(|n| self.view.narrower.contains(&n)) => {
                Some(Why::Drained)
            }
            Standing::Leaving | Standing::Kept | Standing::Serving => {
                let mut others = (0..).zip(&row.drives).filter(|(other, _)| *other != slot);
                let shares = others.any(|(_, other)| self.homes.node(*other) == node);
                (self.apart == Apart::Nodes && shares).then_some(Why::Shares)
            }
        }
    }
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
    let room = Room::of(table, view, homes);
    if room.lacking == 0 {
        return Vec::new();
    }
    let m = view.pool_losses(table.pool());
    let mut found = Vec::new();
    for (pg, row) in (0_u16..).zip(&table.rows) {
        let vacant = row.drives.iter().filter(|drive| drive.is_vacant()).count();
        if row.moving.is_some() || vacant >= room.lacking || busy(pg) {
            continue;
        }
        let gone =
            |drive: &&DriveId| !drive.is_vacant() && homes.standing(**drive) == Standing::Gone;
        let lost = row.drives.iter().filter(gone).count();
        let is_due = since >= grace || lost >= m;
        let due = |(slot, drive): &(u8, &DriveId)| {
            let why = room.why(row, *slot, **drive)?;
            (why != Why::Gone || is_due).then_some((why, *slot, **drive))
        };
        // What nothing comes from any more goes first.
        if let Some((_, slot, from)) = (0..).zip(&row.drives).filter_map(|s| due(&s)).min() {
            let planned = SlotMove {
                pg,
                slot,
                from,
                to: DriveId::vacant(slot),
            };
            found.push((lost, planned));
        }
    }
    found.sort_by_key(|(lost, planned)| (std::cmp::Reverse(*lost), planned.pg));
    found.into_iter().map(|(_, planned)| planned).collect()
}

/// Whether a slot on its way to no drive is to stay where it is after all: its node serves again, or
/// there are places enough.
pub(crate) fn is_void(
    moving: Move,
    (table, row): (&PoolTable, &PgRow),
    view: &ClusterView,
    homes: &Homes,
) -> bool {
    let room = Room::of(table, view, homes);
    room.lacking == 0 || room.why(row, moving.slot, moving.from).is_none()
}

/// The command that takes slots out of use: in a cluster that has not taken this release's commands yet the
/// one that knows of fenced and drained nodes only.
pub(crate) fn command(view: &ClusterView, pool: PoolId, moves: Vec<SlotMove>) -> RootCommand {
    let version = view.cluster.as_ref().map_or(0, |cluster| cluster.version);
    if version >= NARROW_SINCE {
        RootCommand::NarrowRows { pool, moves }
    } else {
        RootCommand::StartMoves { pool, moves }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use marram_meta::{BucketRecord, BucketState, DriveRecord, NodeDuty, NodeRecord, NodeState};
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
                allowed: Vec::new(),
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

    /// Each node has a second drive, on which nothing is.
    fn with_second_drives(mut view: ClusterView) -> ClusterView {
        for node in view.nodes.values_mut() {
            let second = DriveId(node.node.0 * 10 + 1);
            node.drives.push(DriveRecord::new(second, 1, 1));
        }
        view
    }

    #[test]
    fn free_drives_of_nodes_that_have_a_slot_are_no_places() {
        let lost = view(&[(3, NodeDuty::Fenced)]);
        let lost = with_second_drives(ClusterView::clone(&lost));
        assert_eq!(planned(&lost, GRACE), [(2, 30)]);
        let mut given_up = with_second_drives(ClusterView::clone(&view(&[])));
        assert_eq!(planned(&given_up, GRACE), []);
        let node = given_up.nodes.get_mut(&NodeId(3)).expect("there");
        node.absence.lost = Some(marram_meta::Lost {
            since_ms: 1,
            rebuild: true,
        });
        assert_eq!(planned(&given_up, GRACE), [(2, 30)]);
        assert_eq!(
            planned(&given_up, Duration::from_secs(9)),
            [],
            "it may return"
        );
    }

    #[test]
    fn a_slot_beside_another_on_its_node_is_left_when_there_are_no_nodes() {
        let lost = view(&[(3, NodeDuty::Fenced)]);
        let mut shared = with_second_drives(ClusterView::clone(&lost));
        let table = shared.pools.values_mut().next().expect("a pool");
        // As it was made by nodes, and rebuilt by an earlier release.
        table.domains.most_in_node = 1;
        table.rows[0].drives[2] = DriveId(11);
        assert_eq!(planned(&shared, Duration::ZERO), [(0, 10)]);
        let table = shared.pools.values_mut().next().expect("a pool");
        table.domains.most_in_node = 2;
        assert_eq!(planned(&shared, GRACE), [], "a small cluster");
    }

    #[test]
    fn the_command_is_one_that_the_whole_cluster_knows() {
        let mut of = ClusterView::clone(&view(&[]));
        let is_new = |view: &ClusterView| {
            let command = command(view, PoolId(6), Vec::new());
            matches!(command, RootCommand::NarrowRows { .. })
        };
        assert!(!is_new(&of));
        for (version, new) in [(NARROW_SINCE - 1, false), (NARROW_SINCE, true)] {
            of.cluster = Some(marram_meta::ClusterRecord {
                cluster: marram_types::ClusterId(1),
                name: String::new(),
                version,
                object_groups: 1,
                expected_nodes: 1,
                default_profile: None,
            });
            assert_eq!(is_new(&of), new);
        }
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
        let void = |view: &ClusterView| {
            let table = view.pools.values().next().expect("a pool");
            is_void(moving, (table, &row), view, &Homes::of(view))
        };
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
