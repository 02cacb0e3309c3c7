//! The newest log lines of this process, kept in memory for whoever looks for what went wrong: as many as
//! are useful, and no more than fit into a little memory.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::logging::Line;

/// Lines that are kept.
const LINES_MAX: usize = 2000;
/// Bytes of them all.
const BYTES_MAX: usize = 512 * 1024;
/// Bytes of one; the rest of a longer one is cut off.
const LINE_BYTES_MAX: usize = 1024;

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    lines: VecDeque::new(),
    bytes: 0,
});

struct Kept {
    lines: VecDeque<Said>,
    bytes: usize,
}

/// A line, and the same without names where it has any.
struct Said {
    text: String,
    nameless: Option<String>,
}

impl Said {
    fn bytes(&self) -> usize {
        self.text.len() + self.nameless.as_ref().map_or(0, String::len)
    }
}

impl Kept {
    fn push(&mut self, line: Said) {
        self.bytes += line.bytes();
        self.lines.push_back(line);
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes();
        }
    }

    fn newest(&self, most: usize, names: bool) -> Vec<String> {
        let skipped = self.lines.len().saturating_sub(most);
        let say = |line: &Said| match &line.nameless {
            Some(nameless) if !names => nameless.clone(),
            _ => line.text.clone(),
        };
        self.lines.iter().skip(skipped).map(say).collect()
    }
}

/// The newest lines, at most so many, the newest last; with the values of fields that are names, or
/// without.
pub(crate) fn newest(most: usize, names: bool) -> Vec<String> {
    KEPT.lock().newest(most, names)
}

/// Keeps what is logged.
pub(crate) fn keep(line: &Line) {
    let nameless = line.has_names().then(|| cut(line.nameless()));
    let text = cut(line.text(false));
    KEPT.lock().push(Said { text, nameless });
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
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Said {
        Said {
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
        assert_eq!(kept.newest(0, true).len(), 0);
        let named = Said {
            text: "bucket=photos".to_owned(),
            nameless: Some("bucket=(left out)".to_owned()),
        };
        kept.push(named);
        assert_eq!(kept.newest(1, true), ["bucket=photos"]);
        assert_eq!(kept.newest(1, false), ["bucket=(left out)"]);
        assert!(cut("\u{e9}".repeat(2000)).len() <= LINE_BYTES_MAX + 3);
    }
}
