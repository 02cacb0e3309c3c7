use marram_types::caps::{MIB, UPLOAD_EXTENTS_MAX};
use marram_types::crc32c;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::status::{Fault, Reason};

/// Long enough for a machine that has much to do, where it is not waited for.
const AFTER: Duration = Duration::from_secs(20);

type Sent = Result<v1::WriteObjectRequest, Status>;

fn chunk(data: &[u8]) -> Sent {
    let data = Bytes::copy_from_slice(data);
    let crc32c = crc32c(&data);
    let message = Some(Message::Chunk(v1::Chunk { data, crc32c }));
    Ok(v1::WriteObjectRequest { message })
}

fn flush() -> Sent {
    let message = Some(Message::Flush(v1::FlushWrite {}));
    Ok(v1::WriteObjectRequest { message })
}

fn runs(sent: Vec<Sent>) -> Runs<impl Stream<Item = Sent> + Unpin + Send> {
    of(tokio_stream::iter(sent), 0)
}

fn of<S: Stream<Item = Sent> + Unpin + Send>(stream: S, offset: u64) -> Runs<S> {
    let none = CancellationToken::new;
    Runs::new(stream, offset, none(), none())
}

/// The bytes of the next run.
async fn next_run<S>(runs: &mut Runs<S>) -> Option<Vec<u8>>
where
    S: Stream<Item = Sent> + Unpin + Send,
{
    if !runs.begin(AFTER).await {
        return None;
    }
    let mut all = Vec::new();
    while let Some(piece) = runs.next().await.unwrap() {
        all.extend_from_slice(&piece);
    }
    let sums = runs.sums();
    assert_eq!(sums.size, all.len() as u64);
    assert_eq!(
        (sums.crc64, sums.crc32c),
        (Crc64Nvme::of(&all), crc32c(&all))
    );
    Some(all)
}

#[tokio::test]
async fn a_run_has_sixteen_mebibytes_whatever_the_chunks() {
    let bytes: Vec<u8> = (0..40 * MIB).map(|i| (i / 1000 % 251) as u8).collect();
    let mut runs = runs(bytes.chunks(MIB - 7).map(chunk).collect());
    let mut lengths = Vec::new();
    let mut all = Vec::new();
    while let Some(run) = next_run(&mut runs).await {
        lengths.push(run.len());
        all.extend(run);
    }
    assert_eq!(lengths, [16 * MIB, 16 * MIB, 8 * MIB]);
    assert!(all == bytes);
    runs.end().unwrap();
}

#[tokio::test]
async fn a_flush_ends_a_run_and_one_without_bytes_ends_nothing() {
    let sent = vec![
        flush(),
        chunk(b"ab"),
        chunk(b"c"),
        flush(),
        flush(),
        chunk(b"d"),
    ];
    let mut runs = runs(sent);
    assert_eq!(next_run(&mut runs).await.unwrap(), b"abc");
    assert_eq!(next_run(&mut runs).await.unwrap(), b"d");
    assert_eq!(next_run(&mut runs).await, None);
    runs.end().unwrap();
}

#[tokio::test]
async fn some_time_after_its_first_byte_a_run_ends_and_an_idle_call_too() {
    let (to, from) = mpsc::channel(4);
    let mut runs = of(ReceiverStream::new(from), 0);
    runs.stall_max = Duration::from_millis(60);
    to.send(chunk(b"few")).await.unwrap();
    let began = Instant::now();
    let after = Duration::from_millis(40);
    assert!(runs.begin(after).await);
    assert_eq!(runs.next().await.unwrap().unwrap(), &b"few"[..]);
    assert_eq!(runs.next().await.unwrap(), None);
    assert!(began.elapsed() >= after);
    // Nothing comes for too long: the call ends, and loses nothing.
    assert_eq!(next_run(&mut runs).await, None);
    assert!(began.elapsed() >= after + Duration::from_millis(60));
    assert_eq!(runs.end().unwrap_err().reason(), Reason::UploadStalled);
    drop(to);
}

#[test]
fn a_slow_stream_is_recorded_less_often_once_it_has_many_extents() {
    let seconds = |extents| record_after(extents).as_secs();
    assert_eq!([seconds(0), seconds(LATER_FROM - 1)], [1, 1]);
    assert_eq!([seconds(LATER_FROM), seconds(LATEST_FROM - 1)], [8, 8]);
    assert_eq!(
        [seconds(LATEST_FROM), seconds(UPLOAD_EXTENTS_MAX)],
        [25, 25]
    );
    assert!(RECORD_AFTER[2] < STALL_MAX);
}

#[tokio::test]
async fn what_came_before_a_break_counts() {
    let broken = Err(Status::unknown("reset"));
    let damaged = {
        let data = Bytes::from_static(b"xyz");
        let message = Some(Message::Chunk(v1::Chunk { data, crc32c: 1 }));
        Ok(v1::WriteObjectRequest { message })
    };
    let header = {
        let message = Some(Message::Header(v1::WriteObjectHeader::default()));
        Ok(v1::WriteObjectRequest { message })
    };
    let empty = Ok(v1::WriteObjectRequest { message: None });
    for (last, reason) in [
        (broken, Reason::InvalidArgument),
        (damaged, Reason::ChunkChecksumMismatch),
        (header, Reason::InvalidArgument),
        (empty, Reason::InvalidArgument),
    ] {
        let mut runs = runs(vec![chunk(b"good"), last, chunk(b"never")]);
        assert_eq!(next_run(&mut runs).await.unwrap(), b"good");
        assert_eq!(next_run(&mut runs).await, None);
        assert_eq!(runs.end().unwrap_err().reason(), reason);
    }
}

#[tokio::test]
async fn a_server_that_stops_has_what_came_recorded_and_a_refused_writer_nothing() {
    let (to, from) = mpsc::channel(4);
    let (stopping, halted) = (CancellationToken::new(), CancellationToken::new());
    let stream = ReceiverStream::new(from);
    let mut runs = Runs::new(stream, 0, stopping.clone(), halted.clone());
    to.send(chunk(b"some")).await.unwrap();
    assert!(runs.begin(RECORD_AFTER[0]).await);
    stopping.cancel();
    assert_eq!(runs.next().await.unwrap().unwrap(), &b"some"[..]);
    assert_eq!(runs.next().await.unwrap(), None);
    assert!(!runs.begin(RECORD_AFTER[0]).await);
    halted.cancel();
    assert!(matches!(runs.next().await, Err(PutError::Aborted)));
    assert!(matches!(runs.end(), Err(PutError::Aborted)));
}

#[tokio::test]
async fn a_write_has_a_tebibyte_and_no_more() {
    assert_eq!(WRITE_BYTES_MAX, 1 << 40);
    let stream = tokio_stream::iter(vec![chunk(b"ab"), chunk(b"c")]);
    let mut runs = of(stream, WRITE_BYTES_MAX - 2);
    assert_eq!(next_run(&mut runs).await.unwrap(), b"ab");
    assert_eq!(next_run(&mut runs).await, None);
    let error = runs.end().unwrap_err();
    assert_eq!(error.reason(), Reason::ObjectTooLarge);
    let max = WRITE_BYTES_MAX.to_string();
    assert!(error.details().contains(&("max", max)));
}
