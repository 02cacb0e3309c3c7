//! The token that says who asks: a JSON Web Token (HS256) that the client signs with its secret,
//! so that the secret itself is never sent.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use tonic::metadata::Ascii;
use tonic::metadata::MetadataValue;

use crate::config::Secret;

/// How long a token is good for: below the five minutes that servers allow.
const LIFETIME: Duration = Duration::from_secs(240);
/// After this time a fresh token is signed, so that none runs out on its way.
const FRESH: Duration = Duration::from_secs(120);

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

/// Signs tokens, and keeps one until it is no longer fresh.
pub(crate) struct Signer {
    access_key: String,
    key: EncodingKey,
    kept: Mutex<Option<(u64, MetadataValue<Ascii>)>>,
}

impl Signer {
    pub(crate) fn new(access_key: &str, secret: &Secret) -> Self {
        Self {
            access_key: access_key.to_owned(),
            key: EncodingKey::from_secret(secret.reveal().as_bytes()),
            kept: Mutex::new(None),
        }
    }

    /// The value of the `authorization` header.
    pub(crate) fn authorization(&self) -> MetadataValue<Ascii> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_secs());
        let mut kept = self
            .kept
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*kept {
            // A clock that was set back makes the token one of the future: sign anew.
            Some((signed, value)) if (*signed..signed + FRESH.as_secs()).contains(&now) => {
                value.clone()
            }
            _ => {
                let value = self.sign(now);
                *kept = Some((now, value.clone()));
                value
            }
        }
    }

    fn sign(&self, now: u64) -> MetadataValue<Ascii> {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.access_key.clone());
        let claims = Claims {
            sub: &self.access_key,
            aud: "marram",
            iat: now,
            exp: now + LIFETIME.as_secs(),
        };
        let token = jsonwebtoken::encode(&header, &claims, &self.key)
            .expect("HS256 takes any secret and the claims are plain JSON");
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .expect("a token is base64url text with dots");
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation};

    #[test]
    fn tokens_verify_with_the_secret_and_are_kept() {
        let signer = Signer::new("MKABC", &Secret::new("s3cret"));
        let first = signer.authorization();
        assert_eq!(first, signer.authorization());
        let text = first.to_str().expect("ascii");
        let token = text.strip_prefix("Bearer ").expect("a bearer token");
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&["marram"]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        let read = |secret: &[u8]| {
            jsonwebtoken::decode::<serde::de::IgnoredAny>(
                token,
                &DecodingKey::from_secret(secret),
                &validation,
            )
        };
        let good = read(b"s3cret").expect("verifies");
        assert_eq!(good.header.kid.as_deref(), Some("MKABC"));
        assert!(read(b"other").is_err());
    }
}
