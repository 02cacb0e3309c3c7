//! A server with one object, which fails on demand.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt, stream};
use marram_proto::v1;
use marram_proto::v1::bucket_service_server::{BucketService, BucketServiceServer};
use marram_proto::v1::get_object_response::Message as Answer;
use marram_proto::v1::object_service_server::{ObjectService, ObjectServiceServer};
use marram_proto::v1::put_object_request::Message;
use marram_proto::v1::read_ranges_response::Message as Ranges;
use marram_types::caps::{API_MESSAGE_BYTES_MAX, MIB};
use marram_types::{Crc64Nvme, crc32c};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

/// What the next call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Unavailable,
    OutcomeUnknown,
    Denied,
    /// The stream of a read ends with an error after one chunk.
    BreakAfterChunk,
    /// The first chunk of a read does not match its checksum.
    CorruptChunk,
    /// The object's checksum is wrong.
    WrongWholeChecksum,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[derive(Default)]
struct State {
    faults: VecDeque<Fault>,
    content: Vec<u8>,
    generation: u64,
    request_ids: Vec<(Vec<u8>, u64)>,
    ranges: Vec<(u64, usize)>,
    /// The nodes of the plans that are given, when they are.
    plan: Vec<String>,
    shard_reads: usize,
    /// Parts of shards are sent with wrong checksums.
    corrupt_shards: bool,
}

/// Bytes of a planned extent, and extents of one plan.
const EXTENT: usize = 3 * MIB;
const EXTENTS: usize = 2;

#[derive(Clone, Default)]
struct Shared {
    state: Arc<Mutex<State>>,
    broken_off: Arc<Notify>,
}

/// Tells that an upload broke off, unless it is forgotten.
struct BreakOff(Arc<Notify>);

impl Drop for BreakOff {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

pub(super) struct Fake {
    shared: Shared,
    address: String,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Fake {
    pub(super) async fn start() -> Self {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let listener = TcpListener::bind(any).await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let shared = Shared::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tonic::transport::Server::builder()
            .add_service(
                ObjectServiceServer::new(shared.clone())
                    .max_decoding_message_size(API_MESSAGE_BYTES_MAX),
            )
            .add_service(BucketServiceServer::new(shared.clone()))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                let _ = stopped.await;
            });
        let task = tokio::spawn(async { server.await.expect("serves") });
        Self {
            shared,
            address,
            stop: Mutex::new(Some((stop, task))),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) async fn stop(&self) {
        let taken = self.stop.lock().expect("unpoisoned").take();
        let (stop, task) = taken.expect("stopped once");
        stop.send(()).expect("it runs");
        task.await.expect("it ends");
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.shared.state.lock().expect("unpoisoned"))
    }

    pub(super) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state(|state| state.faults = faults.into_iter().collect());
    }

    pub(super) fn keep(&self, content: Vec<u8>, generation: u64) {
        self.state(|state| {
            state.content = content;
            state.generation = generation;
        });
    }

    pub(super) fn content(&self) -> Vec<u8> {
        self.state(|state| state.content.clone())
    }

    pub(super) fn request_ids(&self) -> Vec<(Vec<u8>, u64)> {
        self.state(|state| state.request_ids.clone())
    }

    /// First byte and length of every read.
    pub(super) fn ranges(&self) -> Vec<(u64, usize)> {
        self.state(|state| state.ranges.clone())
    }

    /// Answers reads with plans of two copies, one on each of these nodes.
    pub(super) fn plan(&self, nodes: [&str; 2]) {
        self.state(|state| state.plan = nodes.map(str::to_owned).to_vec());
    }

    pub(super) fn corrupt_shards(&self) {
        self.state(|state| state.corrupt_shards = true);
    }

    /// How many parts of shards were read.
    pub(super) fn shard_reads(&self) -> usize {
        self.state(|state| state.shard_reads)
    }

    /// Waits until the server has seen an upload break off.
    pub(super) async fn broken_off(&self) {
        self.shared.broken_off.notified().await;
    }
}

/// The plan of what begins at `from`.
fn plan_of(state: &State, from: usize) -> v1::ReadPlan {
    let nodes = state.plan.iter().map(|address| v1::PlanNode {
        api_address: address.clone(),
        away: false,
    });
    let extent = |index: usize| v1::PlanExtent {
        offset: (index * EXTENT) as u64,
        length: EXTENT.min(state.content.len() - index * EXTENT) as u64,
        k: 1,
        m: 1,
        cell: 1 << 20,
        shards: [0, 1]
            .map(|node| v1::PlanShard {
                node: Some(node),
                ticket: index.to_string().into(),
            })
            .to_vec(),
    };
    let count = state.content.len().div_ceil(EXTENT);
    let first = from / EXTENT;
    v1::ReadPlan {
        nodes: nodes.collect(),
        extents: (first..count).take(EXTENTS).map(extent).collect(),
        valid_ms: 60_000,
    }
}

fn refusal(code: tonic::Code, reason: &str) -> Status {
    let details =
        ErrorDetails::with_error_info(reason, "marram.dev", std::collections::HashMap::new());
    Status::with_error_details(code, "on demand", details)
}

impl Shared {
    /// Checks who asks, notes the request id, and fails if that is the plan.
    fn meet<M>(&self, request: &Request<M>, id: Option<&v1::RequestId>) -> Result<Fault, Status> {
        let bearer = request.metadata().get("authorization");
        let bearer = bearer.and_then(|value| value.to_str().ok());
        assert!(bearer.is_some_and(|value| value.starts_with("Bearer ")));
        self.fault(id)
    }

    fn fault(&self, id: Option<&v1::RequestId>) -> Result<Fault, Status> {
        let mut state = self.state.lock().expect("unpoisoned");
        if let Some(id) = id {
            state.request_ids.push((id.client.to_vec(), id.sequence));
        }
        match state.faults.pop_front().unwrap_or(Fault::None) {
            Fault::Unavailable => Err(Status::unavailable("on demand")),
            Fault::OutcomeUnknown => Err(refusal(tonic::Code::Unknown, "OUTCOME_UNKNOWN")),
            Fault::Denied => Err(refusal(tonic::Code::Unauthenticated, "KEY_UNKNOWN")),
            other => Ok(other),
        }
    }

    fn info(&self) -> v1::ObjectInfo {
        let state = self.state.lock().expect("unpoisoned");
        v1::ObjectInfo {
            key: "k".to_owned(),
            size: state.content.len() as u64,
            generation: state.generation,
            crc64nvme: Crc64Nvme::of(&state.content),
            ..v1::ObjectInfo::default()
        }
    }

    async fn receive(
        &self,
        stream: &mut Streaming<v1::PutObjectRequest>,
    ) -> Result<Vec<u8>, Status> {
        let mut content = Vec::new();
        while let Some(message) = stream.message().await? {
            match message.message {
                Some(Message::Chunk(chunk)) => {
                    assert_eq!(crc32c(&chunk.data), chunk.crc32c);
                    assert!(chunk.data.len() <= MIB);
                    content.extend_from_slice(&chunk.data);
                }
                Some(Message::Trailer(trailer)) => {
                    assert_eq!(trailer.crc64nvme, Some(Crc64Nvme::of(&content)));
                    return Ok(content);
                }
                other => return Err(Status::internal(format!("{other:?}"))),
            }
        }
        // tonic shows a stream that the client reset as one that ended: only a trailer is an end.
        Err(Status::cancelled("no trailer"))
    }
}

#[tonic::async_trait]
impl ObjectService for Shared {
    async fn put_object(
        &self,
        request: Request<Streaming<v1::PutObjectRequest>>,
    ) -> Result<Response<v1::PutObjectResponse>, Status> {
        self.meet_stream(&request);
        let mut stream = request.into_inner();
        let first = stream.message().await?.and_then(|first| first.message);
        let Some(Message::Header(header)) = first else {
            return Err(Status::invalid_argument("no header"));
        };
        self.fault(header.request_id.as_ref())?;
        // A reset drops this future, wherever it waits.
        let guard = BreakOff(Arc::clone(&self.broken_off));
        let content = self.receive(&mut stream).await?;
        std::mem::forget(guard);
        if header.size.is_some_and(|size| size != content.len() as u64) {
            return Err(refusal(tonic::Code::InvalidArgument, "SIZE_MISMATCH"));
        }
        self.state.lock().expect("unpoisoned").content = content;
        let object = Some(self.info());
        Ok(Response::new(v1::PutObjectResponse { object }))
    }

    async fn read_shard(
        &self,
        request: Request<v1::ReadShardRequest>,
    ) -> Result<Response<v1::ReadShardResponse>, Status> {
        self.meet(&request, None)?;
        let message = request.into_inner();
        let mut state = self.state.lock().expect("unpoisoned");
        state.shard_reads += 1;
        let extent: usize = String::from_utf8_lossy(&message.ticket)
            .parse()
            .expect("a ticket of ours");
        let at = extent * EXTENT + usize::try_from(message.offset).expect("small");
        let data = state.content[at..at + message.length as usize].to_vec();
        let crc32c = crc32c(&data) ^ u32::from(state.corrupt_shards);
        let chunk = Some(v1::Chunk {
            data: data.into(),
            crc32c,
        });
        Ok(Response::new(v1::ReadShardResponse { chunk }))
    }

    type GetObjectStream = Answers<v1::GetObjectResponse>;

    async fn get_object(
        &self,
        request: Request<v1::GetObjectRequest>,
    ) -> Result<Response<Self::GetObjectStream>, Status> {
        let fault = self.meet(&request, None)?;
        let mut object = self.info();
        if fault == Fault::WrongWholeChecksum {
            object.crc64nvme ^= 1;
        }
        let request = request.into_inner();
        let range = request.range.unwrap_or_default();
        let mut state = self.state.lock().expect("unpoisoned");
        let from = usize::try_from(range.offset).expect("not from the end");
        let to = match range.length {
            0 => state.content.len(),
            length => from + usize::try_from(length).expect("small"),
        };
        state.ranges.push((from as u64, to - from));
        let header = v1::GetObjectHeader {
            object: Some(object),
            offset: from as u64,
            length: (to - from) as u64,
        };
        let mut answers = vec![Ok(Answer::Header(header))];
        if request.accept_plan && !state.plan.is_empty() {
            answers.push(Ok(Answer::Plan(plan_of(&state, from))));
        }
        let planned = answers.len() == 2;
        let sent = if planned { to..to } else { from..to };
        for piece in state.content[sent].chunks(MIB) {
            answers.push(Ok(Answer::Chunk(v1::Chunk {
                data: piece.to_vec().into(),
                crc32c: crc32c(piece) ^ u32::from(fault == Fault::CorruptChunk),
            })));
        }
        if fault == Fault::BreakAfterChunk {
            answers.truncate(2);
            answers.push(Err(Status::unavailable("on demand")));
        }
        let answers = stream::iter(answers).map(|answer| {
            answer.map(|message| v1::GetObjectResponse {
                message: Some(message),
            })
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn head_object(
        &self,
        request: Request<v1::HeadObjectRequest>,
    ) -> Result<Response<v1::HeadObjectResponse>, Status> {
        self.meet(&request, None)?;
        let object = Some(self.info());
        Ok(Response::new(v1::HeadObjectResponse { object }))
    }

    async fn delete_object(
        &self,
        request: Request<v1::DeleteObjectRequest>,
    ) -> Result<Response<v1::DeleteObjectResponse>, Status> {
        let id = request.get_ref().request_id.clone();
        self.meet(&request, id.as_ref())?;
        Ok(Response::new(v1::DeleteObjectResponse {
            existed: true,
            ..v1::DeleteObjectResponse::default()
        }))
    }

    type CopyObjectStream = Answers<v1::CopyObjectResponse>;

    /// Tells of the half; the first call then breaks off.
    async fn copy_object(
        &self,
        request: Request<v1::CopyObjectRequest>,
    ) -> Result<Response<Self::CopyObjectStream>, Status> {
        use v1::copy_object_response::Message as Told;
        let id = request.get_ref().request_id.clone();
        self.meet(&request, id.as_ref())?;
        let conditions = request
            .get_ref()
            .source_conditions
            .clone()
            .unwrap_or_default();
        let first = {
            let state = self.state.lock().expect("unpoisoned");
            let generation = conditions.if_generation_match;
            assert_eq!(generation, Some(state.generation), "one version is copied");
            state.request_ids.len() == 1
        };
        let object = self.info();
        let half = v1::CopyProgress {
            copied: object.size / 2,
            size: object.size,
        };
        let end = match first {
            true => Err(Status::unavailable("on demand")),
            false => Ok(Told::Object(object)),
        };
        let told = stream::iter([Ok(Told::Progress(half)), end]).map(|told| {
            told.map(|message| v1::CopyObjectResponse {
                message: Some(message),
            })
        });
        Ok(Response::new(told.boxed()))
    }

    /// Of the key "flaky" the first call says that its group does not answer.
    async fn delete_objects(
        &self,
        request: Request<v1::DeleteObjectsRequest>,
    ) -> Result<Response<v1::DeleteObjectsResponse>, Status> {
        let id = request.get_ref().request_id.clone();
        self.meet(&request, id.as_ref())?;
        let first = self.state.lock().expect("unpoisoned").request_ids.len() == 1;
        let result = |object: v1::ObjectToDelete| {
            let failure = |code: tonic::Code, reason: &str| v1::DeleteFailure {
                code: code as i32,
                reason: reason.to_owned(),
                ..v1::DeleteFailure::default()
            };
            let failure = match object.key.as_str() {
                "flaky" if first => Some(failure(tonic::Code::Unavailable, "METADATA_UNAVAILABLE")),
                "stale" => Some(failure(
                    tonic::Code::FailedPrecondition,
                    "PRECONDITION_FAILED",
                )),
                _ => None,
            };
            v1::DeleteResult {
                existed: failure.is_none() && object.key != "absent",
                failure,
                ..v1::DeleteResult::default()
            }
        };
        let objects = request.into_inner().objects;
        let results = objects.into_iter().map(result).collect();
        Ok(Response::new(v1::DeleteObjectsResponse { results }))
    }

    type ReadRangesStream = Answers<v1::ReadRangesResponse>;

    /// Chunks of 700,000 bytes; a fault breaks the stream off after one.
    async fn read_ranges(
        &self,
        request: Request<v1::ReadRangesRequest>,
    ) -> Result<Response<Self::ReadRangesStream>, Status> {
        let fault = self.meet(&request, None)?;
        let content = self.state.lock().expect("unpoisoned").content.clone();
        let mut resolved = Vec::new();
        let mut messages = Vec::new();
        for (index, range) in (0..).zip(request.into_inner().ranges) {
            let start = usize::try_from(range.offset).expect("absolute");
            let length = usize::try_from(range.length).expect("small");
            let end = (start + length).min(content.len());
            resolved.push(v1::ResolvedRange {
                offset: start as u64,
                length: (end - start) as u64,
            });
            let mut at = start;
            for data in content[start..end].chunks(700_000) {
                messages.push(Ok(ranges_message(Ranges::Chunk(v1::RangeChunk {
                    range: index,
                    offset: at as u64,
                    chunk: Some(v1::Chunk {
                        data: data.to_vec().into(),
                        crc32c: crc32c(data),
                    }),
                }))));
                at += data.len();
            }
        }
        let header = ranges_message(Ranges::Header(v1::ReadRangesHeader {
            object: Some(self.info()),
            ranges: resolved,
        }));
        messages.insert(0, Ok(header));
        if fault == Fault::BreakAfterChunk {
            messages.truncate(2);
            messages.push(Err(Status::unavailable("on demand")));
        }
        Ok(Response::new(stream::iter(messages).boxed()))
    }

    async fn get_object_tags(
        &self,
        _: Request<v1::GetObjectTagsRequest>,
    ) -> Result<Response<v1::GetObjectTagsResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn set_object_tags(
        &self,
        _: Request<v1::SetObjectTagsRequest>,
    ) -> Result<Response<v1::SetObjectTagsResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn delete_object_tags(
        &self,
        _: Request<v1::DeleteObjectTagsRequest>,
    ) -> Result<Response<v1::DeleteObjectTagsResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn update_object_metadata(
        &self,
        _: Request<v1::UpdateObjectMetadataRequest>,
    ) -> Result<Response<v1::UpdateObjectMetadataResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    /// Three keys, one a page.
    async fn list_objects(
        &self,
        request: Request<v1::ListObjectsRequest>,
    ) -> Result<Response<v1::ListObjectsResponse>, Status> {
        self.meet(&request, None)?;
        let message = request.into_inner();
        let number: u8 = message.page_token.parse().unwrap_or(0);
        let next = (number < 2).then(|| (number + 1).to_string());
        Ok(Response::new(v1::ListObjectsResponse {
            objects: vec![v1::ObjectInfo {
                key: format!("{}{number}", message.prefix),
                ..v1::ObjectInfo::default()
            }],
            next_page_token: next.unwrap_or_default(),
            ..v1::ListObjectsResponse::default()
        }))
    }

    /// Three versions of one key, one a page.
    async fn list_object_versions(
        &self,
        request: Request<v1::ListObjectVersionsRequest>,
    ) -> Result<Response<v1::ListObjectVersionsResponse>, Status> {
        self.meet(&request, None)?;
        let message = request.into_inner();
        let number: u64 = message.page_token.parse().unwrap_or(0);
        let next = (number < 2).then(|| (number + 1).to_string());
        Ok(Response::new(v1::ListObjectVersionsResponse {
            versions: vec![v1::ObjectVersion {
                key: message.prefix,
                generation: 9 - number,
                is_current: number == 0,
                delete_marker: number == 1,
                ..v1::ObjectVersion::default()
            }],
            next_page_token: next.unwrap_or_default(),
            ..v1::ListObjectVersionsResponse::default()
        }))
    }
}

fn ranges_message(message: Ranges) -> v1::ReadRangesResponse {
    v1::ReadRangesResponse {
        message: Some(message),
    }
}

impl Shared {
    /// Uploads tell their request id in the stream: here only who asks is checked.
    fn meet_stream<M>(&self, request: &Request<M>) {
        assert!(request.metadata().contains_key("authorization"));
        let _ = self;
    }
}

#[tonic::async_trait]
impl BucketService for Shared {
    async fn create_bucket(
        &self,
        _: Request<v1::CreateBucketRequest>,
    ) -> Result<Response<v1::CreateBucketResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn delete_bucket(
        &self,
        _: Request<v1::DeleteBucketRequest>,
    ) -> Result<Response<v1::DeleteBucketResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn list_buckets(
        &self,
        _: Request<v1::ListBucketsRequest>,
    ) -> Result<Response<v1::ListBucketsResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn set_versioning(
        &self,
        _: Request<v1::SetVersioningRequest>,
    ) -> Result<Response<v1::SetVersioningResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn set_lifecycle(
        &self,
        _: Request<v1::SetLifecycleRequest>,
    ) -> Result<Response<v1::SetLifecycleResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn get_lifecycle(
        &self,
        _: Request<v1::GetLifecycleRequest>,
    ) -> Result<Response<v1::GetLifecycleResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    type PreviewLifecycleStream = Answers<v1::PreviewLifecycleResponse>;

    async fn preview_lifecycle(
        &self,
        _: Request<v1::PreviewLifecycleRequest>,
    ) -> Result<Response<Self::PreviewLifecycleStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn set_quota(
        &self,
        _: Request<v1::SetQuotaRequest>,
    ) -> Result<Response<v1::SetQuotaResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn get_bucket_usage(
        &self,
        _: Request<v1::GetBucketUsageRequest>,
    ) -> Result<Response<v1::GetBucketUsageResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn head_bucket(
        &self,
        request: Request<v1::HeadBucketRequest>,
    ) -> Result<Response<v1::HeadBucketResponse>, Status> {
        self.meet(&request, None)?;
        let bucket = Some(v1::Bucket {
            name: request.into_inner().bucket,
            ..v1::Bucket::default()
        });
        Ok(Response::new(v1::HeadBucketResponse { bucket }))
    }
}
