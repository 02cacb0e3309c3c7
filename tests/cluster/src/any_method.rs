//! Calls of any method of the API, with any bytes.

use std::time::Duration;

use bytes::{Buf, BufMut};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Status};

use crate::Raw;

/// Answers that are read of a call that may have more.
const ANSWERS_MAX: usize = 3;
/// How long a stream may say nothing before we go.
const QUIET: Duration = Duration::from_millis(300);
/// How long any other call may take.
const CALL_WITHIN: Duration = Duration::from_secs(20);

/// Messages as their bytes.
#[derive(Debug, Clone, Copy)]
struct AsBytes;

impl Codec for AsBytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsBytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for AsBytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; from.remaining()];
        from.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}

/// Every method of the API.
///
/// # Panics
/// Never: the descriptors are made with the code.
#[must_use]
pub fn api_methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(marram_proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    let services = pool
        .services()
        .filter(|service| service.package_name() == "marram.v1");
    services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect()
}

/// Calls a method with these messages, and has its first answers.
///
/// # Errors
/// What the server says, or that it said nothing in time.
///
/// # Panics
/// Never: names of methods are paths.
pub async fn call(
    raw: &Raw,
    method: &MethodDescriptor,
    messages: Vec<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, Status> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = PathAndQuery::try_from(path).expect("a path");
    let mut client =
        tonic::client::Grpc::new(raw.channel.clone()).max_decoding_message_size(usize::MAX);
    let asked = async {
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let request = raw.request(tokio_stream::iter(messages));
        let mut stream = client.streaming(request, path, AsBytes).await?.into_inner();
        let mut answers = Vec::new();
        while answers.len() < ANSWERS_MAX {
            let next = if method.is_server_streaming() {
                match tokio::time::timeout(QUIET, stream.message()).await {
                    Ok(next) => next?,
                    Err(_) => break, // it waits for something to happen
                }
            } else {
                stream.message().await?
            };
            let Some(answer) = next else { break };
            answers.push(answer);
        }
        Ok(answers)
    };
    match tokio::time::timeout(CALL_WITHIN, asked).await {
        Ok(answered) => answered,
        Err(_) => Err(Status::new(
            Code::DeadlineExceeded,
            format!("no answer in {CALL_WITHIN:?}"),
        )),
    }
}
