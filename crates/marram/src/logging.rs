//! The log of a long-running process: which lines there are, in which form, and how often the same one.
//!
//! ```text
//! line       an event as text or as JSON, with the call that it belongs to
//! repeats    how often the same line may be written
//! ```
//!
//! Form and filter can be changed while the process runs.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use marram_trace::{CallInfo, OwnSpans, Recorder};
use marram_types::config::LogFormat;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::recent;

mod line;
mod repeats;

pub(crate) use line::Line;
use repeats::Repeats;

/// What is logged where nobody says anything else.
const USUAL: &str = "info,openraft=error";

/// The target of lines about shards that go: each is written, because it is the only trace of them, and
/// none is kept in memory, where they would leave no room for what went wrong.
const REMOVED: &str = "removed";

static JSON: AtomicBool = AtomicBool::new(false);
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Begins to log to standard error, and to keep the newest lines in memory. `RUST_LOG` chooses what is
/// logged.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL));
    let (filter, handle) = reload::Layer::new(filter);
    let _first = FILTER.set(handle);
    let lines = Lines {
        colours: std::io::stderr().is_terminal(),
        repeats: Repeats::default(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter.or(OwnSpans)))
        .with(Recorder.with_filter(OwnSpans))
        .init();
}

/// In which form lines are written from now on.
pub(crate) fn set_format(format: LogFormat) {
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Writes events to standard error, and keeps them.
struct Lines {
    colours: bool,
    repeats: Repeats,
}

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let about = event.metadata();
        let is_removal = about.target() == REMOVED;
        let left_out = if is_removal {
            Some(0)
        } else {
            self.repeats.admit(about.callsite(), Instant::now())
        };
        let Some(left_out) = left_out else {
            return;
        };
        let call = context.event_scope(event).and_then(|mut scope| {
            scope.find_map(|span| span.extensions().get::<CallInfo>().cloned())
        });
        let line = Line::of(event, call, left_out);
        let mut written = if JSON.load(Ordering::Relaxed) {
            line.json()
        } else {
            line.text(self.colours)
        };
        written.push('\n');
        // Nowhere is left to complain to.
        let _ = std::io::stderr().lock().write_all(written.as_bytes());
        if !is_removal {
            recent::keep(&line);
        }
    }
}
