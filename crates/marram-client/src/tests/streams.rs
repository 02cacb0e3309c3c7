//! Readers of any length, against servers that record what they get and break off (rules.md 33).

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::Stream;
use marram_proto::v1;
use marram_proto::v1::upload_service_server::{UploadService, UploadServiceServer};
use marram_proto::v1::write_object_request::Message;
use marram_proto::v1::write_service_server::{WriteService, WriteServiceServer};
use marram_types::caps::{API_MESSAGE_BYTES_MAX, MIB, WRITE_UNRECORDED_BYTES_MAX};
use marram_types::{Crc64Nvme, crc32c};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

use super::{bytes, client_of};
use crate::{ClientError, ErrorKind, PutBody, PutOptions, Watcher, WriteName};

/// What servers share: one write.
#[derive(Default)]
struct State {
    recorded: Vec<u8>,
    /// Came through a call that broke, and is recorded when the next call begins.
    late: Vec<u8>,
    finished: Option<v1::FinishWriteRequest>,
    aborted: bool,
    /// Where calls began.
    begun: Vec<u64>,
    /// Bytes after which each of the next calls breaks, and how many of those are recorded at once.
    breaks: Vec<(usize, usize)>,
    /// Nothing is recorded before so many bytes have come.
    hold: usize,
    /// Most bytes that had come and were not recorded.
    unrecorded_most: usize,
}

type Shared = Arc<Mutex<State>>;

#[derive(Clone)]
struct Server(Shared);

fn refusal(code: Code, reason: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "marram.dev", std::collections::HashMap::new());
    Status::with_error_details(code, reason, details)
}

type Answers = Pin<Box<dyn Stream<Item = Result<v1::WriteObjectResponse, Status>> + Send>>;

impl Server {
    fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().expect("unpoisoned"))
    }

    fn persisted(&self) -> v1::WriteObjectResponse {
        self.look(|state| v1::WriteObjectResponse {
            persisted_size: state.recorded.len() as u64,
            crc64nvme: Crc64Nvme::of(&state.recorded),
        })
    }

    async fn receive(
        &self,
        mut stream: Streaming<v1::WriteObjectRequest>,
        to: &mpsc::Sender<Result<v1::WriteObjectResponse, Status>>,
    ) -> Result<(), Status> {
        let cut = self.look(|state| (!state.breaks.is_empty()).then(|| state.breaks.remove(0)));
        let mut came = Vec::new();
        let mut total = 0;
        while let Some(next) = stream.message().await? {
            let Some(Message::Chunk(chunk)) = next.message else {
                continue;
            };
            assert_eq!(crc32c(&chunk.data), chunk.crc32c);
            came.extend_from_slice(&chunk.data);
            total += chunk.data.len();
            self.look(|state| state.unrecorded_most = state.unrecorded_most.max(came.len()));
            if let Some((_, now)) = cut.filter(|(after, _)| total >= *after) {
                self.look(|state| {
                    let now = now.min(came.len());
                    state.recorded.extend(came.drain(..now));
                    state.late = came;
                });
                return Err(Status::unavailable("the server dies"));
            }
            if came.len() >= self.look(|state| state.hold.max(3 * MIB)) {
                self.look(|state| state.recorded.append(&mut came));
                let _ = to.send(Ok(self.persisted())).await;
            }
        }
        self.look(|state| state.recorded.append(&mut came));
        let _ = to.send(Ok(self.persisted())).await;
        Ok(())
    }
}

#[tonic::async_trait]
impl WriteService for Server {
    type WriteObjectStream = Answers;

    async fn start_write(
        &self,
        _: Request<v1::StartWriteRequest>,
    ) -> Result<Response<v1::StartWriteResponse>, Status> {
        Ok(Response::new(v1::StartWriteResponse {
            upload_id: "w".to_owned(),
            created_ms: 1,
        }))
    }

    async fn write_object(
        &self,
        request: Request<Streaming<v1::WriteObjectRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let mut stream = request.into_inner();
        let first = stream.message().await?.and_then(|first| first.message);
        let Some(Message::Header(header)) = first else {
            return Err(refusal(Code::InvalidArgument, "INVALID_ARGUMENT"));
        };
        self.look(|state| {
            state.begun.push(header.offset);
            let late = std::mem::take(&mut state.late);
            state.recorded.extend(late);
            if state.recorded.len() as u64 == header.offset {
                Ok(())
            } else {
                Err(refusal(Code::OutOfRange, "WRONG_OFFSET"))
            }
        })?;
        let (to, answers) = mpsc::channel(4);
        to.send(Ok(self.persisted()))
            .await
            .expect("its end is here");
        let server = self.clone();
        tokio::spawn(async move {
            if let Err(status) = server.receive(stream, &to).await {
                let _ = to.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn query_write(
        &self,
        _: Request<v1::QueryWriteRequest>,
    ) -> Result<Response<v1::QueryWriteResponse>, Status> {
        let told = self.persisted();
        Ok(Response::new(v1::QueryWriteResponse {
            persisted_size: told.persisted_size,
            crc64nvme: told.crc64nvme,
            ..v1::QueryWriteResponse::default()
        }))
    }

    async fn finish_write(
        &self,
        request: Request<v1::FinishWriteRequest>,
    ) -> Result<Response<v1::FinishWriteResponse>, Status> {
        let request = request.into_inner();
        let size = request.size.expect("it is told");
        self.look(|state| state.finished = Some(request));
        Ok(Response::new(v1::FinishWriteResponse {
            object: Some(v1::ObjectInfo {
                size,
                ..v1::ObjectInfo::default()
            }),
        }))
    }
}

fn not_asked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not asked here"))
}

#[tonic::async_trait]
impl UploadService for Server {
    async fn create_upload(
        &self,
        _: Request<v1::CreateUploadRequest>,
    ) -> Result<Response<v1::CreateUploadResponse>, Status> {
        not_asked()
    }

    async fn upload_part(
        &self,
        _: Request<Streaming<v1::UploadPartRequest>>,
    ) -> Result<Response<v1::UploadPartResponse>, Status> {
        not_asked()
    }

    async fn list_parts(
        &self,
        _: Request<v1::ListPartsRequest>,
    ) -> Result<Response<v1::ListPartsResponse>, Status> {
        not_asked()
    }

    async fn list_uploads(
        &self,
        _: Request<v1::ListUploadsRequest>,
    ) -> Result<Response<v1::ListUploadsResponse>, Status> {
        not_asked()
    }

    async fn complete_upload(
        &self,
        _: Request<v1::CompleteUploadRequest>,
    ) -> Result<Response<v1::CompleteUploadResponse>, Status> {
        not_asked()
    }

    async fn abort_upload(
        &self,
        _: Request<v1::AbortUploadRequest>,
    ) -> Result<Response<v1::AbortUploadResponse>, Status> {
        self.look(|state| state.aborted = true);
        Ok(Response::new(v1::AbortUploadResponse {}))
    }
}

/// Two servers of one write, and a client of both.
async fn servers() -> (Server, crate::Client) {
    let server = Server(Shared::default());
    let mut addresses = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        addresses.push(listener.local_addr().expect("bound").to_string());
        let writes = WriteServiceServer::new(server.clone())
            .max_decoding_message_size(API_MESSAGE_BYTES_MAX);
        let serving = tonic::transport::Server::builder()
            .add_service(writes)
            .add_service(UploadServiceServer::new(server.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
    }
    (server, client_of(&addresses.join(","), 6))
}

fn write() -> WriteName {
    WriteName {
        bucket: "abc".to_owned(),
        key: "k".to_owned(),
        upload_id: "w".to_owned(),
    }
}

fn reader(content: &[u8]) -> PutBody {
    PutBody::reader(std::io::Cursor::new(content.to_vec()))
}

#[tokio::test]
async fn a_reader_goes_on_elsewhere_and_nothing_is_lost_or_doubled() {
    let (server, client) = servers().await;
    let content = bytes(20 * MIB + 5);
    // After 7 MiB a server dies that has recorded some; then one whose bytes are recorded late; then one
    // that has taken nothing.
    server.look(|state| state.breaks = vec![(7 * MIB, MIB + 1), (5 * MIB, 0), (1, 0)]);
    let told = Arc::new(Mutex::new(0_i64));
    let count = Arc::clone(&told);
    let options = PutOptions {
        watcher: Some(Watcher::new(move |bytes| {
            *count.lock().expect("unpoisoned") += bytes;
        })),
        ..PutOptions::default()
    };
    let put = client.put("abc", "k", reader(&content), options).await;
    assert_eq!(put.expect("it survives").size, content.len() as u64);
    server.look(|state| {
        assert!(state.recorded == content);
        let finished = state.finished.take().expect("finished");
        assert_eq!(finished.size, Some(content.len() as u64));
        let sums = finished.checksums.expect("told");
        assert_eq!(sums.crc64nvme, Some(Crc64Nvme::of(&content)));
        assert!(!state.aborted);
        assert!(state.begun.len() >= 4, "{:?}", state.begun);
    });
    assert_eq!(*told.lock().expect("unpoisoned"), content.len() as i64);
}

#[tokio::test]
async fn no_more_is_sent_than_is_kept() {
    let (server, client) = servers().await;
    let most = usize::try_from(WRITE_UNRECORDED_BYTES_MAX).expect("small");
    server.look(|state| state.hold = most);
    let content = bytes(70 * MIB);
    let put = client
        .put("abc", "k", reader(&content), PutOptions::default())
        .await;
    put.expect("written");
    server.look(|state| {
        assert!(state.recorded == content);
        assert_eq!(state.unrecorded_most, most, "all that may be, and no more");
    });
}

#[tokio::test]
async fn a_write_goes_on_where_it_is_told_or_says_so() {
    let (server, client) = servers().await;
    let content = bytes(3 * MIB);
    server.look(|state| state.recorded = content[..MIB].to_vec());
    let wrong = client
        .go_on_writing(&write(), 5, reader(&content), None)
        .await;
    let wrong = wrong.expect_err("not there");
    assert_eq!(
        (wrong.kind(), wrong.reason()),
        (ErrorKind::RangeNotSatisfiable, Some("WRONG_OFFSET"))
    );
    let rest = reader(&content[MIB..]);
    let done = client.go_on_writing(&write(), MIB as u64, rest, None).await;
    let done = done.expect("goes on");
    assert_eq!(done.persisted_size, content.len() as u64);
    assert_eq!(done.crc64nvme, Crc64Nvme::of(&content[MIB..]));
    assert!(server.look(|state| state.recorded == content && !state.aborted));
}

#[tokio::test]
async fn somebody_else_who_writes_is_noticed() {
    let (server, client) = servers().await;
    server.look(|state| {
        state.breaks = vec![(2 * MIB, 0)];
    });
    let other = server.clone();
    let watcher = Watcher::new(move |_| {
        other.look(|state| {
            if state.breaks.is_empty() && state.begun.len() == 1 {
                // Longer than what this writer has sent.
                state.recorded = vec![1; 30 * MIB];
            }
        });
    });
    let content = bytes(9 * MIB);
    let failed = client
        .go_on_writing(&write(), 0, reader(&content), Some(watcher))
        .await;
    assert_eq!(failed.expect_err("noticed").kind(), ErrorKind::Precondition);
}

#[tokio::test]
async fn a_reader_that_fails_leaves_no_write_behind() {
    let (server, client) = servers().await;
    let (mut give, take) = tokio::io::duplex(MIB);
    let feeding = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        give.write_all(&bytes(5 * MIB)).await.expect("taken");
        give
    });
    let failing =
        tokio::io::AsyncReadExt::chain(tokio::io::AsyncReadExt::take(take, 5 << 20), Failing);
    let put = client
        .put("abc", "k", PutBody::reader(failing), PutOptions::default())
        .await;
    let error: ClientError = put.expect_err("the reader fails");
    assert_eq!(error.kind(), ErrorKind::Local);
    server.look(|state| assert!(state.aborted && state.finished.is_none()));
    drop(feeding.await.expect("ends"));
}

/// A reader with nothing but an error.
struct Failing;

impl tokio::io::AsyncRead for Failing {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(std::io::Error::other("no disk")))
    }
}
