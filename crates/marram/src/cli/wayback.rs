//! What can be said after `marram admin backup`. The comments are the help texts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::units::parse_duration;

/// Backups of the metadata.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Write a backup of all metadata: a consistent state of every group, secrets wrapped
    Metadata(BackupArgs),
    /// Read a backup through and say whether it is whole
    Verify(BackupVerifyArgs),
    /// Let go of the data that is kept for backups
    Release,
}

/// Arguments of `admin backup metadata`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// A file, or m://BUCKET/KEY
    pub(crate) target: String,
    /// Keep what the backup names on the drives for so long, whatever is replaced or deleted: within
    /// it a restore brings everything back. At least an hour, at most 31 days; costs the space of what
    /// is deleted meanwhile, and drains wait for it
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub(crate) keep: Duration,
}

/// Arguments of `admin backup verify`.
#[derive(Debug, Args)]
pub(crate) struct BackupVerifyArgs {
    /// The file; - for standard input
    pub(crate) file: PathBuf,
}

/// Arguments of `admin audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// The bucket, m://BUCKET; without it all of them
    pub(crate) bucket: Option<String>,
}
