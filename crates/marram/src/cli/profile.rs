//! What can be said after `marram admin bucket`. The comments are the help texts.

use clap::{Args, Subcommand};

/// Buckets' profiles.
#[derive(Debug, Subcommand)]
pub(crate) enum BucketCommand {
    /// Give a bucket another erasure profile; its objects are encoded anew in the background
    SetProfile(SetProfileArgs),
    /// Say how far a bucket's objects follow its profile
    Profile(ProfileArgs),
}

/// Arguments of `admin bucket set-profile`.
#[derive(Debug, Args)]
pub(crate) struct SetProfileArgs {
    /// The bucket, as m://bucket
    pub(crate) bucket: String,
    /// The profile, for example 8+4
    #[arg(value_name = "K+M")]
    pub(crate) profile: String,
    /// Wait until every object has it, and say how far it is
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Arguments of `admin bucket profile`.
#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    /// The bucket, as m://bucket
    pub(crate) bucket: String,
    /// Wait until every object has it, and say how far it is
    #[arg(long)]
    pub(crate) watch: bool,
}
