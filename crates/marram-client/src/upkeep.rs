//! What operators see and change of scrubs, garbage and single drives.

use marram_proto::v1;

use crate::client::Client;
use crate::error::ClientError;
use crate::types::{
    DriveChange, DriveDuty, DriveEntry, GarbageStatus, PausableWork, PauseChange, RemovedDrive,
    RepairStart, RepairStatus, ScrubStatus,
};

impl Client {
    /// Says how far the scrubs of all drives are, and what they found.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn scrub_status(&self) -> Result<ScrubStatus, ClientError> {
        self.unary(v1::GetScrubRequest {}, |lane, request| async move {
            lane.admin().get_scrub(request).await
        })
        .await
        .map(|answer| ScrubStatus::from_wire(answer.scrub))
    }

    /// Has a pass begin on every drive that has none under way: of one node, by name or id, or of all
    /// nodes that answer.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable` (the node does not answer), and what any call can meet.
    pub async fn start_scrub(&self, node: Option<&str>) -> Result<ScrubStatus, ClientError> {
        let message = v1::StartScrubRequest {
            node: node.unwrap_or_default().to_owned(),
        };
        self.unary(message, |lane, request| async move {
            lane.admin().start_scrub(request).await
        })
        .await
        .map(|answer| ScrubStatus::from_wire(answer.scrub))
    }

    /// Says what lacks redundancy, in which order it is repaired, and how far that is.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn repair_status(&self) -> Result<RepairStatus, ClientError> {
        self.unary(v1::GetRepairRequest {}, |lane, request| async move {
            lane.admin().get_repair(request).await
        })
        .await
        .map(|answer| RepairStatus::from_wire(answer.repair))
    }

    /// Has what an absent node, given by name or id, or drive, given as NODE/NUMBER or by id, had be rebuilt
    /// at once, without the grace.
    ///
    /// # Errors
    /// `NotFound`, `Precondition` (it works, is in maintenance, or the others cannot hold what it had),
    /// `Unavailable` (the drive's node does not answer), and what any call can meet.
    pub async fn start_repair(&self, target: &str) -> Result<RepairStart, ClientError> {
        let message = v1::StartRepairRequest {
            target: target.to_owned(),
        };
        self.unary(message, |lane, request| async move {
            lane.admin().start_repair(request).await
        })
        .await
        .map(RepairStart::from_wire)
    }

    /// Says how much garbage waits to be removed.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn garbage_status(&self) -> Result<GarbageStatus, ClientError> {
        self.unary(v1::GetGarbageRequest {}, |lane, request| async move {
            lane.admin().get_garbage(request).await
        })
        .await
        .map(GarbageStatus::from_wire)
    }

    /// Pauses work in the whole cluster, or lets it go on.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn set_paused(
        &self,
        work: PausableWork,
        paused: bool,
    ) -> Result<PauseChange, ClientError> {
        let message = v1::SetPausedRequest {
            work: work.to_wire().into(),
            paused,
        };
        self.unary(message, |lane, request| async move {
            lane.admin().set_paused(request).await
        })
        .await
        .map(PauseChange::from_wire)
    }

    /// Lists the drives of one node, by name or id, or of all.
    ///
    /// # Errors
    /// `NotFound`, and what any call can meet.
    pub async fn list_drives(&self, node: Option<&str>) -> Result<Vec<DriveEntry>, ClientError> {
        let message = v1::ListDrivesRequest {
            node: node.unwrap_or_default().to_owned(),
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().list_drives(request).await
        });
        let drives = answer.await?.drives.into_iter();
        Ok(drives.map(DriveEntry::from_wire).collect())
    }

    /// Changes what a drive, given by id or NODE/NUMBER, is there for. With `force` it is drained also where
    /// the others have no room for what is on it.
    ///
    /// # Errors
    /// `NotFound`, `Precondition` (a drive that failed for good; a drain for which there is no room or no
    /// place), `Invalid`, and what any call can meet.
    pub async fn set_drive_duty(
        &self,
        drive: &str,
        duty: DriveDuty,
        force: bool,
    ) -> Result<DriveChange, ClientError> {
        let message = v1::SetDriveDutyRequest {
            drive: drive.to_owned(),
            duty: duty.to_wire().into(),
            force,
        };
        self.unary(message, |lane, request| async move {
            lane.admin().set_drive_duty(request).await
        })
        .await
        .map(DriveChange::from_wire)
    }

    /// Removes a drive, given by id or NODE/NUMBER, for ever.
    ///
    /// # Errors
    /// `NotFound`, `Precondition` (something is still on it: the message says what), and what any
    /// call can meet.
    pub async fn remove_drive(&self, drive: &str) -> Result<RemovedDrive, ClientError> {
        let message = v1::RemoveDriveRequest {
            drive: drive.to_owned(),
        };
        self.unary(message, |lane, request| async move {
            lane.admin().remove_drive(request).await
        })
        .await
        .map(RemovedDrive::from_wire)
    }
}
