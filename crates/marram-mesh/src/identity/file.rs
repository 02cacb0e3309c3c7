//! Where a process keeps who it is: one PEM file, readable by its owner only, with its private key,
//! its certificate and the CAs that it trusts, in this order. It is replaced as a whole, so that the
//! three always fit together.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use pem::Pem;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Identity, IdentityError, NodeKey};

/// What a process keeps of who it is.
#[derive(Debug)]
pub struct Kept {
    /// Its key, from before its first certificate on.
    pub key: NodeKey,
    /// Its certificate in DER, once it has one.
    pub certificate: Option<Vec<u8>>,
    /// The CAs that it trusts, in DER.
    pub authorities: Vec<Vec<u8>>,
}

impl Kept {
    /// A fresh key, and nothing yet to say whose it is.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn fresh() -> Result<Self, IdentityError> {
        Ok(Self {
            key: NodeKey::generate()?,
            certificate: None,
            authorities: Vec::new(),
        })
    }

    /// Reads the file; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or does not hold what it should.
    pub fn load(path: &Path) -> Result<Option<Self>, IdentityError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = path.to_owned();
                return Err(IdentityError::Read { path, source });
            }
        };
        let bad = |what| move |source| IdentityError::Pem { what, source };
        PrivateKeyDer::from_pem_slice(&text).map_err(bad("the key"))?;
        let mut certificates = CertificateDer::pem_slice_iter(&text)
            .map(|read| read.map(|der| der.to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(bad("the certificate"))?
            .into_iter();
        let text = String::from_utf8_lossy(&text);
        let key = text
            .split_inclusive("-----END PRIVATE KEY-----")
            .next()
            .unwrap_or_default();
        Ok(Some(Self {
            key: NodeKey::from_pem(key)?,
            certificate: certificates.next(),
            authorities: certificates.collect(),
        }))
    }

    /// Writes the file, durably, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let mut text = self.key.to_pem();
        for der in self.certificate.iter().chain(&self.authorities) {
            text.push_str(&pem::encode(&Pem::new("CERTIFICATE", der.clone())));
        }
        replace(path, text.as_bytes()).map_err(|source| IdentityError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// The identity, once there is a certificate.
    ///
    /// # Errors
    /// When key, certificate and CAs do not fit together.
    pub fn identity(&self) -> Result<Option<Identity>, IdentityError> {
        let certificate = self.certificate.as_deref();
        certificate
            .map(|certificate| Identity::new(&self.key, certificate, &self.authorities))
            .transpose()
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    match path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => std::fs::File::open(".")?.sync_all(),
    }
}
