//! Who may ask: every method without, and with a wrong, token.

use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::kit::{reason, token};
use crate::auth::listed;
use crate::testing::Cluster;

fn reflect() -> tokio_stream::Iter<std::vec::IntoIter<ServerReflectionRequest>> {
    tokio_stream::iter(vec![ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    }])
}

/// Every method of the public API, as `/package.Service/Method`.
pub(crate) fn methods() -> Vec<String> {
    let set = marram_proto::FILE_DESCRIPTOR_SET;
    let set = <prost_types::FileDescriptorSet as prost::Message>::decode(set).unwrap();
    let files = set.file.iter().filter(|f| f.package() == "marram.v1");
    let services = files.flat_map(|f| &f.service);
    let paths = services.flat_map(|service| {
        let methods = service.method.iter();
        methods.map(|method| format!("/marram.v1.{}/{}", service.name(), method.name()))
    });
    paths.collect()
}

/// What a call with one empty message and no token is answered. On the wire calls of all kinds are
/// streams.
async fn without_token(channel: Channel, path: String) -> Status {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("connected");
    let path = PathAndQuery::try_from(path).expect("a path");
    let request = Request::new(tokio_stream::iter([()]));
    let called = client
        .streaming(request, path, ProstCodec::<(), ()>::default())
        .await;
    called.map(|_| ()).expect_err("refused")
}

#[tokio::test]
async fn nothing_but_health_answers_without_a_token() {
    let cluster = Cluster::start(1).await;
    let mut paths = methods();
    assert!(paths.len() > 10, "{paths:?}");
    paths.push("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned());
    for path in paths {
        let status = without_token(cluster.channel().await, path.clone()).await;
        assert_eq!(status.code(), Code::Unauthenticated, "{path}");
        assert_eq!(reason(&status), "TOKEN_MISSING", "{path}");
    }
    let mut health = HealthClient::new(cluster.channel().await);
    let request = HealthCheckRequest {
        service: "marram.v1.ObjectService".to_owned(),
    };
    let answer = health.check(request).await.unwrap().into_inner();
    assert_eq!(
        answer.status(),
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );
}

#[test]
fn every_method_says_what_it_needs() {
    let missing: Vec<String> = methods()
        .into_iter()
        .filter(|path| listed(path).is_none())
        .collect();
    assert!(
        missing.is_empty(),
        "not in the table of access.rs: {missing:?}"
    );
    assert!(listed("/marram.v1.LaterService/DoAnything").is_none());
}

#[tokio::test]
async fn reflection_names_every_service() {
    let cluster = Cluster::start(1).await;
    let mut client = ServerReflectionClient::new(cluster.channel().await);
    let mut request = Request::new(reflect());
    request.metadata_mut().insert("authorization", token());
    let mut answers = client
        .server_reflection_info(request)
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list: {answer:?}");
    };
    let names: Vec<String> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for wanted in [
        "ObjectService",
        "BucketService",
        "AdminService",
        "IamService",
    ] {
        assert!(names.contains(&format!("marram.v1.{wanted}")), "{names:?}");
    }
}
