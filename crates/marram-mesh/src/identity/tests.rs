use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn an_issued_identity_is_written_read_and_says_who_it_is() {
    let cluster = ClusterId(0xfeed);
    let made = make_ca(cluster).unwrap();
    let ca = Authority::from_pem(
        cluster,
        made.certificate_pem().to_owned(),
        made.key_pem().to_owned(),
    )
    .unwrap();
    let issued = ca.issue(Role::Gateway, "edge-1", HOUR).unwrap();
    let dir = tempfile::tempdir().unwrap();
    issued.write(dir.path()).unwrap();
    let key = std::fs::metadata(dir.path().join("key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let read = Identity::load(dir.path()).unwrap();
    assert_eq!(read.certificate(), &issued.certificate);
    assert_eq!(read.certificate().cluster, cluster);
    assert_eq!(read.certificate().role, Role::Gateway);
    assert_eq!(&*read.certificate().name, "edge-1");
    assert!(issued.write(dir.path()).is_err(), "a key is not replaced");
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
