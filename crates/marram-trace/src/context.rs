//! The W3C trace context: which trace a request belongs to, and which span asked for it.

use std::fmt;
use std::sync::Arc;

/// Bytes of a context without its state: trace id, span id, flags.
const FIXED_BYTES: usize = 16 + 8 + 1;
/// Bytes of the state of other tracing systems that are passed on; a longer one is left out, which the
/// recommendation permits.
const STATE_BYTES_MAX: usize = 512;
/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// Names a trace. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TraceId(pub u128);

/// Names a span. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SpanId(pub u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl TraceId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random::<u128>().max(1))
    }
}

impl SpanId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random::<u64>().max(1))
    }
}

/// A span as others see it. As text it is a `traceparent`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// The trace is recorded.
    pub sampled: bool,
    /// What other tracing systems want to have passed on (`tracestate`).
    pub state: Option<Arc<str>>,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", self.trace, self.span)
    }
}

impl Context {
    /// The first span of a new trace.
    #[must_use]
    pub fn new_trace(sampled: bool) -> Self {
        Self {
            trace: TraceId::random(),
            span: SpanId::random(),
            sampled,
            state: None,
        }
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn next_span(&self) -> Self {
        Self {
            span: SpanId::random(),
            ..self.clone()
        }
    }

    /// Reads a `traceparent`; `None` for what is none, which is then as if nothing had been sent.
    #[must_use]
    pub fn parse(parent: &str) -> Option<Self> {
        let mut parts = parent.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = hex(version, 2)?;
        // Version 0 has exactly these parts; later ones may have more behind them, 255 is none.
        if version == 255 || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let span = u64::try_from(hex(span, 16)?).ok()?;
        Self::of(
            hex(trace, 32)?,
            span,
            u8::try_from(hex(flags, 2)?).ok()?,
            None,
        )
    }

    /// The same with a `tracestate`.
    #[must_use]
    pub fn with_state(mut self, state: Option<&str>) -> Self {
        self.state = state.filter(|state| fits(state)).map(Arc::from);
        self
    }

    /// The form in which peers send it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let state = self.state.as_deref().unwrap_or_default();
        let mut out = Vec::with_capacity(FIXED_BYTES + state.len());
        out.extend_from_slice(&self.trace.0.to_be_bytes());
        out.extend_from_slice(&self.span.0.to_be_bytes());
        out.push(u8::from(self.sampled));
        out.extend_from_slice(state.as_bytes());
        out
    }

    /// Reads what a peer sent; `None` for what is no context.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace, rest) = bytes.split_first_chunk::<16>()?;
        let (span, rest) = rest.split_first_chunk::<8>()?;
        let (flags, state) = rest.split_first()?;
        let state = std::str::from_utf8(state).ok().filter(|state| fits(state));
        Self::of(
            u128::from_be_bytes(*trace),
            u64::from_be_bytes(*span),
            *flags,
            state,
        )
    }

    fn of(trace: u128, span: u64, flags: u8, state: Option<&str>) -> Option<Self> {
        let valid = trace != 0 && span != 0;
        valid.then(|| Self {
            trace: TraceId(trace),
            span: SpanId(span),
            sampled: flags & SAMPLED != 0,
            state: state.map(Arc::from),
        })
    }
}

fn fits(state: &str) -> bool {
    !state.is_empty()
        && state.len() <= STATE_BYTES_MAX
        && state.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

/// Lower-case hexadecimal digits, exactly so many.
fn hex(digits: &str, count: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let fits = digits.len() == count && digits.bytes().all(lower);
    fits.then(|| u128::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn text_and_bytes_say_the_same() {
        let context = Context::parse(TEXT).expect("valid");
        assert!(context.sampled);
        assert_eq!(context.to_string(), TEXT);
        let context = context.with_state(Some("vendor=a b,other=1"));
        let back = Context::from_bytes(&context.to_bytes()).expect("valid");
        assert_eq!(back, context);
        let next = context.next_span();
        assert_eq!((next.trace, next.sampled), (context.trace, true));
        assert_ne!(next.span, context.span);
        assert_eq!(next.state, context.state);
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let later = TEXT.replacen("00-", "01-", 1) + "-what-ever";
        assert_eq!(Context::parse(&later), Context::parse(TEXT));
        assert!(
            !Context::parse(&TEXT.replace("-01", "-02"))
                .expect("valid")
                .sampled
        );
    }

    #[test]
    fn what_is_no_context_is_none() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Context::parse(text), None, "{text}");
        }
        let bytes = Context::parse(TEXT).expect("valid").to_bytes();
        assert_eq!(Context::from_bytes(&bytes[..24]), None);
        assert_eq!(Context::from_bytes(&[0; 25]), None);
        let long = "x".repeat(STATE_BYTES_MAX + 1);
        let context = Context::parse(TEXT).expect("valid");
        assert_eq!(context.clone().with_state(Some(&long)).state, None);
        assert_eq!(context.with_state(Some("a\nb")).state, None);
    }
}
