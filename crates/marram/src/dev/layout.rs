//! Where the pieces of a development cluster lie, and the settings that it keeps.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Args;

/// Nodes of a development cluster, at most.
pub(super) const NODES_MAX: u16 = 32;
const NODES_DEFAULT: u16 = 6;
const DRIVES_DEFAULT: u16 = 1;
const BASE_PORT_DEFAULT: u16 = 7070;
/// Ports between one node and the next, so that a reader sees the node in the port.
const PORTS_PER_NODE: u16 = 10;

/// The ports of one process.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Ports {
    /// The public API.
    pub api: u16,
    /// Peers; gateways have none and keep 0.
    pub mesh: u16,
    /// Metrics and health; 0, any port, in a cluster that was made before there were any.
    #[serde(default)]
    pub metrics: u16,
}

impl Ports {
    fn all(&self) -> [u16; 3] {
        [self.api, self.mesh, self.metrics]
    }
}

/// What a development cluster is made of: written once, kept for good.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Drives of each node.
    pub drives: u16,
    /// The nodes' ports; node N is at N-1.
    pub nodes: Vec<Ports>,
    /// How many of them came later, by `--add-node`.
    #[serde(default)]
    pub added: u16,
    /// Numbers of nodes that were removed from the cluster: they are not started any more.
    #[serde(default)]
    pub removed: Vec<u16>,
    /// The gateways' ports.
    pub gateways: Vec<Ports>,
    /// Segment size in MiB.
    pub segment_mib: u64,
    /// Bytes used of each drive.
    pub drive_capacity: Option<u64>,
}

/// The folder of a development cluster.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The folder `dir`, which is made when it is not there.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let root = dir
            .canonicalize()
            .with_context(|| format!("cannot open the folder {}", dir.display()))?;
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The shell file with endpoint and keys; there only while the cluster is ready.
    pub(super) fn env_file(&self) -> PathBuf {
        self.root.join("env")
    }

    pub(super) fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn kek_file(&self) -> PathBuf {
        self.root.join("kek")
    }

    pub(super) fn admin_key_file(&self) -> PathBuf {
        self.root.join("admin-key")
    }

    /// The folder of a process: `node-1`, `gateway-1`.
    pub(super) fn process_dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where a gateway keeps its key and certificate; a node keeps them on its first drive.
    pub(super) fn identity_file(&self, name: &str) -> PathBuf {
        self.process_dir(name).join("identity")
    }

    /// The join token of a process that is no member yet.
    pub(super) fn token_file(&self, name: &str) -> PathBuf {
        self.process_dir(name).join("join-token")
    }

    pub(super) fn pid_file(&self, name: &str) -> PathBuf {
        self.process_dir(name).join("pid")
    }

    /// Where peers reach the node, if not at its own port.
    pub(super) fn advertise_file(&self, name: &str) -> PathBuf {
        self.process_dir(name).join("mesh-advertise")
    }

    pub(super) fn log_file(&self, name: &str) -> PathBuf {
        self.process_dir(name).join("server.log")
    }

    /// A node's drives, the metadata drive first.
    pub(super) fn drives(&self, name: &str, count: u16) -> Vec<PathBuf> {
        (1..=count)
            .map(|d| self.process_dir(name).join(format!("drive-{d}")))
            .collect()
    }

    /// Where `--restart-node` leaves its wish for the running command.
    pub(super) fn restart_request(&self, name: &str) -> PathBuf {
        self.process_dir(name).join("restart-requested")
    }

    /// Where `--add-node` leaves its wish for the running command.
    pub(super) fn add_request(&self) -> PathBuf {
        self.root.join("add-node-requested")
    }

    /// What the running command says to it.
    pub(super) fn add_answer(&self) -> PathBuf {
        self.root.join("add-node-answer")
    }

    /// Held by whoever wishes, so that one wish is dealt with after the other.
    pub(super) fn add_lock(&self) -> PathBuf {
        self.root.join("add-node-lock")
    }

    fn settings_file(&self) -> PathBuf {
        self.root.join("cluster.json")
    }

    /// The settings of the cluster that is here, if there is one.
    pub(super) fn kept(&self) -> Result<Option<Settings>> {
        let file = self.settings_file();
        if !file.exists() {
            return Ok(None);
        }
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let kept = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is damaged: remove the folder to begin anew",
                file.display()
            )
        })?;
        Ok(Some(kept))
    }

    /// Writes the settings down for every later start.
    pub(super) fn keep(&self, settings: &Settings) -> Result<()> {
        let text = serde_json::to_string_pretty(settings)?;
        write_private(&self.settings_file(), text.as_bytes())
    }

    /// The settings of a cluster that is here already, checked against the flags given now; or
    /// those of a new one.
    pub(super) fn settings(&self, args: &Args) -> Result<Settings> {
        if let Some(kept) = self.kept()? {
            kept.check(args)?;
            return Ok(kept);
        }
        let settings = Settings::fresh(args)?;
        self.keep(&settings)?;
        Ok(settings)
    }
}

impl Settings {
    fn fresh(args: &Args) -> Result<Self> {
        let base = args.base_port.unwrap_or(BASE_PORT_DEFAULT);
        let nodes = args.nodes.unwrap_or(NODES_DEFAULT);
        let gateways = args.gateways.unwrap_or(0);
        let mut ports = if base == 0 {
            free_ports(usize::from(nodes + gateways))?
        } else {
            numbered_ports(base, nodes + gateways)?
        };
        let gateways = ports.split_off(usize::from(nodes));
        Ok(Self {
            drives: args.drives.unwrap_or(DRIVES_DEFAULT),
            nodes: ports,
            removed: Vec::new(),
            added: 0,
            gateways,
            segment_mib: args.segment_mib,
            drive_capacity: args.drive_capacity,
        })
    }

    /// A cluster is not changed by other flags on a later start: say so instead of ignoring them.
    fn check(&self, args: &Args) -> Result<()> {
        let differs = |what: &str, kept: usize, wanted: Option<u16>| match wanted {
            Some(wanted) if usize::from(wanted) != kept => bail!(
                "this cluster was made with {kept} {what}, not {wanted}: leave the flag out, or give another --dir"
            ),
            _ => Ok(()),
        };
        // The command that made the cluster starts it again, with the nodes that came later.
        let made_with = self.nodes.len() - usize::from(self.added).min(self.nodes.len());
        if args.nodes.map(usize::from) != Some(made_with) {
            differs("nodes", self.nodes.len(), args.nodes)?;
        }
        differs("drives a node", usize::from(self.drives), args.drives)?;
        differs("gateways", self.gateways.len(), args.gateways)?;
        let first = self.nodes.first().map_or(0, |p| usize::from(p.api));
        differs(
            "as its first port",
            first,
            args.base_port.filter(|p| *p != 0),
        )
    }

    /// One node more: on the next ports of the cluster's own row where those are free, else on any.
    pub(super) fn add_node(&mut self) -> Result<()> {
        let used: Vec<Ports> = self.nodes.iter().chain(&self.gateways).copied().collect();
        let ports = match next_numbered(&used) {
            Some(next) if next.all().into_iter().all(is_free) => next,
            _ => free_beside(&used)?,
        };
        self.nodes.push(ports);
        self.added += 1;
        Ok(())
    }

    /// Names and ports of the nodes, without removed ones.
    pub(super) fn node_names(&self) -> impl Iterator<Item = (String, Ports)> {
        (1_u16..)
            .zip(&self.nodes)
            .filter(|(number, _)| !self.removed.contains(number))
            .map(|(number, ports)| (format!("node-{number}"), *ports))
    }

    /// Forgets a node that was removed from the cluster. Says whether that is news.
    pub(super) fn forget_node(&mut self, name: &str) -> bool {
        let number = name.strip_prefix("node-").and_then(|n| n.parse().ok());
        match number {
            Some(number) if !self.removed.contains(&number) => {
                self.removed.push(number);
                true
            }
            _ => false,
        }
    }

    /// Names and ports of the gateways.
    pub(super) fn gateway_names(&self) -> impl Iterator<Item = (String, Ports)> {
        self.gateways
            .iter()
            .enumerate()
            .map(|(i, ports)| (format!("gateway-{}", i + 1), *ports))
    }

    /// The API addresses of all processes, for `MARRAM_ENDPOINT`.
    pub(super) fn endpoints(&self) -> Vec<String> {
        let api = |(_, ports): (String, Ports)| format!("127.0.0.1:{}", ports.api);
        self.node_names()
            .chain(self.gateway_names())
            .map(api)
            .collect()
    }
}

fn numbered_ports(base: u16, count: u16) -> Result<Vec<Ports>> {
    let last = u32::from(base) + u32::from(count) * u32::from(PORTS_PER_NODE);
    if last > u32::from(u16::MAX) {
        bail!(
            "--base-port {base} leaves no room for {count} processes of 10 ports each below 65536"
        );
    }
    Ok((0..count)
        .map(|i| base + i * PORTS_PER_NODE)
        .map(|api| Ports {
            api,
            mesh: api + 1,
            metrics: api + 2,
        })
        .collect())
}

/// The ports after the last of a numbered row; none where the ports are no such row.
fn next_numbered(used: &[Ports]) -> Option<Ports> {
    let first = used.iter().map(|ports| ports.api).min()?;
    let last = used.iter().map(|ports| ports.api).max()?;
    let in_row = |ports: &Ports| (ports.api - first).is_multiple_of(PORTS_PER_NODE);
    let beside = |ports: &Ports| {
        let fits = |port: u16, by: u16| port == 0 || port == ports.api.saturating_add(by);
        fits(ports.mesh, 1) && fits(ports.metrics, 2)
    };
    let numbered = used.iter().all(|ports| in_row(ports) && beside(ports));
    let api = last.checked_add(PORTS_PER_NODE)?;
    numbered.then_some(Ports {
        api,
        mesh: api.checked_add(1)?,
        metrics: api.checked_add(2)?,
    })
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Free ports that none of these has: one of them may belong to a node that does not run now.
fn free_beside(used: &[Ports]) -> Result<Ports> {
    let taken = |port: u16| used.iter().any(|p| p.all().contains(&port));
    // More than are taken, so that one is left.
    let found = free_ports(used.len() + 1)?;
    let good = |ports: &Ports| !ports.all().into_iter().any(taken);
    found.into_iter().find(good).context("no free port")
}

/// Ports that are free now, and that the system gives to no outgoing connection: a node finds its
/// port free whenever it starts again. All listeners are held until the last is found, so that no
/// port is handed out twice.
fn free_ports(count: usize) -> Result<Vec<Ports>> {
    let candidates = unprivileged_below(first_ephemeral());
    let size = candidates.len();
    // Another place for each cluster, so that two that start at once do not look at the same ports.
    let from = rand::random_range(0..size);
    let mut candidates = candidates.cycle().skip(from).take(size);
    let mut held = Vec::new();
    let mut next = || -> Result<u16> {
        let bind = |port| Some((port, TcpListener::bind(("127.0.0.1", port)).ok()?));
        let (port, listener) = candidates.find_map(bind).context("no free port")?;
        held.push(listener);
        Ok(port)
    };
    (0..count)
        .map(|_| {
            Ok(Ports {
                api: next()?,
                mesh: next()?,
                metrics: next()?,
            })
        })
        .collect()
}

/// Ports that anybody may listen on and that few well-known services have.
fn unprivileged_below(end: u16) -> std::ops::Range<u16> {
    const FIRST: u16 = 10_000;
    match end {
        ..=FIRST => FIRST..u16::MAX,
        _ => FIRST..end,
    }
}

/// The first of the ports that the system gives to outgoing connections (ip(7),
/// `ip_local_port_range`).
fn first_ephemeral() -> u16 {
    const USUAL: u16 = 32_768;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().map(str::parse);
    first.and_then(Result::ok).unwrap_or(USUAL)
}

/// Writes a file that only its owner may read, whole or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_ports_do_not_overlap_and_stay_below_the_limit() {
        let ports = numbered_ports(7070, 6).expect("room");
        assert_eq!(
            (ports[0].api, ports[5].api, ports[5].mesh, ports[5].metrics),
            (7070, 7120, 7121, 7122)
        );
        assert!(numbered_ports(65_500, 6).is_err());
    }

    #[test]
    fn a_further_node_takes_the_next_ports_of_the_row() {
        let row = numbered_ports(7070, 3).expect("room");
        let next = next_numbered(&row).expect("a row");
        assert_eq!(next.all(), [7100, 7101, 7102]);
        let odd = Ports {
            api: 7085,
            mesh: 7086,
            metrics: 7087,
        };
        assert!(next_numbered(&[row[0], odd]).is_none());
        let used = free_ports(3).expect("free ports");
        let other = free_beside(&used).expect("a free port");
        assert!(used.iter().all(|p| p.api != other.api));
    }

    #[test]
    fn a_cluster_from_before_metrics_goes_on_in_its_row() {
        let old = r#"[{"api":7070,"mesh":7071},{"api":7080,"mesh":7081}]"#;
        let old: Vec<Ports> = serde_json::from_str(old).expect("read");
        assert_eq!(old[1].all(), [7080, 7081, 0]);
        let next = next_numbered(&old).expect("a row");
        assert_eq!(next.all(), [7090, 7091, 7092]);
    }

    #[test]
    fn free_ports_are_distinct() {
        let ports = free_ports(8).expect("free ports");
        let all: std::collections::HashSet<u16> = ports.iter().flat_map(Ports::all).collect();
        assert_eq!(all.len(), 24);
    }

    #[test]
    fn free_ports_are_none_that_an_outgoing_connection_may_take() {
        let ports = free_ports(8).expect("free ports");
        let below = first_ephemeral();
        assert!(ports.iter().flat_map(Ports::all).all(|port| port < below));
        assert_eq!(unprivileged_below(32_768), 10_000..32_768);
        assert_eq!(unprivileged_below(1024), 10_000..u16::MAX);
    }
}
