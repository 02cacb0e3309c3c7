//! The command line, with the cluster's keys in its environment.

use std::ffi::OsStr;
use std::process::Command;

use serde_json::Value;

use crate::{Cluster, binary};

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Standard output as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("text")
    }

    /// Each line of the output as JSON.
    ///
    /// # Panics
    /// When a line is not JSON.
    #[must_use]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        self.text().lines().map(parse).collect()
    }

    /// The same, for a command that must succeed.
    ///
    /// # Panics
    /// When it failed; the message holds what it said.
    #[must_use]
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.err);
        self
    }
}

/// Runs `marram` with arguments, to its end.
///
/// # Panics
/// When it cannot be started, or was killed.
pub fn run(cluster: &Cluster, args: &[impl AsRef<OsStr>]) -> Ran {
    let output = Command::new(binary())
        .args(args)
        .envs(cluster.env())
        .output()
        .expect("marram can be started");
    Ran {
        code: output.status.code().expect("marram was not killed"),
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The last line of what a command that must succeed says with `--json`.
///
/// # Panics
/// When it fails or says nothing.
pub fn said(cluster: &Cluster, args: &[&str]) -> Value {
    let with_json = [args, &["--json"]].concat();
    let lines = run(cluster, &with_json).done().json_lines();
    let last = lines.into_iter().next_back();
    last.unwrap_or_else(|| panic!("{args:?} said nothing"))
}
