//! Spans of work: begun below the one that runs now, or below one that another process told of.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

use crate::context::{Context, SpanId};
use crate::sink;

/// Attributes of one span; further ones are left out.
const ATTRIBUTES_MAX: usize = 16;

/// Whose work a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Work within the process.
    Internal,
    /// Work that another process asked for.
    Server,
    /// Waiting for another process.
    Client,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(i64),
    /// A word: never one that a client chose.
    Word(Cow<'static, str>),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Number(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Number(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<&'static str> for Value {
    fn from(value: &'static str) -> Self {
        Self::Word(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Word(value.into())
    }
}

/// What a span is about, before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    name: Cow<'static, str>,
    kind: Kind,
    attributes: Vec<(&'static str, Value)>,
}

impl Step {
    /// Work within the process.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::Internal, name)
    }

    /// Work of a kind.
    #[must_use]
    pub fn of(kind: Kind, name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            kind,
            attributes: Vec::new(),
        }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((key, value.into()));
        self
    }
}

/// A span that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The span.
    pub context: Context,
    /// The one it was begun below.
    pub parent: Option<SpanId>,
    /// What was done.
    pub name: Cow<'static, str>,
    /// Whose work it was.
    pub kind: Kind,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// More about it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, where it did.
    pub failed: Option<Cow<'static, str>>,
}

/// What hangs on a span of `tracing` whose trace is recorded.
pub(crate) struct Recorded {
    context: Context,
    parent: Option<SpanId>,
    step: Step,
    began: SystemTime,
    since: Instant,
    failed: Option<Cow<'static, str>>,
}

impl Recorded {
    pub(crate) fn finish(self) -> Finished {
        Finished {
            context: self.context,
            parent: self.parent,
            name: self.step.name,
            kind: self.step.kind,
            began: self.began,
            // A clock that is set meanwhile must not make a span end before it began.
            ended: self.began + self.since.elapsed(),
            attributes: self.step.attributes,
            failed: self.failed,
        }
    }
}

/// The recorded span that runs now, or that the one that runs now is below. `None`, and quickly, where
/// nothing is recorded.
#[must_use]
pub fn current() -> Option<Context> {
    if !sink::is_on() {
        return None;
    }
    let seen = Span::current().with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        span.scope().find_map(|span| {
            let extensions = span.extensions();
            extensions
                .get::<Recorded>()
                .map(|recorded| recorded.context.clone())
        })
    });
    seen.flatten()
}

/// Begins a step of what runs now; a span of nothing where that is not recorded, and `step` is not asked.
/// It ends when the last handle of it is dropped.
#[must_use]
pub fn begin(step: impl FnOnce() -> Step) -> Span {
    match current() {
        None => Span::none(),
        Some(parent) => begin_under(&parent, step()),
    }
}

/// Begins a step of another span, whoever runs that.
#[must_use]
pub fn begin_under(parent: &Context, step: Step) -> Span {
    if !sink::is_on() || !parent.sampled {
        return Span::none();
    }
    let span = tracing::info_span!(target: "marram_trace", "step");
    hang_on(&span, parent.next_span(), Some(parent.span), step);
    span
}

/// Has a span recorded as this one of its trace.
pub(crate) fn hang_on(span: &Span, context: Context, parent: Option<SpanId>, step: Step) {
    let recorded = Recorded {
        context,
        parent,
        step,
        began: SystemTime::now(),
        since: Instant::now(),
        failed: None,
    };
    span.with_subscriber(|(id, dispatch)| {
        let found = dispatch
            .downcast_ref::<Registry>()
            .and_then(|registry| registry.span(id));
        if let Some(span) = found {
            span.extensions_mut().insert(recorded);
        }
    });
}

/// The context of a span, if that is recorded. `None`, and quickly, where nothing is.
#[must_use]
pub fn recorded(span: &Span) -> Option<Context> {
    if !sink::is_on() {
        return None;
    }
    let seen = span.with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        let extensions = span.extensions();
        let recorded = extensions.get::<Recorded>();
        recorded.map(|recorded| recorded.context.clone())
    });
    seen.flatten()
}

fn change(span: &Span, change: impl FnOnce(&mut Recorded)) {
    if !sink::is_on() {
        return;
    }
    span.with_subscriber(|(id, dispatch)| {
        let found = dispatch
            .downcast_ref::<Registry>()
            .and_then(|registry| registry.span(id));
        if let Some(span) = found
            && let Some(recorded) = span.extensions_mut().get_mut::<Recorded>()
        {
            change(recorded);
        }
    });
}

/// Adds an attribute to a span that runs.
pub fn record(span: &Span, key: &'static str, value: impl Into<Value>) {
    change(span, |recorded| {
        if recorded.step.attributes.len() < ATTRIBUTES_MAX {
            recorded.step.attributes.push((key, value.into()));
        }
    });
}

/// Says that what a span is about failed. `why` is never what a client sent.
pub fn fail(span: &Span, why: impl Into<Cow<'static, str>>) {
    change(span, |recorded| recorded.failed = Some(why.into()));
}
