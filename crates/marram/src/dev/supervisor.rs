//! Starts the processes, notices when one ends, starts one again when asked, stops them all.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use tokio::signal::unix::{SignalKind, signal};

use super::layout::{Layout, Ports, Settings};
use super::process::{Process, Spec, log_tail};
use super::{gateway_args, server_args};

/// How often the supervisor looks at its processes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// All processes of a development cluster.
#[derive(Debug)]
pub(super) struct Supervisor {
    layout: Layout,
    settings: Settings,
    running: Vec<Process>,
    /// Processes that ended, kept so that they can be started again.
    ended: Vec<Spec>,
}

impl Supervisor {
    /// Starts every process.
    pub(super) fn start(layout: &Layout, settings: &Settings) -> Result<Self> {
        let mut supervisor = Self {
            layout: layout.clone(),
            settings: settings.clone(),
            running: Vec::new(),
            ended: Vec::new(),
        };
        let nodes = settings.node_names().chain(settings.gateway_names());
        for (name, _) in nodes {
            let dir = layout.process_dir(&name);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            let _ = fs::remove_file(layout.restart_request(&name));
            let spec = Spec {
                args: supervisor.args(&name),
                pid_file: layout.pid_file(&name),
                log_file: layout.log_file(&name),
                name,
            };
            supervisor.running.push(Process::start(spec)?);
        }
        Ok(supervisor)
    }

    /// The arguments of a process now: the first node founds the cluster at its first start only.
    fn args(&self, name: &str) -> Vec<String> {
        let (layout, settings) = (&self.layout, &self.settings);
        let named = |(other, _): &(String, Ports)| other == name;
        if let Some((name, ports)) = settings.node_names().find(named) {
            return server_args(layout, settings, &name, ports);
        }
        let gateway = settings.gateway_names().find(named);
        gateway.map_or_else(Vec::new, |(name, ports)| {
            gateway_args(layout, settings, &name, ports)
        })
    }

    pub(super) fn processes(&self) -> &[Process] {
        &self.running
    }

    /// The first process that ends by itself: before the cluster is ready that is an error.
    pub(super) async fn first_end(&mut self) -> Error {
        loop {
            for process in &mut self.running {
                if let Some(status) = process.ended() {
                    let log = &process.spec().log_file;
                    return anyhow!(
                        "{} ended ({status}) before the cluster was ready; the end of {}:\n  {}",
                        process.name(),
                        log.display(),
                        log_tail(log)
                    );
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Keeps the cluster company until SIGINT or SIGTERM.
    pub(super) async fn watch_until_told_to_stop(&mut self) -> Result<()> {
        let stop = stop_signal();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                told = &mut stop => return told,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.notice_ends();
            self.restart_requested();
        }
    }

    fn notice_ends(&mut self) {
        let mut still = Vec::with_capacity(self.running.len());
        for mut process in self.running.drain(..) {
            let Some(status) = process.ended() else {
                still.push(process);
                continue;
            };
            let name = process.name();
            eprintln!("{name} (process {}) ended: {status}", process.pid());
            if let Some(node) = name.strip_prefix("node-") {
                let dir = self.layout.root().display();
                eprintln!("  start it again with: marram dev --dir {dir} --restart-node {node}");
            }
            self.ended.push(process.spec().clone());
        }
        self.running = still;
    }

    fn restart_requested(&mut self) {
        let mut still_ended = Vec::new();
        for mut spec in std::mem::take(&mut self.ended) {
            let request = self.layout.restart_request(&spec.name);
            if !request.exists() {
                still_ended.push(spec);
                continue;
            }
            spec.args = self.args(&spec.name);
            match Process::start(spec.clone()) {
                Ok(process) => {
                    eprintln!("{} runs again as process {}", process.name(), process.pid());
                    self.running.push(process);
                }
                Err(error) => {
                    eprintln!("{} could not be started: {error:#}", spec.name);
                    still_ended.push(spec);
                }
            }
            let _ = fs::remove_file(&request);
        }
        self.ended = still_ended;
        // A request for a node that runs is fulfilled already.
        for process in &self.running {
            let _ = fs::remove_file(self.layout.restart_request(process.name()));
        }
    }

    /// Stops every process, all at once.
    pub(super) async fn stop(&mut self) {
        let processes = std::mem::take(&mut self.running);
        futures::future::join_all(processes.into_iter().map(Process::stop)).await;
    }
}

/// Resolves when the process is told to stop.
pub(super) async fn stop_signal() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
