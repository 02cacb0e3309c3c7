//! What can be said after `marram admin`. The comments are the help texts.

use clap::{Args, Subcommand};

use super::AdminUploadsCommand;
use super::identity::{BootstrapArgs, CaCommand, GatewayCommand, ReloadTlsArgs, TokenCommand};
use super::keys::KeyCommand;
use super::liveness::{MaintenanceArgs, OkToStopArgs, StatusArgs, TransferLeaderArgs};
use super::profile::BucketCommand;
use super::upkeep::{DriveCommand, GcCommand, RepairArgs, ScrubArgs};
use super::watch::{BundleArgs, DoctorArgs, LogLevelArgs, ProfileCommand, TopArgs};
use super::wayback::{AuditArgs, BackupCommand};
use crate::units::parse_size;

/// Operating the cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Have a server that waits for its join token found a cluster. It answers to the key of its
    /// --operator-key-file, and is the only endpoint that may be given
    Bootstrap(BootstrapArgs),
    /// Say how the cluster is, and what that means for the data
    Status(StatusArgs),
    /// Look at everything that may be wrong, and say what is, with evidence and what to do. Changes
    /// nothing. The exit code is 0 when the cluster is healthy and 1 when anything critical or any
    /// warning was found; notes do not count
    Doctor(DoctorArgs),
    /// Show what each node does: throughput, calls, latency, fill, leaderships and work in the
    /// background, again and again until interrupted
    Top(TopArgs),
    /// Collect what a maintainer needs into one file: status, findings, settings, metrics and log lines
    /// of every node. No secrets
    SupportBundle(BundleArgs),
    /// Say what nodes log, or have them log something else, while they run and without a restart
    LogLevel(LogLevelArgs),
    /// Say what a node spends processor time or memory with
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Say whether nodes may stop now, all at once, with every object still readable and writable;
    /// the exit code is 1 when they may not
    OkToStop(OkToStopArgs),
    /// Excuse nodes for a while: nothing is rebuilt because they are away
    Maintenance(MaintenanceArgs),
    /// Have others lead the metadata groups that a node leads
    TransferLeader(TransferLeaderArgs),
    /// Write no new data to a node; what it has stays and is read
    Cordon(NodeArg),
    /// Let a node serve again, cordoned or being drained
    Uncordon(NodeArg),
    /// Move everything away from a node; new data goes elsewhere at once
    Drain(DrainArgs),
    /// Give a node up that does not come back: what it had is rebuilt elsewhere. For good
    Fence(FenceArgs),
    /// Remove a node for ever, when nothing is on it any more
    Remove(RemoveArgs),
    /// Move data until it is as balanced as it can be, also where that is little
    Rebalance(RebalanceArgs),
    /// Compare what the metadata wants on the drives with what is on them, both ways
    Compare,
    /// Multipart uploads that nobody goes on with
    #[command(subcommand)]
    Uploads(AdminUploadsCommand),
    /// Buckets' profiles
    #[command(subcommand)]
    Bucket(BucketCommand),
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
    /// Say what lacks redundancy and how far its repair is; begin it at once, pause it
    Repair(RepairArgs),
    /// Read every shard on the drives now and verify it, and compare it with the metadata
    Scrub(ScrubArgs),
    /// Garbage: shards that nobody needs any more
    #[command(subcommand)]
    Gc(GcCommand),
    /// Single drives
    #[command(subcommand)]
    Drive(DriveCommand),
    /// Join tokens: what a new node or gateway needs to be let in
    #[command(subcommand)]
    Token(TokenCommand),
    /// Access keys: who may do what
    #[command(subcommand)]
    Key(KeyCommand),
    /// The cluster's CA and the certificates that it issued
    #[command(subcommand)]
    Ca(CaCommand),
    /// Have a node or gateway, or all of them, renew their certificates now
    ReloadTls(ReloadTlsArgs),
    /// Gateways without drives
    #[command(subcommand)]
    Gateway(GatewayCommand),
}

/// A node.
#[derive(Debug, Args)]
pub(crate) struct NodeArg {
    /// The node's name or id
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) epoch: EpochArg,
}

/// The epoch of the layout that a change is made as of.
#[derive(Debug, Args)]
pub(crate) struct EpochArg {
    /// Only if the layout is still at this epoch: `layout_epoch` of `admin status --json`
    #[arg(long, value_name = "EPOCH")]
    pub(crate) if_epoch: Option<u64>,
}

/// Arguments of `admin rebalance`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RebalanceArgs {
    /// What to do instead of beginning one
    #[command(subcommand)]
    pub(crate) action: Option<RebalanceAction>,
    /// Only if this is still the plan: the id that `admin layout plan` says
    #[arg(long, value_name = "ID")]
    pub(crate) plan: Option<String>,
    /// Stop: moves under way end, no others begin for balance alone
    #[arg(long, conflicts_with = "plan")]
    pub(crate) cancel: bool,
}

/// Other wishes about moves.
#[derive(Debug, Subcommand)]
pub(crate) enum RebalanceAction {
    /// Let all moves for balance and of drains rest, in the whole cluster and until they are resumed
    Pause,
    /// Let the moves go on where they were
    Resume,
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
    /// Also when the other nodes have no room for all of its data
    #[arg(long, conflicts_with = "cancel")]
    pub(crate) force: bool,
    /// Also when too few nodes are left for the profile of a bucket: what it has gets fewer data
    /// shards and keeps its parity
    #[arg(long, conflicts_with = "cancel")]
    pub(crate) allow_narrower: bool,
    #[command(flatten)]
    pub(crate) epoch: EpochArg,
}

/// Arguments of `admin remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The node's name or id
    pub(crate) node: String,
    /// Also when too few nodes are left for the profile of a bucket
    #[arg(long)]
    pub(crate) allow_narrower: bool,
    #[command(flatten)]
    pub(crate) epoch: EpochArg,
}

/// Arguments of `admin fence`.
#[derive(Debug, Args)]
pub(crate) struct FenceArgs {
    /// The node's name or id
    pub(crate) node: String,
    /// Also when the node answers
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) epoch: EpochArg,
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
    /// As if this node took data, whatever it is there for; name or id, may be given several times
    #[arg(long, value_name = "NODE")]
    pub(crate) add: Vec<String>,
    /// As if there were one more node with a drive of this size, for example 4TiB; may be given
    /// several times
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) with: Vec<u64>,
    /// The zone of the nodes of --with
    #[arg(long, value_name = "ZONE", default_value = "default")]
    pub(crate) zone: String,
}
