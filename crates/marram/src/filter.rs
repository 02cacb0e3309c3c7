//! Which files and objects a command is about, by patterns of their names. Pure.

use clap::Args;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Most patterns of one kind.
const PATTERNS_MAX: usize = 1000;

/// Patterns as they are given.
///
/// `*` and `?` do not reach over a `/`, `**` does. A pattern without a `/` is about the last part of a
/// name, wherever that is; one with a `/` about the whole name, from where the command begins.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FilterArgs {
    /// Take only what one of these patterns is about: '*.jpg' anywhere below, 'logs/**' from the top;
    /// may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub(crate) include: Vec<String>,
    /// Leave out what one of these patterns is about, included or not; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
}

/// A pattern that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    #[error("pattern {0:?}: {1}")]
    Syntax(String, String),
    #[error("{0} patterns: give at most {PATTERNS_MAX}")]
    TooMany(usize),
}

/// Says which names are meant.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    /// `None` where everything is.
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    /// Reads the patterns.
    pub(crate) fn new(args: &FilterArgs) -> Result<Self, PatternError> {
        let include = (!args.include.is_empty())
            .then(|| set(&args.include))
            .transpose()?;
        Ok(Self {
            include,
            exclude: set(&args.exclude)?,
        })
    }

    /// Whether a name, which begins where the command begins, is meant.
    pub(crate) fn takes(&self, name: &str) -> bool {
        let included = self.include.as_ref().is_none_or(|set| set.is_match(name));
        included && !self.exclude.is_match(name)
    }
}

fn set(patterns: &[String]) -> Result<GlobSet, PatternError> {
    if patterns.len() > PATTERNS_MAX {
        return Err(PatternError::TooMany(patterns.len()));
    }
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        let wrong =
            |error: globset::Error| PatternError::Syntax(pattern.clone(), error.kind().to_string());
        let anywhere = format!("**/{pattern}");
        let whole = if pattern.contains('/') {
            pattern.strip_prefix('/').unwrap_or(pattern)
        } else {
            &anywhere
        };
        let glob = GlobBuilder::new(whole)
            .literal_separator(true)
            .build()
            .map_err(wrong)?;
        builder.add(glob);
    }
    builder
        .build()
        .map_err(|error| PatternError::Syntax(patterns.join(" "), error.kind().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let owned = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect();
        let args = FilterArgs {
            include: owned(include),
            exclude: owned(exclude),
        };
        Filter::new(&args).unwrap()
    }

    #[test]
    fn without_patterns_everything_is_meant() {
        assert!(filter(&[], &[]).takes("a/b c.jpg"));
        assert!(filter(&[], &[]).takes(""));
    }

    #[test]
    fn a_pattern_without_a_slash_is_about_the_last_part() {
        let jpg = filter(&["*.jpg"], &[]);
        assert!(jpg.takes("a.jpg") && jpg.takes("x/y/a.jpg"));
        assert!(!jpg.takes("a.jpg/b") && !jpg.takes("a.jpeg"));
    }

    #[test]
    fn a_pattern_with_a_slash_is_about_the_whole_name() {
        let logs = filter(&["logs/*.txt", "/top.txt"], &[]);
        assert!(logs.takes("logs/a.txt") && logs.takes("top.txt"));
        assert!(!logs.takes("old/logs/a.txt") && !logs.takes("logs/deep/a.txt"));
        assert!(!logs.takes("old/top.txt"));
        assert!(filter(&["logs/**"], &[]).takes("logs/deep/a.txt"));
    }

    #[test]
    fn what_is_excluded_stays_out() {
        let both = filter(&["*.jpg"], &["private/**", "secret?.jpg"]);
        assert!(both.takes("a.jpg"));
        assert!(!both.takes("private/a.jpg") && !both.takes("x/secret1.jpg"));
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let args = FilterArgs {
            include: vec!["a[".to_owned()],
            exclude: Vec::new(),
        };
        let told = Filter::new(&args).unwrap_err().to_string();
        assert!(told.starts_with("pattern \"a[\": "), "{told}");
    }
}
