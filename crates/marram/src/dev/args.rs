//! The flags of `marram dev`.

use std::path::PathBuf;

/// Runs a whole cluster on this machine: one server process for each node, on loopback.
///
/// The same command starts it again with the data still there. Ctrl-C stops it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the cluster lives
    #[arg(long, default_value = ".marram-dev", value_name = "DIR")]
    pub dir: PathBuf,
    /// How many storage nodes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32))]
    pub nodes: Option<u16>,
    /// How many drives (folders) for each node
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub drives: Option<u16>,
    /// How many gateways without drives beside the nodes
    #[arg(long, value_name = "G", value_parser = clap::value_parser!(u16).range(0..=16))]
    pub gateways: Option<u16>,
    /// First port of the first node; node N uses ten times N-1 more. 0 picks free ports.
    /// A cluster keeps the ports it was made with
    #[arg(long, value_name = "PORT")]
    pub base_port: Option<u16>,
    /// Size of the drives' segment files in MiB
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    pub segment_mib: u64,
    /// Use only so many bytes of each drive
    #[arg(long, value_name = "BYTES")]
    pub drive_capacity: Option<u64>,
    /// Start node N of a running cluster again, then exit
    #[arg(long, value_name = "N")]
    pub restart_node: Option<u16>,
    /// Add a node to the cluster and wait until it takes part, then exit. It stays: every later
    /// start starts it too
    #[arg(long, conflicts_with_all = ["restart_node", "nodes", "drives", "gateways", "base_port"])]
    pub add_node: bool,
    /// Print less
    #[arg(long, short)]
    pub quiet: bool,
}
