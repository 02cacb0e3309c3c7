//! `Tokens`: token id -> record of a join token (rules.md 4).

use std::ops::RangeInclusive;

use marram_types::NodeId;
use marram_types::codec::{DecodeError, Reader, Writer};

use super::node::get_fingerprint;
use crate::refusal::unknown;
use crate::stored::{Stored, only_version};

const VERSION: u8 = 1;

/// Tokens that the cluster keeps at once.
pub const TOKENS_MAX: usize = 1024;
/// How long a token may be good for, in milliseconds: up to 30 days.
pub const TOKEN_TTL_MS: RangeInclusive<u64> = 1_000..=30 * 24 * 3600 * 1000;
/// Longest name or zone that a token is bound to.
pub const TOKEN_TEXT_BYTES_MAX: usize = 63;
/// How long an expired token is remembered, in milliseconds, so that whoever brings it is told so.
pub(crate) const TOKEN_KEPT_MS: u64 = 24 * 3600 * 1000;

/// What a token admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenRole {
    /// One storage node.
    Storage = 1,
    /// Gateways without drives, any number of them until it expires.
    Gateway = 2,
}

impl TokenRole {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Gateway => "gateway",
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            1 => Self::Storage,
            2 => Self::Gateway,
            other => return Err(unknown("token role", other)),
        })
    }
}

/// Who has used a token of a storage node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// SHA-256 of the public key that it admitted.
    pub key: [u8; 32],
    /// The node.
    pub node: NodeId,
    /// Leader time.
    pub at_ms: u64,
}

/// A join token. Only the hash of its secret is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its id, drawn at random, the table's key.
    pub token: u64,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// What it admits.
    pub role: TokenRole,
    /// The name that whoever joins gets, where the token says so.
    pub name: Option<String>,
    /// The zone of the node that joins, where the token says so.
    pub zone: Option<String>,
    /// Leader time when it was made.
    pub created_ms: u64,
    /// Leader time from which on it admits nobody.
    pub expires_ms: u64,
    /// Whom it admitted; of a storage node's token only.
    pub used: Option<TokenUse>,
    /// An operator took it back.
    pub revoked: bool,
}

pub(crate) fn ser_key(token: u64) -> [u8; 8] {
    token.to_be_bytes()
}

pub(crate) fn put_text(out: &mut Writer, text: Option<&String>) {
    out.option(text, |out, text| {
        out.str(text);
    });
}

pub(crate) fn get_text(from: &mut Reader<'_>) -> Result<Option<String>, DecodeError> {
    from.option(|from| from.str().map(str::to_owned))
}

impl Stored for TokenRecord {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .u64_be(self.token)
            .raw(&self.secret_hash)
            .u8(self.role as u8);
        put_text(out, self.name.as_ref());
        put_text(out, self.zone.as_ref());
        out.varint(self.created_ms)
            .varint(self.expires_ms)
            .option(self.used.as_ref(), |out, used| {
                out.raw(&used.key).varint(used.node.0).varint(used.at_ms);
            })
            .bool(self.revoked);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "token record version", VERSION)?;
        Ok(Self {
            token: from.u64_be()?,
            secret_hash: get_fingerprint(from)?,
            role: TokenRole::from_byte(from.u8()?)?,
            name: get_text(from)?,
            zone: get_text(from)?,
            created_ms: from.varint()?,
            expires_ms: from.varint()?,
            used: from.option(|from| {
                Ok(TokenUse {
                    key: get_fingerprint(from)?,
                    node: NodeId(from.varint()?),
                    at_ms: from.varint()?,
                })
            })?,
            revoked: from.bool()?,
        })
    }
}
