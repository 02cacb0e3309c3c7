//! The operator's program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use marram_operator::control::{self, Settings};
use marram_operator::crdgen;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The image that this release's pods run.
const IMAGE: &str = concat!("ghcr.io/marram-store/marram:", env!("CARGO_PKG_VERSION"));

/// Runs Marram clusters on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "marram-operator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Looks after the clusters that the API server has
    Run(RunArgs),
    /// Prints the definitions of the resources as YAML
    Crdgen {
        /// Write each into a file of its own in this folder instead
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The image of storage pods whose resource names none
    #[arg(long, env = "MARRAM_OPERATOR_IMAGE", value_name = "IMAGE", default_value = IMAGE)]
    image: String,
    /// Look after the clusters of this namespace only
    #[arg(long, env = "MARRAM_WATCH_NAMESPACE", value_name = "NAMESPACE")]
    watch_namespace: Option<String>,
    /// The namespace of the Lease by which one of several operators acts
    #[arg(
        long,
        env = "MARRAM_LEASE_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "default"
    )]
    lease_namespace: String,
    /// Who this process is, among several
    #[arg(
        long,
        env = "POD_NAME",
        value_name = "NAME",
        default_value = "marram-operator"
    )]
    identity: String,
    /// Where metrics and health are given
    #[arg(
        long,
        env = "MARRAM_METRICS_LISTEN",
        value_name = "ADDR",
        default_value = "0.0.0.0:7072"
    )]
    metrics_listen: SocketAddr,
    /// Milliseconds until a cluster is looked at again while something is under way
    #[arg(
        long,
        env = "MARRAM_OPERATOR_POLL_MS",
        value_name = "MS",
        default_value_t = 2000
    )]
    poll_ms: u64,
    /// Seconds until a cluster at rest is looked at again, if nothing about it changes
    #[arg(
        long,
        env = "MARRAM_OPERATOR_RESYNC",
        value_name = "SECONDS",
        default_value_t = 15
    )]
    resync: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Run(arguments) => run(arguments),
        Command::Crdgen { out } => print_definitions(out.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: RunArgs) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    // Another one is installed already: it is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let namespace = arguments.watch_namespace.filter(|name| !name.is_empty());
    let settings = Settings {
        image: arguments.image,
        namespace,
        lease_namespace: arguments.lease_namespace,
        identity: arguments.identity,
        metrics_listen: arguments.metrics_listen,
        poll: Duration::from_millis(arguments.poll_ms.max(100)),
        resync: Duration::from_secs(arguments.resync.max(1)),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut ends = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = ends.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            stopped.cancel();
        });
        control::run(settings, stop)
            .await
            .context("the operator ends")
    })
}

fn print_definitions(out: Option<&Path>) -> Result<()> {
    for (name, yaml) in crdgen::definitions()? {
        match out {
            None => println!("---\n{}", yaml.trim_end()),
            Some(folder) => {
                let file = folder.join(name);
                std::fs::write(&file, yaml)
                    .with_context(|| format!("cannot write {}", file.display()))?;
            }
        }
    }
    Ok(())
}
