//! Who may ask: every method without, and with a wrong, token.

use marram_proto::v1;
use marram_proto::v1::admin_service_client::AdminServiceClient;
use marram_proto::v1::bucket_service_client::BucketServiceClient;
use marram_proto::v1::object_service_client::ObjectServiceClient;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::kit::{chunk, reason, token};
use crate::testing::Cluster;

fn reflect() -> tokio_stream::Iter<std::vec::IntoIter<ServerReflectionRequest>> {
    tokio_stream::iter(vec![ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    }])
}

macro_rules! refused {
    ($client:ident, $method:ident, $request:expr) => {
        (
            stringify!($method),
            $client.$method($request).await.map(|_| ()).unwrap_err(),
        )
    };
}

/// Every method for operators without a token.
async fn admin_without_token(cluster: &Cluster) -> Vec<(&'static str, Status)> {
    let mut admin = AdminServiceClient::new(cluster.channel().await);
    vec![
        refused!(admin, get_cluster_status, v1::GetClusterStatusRequest {}),
        refused!(admin, set_node_duty, v1::SetNodeDutyRequest::default()),
        refused!(admin, remove_node, v1::RemoveNodeRequest::default()),
        refused!(
            admin,
            set_bucket_profile,
            v1::SetBucketProfileRequest::default()
        ),
        refused!(
            admin,
            get_bucket_profile,
            v1::GetBucketProfileRequest::default()
        ),
        refused!(admin, plan_layout, v1::PlanLayoutRequest::default()),
        refused!(
            admin,
            watch_cluster_status,
            v1::WatchClusterStatusRequest {}
        ),
        refused!(admin, ok_to_stop, v1::OkToStopRequest::default()),
        refused!(admin, set_maintenance, v1::SetMaintenanceRequest::default()),
        refused!(admin, transfer_leader, v1::TransferLeaderRequest::default()),
        refused!(admin, begin_backup, v1::BeginBackupRequest::default()),
        refused!(admin, read_backup, v1::ReadBackupRequest::default()),
        refused!(admin, end_backup, v1::EndBackupRequest::default()),
        refused!(admin, release_backups, v1::ReleaseBackupsRequest::default()),
        refused!(
            admin,
            finalize_version,
            v1::FinalizeVersionRequest::default()
        ),
        refused!(admin, audit_objects, v1::AuditObjectsRequest::default()),
        refused!(admin, rebalance, v1::RebalanceRequest::default()),
        refused!(admin, compare_shards, v1::CompareShardsRequest {}),
        refused!(
            admin,
            create_join_token,
            v1::CreateJoinTokenRequest::default()
        ),
        refused!(admin, list_join_tokens, v1::ListJoinTokensRequest {}),
        refused!(
            admin,
            revoke_join_token,
            v1::RevokeJoinTokenRequest::default()
        ),
        refused!(admin, get_ca_status, v1::GetCaStatusRequest {}),
        refused!(admin, rotate_ca, v1::RotateCaRequest::default()),
        refused!(admin, reload_tls, v1::ReloadTlsRequest::default()),
        refused!(admin, remove_gateway, v1::RemoveGatewayRequest::default()),
    ]
}

/// Every method of every service without a token.
async fn without_token(cluster: &Cluster) -> Vec<(&'static str, Status)> {
    let channel = cluster.channel().await;
    let mut objects = ObjectServiceClient::new(channel.clone());
    let mut buckets = BucketServiceClient::new(channel.clone());
    let mut reflection = ServerReflectionClient::new(channel);
    let mut refused = admin_without_token(cluster).await;
    refused.extend([
        refused!(objects, put_object, tokio_stream::iter(vec![chunk(b"x")])),
        refused!(objects, get_object, v1::GetObjectRequest::default()),
        refused!(objects, read_shard, v1::ReadShardRequest::default()),
        refused!(objects, head_object, v1::HeadObjectRequest::default()),
        refused!(objects, delete_object, v1::DeleteObjectRequest::default()),
        refused!(objects, list_objects, v1::ListObjectsRequest::default()),
        refused!(buckets, create_bucket, v1::CreateBucketRequest::default()),
        refused!(buckets, delete_bucket, v1::DeleteBucketRequest::default()),
        refused!(buckets, list_buckets, v1::ListBucketsRequest::default()),
        refused!(buckets, head_bucket, v1::HeadBucketRequest::default()),
        refused!(reflection, server_reflection_info, reflect()),
    ]);
    refused
}

/// Methods of the public API.
fn methods() -> usize {
    let set = marram_proto::FILE_DESCRIPTOR_SET;
    let set = <prost_types::FileDescriptorSet as prost::Message>::decode(set).unwrap();
    let services = set
        .file
        .iter()
        .filter(|f| f.package() == "marram.v1")
        .flat_map(|f| &f.service);
    services.map(|service| service.method.len()).sum()
}

#[tokio::test]
async fn nothing_but_health_answers_without_a_token() {
    let cluster = Cluster::start(1).await;
    let refused = without_token(&cluster).await;
    assert_eq!(
        refused.len(),
        methods() + 1,
        "a method of the API is not in this test"
    );
    for (method, status) in refused {
        assert_eq!(status.code(), Code::Unauthenticated, "{method}");
        assert_eq!(reason(&status), "TOKEN_MISSING", "{method}");
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
    for wanted in ["ObjectService", "BucketService", "AdminService"] {
        assert!(names.contains(&format!("marram.v1.{wanted}")), "{names:?}");
    }
}
