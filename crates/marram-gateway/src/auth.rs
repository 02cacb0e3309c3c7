//! Who calls: an HS256 token that the client signs itself with its secret key.
//!
//! `authorization: Bearer <token>`, with the access key's id as `kid` and `sub`, `aud` = "marram",
//! `iat`, and `exp` at most five minutes after it. The secret never travels. Only HS256 is
//! accepted, whatever the token's header asks for.

mod access;
mod first;
mod guarded;
mod layer;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use marram_meta::AccessKeyRecord;
use serde::Deserialize;

use crate::secret::Kek;
use crate::status::{Fault, Reason};

#[cfg(test)]
pub(crate) use access::listed;
pub(crate) use first::FIRST_MESSAGE_WITHIN;
pub(crate) use guarded::Guard;
pub(crate) use layer::{AuthLayer, HEALTH_PREFIX};

/// The audience that a token must name.
const AUDIENCE: &str = "marram";
/// How far the clocks of client and server may differ, in seconds.
const CLOCK_SKEW_S: u64 = 60;
/// Longest life of a token, in seconds: a captured one is soon worthless.
pub(crate) const LIFETIME_S_MAX: u64 = 5 * 60;
/// Longest token accepted; ours have about 250 bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 2048;

/// Who was authenticated; an extension of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The access key's id.
    pub(crate) access_key: String,
    /// Which of its grants were looked at: what is derived from them is void when they change.
    pub(crate) revision: u64,
}

/// An access key as the cluster's view holds it.
#[derive(Debug, Clone)]
pub(crate) struct StoredKey {
    /// The wrapped secrets that hold, the newest first.
    pub(crate) wrapped: Vec<Vec<u8>>,
    /// Whether it can be used now.
    pub(crate) live: bool,
    /// See [`Caller::revision`].
    pub(crate) revision: u64,
}

impl StoredKey {
    pub(crate) fn of(key: &AccessKeyRecord, now_ms: u64) -> Self {
        let old = key.old_secrets.iter().filter(|old| now_ms < old.until_ms);
        let old = old.map(|old| old.wrapped.clone());
        Self {
            wrapped: std::iter::once(key.wrapped_secret.clone())
                .chain(old)
                .collect(),
            live: key.is_live(now_ms),
            revision: key.revision,
        }
    }
}

/// Why a caller was not authenticated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    /// No token came with the request.
    #[error(
        "this method needs a token: send metadata `authorization: Bearer <token>` signed with your secret key"
    )]
    Missing,
    /// The token is not one, or its signature does not fit.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// The token's time is over.
    #[error(
        "the token expired {ago_s} s ago by this server's clock: sign a new one, and compare the clocks"
    )]
    Expired {
        /// How long ago.
        ago_s: u64,
    },
    /// The token's time has not yet come.
    #[error(
        "the token was signed {ahead_s} s ahead of this server's clock: compare the clocks, and sign a new one"
    )]
    NotYet {
        /// How far in the future.
        ahead_s: u64,
    },
    /// This server has no view of the cluster, or none that is recent enough to judge keys by
    /// (rules.md 6). Not the caller's fault.
    #[error("this server does not know the cluster's access keys at the moment; try again")]
    NoView,
    /// No such access key, or it is switched off.
    #[error("the access key {0:?} is not known, is switched off or has expired")]
    KeyUnknown(String),
}

impl Fault for AuthError {
    fn reason(&self) -> Reason {
        match self {
            Self::Missing => Reason::TokenMissing,
            Self::Invalid(_) => Reason::TokenInvalid,
            Self::Expired { .. } | Self::NotYet { .. } => Reason::TokenExpired,
            Self::NoView => Reason::MetadataUnavailable,
            Self::KeyUnknown(_) => Reason::KeyUnknown,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    iat: u64,
}

/// The token of an `authorization` header.
fn bearer(header: Option<&str>) -> Result<&str, AuthError> {
    let header = header.ok_or(AuthError::Missing)?;
    let (scheme, token) = header
        .split_once(' ')
        .ok_or(AuthError::Invalid("the header is not `Bearer <token>`"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Invalid("the header is not `Bearer <token>`"));
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err(AuthError::Invalid("it is too long"));
    }
    Ok(token)
}

/// What the signature and the required claims must be. Times are judged by [`check_times`], with
/// the clock that the gateway was given.
fn rules() -> Validation {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "aud", "sub"]);
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules
}

fn check_times(claims: &Claims, now_ms: u64) -> Result<(), AuthError> {
    let now = now_ms / 1000;
    let (ahead_s, ago_s) = (
        claims.iat.saturating_sub(now),
        now.saturating_sub(claims.exp),
    );
    if ahead_s > CLOCK_SKEW_S {
        return Err(AuthError::NotYet { ahead_s });
    }
    if ago_s > CLOCK_SKEW_S {
        return Err(AuthError::Expired { ago_s });
    }
    match claims.exp.checked_sub(claims.iat) {
        Some(life) if life <= LIFETIME_S_MAX => Ok(()),
        _ => Err(AuthError::Invalid("it may live for five minutes at most")),
    }
}

/// Checks an `authorization` header.
///
/// # Errors
/// When there is no valid token of a known, enabled access key.
pub(crate) fn authenticate(
    header: Option<&str>,
    kek: &Kek,
    now_ms: u64,
    key_of: impl FnOnce(&str) -> Option<StoredKey>,
) -> Result<Caller, AuthError> {
    let token = bearer(header)?;
    let head = jsonwebtoken::decode_header(token)
        .map_err(|_| AuthError::Invalid("it is not a JSON web token"))?;
    if head.alg != Algorithm::HS256 {
        return Err(AuthError::Invalid("its algorithm must be HS256"));
    }
    let id = head
        .kid
        .ok_or(AuthError::Invalid("its header names no access key (kid)"))?;
    let Some(key) = key_of(&id).filter(|key| key.live) else {
        return Err(AuthError::KeyUnknown(id));
    };
    let claims = claims_of(token, &id, &key, kek)?;
    if claims.sub != id {
        return Err(AuthError::Invalid("kid and sub name different access keys"));
    }
    check_times(&claims, now_ms)?;
    Ok(Caller {
        access_key: id,
        revision: key.revision,
    })
}

/// The claims, signed with one of the secrets that hold.
fn claims_of(token: &str, id: &str, key: &StoredKey, kek: &Kek) -> Result<Claims, AuthError> {
    let mut refused = AuthError::KeyUnknown(id.to_owned());
    for wrapped in &key.wrapped {
        let secret = kek.unwrap(id, wrapped).map_err(|error| {
            tracing::error!(access_key = %id, %error, "a stored secret key does not open");
            AuthError::KeyUnknown(id.to_owned())
        })?;
        let secret = DecodingKey::from_secret(secret.as_bytes());
        match jsonwebtoken::decode::<Claims>(token, &secret, &rules()) {
            Ok(token) => return Ok(token.claims),
            Err(error) => {
                refused = AuthError::Invalid(fault(error.kind()));
                if !matches!(error.kind(), ErrorKind::InvalidSignature) {
                    break;
                }
            }
        }
    }
    Err(refused)
}

fn fault(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "its signature does not fit the secret key",
        ErrorKind::InvalidAudience => "its audience (aud) must be \"marram\"",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::Json(_) => {
            "it must have the claims sub, aud, iat and exp"
        }
        _ => "it is not a JSON web token",
    }
}

#[cfg(test)]
mod tests;
