//! Multipart uploads that are under way: listed, ended.

use marram_proto::v1;

use crate::client::Client;
use crate::error::ClientError;
use crate::types::UploadInfo;

/// A listing of uploads under way.
#[derive(Debug)]
pub struct UploadPages {
    client: Client,
    /// `None` after the last page.
    next: Option<v1::ListUploadsRequest>,
}

impl Client {
    /// Lists the uploads of keys that begin with `prefix`, in the order of keys. Nothing is asked before
    /// the first page is.
    #[must_use]
    pub fn list_uploads(&self, bucket: &str, prefix: &str) -> UploadPages {
        UploadPages {
            client: self.clone(),
            next: Some(v1::ListUploadsRequest {
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
                page_size: 0,
                page_token: String::new(),
            }),
        }
    }

    /// Ends an upload; its parts are deleted.
    ///
    /// # Errors
    /// `NotFound` (the bucket, or the upload), `Precondition` (it is completed), and what any call can
    /// meet.
    pub async fn abort_upload(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
    ) -> Result<(), ClientError> {
        let message = v1::AbortUploadRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            upload_id: upload_id.to_owned(),
            request_id: Some(self.request_id()),
        };
        self.unary(message, |lane, request| async move {
            lane.uploads().abort_upload(request).await
        })
        .await?;
        Ok(())
    }
}

impl UploadPages {
    /// The next page; `None` after the last one. A page may be empty and not the last.
    ///
    /// # Errors
    /// `NotFound` (the bucket), and what any call can meet. After an error the same page can be
    /// asked for again.
    pub async fn next(&mut self) -> Result<Option<Vec<UploadInfo>>, ClientError> {
        let Some(message) = self.next.clone() else {
            return Ok(None);
        };
        let answer = self
            .client
            .unary(message, |lane, request| async move {
                lane.uploads().list_uploads(request).await
            })
            .await?;
        if answer.next_page_token.is_empty() {
            self.next = None;
        } else if let Some(next) = &mut self.next {
            next.page_token = answer.next_page_token;
        }
        let uploads = answer.uploads.into_iter().map(UploadInfo::from_wire);
        Ok(Some(uploads.collect()))
    }
}
