//! What became of recorded spans.

use async_trait::async_trait;
use marram_metrics::catalogue::TRACE_SPANS;
use marram_metrics::{Sheet, Source};

/// The spans of this process.
#[derive(Debug)]
pub(super) struct Traces;

#[async_trait]
impl Source for Traces {
    async fn collect(&self, sheet: &mut Sheet) {
        let counts = marram_trace::counts();
        sheet.set(&TRACE_SPANS, &["exported"], counts.exported);
        sheet.set(&TRACE_SPANS, &["dropped"], counts.dropped);
        sheet.set(&TRACE_SPANS, &["failed"], counts.failed);
    }
}
