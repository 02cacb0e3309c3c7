//! TLS of the public API: the certificate comes from two files, which are read again when they
//! change, so that a renewal needs no restart (Kubernetes and cert-manager replace the files of a
//! mounted secret in place).
//!
//! A pair that cannot be used never replaces one that can. Connections that are open go on under the
//! certificate that they began with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use marram_types::config::ApiTlsFiles;
use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Bytes of a file of certificates or keys, at most.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The protocol of gRPC, as ALPN names it.
const ALPN_H2: &[u8] = b"h2";

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ApiTlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A file is larger than any chain of certificates.
    #[error("{} has more than {FILE_BYTES_MAX} bytes: name a PEM file", .0.display())]
    TooLarge(PathBuf),
    /// No certificate in the file, or a damaged one.
    #[error("{} has no PEM certificate that can be read (-----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf),
    /// No private key in the file, or a damaged one.
    #[error("{} has no PEM private key that can be read (-----BEGIN PRIVATE KEY-----)", .0.display())]
    NoKey(PathBuf),
    /// The two do not belong together, or are of a kind that TLS does not use.
    #[error("the certificate in {} cannot be used with the key in {}: {error}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// What does not fit.
        error: rustls::Error,
    },
}

/// What the files held at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// The certificate that clients are shown now.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

/// The certificate of the API and the files that it comes from.
#[derive(Debug)]
pub struct ApiTls {
    files: ApiTlsFiles,
    shown: Arc<Shown>,
    contents: Mutex<Contents>,
    config: Arc<ServerConfig>,
}

impl ApiTls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// When they cannot be used; the message names the file and what is wrong with it.
    pub fn load(files: ApiTlsFiles) -> Result<Self, ApiTlsError> {
        let contents = read(&files)?;
        let key = usable(&files, &contents)?;
        tell("loaded", &key);
        let shown = Arc::new(Shown(RwLock::new(Arc::new(key))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        Ok(Self {
            files,
            shown,
            contents: Mutex::new(contents),
            config: Arc::new(config),
        })
    }

    /// The configuration for connections; it always shows the certificate of the moment.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Until when the certificate of the moment is good, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> Option<i64> {
        not_after(&self.shown.0.read())
    }

    /// Looks at the files again and again, until `stop`.
    pub(crate) async fn keep_current(self: Arc<Self>, stop: CancellationToken) {
        self.look_every(LOOK_EVERY, stop).await;
    }

    async fn look_every(self: Arc<Self>, pause: Duration, stop: CancellationToken) {
        let mut refused = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let tls = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || tls.look(refused)).await;
            refused = looked.unwrap_or_default();
        }
    }

    /// One look at the files. What cannot be used is complained of once, and only when it is still
    /// the same at the second look: the files may be in the middle of their replacement.
    fn look(&self, refused: Option<Refused>) -> Option<Refused> {
        let contents = read(&self.files);
        if contents
            .as_ref()
            .is_ok_and(|read| *read == *self.contents.lock())
        {
            return None;
        }
        match contents.and_then(|contents| Ok((usable(&self.files, &contents)?, contents))) {
            Ok((key, contents)) => {
                tell("replaced", &key);
                *self.shown.0.write() = Arc::new(key);
                *self.contents.lock() = contents;
                None
            }
            Err(error) => {
                let error = error.to_string();
                let before = refused.filter(|refused| refused.error == error);
                if before.as_ref().is_some_and(|refused| !refused.told) {
                    tracing::error!(
                        error,
                        "the API's certificate cannot be replaced; the old one stays"
                    );
                }
                let told = before.is_some();
                Some(Refused { error, told })
            }
        }
    }
}

/// What the last look found wrong.
#[derive(Debug)]
struct Refused {
    error: String,
    told: bool,
}

fn read(files: &ApiTlsFiles) -> Result<Contents, ApiTlsError> {
    Ok(Contents {
        certificate: read_file(&files.certificate)?,
        key: read_file(&files.key)?,
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, ApiTlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        let mut file = file.take(FILE_BYTES_MAX + 1);
        file.read_to_end(&mut bytes)
    });
    match read {
        Err(error) => Err(ApiTlsError::Read {
            path: path.to_owned(),
            error,
        }),
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => Err(ApiTlsError::TooLarge(path.to_owned())),
        Ok(_) => Ok(bytes),
    }
}

fn usable(files: &ApiTlsFiles, contents: &Contents) -> Result<CertifiedKey, ApiTlsError> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&contents.certificate).collect();
    let chain = chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| ApiTlsError::NoCertificate(files.certificate.clone()))?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|_| ApiTlsError::NoKey(files.key.clone()))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        ApiTlsError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            error,
        }
    })
}

fn not_after(key: &CertifiedKey) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(key.cert.first()?).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Says which certificate is shown from now on. One that has ended is shown all the same: whoever
/// renews it may come later than we do.
fn tell(what: &'static str, key: &CertifiedKey) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    match not_after(key).map(|end| end - now) {
        Some(left) if left > 0 => {
            tracing::info!(what, good_for_s = left, "the API's certificate");
        }
        Some(left) => {
            tracing::error!(
                what,
                ended_s_ago = -left,
                "the API's certificate has ended: clients refuse it until it is replaced"
            );
        }
        None => tracing::warn!(what, "the API's certificate does not say when it ends"),
    }
}

/// What tests of connections use too.
#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::tests::{Files, connected, pair};
}

#[cfg(test)]
mod tests;
