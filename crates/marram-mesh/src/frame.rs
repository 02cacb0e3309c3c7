//! The bytes on the wire.
//!
//! ```text
//! u32 length of all that follows    u64 request id    u8 kind    u16 method
//! u32 length of the header          u32 deadline, ms from now    header    payload
//! ```
//! Big-endian. The header is a protobuf message; the payload is raw.

use bytes::{BufMut, Bytes, BytesMut};
use marram_types::caps::{KIB, MESH_FRAME_BYTES_MAX};

/// Length of the fixed part.
pub(crate) const PREFIX_BYTES: usize = 23;
/// Of it, what the length field counts.
const COUNTED_PREFIX_BYTES: usize = PREFIX_BYTES - 4;
/// Payloads from this size begin at an address that suits direct I/O.
const ALIGN_FROM_BYTES: usize = 64 * KIB;
/// That alignment.
const ALIGN_BYTES: usize = 4 * KIB;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Request,
    Response,
    Error,
    Cancel,
}

impl Kind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
            Self::Error => 3,
            Self::Cancel => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Request),
            2 => Some(Self::Response),
            3 => Some(Self::Error),
            4 => Some(Self::Cancel),
            _ => None,
        }
    }
}

/// The fixed part, without the lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Prefix {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) method: u16,
    pub(crate) deadline_ms: u32,
}

/// A frame that came.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) prefix: Prefix,
    pub(crate) header: Bytes,
    pub(crate) payload: Bytes,
}

/// A frame to send: `head` is the prefix with or without the header behind it.
#[derive(Debug)]
pub(crate) struct OutFrame {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) head: Bytes,
    pub(crate) header: Bytes,
    pub(crate) payload: Bytes,
}

/// A frame that is longer than any may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {bytes} bytes is larger than any may be")]
pub(crate) struct TooLarge {
    pub(crate) bytes: usize,
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame has an impossible length of {0} bytes")]
    Length(u32),
    #[error("a frame's header of {0} bytes is longer than the frame")]
    Header(u32),
    #[error("a frame is of no known kind: {0}")]
    Kind(u8),
}

impl OutFrame {
    /// Headers up to this length are copied behind the prefix, so that both are one slice.
    const COPIED_HEADER_BYTES_MAX: usize = 4 * KIB;

    /// A frame whose header is encoded already.
    pub(crate) fn raw(prefix: Prefix, header: Bytes, payload: Bytes) -> Result<Self, TooLarge> {
        let copied = header.len() <= Self::COPIED_HEADER_BYTES_MAX;
        let room = if copied { header.len() } else { 0 };
        let mut head = BytesMut::with_capacity(PREFIX_BYTES + room);
        put_prefix(&mut head, prefix, header.len(), payload.len())?;
        let header = if copied {
            head.extend_from_slice(&header);
            Bytes::new()
        } else {
            header
        };
        Ok(Self {
            id: prefix.id,
            kind: prefix.kind,
            head: head.freeze(),
            header,
            payload,
        })
    }

    /// A frame with this message as its header.
    pub(crate) fn message(
        prefix: Prefix,
        header: &impl prost::Message,
        payload: Bytes,
    ) -> Result<Self, TooLarge> {
        let header_len = header.encoded_len();
        let mut head = BytesMut::with_capacity(PREFIX_BYTES + header_len);
        put_prefix(&mut head, prefix, header_len, payload.len())?;
        header
            .encode(&mut head)
            .expect("a BytesMut grows as it must");
        Ok(Self {
            id: prefix.id,
            kind: prefix.kind,
            head: head.freeze(),
            header: Bytes::new(),
            payload,
        })
    }

    /// Withdraws a request.
    pub(crate) fn cancel(id: u64) -> Self {
        let prefix = Prefix {
            id,
            kind: Kind::Cancel,
            method: 0,
            deadline_ms: 0,
        };
        Self::raw(prefix, Bytes::new(), Bytes::new()).expect("an empty frame is not too large")
    }

    /// Its length on the wire.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.header.len() + self.payload.len()
    }
}

fn put_prefix(
    out: &mut BytesMut,
    prefix: Prefix,
    header: usize,
    payload: usize,
) -> Result<(), TooLarge> {
    let bytes = COUNTED_PREFIX_BYTES + header + payload;
    let too_large = TooLarge { bytes };
    if bytes > MESH_FRAME_BYTES_MAX {
        return Err(too_large);
    }
    out.put_u32(u32::try_from(bytes).map_err(|_| too_large)?);
    out.put_u64(prefix.id);
    out.put_u8(prefix.kind.to_byte());
    out.put_u16(prefix.method);
    out.put_u32(u32::try_from(header).map_err(|_| too_large)?);
    out.put_u32(prefix.deadline_ms);
    Ok(())
}

fn read_prefix(raw: &[u8; PREFIX_BYTES]) -> Result<(Prefix, usize, usize), FrameError> {
    let u32_at = |at: usize| u32::from_be_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
    let length = u32_at(0);
    let total = usize::try_from(length).map_err(|_| FrameError::Length(length))?;
    if !(COUNTED_PREFIX_BYTES..=MESH_FRAME_BYTES_MAX).contains(&total) {
        return Err(FrameError::Length(length));
    }
    let header_length = u32_at(15);
    let header = usize::try_from(header_length).map_err(|_| FrameError::Header(header_length))?;
    let body = total - COUNTED_PREFIX_BYTES;
    if header > body {
        return Err(FrameError::Header(header_length));
    }
    let prefix = Prefix {
        id: u64::from(u32_at(4)) << 32 | u64::from(u32_at(8)),
        kind: Kind::from_byte(raw[12]).ok_or(FrameError::Kind(raw[12]))?,
        method: u16::from_be_bytes([raw[13], raw[14]]),
        deadline_ms: u32_at(19),
    };
    Ok((prefix, header, body - header))
}

/// An empty buffer with room for `len` bytes; a large one begins on a page.
fn buffer(len: usize) -> BytesMut {
    if len < ALIGN_FROM_BYTES {
        return BytesMut::with_capacity(len);
    }
    let mut out = BytesMut::with_capacity(len + ALIGN_BYTES);
    let skip = out.as_ptr().align_offset(ALIGN_BYTES);
    if skip >= ALIGN_BYTES {
        return out;
    }
    out.resize(skip, 0);
    drop(out.split_to(skip));
    out
}

struct Body {
    prefix: Prefix,
    header: BytesMut,
    header_left: usize,
    payload: BytesMut,
    payload_left: usize,
}

/// Turns the byte stream of a connection into frames. Each byte is copied once, into the buffer
/// that the frame is made of.
pub(crate) struct Decoder {
    prefix: [u8; PREFIX_BYTES],
    have: usize,
    body: Option<Body>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            prefix: [0; PREFIX_BYTES],
            have: 0,
            body: None,
        }
    }

    /// Takes bytes from the front of `data` until it is empty or a frame is whole.
    pub(crate) fn feed(&mut self, data: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        if self.body.is_none() {
            let take = data.len().min(PREFIX_BYTES - self.have);
            self.prefix[self.have..self.have + take].copy_from_slice(&data[..take]);
            self.have += take;
            *data = &data[take..];
            if self.have < PREFIX_BYTES {
                return Ok(None);
            }
            let (prefix, header, payload) = read_prefix(&self.prefix)?;
            self.body = Some(Body {
                prefix,
                header: BytesMut::with_capacity(header),
                header_left: header,
                payload: buffer(payload),
                payload_left: payload,
            });
        }
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        fill(&mut body.header, &mut body.header_left, data);
        if body.header_left == 0 {
            fill(&mut body.payload, &mut body.payload_left, data);
        }
        if body.header_left + body.payload_left > 0 {
            return Ok(None);
        }
        self.have = 0;
        Ok(self.body.take().map(|body| Frame {
            prefix: body.prefix,
            header: body.header.freeze(),
            payload: body.payload.freeze(),
        }))
    }
}

fn fill(into: &mut BytesMut, left: &mut usize, data: &mut &[u8]) {
    let take = data.len().min(*left);
    into.extend_from_slice(&data[..take]);
    *left -= take;
    *data = &data[take..];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(id: u64, kind: Kind) -> Prefix {
        Prefix {
            id,
            kind,
            method: 33,
            deadline_ms: 1500,
        }
    }

    fn wire(frames: &[OutFrame]) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in frames {
            for part in [&frame.head, &frame.header, &frame.payload] {
                out.extend_from_slice(part);
            }
        }
        out
    }

    #[test]
    fn frames_survive_any_cut_of_the_stream() {
        let long = Bytes::from(vec![7; 5000]);
        let large = Bytes::from((0..100_000_u32).map(|i| i as u8).collect::<Vec<_>>());
        let sent = [
            (Bytes::new(), Bytes::new()),
            (Bytes::from_static(b"head"), large),
            (long, Bytes::from_static(b"tail")),
        ];
        let frames: Vec<OutFrame> = (0_u64..)
            .zip(&sent)
            .map(|(i, (h, p))| {
                OutFrame::raw(prefix(i | 1 << 40, Kind::Request), h.clone(), p.clone()).unwrap()
            })
            .collect();
        let stream = wire(&frames);
        for step in [1, 7, 23, 24, 4096, stream.len()] {
            let mut decoder = Decoder::new();
            let mut got = Vec::new();
            for mut piece in stream.chunks(step) {
                while let Some(frame) = decoder.feed(&mut piece).unwrap() {
                    got.push(frame);
                    if piece.is_empty() {
                        break;
                    }
                }
            }
            assert_eq!(got.len(), sent.len(), "step {step}");
            for (i, (frame, (header, payload))) in got.iter().zip(&sent).enumerate() {
                assert_eq!(frame.prefix, prefix(i as u64 | 1 << 40, Kind::Request));
                assert_eq!((&frame.header, &frame.payload), (header, payload));
            }
            assert_eq!(got[1].payload.as_ptr().align_offset(ALIGN_BYTES), 0);
        }
    }

    #[test]
    fn impossible_frames_are_refused() {
        let good = wire(&[OutFrame::cancel(9)]);
        let feed = |at: usize, bytes: &[u8]| {
            let mut raw = good.clone();
            raw[at..at + bytes.len()].copy_from_slice(bytes);
            Decoder::new().feed(&mut raw.as_slice())
        };
        assert_eq!(feed(0, &18_u32.to_be_bytes()), Err(FrameError::Length(18)));
        assert_eq!(
            feed(0, &u32::MAX.to_be_bytes()),
            Err(FrameError::Length(u32::MAX))
        );
        assert_eq!(feed(12, &[0]), Err(FrameError::Kind(0)));
        assert_eq!(feed(15, &1_u32.to_be_bytes()), Err(FrameError::Header(1)));
        let huge = Bytes::from(vec![0; MESH_FRAME_BYTES_MAX]);
        assert!(OutFrame::raw(prefix(1, Kind::Response), Bytes::new(), huge).is_err());
    }
}
