//! What can be said to the plugin. The comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Look at and operate clusters of Marram on Kubernetes.
///
/// Exit codes: those of `marram`; 1 when kubectl failed, too.
#[derive(Debug, Parser)]
#[command(name = "kubectl marram", bin_name = "kubectl marram", version)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Plugin {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(subcommand)]
    pub(super) command: PluginCommand,
}

/// Which cluster.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The namespace; that of the kubeconfig's context where it is not given
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// The context of the kubeconfig
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub(super) context: Option<String>,
    /// The kubeconfig
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The cluster; the namespace's only one where it is not given
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(super) cluster: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Say how the cluster is: what the operator saw, and what its members say
    Status {
        /// Print the resource as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the nodes: each with its pod, its Kubernetes node, its failure domain, and how it is
    Members {
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Have all nodes of a failure domain give their data to the others; they stay, empty
    Drain(DomainArgs),
    /// Have the nodes of a failure domain take data again
    Restore(DomainArgs),
    /// Give a node up, with its volume; a new one takes its place
    Replace(ReplaceArgs),
    /// Have all data read and compared, or that of one node
    Scrub(ScrubArgs),
    /// Have data move until every node holds its share
    Rebalance(WaitArgs),
    /// Write what a shell needs to speak to the cluster into a folder: endpoint, key, CA
    Credentials(CredentialsArgs),
    /// Print log lines of all storage pods
    Logs(LogsArgs),
    /// Run any command of `marram` as the cluster's admin, through a port that is forwarded for it
    #[command(alias = "exec")]
    Run {
        /// The command, such as `ls m://photos` or `admin doctor`
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// Of a failure domain.
#[derive(Debug, Args)]
pub(super) struct DomainArgs {
    /// The failure domain, as `members` lists it
    pub(super) domain: String,
    #[command(flatten)]
    pub(super) wait: WaitArgs,
}

/// Of `replace`.
#[derive(Debug, Args)]
pub(super) struct ReplaceArgs {
    /// The node, such as store-3
    pub(super) node: String,
    /// Replace it although objects may be lost with it
    #[arg(long)]
    pub(super) accept_data_loss: bool,
    #[command(flatten)]
    pub(super) wait: WaitArgs,
}

/// Of `scrub`.
#[derive(Debug, Args)]
pub(super) struct ScrubArgs {
    /// The node, such as store-3; all where it is not given
    pub(super) node: Option<String>,
    #[command(flatten)]
    pub(super) wait: WaitArgs,
}

/// Whether it is waited for.
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// Wait until it is done, and say how far it is
    #[arg(long)]
    pub(super) wait: bool,
}

/// Of `credentials`.
#[derive(Debug, Args)]
pub(super) struct CredentialsArgs {
    /// An `AccessKey` of the namespace; the cluster's admin where it is not given
    pub(super) access_key: Option<String>,
    /// The folder; `.marram-NAME` where it is not given
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

/// Of `logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// Of this node only, such as store-3
    pub(super) node: Option<String>,
    /// Of the gateways, not of the storage pods
    #[arg(long, conflicts_with = "node")]
    pub(super) gateways: bool,
    /// Go on with new lines
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Of the container before, which ended
    #[arg(short, long)]
    pub(super) previous: bool,
    /// Not older than this, such as 10m
    #[arg(long, value_name = "DURATION")]
    pub(super) since: Option<String>,
    /// The last lines of each pod; -1 for all
    #[arg(
        long,
        value_name = "LINES",
        default_value_t = 50,
        allow_hyphen_values = true
    )]
    pub(super) tail: i64,
}
