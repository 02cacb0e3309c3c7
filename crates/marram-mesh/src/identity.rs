//! Who we are and who a certificate says that it is.
//!
//! The name is a URI in the certificate: `spiffe://CLUSTER/node/NAME` or
//! `spiffe://CLUSTER/gateway/NAME`, where CLUSTER is the cluster's id. The name is for people; a
//! node is known by its public key (rules.md 5).

mod authority;
mod file;
mod key;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use marram_types::ClusterId;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring;
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;

pub use authority::{Authority, Issued, check_request, make_ca};
pub use file::Kept;
pub use key::NodeKey;

/// Longest name in a certificate.
const NAME_BYTES_MAX: usize = 253;

/// What a certificate lets its holder be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// A storage node.
    Node,
    /// A gateway without drives.
    Gateway,
}

impl Role {
    fn segment(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Gateway => "gateway",
        }
    }
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The cluster that its holder belongs to.
    pub cluster: ClusterId,
    /// What its holder is.
    pub role: Role,
    /// Its holder's name.
    pub name: Arc<str>,
    /// SHA-256 of the public key (`SubjectPublicKeyInfo`).
    pub public_key: [u8; 32],
    /// From when on it is good, in seconds since 1970.
    pub not_before: i64,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
}

/// A certificate that cannot be one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is not an X.509 certificate.
    #[error("it is not a certificate that can be read")]
    Unreadable,
    /// It has no SPIFFE name, or more than one.
    #[error(
        "it has no name of the form spiffe://CLUSTER/node/NAME or spiffe://CLUSTER/gateway/NAME"
    )]
    NoName,
    /// The name given to a new certificate is not one.
    #[error("{0:?} is not a name: use 1 to 253 letters, digits, dots, hyphens and underscores")]
    BadName(String),
    /// Making it failed.
    #[error("it cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The certificate is for another key.
    #[error("the certificate is for another key than the one beside it")]
    OtherKey,
    /// None of the CAs signed the certificate.
    #[error("the certificate was signed by none of the CAs beside it")]
    NoIssuer,
    /// There is no certificate or key in the PEM text.
    #[error("{what} holds no usable PEM: {source}")]
    Pem {
        /// Which part: the CA, the certificate or the key.
        what: &'static str,
        /// What is wrong.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate is not one of ours.
    #[error("the certificate is of no use: {0}")]
    Certificate(#[from] CertificateError),
    /// Certificate, key and CA do not fit together.
    #[error("the certificate, its key and the CA do not fit together: {0}")]
    Tls(#[from] rustls::Error),
}

/// Our own certificate and key, and the CAs that we trust.
#[derive(Debug)]
pub struct Identity {
    pub(crate) certificate: PeerCertificate,
    /// Ours first, then its CA, so that whoever joins can tell the cluster by it.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Takes the key, its certificate and the CAs to trust, all in DER.
    ///
    /// # Errors
    /// When they do not fit together, or the certificate has no name of ours.
    pub fn new(
        key: &NodeKey,
        certificate: &[u8],
        authorities: &[Vec<u8>],
    ) -> Result<Self, IdentityError> {
        let certificate = CertificateDer::from(certificate.to_vec());
        let read = read_certificate(&certificate)?;
        if read.public_key != key.public_key() {
            return Err(IdentityError::OtherKey);
        }
        let authorities: Vec<_> = authorities
            .iter()
            .map(|der| CertificateDer::from(der.clone()))
            .collect();
        let issuer = authorities
            .iter()
            .find(|authority| is_signed_by(&certificate, read.not_after, authority))
            .ok_or(IdentityError::NoIssuer)?;
        let pem = key.to_pem();
        Ok(Self {
            chain: vec![certificate, issuer.clone()],
            certificate: read,
            key: PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|source| {
                IdentityError::Pem {
                    what: "the key",
                    source,
                }
            })?,
            authorities,
        })
    }

    /// The same from PEM, with one CA.
    ///
    /// # Errors
    /// When one of them is not PEM of its kind, or as for [`Self::new`].
    pub fn from_pem(ca: &str, certificate: &str, key: &str) -> Result<Self, IdentityError> {
        let read = |what, text: &str| {
            CertificateDer::from_pem_slice(text.as_bytes())
                .map(|der| der.to_vec())
                .map_err(|source| IdentityError::Pem { what, source })
        };
        let authorities = [read("the CA", ca)?];
        let certificate = read("the certificate", certificate)?;
        Self::new(&NodeKey::from_pem(key)?, &certificate, &authorities)
    }

    /// What our certificate says about us.
    #[must_use]
    pub fn certificate(&self) -> &PeerCertificate {
        &self.certificate
    }

    /// SHA-256 of the CA that issued our certificate.
    #[must_use]
    pub fn issuer(&self) -> [u8; 32] {
        fingerprint(&self.chain[1])
    }

    /// SHA-256 of each CA that we trust.
    #[must_use]
    pub fn trusts(&self) -> Vec<[u8; 32]> {
        self.authorities
            .iter()
            .map(|der| fingerprint(der))
            .collect()
    }
}

/// SHA-256 of a certificate in DER.
#[must_use]
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// Whether a CA signed a certificate that was good at `at`, in seconds since 1970.
pub(crate) fn is_signed_by(
    certificate: &CertificateDer<'_>,
    at: i64,
    authority: &CertificateDer<'_>,
) -> bool {
    let mut roots = RootCertStore::empty();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at).unwrap_or(0)));
    let algorithms = ring::default_provider()
        .signature_verification_algorithms
        .all;
    roots.add(authority.clone()).is_ok()
        && ParsedCertificate::try_from(certificate).is_ok_and(|parsed| {
            verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], at, algorithms).is_ok()
        })
}

/// Reads what a certificate says. That it was signed by the CA is checked elsewhere.
pub(crate) fn read_certificate(
    certificate: &CertificateDer<'_>,
) -> Result<PeerCertificate, CertificateError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| CertificateError::Unreadable)?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| CertificateError::Unreadable)?
        .ok_or(CertificateError::NoName)?;
    let mut uris = names.value.general_names.iter().filter_map(|n| match n {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(CertificateError::NoName);
    };
    let (cluster, role, name) = parse_name(uri).ok_or(CertificateError::NoName)?;
    Ok(PeerCertificate {
        cluster,
        role,
        name: name.into(),
        public_key: Sha256::digest(parsed.public_key().raw).into(),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
    })
}

/// From when until when a certificate counts, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// An hour before it was made (rules.md 5).
    pub not_before: i64,
    /// Nothing that it signed is trusted from then on.
    pub not_after: i64,
}

/// What a CA's certificate, in DER, says of its own time.
///
/// # Errors
/// When it is no certificate.
pub fn ca_validity(certificate: &[u8]) -> Result<Validity, CertificateError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| CertificateError::Unreadable)?;
    Ok(Validity {
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
    })
}

fn parse_name(uri: &str) -> Option<(ClusterId, Role, &str)> {
    let (cluster, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
    let (role, name) = path.split_once('/')?;
    let role = match role {
        "node" => Role::Node,
        "gateway" => Role::Gateway,
        _ => return None,
    };
    Some((cluster.parse().ok()?, role, check_name(name).ok()?))
}

fn check_name(name: &str) -> Result<&str, CertificateError> {
    let good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if good {
        Ok(name)
    } else {
        Err(CertificateError::BadName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests;
