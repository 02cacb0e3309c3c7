//! `AccessKeys`: id -> record.

use marram_types::codec::{DecodeError, Reader, Writer};

use crate::stored::Stored;

const VERSION: u8 = 1;

/// An access key. Its secret is wrapped by the cluster's key-encryption key before it comes here;
/// this crate never sees it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKeyRecord {
    /// The public id, the table's key.
    pub id: String,
    /// The wrapped secret.
    pub wrapped_secret: Vec<u8>,
    /// A disabled key is refused everywhere.
    pub disabled: bool,
}

/// Logs must not hold even a wrapped secret.
impl std::fmt::Debug for AccessKeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKeyRecord")
            .field("id", &self.id)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

impl Stored for AccessKeyRecord {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .str(&self.id)
            .bytes(&self.wrapped_secret)
            .bool(self.disabled);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("access key record version", VERSION)?;
        Ok(Self {
            id: from.str()?.to_owned(),
            wrapped_secret: from.bytes()?.to_vec(),
            disabled: from.bool()?,
        })
    }
}
