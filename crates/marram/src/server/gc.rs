//! Garbage collection on this server: the tasks, and its own drives as their scan needs them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use marram_maintain::{
    Collector, GcLags, HeldShard, OwnDriveError, OwnDrives, ScanReport, Scanner, Shards,
    fault_point,
};
use marram_mesh::Mesh;
use marram_store::Drive;
use marram_types::config::ServerConfig;
use marram_types::{DataId, DriveId, NodeId, ShardId};
use tokio::sync::watch;

use super::local::Local;
use super::storage::Drives;

/// Collects the garbage of the groups that this server leads, and scans its drives. What the scans find
/// can be followed.
pub(super) fn tasks<S: Shards>(
    config: &ServerConfig,
    local: Arc<Local>,
    shards: Arc<S>,
    drives: Arc<Drives>,
) -> (
    watch::Receiver<ScanReport>,
    impl Future<Output = ()> + Send + 'static,
) {
    let view = local.view.clone();
    let own = Arc::new(ScanDrives {
        drives,
        mesh: local.mesh.clone(),
    });
    let lags = GcLags {
        floor: Duration::from_secs(config.gc_floor_lag_s),
        readers: Duration::from_secs(config.gc_read_lag_s),
        drain: Duration::from_secs(config.gc_drain_grace_s),
    };
    let every = Duration::from_secs(config.gc_scan_every_s);
    let collector = Collector::new(Arc::clone(&local), Arc::clone(&shards), view.clone(), lags);
    let scanner = Scanner::new(local, shards, own, view, every);
    let report = scanner.report();
    let run = async move {
        tokio::join!(collector.run(), scanner.run());
    };
    (report, run)
}

/// The drives that a scan goes over.
struct ScanDrives {
    drives: Arc<Drives>,
    mesh: Mesh,
}

fn failed(drive: DriveId, reason: impl std::fmt::Display) -> OwnDriveError {
    let reason = reason.to_string();
    OwnDriveError { drive, reason }
}

impl ScanDrives {
    fn drive(&self, drive: DriveId) -> Result<Drive, OwnDriveError> {
        let found = self.drives.get(drive);
        found.ok_or_else(|| failed(drive, "this node does not have it"))
    }
}

#[async_trait]
impl OwnDrives for ScanDrives {
    fn node(&self) -> Option<NodeId> {
        self.mesh.node()
    }

    fn drives(&self) -> Vec<DriveId> {
        self.drives.ids()
    }

    async fn list(
        &self,
        drive: DriveId,
        after: Option<ShardId>,
        limit: usize,
    ) -> Result<Vec<HeldShard>, OwnDriveError> {
        let listed = self.drive(drive)?.list(after, limit).await;
        let listed = listed.map_err(|error| failed(drive, error))?;
        let held = listed.into_iter().map(|info| HeldShard {
            shard: info.shard,
            pg: info.pg,
        });
        Ok(held.collect())
    }

    async fn delete(&self, drive: DriveId, data: Vec<DataId>) -> Result<(), OwnDriveError> {
        fault_point("scan.delete");
        let deleted = self.drive(drive)?.delete(data).await;
        let runs = deleted.map_err(|error| failed(drive, error))?;
        tracing::debug!(target: "gc", %drive, runs, "runs were removed");
        Ok(())
    }
}
