//! Which server is asked, and which one next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use marram_types::caps::MIB;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::config::{ClientConfig, ConfigError};
use crate::tls::{tls_of, with_sources};

/// Bytes of a stream on their way (docs/decisions/0007).
const STREAM_WINDOW: u32 = 4 * MIB_U32;
/// Bytes of a connection on their way (docs/decisions/0007).
const CONNECTION_WINDOW: u32 = 16 * MIB_U32;
/// Largest HTTP/2 frame (docs/decisions/0007): the receiver's setting rules, so that of the client
/// decides over downloads.
const FRAME: u32 = MIB_U32;
#[allow(clippy::cast_possible_truncation)] // 1 MiB
const MIB_U32: u32 = MIB as u32;
/// A connection without traffic is tried this often, and given up when no answer comes in as long:
/// so a server that was paused, or cut off without a word, is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// One server and the connection to it, which comes up with the first call.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) index: usize,
    pub(crate) address: String,
    pub(crate) channel: Channel,
}

/// All servers. One of them is asked until it fails, then the next one.
pub(crate) struct Endpoints {
    servers: Vec<Server>,
    current: AtomicUsize,
}

impl Endpoints {
    /// Needs a tokio runtime; connects nowhere yet.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, ConfigError> {
        let (addresses, _) = config.validate()?;
        let tls = tls_of(config)?;
        let servers = addresses
            .into_iter()
            .enumerate()
            .map(|(index, address)| {
                let endpoint = endpoint(&address, config.connect_timeout, tls.as_ref())?;
                let channel = endpoint.connect_lazy();
                Ok(Server {
                    index,
                    address,
                    channel,
                })
            })
            .collect::<Result<Vec<_>, ConfigError>>()?;
        let first = config
            .first_endpoint
            .unwrap_or_else(|| rand::random_range(0..servers.len()));
        Ok(Self {
            current: AtomicUsize::new(first % servers.len()),
            servers,
        })
    }

    /// How many there are; never 0.
    pub(crate) fn count(&self) -> usize {
        self.servers.len()
    }

    /// The server to ask.
    pub(crate) fn current(&self) -> Server {
        let index = self.current.load(Ordering::Relaxed) % self.servers.len();
        self.servers[index].clone()
    }

    /// The server at `index` failed: the next one is asked from now on, unless another call has
    /// moved on already.
    pub(crate) fn failed(&self, index: usize) {
        let next = (index + 1) % self.servers.len();
        // Losing the race means that somebody else moved on, which is all that is wanted.
        let _ = self
            .current
            .compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A connection to be, with the transport settings of docs/decisions/0007.
pub(crate) fn endpoint(
    address: &str,
    connect_time: Duration,
    tls: Option<&ClientTlsConfig>,
) -> Result<Endpoint, ConfigError> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(|_| {
        ConfigError::BadEndpoint {
            endpoint: address.to_owned(),
            reason: "write host:port",
        }
    })?;
    let endpoint = match tls {
        None => endpoint,
        Some(tls) => endpoint
            .tls_config(tls.clone())
            .map_err(|error| ConfigError::Tls(with_sources(&error)))?,
    };
    Ok(endpoint
        .connect_timeout(connect_time)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEP_ALIVE))
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(false)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_one_is_asked_after_a_failure() {
        let mut config = ClientConfig::new("a:1,b:2,c:3", "MKA", "s");
        config.first_endpoint = Some(5);
        let endpoints = Endpoints::new(&config).expect("valid");
        assert_eq!(endpoints.current().address, "c:3");
        endpoints.failed(2);
        assert_eq!(endpoints.current().address, "a:1");
        // A late report about a server that is no longer current changes nothing.
        endpoints.failed(2);
        assert_eq!(endpoints.current().address, "a:1");
    }
}
