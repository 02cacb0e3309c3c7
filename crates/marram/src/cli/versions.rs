//! Buckets that keep versions, on the command line.

use clap::{Args, ValueEnum};

/// What becomes of a bucket's versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VersioningState {
    /// Keep every version until it is deleted for good
    On,
    /// Keep what there is, and no new ones
    Suspend,
    /// Only say what is so
    Status,
}

/// Arguments of `versioning`.
#[derive(Debug, Args)]
pub(crate) struct VersioningArgs {
    /// The bucket, as m://bucket
    pub(crate) bucket: String,
    /// What is to be so from now on
    #[arg(default_value = "status")]
    pub(crate) state: VersioningState,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The object, as m://bucket/key. Without --version the delete markers that hide its newest version are
    /// removed for good, and that version is current again
    pub(crate) object: String,
    /// Copy this version to a new current one, by its generation as `ls --versions` shows it; what was
    /// current stays as an older version
    #[arg(long = "version", value_name = "GENERATION")]
    pub(crate) generation: Option<u64>,
}
