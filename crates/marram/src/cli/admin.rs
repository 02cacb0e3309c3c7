//! What can be said after `marram admin`. The comments are the help texts.

use clap::{Args, Subcommand};

use super::wayback::{AuditArgs, BackupCommand};
use crate::units::parse_size;

/// Operating the cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Say how the cluster is, and what that means for the data
    Status,
    /// Write no new data to a node; what it has stays and is read
    Cordon(NodeArg),
    /// Let a node serve again, cordoned or being drained
    Uncordon(NodeArg),
    /// Move everything away from a node; new data goes elsewhere at once
    Drain(DrainArgs),
    /// Give a node up that does not come back: what it had is rebuilt elsewhere. For good
    Fence(FenceArgs),
    /// Remove a node for ever, when nothing is on it any more
    Remove(NodeArg),
    /// Where data lies
    #[command(subcommand)]
    Layout(LayoutCommand),
    /// Say of which objects shards are missing, after a restore for example
    Audit(AuditArgs),
    /// Backups of the metadata
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Let the cluster use what this release can do, once every node runs it. For good
    FinalizeVersion,
}

/// A node.
#[derive(Debug, Args)]
pub(crate) struct NodeArg {
    /// The node's name or id
    pub(crate) node: String,
}

/// Arguments of `admin drain`.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// The node's name or id
    pub(crate) node: String,
    /// Wait until it holds nothing and votes nowhere, and say how far it is
    #[arg(long)]
    pub(crate) watch: bool,
    /// Stop draining: the node serves again
    #[arg(long, conflicts_with = "watch")]
    pub(crate) cancel: bool,
}

/// Arguments of `admin fence`.
#[derive(Debug, Args)]
pub(crate) struct FenceArgs {
    /// The node's name or id
    pub(crate) node: String,
    /// Also when the node answers
    #[arg(long)]
    pub(crate) force: bool,
}

/// Where data lies.
#[derive(Debug, Subcommand)]
pub(crate) enum LayoutCommand {
    /// Say what would be moved, by the nodes' present duties or by others; nothing is changed
    Plan(LayoutPlanArgs),
}

/// Arguments of `admin layout plan`.
#[derive(Debug, Args)]
pub(crate) struct LayoutPlanArgs {
    /// As if this node were drained; name or id, may be given several times
    #[arg(long, value_name = "NODE")]
    pub(crate) without: Vec<String>,
    /// As if there were one more node with a drive of this size, for example 4TiB; may be given
    /// several times
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) with: Vec<u64>,
    /// The zone of the nodes of --with
    #[arg(long, value_name = "ZONE", default_value = "default")]
    pub(crate) zone: String,
}
