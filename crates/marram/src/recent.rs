//! The newest log lines of this process, kept in memory for whoever looks for what went wrong: as many as
//! are useful, and no more than fit into a little memory.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;

/// Lines that are kept.
const LINES_MAX: usize = 2000;
/// Bytes of them all.
const BYTES_MAX: usize = 512 * 1024;
/// Bytes of one; the rest of a longer one is cut off.
const LINE_BYTES_MAX: usize = 1024;

/// Fields whose values are names that operators may not want to give away.
const NAMES: [&str; 6] = ["bucket", "key", "access_key", "prefix", "object", "upload"];

/// The target of lines about shards that go.
const REMOVED: &str = "removed";

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    lines: VecDeque::new(),
    bytes: 0,
});

struct Kept {
    lines: VecDeque<Line>,
    bytes: usize,
}

/// A line, and the same without names where it has any.
struct Line {
    text: String,
    nameless: Option<String>,
}

impl Line {
    fn bytes(&self) -> usize {
        self.text.len() + self.nameless.as_ref().map_or(0, String::len)
    }
}

impl Kept {
    fn push(&mut self, line: Line) {
        self.bytes += line.bytes();
        self.lines.push_back(line);
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes();
        }
    }
}

/// The newest lines, at most so many, the newest last; with the values of fields that are names, or
/// without.
pub(crate) fn newest(most: usize, names: bool) -> Vec<String> {
    let kept = KEPT.lock();
    let skipped = kept.lines.len().saturating_sub(most);
    let say = |line: &Line| match &line.nameless {
        Some(nameless) if !names => nameless.clone(),
        _ => line.text.clone(),
    };
    kept.lines.iter().skip(skipped).map(say).collect()
}

/// Keeps what is logged.
pub(crate) struct Keeping;

impl<S: Subscriber> Layer<S> for Keeping {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        // What is removed is many lines, and would leave no room for what went wrong.
        if event.metadata().target() == REMOVED {
            return;
        }
        let line = line(event);
        KEPT.lock().push(line);
    }
}

fn line(event: &Event<'_>) -> Line {
    let mut head = String::new();
    // A clock that cannot be written is no reason to lose the line.
    let _ = SystemTime.format_time(&mut Writer::new(&mut head));
    let about = event.metadata();
    let _ = write!(head, " {:>5} {}:", about.level(), about.target());
    let mut said = Said {
        text: head.clone(),
        nameless: head,
        has_names: false,
    };
    event.record(&mut said);
    Line {
        text: cut(said.text),
        nameless: said.has_names.then(|| cut(said.nameless)),
    }
}

fn cut(mut line: String) -> String {
    if line.len() > LINE_BYTES_MAX {
        let mut at = LINE_BYTES_MAX;
        while !line.is_char_boundary(at) {
            at -= 1;
        }
        line.truncate(at);
        line.push_str("...");
    }
    // What a caller sent stays on its line.
    line.replace(['\n', '\r'], " ")
}

/// Fields as they are written down.
struct Said {
    text: String,
    nameless: String,
    has_names: bool,
}

impl Said {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name();
        let written = match name {
            "message" => format!(" {value}"),
            name => format!(" {name}={value}"),
        };
        self.text.push_str(&written);
        if NAMES.contains(&name) {
            self.has_names = true;
            let _ = write!(self.nameless, " {name}=(left out)");
        } else {
            self.nameless.push_str(&written);
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn plain(text: &str) -> Line {
        Line {
            text: text.to_owned(),
            nameless: None,
        }
    }

    #[test]
    fn no_more_is_kept_than_fits() {
        let mut kept = Kept {
            lines: VecDeque::new(),
            bytes: 0,
        };
        for number in 0..LINES_MAX + 10 {
            kept.push(plain(&number.to_string()));
        }
        assert_eq!(kept.lines.len(), LINES_MAX);
        assert_eq!(kept.lines[0].text, "10");
        let long = "x".repeat(LINE_BYTES_MAX);
        for _ in 0..LINES_MAX {
            kept.push(plain(&long));
            assert!(kept.bytes <= BYTES_MAX);
        }
        assert_eq!(kept.lines.len(), BYTES_MAX / LINE_BYTES_MAX);
    }

    #[test]
    fn lines_say_who_when_and_what_with_names_only_where_they_may() {
        let subscriber = tracing_subscriber::registry().with(Keeping);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "tests_of_recent", bucket = "photos", error = %"no\nroom", "it failed");
            tracing::info!(target: "tests_of_recent", text = %"\u{e9}".repeat(2000), "long");
        });
        let of = |names| -> Vec<String> {
            let mut lines = newest(LINES_MAX, names);
            lines.retain(|line| line.contains("tests_of_recent"));
            lines
        };
        let with = of(true);
        assert!(
            with[0].ends_with(" WARN tests_of_recent: it failed bucket=photos error=no room"),
            "{with:?}"
        );
        assert!(with[0].starts_with("20") && with[0].contains('Z'));
        assert!(of(false)[0].contains("bucket=(left out)"));
        assert!(with[1].len() <= LINE_BYTES_MAX + 3);
        assert_eq!(newest(0, true).len(), 0);
    }
}
