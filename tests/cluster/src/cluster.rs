//! A cluster: one `marram dev` with its server processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use marram_client::{Client, ClientConfig, ClusterStatus, NodeState, RetryPolicy};
use rustix::process::Signal;
use serde_json::Value;

use crate::processes::read_pid;
use crate::{Processes, binary, run};

/// How long a cluster may take to be ready; loaded machines are slow.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long a node may take to take part again.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
/// How long a node that holds nothing may take to be removed, and its process to be ended.
const REMOVED_WITHIN: Duration = Duration::from_secs(120);
/// Times that are waited for are those of a machine that has little else to do; a busy one gets so many times as
/// much. That something comes in time is measured elsewhere.
const BUSY_TIMES: u32 = 3;
/// How long everything may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(40);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Runs the cluster and stops it as soon as our end of its standard input closes, which also
/// happens when the test's process is killed.
const KEEPER: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- & dev=$!
echo $dev > "$KEEPER_DIR/dev.pid"
( cat <&3 >/dev/null; kill -TERM $dev 2>/dev/null ) & watch=$!
wait $dev; code=$?
kill $watch 2>/dev/null
if [ -n "$KEEPER_REMOVES" ] && [ ! -e "$KEEPER_DIR/keep" ]; then rm -rf "$KEEPER_DIR"; fi
exit $code
"#;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Storage nodes.
    pub nodes: u16,
    /// Drives of each.
    pub drives: u16,
    /// Gateways without drives.
    pub gateways: u16,
    /// Size of the drives' segment files in MiB.
    pub segment_mib: u64,
    /// Bytes used of each drive.
    pub drive_capacity: Option<u64>,
    /// Bytes of the metadata drive that new objects leave free, where it is not the default.
    pub metadata_free: Option<u64>,
    /// Garbage goes after some seconds instead of hours.
    pub quick_garbage: bool,
    /// Further settings of the servers, as environment variables.
    pub env: Vec<(&'static str, String)>,
    /// Whether the folder goes when the cluster stops, unless there is a file `keep` in it.
    pub remove: bool,
}

impl Default for Options {
    /// Six nodes with a drive each.
    fn default() -> Self {
        Self {
            nodes: 6,
            drives: 1,
            gateways: 0,
            segment_mib: 16,
            drive_capacity: None,
            metadata_free: None,
            quick_garbage: false,
            env: Vec::new(),
            remove: false,
        }
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    options: Options,
    /// Nodes that were removed.
    gone: BTreeSet<u16>,
    keeper: Child,
    keys: Keys,
    processes: Processes,
}

#[derive(Debug, Clone)]
struct Keys {
    endpoints: Vec<String>,
    access_key: String,
    secret_key: String,
}

impl Cluster {
    /// Starts a cluster in `dir`, a new one or the one that is there, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not start; the message holds the end of its output.
    #[must_use]
    pub fn start(dir: &Path, options: &Options) -> Self {
        match Self::try_start(dir, options) {
            Ok(cluster) => cluster,
            Err(said) => panic!("the cluster in {} did not start:\n{said}", dir.display()),
        }
    }

    /// The same for a start that may fail.
    ///
    /// # Errors
    /// What `marram dev` said, when it ended before it was ready.
    ///
    /// # Panics
    /// When it neither ends nor gets ready.
    pub fn try_start(dir: &Path, options: &Options) -> Result<Self, String> {
        let mut keeper = spawn(dir, options);
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(keys) = Keys::read(&dir.join("env")) {
                return Ok(Self {
                    dir: dir.to_owned(),
                    options: options.clone(),
                    gone: removed(dir),
                    keeper,
                    keys,
                    processes: Processes::new(dir),
                });
            }
            if keeper
                .try_wait()
                .expect("the keeper can be waited for")
                .is_some()
            {
                return Err(fs::read_to_string(dir.join("dev.log")).unwrap_or_default());
            }
            if Instant::now() > deadline {
                drop(keeper.stdin.take());
                let _ = keeper.wait();
                let said = fs::read_to_string(dir.join("dev.log")).unwrap_or_default();
                panic!(
                    "no cluster in {} after {READY_WITHIN:?}:\n{said}",
                    dir.display()
                );
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of storage nodes that there ever were: the highest number of one.
    #[must_use]
    pub fn nodes(&self) -> u16 {
        self.options.nodes
    }

    /// The numbers of the storage nodes, without removed ones.
    #[must_use]
    pub fn members(&self) -> Vec<u16> {
        let all = 1..=self.options.nodes;
        all.filter(|node| !self.gone.contains(node)).collect()
    }

    /// The nodes' processes.
    #[must_use]
    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    /// A client of all endpoints.
    ///
    /// # Panics
    /// When the endpoints are not valid.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::connect(self.config()).expect("a valid configuration")
    }

    /// The configuration of such a client.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        let keys = &self.keys;
        ClientConfig::new(keys.endpoints.join(","), &keys.access_key, &keys.secret_key)
    }

    /// A client of all endpoints that reads nothing from the nodes themselves.
    ///
    /// # Panics
    /// When the endpoints are not valid.
    #[must_use]
    pub fn client_through_gateways(&self) -> Client {
        let mut config = self.config();
        config.direct_reads = false;
        Client::connect(config).expect("a valid configuration")
    }

    /// A client of one node only, numbered from 1, which it asks for everything; gateways follow the
    /// nodes.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn client_of(&self, node: u16) -> Client {
        let endpoint = self.endpoint(node).to_owned();
        let mut config = self.config();
        config.endpoints = vec![endpoint];
        config.direct_reads = false;
        Client::connect(config).expect("a valid configuration")
    }

    /// Where a node, numbered from 1, serves applications; gateways follow the nodes.
    ///
    /// # Panics
    /// When it was removed.
    #[must_use]
    pub fn endpoint(&self, node: u16) -> &str {
        assert!(!self.gone.contains(&node), "node {node} was removed");
        let before = self.gone.range(..node).count();
        &self.keys.endpoints[usize::from(node) - 1 - before]
    }

    /// Access key and secret.
    #[must_use]
    pub fn keys(&self) -> (&str, &str) {
        (&self.keys.access_key, &self.keys.secret_key)
    }

    /// The environment of the `env` file.
    #[must_use]
    pub fn env(&self) -> [(&'static str, String); 3] {
        [
            ("MARRAM_ENDPOINT", self.keys.endpoints.join(",")),
            ("MARRAM_ACCESS_KEY", self.keys.access_key.clone()),
            ("MARRAM_SECRET_KEY", self.keys.secret_key.clone()),
        ]
    }

    /// The process id of `marram dev` itself.
    ///
    /// # Panics
    /// When it never started.
    #[must_use]
    pub fn dev_pid(&self) -> u32 {
        read_pid(&self.dir.join("dev.pid")).expect("marram dev was started")
    }

    /// The process id of a node, numbered from 1; `None` when it does not run.
    #[must_use]
    pub fn pid(&self, node: u16) -> Option<u32> {
        self.processes.pid(node)
    }

    /// The process ids of everything that runs: nodes and gateways.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let nodes = (1..=self.options.nodes).map(|n| format!("node-{n}"));
        let gateways = (1..=self.options.gateways).map(|n| format!("gateway-{n}"));
        nodes
            .chain(gateways)
            .filter_map(|name| self.processes.pid_of(&name))
            .collect()
    }

    /// A node's first drive.
    #[must_use]
    pub fn drive(&self, node: u16) -> PathBuf {
        self.dir.join(format!("node-{node}/drive-1"))
    }

    /// Sends a signal to a node.
    ///
    /// # Panics
    /// When the node does not run.
    pub fn signal(&self, node: u16, signal: Signal) {
        self.processes.signal(node, signal);
    }

    /// Kills nodes with SIGKILL, all at once, and waits until they are gone.
    ///
    /// # Panics
    /// When one does not run.
    pub fn kill(&self, nodes: &[u16]) {
        self.processes.kill(nodes);
    }

    /// Starts killed nodes again.
    ///
    /// # Panics
    /// When `marram dev --restart-node` fails.
    pub fn restart(&self, nodes: &[u16]) {
        self.processes.restart(nodes);
    }

    /// Has the cluster grow by one node, and says its number. Clients made from now on know it.
    ///
    /// # Panics
    /// When `marram dev --add-node` fails.
    pub fn add_node(&mut self) -> u16 {
        let output = Command::new(binary())
            .args(["dev", "--add-node", "--dir"])
            .arg(&self.dir)
            .output()
            .expect("marram runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no node was added: {said}");
        self.options.nodes += 1;
        self.keys = Keys::read(&self.dir.join("env")).expect("the cluster is ready");
        self.options.nodes
    }

    /// Removes a node that was drained or fenced, once nothing is on it any more. Clients made from
    /// now on do not know it.
    ///
    /// # Panics
    /// When that does not come to be; the message holds the last refusal.
    pub async fn remove_node(&mut self, node: u16) {
        let name = format!("node-{node}");
        until(&format!("{name} is removed"), REMOVED_WITHIN, async || {
            let removed = run(self, &["admin", "remove", &name]);
            match removed.code {
                0 => Ok(()),
                _ => Err(removed.err),
            }
        })
        .await;
        // `marram dev` sees by itself that it is none of the cluster's any more.
        until(
            &format!("{name} is forgotten"),
            REMOVED_WITHIN,
            async || match removed(&self.dir).contains(&node) && self.pid(node).is_none() {
                true => Ok(()),
                false => Err("marram dev still keeps it".to_owned()),
            },
        )
        .await;
        let expected = self.keys.endpoints.len() - 1;
        until(
            "the environment follows",
            REMOVED_WITHIN,
            async || match Keys::read(&self.dir.join("env")) {
                Some(keys) if keys.endpoints.len() == expected => Ok(()),
                _ => Err("it has other endpoints".to_owned()),
            },
        )
        .await;
        self.gone.insert(node);
        self.keys = Keys::read(&self.dir.join("env")).expect("the cluster is ready");
    }

    /// Waits until every node sees every other one, and every group has a leader and all of its
    /// voters.
    ///
    /// # Panics
    /// When that does not come to be.
    pub async fn healthy(&self) {
        let members = self.members();
        for node in &members {
            let node = *node;
            let mut config = self.config();
            config.endpoints = vec![self.endpoint(node).to_owned()];
            config.retry = RetryPolicy::never();
            config.call_timeout = Duration::from_secs(3);
            let client = Client::connect(config).expect("a valid configuration");
            until(
                &format!("node {node} sees a healthy cluster"),
                HEALTHY_WITHIN,
                async || match client.cluster_status().await {
                    Ok(status) if is_healthy(&status, members.len()) => Ok(()),
                    Ok(status) => Err(format!("{:?} {:?}", status.redundancy, status.groups)),
                    Err(error) => Err(error.to_string()),
                },
            )
            .await;
        }
    }

    /// Stops everything and waits for the end.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&mut self) {
        drop(self.keeper.stdin.take());
        let deadline = Instant::now() + STOP_WITHIN;
        while self
            .keeper
            .try_wait()
            .expect("the keeper can be waited for")
            .is_none()
        {
            assert!(
                Instant::now() < deadline,
                "the cluster did not stop within {STOP_WITHIN:?}"
            );
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// True when `marram dev` has ended.
    ///
    /// # Panics
    /// When the operating system cannot say.
    pub fn ended(&mut self) -> bool {
        self.keeper
            .try_wait()
            .expect("the keeper can be waited for")
            .is_some()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
            return;
        }
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        eprintln!(
            "logs of the cluster: {}/*/server.log and dev.log",
            self.dir.display()
        );
    }
}

impl Keys {
    /// `None` while the file is not there.
    fn read(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| {
                line.strip_prefix("export ")?
                    .strip_prefix(name)?
                    .strip_prefix('=')
            });
            line.map(str::to_owned)
        };
        Some(Self {
            endpoints: value("MARRAM_ENDPOINT")?
                .split(',')
                .map(str::to_owned)
                .collect(),
            access_key: value("MARRAM_ACCESS_KEY")?,
            secret_key: value("MARRAM_SECRET_KEY")?,
        })
    }
}

fn spawn(dir: &Path, options: &Options) -> Child {
    fs::create_dir_all(dir).expect("the cluster's folder can be made");
    // A supervisor that was killed left it behind.
    let _ = fs::remove_file(dir.join("env"));
    let log = fs::File::create(dir.join("dev.log")).expect("a log can be written");
    let errors = log.try_clone().expect("a file can be shared");
    let mut command = Command::new("sh");
    command
        .args(["-c", KEEPER, "keeper"])
        .arg(binary())
        .arg("dev");
    command.arg("--dir").arg(dir).env("KEEPER_DIR", dir);
    command.env("KEEPER_REMOVES", if options.remove { "1" } else { "" });
    if options.quick_garbage {
        // Uploads of a busy machine take their time, while no node is drained.
        command.env("MARRAM_GC_FLOOR_LAG", "300");
        command.env("MARRAM_GC_DRAIN_GRACE", "15");
        command.env("MARRAM_GC_READ_LAG", "4");
        command.env("MARRAM_GC_SCAN_EVERY", "3");
    }
    if let Some(bytes) = options.metadata_free {
        command.env("MARRAM_METADATA_FREE", bytes.to_string());
    }
    command.envs(options.env.iter().map(|(name, value)| (name, value)));
    let segment = options.segment_mib.to_string();
    command.args(["--segment-mib", &segment]);
    // A cluster keeps the ports it was made with.
    if !dir.join("cluster.json").exists() {
        let (nodes, drives) = (options.nodes.to_string(), options.drives.to_string());
        let gateways = options.gateways.to_string();
        let port = crate::ports::row().to_string();
        command.args(["--base-port", &port, "--nodes", &nodes, "--drives", &drives]);
        command.args(["--gateways", &gateways]);
        if let Some(bytes) = options.drive_capacity {
            command.args(["--drive-capacity", &bytes.to_string()]);
        }
    }
    command.stdin(Stdio::piped()).stdout(log).stderr(errors);
    command.spawn().expect("sh can be started")
}

fn is_healthy(status: &ClusterStatus, nodes: usize) -> bool {
    let up = status
        .nodes
        .iter()
        .filter(|node| node.state == NodeState::Up)
        .count();
    let groups = status.groups.iter().all(|group| {
        group.leader_node_id.is_some()
            && usize::try_from(group.voters_up) == Ok(group.voter_node_ids.len())
    });
    up == nodes && groups && status.redundancy.as_ref().is_some_and(|r| r.writable)
}

/// The numbers of the nodes that `marram dev` has seen removed.
fn removed(dir: &Path) -> BTreeSet<u16> {
    let settings = fs::read(dir.join("cluster.json")).unwrap_or_default();
    let settings: Value = serde_json::from_slice(&settings).unwrap_or_default();
    let numbers = settings["removed"].as_array().into_iter().flatten();
    let numbers = numbers.filter_map(Value::as_u64);
    numbers.filter_map(|n| u16::try_from(n).ok()).collect()
}

/// Asks again and again until the answer is good.
///
/// # Panics
/// When it is not good within three times `limit`; the message holds the last answer.
pub async fn until(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Result<(), String>) {
    let limit = limit * BUSY_TIMES;
    let deadline = Instant::now() + limit;
    loop {
        match ask().await {
            Ok(()) => return,
            Err(last) if Instant::now() > deadline => {
                panic!("not within {limit:?}: {what}; last: {last}")
            }
            Err(_) => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}
