//! What a client is told: where the cluster is, the keys, the limits.

use std::fmt;
use std::time::Duration;

use marram_types::RequestId;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::retry::RetryPolicy;

/// Most endpoints of one client.
const ENDPOINTS_MAX: usize = 256;

/// A secret key, kept out of logs: printing it shows dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

/// How to reach a cluster and how patient to be.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Servers of one cluster as `host:port`, or as `https://host:port` where they speak TLS; one
    /// element may also hold several, separated by commas. A name that has several addresses, such as
    /// that of a headless service, stands for as many servers; it is looked up again now and then.
    pub endpoints: Vec<String>,
    /// The CAs whose certificates are accepted, in PEM; those of the system where `None`.
    pub ca_certificates: Option<Vec<u8>>,
    /// The name that the servers' certificates have to bear, where it is not the one in the endpoint:
    /// for tunnels, and for nodes that are known by addresses.
    pub server_name: Option<String>,
    /// The endpoint to begin with, modulo their number; a random one where `None`.
    pub first_endpoint: Option<usize>,
    /// The access key's id.
    pub access_key: String,
    /// The access key's secret.
    pub secret_key: Secret,
    /// When attempts are repeated.
    pub retry: RetryPolicy,
    /// How long one TCP connection may take to come up.
    pub connect_timeout: Duration,
    /// How long one attempt at a call with one answer may take.
    pub call_timeout: Duration,
    /// How long an upload or a download may stand still before the attempt is given up.
    pub stall_timeout: Duration,
    /// Whether large objects are read from the nodes that have their shards, many at once, where
    /// these can be reached; else everything goes through the endpoints.
    pub direct_reads: bool,
    /// The trace that all calls belong to, as a W3C `traceparent`; none where `None`. Servers that record
    /// traces record them where it says so.
    pub traceparent: Option<String>,
    /// The name of the first change that the client makes; drawn at random where `None`. To hear what came of
    /// one whose outcome was unknown ([`ClientError::request_id`](crate::ClientError::request_id)), also in
    /// another process: the same call under its name is not done twice.
    pub first_request: Option<RequestId>,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No endpoint was given.
    #[error("no endpoint was given; write it as host:port, several separated by commas")]
    NoEndpoint,
    /// More endpoints than a client keeps connections to.
    #[error("{given} endpoints were given; a client takes at most {ENDPOINTS_MAX}")]
    TooManyEndpoints {
        /// How many were given.
        given: usize,
    },
    /// An endpoint that is not `host:port`.
    #[error("endpoint {endpoint:?} is not valid: {reason}")]
    BadEndpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Some endpoints with TLS, some without.
    #[error("some endpoints are https:// and some are not: write all of them alike")]
    MixedSchemes,
    /// CAs or a name for servers that speak no TLS.
    #[error("{0} is given, but the endpoints do not say https://: write them as https://host:port")]
    NotTls(&'static str),
    /// The CAs cannot be read.
    #[error("the CA certificates cannot be read: give PEM (-----BEGIN CERTIFICATE-----)")]
    BadCa,
    /// TLS cannot be set up.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
    /// The access key or its secret is empty.
    #[error("the {0} is empty")]
    EmptyKey(&'static str),
    /// The trace context is no header's value.
    #[error("the trace context {0:?} is not ASCII text")]
    Traceparent(String),
    /// The access key's id has characters that no access key has.
    #[error("the access key holds characters that no access key has; were both keys swapped?")]
    BadAccessKey,
}

impl ClientConfig {
    /// A configuration with the usual limits: 3 s to connect, 15 s for a call, 30 s of standstill.
    ///
    /// `endpoints` is one `host:port` or `https://host:port`, or several separated by commas.
    pub fn new(
        endpoints: impl Into<String>,
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
    ) -> Self {
        Self {
            endpoints: vec![endpoints.into()],
            ca_certificates: None,
            server_name: None,
            first_endpoint: None,
            access_key: access_key.into(),
            secret_key: Secret::new(secret_key),
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            direct_reads: true,
            traceparent: None,
            first_request: None,
        }
    }

    /// Checks everything but the reachability of the servers; returns the endpoints one by one,
    /// as `host:port`, and whether they speak TLS.
    pub(crate) fn validate(&self) -> Result<(Vec<String>, bool), ConfigError> {
        let endpoints = self
            .endpoints
            .iter()
            .flat_map(|given| given.split(','))
            .map(str::trim)
            .filter(|given| !given.is_empty())
            .map(authority)
            .collect::<Result<Vec<_>, _>>()?;
        let Some((_, tls)) = endpoints.first() else {
            return Err(ConfigError::NoEndpoint);
        };
        let tls = *tls;
        if endpoints.iter().any(|(_, other)| *other != tls) {
            return Err(ConfigError::MixedSchemes);
        }
        if endpoints.len() > ENDPOINTS_MAX {
            return Err(ConfigError::TooManyEndpoints {
                given: endpoints.len(),
            });
        }
        self.check_tls(tls)?;
        if self.access_key.is_empty() {
            return Err(ConfigError::EmptyKey("access key"));
        }
        if self.secret_key.reveal().is_empty() {
            return Err(ConfigError::EmptyKey("secret key"));
        }
        if !self.access_key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(ConfigError::BadAccessKey);
        }
        let addresses = endpoints.into_iter().map(|(address, _)| address);
        Ok((addresses.collect(), tls))
    }

    fn check_tls(&self, tls: bool) -> Result<(), ConfigError> {
        match (&self.ca_certificates, &self.server_name) {
            (Some(_), _) if !tls => Err(ConfigError::NotTls("a CA certificate")),
            (_, Some(_)) if !tls => Err(ConfigError::NotTls("a server name")),
            (Some(pem), _) => {
                let mut read = CertificateDer::pem_slice_iter(pem).peekable();
                match read.peek().is_some() && read.all(|one| one.is_ok()) {
                    true => Ok(()),
                    false => Err(ConfigError::BadCa),
                }
            }
            _ => Ok(()),
        }
    }
}

/// The `host:port` of an endpoint, which may be written with its scheme, and whether it speaks TLS.
fn authority(given: &str) -> Result<(String, bool), ConfigError> {
    let bad = |reason| ConfigError::BadEndpoint {
        endpoint: given.to_owned(),
        reason,
    };
    let secure = given.strip_prefix("https://");
    let tls = secure.is_some();
    let bare = secure
        .or_else(|| given.strip_prefix("http://"))
        .unwrap_or(given);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let (host, port) = bare
        .rsplit_once(':')
        .ok_or_else(|| bad("the port is missing; write host:port"))?;
    if host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) {
        return Err(bad("write host:port"));
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(bad("write an IPv6 address in brackets, as [::1]:7070"));
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok((bare.to_owned(), tls)),
        _ => Err(bad("the port must be a number from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_lists_are_taken_apart() {
        let config = ClientConfig::new(" a:1,http://b:2/, [::1]:3 ,", "MKA", "s");
        assert_eq!(
            config.validate(),
            Ok((
                vec!["a:1".to_owned(), "b:2".to_owned(), "[::1]:3".to_owned()],
                false
            ))
        );
        let config = ClientConfig::new("https://a:1/,https://b:2", "MKA", "s");
        let (addresses, tls) = config.validate().expect("valid");
        assert_eq!((addresses.len(), tls), (2, true));
    }

    #[test]
    fn tls_is_all_or_nothing() {
        let mixed = ClientConfig::new("https://a:1,b:2", "MKA", "s");
        assert_eq!(mixed.validate(), Err(ConfigError::MixedSchemes));
        let mut config = ClientConfig::new("a:1", "MKA", "s");
        config.server_name = Some("store".into());
        assert_eq!(config.validate(), Err(ConfigError::NotTls("a server name")));
        config.ca_certificates = Some(b"no PEM".to_vec());
        assert_eq!(
            config.validate(),
            Err(ConfigError::NotTls("a CA certificate"))
        );
        config.endpoints = vec!["https://a:1".into()];
        assert_eq!(config.validate(), Err(ConfigError::BadCa));
        let damaged = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        config.ca_certificates = Some(damaged.into());
        assert_eq!(config.validate(), Err(ConfigError::BadCa));
    }

    #[test]
    fn bad_endpoints_are_refused() {
        for bad in [
            "a",
            "a:",
            "a:0",
            "a:70000",
            ":1",
            "::1:3",
            "a/b:1",
            "https://a",
            "ftp://a:1",
            "u@h:1",
        ] {
            let config = ClientConfig::new(bad, "MKA", "s");
            assert!(
                matches!(config.validate(), Err(ConfigError::BadEndpoint { .. })),
                "{bad}"
            );
        }
        let none = ClientConfig::new(" , ", "MKA", "s");
        assert_eq!(none.validate(), Err(ConfigError::NoEndpoint));
    }

    #[test]
    fn keys_are_needed_and_secrets_are_not_printed() {
        let no_secret = ClientConfig::new("a:1", "MKA", "");
        assert_eq!(
            no_secret.validate(),
            Err(ConfigError::EmptyKey("secret key"))
        );
        let config = ClientConfig::new("a:1", "MKA", "hunter2");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
