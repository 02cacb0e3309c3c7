//! `Authorities`: committed index -> record of a CA that the cluster trusts (rules.md 3).

use marram_types::codec::{DecodeError, Reader, Writer};

use super::node::get_fingerprint;
use crate::stored::{Stored, only_version};

const VERSION: u8 = 1;

/// A CA of the cluster. There is one, and a second one only while it is being replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityRecord {
    /// The root index that added it, the table's key.
    pub authority: u64,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    /// Its certificate in DER.
    pub certificate: Vec<u8>,
    /// Its private key, wrapped by the cluster's key-encryption key before it comes here.
    pub wrapped_key: Vec<u8>,
    /// Certificates are issued from it. True of exactly one.
    pub issues: bool,
}

/// Logs must not hold even a wrapped key.
impl std::fmt::Debug for AuthorityRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorityRecord")
            .field("authority", &self.authority)
            .field("issues", &self.issues)
            .finish_non_exhaustive()
    }
}

pub(crate) fn ser_key(authority: u64) -> [u8; 8] {
    authority.to_be_bytes()
}

impl Stored for AuthorityRecord {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .varint(self.authority)
            .raw(&self.fingerprint)
            .bytes(&self.certificate)
            .bytes(&self.wrapped_key)
            .bool(self.issues);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "authority record version", VERSION)?;
        Ok(Self {
            authority: from.varint()?,
            fingerprint: get_fingerprint(from)?,
            certificate: from.bytes()?.to_vec(),
            wrapped_key: from.bytes()?.to_vec(),
            issues: from.bool()?,
        })
    }
}
