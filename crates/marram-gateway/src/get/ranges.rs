//! Many ranges of one version, on one stream.
//!
//! The version is looked up once. Small ranges are fetched some at a time, large ones one after the
//! other, each with its own reading ahead; what is sent is in the order of the request.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use marram_meta::{Body, VersionRow};
use marram_proto::v1;
use marram_proto::v1::get_object_response::Message as Got;
use marram_proto::v1::read_ranges_response::Message;
use marram_types::Generation;
use marram_types::caps::{RANGES_BYTES_MAX, RANGES_PER_CALL_MAX};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::emit::Messages;
use super::held::Held;
use super::reader::{Reader, Which};
use super::{AT_ONCE_BYTES_MAX, GetError, MESSAGES_WAITING_MAX, range};
use crate::convert;
use crate::core::Core;
use crate::objects::{Conditions, LookupError, ObjectName, lookup_to_read, lookup_version_to_read};
use crate::status;
use crate::validate::InvalidField;

/// Small ranges of one call that are fetched at once: their bytes are in memory without a permit, at most
/// [`AT_ONCE_BYTES_MAX`] of each.
const RANGES_AHEAD_MAX: usize = 4;

type Answers = BoxStream<'static, Result<v1::ReadRangesResponse, Status>>;
type Sender = mpsc::Sender<Result<v1::ReadRangesResponse, Status>>;

/// Begins a read of ranges.
pub(crate) async fn run(
    core: Arc<Core>,
    request: v1::ReadRangesRequest,
) -> Result<Answers, GetError> {
    let name = ObjectName::new(request.bucket, request.key)?;
    let conditions = Conditions::new(request.conditions)?;
    check_count(request.ranges.len())?;
    let (found, seen) = match request.generation.map(Generation) {
        None => lookup_to_read(&core, &name).await?,
        asked => lookup_version_to_read(&core, &name, asked).await?,
    };
    conditions.check(&found.row).map_err(LookupError::from)?;
    let ranges = resolve(request.ranges, found.row.size)?;
    core.calls.got(ranges.iter().map(|r| r.end - r.start).sum());
    let header = header(&name, &found.row, &ranges);
    if let Body::Inline { .. } = found.row.body {
        let bytes = found.inline.ok_or(GetError::InlineMissing)?;
        return inline(header, &ranges, &bytes);
    }
    let place = core.memory.transfer()?;
    let (send, receive) = mpsc::channel(MESSAGES_WAITING_MAX);
    let one = OneVersion {
        core: core.clone(),
        name,
        row: found.row,
        _held: core.long_reads.begin(seen),
    };
    core.tasks.clone().spawn(async move {
        let _place = place;
        // A client that has gone away needs neither.
        if send.send(Ok(header)).await.is_ok()
            && let Err(error) = one.pump(ranges, &send).await
        {
            tracing::debug!(%error, "a read of ranges broke off");
            let _gone = send.send(Err(status::of(&error))).await;
        }
    });
    Ok(ReceiverStream::new(receive).boxed())
}

fn check_count(count: usize) -> Result<(), InvalidField> {
    match count {
        0 => Err(InvalidField::Wrong {
            field: "ranges",
            rule: "there is none",
        }),
        1..=RANGES_PER_CALL_MAX => Ok(()),
        count => Err(InvalidField::TooMany {
            field: "ranges",
            count,
            max: RANGES_PER_CALL_MAX,
        }),
    }
}

/// The bytes of each range, in the order of the request.
fn resolve(given: Vec<v1::ByteRange>, size: u64) -> Result<Vec<Range<u64>>, GetError> {
    let mut ranges = Vec::with_capacity(given.len());
    let mut bytes = 0_u64;
    for (index, range) in given.into_iter().enumerate() {
        let resolved = range::resolve(Some(range), size);
        let resolved = resolved.map_err(|_| GetError::OneRange { index, size })?;
        // No overflow: at most 256 times 5 TiB.
        bytes += resolved.end - resolved.start;
        ranges.push(resolved);
    }
    if bytes > RANGES_BYTES_MAX {
        return Err(GetError::RangesTooLarge { bytes });
    }
    Ok(ranges)
}

fn message(message: Message) -> v1::ReadRangesResponse {
    v1::ReadRangesResponse {
        message: Some(message),
    }
}

fn header(name: &ObjectName, row: &VersionRow, ranges: &[Range<u64>]) -> v1::ReadRangesResponse {
    let resolved = |range: &Range<u64>| v1::ResolvedRange {
        offset: range.start,
        length: range.end - range.start,
    };
    message(Message::Header(v1::ReadRangesHeader {
        object: Some(convert::object(name.key.as_str(), row)),
        ranges: ranges.iter().map(resolved).collect(),
    }))
}

/// The answer where the bytes came with the row.
fn inline(
    header: v1::ReadRangesResponse,
    ranges: &[Range<u64>],
    bytes: &Bytes,
) -> Result<Answers, GetError> {
    let mut all = vec![header];
    for (index, range) in (0..).zip(ranges) {
        let at = |offset: u64| usize::try_from(offset).ok().filter(|at| *at <= bytes.len());
        let ends = at(range.start).zip(at(range.end));
        let (start, end) = ends.ok_or(GetError::InlineMissing)?;
        let data = bytes.slice(start..end);
        let crc32c = marram_types::crc32c(&data);
        all.push(message(Message::Chunk(v1::RangeChunk {
            range: index,
            offset: range.start,
            chunk: Some(v1::Chunk { data, crc32c }),
        })));
    }
    Ok(stream::iter(all.into_iter().map(Ok)).boxed())
}

/// The one version that all ranges are of.
struct OneVersion {
    core: Arc<Core>,
    name: ObjectName,
    row: VersionRow,
    /// What is displaced since it was looked up is there until the last range is read.
    _held: Held,
}

/// A range on its way, with its first bytes where it is small.
struct Begun {
    index: u32,
    reader: Reader,
    first: Vec<Bytes>,
}

impl OneVersion {
    /// Sends all ranges at the client's pace.
    async fn pump(self, ranges: Vec<Range<u64>>, send: &Sender) -> Result<(), GetError> {
        let this = &self;
        let begun = (0..)
            .zip(ranges)
            .map(|(index, range)| this.begin(index, range));
        let mut begun = stream::iter(begun).buffered(RANGES_AHEAD_MAX);
        while let Some(one) = begun.try_next().await? {
            if !this.send(one, send).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn begin(&self, index: u32, range: Range<u64>) -> Result<Begun, GetError> {
        let is_small = range.end - range.start <= AT_ONCE_BYTES_MAX;
        let which = Which {
            name: self.name.clone(),
            // This version and no other, also when it is looked for again.
            generation: Some(self.row.generation),
            conditions: Conditions::default(),
        };
        let mut reader = Reader::new(self.core.clone(), which, self.row.clone(), range)?;
        let first = if is_small {
            reader.first().await?
        } else {
            Vec::new()
        };
        Ok(Begun {
            index,
            reader,
            first,
        })
    }

    /// Sends one range; false when the client has gone away.
    async fn send(&self, one: Begun, send: &Sender) -> Result<bool, GetError> {
        let Begun {
            index,
            mut reader,
            first,
        } = one;
        let mut offset = reader.range().start;
        let mut messages = Messages::new(&self.name, &self.row, reader.range());
        let mut ready = Vec::new();
        messages.add(first, &mut ready);
        loop {
            let next = reader.next().await?;
            let over = next.is_none();
            match next {
                Some(pieces) => messages.add(pieces, &mut ready),
                None => {
                    messages.finish(&mut ready)?;
                    messages = Messages::new(&self.name, &self.row, 0..0);
                }
            }
            for got in ready.drain(..) {
                let Some(Got::Chunk(chunk)) = got.message else {
                    continue;
                };
                let at = offset;
                offset += chunk.data.len() as u64;
                let told = message(Message::Chunk(v1::RangeChunk {
                    range: index,
                    offset: at,
                    chunk: Some(chunk),
                }));
                if send.send(Ok(told)).await.is_err() {
                    return Ok(false);
                }
            }
            if over {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Fault, Reason};

    fn ranges(given: &[(i64, u64)], size: u64) -> Result<Vec<Range<u64>>, GetError> {
        let range = |(offset, length): &(i64, u64)| v1::ByteRange {
            offset: *offset,
            length: *length,
        };
        resolve(given.iter().map(range).collect(), size)
    }

    #[test]
    fn ranges_keep_their_order_and_a_bad_one_is_named() {
        let found = ranges(&[(5, 2), (-1, 0), (0, 0), (5, 2)], 10).unwrap();
        assert_eq!(found, [5..7, 9..10, 0..10, 5..7]);
        let bad = ranges(&[(0, 1), (3, 1), (10, 1)], 10).unwrap_err();
        assert_eq!(bad.reason(), Reason::RangeNotSatisfiable);
        assert!(bad.details().contains(&("range", "2".to_owned())));
    }

    #[test]
    fn too_much_is_refused() {
        let tib = 1_u64 << 40;
        assert!(ranges(&[(0, RANGES_BYTES_MAX)], tib).is_ok());
        let over = ranges(&[(0, RANGES_BYTES_MAX), (7, 1)], tib).unwrap_err();
        assert_eq!(over.reason(), Reason::InvalidArgument);
        assert!(check_count(1).is_ok() && check_count(RANGES_PER_CALL_MAX).is_ok());
        for count in [0, RANGES_PER_CALL_MAX + 1] {
            let refused = check_count(count).unwrap_err();
            assert!(refused.details().contains(&("field", "ranges".to_owned())));
        }
    }
}
