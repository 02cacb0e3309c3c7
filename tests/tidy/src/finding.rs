//! What breaks a rule, and how to mend it.

use std::fmt;

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the repository's root, or the crate.
    pub place: String,
    /// The line, from 1; 0 where the whole place is meant.
    pub line: usize,
    /// What is wrong and how to mend it.
    pub text: String,
}

/// All places that break a rule.
pub type Findings = Vec<Finding>;

impl Finding {
    /// A finding at a line of a file.
    #[must_use]
    pub fn at(place: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            line,
            text: text.into(),
        }
    }

    /// A finding about a whole file or crate.
    #[must_use]
    pub fn of(place: &str, text: impl Into<String>) -> Self {
        Self::at(place, 0, text)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.place, self.text),
            line => write!(f, "{}:{line}: {}", self.place, self.text),
        }
    }
}

/// All findings as one text, a line each, in order.
#[must_use]
pub fn report(mut findings: Findings) -> String {
    findings.sort();
    findings
        .iter()
        .map(|finding| format!("\n  {finding}"))
        .collect()
}
