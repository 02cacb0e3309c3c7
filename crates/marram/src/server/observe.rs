//! What operators see of this process from outside: metrics and readiness, and the listener that
//! gives both from before the process is a member until it ends.
//!
//! ```text
//! readiness  whether it can serve what a client will ask here, and why not
//! cluster    what the cluster decided and says of itself     groups   objects, repairs, Raft
//! drives     how full they are                           disks    how long operations on files take
//! mesh       requests, peers, certificates                upkeep   scrub, garbage, replicas compared
//! buckets    what each holds, where it is asked for
//! traces     what became of recorded spans              proposals  what is proposed to Raft groups
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use marram_gateway::calls;
use marram_metrics::{
    Calls, Connections, Listener, Process, Runtime, Source, Sources, Watchers, serve,
};
use tokio::runtime::Handle;

use super::lifetime::listen;
use super::scrape_token::ScrapeToken;

mod buckets;
mod cluster;
mod disks;
mod drives;
mod groups;
mod mesh;
mod proposals;
mod readiness;
mod traces;
mod upkeep;

pub(super) use buckets::Buckets;
pub(super) use cluster::Cluster;
pub(super) use disks::{Disks, Lately, keep_history};
pub(super) use drives::DriveSource;
pub(super) use groups::{Groups, Lost, replica_facts};
pub(super) use mesh::{Peers, Requests};
pub(super) use proposals::ProposalCounts;
pub(super) use readiness::{Facts, Readiness};
pub(super) use upkeep::UpkeepSource;

/// The outside of a process.
pub(super) struct Observed {
    /// Whether it is ready.
    pub readiness: Arc<Readiness>,
    /// Where calls of the API are counted.
    pub calls: Arc<Calls>,
    /// Where its connections are.
    pub connections: Arc<Connections>,
    /// Where those are who watch objects.
    pub watchers: Arc<Watchers>,
    sources: Arc<Sources>,
    address: SocketAddr,
}

impl Observed {
    /// Listens, and answers from now on; not ready as yet.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(super) async fn start(
        kind: &'static str,
        address: SocketAddr,
        token: Option<ScrapeToken>,
    ) -> Result<Self> {
        let socket = listen("metrics and health", address).await?;
        let address = socket.local_addr().context("a listener has an address")?;
        let observed = Self {
            readiness: Arc::default(),
            calls: Arc::new(calls()),
            connections: Arc::default(),
            watchers: Arc::default(),
            sources: Arc::default(),
            address,
        };
        observed.add(Process::new(env!("CARGO_PKG_VERSION"), kind));
        observed.add(Runtime::new("main", Handle::current()));
        observed.add(traces::Traces);
        observed.sources.add(observed.readiness.clone());
        observed.sources.add(observed.calls.clone());
        observed.sources.add(observed.connections.clone());
        observed.sources.add(observed.watchers.clone());
        let listener = Listener {
            sources: Arc::clone(&observed.sources),
            ready: observed.readiness.subscribe(),
            token: token.as_ref().map(ScrapeToken::subscribe),
        };
        tokio::spawn(serve(socket, listener));
        if let Some(token) = token {
            tokio::spawn(token.keep_current());
        }
        tokio::spawn(Arc::clone(&observed.readiness).keep_judging());
        tracing::info!(%address, "metrics and health");
        Ok(observed)
    }

    /// Gives what this source has, too.
    pub(super) fn add(&self, source: impl Source + 'static) {
        self.sources.add(Arc::new(source));
    }

    /// The same for one that others have, too.
    pub(super) fn add_shared(&self, source: Arc<dyn Source>) {
        self.sources.add(source);
    }

    /// All that it gives.
    pub(super) fn sources(&self) -> Arc<Sources> {
        Arc::clone(&self.sources)
    }

    /// `host:port` under which others reach the listener, where `mesh` is how they reach the mesh.
    pub(super) fn address(&self, mesh: &str) -> String {
        if !self.address.ip().is_unspecified() {
            return self.address.to_string();
        }
        match mesh.rsplit_once(':') {
            Some((host, _)) => format!("{host}:{}", self.address.port()),
            None => self.address.to_string(),
        }
    }
}
