//! Requests that the client would never send.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use marram_proto::v1;
use marram_proto::v1::put_object_request::Message;
use serde::Serialize;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::Cluster;

/// A connection to one server, and a token.
#[derive(Debug, Clone)]
pub struct Raw {
    /// The connection.
    pub channel: Channel,
    token: String,
}

/// The claims of a token and the key that signs it.
#[derive(Debug, Clone, Serialize)]
pub struct Token {
    /// The access key's id, also sent as the key id of the header.
    pub sub: String,
    /// Who it is for.
    pub aud: String,
    /// When it was signed, in seconds since 1970.
    pub iat: u64,
    /// When it ends.
    pub exp: u64,
    /// The secret it is signed with.
    #[serde(skip)]
    pub secret: String,
}

impl Token {
    /// A good token of the cluster's key.
    ///
    /// # Panics
    /// When the clock is set to a time before 1970.
    #[must_use]
    pub fn good(cluster: &Cluster) -> Self {
        let (access_key, secret) = cluster.keys();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        Self {
            sub: access_key.to_owned(),
            aud: "marram".to_owned(),
            iat: now,
            exp: now + 240,
            secret: secret.to_owned(),
        }
    }

    /// Signs it.
    ///
    /// # Panics
    /// Never with claims of this shape.
    #[must_use]
    pub fn sign(&self) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.sub.clone());
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&header, self, &key).expect("claims can be signed")
    }
}

impl Raw {
    /// A connection to a node, numbered from 1, with a good token.
    ///
    /// # Panics
    /// When the node does not accept a connection.
    pub async fn connect(cluster: &Cluster, node: u16) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", cluster.endpoint(node)));
        let endpoint = endpoint
            .expect("an address")
            .connect_timeout(Duration::from_secs(5));
        Self {
            channel: endpoint
                .connect()
                .await
                .expect("the node accepts connections"),
            token: Token::good(cluster).sign(),
        }
    }

    /// A request with the token.
    ///
    /// # Panics
    /// Never: tokens are ASCII.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value = format!("Bearer {}", self.token).parse().expect("ASCII");
        request.metadata_mut().insert("authorization", value);
        request
    }

    /// The service of multipart uploads.
    #[must_use]
    pub fn uploads(&self) -> v1::upload_service_client::UploadServiceClient<Channel> {
        let client = v1::upload_service_client::UploadServiceClient::new(self.channel.clone());
        client
            .max_encoding_message_size(usize::MAX)
            .max_decoding_message_size(usize::MAX)
    }

    /// The object service.
    #[must_use]
    pub fn objects(&self) -> v1::object_service_client::ObjectServiceClient<Channel> {
        let client = v1::object_service_client::ObjectServiceClient::new(self.channel.clone());
        client
            .max_encoding_message_size(usize::MAX)
            .max_decoding_message_size(usize::MAX)
    }

    /// Sends the messages of a put one after the other, then the end of the stream.
    ///
    /// # Errors
    /// The server's.
    pub async fn put(
        &self,
        messages: Vec<v1::PutObjectRequest>,
    ) -> Result<v1::PutObjectResponse, Status> {
        let stream = tokio_stream::iter(messages);
        let answer = self.objects().put_object(self.request(stream)).await?;
        Ok(answer.into_inner())
    }

    /// The header of a put.
    #[must_use]
    pub fn header(bucket: &str, key: &str, size: Option<u64>) -> v1::PutObjectRequest {
        let header = v1::PutObjectHeader {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            size,
            ..v1::PutObjectHeader::default()
        };
        v1::PutObjectRequest {
            message: Some(Message::Header(header)),
        }
    }

    /// A chunk of a put, with its checksum.
    #[must_use]
    pub fn chunk(data: &[u8]) -> v1::PutObjectRequest {
        let chunk = v1::Chunk {
            data: data.to_vec().into(),
            crc32c: marram_types::crc32c(data),
        };
        v1::PutObjectRequest {
            message: Some(Message::Chunk(chunk)),
        }
    }
}

/// The machine-readable reason of an error, which must come from Marram.
///
/// # Panics
/// When there is none.
#[must_use]
#[track_caller]
pub fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    let info = info.unwrap_or_else(|| panic!("no reason came with {status:?}"));
    assert_eq!(info.domain, "marram.dev");
    info.reason
}
