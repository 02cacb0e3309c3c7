//! One event of the log.

use std::fmt::{self, Write};

use marram_trace::CallInfo;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Fields whose values are names that operators may not want to give away.
const NAMES: [&str; 6] = ["bucket", "key", "access_key", "prefix", "object", "upload"];
/// What stands for such a value.
const LEFT_OUT: &str = "(left out)";

/// An event, before it is written.
#[derive(Debug)]
pub(crate) struct Line {
    time: String,
    level: Level,
    target: &'static str,
    fields: Fields,
    call: Option<CallInfo>,
    left_out: u64,
}

#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

impl Line {
    /// The event, the call in which it happened, and how many like it were left out before it.
    pub(crate) fn of(event: &Event<'_>, call: Option<CallInfo>, left_out: u64) -> Self {
        let mut time = String::new();
        // A clock that cannot be written is no reason to lose the line.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let mut fields = Fields::default();
        event.record(&mut fields);
        let about = event.metadata();
        Self {
            time,
            level: *about.level(),
            target: about.target(),
            fields,
            call,
            left_out,
        }
    }

    /// Whether it has values that are names.
    pub(crate) fn has_names(&self) -> bool {
        let mut fields = self.fields.others.iter();
        fields.any(|(name, _)| NAMES.contains(name))
    }

    /// For people, on one line.
    pub(crate) fn text(&self, colours: bool) -> String {
        self.said(colours, true)
    }

    /// The same without the values that are names.
    pub(crate) fn nameless(&self) -> String {
        self.said(false, false)
    }

    fn said(&self, colours: bool, names: bool) -> String {
        let (before, after) = if colours {
            (colour(self.level), "\x1b[0m")
        } else {
            ("", "")
        };
        let mut out = format!(
            "{} {before}{:>5}{after} {}: {}",
            self.time, self.level, self.target, self.fields.message
        );
        for (name, value) in &self.fields.others {
            let _ = match value {
                _ if !names && NAMES.contains(name) => write!(out, " {name}={LEFT_OUT}"),
                Value::String(text) => write!(out, " {name}={text}"),
                other => write!(out, " {name}={other}"),
            };
        }
        if let Some(call) = &self.call {
            let CallInfo {
                trace,
                call,
                method,
            } = call;
            let _ = write!(out, " method={method} trace={trace} request={call}");
        }
        if self.left_out > 0 {
            let _ = write!(
                out,
                " ({} lines like this one were left out)",
                self.left_out
            );
        }
        // What a caller sent stays on its line.
        out.replace(['\n', '\r'], " ")
    }

    /// An object in JSON: `time`, `level`, `target`, `message`, `fields`, and of a call `method`, `trace`,
    /// `request`.
    pub(crate) fn json(&self) -> String {
        let mut out = Map::new();
        let mut put = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
        put("time", self.time.clone().into());
        put("level", self.level.as_str().into());
        put("target", self.target.into());
        put("message", self.fields.message.clone().into());
        if !self.fields.others.is_empty() {
            let fields = self.fields.others.iter();
            let fields = fields.map(|(name, value)| ((*name).to_owned(), value.clone()));
            put("fields", Value::Object(fields.collect()));
        }
        if let Some(call) = &self.call {
            put("method", (&*call.method).into());
            put("trace", call.trace.to_string().into());
            put("request", call.call.to_string().into());
        }
        if self.left_out > 0 {
            put("left_out", self.left_out.into());
        }
        Value::Object(out).to_string()
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use marram_trace::{Context, begin_call};
    use tracing::Subscriber;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry::LookupSpan;

    use super::*;

    struct Taking(Arc<Mutex<Vec<Line>>>);

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Taking {
        fn on_event(&self, event: &Event<'_>, context: tracing_subscriber::layer::Context<'_, S>) {
            let call = context.event_scope(event).and_then(|mut scope| {
                scope.find_map(|span| span.extensions().get::<CallInfo>().cloned())
            });
            self.0.lock().unwrap().push(Line::of(event, call, 3));
        }
    }

    fn lines(log: impl FnOnce()) -> Vec<Line> {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Taking(Arc::clone(&taken)));
        tracing::subscriber::with_default(subscriber, log);
        Arc::try_unwrap(taken).ok().unwrap().into_inner().unwrap()
    }

    #[test]
    fn a_line_says_who_when_what_and_in_which_call() {
        let asked = Context::new_trace(true);
        let lines = lines(|| {
            begin_call("ObjectService/PutObject", Some(&asked)).in_scope(|| {
                tracing::warn!(target: "t", bucket = "photos", drive = 7, error = %"no\nroom", "it failed");
            });
            tracing::info!(target: "t", "alone");
        });
        let text = lines[0].text(false);
        assert!(text.contains("  WARN t: it failed bucket=photos drive=7 error=no room method=ObjectService/PutObject trace="), "{text}");
        assert!(
            text.contains(&format!("trace={} request=", asked.trace)),
            "{text}"
        );
        assert!(text.ends_with(" (3 lines like this one were left out)"));
        assert!(text.starts_with("20") && text.contains('Z'));
        assert!(lines[0].nameless().contains("bucket=(left out) drive=7"));
        assert!(lines[0].has_names() && !lines[1].has_names());
        let json: Value = serde_json::from_str(&lines[0].json()).expect("JSON");
        assert_eq!(json["message"], "it failed");
        assert_eq!(json["level"], "WARN");
        assert_eq!(json["fields"]["drive"], 7);
        assert_eq!(json["fields"]["error"], "no\nroom");
        assert_eq!(json["trace"], asked.trace.to_string());
        assert_eq!(json["left_out"], 3);
        let alone: Value = serde_json::from_str(&lines[1].json()).expect("JSON");
        assert!(alone.get("trace").is_none() && alone.get("fields").is_none());
    }
}
