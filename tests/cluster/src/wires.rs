//! Wires between the nodes that can be cut or made slow: a forwarder in front of each node's mesh port.
//!
//! Peers are told the forwarder's address (`mesh-advertise` in the node's folder), so everything that
//! they say to each other goes through it. A wire that is cut carries nothing in either direction and
//! closes nothing: to both ends it is a network that drops every packet, until it is whole again. Who
//! has opened a connection is asked of the operating system, so that a node can be cut off in both
//! directions. Applications still reach such a node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::Processes;

/// Nodes that may come to have wires.
const NODES_MAX: u16 = 24;
/// Bytes that one direction of a connection holds.
const BUFFER: usize = 64 << 10;
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The wires of one cluster, made before it starts for the first time. They outlive its nodes.
#[derive(Debug)]
pub struct Wires {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    processes: Processes,
    /// Nodes that are cut off.
    cut: watch::Sender<BTreeSet<u16>>,
    /// Nodes that are slow, and how long their wires hold what they carry.
    slow: watch::Sender<BTreeMap<u16, Duration>>,
}

/// The ends of a connection: the node that opened it, where it is one, and the one that serves it.
#[derive(Debug, Clone, Copy)]
struct Ends {
    from: Option<u16>,
    to: u16,
}

impl Ends {
    fn is_whole(self, cut: &BTreeSet<u16>) -> bool {
        !cut.contains(&self.to) && self.from.is_none_or(|from| !cut.contains(&from))
    }

    fn held_for(self, slow: &BTreeMap<u16, Duration>) -> Duration {
        let of = |node: u16| slow.get(&node).copied().unwrap_or_default();
        of(self.to).max(self.from.map_or(Duration::ZERO, of))
    }
}

impl Wires {
    /// Lays wires for the cluster that will be in `dir`.
    ///
    /// # Panics
    /// When there are no ports, or the folder cannot be written.
    #[must_use]
    pub fn lay(dir: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("wires")
            .enable_all()
            .build()
            .expect("threads can be started");
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            processes: Processes::new(dir),
            cut: watch::Sender::default(),
            slow: watch::Sender::default(),
        });
        for node in 1..=NODES_MAX {
            let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let address = listener.local_addr().expect("bound").to_string();
            let folder = dir.join(format!("node-{node}"));
            fs::create_dir_all(&folder).expect("the cluster's folder can be written");
            fs::write(folder.join("mesh-advertise"), address).expect("written");
            listener.set_nonblocking(true).expect("a socket");
            runtime.spawn(accept(Arc::clone(&shared), node, listener));
        }
        Self {
            shared,
            runtime: Some(runtime),
        }
    }

    /// Cuts exactly these nodes off from all their peers, and makes all other wires whole.
    pub fn cut_off(&self, nodes: impl IntoIterator<Item = u16>) {
        self.shared.cut.send_replace(nodes.into_iter().collect());
    }

    /// Holds whatever is said to or by exactly these nodes for so long, in each direction, up to
    /// 64 KiB of a connection at once.
    pub fn slow_down(&self, nodes: impl IntoIterator<Item = (u16, Duration)>) {
        self.shared.slow.send_replace(nodes.into_iter().collect());
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(shared: Arc<Shared>, node: u16, listener: StdListener) {
    let listener = TcpListener::from_std(listener).expect("a listening socket");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(carry(Arc::clone(&shared), node, stream, peer.port()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Carries one connection until an end closes it.
async fn carry(shared: Arc<Shared>, to: u16, near: TcpStream, port: u16) {
    let asked = Arc::clone(&shared);
    let from = tokio::task::spawn_blocking(move || asked.owner(port)).await;
    let ends = Ends {
        from: from.ok().flatten(),
        to,
    };
    let mut cut = shared.cut.subscribe();
    if cut.wait_for(|cut| ends.is_whole(cut)).await.is_err() {
        return;
    }
    let Some(port) = shared.mesh_port(to) else {
        return;
    };
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return;
    };
    if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
        return;
    }
    let (near, far) = (near.into_split(), far.into_split());
    tokio::join!(
        pump(near.0, far.1, ends, &shared),
        pump(far.0, near.1, ends, &shared)
    );
}

/// One direction. What was read when the wire was cut is held until it is whole.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, ends: Ends, shared: &Shared) {
    let mut cut = shared.cut.subscribe();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await;
        if cut.wait_for(|cut| ends.is_whole(cut)).await.is_err() {
            return;
        }
        let Ok(bytes @ 1..) = read else {
            return;
        };
        let held = ends.held_for(&shared.slow.borrow());
        if !held.is_zero() {
            tokio::time::sleep(held).await;
        }
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

impl Shared {
    /// Where the node's own mesh port is. `marram dev` writes it down before it starts the node.
    fn mesh_port(&self, node: u16) -> Option<u16> {
        let text = fs::read_to_string(self.dir.join("cluster.json")).ok()?;
        let settings: Value = serde_json::from_str(&text).ok()?;
        let port = settings["nodes"].get(usize::from(node) - 1)?["mesh"].as_u64()?;
        u16::try_from(port).ok()
    }

    /// The node whose process has the socket with this local port on loopback.
    fn owner(&self, port: u16) -> Option<u16> {
        let table = fs::read_to_string("/proc/net/tcp").ok()?;
        let local = format!("0100007F:{port:04X}");
        let inode = table.lines().find_map(|line| {
            let mut fields = line.split_whitespace();
            (fields.nth(1)? == local).then(|| fields.nth(7)).flatten()
        })?;
        let socket = format!("socket:[{inode}]");
        (1..=NODES_MAX).find(|node| {
            let pid = self.processes.pid(*node);
            pid.is_some_and(|pid| has_open(pid, &socket))
        })
    }
}

fn has_open(pid: u32, what: &str) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    open.into_iter()
        .flatten()
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == what))
}
