//! Arguments of what operators look at: doctor, top, the bundle for maintainers.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::units::parse_duration;

/// Arguments of `admin doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Name every check, those that found nothing too
    #[arg(long)]
    pub(crate) all: bool,
}

/// Arguments of `admin top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Say it once, of one interval, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// Time over which everything is measured, and after which it is said again
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "2s")]
    pub(crate) every: Duration,
}

/// Arguments of `admin support-bundle`.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// The file to write, whose name ends in .tar.gz or .tgz; must not be there
    pub(crate) out: PathBuf,
    /// With names of buckets and access keys, in log lines and lists of their own. Secrets are never in
    /// it
    #[arg(long)]
    pub(crate) names: bool,
    /// Newest log lines of each node, at most 2000
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(crate) log_lines: u32,
}

/// Arguments of `admin log-level`.
#[derive(Debug, Args)]
pub(crate) struct LogLevelArgs {
    /// What to log from now on: a level (off, error, warn, info, debug, trace), or target=level for a part of
    /// the program, with commas between them, such as 'info,openraft=error'
    pub(crate) filter: Option<String>,
    /// A node's name or id, or the name of the gateway that is called; may be given several times
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Vec<String>,
    /// All nodes
    #[arg(long, conflicts_with = "node")]
    pub(crate) all: bool,
    /// Log again what was logged before after this time, at most a day
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration, requires = "filter")]
    pub(crate) time: Option<Duration>,
    /// Log what was logged when the process started
    #[arg(long, conflicts_with = "filter")]
    pub(crate) reset: bool,
}

/// What is profiled.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// What a node spends processor time with: a profile for `go tool pprof`, on standard output or in a file
    Cpu(ProfileCpuArgs),
    /// What a node uses its memory for, as its allocator and Linux tell it
    Memory(ProfileMemoryArgs),
}

/// Arguments of `admin profile cpu`.
#[derive(Debug, Args)]
pub(crate) struct ProfileCpuArgs {
    /// The node's name or id, or the name of the gateway that is called
    #[arg(long, value_name = "NODE")]
    pub(crate) node: String,
    /// For how many seconds it is looked at
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) seconds: u32,
    /// The file to write, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Arguments of `admin profile memory`.
#[derive(Debug, Args)]
pub(crate) struct ProfileMemoryArgs {
    /// The node's name or id, or the name of the gateway that is called
    #[arg(long, value_name = "NODE")]
    pub(crate) node: String,
}
