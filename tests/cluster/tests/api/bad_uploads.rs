//! Uploads that go wrong: a clear error, and nothing of them is to be seen.

use std::time::Duration;

use marram_cluster_tests::{Cluster, Raw, Shared, reason, until};
use marram_proto::v1;
use marram_proto::v1::put_object_request::Message;
use tonic::Code;

const MIB: usize = 1 << 20;

fn trailer(crc64nvme: u64) -> v1::PutObjectRequest {
    let trailer = v1::PutObjectTrailer {
        crc64nvme: Some(crc64nvme),
        checksums: None,
    };
    v1::PutObjectRequest {
        message: Some(Message::Trailer(trailer)),
    }
}

fn wrong_checksum(data: &[u8]) -> v1::PutObjectRequest {
    let mut request = Raw::chunk(data);
    if let Some(Message::Chunk(chunk)) = &mut request.message {
        chunk.crc32c ^= 1;
    }
    request
}

async fn nothing_is_there(cluster: &Cluster, bucket: &str) {
    let list = marram_client::ListQuery::all("");
    let page = cluster
        .client()
        .list(bucket, list)
        .next()
        .await
        .expect("listed");
    assert_eq!(page.expect("a page").objects, []);
}

/// An upload that must be refused: what is wrong with it, its messages, code and reason.
type Case = (&'static str, Vec<v1::PutObjectRequest>, Code, &'static str);

const BUCKET: &str = "bad-uploads";

fn sized(size: usize) -> v1::PutObjectRequest {
    Raw::header(BUCKET, "a", Some(size as u64))
}

fn unsized_header() -> v1::PutObjectRequest {
    Raw::header(BUCKET, "a", None)
}

/// A header, so many MiB, and a last message.
fn long(
    header: v1::PutObjectRequest,
    mib: usize,
    last: Option<v1::PutObjectRequest>,
) -> Vec<v1::PutObjectRequest> {
    let data = vec![7; MIB];
    let chunks = (0..mib).map(|_| Raw::chunk(&data));
    std::iter::once(header).chain(chunks).chain(last).collect()
}

fn framing() -> Vec<Case> {
    let empty = v1::PutObjectRequest { message: None };
    let after_trailer = vec![unsized_header(), trailer(0), Raw::chunk(b"x")];
    let chunk_too_large = vec![unsized_header(), Raw::chunk(&vec![1; MIB + 1])];
    [
        ("nothing", vec![]),
        ("no header", vec![Raw::chunk(b"x")]),
        ("empty message", vec![empty.clone()]),
        ("two headers", vec![sized(1), sized(1)]),
        ("empty message later", vec![sized(1), empty]),
        ("a chunk too large", chunk_too_large),
        ("more after the trailer", after_trailer),
    ]
    .into_iter()
    .map(|(what, messages)| (what, messages, Code::InvalidArgument, "INVALID_ARGUMENT"))
    .collect()
}

fn checksums() -> Vec<Case> {
    let chunk = "CHUNK_CHECKSUM_MISMATCH";
    let object = "OBJECT_CHECKSUM_MISMATCH";
    let late = long(unsized_header(), 20, Some(wrong_checksum(&vec![7; MIB])));
    let sum_late = long(unsized_header(), 20, Some(trailer(1)));
    let sum = vec![sized(3), Raw::chunk(b"abc"), trailer(1)];
    vec![
        (
            "wrong crc",
            vec![sized(3), wrong_checksum(b"abc")],
            Code::DataLoss,
            chunk,
        ),
        ("wrong crc late", late, Code::DataLoss, chunk),
        ("wrong sum", sum, Code::DataLoss, object),
        ("wrong sum late", sum_late, Code::DataLoss, object),
    ]
}

fn sizes() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("too few", vec![sized(4), Raw::chunk(b"abc")]),
        ("too many", vec![sized(2), Raw::chunk(b"abc")]),
        ("none of some", vec![sized(5 * MIB)]),
        ("some of none", vec![sized(0), Raw::chunk(b"a")]),
        ("too many of many", long(sized(9 * MIB), 10, None)),
        ("too few of many", long(sized(20 * MIB), 19, None)),
    ]
    .into_iter()
    .map(|(what, messages)| (what, messages, Code::InvalidArgument, "SIZE_MISMATCH"))
    .collect();
    let too_large = vec![sized(6 << 40)];
    cases.push((
        "too large",
        too_large,
        Code::InvalidArgument,
        "OBJECT_TOO_LARGE",
    ));
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_refused_with_its_reason() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let raw = Raw::connect(&cluster, 3).await;
    for (what, messages, code, expected) in [framing(), checksums(), sizes()].concat() {
        let error = raw.put(messages).await.expect_err(what);
        assert_eq!(error.code(), code, "{what}: {error:?}");
        assert_eq!(reason(&error), expected, "{what}");
        nothing_is_there(&cluster, BUCKET).await;
    }
    // A message far beyond the limit is refused by the transport; the server lives on.
    let huge = vec![unsized_header(), Raw::chunk(&vec![1; 8 * MIB])];
    raw.put(huge).await.expect_err("a huge message");
    nothing_is_there(&cluster, BUCKET).await;
    let fine = vec![sized(3), Raw::chunk(b"abc")];
    Raw::connect(&cluster, 3)
        .await
        .put(fine)
        .await
        .expect("a good one is taken");
}

/// A client that goes away in mid-upload leaves nothing to be seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_disconnects_leaves_nothing() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client
        .create_bucket("disconnects", None)
        .await
        .expect("made");
    for chunks in [0, 1, 25] {
        let raw = Raw::connect(&cluster, 4).await;
        let (to, from) = tokio::sync::mpsc::channel(1);
        let request = raw.request(tokio_stream::wrappers::ReceiverStream::new(from));
        let call = tokio::spawn(async move { raw.objects().put_object(request).await });
        to.send(Raw::header("disconnects", "a", Some(100 << 20)))
            .await
            .expect("taken");
        for _ in 0..chunks {
            to.send(Raw::chunk(&vec![3; MIB])).await.expect("taken");
        }
        // The connection goes with the call.
        call.abort();
        drop(to);
        let _ = call.await;
        nothing_is_there(&cluster, "disconnects").await;
    }
    client
        .delete_bucket("disconnects")
        .await
        .expect("it is empty");
}

/// A client that stops sending is told so after half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stalls_is_cut_off() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("stalls", None).await.expect("made");
    let raw = Raw::connect(&cluster, 5).await;
    let (to, from) = tokio::sync::mpsc::channel(16);
    to.send(Raw::header("stalls", "a", None))
        .await
        .expect("taken");
    for _ in 0..12 {
        to.send(Raw::chunk(&vec![3; MIB])).await.expect("taken");
    }
    let request = raw.request(tokio_stream::wrappers::ReceiverStream::new(from));
    let limit = Duration::from_secs(60);
    let mut objects = raw.objects();
    let answer = tokio::time::timeout(limit, objects.put_object(request)).await;
    let error = answer.expect("within a minute").expect_err("refused");
    assert_eq!(
        (error.code(), reason(&error).as_str()),
        (Code::DeadlineExceeded, "UPLOAD_STALLED")
    );
    nothing_is_there(&cluster, "stalls").await;
    drop(to);
}

/// A reader that takes nothing for a while gets the rest all the same, and others are not held up.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_up_nobody() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client
        .create_bucket("slow-readers", None)
        .await
        .expect("made");
    let object = marram_cluster_tests::Pool::new(50, 64 * MIB).object("a", 40 * MIB);
    marram_cluster_tests::put(&client, "slow-readers", &object)
        .await
        .expect("put");
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(
            cluster
                .client_of(1)
                .get("slow-readers", "a", None)
                .await
                .expect("begun"),
        );
    }
    let here = cluster.client_of(1);
    until(
        "another reader is served",
        Duration::from_secs(20),
        async || marram_cluster_tests::verify(&here, "slow-readers", &object).await,
    )
    .await;
    for download in slow {
        let got = download.bytes(64 * MIB).await.expect("the rest comes");
        assert!(got == object.content, "byte for byte");
    }
}
