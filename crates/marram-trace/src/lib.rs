//! Traces: which call of a client led to which request between peers and which work on which drive.
//!
//! ```text
//! context   who a span is for others: the W3C trace context, as text and as bytes
//! step      spans: begun, described, ended; the one that runs now      <- start here
//! call      the span of a call of the API: its trace id is on log lines, sampled or not
//! sampler   which traces are recorded
//! sink      finished spans on their way out: a bounded queue, and counts of what did not fit
//! recorder  the layer that hands a span over when it is over
//! ```
//!
//! Spans are those of `tracing`. What is recorded of one hangs on it as an extension, and is there only when
//! its trace is sampled: without that, beginning a step is one look at a flag. Spans hold ids and
//! sizes, never names of buckets, keys or access keys (docs/decisions/0059). Who takes the spans to a collector
//! is no business of this crate.

mod call;
mod context;
mod recorder;
mod sampler;
mod sink;
mod step;

pub use call::{CallInfo, begin_call};
pub use context::{Context, SpanId, TraceId};
pub use recorder::{OwnSpans, Recorder, TARGET};
pub use sampler::{MILLION, Sampling};
pub use sink::{Counts, QUEUED_SPANS_MAX, Spans, counts, is_on, start};
pub use step::{Finished, Kind, Step, Value, begin, begin_under, current, fail, record, recorded};
pub use tracing::instrument::Instrument;
