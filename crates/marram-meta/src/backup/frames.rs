//! Frames, and reading them from a stream of bytes.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{ClusterId, GroupId, ReplicaId, crc32c};

use super::{BACKUP_PIECE_BYTES_MAX, BackupError};
use crate::refusal::unknown;

const MAGIC: &[u8; 8] = b"MARRAMBK";
const FORMAT: u8 = 1;
/// Bytes before a payload.
const HEAD: usize = 5;
/// Bytes behind it.
const TAIL: usize = 4;
/// Most bytes of a payload: a piece, or the header.
const PAYLOAD_BYTES_MAX: usize = BACKUP_PIECE_BYTES_MAX;

const KIND_HEADER: u8 = 1;
const KIND_GROUP: u8 = 2;
const KIND_PIECE: u8 = 3;
const KIND_GROUP_END: u8 = 4;
const KIND_END: u8 = 5;

/// Where a backup comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BackupKind {
    /// A running cluster: all of its groups, of one layout.
    Cluster = 1,
    /// One replica that did not run: the groups that it had, with all of its log applied.
    Replica = 2,
}

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupHeader {
    /// Where it comes from.
    pub kind: BackupKind,
    /// The cluster.
    pub cluster: ClusterId,
    /// The cluster's name.
    pub name: String,
    /// When it was begun, in milliseconds since 1970.
    pub made_ms: u64,
    /// Until when the cluster keeps everything that the backup names, in milliseconds since 1970.
    pub kept_until_ms: u64,
    /// How many object groups the cluster has.
    pub object_groups: u16,
    /// Of one replica: which.
    pub replica: Option<ReplicaId>,
}

/// A group in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupGroup {
    /// Which.
    pub group: GroupId,
    /// Term of the last entry in the state.
    pub term: u64,
    /// Index of the last entry in the state.
    pub index: u64,
    /// Of one replica: the last index that it knew to be committed.
    pub applied: u64,
    /// Of one replica: who votes, two sets while a change is under way.
    pub voters: Vec<Vec<ReplicaId>>,
}

/// A part of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupFrame {
    /// The first one.
    Header(BackupHeader),
    /// A group begins.
    Group(BackupGroup),
    /// Some of its state.
    Piece(Vec<u8>),
    /// Its state ends.
    GroupEnd {
        /// Bytes of all pieces.
        bytes: u64,
        /// Their CRC64/NVME.
        crc64: u64,
    },
    /// The last one.
    End {
        /// Groups in the file.
        groups: u16,
    },
}

impl BackupFrame {
    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        let mut payload = Writer::new();
        let kind = self.put(&mut payload);
        let payload = payload.finish();
        let length = u32::try_from(payload.len()).expect("a piece is at most 1 MiB");
        out.push(kind);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&payload);
        let crc = crc32c(&out[begin..]);
        out.extend_from_slice(&crc.to_be_bytes());
    }

    fn put(&self, out: &mut Writer) -> u8 {
        match self {
            Self::Header(header) => {
                out.raw(MAGIC).u8(FORMAT).u8(header.kind as u8);
                out.u128_be(header.cluster.0).str(&header.name);
                out.u64_be(header.made_ms).u64_be(header.kept_until_ms);
                out.u16_be(header.object_groups);
                out.option(header.replica.as_ref(), |out, replica| {
                    out.varint(replica.0);
                });
                KIND_HEADER
            }
            Self::Group(group) => {
                out.u16_be(group.group.0);
                out.varint(group.term)
                    .varint(group.index)
                    .varint(group.applied);
                out.list(&group.voters, |out, half| {
                    out.list(half, |out, replica| {
                        out.varint(replica.0);
                    });
                });
                KIND_GROUP
            }
            Self::Piece(bytes) => {
                out.raw(bytes);
                KIND_PIECE
            }
            Self::GroupEnd { bytes, crc64 } => {
                out.u64_be(*bytes).u64_be(*crc64);
                KIND_GROUP_END
            }
            Self::End { groups } => {
                out.u16_be(*groups);
                KIND_END
            }
        }
    }

    fn read(kind: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(payload);
        let frame = match kind {
            KIND_HEADER => Self::Header(read_header(&mut from)?),
            KIND_GROUP => Self::Group(BackupGroup {
                group: GroupId(from.u16_be()?),
                term: from.varint()?,
                index: from.varint()?,
                applied: from.varint()?,
                voters: from.list(|from| from.list(|from| from.varint().map(ReplicaId)))?,
            }),
            KIND_PIECE => return Ok(Self::Piece(payload.to_vec())),
            KIND_GROUP_END => Self::GroupEnd {
                bytes: from.u64_be()?,
                crc64: from.u64_be()?,
            },
            KIND_END => Self::End {
                groups: from.u16_be()?,
            },
            other => return Err(unknown("backup frame", other)),
        };
        from.finish()?;
        Ok(frame)
    }
}

fn read_header(from: &mut Reader<'_>) -> Result<BackupHeader, DecodeError> {
    if from.raw(MAGIC.len())? != MAGIC {
        return Err(DecodeError::Invalid("magic"));
    }
    from.version("backup format", FORMAT)?;
    Ok(BackupHeader {
        kind: match from.u8()? {
            1 => BackupKind::Cluster,
            2 => BackupKind::Replica,
            other => return Err(unknown("kind of backup", other)),
        },
        cluster: ClusterId(from.u128_be()?),
        name: from.str()?.to_owned(),
        made_ms: from.u64_be()?,
        kept_until_ms: from.u64_be()?,
        object_groups: from.u16_be()?,
        replica: from.option(Reader::varint)?.map(ReplicaId),
    })
}

/// Takes bytes as they come and gives frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Bytes at the beginning of the buffer that were given already.
    given: usize,
    /// Where in the file the next frame begins.
    at: u64,
}

impl FrameReader {
    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.given);
        self.given = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; none when more bytes are needed.
    ///
    /// # Errors
    /// When the bytes are no frame of a backup.
    pub fn next_frame(&mut self) -> Result<Option<BackupFrame>, BackupError> {
        let left = &self.buffer[self.given..];
        let at = self.at;
        if at == 0 && left.len() > HEAD && !begins(left) {
            return Err(BackupError::NotABackup);
        }
        let Some(head) = left.get(..HEAD) else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(head[1..].try_into().expect("four bytes"));
        let length = usize::try_from(length).expect("32 bits");
        if length > PAYLOAD_BYTES_MAX {
            return Err(BackupError::Damaged { at });
        }
        let Some(whole) = left.get(..HEAD + length + TAIL) else {
            return Ok(None);
        };
        let (covered, crc) = whole.split_at(HEAD + length);
        if crc32c(covered).to_be_bytes() != crc {
            return Err(BackupError::Damaged { at });
        }
        let frame = BackupFrame::read(head[0], &covered[HEAD..])
            .map_err(|source| BackupError::Unreadable { at, source })?;
        self.given += whole.len();
        self.at += whole.len() as u64;
        Ok(Some(frame))
    }

    /// Bytes of the file that were given as frames.
    #[must_use]
    pub fn given_bytes(&self) -> u64 {
        self.at
    }

    /// Whether bytes are left that are no frame yet.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.given == self.buffer.len()
    }
}

/// Whether a file begins as one of ours, as far as can be seen.
fn begins(left: &[u8]) -> bool {
    let magic = &left[HEAD..left.len().min(HEAD + MAGIC.len())];
    left[0] == KIND_HEADER && MAGIC.starts_with(magic)
}
