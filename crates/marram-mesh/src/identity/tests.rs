use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A key with a certificate, as a process keeps them.
fn kept(authority: &Authority, role: Role, name: &str) -> Kept {
    let mut kept = Kept::fresh().unwrap();
    let info = check_request(&kept.key.request().unwrap()).unwrap();
    kept.certificate = Some(authority.sign(&info, role, name, HOUR).unwrap());
    kept.authorities = vec![authority.certificate().to_vec()];
    kept
}

#[test]
fn an_identity_is_kept_in_one_private_file_and_says_who_it_is() {
    let cluster = ClusterId(0xfeed);
    let made = make_ca(cluster).unwrap();
    let key = made.key_pem().to_owned();
    let ca = Authority::from_der(cluster, made.certificate(), key).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("identity");
    assert!(Kept::load(&file).unwrap().is_none());
    Kept::fresh().unwrap().save(&file).unwrap();
    let alone = Kept::load(&file).unwrap().unwrap();
    assert!(alone.identity().unwrap().is_none(), "a key alone is nobody");

    let kept = kept(&ca, Role::Gateway, "edge-1");
    kept.save(&file).unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let read = Kept::load(&file).unwrap().unwrap();
    assert_eq!(read.key.public_key(), kept.key.public_key());
    let identity = read.identity().unwrap().unwrap();
    let certificate = identity.certificate();
    assert_eq!(certificate.cluster, cluster);
    assert_eq!(certificate.role, Role::Gateway);
    assert_eq!(&*certificate.name, "edge-1");
    assert_eq!(certificate.public_key, kept.key.public_key());
    assert_eq!(identity.issuer(), fingerprint(ca.certificate()));
    std::fs::write(&file, "noise").unwrap();
    assert!(Kept::load(&file).is_err());
}

#[test]
fn what_does_not_fit_together_is_noticed() {
    let (ca, other) = (
        make_ca(ClusterId(1)).unwrap(),
        make_ca(ClusterId(1)).unwrap(),
    );
    let mut bad = kept(&ca, Role::Node, "a");
    bad.authorities = vec![other.certificate().to_vec()];
    assert!(matches!(bad.identity(), Err(IdentityError::NoIssuer)));
    // With both CAs trusted the right one is found.
    bad.authorities.push(ca.certificate().to_vec());
    let identity = bad.identity().unwrap().unwrap();
    assert_eq!(identity.issuer(), fingerprint(ca.certificate()));
    assert_eq!(identity.trusts().len(), 2);
    bad.key = NodeKey::generate().unwrap();
    assert!(matches!(bad.identity(), Err(IdentityError::OtherKey)));
}

#[test]
fn a_request_proves_its_key() {
    let key = NodeKey::generate().unwrap();
    let good = key.request().unwrap();
    assert_eq!(check_request(&good).unwrap(), key.public_key_info());
    let mut forged = good;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(check_request(&forged).is_err());
}

#[test]
fn two_keys_differ_and_bad_names_are_refused() {
    let ca = make_ca(ClusterId(1)).unwrap();
    let one = ca.issue(Role::Node, "a", HOUR).unwrap();
    let two = ca.issue(Role::Node, "a", HOUR).unwrap();
    assert_ne!(one.certificate.public_key, two.certificate.public_key);
    for bad in ["", "a/b", "a b", "\u{fc}"] {
        assert!(matches!(
            ca.issue(Role::Node, bad, HOUR),
            Err(CertificateError::BadName(_))
        ));
    }
}

#[test]
fn only_our_names_are_read() {
    let id = "0000000000000000000000000000002a";
    let good = format!("spiffe://{id}/node/n-1");
    assert_eq!(parse_name(&good), Some((ClusterId(42), Role::Node, "n-1")));
    for bad in [
        "spiffe://2a/node/n-1".to_owned(),
        format!("https://{id}/node/n-1"),
        format!("spiffe://{id}/operator/n-1"),
        format!("spiffe://{id}/node/"),
        format!("spiffe://{id}/node/a/b"),
        format!("spiffe://{id}/node"),
    ] {
        assert_eq!(parse_name(&bad), None, "{bad}");
    }
}

#[test]
fn a_ca_says_how_long_it_is_good() {
    let ca = make_ca(ClusterId(7)).unwrap();
    let validity = ca_validity(ca.certificate()).unwrap();
    let years = (validity.not_after - validity.not_before) / (365 * 24 * 3600);
    assert_eq!(years, 30);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap().as_secs()).unwrap();
    let made = validity.not_before + 3600;
    assert!((now - 600..=now).contains(&made), "{made} {now}");
    assert!(ca_validity(b"none").is_err());
}
