//! One child process of a development cluster.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long a process may take to end after SIGTERM before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(15);
/// Lines of a log that are shown when a process ends by itself.
const LOG_TAIL_LINES: usize = 5;

/// How to start a process.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// Its name: `node-1`, `gateway-1`.
    pub name: String,
    /// Arguments after the binary's path.
    pub args: Vec<String>,
    /// Where its process id is written.
    pub pid_file: PathBuf,
    /// Where its output goes.
    pub log_file: PathBuf,
}

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    spec: Spec,
    child: Child,
    pid: u32,
}

impl Process {
    /// Starts it. It stops when our end of its standard input closes, so that no server outlives
    /// a supervisor that was killed.
    pub(super) fn start(spec: Spec) -> Result<Self> {
        let binary = std::env::current_exe().context("cannot find the marram binary")?;
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&spec.log_file)
            .with_context(|| format!("cannot write {}", spec.log_file.display()))?;
        let mut command = std::process::Command::new(binary);
        command
            .args(&spec.args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().context("cannot share the log file")?)
            .stderr(log)
            // Ctrl-C in the terminal reaches the supervisor only, which then stops all in order.
            .process_group(0);
        let mut command = Command::from(command);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", spec.name))?;
        let pid = child
            .id()
            .context("the process ended while it was started")?;
        fs::write(&spec.pid_file, format!("{pid}\n"))
            .with_context(|| format!("cannot write {}", spec.pid_file.display()))?;
        Ok(Self { spec, child, pid })
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The exit status once the process has ended; its pid file goes with it.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        self.forget_pid();
        Some(status)
    }

    /// Whether it has not ended, as of now. An end is still there for [`ended`](Self::ended) to tell.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM, waits, and kills what is still there after the grace.
    pub(super) async fn stop(mut self) {
        self.signal(Signal::TERM);
        // A stopped (SIGSTOP) process sees SIGTERM only when it goes on.
        self.signal(Signal::CONT);
        if tokio::time::timeout(STOP_GRACE, self.child.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                process = self.spec.name,
                "did not stop in time and is killed"
            );
            let _ = self.child.kill().await;
        }
        self.forget_pid();
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && self.child.id().is_some()
        {
            let _ = kill_process(pid, signal);
        }
    }

    fn forget_pid(&self) {
        let ours = fs::read_to_string(&self.spec.pid_file)
            .is_ok_and(|text| text.trim() == self.pid.to_string());
        if ours {
            let _ = fs::remove_file(&self.spec.pid_file);
        }
    }
}

/// The last lines of a log, for a message about a process that ended.
pub(super) fn log_tail(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n  ")
}
