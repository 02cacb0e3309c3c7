//! Listing the keys of a bucket, page by page.

use marram_proto::v1;

use crate::client::Client;
use crate::error::ClientError;
use crate::types::{ListPage, ObjectSummary};

/// Which keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that hold this after the prefix are rolled up; nothing is rolled up where empty.
    pub delimiter: String,
    /// Only keys after this one.
    pub start_after: String,
    /// Entries of a page, 1 to 1000; 0 means 1000.
    pub page_size: u16,
}

impl ListQuery {
    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn all(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            ..Self::default()
        }
    }
}

/// A listing under way.
#[derive(Debug)]
pub struct Pages {
    client: Client,
    /// `None` after the last page.
    next: Option<v1::ListObjectsRequest>,
}

impl Client {
    /// Lists keys in the order of their bytes. Nothing is asked before the first page is.
    #[must_use]
    pub fn list(&self, bucket: &str, query: ListQuery) -> Pages {
        Pages {
            client: self.clone(),
            next: Some(v1::ListObjectsRequest {
                bucket: bucket.to_owned(),
                prefix: query.prefix,
                delimiter: query.delimiter,
                start_after: query.start_after,
                page_size: i32::from(query.page_size),
                page_token: String::new(),
            }),
        }
    }
}

impl Pages {
    /// The next page; `None` after the last one. A page may be empty and not the last.
    ///
    /// # Errors
    /// `NotFound` (the bucket), and what any call can meet. After an error the same page can be
    /// asked for again.
    pub async fn next(&mut self) -> Result<Option<ListPage>, ClientError> {
        let Some(message) = self.next.clone() else {
            return Ok(None);
        };
        let answer = self
            .client
            .unary(message, |lane, request| async move {
                lane.objects().list_objects(request).await
            })
            .await?;
        if answer.next_page_token.is_empty() {
            self.next = None;
        } else if let Some(next) = &mut self.next {
            next.page_token = answer.next_page_token;
        }
        Ok(Some(ListPage {
            objects: answer
                .objects
                .into_iter()
                .map(ObjectSummary::from_wire)
                .collect(),
            prefixes: answer.common_prefixes,
            revision: Some(answer.revision).filter(|revision| !revision.is_empty()),
        }))
    }
}
