//! Ways back: backups of the metadata, and the version gate.

use marram_proto::v1;

use crate::client::Client;
use crate::error::{ClientError, ErrorKind};
use crate::types::{AuditPage, Backup, BackupNote, BackupPiece, BackupPlace, FinalizedVersion};

impl Client {
    /// Begins a backup of the metadata; until [`Self::end_backup`] no data moves, and everything that
    /// it names is kept on the drives for `keep_ms`, at least an hour.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn begin_backup(&self, keep_ms: u64) -> Result<Backup, ClientError> {
        let message = v1::BeginBackupRequest { keep_ms };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().begin_backup(request).await
        });
        Ok(Backup::from_wire(answer.await?))
    }

    /// A piece of the state of a group. Pieces follow one another until one is empty.
    ///
    /// # Errors
    /// `Precondition` when the copy broke off: begin the backup again; `Corrupt`, and what any call
    /// can meet.
    pub async fn read_backup(
        &self,
        place: &BackupPlace,
        offset: u64,
    ) -> Result<BackupPiece, ClientError> {
        let message = v1::ReadBackupRequest {
            group: place.group,
            at_least: place.at_least,
            copy: place.copy.clone(),
            node_id: place.node_id,
            offset,
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().read_backup(request).await
        });
        let answer = answer.await?;
        if marram_types::crc32c(&answer.piece) != answer.crc32c {
            let message = "a piece of the backup was damaged on its way".to_owned();
            return Err(ClientError::new(ErrorKind::Corrupt, message));
        }
        Ok(BackupPiece::from_wire(place, answer))
    }

    /// Ends a backup. False when the groups do not fit together because something was changed
    /// meanwhile: it has to be made again.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn end_backup(&self, backup: &Backup) -> Result<bool, ClientError> {
        let message = v1::EndBackupRequest {
            layout: backup.layout,
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().end_backup(request).await
        });
        Ok(answer.await?.unchanged)
    }

    /// Tells the cluster that a backup of it is whole and kept, so that it can say how old its newest one is. Gives
    /// the newest that it knows.
    ///
    /// # Errors
    /// `Invalid` (of another cluster, say), `Precondition` while the cluster's version is too old to remember it, and what
    /// any call can meet.
    pub async fn record_backup(
        &self,
        cluster_id: &str,
        backup: BackupNote,
    ) -> Result<Option<BackupNote>, ClientError> {
        let message = v1::RecordBackupRequest {
            cluster_id: cluster_id.to_owned(),
            backup: Some(backup.to_wire()),
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().record_backup(request).await
        });
        Ok(answer.await?.last_backup.map(BackupNote::from_wire))
    }

    /// Lets go of everything that is kept on the drives for backups.
    ///
    /// # Errors
    /// What any call can meet.
    pub async fn release_backups(&self) -> Result<(), ClientError> {
        let message = v1::ReleaseBackupsRequest {};
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().release_backups(request).await
        });
        answer.await.map(drop)
    }

    /// Lets the cluster use what the release of the answering server knows. Again changes nothing.
    ///
    /// # Errors
    /// `Precondition` when nodes do not know it yet (the message names them), and what any call can
    /// meet.
    pub async fn finalize_version(&self) -> Result<FinalizedVersion, ClientError> {
        let message = v1::FinalizeVersionRequest {};
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().finalize_version(request).await
        });
        Ok(FinalizedVersion::from_wire(answer.await?))
    }

    /// Looks whether the shards of a page of a bucket's objects are there; `token` is that of the
    /// last page, empty for the first.
    ///
    /// # Errors
    /// `NotFound` (the bucket), `Invalid`, and what any call can meet.
    pub async fn audit_objects(&self, bucket: &str, token: &str) -> Result<AuditPage, ClientError> {
        let message = v1::AuditObjectsRequest {
            bucket: bucket.to_owned(),
            page_token: token.to_owned(),
            page_size: 0,
        };
        let answer = self.unary(message, |lane, request| async move {
            lane.admin().audit_objects(request).await
        });
        Ok(AuditPage::from_wire(answer.await?))
    }
}
