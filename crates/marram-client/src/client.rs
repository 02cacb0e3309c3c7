//! The handle, and the loop of attempts under every call.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use marram_proto::v1;
use marram_proto::v1::admin_service_client::AdminServiceClient;
use marram_proto::v1::bucket_service_client::BucketServiceClient;
use marram_proto::v1::iam_service_client::IamServiceClient;
use marram_proto::v1::object_service_client::ObjectServiceClient;
use marram_proto::v1::upload_service_client::UploadServiceClient;
use marram_proto::v1::watch_service_client::WatchServiceClient;
use marram_proto::v1::write_service_client::WriteServiceClient;
use marram_types::RequestId;
use marram_types::caps::{API_MESSAGE_BYTES_MAX, KEYS_MESSAGE_BYTES_MAX};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::config::{ClientConfig, ConfigError};
use crate::endpoints::{Endpoints, Server};
use crate::error::{ClientError, ErrorKind};
use crate::nodes::Nodes;
use crate::retry::{Budget, RetryPolicy};
use crate::tls::tls_of;
use crate::token::Signer;

/// After this time a call with one answer is not tried again.
const UNARY_TOTAL: Duration = Duration::from_secs(60);

/// A handle to a cluster. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    endpoints: Arc<Endpoints>,
    signer: Signer,
    traceparent: Option<MetadataValue<Ascii>>,
    retry: RetryPolicy,
    call_timeout: Duration,
    stall_timeout: Duration,
    direct_reads: bool,
    nodes: Nodes,
    tls: bool,
    /// Whether any call ever succeeded.
    answered: AtomicBool,
    budget: Mutex<Budget>,
    started: Instant,
    /// Who this client is in request ids (rules.md 14).
    id: Bytes,
    sequence: AtomicU64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// One attempt: the server it goes to and the proof of who asks.
#[derive(Clone)]
pub(crate) struct Lane {
    server: Server,
    authorization: MetadataValue<Ascii>,
    traceparent: Option<MetadataValue<Ascii>>,
}

macro_rules! stub {
    ($self:ident, $stub:ident) => {
        $stub::new($self.server.channel.clone())
            .max_decoding_message_size(API_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(API_MESSAGE_BYTES_MAX)
    };
}

impl Lane {
    /// Which server this is, for [`Client::avoid`].
    pub(crate) fn server(&self) -> usize {
        self.server.index
    }

    pub(crate) fn buckets(&self) -> BucketServiceClient<Channel> {
        stub!(self, BucketServiceClient)
    }

    pub(crate) fn objects(&self) -> ObjectServiceClient<Channel> {
        stub!(self, ObjectServiceClient)
    }

    pub(crate) fn uploads(&self) -> UploadServiceClient<Channel> {
        stub!(self, UploadServiceClient)
    }

    pub(crate) fn writes(&self) -> WriteServiceClient<Channel> {
        stub!(self, WriteServiceClient)
    }

    pub(crate) fn watches(&self) -> WatchServiceClient<Channel> {
        stub!(self, WatchServiceClient)
    }

    pub(crate) fn iam(&self) -> IamServiceClient<Channel> {
        IamServiceClient::new(self.server.channel.clone())
            .max_decoding_message_size(KEYS_MESSAGE_BYTES_MAX)
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        stub!(self, AdminServiceClient)
    }

    pub(crate) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", self.authorization.clone());
        if let Some(trace) = &self.traceparent {
            request.metadata_mut().insert("traceparent", trace.clone());
        }
        request
    }
}

fn traceparent(config: &ClientConfig) -> Result<Option<MetadataValue<Ascii>>, ConfigError> {
    let given = config.traceparent.as_deref();
    let read = |given: &str| {
        let value = given.parse();
        value.map_err(|_| ConfigError::Traceparent(given.to_owned()))
    };
    given.map(read).transpose()
}

/// What may be repeated although the change may have been made: the request id makes a second
/// attempt harmless, and reads change nothing.
pub(crate) fn repeatable(error: &ClientError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::OutcomeUnknown
            | ErrorKind::Untrusted
    )
}

impl Client {
    /// Makes a client. Needs a tokio runtime. No server is asked yet: the first call does that.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn connect(config: ClientConfig) -> Result<Self, ConfigError> {
        let endpoints = Endpoints::new(&config)?;
        let tls = tls_of(&config)?;
        let first = config.first_request.unwrap_or_else(|| RequestId {
            client: rand::random(),
            sequence: 1,
        });
        Ok(Self {
            inner: Arc::new(Inner {
                endpoints: Arc::new(endpoints),
                traceparent: traceparent(&config)?,
                signer: Signer::new(&config.access_key, &config.secret_key),
                retry: config.retry,
                call_timeout: config.call_timeout,
                stall_timeout: config.stall_timeout,
                direct_reads: config.direct_reads,
                tls: tls.is_some(),
                nodes: Nodes::new(tls),
                answered: AtomicBool::new(false),
                budget: Mutex::new(Budget::new()),
                started: Instant::now(),
                id: Bytes::copy_from_slice(&first.client.to_be_bytes()),
                sequence: AtomicU64::new(first.sequence),
            }),
        })
    }

    /// How many servers this client knows now: a name that has several addresses is several, once it was
    /// looked up, which the first call does.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.inner.endpoints.count()
    }

    /// How many servers there are behind the endpoints.
    pub(crate) async fn servers(&self) -> usize {
        self.inner.endpoints.keep_current().await;
        self.inner.endpoints.count()
    }

    /// What is known of the nodes themselves.
    pub(crate) fn nodes(&self) -> &Nodes {
        &self.inner.nodes
    }

    /// Whether read plans are worth asking for.
    pub(crate) fn accepts_plans(&self) -> bool {
        self.inner.direct_reads && !self.inner.nodes.is_resting()
    }

    /// The way to a node that a read plan names; `None` where its address is none.
    pub(crate) fn node_lane(&self, address: &str) -> Option<Lane> {
        let server = Server {
            // Not one of the endpoints: it is never avoided there.
            index: usize::MAX,
            address: address.to_owned(),
            channel: self.inner.nodes.channel(address)?,
        };
        Some(Lane {
            server,
            authorization: self.inner.signer.authorization(),
            traceparent: self.inner.traceparent.clone(),
        })
    }

    /// The name of one mutation, for all of its attempts.
    pub(crate) fn request_id(&self) -> v1::RequestId {
        self.request_ids(1)
    }

    /// The name of the first of some mutations; the others' are the sequence numbers behind it.
    pub(crate) fn request_ids(&self, count: usize) -> v1::RequestId {
        let count = u64::try_from(count).expect("a usize fits a u64");
        v1::RequestId {
            client: self.inner.id.clone(),
            sequence: self.inner.sequence.fetch_add(count, Ordering::Relaxed),
        }
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        self.inner.call_timeout
    }

    pub(crate) fn stall_timeout(&self) -> Duration {
        self.inner.stall_timeout
    }

    /// Attempts until one succeeds, `may_repeat` says no, or policy and budget say no.
    pub(crate) async fn attempts<T, A, F>(
        &self,
        may_repeat: impl Fn(&ClientError) -> bool,
        mut attempt: A,
    ) -> Result<T, ClientError>
    where
        A: FnMut(Lane) -> F,
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut failed = 0;
        loop {
            self.inner.endpoints.keep_current().await;
            let server = self.inner.endpoints.current();
            let (index, address) = (server.index, server.address.clone());
            let lane = Lane {
                server,
                authorization: self.inner.signer.authorization(),
                traceparent: self.inner.traceparent.clone(),
            };
            let error = match attempt(lane).await {
                Ok(value) => {
                    self.inner.answered.store(true, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(error) => error,
            };
            failed += 1;
            let error = self.perhaps_tls(error.at(&address).after(failed));
            // A second look at the same certificate shows nothing new; another server may have a
            // better one.
            let all_distrusted = error.kind() == ErrorKind::Untrusted
                && usize::try_from(failed).is_ok_and(|failed| failed >= self.endpoints());
            if !may_repeat(&error) || all_distrusted {
                return Err(error);
            }
            self.avoid(index);
            let Some(delay) = self.pause(failed, &error) else {
                return Err(error);
            };
            tracing::debug!(%error, ?delay, "another attempt");
            tokio::time::sleep(delay).await;
        }
    }

    /// A server that speaks TLS ends a connection without it, and can say nothing. That is only
    /// worth a word while no server ever answered.
    fn perhaps_tls(&self, error: ClientError) -> ClientError {
        let silent = error.kind() == ErrorKind::Unavailable && error.reason().is_none();
        let never = !self.inner.answered.load(Ordering::Relaxed);
        let message = error.message();
        let connected = !message.contains("connect error") && !message.contains("dns error");
        if silent && never && connected && !self.inner.tls {
            error.hint("if the server speaks TLS, write its endpoint as https://HOST:PORT")
        } else {
            error
        }
    }

    /// Asks another server from now on.
    pub(crate) fn avoid(&self, server: usize) {
        self.inner.endpoints.failed(server);
    }

    /// The wait before the next attempt; `None` when there is to be none.
    pub(crate) fn pause(&self, failed: u32, error: &ClientError) -> Option<Duration> {
        let dice = rand::random_range(0.0..1.0);
        let delay = self.inner.retry.delay(failed, dice, error.retry_after())?;
        let now = self.inner.started.elapsed();
        let mut budget = self
            .inner
            .budget
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        budget.take(now).then_some(delay)
    }

    /// A call with one message and one answer.
    pub(crate) async fn unary<M, R, C, F>(&self, message: M, call: C) -> Result<R, ClientError>
    where
        M: Clone,
        C: Fn(Lane, Request<M>) -> F,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let began = Instant::now();
        let may_repeat = |error: &ClientError| repeatable(error) && began.elapsed() < UNARY_TOTAL;
        self.unary_while(may_repeat, message, call).await
    }

    /// The same for what takes a known time to answer, at most once.
    pub(crate) async fn unary_lasting<M, R, C, F>(
        &self,
        lasts: Duration,
        message: M,
        call: C,
    ) -> Result<R, ClientError>
    where
        M: Clone,
        C: Fn(Lane, Request<M>) -> F,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let limit = self.inner.call_timeout + lasts;
        self.unary_for(limit, |_| false, message, call).await
    }

    /// The same, at most once: for what makes a secret, which a second attempt would make anew, or is
    /// not worth one.
    pub(crate) async fn unary_once<M, R, C, F>(&self, message: M, call: C) -> Result<R, ClientError>
    where
        M: Clone,
        C: Fn(Lane, Request<M>) -> F,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.unary_while(|_| false, message, call).await
    }

    async fn unary_while<M, R, C, F>(
        &self,
        may_repeat: impl Fn(&ClientError) -> bool,
        message: M,
        call: C,
    ) -> Result<R, ClientError>
    where
        M: Clone,
        C: Fn(Lane, Request<M>) -> F,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let limit = self.inner.call_timeout;
        self.unary_for(limit, may_repeat, message, call).await
    }

    async fn unary_for<M, R, C, F>(
        &self,
        limit: Duration,
        may_repeat: impl Fn(&ClientError) -> bool,
        message: M,
        call: C,
    ) -> Result<R, ClientError>
    where
        M: Clone,
        C: Fn(Lane, Request<M>) -> F,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.attempts(may_repeat, |lane| {
            let mut request = lane.request(message.clone());
            request.set_timeout(limit);
            let answer = call(lane, request);
            async move {
                match within(limit, answer).await? {
                    Ok(response) => Ok(response.into_inner()),
                    Err(status) => Err(ClientError::from_status(&status)),
                }
            }
        })
        .await
    }
}

/// Waits for `future` for so long.
pub(crate) async fn within<F: Future>(
    limit: Duration,
    future: F,
) -> Result<F::Output, ClientError> {
    tokio::time::timeout(limit, future).await.map_err(|_| {
        let message = format!("no answer within {} s", limit.as_secs_f32());
        ClientError::new(ErrorKind::Timeout, message)
    })
}

/// The part of an answer that a server of this protocol always fills.
pub(crate) fn present<T>(part: Option<T>, what: &str) -> Result<T, ClientError> {
    part.ok_or_else(|| {
        ClientError::new(
            ErrorKind::Protocol,
            format!("the server's answer has no {what}"),
        )
    })
}
