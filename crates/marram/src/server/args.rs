//! The flags of `marram server` and `marram gateway`, merged over an optional TOML file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::events::EventArgs;
use super::settings::File;
use super::telling::TellingArgs;
use super::wayback::WaybackArgs;
use anyhow::{Context, Result};
use marram_types::config::{ApiLimits, BootstrapConfig, GatewayConfig, ServerConfig};

use super::pace::BackgroundArgs;
use super::upkeep::UpkeepArgs;

/// Runs a storage node, which also answers the API.
///
/// A node with empty drives either founds a cluster (--bootstrap) or joins one (--join); a node
/// that has an identity just goes on.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// TOML file with the settings below; flags and environment go before it
    #[arg(long, env = "MARRAM_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A new node's name; that of its token, or one made up, where it is not given
    #[arg(long, env = "MARRAM_NAME")]
    pub name: Option<String>,
    /// A data folder, one a drive; the first is the metadata drive
    #[arg(long, env = "MARRAM_DATA", value_delimiter = ',', value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// Nodes that fail together share a zone
    #[arg(long, env = "MARRAM_ZONE")]
    pub zone: Option<String>,
    /// Where applications connect [default: 127.0.0.1:7070]
    #[arg(long, env = "MARRAM_API_LISTEN", value_name = "ADDR")]
    pub api_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub api: ApiArgs,
    /// Where peers connect [default: 127.0.0.1:7071]
    #[arg(long, env = "MARRAM_MESH_LISTEN", value_name = "ADDR")]
    pub mesh_listen: Option<SocketAddr>,
    /// Where metrics and health are given, to anybody who can reach it [default: 127.0.0.1:7072]
    #[arg(long, env = "MARRAM_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<SocketAddr>,
    /// File with the bearer token that is asked of those who want metrics; probes of health need none
    #[arg(long, env = "MARRAM_METRICS_TOKEN_FILE", value_name = "FILE")]
    pub metrics_token_file: Option<PathBuf>,
    /// Give metrics of so many buckets, those that hold most, with their names; with --metrics-token-file [default: 0]
    #[arg(long, env = "MARRAM_METRICS_BUCKETS", value_name = "N")]
    pub metrics_buckets: Option<u32>,
    /// How peers reach this node, where it differs
    #[arg(long, env = "MARRAM_MESH_ADVERTISE", value_name = "HOST:PORT")]
    pub mesh_advertise: Option<String>,
    /// How applications reach this node, where it differs
    #[arg(long, env = "MARRAM_API_ADVERTISE", value_name = "HOST:PORT")]
    pub api_advertise: Option<String>,
    /// With --join: the join token, from `marram admin token create`
    #[arg(
        long,
        env = "MARRAM_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// With --join: a file with the join token, which `ps` does not show
    #[arg(long, env = "MARRAM_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// With --token-file: wait until the file is there, and after a refusal go on asking with
    /// whatever it holds then, instead of ending
    #[arg(long, env = "MARRAM_AWAIT_TOKEN")]
    pub await_token: bool,
    /// Seconds that the certificates which this server issues are good for; they are renewed at half
    /// of it [default: 86400]
    #[arg(long, env = "MARRAM_CERTIFICATE_LIFETIME", value_name = "SECONDS")]
    pub certificate_lifetime: Option<u64>,
    /// The key-encryption key: 64 hexadecimal digits, the same file on every server
    #[arg(long, env = "MARRAM_KEK_FILE", value_name = "FILE")]
    pub kek_file: Option<PathBuf>,
    /// Found a cluster of this name, on exactly one empty node
    #[arg(long, value_name = "NAME")]
    pub bootstrap: Option<String>,
    /// With --bootstrap: nodes to wait for before data is placed
    #[arg(long, requires = "bootstrap", value_name = "N")]
    pub expected_nodes: Option<u16>,
    /// With --bootstrap: number of object groups, for good [default: 8]
    #[arg(long, requires = "bootstrap", value_name = "G")]
    pub object_groups: Option<u16>,
    /// Where a cluster is founded: file with its first access key, `id secret`
    #[arg(long, env = "MARRAM_ADMIN_KEY_FILE", value_name = "FILE")]
    pub admin_key_file: Option<PathBuf>,
    /// With --await-token: file with an access key, `id secret`, that may have this server found a
    /// cluster while it waits (`marram admin bootstrap`), and is an admin key of that
    #[arg(long, env = "MARRAM_OPERATOR_KEY_FILE", value_name = "FILE")]
    pub operator_key_file: Option<PathBuf>,
    /// Mesh address of a server to join through; may be given several times
    #[arg(
        long,
        env = "MARRAM_JOIN",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub join: Vec<String>,
    /// Size of segment files in MiB [default: 256]
    #[arg(long, env = "MARRAM_SEGMENT_MIB", value_name = "MIB")]
    pub segment_mib: Option<u64>,
    /// Use only so many bytes of each drive
    #[arg(long, env = "MARRAM_DRIVE_CAPACITY", value_name = "BYTES")]
    pub drive_capacity: Option<u64>,
    /// Bytes of the metadata drive that new objects leave free
    /// [default: 536870912, 5 % of a small drive]
    #[arg(long, env = "MARRAM_METADATA_FREE", value_name = "BYTES")]
    pub metadata_free: Option<u64>,
    /// Seconds that an upload may take until its data counts as abandoned, while no node is drained
    /// [default: 86400]
    #[arg(long, env = "MARRAM_GC_FLOOR_LAG", value_name = "SECONDS")]
    pub gc_floor_lag: Option<u64>,
    /// Seconds that replaced data is kept for those who read it [default: 900]
    #[arg(long, env = "MARRAM_GC_READ_LAG", value_name = "SECONDS")]
    pub gc_read_lag: Option<u64>,
    /// Seconds that uploads are waited for which began before a node was to be drained; longer ones
    /// are refused and have to be sent again [default: 600]
    #[arg(long, env = "MARRAM_GC_DRAIN_GRACE", value_name = "SECONDS")]
    pub gc_drain_grace: Option<u64>,
    /// Seconds between two searches of the drives for abandoned data [default: 3600]
    #[arg(long, env = "MARRAM_GC_SCAN_EVERY", value_name = "SECONDS")]
    pub gc_scan_every: Option<u64>,
    /// Seconds that a node in place of one that is gone is waited for, before what that one had gets
    /// fewer data shards [default: 600]
    #[arg(long, env = "MARRAM_NARROW_GRACE", value_name = "SECONDS")]
    pub narrow_grace: Option<u64>,
    /// Seconds after a node came or changed before data moves only for balance: nodes that come one
    /// after the other are planned for together [default: 3]
    #[arg(long, env = "MARRAM_BALANCE_QUIET", value_name = "SECONDS")]
    pub balance_quiet: Option<u64>,
    /// Seconds that a node may be away before what it had is rebuilt elsewhere; much less where its
    /// last spare shards are missing [default: 600]
    #[arg(long, env = "MARRAM_REPAIR_GRACE", value_name = "SECONDS")]
    pub repair_grace: Option<u64>,
    #[command(flatten)]
    pub background: BackgroundArgs,
    #[command(flatten)]
    pub upkeep: UpkeepArgs,
    #[command(flatten)]
    pub events: EventArgs,
    #[command(flatten)]
    pub telling: TellingArgs,
    /// End when standard input closes: for supervisors
    #[arg(long, hide = true)]
    pub stop_when_stdin_closes: bool,
    /// Ways back.
    #[command(flatten)]
    pub wayback: WaybackArgs,
}

/// What encrypts the API, and the limits of its connections. The files are read again when they change.
#[derive(Debug, clap::Args)]
pub(crate) struct ApiArgs {
    /// PEM file with the certificate that applications see, then those of intermediate CAs; without
    /// it the API may listen on loopback only
    #[arg(long, env = "MARRAM_API_TLS_CERT", value_name = "FILE")]
    pub api_tls_cert: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, env = "MARRAM_API_TLS_KEY", value_name = "FILE")]
    pub api_tls_key: Option<PathBuf>,
    /// Connections of applications at once; more are closed at once [default: 4096]
    #[arg(long, env = "MARRAM_API_CONNECTIONS", value_name = "N")]
    pub api_connections: Option<usize>,
    /// Seconds after which a connection of an application takes no new calls, give or take a fifth, so
    /// that clients find servers that came since [default: 60]
    #[arg(long, env = "MARRAM_API_CONNECTION_AGE", value_name = "SECONDS")]
    pub api_connection_age: Option<u64>,
    /// Seconds that calls which run may go on after the order to stop; whoever kills has to wait some
    /// seconds longer [default: 10]
    #[arg(long, env = "MARRAM_STOP_GRACE", value_name = "SECONDS")]
    pub stop_grace: Option<u64>,
}

impl ApiArgs {
    /// Lays the flags over the file's `[api]`.
    fn over(&self, file: ApiLimits) -> ApiLimits {
        ApiLimits {
            connections: self.api_connections.unwrap_or(file.connections),
            connection_age_s: self.api_connection_age.unwrap_or(file.connection_age_s),
            stop_grace_s: self.stop_grace.unwrap_or(file.stop_grace_s),
        }
    }
}

/// Runs a gateway without drives: stateless, as many as one likes.
#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    /// A new gateway's name; that of its token, or one made up, where it is not given
    #[arg(long, env = "MARRAM_NAME")]
    pub name: Option<String>,
    /// Where applications connect
    #[arg(
        long,
        env = "MARRAM_API_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:7070"
    )]
    pub api_listen: SocketAddr,
    #[command(flatten)]
    pub api: ApiArgs,
    /// Where metrics and health are given, to anybody who can reach it
    #[arg(
        long,
        env = "MARRAM_METRICS_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:7072"
    )]
    pub metrics_listen: SocketAddr,
    /// File with the bearer token that is asked of those who want metrics; probes of health need none
    #[arg(long, env = "MARRAM_METRICS_TOKEN_FILE", value_name = "FILE")]
    pub metrics_token_file: Option<PathBuf>,
    /// File in which the gateway keeps its key and certificate; made when it joins
    #[arg(long, env = "MARRAM_IDENTITY", value_name = "FILE")]
    pub identity: PathBuf,
    /// The join token of a new gateway, from `marram admin token create --role gateway`
    #[arg(
        long,
        env = "MARRAM_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// A file with the join token, which `ps` does not show
    #[arg(long, env = "MARRAM_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// With --token-file: wait until the file is there, and after a refusal go on asking with
    /// whatever it holds then, instead of ending
    #[arg(long, env = "MARRAM_AWAIT_TOKEN")]
    pub await_token: bool,
    /// The key-encryption key: 64 hexadecimal digits, the same file on every server
    #[arg(long, env = "MARRAM_KEK_FILE", value_name = "FILE")]
    pub kek_file: PathBuf,
    /// Mesh address of a server to learn the cluster from; may be given several times
    #[arg(
        long,
        env = "MARRAM_JOIN",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub join: Vec<String>,
    #[command(flatten)]
    pub telling: TellingArgs,
    /// End when standard input closes: for supervisors
    #[arg(long, hide = true)]
    pub stop_when_stdin_closes: bool,
}

/// Reads the file, lays the flags over it, checks the result.
///
/// # Errors
/// When the file cannot be read, has an unknown key, or a setting cannot work.
pub(super) fn server_config(args: &ServerArgs) -> Result<(ServerConfig, File)> {
    let file = File::read(args.config.as_deref())?;
    let mut table = file.table.clone();
    let (log, tracing) = args.telling.over(&mut table)?;
    let mut config: ServerConfig = toml::Value::Table(laid_over(args, table)?)
        .try_into()
        .context("the settings of the server are not complete or not valid")?;
    (config.log, config.tracing) = (log, tracing);
    config.api = args.api.over(config.api);
    if let Some(bootstrap) = bootstrap(args)? {
        config.bootstrap = Some(bootstrap);
    }
    config.validate()?;
    Ok((config, file))
}

/// The flags laid over what the file says.
fn laid_over(args: &ServerArgs, mut table: toml::Table) -> Result<toml::Table> {
    let background = args.background.over(table.remove("background"))?;
    table.insert("background".to_owned(), background);
    let upkeep = args.upkeep.over(table.remove("upkeep"))?;
    table.insert("upkeep".to_owned(), upkeep);
    let watch = args.events.over(table.remove("watch"))?;
    table.insert("watch".to_owned(), watch);
    let mut set = |key: &str, value: Option<toml::Value>| {
        if let Some(value) = value {
            table.insert(key.to_owned(), value);
        }
    };
    let text = |value: &Option<String>| value.clone().map(toml::Value::from);
    let path = |value: &Option<PathBuf>| value.as_deref().map(path_value);
    let number = |value: Option<u64>| {
        value
            .and_then(|n| i64::try_from(n).ok())
            .map(toml::Value::from)
    };
    set("name", text(&args.name));
    set("zone", text(&args.zone));
    set("api_listen", args.api_listen.map(|a| a.to_string().into()));
    set("api_tls_cert", path(&args.api.api_tls_cert));
    set("api_tls_key", path(&args.api.api_tls_key));
    set(
        "mesh_listen",
        args.mesh_listen.map(|a| a.to_string().into()),
    );
    set(
        "metrics_listen",
        args.metrics_listen.map(|a| a.to_string().into()),
    );
    set("metrics_token_file", path(&args.metrics_token_file));
    set(
        "metrics_buckets",
        number(args.metrics_buckets.map(u64::from)),
    );
    set("mesh_advertise", text(&args.mesh_advertise));
    set("api_advertise", text(&args.api_advertise));
    set("token", text(&args.token));
    set("token_file", path(&args.token_file));
    set("await_token", args.await_token.then_some(true.into()));
    set("certificate_lifetime_s", number(args.certificate_lifetime));
    set("kek_file", path(&args.kek_file));
    set("operator_key_file", path(&args.operator_key_file));
    if args.bootstrap.is_none() {
        set("admin_key_file", path(&args.admin_key_file));
    }
    set("segment_mib", number(args.segment_mib));
    set("drive_capacity", number(args.drive_capacity));
    set("metadata_free", number(args.metadata_free));
    set("gc_floor_lag_s", number(args.gc_floor_lag));
    set("gc_read_lag_s", number(args.gc_read_lag));
    set("gc_drain_grace_s", number(args.gc_drain_grace));
    set("gc_scan_every_s", number(args.gc_scan_every));
    set("narrow_grace_s", number(args.narrow_grace));
    set("balance_quiet_s", number(args.balance_quiet));
    set("repair_grace_s", number(args.repair_grace));
    let data: Vec<toml::Value> = args.data.iter().map(|p| path_value(p)).collect();
    set("data", (!data.is_empty()).then_some(data.into()));
    let join: Vec<toml::Value> = args.join.iter().cloned().map(toml::Value::from).collect();
    set("join", (!join.is_empty()).then_some(join.into()));
    Ok(table)
}

fn bootstrap(args: &ServerArgs) -> Result<Option<BootstrapConfig>> {
    let Some(cluster_name) = args.bootstrap.clone() else {
        return Ok(None);
    };
    let admin_key_file = args
        .admin_key_file
        .clone()
        .context("--bootstrap needs --admin-key-file: the first access key, `id secret`")?;
    Ok(Some(BootstrapConfig {
        cluster_name,
        expected_nodes: args.expected_nodes.unwrap_or(1),
        object_groups: args
            .object_groups
            .unwrap_or(marram_types::caps::OBJECT_GROUPS_DEFAULT),
        admin_key_file,
    }))
}

/// The settings of a gateway, checked.
///
/// # Errors
/// When a setting cannot work.
pub(super) fn gateway_config(args: &GatewayArgs) -> Result<GatewayConfig> {
    let (log, tracing) = args.telling.over(&mut toml::Table::new())?;
    let config = GatewayConfig {
        log,
        tracing,
        name: args.name.clone(),
        api_listen: args.api_listen,
        api_tls_cert: args.api.api_tls_cert.clone(),
        api_tls_key: args.api.api_tls_key.clone(),
        api: args.api.over(ApiLimits::default()),
        metrics_listen: args.metrics_listen,
        metrics_token_file: args.metrics_token_file.clone(),
        identity: args.identity.clone(),
        token: args.token.clone(),
        token_file: args.token_file.clone(),
        await_token: args.await_token,
        kek_file: args.kek_file.clone(),
        join: args.join.clone(),
    };
    config.validate()?;
    Ok(config)
}

fn path_value(path: &Path) -> toml::Value {
    toml::Value::from(path.to_string_lossy().into_owned())
}
