use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;

const NOW_MS: u64 = 1_800_000_000_000;
const NOW: u64 = NOW_MS / 1000;

fn kek() -> Kek {
    Kek::from_bytes(&[3; 32])
}

fn stored(id: &str) -> Option<StoredKey> {
    matches!(id, "MKA" | "MKOFF").then(|| StoredKey {
        wrapped: vec![
            kek().wrap(id, "s3cret").unwrap(),
            kek().wrap(id, "before").unwrap(),
        ],
        live: id != "MKOFF",
        revision: 3,
    })
}

fn signed(header: &Header, claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(header, claims, &key).unwrap();
    format!("Bearer {token}")
}

fn header(kid: &str) -> Header {
    Header {
        kid: Some(kid.to_owned()),
        ..Header::new(Algorithm::HS256)
    }
}

fn claims() -> Value {
    json!({"sub": "MKA", "aud": "marram", "iat": NOW, "exp": NOW + 300})
}

fn check(value: &str) -> Result<Caller, AuthError> {
    authenticate(Some(value), &kek(), NOW_MS, stored)
}

fn with(name: &str, value: Value) -> Result<Caller, AuthError> {
    let mut claims = claims();
    claims[name] = value;
    check(&signed(&header("MKA"), &claims, "s3cret"))
}

#[test]
fn a_good_token_names_its_caller() {
    let caller = check(&signed(&header("MKA"), &claims(), "s3cret")).unwrap();
    assert_eq!(caller.access_key, "MKA");
}

#[test]
fn a_replaced_secret_that_still_holds_is_good() {
    let caller = check(&signed(&header("MKA"), &claims(), "before")).unwrap();
    assert_eq!(caller.revision, 3);
}

#[test]
fn no_token_is_missing_and_another_scheme_is_invalid() {
    let none = authenticate(None, &kek(), NOW_MS, stored);
    assert_eq!(none, Err(AuthError::Missing));
    for bad in ["", "Bearer", "Basic abc", "Bearer abc", "Bearer a.b.c"] {
        assert!(matches!(check(bad), Err(AuthError::Invalid(_))), "{bad}");
    }
    let long = format!("Bearer {}", "a".repeat(3000));
    assert!(matches!(check(&long), Err(AuthError::Invalid(_))));
}

#[test]
fn the_signature_must_be_by_the_secret_and_hs256() {
    let forged = check(&signed(&header("MKA"), &claims(), "guess"));
    assert!(matches!(forged, Err(AuthError::Invalid(_))));
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let header = Header {
            alg: algorithm,
            ..header("MKA")
        };
        let other = check(&signed(&header, &claims(), "s3cret"));
        assert!(matches!(other, Err(AuthError::Invalid(_))));
    }
    // {"alg":"none","kid":"MKA"} and no signature.
    let none = "Bearer eyJhbGciOiJub25lIiwia2lkIjoiTUtBIn0.eyJzdWIiOiJNS0EifQ.";
    assert!(matches!(check(none), Err(AuthError::Invalid(_))));
}

#[test]
fn unknown_and_disabled_keys_are_refused() {
    for id in ["MKX", "MKOFF"] {
        let mut claims = claims();
        claims["sub"] = json!(id);
        let refused = check(&signed(&header(id), &claims, "s3cret"));
        assert_eq!(refused, Err(AuthError::KeyUnknown(id.to_owned())));
    }
    assert!(matches!(
        with("sub", json!("MKB")),
        Err(AuthError::Invalid(_))
    ));
}

#[test]
fn audience_and_times_are_checked() {
    assert!(matches!(
        with("aud", json!("other")),
        Err(AuthError::Invalid(_))
    ));
    for missing in ["sub", "aud", "iat", "exp"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(missing);
        let refused = check(&signed(&header("MKA"), &claims, "s3cret"));
        assert!(matches!(refused, Err(AuthError::Invalid(_))), "{missing}");
    }
    assert!(matches!(
        with("exp", json!(NOW + 301)),
        Err(AuthError::Invalid(_))
    ));
    let at = |iat: u64| {
        let mut claims = claims();
        claims["iat"] = json!(iat);
        claims["exp"] = json!(iat + 300);
        check(&signed(&header("MKA"), &claims, "s3cret"))
    };
    assert_eq!(at(NOW + 61), Err(AuthError::NotYet { ahead_s: 61 }));
    assert_eq!(at(NOW - 361), Err(AuthError::Expired { ago_s: 61 }));
    assert!(at(NOW + 60).is_ok() && at(NOW - 360).is_ok());
}
