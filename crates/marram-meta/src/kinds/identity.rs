//! `Identities`: fingerprint of a public key -> what the cluster knows of its certificates.
//!
//! A peer is its key (rules.md 5); certificates come and go. Until when the key may act stands here,
//! so that a renewal counts on connections that were opened with the certificate before it.

use marram_types::codec::{DecodeError, Reader, Writer};

use super::node::get_fingerprint;
use crate::refusal::unknown;
use crate::stored::{Stored, only_version};

const VERSION: u8 = 1;

/// What the holder of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum IdentityRole {
    /// A storage node: the node table says which.
    Node = 1,
    /// A gateway without drives.
    Gateway = 2,
}

/// What the cluster knows of the certificates of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityRecord {
    /// SHA-256 of the public key, the table's key.
    pub key: [u8; 32],
    /// What its holder is.
    pub role: IdentityRole,
    /// The name in its certificates; of a node the node table's name counts.
    pub name: String,
    /// When the newest certificate that was issued to it expires, in seconds since 1970.
    pub until_s: u64,
    /// The index that recorded that certificate.
    pub granted: u64,
    /// A certificate that was recorded before this index is to be renewed now.
    pub wanted: u64,
    /// Fingerprints of the CAs that it said it trusts, durably.
    pub trusts: Vec<[u8; 32]>,
    /// The CA of the certificate that it said it has, durably.
    pub issuer: Option<[u8; 32]>,
    /// It was removed: its key proves nothing any more. Of gateways only; nodes are tombstoned.
    pub removed: bool,
}

impl Stored for IdentityRecord {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .raw(&self.key)
            .u8(self.role as u8)
            .str(&self.name)
            .varint(self.until_s)
            .varint(self.granted)
            .varint(self.wanted);
        put_fingerprints(out, &self.trusts);
        put_fingerprint_option(out, self.issuer.as_ref());
        out.bool(self.removed);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "identity record version", VERSION)?;
        Ok(Self {
            key: get_fingerprint(from)?,
            role: match from.u8()? {
                1 => IdentityRole::Node,
                2 => IdentityRole::Gateway,
                other => return Err(unknown("identity role", other)),
            },
            name: from.str()?.to_owned(),
            until_s: from.varint()?,
            granted: from.varint()?,
            wanted: from.varint()?,
            trusts: from.list(get_fingerprint)?,
            issuer: from.option(get_fingerprint)?,
            removed: from.bool()?,
        })
    }
}

pub(crate) fn put_fingerprints(out: &mut Writer, fingerprints: &[[u8; 32]]) {
    out.list(fingerprints, |out, fingerprint| {
        out.raw(fingerprint);
    });
}

pub(crate) fn put_fingerprint_option(out: &mut Writer, fingerprint: Option<&[u8; 32]>) {
    out.option(fingerprint, |out, fingerprint| {
        out.raw(fingerprint);
    });
}
