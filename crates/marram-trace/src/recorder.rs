//! The layer of `tracing` that hands over what was recorded of a span when it is over.

use tracing::span::Id;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use crate::sink;
use crate::step::Recorded;

/// The target of all spans of this crate.
pub const TARGET: &str = "marram_trace";

/// Hands finished spans over. To be put on the registry with [`OwnSpans`] as its filter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recorder;

impl<S> Layer<S> for Recorder
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let recorded = span.extensions_mut().remove::<Recorded>();
        if let Some(recorded) = recorded {
            sink::push(recorded.finish());
        }
    }
}

/// The filter that lets the spans of this crate through, and nothing else: whatever level is logged, they
/// are there.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnSpans;

impl<S> Filter<S> for OwnSpans {
    fn enabled(&self, about: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        about.is_span() && about.target() == TARGET
    }

    fn callsite_enabled(&self, about: &'static Metadata<'static>) -> Interest {
        if about.is_span() && about.target() == TARGET {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}
