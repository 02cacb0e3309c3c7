//! The certificate of the public API.

use std::path::PathBuf;

use super::{ConfigError, check_path};

/// Where the certificate of the public API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTlsFiles {
    /// The certificates in PEM: the server's own first, then those of intermediate CAs.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

impl ApiTlsFiles {
    /// The files, where both are named; none where neither is.
    pub(super) fn of(
        certificate: Option<&PathBuf>,
        key: Option<&PathBuf>,
    ) -> Result<Option<Self>, ConfigError> {
        let (certificate, key) = match (certificate, key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            _ => return Err(ConfigError::HalfApiTls),
        };
        check_path("API certificate", &certificate)?;
        check_path("API key", &key)?;
        Ok(Some(Self { certificate, key }))
    }
}
