//! What the cluster decided and says of itself, as this process knows it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use marram_mesh::ca_validity;
use marram_meta::{BackupNote, ClusterView, NodeDuty, NodeState, Pausable};
use marram_metrics::catalogue::{
    BACKUP_KEPT, BACKUP_MADE, BACKUP_SIZE, CLUSTER_NODE_DUTIES, CLUSTER_NODES, CLUSTER_VIEW_INDEX,
    MESH_AUTHORITY, MOVED_BYTES, MOVES_TO_GO, MOVES_UNDER_WAY, MOVES_WAITING, PAUSED, REPAIRED,
    REPAIRS_AGE, REPAIRS_LEFT, SLOTS_UNPLACED,
};
use marram_metrics::{Sheet, Source};
use marram_types::{ClusterHealth, Health};
use tokio::sync::watch;

/// The cluster.
pub(in crate::server) struct Cluster {
    /// What was decided.
    pub view: watch::Receiver<Arc<ClusterView>>,
    /// How the nodes are.
    pub health: watch::Receiver<Arc<ClusterHealth>>,
}

const HEALTHS: [(Health, &str); 5] = [
    (Health::Up, "up"),
    (Health::Slow, "slow"),
    (Health::Suspect, "suspect"),
    (Health::Dead, "dead"),
    (Health::Unknown, "unknown"),
];
const DUTIES: [(NodeDuty, &str); 4] = [
    (NodeDuty::Serving, "serving"),
    (NodeDuty::Cordoned, "cordoned"),
    (NodeDuty::Draining, "draining"),
    (NodeDuty::Fenced, "fenced"),
];

const WORKS: [(Pausable, &str); 4] = [
    (Pausable::Garbage, "garbage"),
    (Pausable::Scrub, "scrub"),
    (Pausable::Repair, "repair"),
    (Pausable::Moves, "moves"),
];

#[async_trait]
impl Source for Cluster {
    async fn collect(&self, sheet: &mut Sheet) {
        let (view, health) = (self.view.borrow().clone(), self.health.borrow().clone());
        sheet.set(&CLUSTER_VIEW_INDEX, &[], view.index);
        let members = || view.nodes.values().filter(|n| n.state == NodeState::Active);
        for (kind, name) in HEALTHS {
            let count = members().filter(|n| health.of(n.node) == kind).count();
            sheet.set(&CLUSTER_NODES, &[name], count as u64);
        }
        for (duty, name) in DUTIES {
            let count = members().filter(|n| n.duty == duty).count();
            sheet.set(&CLUSTER_NODE_DUTIES, &[name], count as u64);
        }
        for (work, name) in WORKS {
            let paused = view.upkeep.paused(work).is_some();
            sheet.set(&PAUSED, &[name], u64::from(paused));
        }
        write_ways_back(sheet, &view);
        let work = health.work;
        sheet.set(&MOVES_UNDER_WAY, &[], work.under_way);
        sheet.set(&MOVES_WAITING, &[], work.waiting);
        sheet.set(&MOVES_TO_GO, &[], work.to_go);
        sheet.set(&SLOTS_UNPLACED, &[], work.unplaced);
        sheet.set(&MOVED_BYTES, &[], work.written_bytes);
        let age = Duration::from_millis(work.tickets_for_ms);
        sheet.set_time(&REPAIRS_AGE, &[], age);
        let left = work.tickets_left_ms().unwrap_or(0);
        sheet.set_time(&REPAIRS_LEFT, &[], Duration::from_millis(left));
        sheet.set(&REPAIRED, &[], work.repaired);
    }
}

/// Digits of a CA's fingerprint that tell it from the others.
const FINGERPRINT_BYTES: usize = 8;

/// How old the newest backup is, and how long the CAs are good.
fn write_ways_back(sheet: &mut Sheet, view: &ClusterView) {
    let backup = view.upkeep.backup;
    let of = |said: fn(BackupNote) -> u64| backup.map_or(0, said);
    sheet.set(&BACKUP_MADE, &[], of(|backup| backup.made_ms / 1000));
    sheet.set(&BACKUP_KEPT, &[], of(|backup| backup.kept_until_ms / 1000));
    sheet.set(&BACKUP_SIZE, &[], of(|backup| backup.bytes));
    for authority in view.authorities.values() {
        let Ok(validity) = ca_validity(&authority.certificate) else {
            continue;
        };
        let print: String = authority.fingerprint[..FINGERPRINT_BYTES]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let not_after = u64::try_from(validity.not_after).unwrap_or(0);
        sheet.set(&MESH_AUTHORITY, &[&print], not_after);
    }
}
