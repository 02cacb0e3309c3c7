//! `kubectl marram`: this program under the name `kubectl-marram`. What Kubernetes knows it asks kubectl, with the
//! user's own contexts and rights; what the cluster knows it asks the cluster, through a pod's forwarded port.
//!
//! ```text
//! cli       what can be said            kubectl   how kubectl is asked
//! cluster   which cluster, its parts    show      what is printed (pure)
//! operate   ClusterOperations           tunnel    commands of marram, through a forwarded port
//! secrets   credentials for a shell     error     what can go wrong
//! ```

mod cli;
mod cluster;
mod error;
mod kubectl;
mod operate;
mod secrets;
mod show;
mod tunnel;

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use cli::{LogsArgs, Plugin, PluginCommand};
use cluster::Cluster;
use error::PluginError;
use kubectl::Kubectl;

/// The name by which kubectl finds a plugin called `marram`.
const NAME: &str = "kubectl-marram";

/// Whether the program was called as the plugin.
pub(crate) fn is_called(program: Option<&OsStr>) -> bool {
    let stem = program.and_then(|program| Path::new(program).file_stem());
    stem == Some(OsStr::new(NAME))
}

/// What can be said to it, for the documents.
#[cfg(test)]
pub(crate) fn definition() -> clap::Command {
    <Plugin as clap::CommandFactory>::command()
}

/// Runs the plugin.
pub(crate) fn run() -> ExitCode {
    let said = Plugin::parse();
    match done(said) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{NAME}: {error}");
            ExitCode::from(error.code())
        }
    }
}

fn done(said: Plugin) -> Result<ExitCode, PluginError> {
    let kubectl = Kubectl::new(&said.place);
    let ok = ExitCode::SUCCESS;
    // Whoever owns a key need not see the cluster.
    if let PluginCommand::Credentials(args) = &said.command
        && let Some(key) = &args.access_key
    {
        return secrets::of_access_key(&kubectl, key, args).map(|()| ok);
    }
    let cluster = Cluster::find(&kubectl, said.place.cluster.as_deref())?;
    match said.command {
        PluginCommand::Status { json } => status(&kubectl, &cluster, json),
        PluginCommand::Members { json } => {
            let pods = cluster.pods(&kubectl)?;
            let rows = show::members(&cluster, &pods);
            let rows = match json {
                true => show::as_json(&rows),
                false => show::table(&rows),
            };
            print(&rows).map(|()| ok)
        }
        PluginCommand::Drain(args) => operate::domain(&kubectl, &cluster, true, &args).map(|()| ok),
        PluginCommand::Restore(args) => {
            operate::domain(&kubectl, &cluster, false, &args).map(|()| ok)
        }
        PluginCommand::Replace(args) => operate::replace(&kubectl, &cluster, &args).map(|()| ok),
        PluginCommand::Scrub(args) => operate::scrub(&kubectl, &cluster, &args).map(|()| ok),
        PluginCommand::Rebalance(args) => {
            operate::rebalance(&kubectl, &cluster, &args).map(|()| ok)
        }
        PluginCommand::Credentials(args) => {
            secrets::of_admin(&kubectl, &cluster, &args).map(|()| ok)
        }
        PluginCommand::Logs(args) => logs(&kubectl, &cluster, &args),
        PluginCommand::Run { command } => tunnel::run(&kubectl, &cluster, &command),
    }
}

/// Prints text. A reader who had enough is none of its business.
fn print(text: &str) -> Result<(), PluginError> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(PluginError::Output(error))
        }
        _ => Ok(()),
    }
}

/// What the operator saw, then what the members say themselves, where they can be asked: at three in the morning the
/// first is there also when the second is not.
fn status(kubectl: &Kubectl, cluster: &Cluster, json: bool) -> Result<ExitCode, PluginError> {
    if json {
        return print(&format!("{}\n", cluster.whole)).map(|()| ExitCode::SUCCESS);
    }
    print(&show::status(cluster))?;
    if cluster.status.phase == "Hibernated" {
        return Ok(ExitCode::SUCCESS);
    }
    print("\nby the word of its members:\n")?;
    let command = ["admin".to_owned(), "status".to_owned()];
    match tunnel::run(kubectl, cluster, &command) {
        Err(
            error @ (PluginError::NoPod(_)
            | PluginError::Kubectl { .. }
            | PluginError::NoTunnel { .. }),
        ) => {
            print(&format!("  they cannot be asked: {error}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        done => done,
    }
}

/// Log lines of all pods, or of one: kubectl prints them.
fn logs(kubectl: &Kubectl, cluster: &Cluster, args: &LogsArgs) -> Result<ExitCode, PluginError> {
    let (selector, tail) = (cluster.selector(args.gateways), args.tail.to_string());
    let mut call = vec!["logs", "--tail", &tail];
    match &args.node {
        Some(node) => call.push(node),
        None => call.extend([
            "-l",
            &selector,
            "--prefix",
            "--max-log-requests",
            LOGS_AT_ONCE,
        ]),
    }
    if args.follow {
        call.push("--follow");
    }
    if args.previous {
        call.push("--previous");
    }
    if let Some(since) = &args.since {
        call.extend(["--since", since]);
    }
    kubectl.attached(&call)
}

/// Pods whose log lines are followed at once, at most: a cluster has at most 256 nodes.
const LOGS_AT_ONCE: &str = "256";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_makes_it_the_plugin() {
        let called = |name: &str| is_called(Some(OsStr::new(name)));
        assert!(called("/usr/local/bin/kubectl-marram") && called("kubectl-marram"));
        assert!(!called("/usr/local/bin/marram") && !called("kubectl"));
        assert!(!is_called(None));
    }
}
