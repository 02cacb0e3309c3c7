//! Multipart uploads through several servers at once, their races, and what the command line makes of
//! large files.

use std::fs;

use marram_cluster_tests::{Pool, Raw, Scratch, Shared, get, reason, run};
use marram_proto::v1;
use marram_proto::v1::upload_part_request::Message;
use tonic::Status;

const MIB: usize = 1 << 20;
const BUCKET: &str = "uploads";

async fn begin(server: &Raw, key: &str) -> String {
    let request = v1::CreateUploadRequest {
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        ..v1::CreateUploadRequest::default()
    };
    let created = server
        .uploads()
        .create_upload(server.request(request))
        .await;
    created.expect("begun").into_inner().upload_id
}

async fn part(
    server: &Raw,
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
    let sent = server
        .uploads()
        .upload_part(server.request(tokio_stream::iter(messages)))
        .await?;
    let stored = sent.into_inner().part.expect("a part");
    Ok(v1::CompletedPart {
        part_number: stored.part_number,
        etag: stored.etag,
        checksums: stored.checksums,
    })
}

async fn complete(
    server: &Raw,
    (key, upload): (&str, &str),
    parts: Vec<v1::CompletedPart>,
) -> Result<v1::ObjectInfo, Status> {
    let request = v1::CompleteUploadRequest {
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        upload_id: upload.to_owned(),
        parts,
        ..v1::CompleteUploadRequest::default()
    };
    let done = server
        .uploads()
        .complete_upload(server.request(request))
        .await?;
    Ok(done.into_inner().object.expect("an object"))
}

async fn abort(server: &Raw, (key, upload): (&str, &str)) -> Result<(), Status> {
    let request = v1::AbortUploadRequest {
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        upload_id: upload.to_owned(),
        request_id: None,
    };
    server
        .uploads()
        .abort_upload(server.request(request))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_through_any_servers_and_races_have_one_winner() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    let _ = client.create_bucket(BUCKET, None).await;
    let servers = [
        Raw::connect(&cluster, 1).await,
        Raw::connect(&cluster, 2).await,
        Raw::connect(&cluster, 3).await,
    ];
    let mut pool = Pool::new(77, 16 * MIB);
    let data = [5 * MIB + 3, 6 * MIB, 70_000].map(|size| pool.content(size));

    let upload = begin(&servers[0], "many").await;
    let name = ("many", upload.as_str());
    let (three, one, two) = tokio::join!(
        part(&servers[2], name, 3, &data[2]),
        part(&servers[0], name, 1, &data[0]),
        part(&servers[1], name, 2, &data[1]),
    );
    let parts = [one, two, three].map(|part| part.expect("stored"));
    let object = complete(&servers[1], name, parts.to_vec())
        .await
        .expect("completed");
    assert!(object.etag.ends_with("-3\""));
    let whole = data.concat();
    assert_eq!(object.crc64nvme, marram_types::Crc64Nvme::of(&whole));
    let read = get(&client, BUCKET, "many").await.expect("read");
    assert!(read == whole);

    for round in 0..6_u32 {
        let key = format!("race-{round}");
        let upload = begin(&servers[0], &key).await;
        let name = (key.as_str(), upload.as_str());
        let first = part(&servers[0], name, 1, &data[2]).await.expect("stored");
        let (done, ended, again) = tokio::join!(
            complete(&servers[1], name, vec![first]),
            abort(&servers[2], name),
            part(&servers[0], name, 1, &data[0]),
        );
        let read = get(&client, BUCKET, &key).await;
        match (&done, &ended) {
            (Ok(_), Err(refused)) => {
                assert_eq!(reason(refused), "UPLOAD_COMPLETED");
                assert!(read.expect("read") == data[2], "the part that was named");
            }
            (Err(refused), Ok(())) => {
                // Aborted first, or another part came in first and then the abort.
                let why = reason(refused);
                let known = ["UPLOAD_NOT_FOUND", "INVALID_PART", "UPLOAD_CHANGED"];
                assert!(known.contains(&why.as_str()), "{why}");
                assert!(read.is_err(), "nothing partial is visible");
            }
            other => panic!("exactly one wins: {other:?}"),
        }
        if let Err(refused) = again {
            let why = reason(&refused);
            let known = ["UPLOAD_NOT_FOUND", "UPLOAD_COMPLETED"];
            assert!(known.contains(&why.as_str()), "{why}");
        }
    }
}

#[test]
fn a_large_file_goes_up_in_parts_and_a_broken_upload_is_gone_on_with() {
    let cluster = Shared::cluster();
    let scratch = Scratch::new("large");
    let file = scratch.path().join("large.bin");
    let content = Pool::new(78, 80 * MIB).content(70 * MIB);
    fs::write(&file, &content).expect("written");
    let file = file.to_str().expect("UTF-8");
    let _ = run(&cluster, &["mb", "m://large-files"]).done();
    let target = "m://large-files/large.bin";
    let _ = run(&cluster, &["cp", "-q", "--resume", file, target]).done();
    let stat = run(&cluster, &["stat", "--json", target]).done();
    let etag = stat.json_lines()[0]["etag"]
        .as_str()
        .expect("a tag")
        .to_owned();
    assert!(etag.ends_with("-3\""), "{etag}");
    let back = scratch.path().join("back.bin");
    let _ = run(
        &cluster,
        &["cp", "-q", target, back.to_str().expect("UTF-8")],
    )
    .done();
    assert!(fs::read(&back).expect("read") == content);
    let left = run(&cluster, &["uploads", "ls", "m://large-files"]).done();
    assert_eq!(left.text(), "");
    let expire = [
        "admin",
        "uploads",
        "expire",
        "m://large-files",
        "--older-than",
        "0s",
    ];
    assert_eq!(run(&cluster, &expire).done().text(), "");
}
