//! A server with empty drives: until it is a member, it asks to join, waits for its token, and founds a
//! cluster when an operator says so. Meanwhile its API says that it is no member, and its mesh port
//! turns everybody away at once, so that newcomers go on to the next address.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use marram_gateway::{
    ApiListener, FoundError, Founder, Kek, ServeError, WaitingDeps, serve_waiting,
};
use marram_mesh::{Join, StrangerError, call_as_stranger};
use marram_meta::AccessKeyRecord;
use marram_proto::mesh::v1 as wire;
use marram_types::config::{Founding, ServerConfig};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::super::addresses;
use super::super::founder::{Answering, Asked, Asking, by_request};
use super::super::own::Own;
use super::super::storage::Storage;
use super::found::{Beginning, first_keys, found};
use super::join::{Came, join};
use super::{Listeners, Node};

/// How long the API of a server that waits may take to let its last calls end.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);
/// How long one address may take to show that a member is there.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);
/// Pause after the system refuses to accept (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Waits until this server is a member.
pub(super) async fn wait(
    config: &ServerConfig,
    kek: &Arc<Kek>,
    storage: &mut Storage,
    raft: &Handle,
    listeners: &Listeners,
) -> Result<(Node, Own)> {
    let turned_away = turn_away(shared(&listeners.mesh)?);
    let Some(operator) = &config.operator_key_file else {
        if storage.is_half_founded() {
            bail!(
                "the founding of a cluster was interrupted on these folders: found it again with the \
                 same name, or empty them"
            );
        }
        let nobody = (&*listeners.observed.readiness, &mut Asking::never());
        return match join(config, kek, storage, raft, nobody).await? {
            Came::Member(member) => Ok(*member),
            Came::Asked(_) => bail!("nobody can ask this server to found a cluster"),
        };
    };
    let admin = config.admin_key_file.as_ref();
    let keys = first_keys([operator].into_iter().chain(admin), kek)?;
    let (founder, mut asking) = by_request();
    let api = Api::open(keys[0].clone(), (config, kek), listeners, Arc::new(founder))?;
    let member = loop {
        let asked = if storage.is_half_founded() {
            listeners.observed.readiness.joining(
                "the founding of a cluster was interrupted: waiting to be told again to found it",
            );
            asking.next().await
        } else {
            let asks = (&*listeners.observed.readiness, &mut asking);
            match join(config, kek, storage, raft, asks).await? {
                Came::Member(member) => break *member,
                Came::Asked(asked) => asked,
            }
        };
        let Asked { founding, answer } = asked;
        if let Err(why) = check(config, storage).await {
            tracing::warn!(%why, "no cluster is founded");
            let _ = answer.send(Err(why));
            continue;
        }
        let beginning = Beginning {
            founding,
            keys: keys.clone(),
        };
        break founded(config, kek, storage, raft, (beginning, answer)).await?;
    };
    api.close().await;
    drop(turned_away);
    Ok(member)
}

/// Founds the cluster and says so to whoever asked for it.
async fn founded(
    config: &ServerConfig,
    kek: &Kek,
    storage: &mut Storage,
    raft: &Handle,
    (beginning, answer): (Beginning, Answering),
) -> Result<(Node, Own)> {
    let Founding { cluster_name, .. } = &beginning.founding;
    tracing::info!(cluster_name, "told to found a cluster");
    match found(config, kek, beginning, storage, raft).await {
        Ok(member) => {
            let cluster = storage.cluster();
            let cluster = cluster.context("a founder belongs to its cluster")?;
            let _ = answer.send(Ok(cluster));
            Ok(member)
        }
        Err(error) => {
            let _ = answer.send(Err(FoundError::Failed(format!("{error:#}"))));
            Err(error)
        }
    }
}

/// A cluster is founded on drives that belong to nobody, and only where no member of one is: whoever
/// asks twice, of two servers, must not get two clusters.
async fn check(config: &ServerConfig, storage: &Storage) -> Result<(), FoundError> {
    let differs = |error: anyhow::Error| FoundError::Differs(format!("{error:#}"));
    storage.nobodys().map_err(differs)?;
    let (addresses, _) = addresses::resolve(&config.join).await;
    let shown = addresses.iter().map(|address| async move {
        let probe = call_as_stranger::<Join>(
            address,
            // The hash of no CA: a member shows its own, and nothing is sent to it.
            [0; 32],
            wire::JoinRequest::default(),
            SHOWN_WITHIN,
        );
        matches!(probe.await, Err(StrangerError::OtherAuthority { .. })).then_some(address)
    });
    let shown = futures::future::join_all(shown).await;
    match shown.into_iter().flatten().next() {
        Some(address) => Err(FoundError::Differs(format!(
            "{address} is a member of one already: ask that one, and give this server a token"
        ))),
        None => Ok(()),
    }
}

/// Another handle of the same listener: who connects between the two is not refused.
fn shared(listener: &TcpListener) -> Result<TcpListener> {
    use std::os::fd::AsFd;
    let shared = listener.as_fd().try_clone_to_owned();
    let shared = shared.context("cannot share a listener")?;
    TcpListener::from_std(shared.into()).context("cannot share a listener")
}

/// Accepts and closes, until it is dropped.
struct TurnedAway(AbortHandle);

impl Drop for TurnedAway {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn turn_away(listener: TcpListener) -> TurnedAway {
    let task = tokio::spawn(async move {
        loop {
            if let Err(error) = listener.accept().await {
                tracing::warn!(%error, "cannot accept connections of peers");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    });
    TurnedAway(task.abort_handle())
}

/// The API of a server that waits.
struct Api {
    stop: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Api {
    fn open(
        operator: AccessKeyRecord,
        (config, kek): (&ServerConfig, &Arc<Kek>),
        listeners: &Listeners,
        founder: Arc<dyn Founder>,
    ) -> Result<Self> {
        let stop = CancellationToken::new();
        let deps = WaitingDeps {
            operator,
            kek: Arc::clone(kek),
            calls: Arc::clone(&listeners.observed.calls),
            ready: listeners.observed.readiness.subscribe(),
            founder,
        };
        let api = ApiListener {
            socket: shared(&listeners.api)?,
            tls: listeners.tls.clone(),
            limits: config.api,
            counts: Arc::clone(&listeners.observed.connections),
        };
        let serving = serve_waiting(deps, api, stop.clone());
        let serving = tokio::spawn(serving);
        Ok(Self { stop, serving })
    }

    /// Lets the calls that run end; then the listener is the member's alone.
    async fn close(self) {
        self.stop.cancel();
        let abort = self.serving.abort_handle();
        match tokio::time::timeout(HAND_OVER_WITHIN, self.serving).await {
            Ok(Ok(Ok(()))) => {}
            Ok(ended) => tracing::warn!(?ended, "the API of a server that waits has failed"),
            Err(_) => abort.abort(),
        }
    }
}
