//! What a server or a gateway is told, and the checks that run before any socket opens.
//!
//! One TOML file, `MARRAM_*` environment variables and flags all fill these structs; the binary
//! merges them, this module says what is allowed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

mod api_limits;
mod api_tls;
mod background;
mod founding;
mod tracing;
mod upkeep;
mod watch;

pub use api_limits::ApiLimits;
pub use api_tls::ApiTlsFiles;
pub use background::BackgroundConfig;
pub use founding::{BootstrapConfig, Founding};
pub use tracing::{LogConfig, LogFormat, TracingConfig};
pub use upkeep::UpkeepConfig;
pub use watch::WatchConfig;

/// Most drives of one node.
pub const DRIVES_PER_NODE_MAX: usize = 64;
/// Most nodes that a bootstrap may wait for.
pub const EXPECTED_NODES_MAX: u16 = 1000;
/// Bounds of a drive segment, in MiB.
pub const SEGMENT_MIB: std::ops::RangeInclusive<u64> = 8..=1024;
/// Bounds of the lags of garbage collection, of the time between scans and of the grace of nodes that
/// are away, in seconds: up to 30 days.
pub const GC_SECONDS: std::ops::RangeInclusive<u64> = 1..=30 * 24 * 3600;

/// Most buckets with metrics of their own.
pub const METRICS_BUCKETS_MAX: u32 = 500;

/// Bounds of a certificate's lifetime, in seconds: 4 seconds, for tests, to 90 days.
pub const CERTIFICATE_SECONDS: std::ops::RangeInclusive<u64> = 4..=90 * 24 * 3600;

/// What a storage server is told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// The node's name. Where it is not given, a new node gets the one of its token, or one made up.
    pub name: Option<String>,
    /// The data folders, one a drive; the first one is the metadata drive.
    pub data: Vec<PathBuf>,
    /// The zone: nodes that fail together share one. Where it is not given, that of the token counts,
    /// or `default`.
    pub zone: Option<String>,
    /// Where applications connect.
    #[serde(default = "default_api")]
    pub api_listen: SocketAddr,
    /// The certificate that applications see: a PEM file, the server's own first, then those of
    /// intermediate CAs. Without one the API may listen on loopback only.
    pub api_tls_cert: Option<PathBuf>,
    /// Its private key, a PEM file.
    pub api_tls_key: Option<PathBuf>,
    /// Limits of the connections of applications.
    #[serde(default)]
    pub api: ApiLimits,
    /// Where peers connect.
    #[serde(default = "default_mesh")]
    pub mesh_listen: SocketAddr,
    /// Where metrics and health are given, to anybody who can reach it.
    #[serde(default = "default_metrics")]
    pub metrics_listen: SocketAddr,
    /// A file with the bearer token that is asked of those who want metrics; without one nothing is asked.
    pub metrics_token_file: Option<PathBuf>,
    /// So many buckets have metrics of their own, with their names: those that hold most. 0: none.
    #[serde(default)]
    pub metrics_buckets: u32,
    /// How peers reach this node, where it differs from `mesh_listen`.
    pub mesh_advertise: Option<String>,
    /// How applications reach this node, where it differs from `api_listen`.
    pub api_advertise: Option<String>,
    /// The join token of a new node.
    pub token: Option<String>,
    /// A file with the join token of a new node.
    pub token_file: Option<PathBuf>,
    /// Wait until the file with the join token is there, and after a refusal go on asking.
    #[serde(default)]
    pub await_token: bool,
    /// How long the certificates that this server issues are good for, in seconds; each is renewed at
    /// half of it.
    #[serde(default = "default_certificate_lifetime_s")]
    pub certificate_lifetime_s: u64,
    /// The key-encryption key, the same file on every server.
    pub kek_file: PathBuf,
    /// Found a cluster on this node, instead of joining one.
    pub bootstrap: Option<BootstrapConfig>,
    /// File with an operator's access key, `id secret`: while this server waits for its token, that key
    /// may have it found a cluster, and is an admin key there.
    pub operator_key_file: Option<PathBuf>,
    /// File with an access key, `id secret`, that becomes an admin key of such a cluster too.
    pub admin_key_file: Option<PathBuf>,
    /// Mesh addresses of servers to join through.
    #[serde(default)]
    pub join: Vec<String>,
    /// Size of a drive's segments in MiB.
    #[serde(default = "default_segment_mib")]
    pub segment_mib: u64,
    /// Uses only so many bytes of each drive, where set.
    pub drive_capacity: Option<u64>,
    /// Bytes of the metadata drive that new objects leave free; by default 512 MiB, or 5 % of a
    /// small drive (rules.md 21).
    pub metadata_free: Option<u64>,
    /// Seconds that a write may take from its begin to its commit (rules.md 27).
    #[serde(default = "default_gc_floor_lag_s")]
    pub gc_floor_lag_s: u64,
    /// Seconds that a reader may still need data that was replaced (rules.md 28).
    #[serde(default = "default_gc_read_lag_s")]
    pub gc_read_lag_s: u64,
    /// Seconds that uploads are waited for which began before a node was to be emptied (rules.md 25).
    #[serde(default = "default_gc_drain_grace_s")]
    pub gc_drain_grace_s: u64,
    /// Seconds between two scans of the drives for data that nothing refers to.
    #[serde(default = "default_gc_scan_every_s")]
    pub gc_scan_every_s: u64,
    /// What moves, repairs, scrubs and re-encoding may use of drives and link.
    #[serde(default)]
    pub background: BackgroundConfig,
    /// When drives are read through, and when they are given up.
    #[serde(default)]
    pub upkeep: UpkeepConfig,
    /// What is kept for those who watch objects.
    #[serde(default)]
    pub watch: WatchConfig,
    /// What is logged how.
    #[serde(default)]
    pub log: LogConfig,
    /// Where traces go.
    #[serde(default)]
    pub tracing: TracingConfig,
    /// Seconds that a node in place of one that is gone is waited for, before what that one had
    /// becomes narrower (rules.md 19).
    #[serde(default = "default_narrow_grace_s")]
    pub narrow_grace_s: u64,
    /// Seconds after a node came or changed before data moves only for balance.
    #[serde(default = "default_balance_quiet_s")]
    pub balance_quiet_s: u64,
    /// Seconds that a node may be away before what it had is rebuilt elsewhere.
    #[serde(default = "default_repair_grace_s")]
    pub repair_grace_s: u64,
}

/// What a gateway without drives is told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// The gateway's name. Where it is not given, a new gateway gets the one of its token, or one made
    /// up.
    pub name: Option<String>,
    /// Where applications connect.
    #[serde(default = "default_api")]
    pub api_listen: SocketAddr,
    /// The certificate that applications see, as for a server.
    pub api_tls_cert: Option<PathBuf>,
    /// Its private key.
    pub api_tls_key: Option<PathBuf>,
    /// Limits of the connections of applications.
    #[serde(default)]
    pub api: ApiLimits,
    /// Where metrics and health are given, to anybody who can reach it.
    #[serde(default = "default_metrics")]
    pub metrics_listen: SocketAddr,
    /// A file with the bearer token that is asked of those who want metrics; without one nothing is asked.
    pub metrics_token_file: Option<PathBuf>,
    /// File in which the gateway keeps its key, its certificate and the CAs that it trusts.
    pub identity: PathBuf,
    /// The join token of a new gateway.
    pub token: Option<String>,
    /// A file with the join token of a new gateway.
    pub token_file: Option<PathBuf>,
    /// Wait until the file with the join token is there, and after a refusal go on asking.
    #[serde(default)]
    pub await_token: bool,
    /// The key-encryption key, the same file on every server.
    pub kek_file: PathBuf,
    /// Mesh addresses of servers to learn the cluster from.
    pub join: Vec<String>,
    /// What is logged how.
    #[serde(default)]
    pub log: LogConfig,
    /// Where traces go.
    #[serde(default)]
    pub tracing: TracingConfig,
}

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The name cannot stand in a certificate or a file name.
    #[error(
        "name {0:?}: use 1 to 63 letters, digits, dots and hyphens, beginning with a letter or digit"
    )]
    Name(String),
    /// No data folder.
    #[error("no data folder is given: name at least one with --data")]
    NoData,
    /// Too many data folders.
    #[error("{0} data folders are given: a node has at most 64 drives")]
    TooManyDrives(usize),
    /// A data folder stands twice in the list.
    #[error("data folder {} is given twice", .0.display())]
    DataTwice(PathBuf),
    /// Neither bootstrap nor join, or both.
    #[error(
        "give either --bootstrap NAME, on exactly one empty node of a new cluster, or --join HOST:PORT, not both"
    )]
    BootstrapAndJoin,
    /// A gateway with nobody to ask.
    #[error("a gateway needs at least one server to learn the cluster from: --join HOST:PORT")]
    NoJoin,
    /// An address of the join list is not host:port.
    #[error("address {0:?} is not HOST:PORT")]
    Address(String),
    /// Metrics of too many buckets.
    #[error(
        "metrics_buckets is {0}: at most {METRICS_BUCKETS_MAX} buckets have metrics of their own"
    )]
    MetricsBuckets(u32),
    /// Names of buckets would be told to anybody.
    #[error(
        "metrics_buckets is {0}, which tells names of buckets to whoever can scrape: ask them for a token, with --metrics-token-file, or set it to 0"
    )]
    MetricsBucketsWithoutToken(u32),
    /// The API would leave the machine without TLS.
    #[error(
        "the API address {0} is not loopback and has no certificate: name one with --api-tls-cert and --api-tls-key, or listen on 127.0.0.0/8 or ::1"
    )]
    ApiNotLoopback(SocketAddr),
    /// A certificate without its key, or a key alone.
    #[error("--api-tls-cert and --api-tls-key belong together: give both, or neither")]
    HalfApiTls,
    /// Both listeners on one port.
    #[error("the API and the mesh cannot share the address {0}")]
    SameAddress(SocketAddr),
    /// The metrics listener on the port of another one.
    #[error(
        "the metrics cannot share the address {0} with the API or the mesh: give another --metrics-listen"
    )]
    MetricsAddress(SocketAddr),
    /// The number of groups is out of range.
    #[error("{0} object groups: use 1 to 256")]
    Groups(u16),
    /// The number of nodes is out of range.
    #[error("{0} expected nodes: use 1 to 1000")]
    Nodes(u16),
    /// The segment size is out of range.
    #[error("segments of {0} MiB: use 8 to 1024")]
    Segment(u64),
    /// A time of work in the background is out of range.
    #[error("{what} of {seconds} s: use 1 to 2592000 seconds")]
    GcSeconds {
        /// Which setting.
        what: &'static str,
        /// What was given.
        seconds: u64,
    },
    /// A bound of background work is out of range.
    #[error("{what} of {value}: use {least} to {most}")]
    Background {
        /// Which setting.
        what: &'static str,
        /// What was given.
        value: u64,
        /// The least that is allowed.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A certificate's lifetime is out of range.
    #[error("certificates of {0} s: use 4 to 7776000 seconds")]
    CertificateSeconds(u64),
    /// A collector of traces that is no address.
    #[error("collector {0:?}: write http://HOST:PORT or https://HOST:PORT")]
    Otlp(String),
    /// A zone that is no text of one word.
    #[error("zone {0:?}: use 1 to 63 letters, digits, dots, hyphens and underscores")]
    Zone(String),
    /// A token twice.
    #[error("give --token or --token-file, not both")]
    TokenTwice,
    /// A key for founding where no founding can be asked for.
    #[error(
        "--operator-key-file is for a server that waits for its token: give --await-token and --join too"
    )]
    OperatorWithoutAwait,
    /// A first access key where no cluster is founded.
    #[error(
        "--admin-key-file is for the founding of a cluster: give --bootstrap or --operator-key-file too"
    )]
    AdminKeyAlone,
    /// Nothing says where the token will appear.
    #[error("--await-token needs --token-file: the file in which the token will be")]
    AwaitWithoutFile,
    /// A file that must be there is not.
    #[error("{what} {} is not set or empty", .path.display())]
    EmptyPath {
        /// Which setting.
        what: &'static str,
        /// What was given.
        path: PathBuf,
    },
}

fn default_certificate_lifetime_s() -> u64 {
    24 * 3600
}

fn default_api() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7070))
}

fn default_mesh() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7071))
}

fn default_metrics() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7072))
}

fn default_segment_mib() -> u64 {
    256
}

fn default_gc_floor_lag_s() -> u64 {
    24 * 3600
}

fn default_gc_read_lag_s() -> u64 {
    15 * 60
}

fn default_gc_drain_grace_s() -> u64 {
    10 * 60
}

fn default_gc_scan_every_s() -> u64 {
    3600
}

fn default_repair_grace_s() -> u64 {
    10 * 60
}

fn default_balance_quiet_s() -> u64 {
    3
}

fn default_narrow_grace_s() -> u64 {
    10 * 60
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    let begins_well = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if begins_well && name.len() <= 63 && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(ConfigError::Name(name.to_owned()))
    }
}

fn check_zone(zone: Option<&String>) -> Result<(), ConfigError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let fits = |zone: &String| (1..=63).contains(&zone.len()) && zone.bytes().all(allowed);
    match zone.filter(|zone| !fits(zone)) {
        Some(zone) => Err(ConfigError::Zone(zone.clone())),
        None => Ok(()),
    }
}

fn check_names(name: Option<&String>, zone: Option<&String>) -> Result<(), ConfigError> {
    check_zone(zone)?;
    name.map_or(Ok(()), |name| check_name(name))
}

fn check_token(token: Option<&String>, file: Option<&PathBuf>) -> Result<(), ConfigError> {
    match (token, file) {
        (Some(_), Some(_)) => Err(ConfigError::TokenTwice),
        _ => Ok(()),
    }
}

fn check_addresses(addresses: &[String]) -> Result<(), ConfigError> {
    for address in addresses {
        let port = address
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(ConfigError::Address(address.clone()));
        }
    }
    Ok(())
}

fn check_api(api: SocketAddr, tls: Option<&ApiTlsFiles>) -> Result<(), ConfigError> {
    if api.ip().is_loopback() || tls.is_some() {
        Ok(())
    } else {
        Err(ConfigError::ApiNotLoopback(api))
    }
}

fn check_metrics(metrics: SocketAddr, others: &[SocketAddr]) -> Result<(), ConfigError> {
    if metrics.port() != 0 && others.contains(&metrics) {
        return Err(ConfigError::MetricsAddress(metrics));
    }
    Ok(())
}

/// Names of buckets are told to those only who have a token.
fn check_metrics_buckets(count: u32, token: Option<&Path>) -> Result<(), ConfigError> {
    match count {
        0 => Ok(()),
        1..=METRICS_BUCKETS_MAX if token.is_some() => Ok(()),
        1..=METRICS_BUCKETS_MAX => Err(ConfigError::MetricsBucketsWithoutToken(count)),
        _ => Err(ConfigError::MetricsBuckets(count)),
    }
}

fn check_path(what: &'static str, path: &Path) -> Result<(), ConfigError> {
    if path.as_os_str().is_empty() {
        return Err(ConfigError::EmptyPath {
            what,
            path: path.to_owned(),
        });
    }
    Ok(())
}

impl ServerConfig {
    /// Checks everything that can be checked without touching the machine.
    ///
    /// # Errors
    /// The first setting that cannot work, with what to write instead.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_names(self.name.as_ref(), self.zone.as_ref())?;
        check_token(self.token.as_ref(), self.token_file.as_ref())?;
        if self.await_token && self.token_file.is_none() {
            return Err(ConfigError::AwaitWithoutFile);
        }
        if !CERTIFICATE_SECONDS.contains(&self.certificate_lifetime_s) {
            return Err(ConfigError::CertificateSeconds(self.certificate_lifetime_s));
        }
        match self.data.len() {
            0 => return Err(ConfigError::NoData),
            n if n > DRIVES_PER_NODE_MAX => return Err(ConfigError::TooManyDrives(n)),
            _ => {}
        }
        for (i, folder) in self.data.iter().enumerate() {
            check_path("data folder", folder)?;
            if self.data[..i].contains(folder) {
                return Err(ConfigError::DataTwice(folder.clone()));
            }
        }
        check_path("kek file", &self.kek_file)?;
        if self.bootstrap.is_some() && !self.join.is_empty() {
            return Err(ConfigError::BootstrapAndJoin);
        }
        check_addresses(&self.join)?;
        check_api(self.api_listen, self.api_tls()?.as_ref())?;
        self.api.validate()?;
        if self.api_listen == self.mesh_listen && self.api_listen.port() != 0 {
            return Err(ConfigError::SameAddress(self.api_listen));
        }
        check_metrics(self.metrics_listen, &[self.api_listen, self.mesh_listen])?;
        check_metrics_buckets(self.metrics_buckets, self.metrics_token_file.as_deref())?;
        if !SEGMENT_MIB.contains(&self.segment_mib) {
            return Err(ConfigError::Segment(self.segment_mib));
        }
        self.check_gc()?;
        self.background.validate()?;
        self.upkeep.validate()?;
        self.watch.validate()?;
        self.tracing.validate()?;
        self.check_founding()
    }

    fn check_founding(&self) -> Result<(), ConfigError> {
        let keys = [&self.operator_key_file, &self.admin_key_file];
        for file in keys.into_iter().flatten() {
            check_path("key file", file)?;
        }
        let waits = self.await_token && !self.join.is_empty();
        if self.operator_key_file.is_some() && !waits && self.bootstrap.is_none() {
            return Err(ConfigError::OperatorWithoutAwait);
        }
        if self.admin_key_file.is_some() && self.operator_key_file.is_none() {
            return Err(ConfigError::AdminKeyAlone);
        }
        self.bootstrap
            .as_ref()
            .map_or(Ok(()), BootstrapConfig::validate)
    }

    /// Where the API's certificate is, if it has one.
    ///
    /// # Errors
    /// [`ConfigError::HalfApiTls`] where only one of the two files is named.
    pub fn api_tls(&self) -> Result<Option<ApiTlsFiles>, ConfigError> {
        ApiTlsFiles::of(self.api_tls_cert.as_ref(), self.api_tls_key.as_ref())
    }

    fn check_gc(&self) -> Result<(), ConfigError> {
        let settings = [
            ("gc_floor_lag_s", self.gc_floor_lag_s),
            ("gc_read_lag_s", self.gc_read_lag_s),
            ("gc_drain_grace_s", self.gc_drain_grace_s),
            ("gc_scan_every_s", self.gc_scan_every_s),
            ("repair_grace_s", self.repair_grace_s),
        ];
        let wrong = settings.iter().find(|(_, s)| !GC_SECONDS.contains(s));
        wrong.map_or(Ok(()), |&(what, seconds)| {
            Err(ConfigError::GcSeconds { what, seconds })
        })
    }
}

impl GatewayConfig {
    /// Where the API's certificate is, if it has one.
    ///
    /// # Errors
    /// [`ConfigError::HalfApiTls`] where only one of the two files is named.
    pub fn api_tls(&self) -> Result<Option<ApiTlsFiles>, ConfigError> {
        ApiTlsFiles::of(self.api_tls_cert.as_ref(), self.api_tls_key.as_ref())
    }

    /// Checks everything that can be checked without touching the machine.
    ///
    /// # Errors
    /// The first setting that cannot work, with what to write instead.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_names(self.name.as_ref(), None)?;
        check_token(self.token.as_ref(), self.token_file.as_ref())?;
        if self.await_token && self.token_file.is_none() {
            return Err(ConfigError::AwaitWithoutFile);
        }
        check_path("identity file", &self.identity)?;
        check_path("kek file", &self.kek_file)?;
        check_api(self.api_listen, self.api_tls()?.as_ref())?;
        self.api.validate()?;
        check_metrics(self.metrics_listen, &[self.api_listen])?;
        self.tracing.validate()?;
        if self.join.is_empty() {
            return Err(ConfigError::NoJoin);
        }
        check_addresses(&self.join)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerConfig {
        ServerConfig {
            name: Some("node-1".into()),
            data: vec!["/d1".into(), "/d2".into()],
            zone: None,
            api_listen: default_api(),
            api_tls_cert: None,
            api_tls_key: None,
            api: ApiLimits::default(),
            mesh_listen: default_mesh(),
            metrics_listen: default_metrics(),
            metrics_token_file: None,
            metrics_buckets: 0,
            mesh_advertise: None,
            api_advertise: None,
            token: None,
            token_file: None,
            await_token: false,
            certificate_lifetime_s: default_certificate_lifetime_s(),
            kek_file: "/kek".into(),
            bootstrap: None,
            operator_key_file: None,
            admin_key_file: None,
            join: vec!["127.0.0.1:7071".into()],
            segment_mib: 256,
            drive_capacity: None,
            metadata_free: None,
            gc_floor_lag_s: default_gc_floor_lag_s(),
            gc_read_lag_s: default_gc_read_lag_s(),
            gc_drain_grace_s: default_gc_drain_grace_s(),
            gc_scan_every_s: default_gc_scan_every_s(),
            repair_grace_s: default_repair_grace_s(),
            background: BackgroundConfig::default(),
            upkeep: UpkeepConfig::default(),
            watch: WatchConfig::default(),
            log: LogConfig::default(),
            tracing: TracingConfig::default(),
            narrow_grace_s: default_narrow_grace_s(),
            balance_quiet_s: default_balance_quiet_s(),
        }
    }

    #[test]
    fn names_of_buckets_are_told_to_those_with_a_token() {
        let mut config = server();
        config.metrics_buckets = 5;
        assert_eq!(
            config.validate(),
            Err(ConfigError::MetricsBucketsWithoutToken(5))
        );
        config.metrics_token_file = Some("/token".into());
        assert_eq!(config.validate(), Ok(()));
        config.metrics_buckets = METRICS_BUCKETS_MAX;
        assert_eq!(config.validate(), Ok(()));
        config.metrics_buckets += 1;
        assert_eq!(config.validate(), Err(ConfigError::MetricsBuckets(501)));
    }

    #[test]
    fn a_plain_server_is_allowed() {
        assert_eq!(server().validate(), Ok(()));
    }

    #[test]
    fn a_token_is_awaited_in_a_file_only() {
        let mut config = server();
        config.await_token = true;
        assert_eq!(config.validate(), Err(ConfigError::AwaitWithoutFile));
        config.token_file = Some("/join/pod-1".into());
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn limits_of_connections_have_bounds() {
        for change in [
            |c: &mut ServerConfig| c.api.connections = 0,
            |c: &mut ServerConfig| c.api.connection_age_s = 0,
            |c: &mut ServerConfig| c.api.stop_grace_s = 0,
        ] {
            let mut config = server();
            change(&mut config);
            let refused = config.validate().expect_err("out of range");
            assert!(refused.to_string().starts_with("api."), "{refused}");
        }
    }

    #[test]
    fn a_key_for_founding_needs_somebody_who_waits() {
        let mut config = server();
        config.admin_key_file = Some("/keys/admin".into());
        assert_eq!(config.validate(), Err(ConfigError::AdminKeyAlone));
        config.operator_key_file = Some("/keys/operator".into());
        assert_eq!(config.validate(), Err(ConfigError::OperatorWithoutAwait));
        (config.await_token, config.token_file) = (true, Some("/join/pod-1".into()));
        assert_eq!(config.validate(), Ok(()));
        config.join.clear();
        assert_eq!(config.validate(), Err(ConfigError::OperatorWithoutAwait));
    }

    #[test]
    fn only_tls_leaves_the_machine() {
        let mut config = server();
        config.api_listen = SocketAddr::from(([10, 0, 0, 1], 7070));
        let refused = config.validate().expect_err("plain text on the network");
        assert!(refused.to_string().contains("--api-tls-cert"), "{refused}");
        config.api_tls_cert = Some("/tls/tls.crt".into());
        assert_eq!(config.validate(), Err(ConfigError::HalfApiTls));
        config.api_tls_key = Some("/tls/tls.key".into());
        assert_eq!(config.validate(), Ok(()));
        config.api_tls_key = Some(PathBuf::new());
        assert!(matches!(
            config.validate(),
            Err(ConfigError::EmptyPath { .. })
        ));
    }

    #[test]
    fn each_listener_has_an_address_of_its_own() {
        let mut config = server();
        config.metrics_listen = config.mesh_listen;
        let taken = ConfigError::MetricsAddress(config.mesh_listen);
        assert_eq!(config.validate(), Err(taken));
        config.metrics_listen = SocketAddr::from(([0, 0, 0, 0], 7072));
        assert_eq!(config.validate(), Ok(()), "nothing secret is given there");
    }

    #[test]
    fn each_mistake_has_its_error() {
        let refused = |change: fn(&mut ServerConfig)| {
            let mut config = server();
            change(&mut config);
            config.validate().expect_err("must be refused")
        };
        assert!(matches!(
            refused(|c| c.name = Some("a b".into())),
            ConfigError::Name(_)
        ));
        assert!(matches!(
            refused(|c| c.zone = Some(String::new())),
            ConfigError::Zone(_)
        ));
        assert!(matches!(
            refused(|c| c.certificate_lifetime_s = 3),
            ConfigError::CertificateSeconds(3)
        ));
        let twice = refused(|c| {
            c.token = Some("t".into());
            c.token_file = Some("f".into());
        });
        assert_eq!(twice, ConfigError::TokenTwice);
        assert!(matches!(refused(|c| c.data.clear()), ConfigError::NoData));
        assert!(matches!(
            refused(|c| c.data = vec!["/d".into(); 65]),
            ConfigError::TooManyDrives(65)
        ));
        assert!(matches!(
            refused(|c| c.data = vec!["/d".into(); 2]),
            ConfigError::DataTwice(_)
        ));
        assert!(matches!(
            refused(|c| c.join = vec!["host".into()]),
            ConfigError::Address(_)
        ));
        assert!(matches!(
            refused(|c| c.join = vec![":1".into()]),
            ConfigError::Address(_)
        ));
        assert!(matches!(
            refused(|c| c.api_listen = SocketAddr::from(([10, 0, 0, 1], 7070))),
            ConfigError::ApiNotLoopback(_)
        ));
        assert!(matches!(
            refused(|c| c.mesh_listen = c.api_listen),
            ConfigError::SameAddress(_)
        ));
        assert!(matches!(
            refused(|c| c.segment_mib = 1),
            ConfigError::Segment(1)
        ));
        for zero in [
            refused(|c| c.gc_floor_lag_s = 0),
            refused(|c| c.gc_read_lag_s = 0),
            refused(|c| c.gc_drain_grace_s = 0),
            refused(|c| c.gc_scan_every_s = u64::MAX),
        ] {
            assert!(matches!(zero, ConfigError::GcSeconds { .. }));
        }
        for zero in [
            refused(|c| c.background.share_percent = 0),
            refused(|c| c.upkeep.scrub_every_s = 0),
        ] {
            assert!(matches!(zero, ConfigError::Background { value: 0, .. }));
        }
        assert!(matches!(
            refused(|c| c.kek_file = PathBuf::new()),
            ConfigError::EmptyPath { .. }
        ));
    }

    #[test]
    fn bootstrap_and_join_exclude_each_other() {
        let bootstrap = BootstrapConfig {
            cluster_name: "c".into(),
            expected_nodes: 6,
            object_groups: 8,
            admin_key_file: "/key".into(),
        };
        let mut config = server();
        config.bootstrap = Some(bootstrap.clone());
        assert_eq!(config.validate(), Err(ConfigError::BootstrapAndJoin));
        config.join.clear();
        assert_eq!(config.validate(), Ok(()));
        config.bootstrap = Some(BootstrapConfig {
            object_groups: 257,
            ..bootstrap
        });
        assert_eq!(config.validate(), Err(ConfigError::Groups(257)));
    }
}
