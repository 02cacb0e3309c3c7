//! Who fills a sheet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::catalogue::{SCRAPE_DROPPED, SCRAPE_DURATION};
use crate::sheet::Sheet;
use crate::text::{self, Format};

/// How long one scrape may take before what is missing is left out.
const COLLECT_WITHIN: Duration = Duration::from_secs(5);

/// Something that has values.
#[async_trait]
pub trait Source: Send + Sync {
    /// Writes them down as they are now.
    async fn collect(&self, sheet: &mut Sheet);
}

/// The sources of a process. They come as its parts come up.
#[derive(Default)]
pub struct Sources {
    all: Mutex<Vec<Arc<dyn Source>>>,
    /// Held by the scrape that runs: others wait, so that scrapes cost one at a time. It keeps how
    /// long the last one took.
    last: tokio::sync::Mutex<Duration>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources")
            .field("count", &self.all.lock().len())
            .finish_non_exhaustive()
    }
}

/// The metrics cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the metrics cannot be written as text")]
pub struct ScrapeError;

impl Sources {
    /// Adds one.
    pub fn add(&self, source: Arc<dyn Source>) {
        self.all.lock().push(source);
    }

    /// All values as they are now, as text. A source that does not answer in time is left out, with
    /// all after it.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn scrape(&self, format: Format) -> Result<String, ScrapeError> {
        let mut last = self.last.lock().await;
        let began = Instant::now();
        let sources = self.all.lock().clone();
        let mut sheet = Sheet::default();
        let collecting = async {
            for source in sources {
                source.collect(&mut sheet).await;
            }
        };
        if tokio::time::timeout(COLLECT_WITHIN, collecting)
            .await
            .is_err()
        {
            tracing::warn!("a scrape of the metrics took longer than {COLLECT_WITHIN:?}");
        }
        sheet.set_time(&SCRAPE_DURATION, &[], *last);
        let dropped = sheet.dropped();
        sheet.set(&SCRAPE_DROPPED, &[], dropped);
        let written = text::write(sheet, format).map_err(|_| ScrapeError);
        *last = began.elapsed();
        written
    }
}
