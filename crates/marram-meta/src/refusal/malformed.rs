//! Commands that are wrong in themselves.

use marram_types::codec::DecodeError;

use super::unknown;

/// What is wrong with a command that no attempt of it can mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Malformed {
    /// The object key is empty or too long.
    #[error("the object key does not have 1 to 1024 bytes")]
    Key = 1,
    /// The size is not the sum of the parts.
    #[error("the size is not the sum of the parts")]
    Size = 2,
    /// Inline bytes above the limit of 4 KiB.
    #[error("more bytes inline than are allowed")]
    Inline = 3,
    /// An extent that cannot be, no extent at all, or too many.
    #[error("the extents are not well formed")]
    Extents = 4,
    /// An extent with missing shards: rules.md 18 acknowledges only whole ones.
    #[error("an extent has missing shards")]
    Missing = 5,
    /// A data id twice in one command, or one that begins after the command.
    #[error("a data id is used twice or comes from the future")]
    DataId = 6,
    /// Too much user metadata or too long a content type.
    #[error("user metadata or content type is too long")]
    Metadata = 7,
    /// A node without a drive, or two with one ordinal.
    #[error("the drives of the node are not well formed")]
    Drives = 8,
    /// Object groups that are not 1 to the cluster's number, or without a voter.
    #[error("the groups are not well formed")]
    Groups = 9,
    /// A pool table without rows, or with a row that cannot be at that place.
    #[error("the pool table is not well formed")]
    Pool = 10,
    /// A mutation of a user without a request id (rules.md 14).
    #[error("the mutation has no request id")]
    NoRequestId = 11,
    /// A deadline so far ahead that its request record would stay for ever.
    #[error("the deadline is too far ahead")]
    Deadline = 12,
    /// A new extent with a shard that was written nowhere, or a drive that holds two of its shards
    /// (rules.md 18).
    #[error("the shards of an extent were not written to distinct places")]
    Places = 13,
    /// A shard that the extent does not have.
    #[error("the extent has no such shard")]
    Shard = 14,
    /// An index that is not from before the command.
    #[error("an index comes from the future")]
    Index = 15,
    /// A re-encoding that would survive fewer losses than the data that it replaces, and fewer than
    /// the bucket asks for.
    #[error("the new extents would survive fewer losses than the old one")]
    Protection = 40,
    /// A part whose number is not 1 to 10,000, or parts that the upload does not have.
    #[error("the parts are not those of the upload, or not numbered 1 to 10,000")]
    Part = 41,
    /// Tags that no object can have.
    #[error("the tags are too many, too long, or not in order")]
    Tags = 182,
}

impl Malformed {
    const ALL: [Self; 18] = [
        Self::Key,
        Self::Size,
        Self::Inline,
        Self::Extents,
        Self::Missing,
        Self::DataId,
        Self::Metadata,
        Self::Drives,
        Self::Groups,
        Self::Pool,
        Self::NoRequestId,
        Self::Deadline,
        Self::Places,
        Self::Shard,
        Self::Index,
        Self::Protection,
        Self::Part,
        Self::Tags,
    ];

    pub(super) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|what| *what as u8 == byte)
            .ok_or_else(|| unknown("malformation", byte))
    }
}
