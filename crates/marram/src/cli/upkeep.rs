//! What can be said after `marram admin repair`, `scrub`, `gc` and `drive`. The comments are the help texts.

use clap::{Args, Subcommand};

/// Arguments of `admin repair`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RepairArgs {
    /// What to do instead of saying how far it is
    #[command(subcommand)]
    pub(crate) action: Option<RepairAction>,
    /// Say it again whenever it changes, until nothing lacks redundancy any more
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Wishes about repairs.
#[derive(Debug, Subcommand)]
pub(crate) enum RepairAction {
    /// Say what lacks redundancy, what is done about it, and how long that takes
    Status,
    /// Rebuild at once what a node or drive had that is not there, without waiting for it to come back. It
    /// is taken back when it does
    Start {
        /// The node's name or id; or the drive, as NODE/NUMBER or its id
        target: String,
    },
    /// Let all repairs rest, in the whole cluster and until they are resumed. While they rest, what was lost
    /// stays lost
    Pause,
    /// Let repairs go on; what could not be repaired is tried again at once
    Resume,
}

/// Arguments of `admin scrub`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ScrubArgs {
    /// What to do instead of beginning a pass
    #[command(subcommand)]
    pub(crate) action: Option<ScrubAction>,
    /// Only the drives of this node, by name or id [default: those of all nodes]
    pub(crate) node: Option<String>,
    /// Wait until the pass has ended on every drive, and say how far it is
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Other wishes about scrubs.
#[derive(Debug, Subcommand)]
pub(crate) enum ScrubAction {
    /// Say how far the scrubs are, what they found, and when each drive was read last
    Status,
    /// Let all scrubs rest, in the whole cluster and until they are resumed
    Pause,
    /// Let the scrubs go on where they were
    Resume,
}

/// Arguments of `admin gc`.
#[derive(Debug, Subcommand)]
pub(crate) enum GcCommand {
    /// Say how much waits to be removed, and for how long
    Status,
    /// Stop every removal of shards, in the whole cluster and until it is resumed
    Pause,
    /// Let garbage be removed again
    Resume,
}

/// Arguments of `admin drive`.
#[derive(Debug, Subcommand)]
pub(crate) enum DriveCommand {
    /// List the drives: what they are there for, how full they are, how they are
    List(DriveListArgs),
    /// Move everything away from a drive; its node goes on with the others
    Drain(DriveDrainArgs),
    /// Give a drive up that failed or does not come back: what it had is rebuilt elsewhere. For good
    Fail(DriveArg),
    /// Remove a drive for ever, when nothing is on it any more
    Remove(DriveArg),
}

/// Arguments of `admin drive list`.
#[derive(Debug, Args)]
pub(crate) struct DriveListArgs {
    /// Only those of this node, by name or id
    pub(crate) node: Option<String>,
}

/// A drive.
#[derive(Debug, Args)]
pub(crate) struct DriveArg {
    /// The drive: its id, or NODE/NUMBER
    pub(crate) drive: String,
}

/// Arguments of `admin drive drain`.
#[derive(Debug, Args)]
pub(crate) struct DriveDrainArgs {
    /// The drive: its id, or NODE/NUMBER
    pub(crate) drive: String,
    /// Wait until it holds nothing, and say how far it is
    #[arg(long)]
    pub(crate) watch: bool,
    /// Stop draining: the drive serves again
    #[arg(long, conflicts_with = "watch")]
    pub(crate) cancel: bool,
    /// Also when the other drives have no room for all of its data, or no place for every shard
    #[arg(long, conflicts_with = "cancel")]
    pub(crate) force: bool,
}
