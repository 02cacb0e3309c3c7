//! The token that is asked of those who want metrics.

use std::fmt;

use hyper::header::HeaderValue;
use subtle::ConstantTimeEq;

/// Fewest characters of a token: one that is shorter can be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// Most characters: it has to fit into a request's head.
const TOKEN_BYTES_MAX: usize = 1024;

/// A bearer token (RFC 6750).
#[derive(Clone)]
pub struct BearerToken(Box<[u8]>);

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(not shown)")
    }
}

/// Text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token has {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} letters, digits and signs of ASCII, and no space"
)]
pub struct TokenError;

impl BearerToken {
    /// Takes what stands in a file; white space around it does not count.
    ///
    /// # Errors
    /// When it is too short or too long, or could not be sent in a header.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let fits = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len());
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError);
        }
        Ok(Self(text.as_bytes().into()))
    }

    /// Whether a request with this `Authorization` header has it. How long that takes does not tell how much of it
    /// was right, only whether its length was.
    pub(crate) fn admits(&self, header: Option<&HeaderValue>) -> bool {
        const SCHEME: &[u8] = b"bearer ";
        let Some((scheme, token)) =
            header.and_then(|value| value.as_bytes().split_at_checked(SCHEME.len()))
        else {
            return false;
        };
        scheme.eq_ignore_ascii_case(SCHEME) && bool::from(self.0.ct_eq(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_enough_and_can_be_sent() {
        assert!(BearerToken::new(" 0123456789abcdef\n").is_ok());
        assert!(BearerToken::new(&"x".repeat(TOKEN_BYTES_MAX)).is_ok());
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789 abcdef",
            "0123456789abcdef\u{e9}",
        ] {
            assert!(BearerToken::new(wrong).is_err(), "{wrong}");
        }
        assert!(BearerToken::new(&"x".repeat(TOKEN_BYTES_MAX + 1)).is_err());
        let token = BearerToken::new("0123456789abcdef").expect("one");
        assert!(!format!("{token:?}").contains("0123"));
    }
}
