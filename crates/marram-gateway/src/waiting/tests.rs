//! What a server that is no member answers, and to whom.

use std::sync::Arc;

use async_trait::async_trait;
use marram_meta::AccessKeyRecord;
use marram_metrics::Verdict;
use marram_proto::v1;
use marram_proto::v1::admin_service_client::AdminServiceClient;
use marram_types::ClusterId;
use marram_types::config::Founding;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;

use super::{FoundError, Founder, WaitingDeps, serve_waiting};
use crate::gateway::testing::{methods, reason, token_of};
use crate::secret::Kek;

const OPERATOR: (&str, &str) = ("MKOPERATOR", "the operator's secret");

#[derive(Default)]
struct Scripted {
    wishes: Mutex<Vec<Founding>>,
    answer: Mutex<Option<FoundError>>,
}

#[async_trait]
impl Founder for Scripted {
    async fn found(&self, wish: Founding) -> Result<ClusterId, FoundError> {
        self.wishes.lock().push(wish);
        match self.answer.lock().clone() {
            Some(error) => Err(error),
            None => Ok(ClusterId(0xab)),
        }
    }
}

struct Waiting {
    founder: Arc<Scripted>,
    channel: Channel,
    /// The process judges nothing without it.
    _ready: watch::Sender<Arc<Verdict>>,
    _stop: DropGuard,
}

impl Waiting {
    async fn start() -> Self {
        let kek = Arc::new(Kek::from_bytes(&[5; 32]));
        let wrapped = kek.wrap(OPERATOR.0, OPERATOR.1).unwrap();
        let (ready, founder) = (watch::Sender::default(), Arc::new(Scripted::default()));
        let deps = WaitingDeps {
            operator: AccessKeyRecord::of_admin(OPERATOR.0.to_owned(), wrapped),
            kek,
            calls: Arc::new(crate::calls()),
            ready: ready.subscribe(),
            founder: founder.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve_waiting(
            deps,
            crate::testing::plain(listener),
            stop.clone(),
        ));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self {
            founder,
            channel: endpoint.connect().await.unwrap(),
            _ready: ready,
            _stop: stop.drop_guard(),
        }
    }

    async fn bootstrap(
        &self,
        (id, secret): (&str, &str),
        message: v1::BootstrapRequest,
    ) -> Result<v1::BootstrapResponse, Status> {
        let mut request = Request::new(message);
        let token = token_of(id, secret);
        request.metadata_mut().insert("authorization", token);
        let mut client = AdminServiceClient::new(self.channel.clone());
        Ok(client.bootstrap(request).await?.into_inner())
    }
}

fn dune() -> v1::BootstrapRequest {
    v1::BootstrapRequest {
        cluster_name: "dune".to_owned(),
        expected_nodes: 3,
        groups: 0,
        zone: String::new(),
    }
}

#[tokio::test]
async fn only_the_operator_has_a_cluster_founded() {
    let waiting = Waiting::start().await;
    let unknown = waiting.bootstrap(("MKOTHER", "s"), dune()).await;
    assert_eq!(reason(&unknown.unwrap_err()), "KEY_UNKNOWN");
    let wrong = waiting.bootstrap((OPERATOR.0, "guessed"), dune()).await;
    assert_eq!(reason(&wrong.unwrap_err()), "TOKEN_INVALID");
    let mut bare = AdminServiceClient::new(waiting.channel.clone());
    let bare = bare.bootstrap(dune()).await.unwrap_err();
    assert_eq!(reason(&bare), "TOKEN_MISSING");
    assert!(waiting.founder.wishes.lock().is_empty());

    let answer = waiting.bootstrap(OPERATOR, dune()).await.unwrap();
    assert!(answer.founded);
    assert_eq!(answer.cluster_id, ClusterId(0xab).to_string());
    let wish = waiting.founder.wishes.lock().pop().unwrap();
    assert_eq!((wish.expected_nodes, wish.object_groups), (3, 8));
    assert_eq!(wish.zone, None);
}

#[tokio::test]
async fn what_cannot_be_founded_is_told_by_name() {
    let waiting = Waiting::start().await;
    for (change, field) in [
        (
            v1::BootstrapRequest {
                cluster_name: "a b".to_owned(),
                ..dune()
            },
            "cluster_name",
        ),
        (
            v1::BootstrapRequest {
                expected_nodes: 0,
                ..dune()
            },
            "expected_nodes",
        ),
        (
            v1::BootstrapRequest {
                groups: 257,
                ..dune()
            },
            "groups",
        ),
        (
            v1::BootstrapRequest {
                groups: 1 << 17,
                ..dune()
            },
            "groups",
        ),
        (
            v1::BootstrapRequest {
                zone: "a b".to_owned(),
                ..dune()
            },
            "zone",
        ),
    ] {
        let refused = waiting.bootstrap(OPERATOR, change).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT");
        assert!(refused.message().contains(field), "{refused}");
    }
    assert!(waiting.founder.wishes.lock().is_empty());
    for (error, code, name) in [
        (
            FoundError::Busy("later".into()),
            Code::Unavailable,
            "NOT_A_MEMBER",
        ),
        (
            FoundError::Differs("no".into()),
            Code::FailedPrecondition,
            "CLUSTER_DIFFERS",
        ),
        (
            FoundError::Failed("broken".into()),
            Code::Internal,
            "INTERNAL",
        ),
    ] {
        *waiting.founder.answer.lock() = Some(error);
        let refused = waiting.bootstrap(OPERATOR, dune()).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (code, name));
    }
}

#[tokio::test]
async fn everything_else_sends_clients_on() {
    let waiting = Waiting::start().await;
    let mut health = HealthClient::new(waiting.channel.clone());
    let answer = health.check(HealthCheckRequest::default()).await.unwrap();
    assert!(answer.metadata().contains_key("marram-not-ready"));
    assert_eq!(answer.into_inner().status(), ServingStatus::NotServing);
    for path in methods()
        .into_iter()
        .filter(|path| !path.ends_with("/Bootstrap"))
    {
        let mut client = tonic::client::Grpc::new(waiting.channel.clone());
        client.ready().await.unwrap();
        let mut request = Request::new(tokio_stream::iter([()]));
        let token = token_of(OPERATOR.0, OPERATOR.1);
        request.metadata_mut().insert("authorization", token);
        let at = PathAndQuery::try_from(path.clone()).unwrap();
        let called = client.streaming(request, at, ProstCodec::<(), ()>::default());
        let refused = called.await.map(|_| ()).unwrap_err();
        assert_eq!(reason(&refused), "NOT_A_MEMBER", "{path}");
        assert_eq!(refused.code(), Code::Unavailable, "{path}");
    }
}
