//! One server of a cluster whose `marram dev` does not run, started by hand as an operator would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binary::{ANY_METRICS_PORT, binary};

/// How long a server may take to end after it was told to.
const STOP_WITHIN: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A `marram server` with the settings that `marram dev` gives a node.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// The command of node `number` of the cluster in `dir`, which joins through the others, with
    /// `more` arguments.
    ///
    /// # Panics
    /// When the folder is not that of a development cluster.
    #[must_use]
    pub fn command(dir: &Path, number: u16, more: &[String]) -> Command {
        let settings = fs::read(dir.join("cluster.json")).expect("the cluster has settings");
        let settings: Value = serde_json::from_slice(&settings).expect("JSON");
        let nodes = settings["nodes"].as_array().expect("a list of nodes");
        let own = usize::from(number) - 1;
        let name = format!("node-{number}");
        let mut command = Command::new(binary());
        command
            .env(ANY_METRICS_PORT.0, ANY_METRICS_PORT.1)
            .args(["server", "--stop-when-stdin-closes"])
            .arg(format!("--name={name}"))
            .arg(format!("--api-listen=127.0.0.1:{}", nodes[own]["api"]))
            .arg(format!("--mesh-listen=127.0.0.1:{}", nodes[own]["mesh"]))
            .arg(format!("--kek-file={}", dir.join("kek").display()))
            .arg(format!("--segment-mib={}", settings["segment_mib"]));
        for drive in 1..=settings["drives"].as_u64().expect("a number") {
            let drive = dir.join(&name).join(format!("drive-{drive}"));
            command.arg(format!("--data={}", drive.display()));
        }
        for (_, other) in nodes.iter().enumerate().filter(|(at, _)| *at != own) {
            command.arg(format!("--join=127.0.0.1:{}", other["mesh"]));
        }
        command.args(more);
        command
    }

    /// Starts it; what it says goes to a log of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(dir: &Path, number: u16, more: &[String]) -> Self {
        let log = dir.join(format!("by-hand-{number}.log"));
        let out = fs::File::create(&log).expect("a log can be written");
        let errors = out.try_clone().expect("a file can be shared");
        let mut command = Self::command(dir, number, more);
        command.stdin(Stdio::piped()).stdout(out).stderr(errors);
        let child = command.spawn().expect("marram can be started");
        Self { child, log }
    }

    /// Runs it to its end, which must come by itself: whether it succeeded, and what it said.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(dir: &Path, number: u16, more: &[String]) -> (bool, String) {
        let mut command = Self::command(dir, number, more);
        // An end of standard input would stop it.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("marram can be started");
        let _open = child.stdin.take();
        let output = child.wait_with_output().expect("it ended");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    }

    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has ended by itself.
    ///
    /// # Panics
    /// When the operating system cannot say.
    pub fn ended(&mut self) -> bool {
        let ended = self.child.try_wait().expect("it can be waited for");
        ended.is_some()
    }

    /// Stops it in order.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + STOP_WITHIN;
        while !self.ended() {
            assert!(
                Instant::now() < deadline,
                "the server did not stop:\n{}",
                self.said()
            );
            std::thread::sleep(ASK_EVERY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("what the server said:\n{}", self.said());
        }
    }
}
