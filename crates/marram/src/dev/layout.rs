//! Where the pieces of a development cluster lie, and the settings that it keeps.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use marram_types::ClusterId;
use serde::{Deserialize, Serialize};

use super::Args;

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
}

/// What a development cluster is made of: written once, kept for good.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Settings {
    /// The cluster's id, 32 hexadecimal digits.
    pub cluster: String,
    /// Drives of each node.
    pub drives: u16,
    /// The nodes' ports; node N is at N-1.
    pub nodes: Vec<Ports>,
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

    pub(super) fn ca_dir(&self) -> PathBuf {
        self.root.join("ca")
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

    pub(super) fn tls_dir(&self, name: &str) -> PathBuf {
        self.process_dir(name).join("tls")
    }

    pub(super) fn pid_file(&self, name: &str) -> PathBuf {
        self.process_dir(name).join("pid")
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

    /// The settings of a cluster that is here already, checked against the flags given now; or
    /// those of a new one.
    pub(super) fn settings(&self, args: &Args, fresh_cluster: ClusterId) -> Result<Settings> {
        let file = self.root.join("cluster.json");
        if file.exists() {
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let kept: Settings = serde_json::from_str(&text).with_context(|| {
                format!(
                    "{} is damaged: remove the folder to begin anew",
                    file.display()
                )
            })?;
            kept.check(args)?;
            return Ok(kept);
        }
        let settings = Settings::fresh(args, fresh_cluster)?;
        write_private(&file, serde_json::to_string_pretty(&settings)?.as_bytes())?;
        Ok(settings)
    }
}

impl Settings {
    fn fresh(args: &Args, cluster: ClusterId) -> Result<Self> {
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
            cluster: cluster.to_string(),
            drives: args.drives.unwrap_or(DRIVES_DEFAULT),
            nodes: ports,
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
        differs("nodes", self.nodes.len(), args.nodes)?;
        differs("drives a node", usize::from(self.drives), args.drives)?;
        differs("gateways", self.gateways.len(), args.gateways)?;
        let first = self.nodes.first().map_or(0, |p| usize::from(p.api));
        differs(
            "as its first port",
            first,
            args.base_port.filter(|p| *p != 0),
        )
    }

    /// Names and ports of the nodes.
    pub(super) fn node_names(&self) -> impl Iterator<Item = (String, Ports)> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(i, ports)| (format!("node-{}", i + 1), *ports))
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
        .map(|api| Ports { api, mesh: api + 1 })
        .collect())
}

/// Ports that are free now. All listeners are held until the last is found, so that no port is
/// handed out twice.
fn free_ports(count: usize) -> Result<Vec<Ports>> {
    let mut held = Vec::new();
    let mut next = || -> Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        let port = listener.local_addr().context("no free port")?.port();
        held.push(listener);
        Ok(port)
    };
    (0..count)
        .map(|_| {
            Ok(Ports {
                api: next()?,
                mesh: next()?,
            })
        })
        .collect()
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
            (ports[0].api, ports[5].api, ports[5].mesh),
            (7070, 7120, 7121)
        );
        assert!(numbered_ports(65_500, 6).is_err());
    }

    #[test]
    fn free_ports_are_distinct() {
        let ports = free_ports(8).expect("free ports");
        let all: std::collections::HashSet<u16> =
            ports.iter().flat_map(|p| [p.api, p.mesh]).collect();
        assert_eq!(all.len(), 16);
    }
}
