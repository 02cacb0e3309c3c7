//! What can be said about access keys. The comments are the help texts.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use marram_client::Grant;

use crate::units::parse_duration;

/// Access keys: who may do what.
///
/// A grant is written as permissions, a colon and where: `read,list:photos/2026/` (keys of a bucket that
/// begin so), `write:photos` (a bucket), `admin:*` (everything). The permissions are list (see which
/// keys there are), read (objects), write (put and delete objects), admin (make, change and remove
/// buckets; on `*`: operate the cluster; includes the others). What no grant permits is denied. Changes
/// hold in the whole cluster within a second.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make an access key and print it and its secret, which is not shown again
    Create(KeyCreateArgs),
    /// List the access keys and what they may do, without their secrets
    List,
    /// Give a key another secret and print it; the old one holds for the overlap
    Rotate(KeyRotateArgs),
    /// Add grants to a key
    Grant(KeyGrantsArgs),
    /// Take grants back, as they are listed
    Revoke(KeyGrantsArgs),
    /// Change when a key ends
    Expire(KeyExpireArgs),
    /// Switch a key off; what runs under it is cut
    Disable(KeyArg),
    /// Switch a key on again
    Enable(KeyArg),
    /// Remove a key for ever; what runs under it is cut
    Delete(KeyArg),
}

/// An access key.
#[derive(Debug, Args)]
pub(crate) struct KeyArg {
    /// The key's id
    pub(crate) id: String,
}

/// Arguments of `admin key create`.
#[derive(Debug, Args)]
pub(crate) struct KeyCreateArgs {
    /// What it may do, for example `read,list:photos/2026/`; several times for more
    #[arg(long = "grant", value_name = "GRANT", required = true)]
    pub(crate) grants: Vec<Grant>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,
    /// After what time it ends, for example 30d; never if not given
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) expires: Option<Duration>,
}

/// Arguments of `admin key rotate`.
#[derive(Debug, Args)]
pub(crate) struct KeyRotateArgs {
    /// The key's id
    pub(crate) id: String,
    /// How long the old secrets hold, up to 30d; 0s ends them at once. Calls that run go on: where a
    /// secret has leaked, disable the key, which cuts them
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub(crate) overlap: Duration,
}

/// Arguments of `admin key grant` and `revoke`.
#[derive(Debug, Args)]
pub(crate) struct KeyGrantsArgs {
    /// The key's id
    pub(crate) id: String,
    /// Grants, for example `write:photos/2026/`
    #[arg(required = true, value_name = "GRANT")]
    pub(crate) grants: Vec<Grant>,
}

/// Arguments of `admin key expire`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("when").required(true))]
pub(crate) struct KeyExpireArgs {
    /// The key's id
    pub(crate) id: String,
    /// After what time from now it ends, for example 30d
    #[arg(long = "in", value_name = "TIME", value_parser = parse_duration, group = "when")]
    pub(crate) after: Option<Duration>,
    /// It does not end
    #[arg(long, group = "when")]
    pub(crate) never: bool,
}
