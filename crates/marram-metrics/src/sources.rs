//! Who fills a sheet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::catalogue::{SCRAPE_DROPPED, SCRAPE_DURATION, SCRAPE_SOURCES_LATE};
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
pub struct Sources {
    within: Duration,
    all: Mutex<Vec<Arc<dyn Source>>>,
    /// Held by the scrape that runs: others wait, so that scrapes cost one at a time. It keeps how
    /// long the last one took.
    last: tokio::sync::Mutex<Duration>,
}

impl Default for Sources {
    fn default() -> Self {
        Self::within(COLLECT_WITHIN)
    }
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
    fn within(within: Duration) -> Self {
        Self {
            within,
            all: Mutex::default(),
            last: tokio::sync::Mutex::default(),
        }
    }

    /// Adds one.
    pub fn add(&self, source: Arc<dyn Source>) {
        self.all.lock().push(source);
    }

    /// All values as they are now, as text. All sources are asked at once; one that does not answer in time
    /// is left out, and no other with it.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn scrape(&self, format: Format) -> Result<String, ScrapeError> {
        let mut last = self.last.lock().await;
        let began = Instant::now();
        let (mut sheet, late) = self.collect().await;
        if late > 0 {
            tracing::warn!(
                late,
                "parts of this process did not say their metrics in time"
            );
        }
        sheet.set_time(&SCRAPE_DURATION, &[], *last);
        sheet.set(&SCRAPE_SOURCES_LATE, &[], late);
        let dropped = sheet.dropped();
        sheet.set(&SCRAPE_DROPPED, &[], dropped);
        let written = text::write(sheet, format).map_err(|_| ScrapeError);
        *last = began.elapsed();
        written
    }

    /// What the sources say, in their order, and how many did not.
    async fn collect(&self) -> (Sheet, u64) {
        let sources = self.all.lock().clone();
        let mut sheets: Vec<Option<Sheet>> = sources.iter().map(|_| None).collect();
        // Those that are late are ended when it is dropped.
        let mut asked = JoinSet::new();
        for (at, source) in sources.into_iter().enumerate() {
            asked.spawn(async move {
                let mut sheet = Sheet::default();
                source.collect(&mut sheet).await;
                (at, sheet)
            });
        }
        let until = tokio::time::Instant::now() + self.within;
        while let Ok(Some(answered)) = tokio::time::timeout_at(until, asked.join_next()).await {
            if let Ok((at, sheet)) = answered {
                sheets[at] = Some(sheet);
            }
        }
        let (mut all, mut late) = (Sheet::default(), 0);
        for sheet in sheets {
            match sheet {
                Some(sheet) => all.take(sheet),
                None => late += 1,
            }
        }
        (all, late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::READY;

    struct Quick;

    #[async_trait]
    impl Source for Quick {
        async fn collect(&self, sheet: &mut Sheet) {
            sheet.set(&READY, &[], 1);
        }
    }

    struct Hanging;

    #[async_trait]
    impl Source for Hanging {
        async fn collect(&self, _sheet: &mut Sheet) {
            std::future::pending::<()>().await;
        }
    }

    #[tokio::test]
    async fn one_that_hangs_is_left_out_alone() {
        let sources = Sources::within(Duration::from_millis(100));
        for _ in 0..3 {
            sources.add(Arc::new(Hanging));
        }
        sources.add(Arc::new(Quick));
        let page = sources.scrape(Format::Prometheus).await.expect("written");
        for line in ["marram_ready 1", "marram_metrics_late_sources 3"] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
    }
}
