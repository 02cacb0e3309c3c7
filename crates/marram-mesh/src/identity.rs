//! Who we are and who a certificate says that it is.
//!
//! The name is a URI in the certificate: `spiffe://CLUSTER/node/NAME` or
//! `spiffe://CLUSTER/gateway/NAME`, where CLUSTER is the cluster's id. The name is for people; a
//! node is known by its public key (rules.md 5).

mod authority;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use marram_types::ClusterId;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;

pub use authority::{Authority, Issued, make_ca};

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

/// Our own certificate and key, and the CA that we trust.
#[derive(Debug)]
pub struct Identity {
    pub(crate) certificate: PeerCertificate,
    pub(crate) ca: CertificateDer<'static>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads `ca.pem`, `cert.pem` and `key.pem` from a folder.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold what its name says.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).map_err(|source| IdentityError::Read { path, source })
        };
        Self::from_pem(&read("ca.pem")?, &read("cert.pem")?, &read("key.pem")?)
    }

    /// Takes the CA, the certificate (with intermediates behind it, if any) and the key.
    ///
    /// # Errors
    /// When one of them is not PEM of its kind, or the certificate has no name of ours.
    pub fn from_pem(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let bad = |what| move |source| IdentityError::Pem { what, source };
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(bad("the certificate"))?;
        let first = chain.first().ok_or(CertificateError::Unreadable)?;
        Ok(Self {
            certificate: read_certificate(first)?,
            ca: CertificateDer::from_pem_slice(ca).map_err(bad("the CA"))?,
            key: PrivateKeyDer::from_pem_slice(key).map_err(bad("the key"))?,
            chain,
        })
    }

    /// What our certificate says about us.
    #[must_use]
    pub fn certificate(&self) -> &PeerCertificate {
        &self.certificate
    }
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
