//! Turns pieces of an object into messages, and checks the whole.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use marram_meta::VersionRow;
use marram_proto::v1;
use marram_proto::v1::get_object_response::Message;
use marram_types::caps::{API_DATA_BYTES_MAX, KIB};
use marram_types::{Crc64Nvme, crc32c};

use super::GetError;
use crate::convert;
use crate::objects::ObjectName;

/// Neighbouring pieces are put together up to this size: below it a message costs more than a copy.
const MERGE_BYTES_MAX: usize = 64 * KIB;

/// The messages of one read.
pub(super) struct Messages {
    header: v1::GetObjectHeader,
    /// The sum over all bytes and what it must be, of a full read.
    sum: Option<(Crc64Nvme, u64)>,
    /// The chunk that is sent next: the last one only when the whole is right.
    held: Option<Bytes>,
}

fn message(message: Message) -> v1::GetObjectResponse {
    v1::GetObjectResponse {
        message: Some(message),
    }
}

fn chunk(data: Bytes) -> v1::GetObjectResponse {
    let crc32c = crc32c(&data);
    message(Message::Chunk(v1::Chunk { data, crc32c }))
}

impl Messages {
    pub(super) fn new(name: &ObjectName, row: &VersionRow, range: Range<u64>) -> Self {
        let full = range == (0..row.size);
        Self {
            header: v1::GetObjectHeader {
                object: Some(convert::object(name.key.as_str(), row)),
                offset: range.start,
                length: range.end - range.start,
            },
            sum: full.then(|| (Crc64Nvme::default(), row.crc64)),
            held: None,
        }
    }

    /// The first message.
    pub(super) fn header(&self) -> v1::GetObjectResponse {
        message(Message::Header(self.header.clone()))
    }

    /// Takes the next bytes and gives the messages that may be sent.
    pub(super) fn add(&mut self, pieces: Vec<Bytes>, out: &mut Vec<v1::GetObjectResponse>) {
        for mut piece in pieces {
            if let Some((sum, _)) = &mut self.sum {
                sum.update(&piece);
            }
            while piece.len() > API_DATA_BYTES_MAX {
                let head = piece.split_to(API_DATA_BYTES_MAX);
                self.hold(head, out);
            }
            self.hold(piece, out);
        }
    }

    fn hold(&mut self, piece: Bytes, out: &mut Vec<v1::GetObjectResponse>) {
        if piece.is_empty() {
            return;
        }
        match self.held.take() {
            Some(held) if held.len() + piece.len() <= MERGE_BYTES_MAX => {
                let mut both = BytesMut::with_capacity(MERGE_BYTES_MAX);
                both.extend_from_slice(&held);
                both.extend_from_slice(&piece);
                self.held = Some(both.freeze());
            }
            held => {
                out.extend(held.map(chunk));
                self.held = Some(piece);
            }
        }
    }

    /// Checks the whole and gives the last message.
    pub(super) fn finish(self, out: &mut Vec<v1::GetObjectResponse>) -> Result<(), GetError> {
        if let Some((sum, expected)) = self.sum {
            let found = sum.value();
            if found != expected {
                tracing::error!(
                    expected = format!("{expected:016x}"),
                    found = format!("{found:016x}"),
                    "an object's bytes do not have its checksum"
                );
                return Err(GetError::Checksum { expected, found });
            }
        }
        out.extend(self.held.map(chunk));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
