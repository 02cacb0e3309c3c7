//! Which server is asked, and which one next.

mod names;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use marram_types::caps::MIB;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::config::{ClientConfig, ConfigError};
use crate::tls::{tls_of, with_sources};

use names::{Name, Resolver, of_the_system};

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

/// Names of endpoints are looked up again so often: servers come and go behind the name of a service.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// And so soon after the last time when a server failed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One server and the connection to it, which comes up with the first call.
#[derive(Clone)]
pub(crate) struct Server {
    /// Which one; never that of another one.
    pub(crate) index: usize,
    pub(crate) address: String,
    pub(crate) channel: Channel,
}

/// All servers. One of them is asked until it fails, then the next one.
pub(crate) struct Endpoints {
    names: Vec<Name>,
    resolver: Resolver,
    connect_time: Duration,
    tls: Option<ClientTlsConfig>,
    /// Certificates bear this name, not that of the endpoint.
    server_name: bool,
    first: Option<usize>,
    known: Mutex<Known>,
    /// Held by who looks names up.
    looking: tokio::sync::Mutex<()>,
}

/// The servers that are known now.
struct Known {
    servers: Vec<Server>,
    current: usize,
    /// When the names were looked up; `None` before the first time.
    looked: Option<Instant>,
    /// One failed since.
    failed: bool,
    next_index: usize,
}

impl Known {
    /// The server of this address that is known, or a new one.
    fn server(&mut self, address: String, channel: impl FnOnce() -> Channel) -> Server {
        if let Some(known) = self.servers.iter().find(|server| server.address == address) {
            return known.clone();
        }
        let index = self.next_index;
        self.next_index += 1;
        Server {
            index,
            address,
            channel: channel(),
        }
    }
}

impl Endpoints {
    /// Needs a tokio runtime; connects nowhere yet, and looks nothing up.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, ConfigError> {
        Self::resolving(config, of_the_system())
    }

    fn resolving(config: &ClientConfig, resolver: Resolver) -> Result<Self, ConfigError> {
        let (authorities, _) = config.validate()?;
        let names: Vec<Name> = authorities.into_iter().map(Name::new).collect();
        let tls = tls_of(config)?;
        let mut known = Known {
            servers: Vec::new(),
            current: 0,
            looked: None,
            failed: false,
            next_index: 0,
        };
        for name in &names {
            let endpoint = endpoint(&name.authority, config.connect_timeout, tls.as_ref())?;
            let server = known.server(name.authority.clone(), || endpoint.connect_lazy());
            known.servers.push(server);
        }
        known.current = first_of(config.first_endpoint, known.servers.len());
        Ok(Self {
            names,
            resolver,
            connect_time: config.connect_timeout,
            tls,
            server_name: config.server_name.is_some(),
            first: config.first_endpoint,
            known: Mutex::new(known),
            looking: tokio::sync::Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are; never 0.
    pub(crate) fn count(&self) -> usize {
        self.known().servers.len()
    }

    /// The server to ask.
    pub(crate) fn current(&self) -> Server {
        let known = self.known();
        known.servers[known.current].clone()
    }

    /// The server at `index` failed: the next one is asked from now on, unless another call has
    /// moved on already.
    pub(crate) fn failed(&self, index: usize) {
        let mut known = self.known();
        known.failed = true;
        if known.servers[known.current].index == index {
            known.current = (known.current + 1) % known.servers.len();
        }
    }

    /// Looks the names up when it is time. The first time a call waits for it; later ones go on with what
    /// is known meanwhile.
    pub(crate) async fn keep_current(self: &Arc<Self>) {
        if self.names.iter().all(Name::is_fixed) {
            return;
        }
        let (due, first) = {
            let known = self.known();
            let every = if known.failed { LOOK_AGAIN } else { LOOK_EVERY };
            let due = known.looked.is_none_or(|at| at.elapsed() >= every);
            (due, known.looked.is_none())
        };
        if !due {
            return;
        }
        if first {
            let _alone = self.looking.lock().await;
            // Another call may have done it meanwhile.
            if self.known().looked.is_none() {
                self.look().await;
            }
            return;
        }
        let all = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(_alone) = all.looking.try_lock() {
                all.look().await;
            }
        });
    }

    /// Looks all names up. A name about which nothing can be found out stands for what it did before.
    async fn look(&self) {
        let looks = self.names.iter().map(|name| name.servers(&self.resolver));
        let found = futures::future::join_all(looks).await;
        let mut known = self.known();
        known.looked = Some(Instant::now());
        known.failed = false;
        let mut servers = Vec::new();
        for (name, found) in self.names.iter().zip(found) {
            match found {
                Ok(addresses) if addresses.is_empty() => {
                    let address = name.authority.clone();
                    servers.extend(self.server(&mut known, name, address));
                }
                Ok(addresses) => {
                    for address in addresses {
                        let address = format!("{address} ({})", name.authority);
                        servers.extend(self.server(&mut known, name, address));
                    }
                }
                Err(error) => {
                    tracing::debug!(name = name.authority, %error, "not found");
                    let of_name = format!(" ({})", name.authority);
                    let before = known.servers.iter().filter(|server| {
                        server.address == name.authority || server.address.ends_with(&of_name)
                    });
                    servers.extend(before.cloned());
                }
            }
        }
        let indexes = |servers: &[Server]| servers.iter().map(|s| s.index).collect::<Vec<_>>();
        if servers.is_empty() || indexes(&servers) == indexes(&known.servers) {
            return;
        }
        // Drawn anew, so that a server that just came gets its share of the clients.
        known.current = first_of(self.first, servers.len());
        known.servers = servers;
    }

    /// The server at an address, written `ip:port (host:port)`, or `host:port`, of a name.
    fn server(&self, known: &mut Known, name: &Name, address: String) -> Option<Server> {
        let at = address.split(' ').next().unwrap_or(&address);
        let of_name = at != name.authority;
        let tls = self.tls.clone().map(|tls| match of_name {
            true if !self.server_name => tls.domain_name(name.host()),
            _ => tls,
        });
        let endpoint = endpoint(at, self.connect_time, tls.as_ref()).ok()?;
        Some(known.server(address, || endpoint.connect_lazy()))
    }
}

/// Where to begin, among so many.
fn first_of(wanted: Option<usize>, count: usize) -> usize {
    wanted.unwrap_or_else(|| rand::random_range(0..count)) % count
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

    fn resolver(answers: &Arc<Mutex<Vec<&'static str>>>) -> Resolver {
        let answers = Arc::clone(answers);
        Arc::new(move |_| {
            let found = answers.lock().expect("not poisoned").clone();
            Box::pin(async move {
                if found.is_empty() {
                    return Err(std::io::ErrorKind::NotFound.into());
                }
                let read = |text: &&str| text.parse().expect("an address");
                Ok(found.iter().map(read).collect())
            })
        })
    }

    fn addresses(endpoints: &Endpoints) -> Vec<String> {
        let known = endpoints.known();
        known
            .servers
            .iter()
            .map(|server| server.address.clone())
            .collect()
    }

    #[tokio::test]
    async fn each_address_of_a_name_is_a_server_and_they_come_and_go() {
        let answers = Arc::new(Mutex::new(vec!["10.0.0.2:7070", "10.0.0.1:7070"]));
        let mut config = ClientConfig::new("store:7070,10.9.9.9:1", "MKA", "s");
        config.first_endpoint = Some(1);
        let endpoints = Endpoints::resolving(&config, resolver(&answers)).expect("valid");
        let endpoints = Arc::new(endpoints);
        endpoints.keep_current().await;
        let both = ["10.0.0.1:7070 (store:7070)", "10.0.0.2:7070 (store:7070)"];
        assert_eq!(addresses(&endpoints), [both[0], both[1], "10.9.9.9:1"]);
        let second = endpoints.current();
        assert_eq!(second.address, both[1]);

        // Looked up again at once only after a failure; a server that stays is the same one.
        *answers.lock().expect("not poisoned") = vec!["10.0.0.2:7070", "10.0.0.3:7070"];
        endpoints.look().await;
        let known = addresses(&endpoints);
        assert_eq!(known, [both[1], "10.0.0.3:7070 (store:7070)", "10.9.9.9:1"]);
        assert_eq!(endpoints.known().servers[0].index, second.index);
        endpoints.failed(second.index);
        // Without an answer it stays as it was, and with one address the name is the server.
        answers.lock().expect("not poisoned").clear();
        endpoints.look().await;
        assert_eq!(addresses(&endpoints), known);
        *answers.lock().expect("not poisoned") = vec!["10.0.0.4:7070"];
        endpoints.look().await;
        assert_eq!(addresses(&endpoints), ["store:7070", "10.9.9.9:1"]);
    }
}
