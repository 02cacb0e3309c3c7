//! Why a command about tokens, CAs and certificates changed nothing.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, NodeId};

use super::unknown;
use crate::kinds::token::{TOKENS_MAX, TokenRole};
use crate::stored::Stored;

/// Names that a refusal lists.
pub(crate) const NAMED_MAX: usize = 16;

/// Why a command about who belongs to the cluster changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityRefusal {
    /// No token of this id, or another secret.
    #[error(
        "the token is not one of this cluster, or it was forgotten long after it expired: make a new one"
    )]
    TokenWrong,
    /// The token has admitted a node.
    #[error("the token was used by node {node} already: a token admits one node, make a new one")]
    TokenUsed {
        /// Which.
        node: NodeId,
    },
    /// The token's time is over.
    #[error(
        "the token expired {} s ago by the cluster's clock: make a new one, and look at the clocks in `marram admin status` if it is new", .ago_ms.div_ceil(1000)
    )]
    TokenExpired {
        /// How long ago, by the leader's clock.
        ago_ms: u64,
    },
    /// The token was taken back.
    #[error("the token was revoked: make a new one")]
    TokenRevoked,
    /// The token admits something else.
    #[error("the token is for the role {}: make one for what is to join", .role.name())]
    TokenRole {
        /// What it admits.
        role: TokenRole,
    },
    /// The token is bound to a name or zone, and another one was given.
    #[error(
        "the token is bound to the {what} {bound:?}, {given:?} was given: leave the {what} out, or make another token"
    )]
    TokenBound {
        /// `name` or `zone`.
        what: String,
        /// What the token says.
        bound: String,
        /// What was given.
        given: String,
    },
    /// The cluster keeps as many tokens as it may.
    #[error("there are {TOKENS_MAX} tokens already: wait until some have expired for a day")]
    TooManyTokens,
    /// A token of this id exists with other contents.
    #[error("a token of this id exists already")]
    TokenExists,
    /// A lifetime or text out of range.
    #[error("a token lives 1 second to 30 days, and its name and zone have 1 to 63 bytes")]
    TokenMalformed,
    /// No such token.
    #[error("there is no such token")]
    NoSuchToken,
    /// A living member has the name.
    #[error(
        "the name {name:?} belongs to node {node}, which is a member: choose another name, or fence and remove that node first"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        node: NodeId,
    },
    /// A living member has the address.
    #[error(
        "the mesh address {address} belongs to node {node}, which is a member: give another --mesh-listen or --mesh-advertise, or fence and remove that node first"
    )]
    AddressTaken {
        /// The address.
        address: String,
        /// Whose it is.
        node: NodeId,
    },
    /// The key belongs to no member.
    #[error("the key belongs to no member of the cluster")]
    NoSuchKey,
    /// No gateway of this name.
    #[error("there is no gateway {name:?}")]
    NoSuchGateway {
        /// The name.
        name: String,
    },
    /// The cluster has its first CA.
    #[error("the cluster has a CA already")]
    AuthorityExists,
    /// A second CA is trusted already.
    #[error("the CA is being replaced already: carry that on first")]
    RotationUnderWay,
    /// The cluster does not trust such a CA.
    #[error("the cluster has no such CA: it was dropped, or never added")]
    NoSuchAuthority,
    /// Certificates are issued from it.
    #[error("certificates are issued from this CA: it cannot be dropped")]
    AuthorityIssues,
    /// Members have not reported the step before.
    #[error("{} of the members {what}: {}{}", .count, .named.join(", "), if *.count > .named.len() as u64 { " and more" } else { "" })]
    NotReported {
        /// What they have not said yet.
        what: String,
        /// How many.
        count: u64,
        /// Some of them by name.
        named: Vec<String>,
    },
    /// A node that returns bears an id that no beginning anew lost.
    #[error(
        "node {node} is not one that this cluster lost when it began anew: only a node that joined \
         between the backup and the restore returns with its drives; another one joins with empty ones"
    )]
    NodeNotLost {
        /// The node that it says it was.
        node: NodeId,
    },
    /// The same of one of its drives.
    #[error(
        "drive {drive} is not one that this cluster lost when it began anew: leave its folder out"
    )]
    DriveNotLost {
        /// The drive.
        drive: DriveId,
    },
    /// The key of a node that returns is another member's.
    #[error("the key belongs to node {node}: a node returns with its own")]
    OtherNode {
        /// Whose key it is.
        node: NodeId,
    },
}

impl Stored for IdentityRefusal {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::TokenWrong => out.u8(1),
            Self::TokenUsed { node } => out.u8(2).varint(node.0),
            Self::TokenExpired { ago_ms } => out.u8(3).varint(*ago_ms),
            Self::TokenRevoked => out.u8(4),
            Self::TokenRole { role } => out.u8(5).u8(*role as u8),
            Self::TokenBound { what, bound, given } => out.u8(6).str(what).str(bound).str(given),
            Self::TooManyTokens => out.u8(7),
            Self::TokenExists => out.u8(8),
            Self::TokenMalformed => out.u8(9),
            Self::NoSuchToken => out.u8(10),
            Self::NameTaken { name, node } => out.u8(11).str(name).varint(node.0),
            Self::AddressTaken { address, node } => out.u8(12).str(address).varint(node.0),
            Self::NoSuchKey => out.u8(13),
            Self::NoSuchGateway { name } => out.u8(14).str(name),
            Self::AuthorityExists => out.u8(15),
            Self::RotationUnderWay => out.u8(16),
            Self::NoSuchAuthority => out.u8(17),
            Self::AuthorityIssues => out.u8(18),
            Self::NotReported { what, count, named } => {
                out.u8(19)
                    .str(what)
                    .varint(*count)
                    .list(named, |out, name| {
                        out.str(name);
                    })
            }
            Self::NodeNotLost { node } => out.u8(20).varint(node.0),
            Self::DriveNotLost { drive } => out.u8(21).varint(drive.0),
            Self::OtherNode { node } => out.u8(22).varint(node.0),
        };
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let text = |from: &mut Reader<'_>| from.str().map(str::to_owned);
        let node = |from: &mut Reader<'_>| from.varint().map(NodeId);
        Ok(match from.u8()? {
            1 => Self::TokenWrong,
            2 => Self::TokenUsed { node: node(from)? },
            3 => Self::TokenExpired {
                ago_ms: from.varint()?,
            },
            4 => Self::TokenRevoked,
            5 => Self::TokenRole {
                role: TokenRole::from_byte(from.u8()?)?,
            },
            6 => Self::TokenBound {
                what: text(from)?,
                bound: text(from)?,
                given: text(from)?,
            },
            7 => Self::TooManyTokens,
            8 => Self::TokenExists,
            9 => Self::TokenMalformed,
            10 => Self::NoSuchToken,
            11 => Self::NameTaken {
                name: text(from)?,
                node: node(from)?,
            },
            12 => Self::AddressTaken {
                address: text(from)?,
                node: node(from)?,
            },
            13 => Self::NoSuchKey,
            14 => Self::NoSuchGateway { name: text(from)? },
            15 => Self::AuthorityExists,
            16 => Self::RotationUnderWay,
            17 => Self::NoSuchAuthority,
            18 => Self::AuthorityIssues,
            19 => Self::NotReported {
                what: text(from)?,
                count: from.varint()?,
                named: from.list(text)?,
            },
            20 => Self::NodeNotLost { node: node(from)? },
            21 => Self::DriveNotLost {
                drive: DriveId(from.varint()?),
            },
            22 => Self::OtherNode { node: node(from)? },
            other => return Err(unknown("identity refusal", other)),
        })
    }
}
