//! Page tokens: opaque to clients, authenticated, and bound to the question that they continue.
//!
//! A token holds where the next page begins. Its tag covers the question too (method, bucket,
//! prefix, delimiter), so that a token cannot be forged or carried to another question. Any server
//! of the cluster can continue any page: the key comes from the key-encryption key.

use marram_types::codec::Writer;
use ring::hmac;

use crate::hex;
use crate::secret::Kek;

/// Version byte of a token: version, tag, place.
const TOKEN_VERSION: u8 = 1;
/// Bytes of the tag; 128 bits cannot be guessed.
const TAG_BYTES: usize = 16;

/// A token that is not one of ours, or belongs to another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the page token is not valid here: pass next_page_token of the page before, unchanged")]
pub(crate) struct TokenError;

/// The question that a token continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question<'a> {
    /// The method, for example `ListObjects`.
    pub(crate) method: &'static str,
    /// The bucket's id; 0 where buckets are listed.
    pub(crate) bucket: u64,
    /// The prefix asked for.
    pub(crate) prefix: &'a str,
    /// The delimiter asked for.
    pub(crate) delimiter: &'a str,
}

fn tag(kek: &Kek, question: &Question<'_>, place: &[u8]) -> [u8; TAG_BYTES] {
    let mut covered = Writer::with_capacity(place.len() + 64);
    covered
        .str(question.method)
        .u64_be(question.bucket)
        .str(question.prefix)
        .str(question.delimiter)
        .bytes(place);
    let signed = hmac::sign(kek.tokens(), covered.as_slice());
    let (head, _) = signed
        .as_ref()
        .split_first_chunk()
        .expect("SHA-256 has 32 bytes");
    *head
}

/// The token for going on at `place`.
pub(crate) fn seal(kek: &Kek, question: &Question<'_>, place: &[u8]) -> String {
    let mut out = Writer::with_capacity(1 + TAG_BYTES + place.len());
    out.u8(TOKEN_VERSION)
        .raw(&tag(kek, question, place))
        .raw(place);
    hex::encode(out.as_slice())
}

/// The place in a token.
///
/// # Errors
/// When the token was not made by [`seal`] for this very question.
pub(crate) fn open(kek: &Kek, question: &Question<'_>, token: &str) -> Result<Vec<u8>, TokenError> {
    let bytes = hex::decode(token).ok_or(TokenError)?;
    let rest = bytes.strip_prefix(&[TOKEN_VERSION]).ok_or(TokenError)?;
    let (found, place) = rest.split_first_chunk::<TAG_BYTES>().ok_or(TokenError)?;
    let wanted = tag(kek, question, place);
    // Compared without an early end: the time must not tell how many bytes were right.
    let difference = found
        .iter()
        .zip(&wanted)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    if std::hint::black_box(difference) == 0 {
        Ok(place.to_vec())
    } else {
        Err(TokenError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question(prefix: &str) -> Question<'_> {
        Question {
            method: "ListObjects",
            bucket: 7,
            prefix,
            delimiter: "/",
        }
    }

    proptest! {
        #[test]
        fn round_trip(place in prop::collection::vec(any::<u8>(), 0..1100)) {
            let kek = Kek::from_bytes(&[1; 32]);
            let token = seal(&kek, &question("p"), &place);
            prop_assert_eq!(open(&kek, &question("p"), &token), Ok(place));
            prop_assert_eq!(open(&kek, &question("q"), &token), Err(TokenError));
            let other = Kek::from_bytes(&[2; 32]);
            prop_assert_eq!(open(&other, &question("p"), &token), Err(TokenError));
        }

        #[test]
        fn any_changed_byte_is_noticed(at in 0_usize..25, flip in 1_u8..=255) {
            let kek = Kek::from_bytes(&[1; 32]);
            let mut bytes = hex::decode(&seal(&kek, &question("p"), b"placement")).unwrap();
            bytes[at] ^= flip;
            prop_assert_eq!(open(&kek, &question("p"), &hex::encode(&bytes)), Err(TokenError));
        }
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let kek = Kek::from_bytes(&[1; 32]);
        for bad in ["", "01", "zz", &"0".repeat(40)] {
            assert_eq!(open(&kek, &question("p"), bad), Err(TokenError), "{bad}");
        }
    }
}
