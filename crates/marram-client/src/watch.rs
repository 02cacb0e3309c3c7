//! Watching objects: what happens to them, over the loss of servers.

use std::time::Duration;

use marram_proto::v1;
use tonic::{Status, Streaming};

use crate::client::{Client, repeatable, within};
use crate::error::ClientError;
use crate::types::{ObjectEvent, WatchBatch};

/// How long a server may be silent beyond the interval of bookmarks before another one is asked.
const SILENCE: Duration = Duration::from_secs(20);
/// How often a server says that it is there.
const BOOKMARKS: Duration = Duration::from_secs(30);

/// What is watched, and from where on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchOptions {
    /// Only keys that begin so.
    pub prefix: String,
    /// Behind this revision, of a list or a watch; from now on without one.
    pub from: Option<String>,
    /// How often something comes where nothing happens: 30 s unless given, 1 s to 10 minutes.
    pub bookmarks: Option<Duration>,
}

/// A watch under way.
#[derive(Debug)]
pub struct ObjectWatch {
    client: Client,
    request: v1::WatchObjectsRequest,
    silence: Duration,
    /// None before the first message, and after a break.
    stream: Option<Open>,
    /// Breaks since the last message.
    failed: u32,
}

#[derive(Debug)]
struct Open {
    server: usize,
    messages: Streaming<v1::WatchObjectsResponse>,
}

impl Client {
    /// Watches the objects of a bucket. Nothing is asked before the first batch is.
    #[must_use]
    pub fn watch(&self, bucket: &str, options: WatchOptions) -> ObjectWatch {
        let bookmarks = options.bookmarks.unwrap_or(BOOKMARKS);
        ObjectWatch {
            client: self.clone(),
            request: v1::WatchObjectsRequest {
                bucket: bucket.to_owned(),
                prefix: options.prefix,
                revision: options.from.unwrap_or_default(),
                bookmark_interval_ms: u32::try_from(bookmarks.as_millis()).unwrap_or(u32::MAX),
            },
            silence: bookmarks + SILENCE,
            stream: None,
            failed: 0,
        }
    }
}

impl ObjectWatch {
    /// The next changes; none of them in a bookmark, which only has a newer revision. The first one comes
    /// at once and says that the watch has begun. A break is mended by going on, at another server where
    /// need be, from the last revision: changes since may come again only then, and none is left out.
    ///
    /// # Errors
    /// `NotFound` (the bucket, also when it is removed), `Compacted` (the revision is too old: list
    /// again), `Denied`, and what any call can meet. After an error that may pass it can be called again.
    pub async fn next(&mut self) -> Result<WatchBatch, ClientError> {
        loop {
            let open = match &mut self.stream {
                Some(open) => open,
                None => {
                    let open = self.open().await?;
                    self.stream.insert(open)
                }
            };
            let server = open.server;
            let error = match within(self.silence, open.messages.message()).await {
                Ok(Ok(Some(message))) => {
                    self.failed = 0;
                    self.request.revision.clone_from(&message.revision);
                    let events = message.events.into_iter();
                    return Ok(WatchBatch {
                        events: events.map(ObjectEvent::from_wire).collect(),
                        revision: message.revision,
                    });
                }
                Ok(Ok(None)) => {
                    // Its time was over: connections have an age.
                    self.stream = None;
                    continue;
                }
                Ok(Err(status)) => ClientError::from_status(&status),
                Err(silent) => silent,
            };
            self.stream = None;
            self.failed += 1;
            if !repeatable(&error) {
                return Err(error);
            }
            self.client.avoid(server);
            let Some(delay) = self.client.pause(self.failed, &error) else {
                return Err(error);
            };
            tracing::debug!(%error, ?delay, "the watch goes on at another server");
            tokio::time::sleep(delay).await;
        }
    }

    /// What was given out last: who watches from here on hears of everything that this watch has not told.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.request.revision
    }

    async fn open(&self) -> Result<Open, ClientError> {
        let limit = self.client.call_timeout();
        let request = &self.request;
        self.client
            .attempts(repeatable, |lane| async move {
                let server = lane.server();
                let asked = lane.request(request.clone());
                let mut watches = lane.watches();
                let failed = |status: Status| ClientError::from_status(&status);
                let answer = within(limit, watches.watch_objects(asked)).await?;
                Ok(Open {
                    server,
                    messages: answer.map_err(failed)?.into_inner(),
                })
            })
            .await
    }
}
