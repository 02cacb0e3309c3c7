//! Certificates of the API, issued by a CA of the operator's own, one for each cluster. (The mesh has its
//! own CA, which the cluster keeps by itself.)

mod authority;

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

pub use authority::{Authority, Policy, Turn};

/// How long a CA is good for, in seconds: 10 years.
const CA_SECONDS: i64 = 10 * 365 * 86_400;
/// Certificates begin to count so many seconds before they are made, because clocks differ.
const BACKDATED: i64 = 3600;

/// A certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be made.
    #[error("a certificate of the API cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// It cannot be read.
    #[error("a certificate of the API cannot be read: {0}")]
    Read(String),
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Until when it is good, in seconds since 1970.
    pub not_after: i64,
    /// The names that it bears.
    pub names: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// Whom it is for.
    pub subject: String,
}

/// Makes a CA. `now` is in seconds since 1970.
///
/// # Errors
/// When no key can be made.
pub fn make_ca(cluster: &str, now: i64) -> Result<Pair, CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = dated(now, CA_SECONDS);
    // The time tells one CA of a cluster from the next.
    let name = format!("Marram API of {cluster}, {now}");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?.pem();
    Ok(Pair {
        certificate,
        key: key.serialize_pem(),
    })
}

/// Issues a certificate for these names, good for so many seconds, but not longer than its CA.
///
/// # Errors
/// When the CA cannot be read, or no key can be made.
pub fn issue(
    ca: &Pair,
    names: &[String],
    (now, seconds): (i64, i64),
) -> Result<Pair, CertificateError> {
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate, KeyPair::from_pem(&ca.key)?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    let ends = read(&ca.certificate)?.not_after;
    let dates = dated(now, seconds.min(ends - now));
    (params.not_before, params.not_after) = (dates.not_before, dates.not_after);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok(Pair {
        certificate,
        key: key.serialize_pem(),
    })
}

/// What a certificate says.
///
/// # Errors
/// When it is none.
pub fn read(certificate: &str) -> Result<Facts, CertificateError> {
    let bad = |error: &dyn std::fmt::Display| CertificateError::Read(error.to_string());
    let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|error| bad(&error))?;
    let parsed = pem.parse_x509().map_err(|error| bad(&error))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| bad(&error))?;
    let of_host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    let names = names.iter().flat_map(|names| &names.value.general_names);
    Ok(Facts {
        not_after: parsed.validity().not_after.timestamp(),
        names: names.filter_map(of_host).collect(),
        issuer: parsed.issuer().to_string(),
        subject: parsed.subject().to_string(),
    })
}

/// Whether a certificate can be read, and the key is its own.
#[must_use]
pub fn is_whole(pair: &Pair) -> bool {
    let Ok(key) = KeyPair::from_pem(&pair.key) else {
        return false;
    };
    let Ok((_, pem)) = parse_x509_pem(pair.certificate.as_bytes()) else {
        return false;
    };
    let parsed = pem.parse_x509();
    parsed.is_ok_and(|it| it.public_key().raw == key.subject_public_key_info())
}

/// Why a certificate is to be issued anew; none while it is good. One that ends with its CA would not last longer.
#[must_use]
pub fn is_due(
    certificate: Option<&str>,
    (ca, names): (&str, &[String]),
    (now, renew_before): (i64, i64),
) -> Option<&'static str> {
    let Some(facts) = certificate.and_then(|pem| read(pem).ok()) else {
        return Some("there is none that can be read");
    };
    let Some(ca) = read(ca).ok().filter(|ca| ca.subject == facts.issuer) else {
        return Some("it is of another CA");
    };
    if facts.names != names {
        return Some("it bears other names");
    }
    let ends_soon = facts.not_after - renew_before <= now && facts.not_after < ca.not_after;
    ends_soon.then_some("it ends soon")
}

fn dated(now: i64, seconds: i64) -> CertificateParams {
    let at = |time: i64| {
        date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(time).unwrap_or(0))
    };
    let mut params = CertificateParams::default();
    params.not_before = at(now - BACKDATED);
    params.not_after = at(now + seconds);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn what_is_issued_says_whom_it_is_for_and_how_long() {
        let ca = make_ca("store", NOW).expect("a CA");
        let names = vec![
            "*.store-peers.data.svc.cluster.local".to_owned(),
            "store".to_owned(),
        ];
        let leaf = issue(&ca, &names, (NOW, 1000)).expect("issued");
        let facts = read(&leaf.certificate).expect("readable");
        assert_eq!((facts.not_after, &facts.names), (NOW + 1000, &names));
        let ca_facts = read(&ca.certificate).expect("readable");
        assert_eq!(
            (ca_facts.subject, ca_facts.not_after),
            (facts.issuer, NOW + CA_SECONDS)
        );
    }

    #[test]
    fn a_key_is_its_certificates() {
        let (one, other) = (make_ca("store", NOW), make_ca("store", NOW));
        let (one, other) = (one.expect("a CA"), other.expect("a CA"));
        assert!(is_whole(&one));
        let mixed = Pair {
            certificate: one.certificate.clone(),
            key: other.key,
        };
        assert!(!is_whole(&mixed));
        let damaged = Pair {
            certificate: "no PEM".to_owned(),
            key: one.key,
        };
        assert!(!is_whole(&damaged));
    }

    #[test]
    fn it_is_issued_anew_when_it_has_to_be() {
        let ca = make_ca("store", NOW).expect("a CA");
        let names = vec!["store".to_owned()];
        let leaf = issue(&ca, &names, (NOW, 1000)).expect("issued").certificate;
        let due = |pem: Option<&str>, ca: &Pair, names: &[String], now| {
            is_due(pem, (&ca.certificate, names), (now, 300))
        };
        assert_eq!(due(Some(&leaf), &ca, &names, NOW + 699), None);
        assert_eq!(
            due(Some(&leaf), &ca, &names, NOW + 700),
            Some("it ends soon")
        );
        assert_eq!(
            due(Some(&leaf), &ca, &[], NOW),
            Some("it bears other names")
        );
        let other = make_ca("store", NOW + 1).expect("a CA");
        assert_eq!(
            due(Some(&leaf), &other, &names, NOW),
            Some("it is of another CA")
        );
        assert!(due(None, &ca, &names, NOW).is_some());
        assert!(due(Some("no PEM"), &ca, &names, NOW).is_some());
    }
}
