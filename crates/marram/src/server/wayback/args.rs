//! Flags of `marram server` for what should never be needed.

use std::path::PathBuf;

/// A server's ways back. None of them goes by itself.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "When metadata is lost")]
pub(crate) struct WaybackArgs {
    /// Begin the cluster anew on this server from a backup of its metadata; every other server then
    /// comes back by itself with a fresh replica
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bootstrap", "recover", "export_metadata"])]
    pub restore: Option<PathBuf>,
    /// A majority of voters is gone for good: go on with what the surviving replicas exported; give
    /// the file of every survivor
    #[arg(
        long,
        value_name = "FILE",
        value_delimiter = ',',
        requires = "gone",
        conflicts_with_all = ["bootstrap", "export_metadata"]
    )]
    pub recover: Vec<PathBuf>,
    /// With --recover: names of all nodes with votes that are gone for good
    #[arg(long, value_name = "NODE", value_delimiter = ',', requires = "recover")]
    pub gone: Vec<String>,
    /// Needed for --restore and --recover, which cannot be taken back
    #[arg(long)]
    pub i_know_that_newer_writes_are_lost: bool,
    /// Write all that this server's replica knows, also what nobody knows to be committed, and end
    #[arg(long, value_name = "FILE")]
    pub export_metadata: Option<PathBuf>,
    /// This server's metadata is from before a restore or a recovery: set it aside, ask the cluster
    /// for a fresh replica, keep the drives
    #[arg(long, conflicts_with_all = ["restore", "recover", "bootstrap", "export_metadata"])]
    pub give_up_metadata: bool,
    /// The cluster began anew from a backup of before this node joined, and does not know it: join with a
    /// token once more, as the node that it was, with its drives and their shards
    #[arg(
        long,
        conflicts_with_all = ["restore", "recover", "bootstrap", "export_metadata", "give_up_metadata"]
    )]
    pub adopt_drives: bool,
}

impl WaybackArgs {
    /// Whether the cluster begins anew here.
    pub(crate) fn begins_anew(&self) -> bool {
        self.restore.is_some() || !self.recover.is_empty()
    }
}
