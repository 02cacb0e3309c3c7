//! What is printed: results on standard output, progress on standard error.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use marram_client::Watcher;
use serde::Serialize;

use crate::cli::Globals;
use crate::failure::Failure;

/// How often the progress bar is drawn at most.
const DRAWS_PER_SECOND: u8 = 8;

/// Where results go, and in which form.
pub(crate) struct Output {
    to: Mutex<BufWriter<Stdout>>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Output {
    pub(crate) fn new(globals: &Globals) -> Self {
        Self {
            to: Mutex::new(BufWriter::new(io::stdout())),
            json: globals.json,
            quiet: globals.quiet,
        }
    }

    /// Prints a line.
    pub(crate) fn line(&self, line: &str) -> Result<(), Failure> {
        self.write(|to| writeln!(to, "{line}"))
    }

    /// Prints a value as JSON, on a line of its own.
    pub(crate) fn value(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.write(|to| {
            serde_json::to_writer(&mut *to, value)?;
            to.write_all(b"\n")
        })
    }

    /// Says what was done, unless it was asked to be quiet: as JSON, or as a sentence.
    pub(crate) fn done(
        &self,
        value: &impl Serialize,
        sentence: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            self.value(value)
        } else if self.quiet {
            Ok(())
        } else {
            self.line(&sentence())
        }
    }

    /// Prints text as it is, such as what moves the cursor.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        self.write(|to| to.write_all(text.as_bytes()))
    }

    /// How words are marked: in colour where a person looks at a terminal and did not say otherwise
    /// (`NO_COLOR`), else not at all.
    pub(crate) fn paint(&self) -> Paint {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Paint(io::stdout().is_terminal() && !refused && !dumb)
    }

    /// Hands what was printed to the reader.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        self.write(Write::flush)
    }

    fn write(
        &self,
        each: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let mut to = self
            .to
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        each(&mut to).map_err(Failure::Output)
    }

    /// A progress bar, which draws nothing unless a person is looking.
    pub(crate) fn progress(&self) -> Progress {
        let visible = !self.quiet && !self.json && io::stderr().is_terminal();
        Progress::new(visible)
    }
}

/// Marks words on a terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Marks nothing.
    pub(crate) fn none() -> Self {
        Self(false)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }

    /// All is well.
    pub(crate) fn good(self, text: &str) -> String {
        self.with("1;32", text)
    }

    /// Something has to be done.
    pub(crate) fn warning(self, text: &str) -> String {
        self.with("1;33", text)
    }

    /// Something has to be done now.
    pub(crate) fn critical(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// Less important than the rest.
    pub(crate) fn quiet(self, text: &str) -> String {
        self.with("2", text)
    }
}

/// A key or name for people: control characters are shown, not carried out by the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// Bytes that have moved of those that will.
#[derive(Clone)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    fn new(visible: bool) -> Self {
        if !visible {
            return Self(ProgressBar::hidden());
        }
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template(
            "{bytes:>11}/{total_bytes:<11} {binary_bytes_per_sec:>13} [{bar:24}] {eta:>4} left {msg}",
        );
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    /// That many more bytes are to be moved.
    pub(crate) fn expect(&self, bytes: u64) {
        self.0.inc_length(bytes);
    }

    /// That many bytes have moved.
    pub(crate) fn moved(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// That many bytes will have to move again.
    pub(crate) fn lost(&self, bytes: u64) {
        self.0.dec(bytes);
    }

    /// What is being moved.
    pub(crate) fn name(&self, what: &str) {
        if !self.0.is_hidden() {
            self.0.set_message(printable(what));
        }
    }

    /// For uploads.
    pub(crate) fn watcher(&self) -> Watcher {
        let progress = self.clone();
        Watcher::new(move |bytes| match u64::try_from(bytes) {
            Ok(bytes) => progress.moved(bytes),
            Err(_) => progress.lost(bytes.unsigned_abs()),
        })
    }

    /// Writes to standard error without tearing the bar.
    pub(crate) fn aside(&self, tell: impl FnOnce()) {
        self.0.suspend(tell);
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_told_what_to_do_by_keys() {
        assert_eq!(printable("a\u{e9} b"), "a\u{e9} b");
        assert_eq!(printable("a\n\u{1b}[2J\u{85}"), "a\\n\\u{1b}[2J\\u{85}");
    }
}
