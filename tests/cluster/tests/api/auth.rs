//! Without a good token nothing but health is answered.

use marram_cluster_tests::{Raw, Shared, Token, reason};
use marram_proto::v1;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// A request with this `authorization`, or without.
fn with<T>(authorization: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(value) = authorization {
        request
            .metadata_mut()
            .insert("authorization", value.parse().expect("ASCII"));
    }
    request
}

/// What every method answers.
async fn every_method(raw: &Raw, authorization: Option<&str>) -> Vec<(&'static str, Status)> {
    let mut buckets = v1::bucket_service_client::BucketServiceClient::new(raw.channel.clone());
    let mut admin = v1::admin_service_client::AdminServiceClient::new(raw.channel.clone());
    let mut iam = v1::iam_service_client::IamServiceClient::new(raw.channel.clone());
    let mut objects = raw.objects();
    let mut answers = Vec::new();
    macro_rules! ask {
        ($client:ident . $method:ident ( $message:expr )) => {
            let answer = $client.$method(with(authorization, $message)).await;
            let error = answer
                .err()
                .unwrap_or_else(|| panic!("{} answered", stringify!($method)));
            answers.push((stringify!($method), error));
        };
    }
    ask!(buckets.create_bucket(v1::CreateBucketRequest::default()));
    ask!(buckets.delete_bucket(v1::DeleteBucketRequest::default()));
    ask!(buckets.list_buckets(v1::ListBucketsRequest::default()));
    ask!(buckets.head_bucket(v1::HeadBucketRequest::default()));
    ask!(admin.get_cluster_status(v1::GetClusterStatusRequest {}));
    ask!(admin.set_node_duty(v1::SetNodeDutyRequest::default()));
    ask!(admin.remove_node(v1::RemoveNodeRequest::default()));
    ask!(admin.set_bucket_profile(v1::SetBucketProfileRequest::default()));
    ask!(admin.allow_bucket_profile(v1::AllowBucketProfileRequest::default()));
    ask!(admin.get_bucket_profile(v1::GetBucketProfileRequest::default()));
    ask!(admin.plan_layout(v1::PlanLayoutRequest::default()));
    ask!(admin.rebalance(v1::RebalanceRequest::default()));
    ask!(admin.compare_shards(v1::CompareShardsRequest {}));
    ask!(iam.create_access_key(v1::CreateAccessKeyRequest::default()));
    ask!(iam.list_access_keys(v1::ListAccessKeysRequest {}));
    ask!(iam.rotate_access_key(v1::RotateAccessKeyRequest::default()));
    ask!(iam.update_access_key(v1::UpdateAccessKeyRequest::default()));
    ask!(iam.delete_access_key(v1::DeleteAccessKeyRequest::default()));
    ask!(objects.put_object(tokio_stream::iter([Raw::header("abc", "a", None)])));
    ask!(objects.get_object(v1::GetObjectRequest::default()));
    ask!(objects.read_shard(v1::ReadShardRequest::default()));
    ask!(objects.head_object(v1::HeadObjectRequest::default()));
    ask!(objects.delete_object(v1::DeleteObjectRequest::default()));
    ask!(objects.delete_objects(v1::DeleteObjectsRequest::default()));
    ask!(objects.list_objects(v1::ListObjectsRequest::default()));
    let ask = tokio_stream::iter([ServerReflectionRequest::default()]);
    let mut reflection = ServerReflectionClient::new(raw.channel.clone());
    let answer = reflection
        .server_reflection_info(with(authorization, ask))
        .await;
    answers.push(("reflection", answer.expect_err("reflection answered")));
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_wants_a_good_token() {
    let cluster = Shared::cluster();
    let raw = Raw::connect(&cluster, 2).await;
    let good = Token::good(&cluster);
    let other = |change: fn(&mut Token)| {
        let mut token = good.clone();
        change(&mut token);
        Some(format!("Bearer {}", token.sign()))
    };
    let cases = [
        (None, "TOKEN_MISSING"),
        (Some("Basic abc".to_owned()), "TOKEN_INVALID"),
        (Some("Bearer".to_owned()), "TOKEN_INVALID"),
        (Some("Bearer not.a.token".to_owned()), "TOKEN_INVALID"),
        (Some(format!("Bearer {}x", good.sign())), "TOKEN_INVALID"),
        (other(|token| token.secret.push('x')), "TOKEN_INVALID"),
        (
            other(|token| token.aud = "other".to_owned()),
            "TOKEN_INVALID",
        ),
        (other(|token| token.exp = token.iat + 3600), "TOKEN_INVALID"),
        (
            other(|token| token.sub = "MKAAAAAAAAAAAAAAAAAA".to_owned()),
            "KEY_UNKNOWN",
        ),
        (
            other(|token| {
                token.iat -= 1000;
                token.exp = token.iat + 240;
            }),
            "TOKEN_EXPIRED",
        ),
    ];
    for (authorization, expected) in cases {
        for (method, status) in every_method(&raw, authorization.as_deref()).await {
            assert_eq!(status.code(), Code::Unauthenticated, "{method}: {status:?}");
            assert_eq!(reason(&status), expected, "{method} with {authorization:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_token() {
    let cluster = Shared::cluster();
    for node in 1..=cluster.nodes() + 1 {
        let raw = Raw::connect(&cluster, node).await;
        let ask = HealthCheckRequest::default();
        let answer = HealthClient::new(raw.channel.clone())
            .check(ask)
            .await
            .expect("answered");
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_names_the_services() {
    let cluster = Shared::cluster();
    let raw = Raw::connect(&cluster, 3).await;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let request = raw.request(tokio_stream::iter([ask]));
    let mut client = ServerReflectionClient::new(raw.channel.clone());
    let mut answers = client
        .server_reflection_info(request)
        .await
        .expect("answered")
        .into_inner();
    let answer = answers
        .message()
        .await
        .expect("answered")
        .expect("one answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list of services: {answer:?}");
    };
    let names: Vec<String> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for name in ["BucketService", "ObjectService", "AdminService"] {
        assert!(names.contains(&format!("marram.v1.{name}")), "{names:?}");
    }
}
