//! `marram dev`: a whole cluster on one machine, each node a real `marram server` process.

mod args;
mod grow;
mod layout;
mod print;
mod process;
mod ready;
mod secrets;
mod supervisor;
mod tokens;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use marram_store::{DriveRoot, OsVfs};
use rustix::fs::{FlockOperation, flock};

pub(crate) use args::Args;
use layout::{Layout, Ports, Settings};
use supervisor::Supervisor;

/// How long `--restart-node` waits for the running command to act.
const RESTART_WAIT: Duration = Duration::from_secs(15);

/// Runs the command until it is told to stop.
///
/// # Errors
/// When the cluster cannot start, with the reason and what to do.
pub(crate) async fn run(args: Args) -> Result<()> {
    let layout = Layout::open(&args.dir)?;
    if let Some(node) = args.restart_node {
        return request_restart(&layout, node).await;
    }
    if args.add_node {
        return grow::request(&layout).await;
    }
    let _lock = lock(&layout)?;
    let begun = Instant::now();
    let _ = fs::remove_file(layout.env_file());
    let settings = layout.settings(&args)?;
    let key = secrets::admin_key(&layout)?;
    secrets::ensure_kek(&layout)?;

    let mut supervisor = Supervisor::start(&layout, &settings)?;
    let outcome = tokio::select! {
        ready = bring_up(&mut supervisor, &settings, &key) => Some(ready),
        told = supervisor::stop_signal() => told.map_or_else(|error| Some(Err(error)), |()| None),
    };
    let outcome = match outcome {
        Some(Ok(())) => {
            ready::write_env(&layout, &settings, &key)?;
            print::welcome(
                &layout,
                &settings,
                &key,
                &supervisor,
                begun.elapsed(),
                args.quiet,
            );
            supervisor.watch_until_told_to_stop(&key).await
        }
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    let _ = fs::remove_file(layout.env_file());
    if !args.quiet {
        eprintln!(
            "stopping the cluster; its data stays in {}",
            layout.root().display()
        );
    }
    supervisor.stop().await;
    outcome
}

/// Newcomers get their tokens from the servers that run already, the first one of all at least; then
/// everything has to be there.
async fn bring_up(
    supervisor: &mut Supervisor,
    settings: &Settings,
    key: &secrets::AccessKey,
) -> Result<()> {
    let layout = supervisor.layout();
    let waiting = supervisor.waiting();
    tokio::select! {
        made = tokens::make(&layout, settings, key, &waiting) => made?,
        ended = supervisor.first_end() => return Err(ended),
    }
    supervisor.start_waiting()?;
    tokio::select! {
        ready = ready::wait(settings, key) => ready?,
        ended = supervisor.first_end() => return Err(ended),
    }
    for name in &waiting {
        tokens::forget(&layout, name);
    }
    Ok(())
}

/// What was replaced goes sooner here, unless the environment says otherwise, so that a node can be
/// seen to be emptied.
const GARBAGE: [(&str, &str, u32); 3] = [
    ("MARRAM_GC_READ_LAG", "gc-read-lag", 120),
    ("MARRAM_GC_DRAIN_GRACE", "gc-drain-grace", 60),
    ("MARRAM_GC_SCAN_EVERY", "gc-scan-every", 60),
];

/// One `marram dev` a folder.
fn lock(layout: &Layout) -> Result<fs::File> {
    let file = fs::File::create(layout.lock_file())
        .with_context(|| format!("cannot write into {}", layout.root().display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!(
            "another `marram dev` runs on {}: stop it first, or give another --dir",
            layout.root().display()
        );
    }
    Ok(file)
}

/// Asks the running command to start a node again and waits until it did.
async fn request_restart(layout: &Layout, node: u16) -> Result<()> {
    let name = format!("node-{node}");
    if !layout.process_dir(&name).is_dir() {
        bail!("there is no {name} in {}", layout.root().display());
    }
    if lock(layout).is_ok() {
        bail!(
            "no `marram dev` runs on {}: start it, and all nodes start with it",
            layout.root().display()
        );
    }
    let request = layout.restart_request(&name);
    fs::write(&request, "").with_context(|| format!("cannot write {}", request.display()))?;
    let deadline = Instant::now() + RESTART_WAIT;
    while request.exists() {
        if Instant::now() > deadline {
            let _ = fs::remove_file(&request);
            bail!("the running `marram dev` did not start {name} within {RESTART_WAIT:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let pid = fs::read_to_string(layout.pid_file(&name)).unwrap_or_default();
    println!("{name} runs as process {}", pid.trim());
    Ok(())
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.to_string_lossy())
}

/// Where peers reach a node. Tests put a forwarder before its port, and its address into a file.
fn mesh_address(layout: &Layout, name: &str, ports: Ports) -> String {
    let own = || format!("127.0.0.1:{}", ports.mesh);
    fs::read_to_string(layout.advertise_file(name)).unwrap_or_else(|_| own())
}

/// Arguments that start a node.
fn server_args(layout: &Layout, settings: &Settings, name: &str, ports: Ports) -> Vec<String> {
    let drives = layout.drives(name, settings.drives);
    let mut args = vec![
        "server".to_owned(),
        format!("--name={name}"),
        format!("--api-listen=127.0.0.1:{}", ports.api),
        format!("--mesh-listen=127.0.0.1:{}", ports.mesh),
        format!("--metrics-listen=127.0.0.1:{}", ports.metrics),
        format!("--mesh-advertise={}", mesh_address(layout, name, ports)),
        flag("kek-file", &layout.kek_file()),
        format!("--segment-mib={}", settings.segment_mib),
        "--stop-when-stdin-closes".to_owned(),
    ];
    let garbage = GARBAGE
        .iter()
        .filter(|(env, ..)| std::env::var_os(env).is_none());
    args.extend(garbage.map(|(_, flag, seconds)| format!("--{flag}={seconds}")));
    if founds(layout, settings, name) {
        args.push("--bootstrap=dev".to_owned());
        args.push(format!("--expected-nodes={}", settings.nodes.len()));
        args.push(flag("admin-key-file", &layout.admin_key_file()));
    } else {
        let others = settings.node_names().filter(|(other, _)| other != name);
        args.extend(
            others.map(|(name, ports)| format!("--join={}", mesh_address(layout, &name, ports))),
        );
        args.push(flag("token-file", &layout.token_file(name)));
    }
    args.extend(drives.iter().map(|drive| flag("data", drive)));
    args.extend(
        settings
            .drive_capacity
            .map(|bytes| format!("--drive-capacity={bytes}")),
    );
    args
}

/// Whether this process founds the cluster: the first node, at its first start.
fn founds(layout: &Layout, settings: &Settings, name: &str) -> bool {
    name == "node-1"
        && !is_member(&layout.drives(name, settings.drives)[0])
        && !others_have_joined(layout, settings)
}

/// Whether a drive belongs to a node already. A drive that cannot be read is left to its server,
/// which says why.
fn is_member(drive: &Path) -> bool {
    let root = DriveRoot::open(Arc::new(OsVfs), drive, None);
    root.map_or(true, |root| {
        root.identity()
            .is_some_and(|identity| identity.node.is_some())
    })
}

/// Whether any other node was ever admitted: it has a Raft log from then on. A first node that comes
/// back empty then joins like any other; founding again would make a second cluster of the same name.
/// Looks without locking, because those nodes may be starting at this moment.
fn others_have_joined(layout: &Layout, settings: &Settings) -> bool {
    let mut others = settings.node_names().skip(1);
    others.any(|(name, _)| layout.drives(&name, 1)[0].join("raft").exists())
}

/// Arguments that start a gateway.
fn gateway_args(layout: &Layout, settings: &Settings, name: &str, ports: Ports) -> Vec<String> {
    let mut args = vec![
        "gateway".to_owned(),
        format!("--name={name}"),
        format!("--api-listen=127.0.0.1:{}", ports.api),
        format!("--metrics-listen=127.0.0.1:{}", ports.metrics),
        flag("identity", &layout.identity_file(name)),
        flag("token-file", &layout.token_file(name)),
        flag("kek-file", &layout.kek_file()),
        "--stop-when-stdin-closes".to_owned(),
    ];
    args.extend(
        settings
            .node_names()
            .map(|(_, p)| format!("--join=127.0.0.1:{}", p.mesh)),
    );
    args
}
