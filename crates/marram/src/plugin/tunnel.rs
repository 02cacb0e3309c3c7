//! Commands of `marram` for a cluster on Kubernetes: through a forwarded port of a pod that is ready, as its admin.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use tempfile::NamedTempFile;

use super::cluster::{Cluster, Pod};
use super::error::PluginError;
use super::kubectl::Kubectl;
use super::secrets;
use crate::cli::{Cli, Command};

/// The port of the API.
const API_PORT: u16 = 7070;

/// Runs a command, and says how it ended.
pub(super) fn run(
    kubectl: &Kubectl,
    cluster: &Cluster,
    command: &[String],
) -> Result<ExitCode, PluginError> {
    let cli = parsed(command.to_vec());
    if matches!(
        cli.command,
        Command::Server(_) | Command::Gateway(_) | Command::Dev(_) | Command::Config(_)
    ) {
        return Err(PluginError::NotHere(
            command.first().cloned().unwrap_or_default(),
        ));
    }
    let pods = cluster.pods(kubectl)?;
    let ready = pods.iter().find(|pod| Pod::is_ready(pod));
    let ready = ready.ok_or_else(|| PluginError::NoPod(cluster.name.clone()))?;
    let admin = secrets::admin(kubectl, cluster)?;
    let forward = kubectl.forward(&ready.metadata.name, API_PORT)?;
    let ca = public(&admin.ca)?;
    let mut globals = cli.globals;
    globals.endpoint = Some(format!("https://127.0.0.1:{}", forward.port));
    // In memory: a file could stay behind.
    globals.key_file = None;
    (globals.access_key, globals.secret_key) = (Some(admin.id), Some(admin.secret));
    globals.ca_file = Some(ca.path().to_owned());
    globals.tls_server_name = Some(format!("{}.{}.svc", cluster.name, cluster.namespace));
    // The nodes have no address that is reached from here.
    globals.no_direct = true;
    Ok(crate::commands::run(&globals, cli.command))
}

/// The command, as `marram` would read it; ends the process with what is wrong with it.
fn parsed(command: Vec<String>) -> Cli {
    let said = std::iter::once("marram".to_owned()).chain(command);
    let matches = Cli::command().get_matches_from(said);
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.format(&mut Cli::command()).exit(),
    }
}

/// A file that goes with this.
fn public(text: &str) -> Result<NamedTempFile, PluginError> {
    let written = NamedTempFile::new().and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        Ok(file)
    });
    written.map_err(|error| PluginError::Write {
        path: std::env::temp_dir(),
        error,
    })
}
