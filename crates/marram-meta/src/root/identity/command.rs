//! What the root group can be told about who belongs to the cluster. Tags 21 to 29.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, NodeId};

use crate::kinds::identity::{put_fingerprint_option, put_fingerprints};
use crate::kinds::node::get_fingerprint;
use crate::kinds::token::{TokenRole, get_text, put_text};
use crate::refusal::unknown;
use crate::root::command::NodeJoin;
use crate::stored::{Stored, get_drives, put_drives};

/// A token that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Its id, drawn at random.
    pub token: u64,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// What it admits.
    pub role: TokenRole,
    /// The name that whoever joins gets.
    pub name: Option<String>,
    /// The zone of the node that joins.
    pub zone: Option<String>,
    /// How long it is good for, in milliseconds.
    pub ttl_ms: u64,
}

/// Who brings a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Newcomer {
    /// A storage node. An empty name is filled in, an empty zone too.
    Storage(NodeJoin),
    /// A gateway without drives.
    Gateway {
        /// SHA-256 of its public key.
        key: [u8; 32],
        /// Its name; empty to take the token's, or one made up.
        name: String,
    },
    /// A storage node that was a member before the cluster began anew from a state that does not know it:
    /// it keeps its ids, which name its shards.
    Returning {
        /// As of any other.
        join: NodeJoin,
        /// The node that it is.
        node: NodeId,
        /// Its drives, in the order of the description.
        drives: Vec<DriveId>,
    },
}

impl Newcomer {
    /// SHA-256 of its public key.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        match self {
            Self::Storage(join) | Self::Returning { join, .. } => join.public_key,
            Self::Gateway { key, .. } => *key,
        }
    }
}

/// A command about who belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityCommand {
    /// Makes a join token. The same token again changes nothing.
    CreateToken(NewToken),
    /// Takes a token back. It admits nobody any more; whom it admitted stays.
    RevokeToken {
        /// Its id.
        token: u64,
    },
    /// Uses a token: checks it and admits who brings it, in one entry. The same key with the same
    /// token is admitted again, because an answer may have been lost.
    Redeem {
        /// The token's id.
        token: u64,
        /// SHA-256 of the secret that was brought.
        secret_hash: [u8; 32],
        /// Who.
        newcomer: Newcomer,
        /// When the certificate expires that is issued if this is granted, in seconds since 1970.
        until_s: u64,
    },
    /// Adds a CA that is trusted from now on: the first one, which issues, or one that is to replace
    /// the present one and issues nothing yet.
    AddAuthority {
        /// SHA-256 of the certificate.
        fingerprint: [u8; 32],
        /// The certificate in DER.
        certificate: Vec<u8>,
        /// Its key, wrapped.
        wrapped_key: Vec<u8>,
        /// The CA that it is to replace; none: it is the first.
        replaces: Option<[u8; 32]>,
    },
    /// Issues certificates from this CA from now on. Refused until every living member trusts it.
    IssueFrom {
        /// Its fingerprint.
        fingerprint: [u8; 32],
    },
    /// Trusts this CA no longer. Refused until every living member has a certificate of another.
    DropAuthority {
        /// Its fingerprint.
        fingerprint: [u8; 32],
    },
    /// Records what a member has durably, and a certificate that was issued to it.
    Report {
        /// SHA-256 of its public key.
        key: [u8; 32],
        /// When the certificate that was just issued to it expires; none: none was.
        until_s: Option<u64>,
        /// The CAs that it trusts.
        trusts: Vec<[u8; 32]>,
        /// The CA of the certificate that it has.
        issuer: Option<[u8; 32]>,
    },
    /// Has members renew their certificates now.
    RenewNow {
        /// Whose; none: everybody's.
        key: Option<[u8; 32]>,
    },
    /// Removes a gateway for ever: its key proves nothing any more.
    RemoveGateway {
        /// Its name.
        name: String,
    },
}

impl Stored for NewToken {
    fn encode(&self, out: &mut Writer) {
        out.u64_be(self.token)
            .raw(&self.secret_hash)
            .u8(self.role as u8);
        put_text(out, self.name.as_ref());
        put_text(out, self.zone.as_ref());
        out.varint(self.ttl_ms);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            token: from.u64_be()?,
            secret_hash: get_fingerprint(from)?,
            role: TokenRole::from_byte(from.u8()?)?,
            name: get_text(from)?,
            zone: get_text(from)?,
            ttl_ms: from.varint()?,
        })
    }
}

impl Stored for Newcomer {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Storage(join) => Stored::encode(join, out.u8(1)),
            Self::Gateway { key, name } => {
                out.u8(2).raw(key).str(name);
            }
            Self::Returning { join, node, drives } => {
                Stored::encode(join, out.u8(3));
                put_drives(out.varint(node.0), drives);
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Storage(Stored::decode(from)?),
            2 => Self::Gateway {
                key: get_fingerprint(from)?,
                name: from.str()?.to_owned(),
            },
            3 => Self::Returning {
                join: Stored::decode(from)?,
                node: NodeId(from.varint()?),
                drives: get_drives(from)?,
            },
            other => return Err(unknown("newcomer", other)),
        })
    }
}

impl IdentityCommand {
    /// Appends tag and fields.
    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::CreateToken(token) => token.encode(out.u8(21)),
            Self::RevokeToken { token } => {
                out.u8(22).u64_be(*token);
            }
            Self::Redeem {
                token,
                secret_hash,
                newcomer,
                until_s,
            } => {
                out.u8(23).u64_be(*token).raw(secret_hash);
                newcomer.encode(out);
                out.varint(*until_s);
            }
            Self::AddAuthority {
                fingerprint,
                certificate,
                wrapped_key,
                replaces,
            } => {
                out.u8(24).raw(fingerprint);
                out.bytes(certificate).bytes(wrapped_key);
                put_fingerprint_option(out, replaces.as_ref());
            }
            Self::IssueFrom { fingerprint } => {
                out.u8(25).raw(fingerprint);
            }
            Self::DropAuthority { fingerprint } => {
                out.u8(26).raw(fingerprint);
            }
            Self::Report {
                key,
                until_s,
                trusts,
                issuer,
            } => {
                out.u8(27).raw(key).option(until_s.as_ref(), |out, until| {
                    out.varint(*until);
                });
                put_fingerprints(out, trusts);
                put_fingerprint_option(out, issuer.as_ref());
            }
            Self::RenewNow { key } => put_fingerprint_option(out.u8(28), key.as_ref()),
            Self::RemoveGateway { name } => {
                out.u8(29).str(name);
            }
        }
    }

    /// Reads the fields behind a tag.
    pub(crate) fn decode(tag: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match tag {
            21 => Self::CreateToken(NewToken::decode(from)?),
            22 => Self::RevokeToken {
                token: from.u64_be()?,
            },
            23 => Self::Redeem {
                token: from.u64_be()?,
                secret_hash: get_fingerprint(from)?,
                newcomer: Newcomer::decode(from)?,
                until_s: from.varint()?,
            },
            24 => Self::AddAuthority {
                fingerprint: get_fingerprint(from)?,
                certificate: from.bytes()?.to_vec(),
                wrapped_key: from.bytes()?.to_vec(),
                replaces: from.option(get_fingerprint)?,
            },
            25 => Self::IssueFrom {
                fingerprint: get_fingerprint(from)?,
            },
            26 => Self::DropAuthority {
                fingerprint: get_fingerprint(from)?,
            },
            27 => Self::Report {
                key: get_fingerprint(from)?,
                until_s: from.option(Reader::varint)?,
                trusts: from.list(get_fingerprint)?,
                issuer: from.option(get_fingerprint)?,
            },
            28 => Self::RenewNow {
                key: from.option(get_fingerprint)?,
            },
            29 => Self::RemoveGateway {
                name: from.str()?.to_owned(),
            },
            other => return Err(unknown("root command", other)),
        })
    }
}
