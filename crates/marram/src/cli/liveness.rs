//! Arguments of what is asked before and while nodes stop.

use std::time::Duration;

use clap::Args;

use crate::units::parse_duration;

/// Arguments of `admin status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Say it again whenever it changes, until interrupted; with --json a line each time
    #[arg(long)]
    pub(crate) watch: bool,
    /// Every metadata group on a line of its own, also those that lack nothing
    #[arg(long)]
    pub(crate) groups: bool,
}

/// Arguments of `admin ok-to-stop`.
#[derive(Debug, Args)]
pub(crate) struct OkToStopArgs {
    /// The nodes' names or ids: all of them at once
    #[arg(required = true)]
    pub(crate) nodes: Vec<String>,
    /// How many more nodes may be lost meanwhile, anywhere, with every object still readable
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) margin: u32,
}

/// Arguments of `admin maintenance`.
#[derive(Debug, Args)]
pub(crate) struct MaintenanceArgs {
    /// The nodes' names or ids
    #[arg(required_unless_present = "zone")]
    pub(crate) nodes: Vec<String>,
    /// All nodes of this zone
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// For how long from now on, at most 168h; it ends by itself
    #[arg(long, value_name = "TIME", value_parser = parse_duration, required_unless_present = "end")]
    pub(crate) ttl: Option<Duration>,
    /// End it now
    #[arg(long, conflicts_with = "ttl")]
    pub(crate) end: bool,
}

/// Arguments of `admin transfer-leader`.
#[derive(Debug, Args)]
pub(crate) struct TransferLeaderArgs {
    /// The node's name or id
    pub(crate) node: String,
    /// For how long it shall lead nothing, at most 168h
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1m")]
    pub(crate) hold: Duration,
}
