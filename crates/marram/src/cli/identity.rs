//! What can be said about tokens, the CA and certificates. The comments are the help texts.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::units::parse_duration;

/// Arguments of `admin bootstrap`.
#[derive(Debug, Args)]
pub(crate) struct BootstrapArgs {
    /// The cluster's name
    pub(crate) name: String,
    /// Nodes to wait for before data is placed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) expected_nodes: u32,
    /// Number of object groups, for good [default: 8]
    #[arg(long, value_name = "G")]
    pub(crate) object_groups: Option<u32>,
    /// The first node's zone, where it is not the one of its settings
    #[arg(long)]
    pub(crate) zone: Option<String>,
}

/// Join tokens: what a new node or gateway needs to be let in.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it; it is not shown again
    Create(TokenCreateArgs),
    /// List the tokens, without their secrets
    List,
    /// Take a token back; whom it admitted stays
    Revoke(TokenRevokeArgs),
}

/// What a token admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenRoleArg {
    /// One storage node
    Storage,
    /// Gateways without drives, as many as come before it expires
    Gateway,
}

/// Arguments of `admin token create`.
#[derive(Debug, Args)]
pub(crate) struct TokenCreateArgs {
    /// What it admits
    #[arg(long, value_enum)]
    pub(crate) role: TokenRoleArg,
    /// How long it is good for, up to 30 days
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub(crate) ttl: Duration,
    /// The name that whoever joins gets; open if not given
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The zone of the node that joins; open if not given
    #[arg(long)]
    pub(crate) zone: Option<String>,
}

/// Arguments of `admin token revoke`.
#[derive(Debug, Args)]
pub(crate) struct TokenRevokeArgs {
    /// The token's id
    pub(crate) id: String,
}

/// The cluster's CA and the certificates that it issued.
#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Say which CAs are trusted, until when certificates are good, and what a rotation waits for
    Status,
    /// Make the next of the three steps that replace the CA: trust a new one, issue from it, drop the
    /// old one. Refused until every living member did the step before; say it again to go on
    Rotate(CaRotateArgs),
}

/// Arguments of `admin ca rotate`.
#[derive(Debug, Args)]
pub(crate) struct CaRotateArgs {
    /// The CA to replace, by its fingerprint: nothing is done once it is gone
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) replaces: Option<String>,
    /// Make all steps that are left, waiting for the members between them
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Gateways without drives.
#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Remove a gateway for ever: its certificate is refused from now on
    Remove(GatewayArg),
}

/// A gateway.
#[derive(Debug, Args)]
pub(crate) struct GatewayArg {
    /// The gateway's name
    pub(crate) name: String,
}

/// Arguments of `admin reload-tls`.
#[derive(Debug, Args)]
pub(crate) struct ReloadTlsArgs {
    /// The node or gateway; all if not given
    pub(crate) member: Option<String>,
}
