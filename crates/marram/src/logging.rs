//! The log of a long-running process: which lines there are, in which form, and how often the same one.
//!
//! ```text
//! level      which lines are logged, and until when
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
use parking_lot::Mutex;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::recent;

mod level;
mod line;
mod repeats;

use level::FilterError;
pub(crate) use level::{Change, Level};
pub(crate) use line::Line;
use repeats::Repeats;

/// What is logged where nobody says anything else.
const USUAL: &str = "info,openraft=error";

/// The target of lines about shards that go: each is written, because it is the only trace of them, and
/// none is kept in memory, where they would leave no room for what went wrong.
const REMOVED: &str = "removed";

static JSON: AtomicBool = AtomicBool::new(false);
static FILTER: OnceLock<Filter> = OnceLock::new();

/// What is logged, and the hold on it.
struct Filter {
    handle: reload::Handle<EnvFilter, Registry>,
    level: Mutex<Level>,
}

/// Begins to log to standard error, and to keep the newest lines in memory. `RUST_LOG` chooses what is
/// logged.
pub(crate) fn start() {
    let (filter, text) = match (EnvFilter::try_from_default_env(), std::env::var("RUST_LOG")) {
        (Ok(filter), Ok(text)) => (filter, text),
        _ => (EnvFilter::new(USUAL), USUAL.to_owned()),
    };
    let (filter, handle) = reload::Layer::new(filter);
    let level = Mutex::new(Level::new(text));
    let _first = FILTER.set(Filter { handle, level });
    let lines = Lines {
        colours: std::io::stderr().is_terminal(),
        repeats: Repeats::default(),
    };
    let layers = tracing_subscriber::registry()
        .with(lines.with_filter(filter.or(OwnSpans)))
        .with(Recorder.with_filter(OwnSpans));
    #[cfg(feature = "tokio-console")]
    let layers = layers.with(console_subscriber::spawn());
    layers.init();
}

/// In which form lines are written from now on.
pub(crate) fn set_format(format: LogFormat) {
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// What is not logged as it was wished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LevelError {
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("this process keeps no log")]
    NoLog,
}

/// What is logged now, after a change where there is one. Needs a runtime, in which what is for a while ends.
pub(crate) fn level(change: Option<Change>) -> Result<Level, LevelError> {
    let filter = FILTER.get().ok_or(LevelError::NoLog)?;
    let mut level = filter.level.lock();
    let Some(change) = change else {
        return Ok(level.clone());
    };
    let now = Instant::now();
    let next = level.after(change.checked()?, now);
    filter.apply(&mut level, next.clone())?;
    drop(level);
    tracing::warn!(target: "admin", filter = next.now(), then = next.then(), "log level set");
    if let Some(time) = next.ends_in(now) {
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            filter.end();
        });
    }
    Ok(next)
}

impl Filter {
    /// Has `next` in force.
    fn apply(&self, level: &mut Level, next: Level) -> Result<(), LevelError> {
        if next.now() != level.now() {
            // What the process started with went by other rules.
            let wanted = level::parse(next.now()).unwrap_or_else(|_| EnvFilter::new(next.now()));
            self.handle.reload(wanted).map_err(|_| LevelError::NoLog)?;
        }
        *level = next;
        Ok(())
    }

    /// Ends what was for a while, when its time is over.
    fn end(&self) {
        let mut level = self.level.lock();
        let next = level.at(Instant::now());
        if next != *level && self.apply(&mut level, next.clone()).is_ok() {
            drop(level);
            tracing::warn!(target: "admin", filter = next.now(), "the log level is as before");
        }
    }
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
