//! What the root group can be asked: its view, and what is too much to be in it.

use marram_types::codec::{DecodeError, Reader, Writer};

use super::identity::all;
use crate::kinds::token::TokenRecord;
use crate::kv::{KvRead, Table};
use crate::query::run::QueryError;
use crate::refusal::unknown;
use crate::stored::Stored;
use crate::view::view;

/// A question to the root group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootQuery {
    /// The view, in the encoding of [`ClusterView`](crate::ClusterView). An empty query.
    View,
    /// The join tokens, which [`RootQuery::read_tokens`] reads.
    Tokens,
}

impl RootQuery {
    /// The form that crosses the mesh.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::View => Vec::new(),
            Self::Tokens => vec![1],
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes {
            [] => Ok(Self::View),
            [1] => Ok(Self::Tokens),
            [other, ..] => Err(unknown("root query", *other)),
        }
    }

    /// Reads the answer to [`RootQuery::Tokens`].
    ///
    /// # Errors
    /// When the bytes are damaged or of a newer release.
    pub fn read_tokens(bytes: &[u8]) -> Result<Vec<TokenRecord>, DecodeError> {
        let mut from = Reader::new(bytes);
        let tokens = from.list(TokenRecord::decode)?;
        from.finish()?;
        Ok(tokens)
    }
}

/// Answers an encoded [`RootQuery`].
///
/// # Errors
/// A question that does not decode, or a state that cannot be read.
pub fn answer_root(kv: &dyn KvRead, query: &[u8]) -> Result<Vec<u8>, QueryError> {
    Ok(match RootQuery::decode(query)? {
        RootQuery::View => view(kv)?.encode(),
        RootQuery::Tokens => {
            let tokens: Vec<TokenRecord> = all(kv, Table::Tokens)?;
            let mut out = Writer::with_capacity(128 * tokens.len());
            out.list(&tokens, |out, token| token.encode(out));
            out.finish()
        }
    })
}
