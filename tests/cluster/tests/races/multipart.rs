//! A multipart upload is completed through one gateway and ended through the other while a part is sent
//! again: one of both wins, and nothing of an upload that was ended remains.

use std::time::{Duration, Instant};

use marram_client::Preconditions;
use marram_cluster_tests::{Pool, Raw, get, reason};
use marram_proto::v1;
use marram_proto::v1::upload_part_request::Message;
use tonic::{Code, Status};

use super::kit::{Arena, counted};

const MIB: usize = 1 << 20;
const BUCKET: &str = "multipart";
/// How long a call is tried again while nodes are away.
const TRIED_FOR: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// A gateway, and the name of each change that goes through it.
struct Server {
    raw: Raw,
    client: [u8; 16],
    sequence: std::sync::atomic::AtomicU64,
}

impl Server {
    async fn new(arena: &Arena, gateway: usize) -> Self {
        Self {
            raw: Raw::connect(&arena.cluster, Arena::endpoint(gateway)).await,
            client: rand::random(),
            sequence: 1.into(),
        }
    }

    /// The name of a change, for all of its attempts.
    fn request_id(&self) -> Option<v1::RequestId> {
        let sequence = &self.sequence;
        Some(v1::RequestId {
            client: self.client.to_vec().into(),
            sequence: sequence.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        })
    }
}

/// Tries again what may have met a node that is away. The request id makes that harmless.
async fn tried<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> Result<T, Status> {
    let until = Instant::now() + TRIED_FOR;
    loop {
        let refused = match call().await {
            Ok(answer) => return Ok(answer),
            Err(refused) => refused,
        };
        let passes = matches!(
            refused.code(),
            Code::Unavailable | Code::Aborted | Code::DeadlineExceeded | Code::Unknown
        );
        if !passes || Instant::now() > until {
            return Err(refused);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn begin(server: &Server, key: &str) -> String {
    let request = v1::CreateUploadRequest {
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        request_id: server.request_id(),
        ..v1::CreateUploadRequest::default()
    };
    let created = tried(async || {
        let asked = server.raw.request(request.clone());
        server.raw.uploads().create_upload(asked).await
    });
    created.await.expect("begun").into_inner().upload_id
}

async fn part(
    server: &Server,
    (key, upload): (&str, &str),
    part_number: u32,
    data: &[u8],
) -> Result<v1::CompletedPart, Status> {
    let header = Message::Header(v1::UploadPartHeader {
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        upload_id: upload.to_owned(),
        part_number,
        size: Some(data.len() as u64),
        request_id: server.request_id(),
        ..v1::UploadPartHeader::default()
    });
    let chunk = |data: &[u8]| {
        Message::Chunk(v1::Chunk {
            data: data.to_vec().into(),
            crc32c: marram_types::crc32c(data),
        })
    };
    let messages = std::iter::once(header).chain(data.chunks(MIB).map(chunk));
    let messages: Vec<_> = messages
        .map(|message| v1::UploadPartRequest {
            message: Some(message),
        })
        .collect();
    let sent = tried(async || {
        let stream = tokio_stream::iter(messages.clone());
        let asked = server.raw.request(stream);
        server.raw.uploads().upload_part(asked).await
    });
    let stored = sent.await?.into_inner().part.expect("a part");
    Ok(v1::CompletedPart {
        part_number: stored.part_number,
        etag: stored.etag,
        checksums: stored.checksums,
    })
}

async fn complete(
    server: &Server,
    (key, upload): (&str, &str),
    parts: Vec<v1::CompletedPart>,
) -> Result<v1::ObjectInfo, Status> {
    let request = v1::CompleteUploadRequest {
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        upload_id: upload.to_owned(),
        parts,
        request_id: server.request_id(),
        ..v1::CompleteUploadRequest::default()
    };
    let done = tried(async || {
        let asked = server.raw.request(request.clone());
        server.raw.uploads().complete_upload(asked).await
    });
    Ok(done.await?.into_inner().object.expect("an object"))
}

async fn abort(server: &Server, (key, upload): (&str, &str)) -> Result<(), Status> {
    let request = v1::AbortUploadRequest {
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        upload_id: upload.to_owned(),
        request_id: server.request_id(),
    };
    let ended = tried(async || {
        let asked = server.raw.request(request.clone());
        server.raw.uploads().abort_upload(asked).await
    });
    ended.await.map(|_| ())
}

/// Whether the upload became an object, of these bytes.
async fn round(servers: &[Server; 2], key: &str, pool: &mut Pool) -> Option<Vec<u8>> {
    let (first, second, other) = (
        pool.content(5 * MIB),
        pool.content(200_000),
        pool.content(100_000),
    );
    let upload = begin(&servers[0], key).await;
    let name = (key, upload.as_str());
    let stored = tokio::join!(
        part(&servers[1], name, 2, &second),
        part(&servers[0], name, 1, &first),
    );
    let parts = vec![stored.1.expect("stored"), stored.0.expect("stored")];
    // To complete takes longer than to end: the race is even where the end comes a little later.
    let later = Duration::from_millis(pool.below(60) as u64);
    let late = async {
        tokio::time::sleep(later).await;
        abort(&servers[1], name).await
    };
    let (done, ended, again) = tokio::join!(
        complete(&servers[0], name, parts),
        late,
        part(&servers[0], name, 2, &other),
    );
    if let Err(refused) = again {
        let why = reason(&refused);
        let known = ["UPLOAD_NOT_FOUND", "UPLOAD_COMPLETED"];
        assert!(known.contains(&why.as_str()), "{key}: {why}");
    }
    match (done, ended) {
        (Ok(object), Err(refused)) => {
            assert_eq!(reason(&refused), "UPLOAD_COMPLETED", "{key}");
            let whole = [&first[..], &second[..]].concat();
            assert_eq!(object.crc64nvme, marram_types::Crc64Nvme::of(&whole));
            Some(whole)
        }
        (Err(refused), Ok(())) => {
            let why = reason(&refused);
            let known = ["UPLOAD_NOT_FOUND", "INVALID_PART", "UPLOAD_CHANGED"];
            assert!(known.contains(&why.as_str()), "{key}: {why}");
            None
        }
        other => panic!("{key}: exactly one wins: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_completed_or_ended_and_nothing_else() {
    let mut arena = Arena::new("multipart").await;
    let client = arena.cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let servers = [Server::new(&arena, 0).await, Server::new(&arena, 1).await];
    let mut pool = Pool::new(91, 8 * MIB);
    let over = arena.over();
    arena.harm();
    let (mut whole, mut ended) = (Vec::new(), Vec::new());
    let rounds = async {
        let mut number = 0;
        while !over() {
            let key = format!("upload/{number}");
            match round(&servers, &key, &mut pool).await {
                Some(bytes) => whole.push((key, bytes)),
                None => ended.push(key),
            }
            number += 1;
        }
    };
    tokio::join!(rounds, arena.race());
    arena.peace().await;
    println!("{} completed, {} ended", whole.len(), ended.len());
    let both = !whole.is_empty() && !ended.is_empty();
    assert!(both && whole.len() + ended.len() > 5, "no race");
    for (key, bytes) in &whole {
        let read = get(&client, BUCKET, key).await.expect("read");
        assert!(read == *bytes, "{key}");
    }
    let (listed, usage) = counted(&client, BUCKET).await;
    assert_eq!(listed.len(), whole.len(), "{ended:?} were ended");
    assert_eq!(usage.upload_bytes, 0, "a part is counted");
    let mut uploads = client.list_uploads(BUCKET, "");
    while let Some(page) = uploads.next().await.expect("listed") {
        assert_eq!(page, [], "an upload is left");
    }
    for (key, _) in &whole {
        let any = Preconditions::default();
        client.delete(BUCKET, key, &any).await.expect("deleted");
    }
    // Parts that were ended, replaced or never acknowledged leave nothing on any drive.
    arena.drives_get_empty().await;
}
