//! How servers prove who they are, and what is said when they cannot.

use std::error::Error;
use std::io;

use rustls::CertificateError;
use tonic::Status;
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::config::{ClientConfig, ConfigError};

/// How the servers prove who they are; `None` where they speak no TLS.
pub(crate) fn tls_of(config: &ClientConfig) -> Result<Option<ClientTlsConfig>, ConfigError> {
    let (_, true) = config.validate()? else {
        return Ok(None);
    };
    let tls = ClientTlsConfig::new().timeout(config.connect_timeout);
    let tls = match &config.ca_certificates {
        Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
        None => tls.with_native_roots(),
    };
    Ok(Some(match &config.server_name {
        Some(name) => tls.domain_name(name),
        None => tls,
    }))
}

/// What went wrong, down to the first cause.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}

/// Why there is no trust in the server, and what to do about it; `None` where something else failed.
/// The transport hides the reason deep in the sources of its error.
pub(crate) fn distrust(status: &Status) -> Option<String> {
    let mut source = Error::source(status);
    while let Some(error) = source {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(error) = inner.or_else(|| error.downcast_ref()) {
            return explain(error);
        }
        source = error.source();
    }
    None
}

fn explain(error: &rustls::Error) -> Option<String> {
    use CertificateError as Bad;
    let hint = match error {
        // A CA of the same name with another key looks like a bad signature.
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "no trusted CA vouches for it; name its CA (--ca-file, MARRAM_CA_FILE)"
        }
        rustls::Error::InvalidCertificate(
            Bad::NotValidForName | Bad::NotValidForNameContext { .. },
        ) => {
            "connect by a name that the certificate bears, or say which one to expect \
             (--tls-server-name)"
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "the server needs a new one; if it has one, is the clock right here?"
        }
        rustls::Error::InvalidCertificate(_) => "it cannot be relied on",
        rustls::Error::InvalidMessage(_) => {
            "the server speaks no TLS: write its endpoint without https://"
        }
        rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol) => {
            "what answers there is not the API of Marram; is the port right?"
        }
        _ => return None,
    };
    Some(format!("{error}: {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_and_comes_with_a_remedy() {
        let refused = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let deep = io::Error::new(io::ErrorKind::InvalidData, refused);
        let said = distrust(&Status::from_error(Box::new(deep))).expect("found");
        assert!(said.contains("--ca-file"), "{said}");
        let other = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(distrust(&Status::from_error(Box::new(other))), None);
    }

    #[test]
    fn each_refusal_has_its_remedy() {
        let remedy = |error| explain(&error).unwrap_or_default();
        let bad = rustls::Error::InvalidCertificate;
        assert!(remedy(bad(CertificateError::NotValidForName)).contains("--tls-server-name"));
        assert!(remedy(bad(CertificateError::Expired)).contains("clock"));
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(remedy(plain).contains("without https://"));
        assert!(remedy(rustls::Error::DecryptError).is_empty());
    }
}
