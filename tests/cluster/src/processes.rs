//! The server processes of a cluster, by the folder that it lives in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::binary;

/// How long the operating system may take to end a killed process.
const GONE_WITHIN: Duration = Duration::from_secs(20);
const ASK_EVERY: Duration = Duration::from_millis(10);

/// The processes of a cluster. A copy may be used while somebody else holds the cluster.
#[derive(Debug, Clone)]
pub struct Processes {
    dir: PathBuf,
}

impl Processes {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The process id of a node, numbered from 1; `None` when it does not run.
    #[must_use]
    pub fn pid(&self, node: u16) -> Option<u32> {
        self.pid_of(&format!("node-{node}"))
    }

    /// The same by name: `node-1`, `gateway-1`.
    #[must_use]
    pub(crate) fn pid_of(&self, name: &str) -> Option<u32> {
        read_pid(&self.dir.join(name).join("pid"))
    }

    /// Sends a signal to a node.
    ///
    /// # Panics
    /// When the node does not run.
    pub fn signal(&self, node: u16, signal: Signal) {
        let pid = self.running(node);
        kill_process(as_pid(pid), signal).expect("the node can be signalled");
    }

    /// Kills nodes with SIGKILL, all at once, and waits until they are gone.
    ///
    /// # Panics
    /// When one does not run, or does not go.
    pub fn kill(&self, nodes: &[u16]) {
        let pids: Vec<u32> = nodes.iter().map(|node| self.running(*node)).collect();
        for pid in &pids {
            kill_process(as_pid(*pid), Signal::KILL).expect("the node can be killed");
        }
        let deadline = Instant::now() + GONE_WITHIN;
        while pids.iter().any(|pid| alive(*pid)) {
            assert!(Instant::now() < deadline, "{nodes:?} were killed and live");
            std::thread::sleep(ASK_EVERY);
        }
    }

    fn running(&self, node: u16) -> u32 {
        self.pid(node)
            .unwrap_or_else(|| panic!("node {node} does not run"))
    }

    /// Starts killed nodes again.
    ///
    /// # Panics
    /// When `marram dev --restart-node` fails.
    pub fn restart(&self, nodes: &[u16]) {
        for node in nodes {
            let output = Command::new(binary())
                .args(["dev", "--restart-node", &node.to_string(), "--dir"])
                .arg(&self.dir)
                .output()
                .expect("marram runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "node {node} was not started again: {said}"
            );
        }
    }
}

pub(crate) fn read_pid(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn as_pid(pid: u32) -> Pid {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id")
}

/// True while a process is there, or any of its threads: one that was killed is a zombie from the end of
/// its first thread on, and its parent hears of it at the end of the last.
#[must_use]
pub fn alive(pid: u32) -> bool {
    let zombie = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    });
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    test_kill_process(as_pid(pid)).is_ok() && (!zombie || threads > 1)
}
