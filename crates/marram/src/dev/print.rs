//! What `marram dev` says when the cluster is ready.

use std::time::Duration;

use super::layout::{Layout, Settings};
use super::process::Process;
use super::secrets::AccessKey;
use super::supervisor::Supervisor;

/// Prints endpoint, keys, nodes and the commands to try.
pub(super) fn welcome(
    layout: &Layout,
    settings: &Settings,
    key: &AccessKey,
    supervisor: &Supervisor,
    took: Duration,
    quiet: bool,
) {
    if quiet {
        println!("ready");
        return;
    }
    let root = layout.root().display();
    println!(
        "Marram is ready after {:.1} s: an object was put, read back and deleted.\n",
        took.as_secs_f64()
    );
    println!("  endpoint     {}", settings.endpoints().join(","));
    println!("  access key   {}", key.id);
    println!("  secret key   {}", key.secret);
    println!("  data         {root}\n");
    println!(
        "  {:<10} {:>7}  {:<16} {:<16} {:<16} drives",
        "node", "pid", "api", "mesh", "metrics"
    );
    let ports = settings.node_names().chain(settings.gateway_names());
    for (name, ports) in ports {
        let pid = supervisor
            .processes()
            .iter()
            .find(|p| p.name() == name)
            .map_or(0, Process::pid);
        let api = format!("127.0.0.1:{}", ports.api);
        let metrics = format!("127.0.0.1:{}", ports.metrics);
        let is_node = name.starts_with("node-");
        let mesh = if is_node {
            format!("127.0.0.1:{}", ports.mesh)
        } else {
            "-".to_owned()
        };
        let drives: Vec<String> = match is_node {
            true => layout
                .drives(&name, settings.drives)
                .iter()
                .map(|d| d.display().to_string())
                .collect(),
            false => vec!["-".to_owned()],
        };
        println!(
            "  {name:<10} {pid:>7}  {api:<16} {mesh:<16} {metrics:<16} {}",
            drives.join(" ")
        );
    }
    println!("\nTry, in a second terminal:\n");
    println!("  source {root}/env");
    println!("  export PATH=\"{}:$PATH\"", binary_folder());
    println!("  marram mb m://photos");
    println!("  marram cp -r ~/Pictures m://photos/2026/");
    println!("  marram ls m://photos/2026/");
    println!("  marram cat m://photos/2026/a.jpg | sha256sum");
    let names: Vec<String> = settings.node_names().map(|(name, _)| name).collect();
    let killed = to_kill(&names);
    if !killed.is_empty() {
        let pids: Vec<String> = killed
            .iter()
            .map(|name| format!("$(cat {root}/{name}/pid)"))
            .collect();
        println!("  kill -9 {}", pids.join(" "));
    }
    println!("  marram admin status");
    if let Some(number) = killed.first().and_then(|name| name.strip_prefix("node-")) {
        println!("  marram dev --dir {root} --restart-node {number}");
    }
    println!("\nCtrl-C stops the cluster; the same command starts it again with its data.");
}

/// The nodes that a newcomer may kill and lose nothing: two of six or more, one of three or more.
fn to_kill(names: &[String]) -> Vec<&str> {
    match names {
        [_, second, _, _, fifth, _, ..] => vec![second, fifth],
        [_, second, _, ..] => vec![second],
        _ => Vec::new(),
    }
}

fn binary_folder() -> String {
    let binary = std::env::current_exe().ok();
    let folder = binary.as_deref().and_then(std::path::Path::parent);
    folder.map_or_else(|| "target/release".to_owned(), |f| f.display().to_string())
}
