//! What can be said after `marram admin bucket`. The comments are the help texts.

use clap::{Args, Subcommand};

/// Buckets' profiles.
#[derive(Debug, Subcommand)]
pub(crate) enum BucketCommand {
    /// Give a bucket another erasure profile; its objects are encoded anew in the background
    SetProfile(SetProfileArgs),
    /// Let writes ask for a profile beside the bucket's own (`--profile`), or not any more
    AllowProfile(AllowProfileArgs),
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

/// Arguments of `admin bucket allow-profile`.
#[derive(Debug, Args)]
pub(crate) struct AllowProfileArgs {
    /// The bucket, as m://bucket
    pub(crate) bucket: String,
    /// The profile, for example 8+4
    #[arg(value_name = "K+M")]
    pub(crate) profile: String,
    /// Allow it no more: objects that were written with it follow the bucket's profile from then on
    #[arg(long)]
    pub(crate) withdraw: bool,
    /// Wait until every object that followed it has the bucket's profile, and say how far it is
    #[arg(long, requires = "withdraw")]
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
