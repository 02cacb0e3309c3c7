//! Starts the processes, notices when one ends, starts one again when asked, stops them all.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::layout::{Layout, Ports, Settings};
use super::process::{Process, Spec, log_tail};
use super::secrets::AccessKey;
use super::{gateway_args, grow, ready, secrets, server_args, tokens};

/// How often the supervisor looks at its processes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a process that was killed may take until the operating system says so.
const ENDING_TIME: Duration = Duration::from_secs(2);
/// How long a join token for a process that is to be started may take.
const ADMIT_WITHIN: Duration = Duration::from_secs(12);
/// How often it asks the cluster who its members are.
const MEMBERS_EVERY: Duration = Duration::from_millis(500);

/// All processes of a development cluster.
#[derive(Debug)]
pub(super) struct Supervisor {
    layout: Layout,
    settings: Settings,
    running: Vec<Process>,
    /// Processes that ended, kept so that they can be started again.
    ended: Vec<Spec>,
    /// Processes that need a join token before their first start.
    waiting: Vec<String>,
    /// Names that were members of the cluster when it was asked last.
    seen: BTreeSet<String>,
}

impl Supervisor {
    /// Starts every process that need not join.
    pub(super) fn start(layout: &Layout, settings: &Settings) -> Result<Self> {
        let mut supervisor = Self {
            layout: layout.clone(),
            settings: settings.clone(),
            running: Vec::new(),
            ended: Vec::new(),
            waiting: Vec::new(),
            seen: BTreeSet::new(),
        };
        let _ = fs::remove_file(layout.add_request());
        let _ = fs::remove_file(layout.add_answer());
        let nodes = settings.node_names().chain(settings.gateway_names());
        for (name, _) in nodes {
            let dir = layout.process_dir(&name);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            let _ = fs::remove_file(layout.restart_request(&name));
            if tokens::needs_one(layout, settings, &name) {
                supervisor.waiting.push(name);
                continue;
            }
            let spec = supervisor.spec(name);
            supervisor.running.push(Process::start(spec)?);
        }
        Ok(supervisor)
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout.clone()
    }

    /// Names of the processes that need a join token before they are started.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.waiting.clone()
    }

    /// Starts them, once they have their tokens.
    pub(super) fn start_waiting(&mut self) -> Result<()> {
        for name in std::mem::take(&mut self.waiting) {
            let spec = self.spec(name);
            self.running.push(Process::start(spec)?);
        }
        Ok(())
    }

    /// Gets a process that has to join its token.
    async fn admit(&self, name: &str) -> Result<()> {
        if !tokens::needs_one(&self.layout, &self.settings, name) {
            return Ok(());
        }
        let key = secrets::admin_key(&self.layout)?;
        let names = [name.to_owned()];
        let made = tokens::make(&self.layout, &self.settings, &key, &names);
        match tokio::time::timeout(ADMIT_WITHIN, made).await {
            Ok(made) => made,
            Err(_) => bail!("no server made a join token for {name} within {ADMIT_WITHIN:?}"),
        }
    }

    fn spec(&self, name: String) -> Spec {
        Spec {
            args: self.args(&name),
            pid_file: self.layout.pid_file(&name),
            log_file: self.layout.log_file(&name),
            name,
        }
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
    pub(super) async fn watch_until_told_to_stop(&mut self, key: &AccessKey) -> Result<()> {
        let stop = stop_signal();
        tokio::pin!(stop);
        let mut asked = Instant::now();
        loop {
            tokio::select! {
                told = &mut stop => return told,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.notice_ends();
            self.restart_requested().await;
            self.add_requested().await;
            if asked.elapsed() >= MEMBERS_EVERY {
                if let Some(members) = ready::members(&self.settings, key).await {
                    self.forget_removed(&members, key).await;
                }
                asked = Instant::now();
            }
        }
    }

    /// Ends the processes of nodes that were members and are none any more, for good.
    async fn forget_removed(&mut self, members: &[String], key: &AccessKey) {
        let names = self.settings.node_names().map(|(name, _)| name);
        let gone: Vec<String> = names
            .filter(|name| self.seen.contains(name) && !members.contains(name))
            .collect();
        self.seen = members.iter().cloned().collect();
        for name in gone {
            self.settings.forget_node(&name);
            self.ended.retain(|spec| spec.name != name);
            let (ending, running) = std::mem::take(&mut self.running)
                .into_iter()
                .partition(|process| process.name() == name);
            self.running = running;
            futures::future::join_all(Vec::into_iter(ending).map(Process::stop)).await;
            let kept = self
                .layout
                .keep(&self.settings)
                .and_then(|()| ready::write_env(&self.layout, &self.settings, key));
            let dir = self.layout.process_dir(&name);
            match kept {
                Ok(()) => eprintln!("{name} was removed; {} can be deleted", dir.display()),
                Err(error) => eprintln!("{name} was removed, which cannot be kept: {error:#}"),
            }
        }
    }

    async fn add_requested(&mut self) {
        if !self.layout.add_request().exists() {
            return;
        }
        let outcome = self.add_node().await;
        match &outcome {
            Ok(name) => eprintln!("{name} was added and starts"),
            Err(error) => eprintln!("no node was added: {error:#}"),
        }
        if let Err(error) = grow::answer(&self.layout, &outcome) {
            eprintln!("the wish for a node cannot be answered: {error:#}");
        }
    }

    /// Starts one node more. From the moment that it is written down it belongs to the cluster, even
    /// if its process does not start: it can be started again then.
    async fn add_node(&mut self) -> Result<String> {
        let name = grow::grow(&self.layout, &mut self.settings)?;
        let key = secrets::admin_key(&self.layout)?;
        ready::write_env(&self.layout, &self.settings, &key)?;
        let spec = self.spec(name.clone());
        let admitted = self.admit(&name).await;
        match admitted.and_then(|()| Process::start(spec.clone())) {
            Ok(process) => self.running.push(process),
            Err(error) => {
                self.ended.push(spec);
                return Err(error);
            }
        }
        Ok(name)
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

    async fn restart_requested(&mut self) {
        let mut still_ended = Vec::new();
        for mut spec in std::mem::take(&mut self.ended) {
            let request = self.layout.restart_request(&spec.name);
            if !request.exists() {
                still_ended.push(spec);
                continue;
            }
            spec.args = self.args(&spec.name);
            let admitted = self.admit(&spec.name).await;
            match admitted.and_then(|()| Process::start(spec.clone())) {
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
        // A request for a node that runs is fulfilled already. Whoever asks may know before us that it
        // ends: a process that is killed is on its way out for a while, and looks as if it ran.
        for process in &mut self.running {
            let request = self.layout.restart_request(process.name());
            if is_older(&request, ENDING_TIME) && process.is_running() {
                let _ = fs::remove_file(request);
            }
        }
    }

    /// Stops every process, all at once.
    pub(super) async fn stop(&mut self) {
        let processes = std::mem::take(&mut self.running);
        futures::future::join_all(processes.into_iter().map(Process::stop)).await;
    }
}

/// Whether a file has been there for so long.
fn is_older(file: &Path, time: Duration) -> bool {
    let written = fs::metadata(file).and_then(|file| file.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age >= time))
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
