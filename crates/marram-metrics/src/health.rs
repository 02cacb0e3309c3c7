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
    /// The words have addresses or paths in them, which are for those who run the cluster.
    pub names_places: bool,
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
            names_places: false,
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
            names_places: false,
        }
    }

    /// The same, whose words have addresses or paths in them.
    #[must_use]
    pub fn that_names_places(self) -> Self {
        Self {
            names_places: true,
            ..self
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

    /// What does not hold.
    pub fn failing(&self) -> impl Iterator<Item = &Condition> {
        self.conditions.iter().filter(|condition| !condition.holds)
    }

    /// What does not hold, for people: a line for each, `name: why`.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let line = |condition: &Condition| format!("{}: {}", condition.name, condition.says);
        self.failing().map(line).collect()
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
