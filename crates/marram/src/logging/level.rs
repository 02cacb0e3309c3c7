//! Which lines a process logs, and until when. Pure: time comes in.

use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

/// Most parts of a filter.
const PARTS_MAX: usize = 64;
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Text that is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterError {
    /// Nothing stands in it.
    #[error("it is empty: write a level ({})", LEVELS.join(", "))]
    Empty,
    /// It is too long.
    #[error("it has {0} parts: at most {PARTS_MAX} are allowed")]
    TooMany(usize),
    /// A part is none.
    #[error(
        "part {part:?}: {wrong}. Write a level ({}), or target=level for a part of the program, with commas between them",
        LEVELS.join(", ")
    )]
    Part {
        /// Which.
        part: String,
        /// What is wrong with it.
        wrong: String,
    },
}

/// Reads a filter. Stricter than what a process takes from its environment, where a mistyped level is the
/// name of a part of the program of which everything is logged.
pub(crate) fn parse(text: &str) -> Result<EnvFilter, FilterError> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    match parts[..] {
        [""] => return Err(FilterError::Empty),
        _ if parts.len() > PARTS_MAX => return Err(FilterError::TooMany(parts.len())),
        _ => {}
    }
    for part in &parts {
        check(part).map_err(|wrong| FilterError::Part {
            part: (*part).to_owned(),
            wrong,
        })?;
    }
    // Whoever writes it is trusted to read the log, and not to choose how much work a pattern is.
    let builder = EnvFilter::builder().with_regex(false);
    let wrong = |error: tracing_subscriber::filter::ParseError| FilterError::Part {
        part: text.to_owned(),
        wrong: error.to_string(),
    };
    builder.parse(parts.join(",")).map_err(wrong)
}

fn check(part: &str) -> Result<(), String> {
    let (target, level) = match part.rsplit_once('=') {
        Some((target, level)) => (Some(target), level),
        None => (None, part),
    };
    if !LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known)) {
        return Err(format!("{level:?} is no level"));
    }
    if let Some(target) = target {
        let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
        // What stands in brackets is a span with fields, which the library reads.
        let name = target.split('[').next().unwrap_or_default();
        if target.is_empty() || !name.chars().all(of_name) {
            return Err(format!("{target:?} is no target"));
        }
    }
    let parsed = EnvFilter::builder().with_regex(false).parse(part);
    parsed.map(drop).map_err(|error| error.to_string())
}

/// What is logged now, and what comes then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Level {
    /// What was logged when the process started.
    start: String,
    /// What is logged where nothing else is for a while.
    lasting: String,
    /// What is logged for a while, and until when.
    passing: Option<(String, Instant)>,
}

/// A change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// To a filter, until the process ends.
    Lasting(String),
    /// To a filter, for so long.
    For(String, Duration),
    /// To what was logged when the process started.
    Reset,
}

impl Change {
    /// Itself, if its filter is one.
    pub(crate) fn checked(self) -> Result<Self, FilterError> {
        match &self {
            Self::Lasting(text) | Self::For(text, _) => parse(text).map(drop)?,
            Self::Reset => {}
        }
        Ok(self)
    }
}

impl Level {
    pub(crate) fn new(start: String) -> Self {
        Self {
            lasting: start.clone(),
            start,
            passing: None,
        }
    }

    /// The filter in force.
    pub(crate) fn now(&self) -> &str {
        self.passing
            .as_ref()
            .map_or(&self.lasting, |(text, _)| text)
    }

    /// The one that comes after what is for a while.
    pub(crate) fn then(&self) -> &str {
        &self.lasting
    }

    /// How long the one in force still is.
    pub(crate) fn ends_in(&self, now: Instant) -> Option<Duration> {
        let (_, until) = self.passing.as_ref()?;
        Some(until.saturating_duration_since(now))
    }

    /// The same after a change.
    pub(crate) fn after(&self, change: Change, now: Instant) -> Self {
        let mut next = self.clone();
        match change {
            Change::Lasting(text) => (next.lasting, next.passing) = (text, None),
            Change::For(text, time) => next.passing = Some((text, now + time)),
            Change::Reset => next = Self::new(next.start),
        }
        next
    }

    /// The same when time has passed.
    pub(crate) fn at(&self, now: Instant) -> Self {
        let mut next = self.clone();
        next.passing = next.passing.filter(|(_, until)| now < *until);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_and_targets() {
        for text in [
            "info",
            "OFF",
            "info,openraft=error",
            "warn, marram_store::drive=trace",
            "info,[call{method=GetObject}]=debug",
        ] {
            assert!(parse(text).is_ok(), "{text}: {:?}", parse(text).err());
        }
        assert_eq!(parse("info,a=debug").unwrap().to_string(), "a=debug,info");
    }

    #[test]
    fn the_wrong_part_is_named() {
        for (text, part) in [
            ("info,openraft=lout", "openraft=lout"),
            ("inof", "inof"),
            ("info,,debug", ""),
            ("warn,=debug", "=debug"),
            ("a b=info", "a b=info"),
        ] {
            let error = parse(text).unwrap_err();
            let named = matches!(&error, FilterError::Part { part: named, .. } if named == part);
            assert!(named, "{text}: {error:?}");
            assert!(error.to_string().contains("off, error, warn"), "{error}");
        }
        assert_eq!(parse(" ").unwrap_err(), FilterError::Empty);
        let many = vec!["info"; PARTS_MAX + 1].join(",");
        assert_eq!(
            parse(&many).unwrap_err(),
            FilterError::TooMany(PARTS_MAX + 1)
        );
        assert!(parse(&many[5..]).is_ok());
    }

    #[test]
    fn what_is_for_a_while_ends() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let start = Level::new("info".to_owned());
        let lasting = start.after(Change::Lasting("warn".to_owned()), now);
        let passing = lasting.after(Change::For("debug".to_owned(), minute), now);
        assert_eq!((passing.now(), passing.then()), ("debug", "warn"));
        assert_eq!(passing.ends_in(now + minute / 2), Some(minute / 2));
        assert_eq!(passing.at(now + minute / 2), passing);
        assert_eq!(passing.at(now + minute), lasting);
        assert_eq!(lasting.ends_in(now), None);
        assert_eq!(passing.after(Change::Reset, now), start);
        let other = passing.after(Change::Lasting("error".to_owned()), now);
        assert_eq!((other.now(), other.ends_in(now)), ("error", None));
    }
}
