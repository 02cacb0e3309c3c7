//! One process of a server or gateway, with the flags that an operator would give it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::binary::{ANY_METRICS_PORT, binary};

/// How long a process may take to end, or to say something.
const WITHIN: Duration = Duration::from_secs(60);

/// A process of `marram server` or `marram gateway`. It is killed when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it; what it says goes to a file of this name in the folder.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(folder: &Path, name: &str, args: &[impl AsRef<OsStr>]) -> Self {
        Self::start_with(folder, name, args, &[])
    }

    /// The same with environment variables of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with(
        folder: &Path,
        name: &str,
        args: &[impl AsRef<OsStr>],
        env: &[(&'static str, String)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = fs::File::create(&log).expect("a log can be written");
        let errors = file.try_clone().expect("a file can be shared");
        let child = Command::new(binary())
            .args(args)
            .env(ANY_METRICS_PORT.0, ANY_METRICS_PORT.1)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .expect("marram can be started");
        Self { child, log }
    }

    /// What it has said.
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

    /// Waits until it ends by itself, which must be with a failure, and gives what it said.
    ///
    /// # Panics
    /// When it does not end, or ends well.
    #[must_use]
    #[track_caller]
    pub fn refused(mut self) -> String {
        let deadline = Instant::now() + WITHIN;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                assert!(!status.success(), "it ended well:\n{}", self.said());
                return self.said();
            }
            assert!(Instant::now() < deadline, "it goes on:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has said something.
    ///
    /// # Panics
    /// When it does not say it, or ends.
    #[track_caller]
    pub fn says(&mut self, what: &str) {
        let deadline = Instant::now() + WITHIN;
        while !self.said().contains(what) {
            let ended = self.child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "it ended:\n{}", self.said());
            assert!(Instant::now() < deadline, "no {what:?}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
