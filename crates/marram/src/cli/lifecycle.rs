//! What goes by itself, on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::units::parse_date;

/// Arguments of `lifecycle`.
#[derive(Debug, Args)]
pub(crate) struct LifecycleArgs {
    /// The bucket, as m://bucket
    pub(crate) bucket: String,
    /// What to do; without it the rules are shown
    #[command(subcommand)]
    pub(crate) command: Option<LifecycleCommand>,
}

/// What to do with a bucket's rules.
#[derive(Debug, Subcommand)]
pub(crate) enum LifecycleCommand {
    /// Show the rules, as a file that `set` takes
    Get,
    /// Give the bucket the rules of a file and no others: TOML, or JSON where its name ends so
    Set {
        /// The file
        file: PathBuf,
    },
    /// Take all rules away: nothing goes by itself any more
    Remove,
    /// Show what would go, by rule, and remove nothing
    DryRun {
        /// By the rules of this file; without it by those of the bucket
        file: Option<PathBuf>,
        /// At the midnight UTC that begins this day, as 2027-01-31, instead of now
        #[arg(long, value_parser = parse_date, value_name = "DATE")]
        at: Option<i64>,
        /// Only the sums of each rule
        #[arg(long)]
        summary: bool,
    },
}
