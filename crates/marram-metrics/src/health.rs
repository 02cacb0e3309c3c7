//! Whether a process is ready, in words.

use std::fmt::Write;

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its name, one word.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// How it is, or why it does not hold.
    pub says: String,
}

impl Condition {
    /// One that holds.
    #[must_use]
    pub fn good(name: &'static str, says: impl Into<String>) -> Self {
        let says = says.into();
        Self {
            name,
            holds: true,
            says,
        }
    }

    /// One that does not.
    #[must_use]
    pub fn bad(name: &'static str, says: impl Into<String>) -> Self {
        let says = says.into();
        Self {
            name,
            holds: false,
            says,
        }
    }
}

/// Whether a process is ready: when everything holds. One that has said nothing yet is not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What must hold.
    pub conditions: Vec<Condition>,
}

impl Verdict {
    /// Whether it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.conditions.is_empty() && self.conditions.iter().all(|c| c.holds)
    }

    /// As text: what does not hold, or with `all` everything.
    #[must_use]
    pub fn text(&self, all: bool) -> String {
        let mut out = String::new();
        for condition in self.conditions.iter().filter(|c| all || !c.holds) {
            let sign = if condition.holds { '+' } else { '-' };
            // Writing to a string does not fail.
            let _ = writeln!(out, "[{sign}] {}: {}", condition.name, condition.says);
        }
        out.push_str(if self.is_ready() {
            "ready\n"
        } else {
            "not ready\n"
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_everything_holds() {
        let mut verdict = Verdict::default();
        assert!(!verdict.is_ready(), "nothing was said yet");
        verdict.conditions.push(Condition::good("member", "node 3"));
        assert_eq!(
            (verdict.is_ready(), verdict.text(false)),
            (true, "ready\n".into())
        );
        assert_eq!(verdict.text(true), "[+] member: node 3\nready\n");
        verdict
            .conditions
            .push(Condition::bad("nodes", "1 of 6 answers"));
        assert!(!verdict.is_ready());
        assert_eq!(
            verdict.text(false),
            "[-] nodes: 1 of 6 answers\nnot ready\n"
        );
    }
}
