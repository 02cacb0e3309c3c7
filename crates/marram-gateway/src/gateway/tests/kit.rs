//! A client as thin as can be.

use bytes::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use marram_proto::v1;
use marram_proto::v1::admin_service_client::AdminServiceClient;
use marram_proto::v1::bucket_service_client::BucketServiceClient;
use marram_proto::v1::get_object_response::Message as Got;
use marram_proto::v1::iam_service_client::IamServiceClient;
use marram_proto::v1::object_service_client::ObjectServiceClient;
use marram_proto::v1::put_object_request::Message;
use marram_proto::v1::upload_service_client::UploadServiceClient;
use marram_proto::v1::watch_service_client::WatchServiceClient;
use marram_proto::v1::write_service_client::WriteServiceClient;
use marram_types::{Crc64Nvme, crc32c};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::testing::{ACCESS_KEY, Cluster, SECRET, now_ms};

type Signed = InterceptedService<Channel, Signer>;

#[derive(Clone)]
pub(super) struct Signer(MetadataValue<Ascii>);

impl tonic::service::Interceptor for Signer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub(super) fn token() -> MetadataValue<Ascii> {
    token_of(ACCESS_KEY, SECRET)
}

pub(crate) fn token_of(access_key: &str, secret: &str) -> MetadataValue<Ascii> {
    let now = now_ms() / 1000;
    let claims = serde_json::json!({
        "sub": access_key, "aud": "marram", "iat": now, "exp": now + 60,
    });
    let header = Header {
        kid: Some(access_key.to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    format!("Bearer {token}").parse().unwrap()
}

/// All services of one connection.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) objects: ObjectServiceClient<Signed>,
    pub(super) buckets: BucketServiceClient<Signed>,
    pub(super) admin: AdminServiceClient<Signed>,
    pub(super) iam: IamServiceClient<Signed>,
    pub(super) uploads: UploadServiceClient<Signed>,
    pub(super) watch: WatchServiceClient<Signed>,
    pub(super) writes: WriteServiceClient<Signed>,
}

pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

pub(super) fn content(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64)
        .map(|i| ((i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).to_le_bytes()[0])
        .collect()
}

pub(super) fn header(bucket: &str, key: &str, size: Option<u64>) -> v1::PutObjectHeader {
    v1::PutObjectHeader {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        size,
        ..v1::PutObjectHeader::default()
    }
}

pub(super) fn message(message: Message) -> v1::PutObjectRequest {
    v1::PutObjectRequest {
        message: Some(message),
    }
}

pub(super) fn chunk(data: &[u8]) -> v1::PutObjectRequest {
    message(Message::Chunk(v1::Chunk {
        data: Bytes::copy_from_slice(data),
        crc32c: crc32c(data),
    }))
}

pub(super) fn messages(header: v1::PutObjectHeader, data: &[u8]) -> Vec<v1::PutObjectRequest> {
    let mut all = vec![message(Message::Header(header))];
    all.extend(data.chunks(300_000).map(chunk));
    let crc64nvme = Some(Crc64Nvme::of(data));
    all.push(message(Message::Trailer(v1::PutObjectTrailer {
        crc64nvme,
        checksums: None,
    })));
    all
}

impl Client {
    pub(super) async fn of(cluster: &Cluster) -> Self {
        Self::over(cluster.channel().await)
    }

    pub(super) fn over(channel: Channel) -> Self {
        Self::signed(channel, token())
    }

    pub(super) fn signed(channel: Channel, token: MetadataValue<Ascii>) -> Self {
        let signer = Signer(token);
        let max = 4 << 20;
        Self {
            objects: ObjectServiceClient::with_interceptor(channel.clone(), signer.clone())
                .max_decoding_message_size(max),
            buckets: BucketServiceClient::with_interceptor(channel.clone(), signer.clone()),
            iam: IamServiceClient::with_interceptor(channel.clone(), signer.clone()),
            uploads: UploadServiceClient::with_interceptor(channel.clone(), signer.clone()),
            watch: WatchServiceClient::with_interceptor(channel.clone(), signer.clone()),
            writes: WriteServiceClient::with_interceptor(channel.clone(), signer.clone()),
            admin: AdminServiceClient::with_interceptor(channel, signer),
        }
    }

    pub(super) async fn make_bucket(&mut self, name: &str) {
        let request = v1::CreateBucketRequest {
            bucket: name.to_owned(),
            ..v1::CreateBucketRequest::default()
        };
        self.buckets.create_bucket(request).await.unwrap();
    }

    pub(super) async fn put_with(
        &mut self,
        header: v1::PutObjectHeader,
        data: &[u8],
    ) -> Result<v1::ObjectInfo, Status> {
        let stream = tokio_stream::iter(messages(header, data));
        let answer = self.objects.put_object(stream).await?;
        Ok(answer.into_inner().object.unwrap())
    }

    pub(super) async fn put(&mut self, key: &str, data: &[u8]) -> Result<v1::ObjectInfo, Status> {
        self.put_with(header("bucket", key, Some(data.len() as u64)), data)
            .await
    }

    pub(super) async fn get_range(
        &mut self,
        key: &str,
        range: Option<v1::ByteRange>,
    ) -> Result<(v1::GetObjectHeader, Vec<u8>), Status> {
        let request = v1::GetObjectRequest {
            bucket: "bucket".to_owned(),
            key: key.to_owned(),
            range,
            ..v1::GetObjectRequest::default()
        };
        let mut stream = self.objects.get_object(request).await?.into_inner();
        let mut header = None;
        let mut data = Vec::new();
        while let Some(next) = stream.message().await? {
            match next.message.unwrap() {
                Got::Header(first) => assert!(header.replace(first).is_none()),
                Got::Plan(_) => panic!("a plan was not asked for"),
                Got::Chunk(chunk) => {
                    assert_eq!(chunk.crc32c, crc32c(&chunk.data));
                    data.extend_from_slice(&chunk.data);
                }
            }
        }
        let header = header.expect("a header comes first");
        assert_eq!(header.length, data.len() as u64);
        Ok((header, data))
    }

    pub(super) async fn get(&mut self, key: &str) -> Result<Vec<u8>, Status> {
        Ok(self.get_range(key, None).await?.1)
    }

    pub(super) async fn list(
        &mut self,
        request: v1::ListObjectsRequest,
    ) -> Result<v1::ListObjectsResponse, Status> {
        Ok(self.objects.list_objects(request).await?.into_inner())
    }
}

/// A cluster of `nodes` nodes with the bucket `bucket`.
pub(super) async fn cluster(nodes: u8) -> (Cluster, Client) {
    let cluster = Cluster::start(nodes).await;
    let mut client = Client::of(&cluster).await;
    client.make_bucket("bucket").await;
    (cluster, client)
}

/// Waits for what happens in the background.
pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("did not come about: {what}");
}
