//! Revisions: how far somebody has seen each group, as a token that only a server of this cluster can
//! make.

use marram_meta::EventPlace;
use marram_types::codec::{Reader, Writer};

use crate::secret::Kek;
use crate::token::{self, Question, TokenError};

/// How far each group was seen, in the order of the groups. The number of groups is fixed when a
/// cluster is founded; a token of another number is none of this cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision(pub(crate) Vec<EventPlace>);

/// What the tag of a revision covers beside it: nothing. One revision serves every bucket.
const QUESTION: Question<'_> = Question {
    method: "revision",
    bucket: 0,
    prefix: "",
    delimiter: "",
};

impl Revision {
    /// Behind these applied indexes.
    pub(crate) fn behind(applied: impl IntoIterator<Item = u64>) -> Self {
        Self(applied.into_iter().map(EventPlace::behind).collect())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(1 + 8 * self.0.len());
        out.list(&self.0, |out, place| {
            // Nearly always it is behind an entry, and one byte says so.
            let ordinal = u64::from(place.ordinal.wrapping_add(1));
            out.varint(place.index).varint(ordinal);
        });
        out.finish()
    }

    fn decode(bytes: &[u8], groups: usize) -> Option<Self> {
        let mut from = Reader::new(bytes);
        let places = from.list(|from| {
            let index = from.varint()?;
            let ordinal = from.varint()?;
            Ok((index, ordinal))
        });
        let places = places.ok().filter(|places| places.len() == groups)?;
        from.finish().ok()?;
        let place = |(index, ordinal): (u64, u64)| {
            let ordinal = u32::try_from(ordinal).ok()?.wrapping_sub(1);
            Some(EventPlace { index, ordinal })
        };
        let places: Option<Vec<_>> = places.into_iter().map(place).collect();
        places.map(Self)
    }
}

/// The token of a revision.
pub(crate) fn seal(kek: &Kek, revision: &Revision) -> String {
    token::seal(kek, &QUESTION, &revision.encode())
}

/// The revision of a token, in a cluster of so many object groups.
///
/// # Errors
/// When no server of this cluster made it.
pub(super) fn open(kek: &Kek, token: &str, groups: usize) -> Result<Revision, TokenError> {
    let bytes = token::open(kek, &QUESTION, token)?;
    Revision::decode(&bytes, groups).ok_or(TokenError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_read_as_it_was_given_out_and_by_its_cluster_only() {
        let kek = Kek::from_bytes(&[3; 32]);
        let places = [0, 1, u32::MAX].map(|ordinal| EventPlace {
            index: 1 << 41,
            ordinal,
        });
        let revision = Revision(places.to_vec());
        let token = seal(&kek, &revision);
        assert_eq!(open(&kek, &token, 3), Ok(revision));
        assert_eq!(open(&kek, &token, 4), Err(TokenError), "other groups");
        let other = Kek::from_bytes(&[4; 32]);
        assert_eq!(open(&other, &token, 3), Err(TokenError));
        let page = Question {
            method: "ListObjects",
            ..QUESTION
        };
        let forged = token::seal(&kek, &page, &Revision::behind([1, 2, 3]).encode());
        assert_eq!(open(&kek, &forged, 3), Err(TokenError));
        assert_eq!(open(&kek, "", 3), Err(TokenError));
    }
}
