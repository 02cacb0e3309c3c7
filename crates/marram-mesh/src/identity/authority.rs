//! Makes certificates: the CA of a cluster, and what it issues to nodes and gateways.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use marram_types::ClusterId;
use pem::Pem;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    SubjectPublicKeyInfo, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::{CertificateError, PeerCertificate, Role, check_name, read_certificate};

/// How long a CA is good for: 30 years, since replacing it means touching every node.
const CA_LIFETIME: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// Certificates begin to count this long before they are made, because clocks differ (rules.md 5).
const BACKDATED: Duration = Duration::from_secs(3600);

/// The CA of one cluster.
#[derive(Debug)]
pub struct Authority {
    cluster: ClusterId,
    certificate: Vec<u8>,
    certificate_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that the CA issued, with its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The CA's certificate.
    pub ca_pem: String,
    /// The certificate.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: String,
    /// What the certificate says.
    pub certificate: PeerCertificate,
}

/// Makes the CA of a cluster.
///
/// # Errors
/// When no key can be made.
pub fn make_ca(cluster: ClusterId) -> Result<Authority, CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = dated(CA_LIFETIME);
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Marram cluster {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Authority::from_der(cluster, certificate.der(), key.serialize_pem())
}

impl Authority {
    /// A CA that was made before: its certificate in DER, its key in PEM.
    ///
    /// # Errors
    /// When certificate or key cannot be read.
    pub fn from_der(
        cluster: ClusterId,
        certificate: &[u8],
        key_pem: String,
    ) -> Result<Self, CertificateError> {
        let der = CertificateDer::from(certificate.to_vec());
        let issuer = Issuer::from_ca_cert_der(&der, KeyPair::from_pem(&key_pem)?)?;
        Ok(Self {
            cluster,
            certificate_pem: pem::encode(&Pem::new("CERTIFICATE", certificate)),
            certificate: certificate.to_vec(),
            key_pem,
            issuer,
        })
    }

    /// Its certificate, which is no secret.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its key: whoever has it can be any node.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Its certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Issues a certificate for a public key, a `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// When the name is not one, or the key is of no kind that we know.
    pub fn sign(
        &self,
        public_key_info: &[u8],
        role: Role,
        name: &str,
        lifetime: Duration,
    ) -> Result<Vec<u8>, CertificateError> {
        let key = SubjectPublicKeyInfo::from_der(public_key_info)?;
        let params = self.params(role, name, lifetime)?;
        Ok(params.signed_by(&key, &self.issuer)?.der().to_vec())
    }

    fn params(
        &self,
        role: Role,
        name: &str,
        lifetime: Duration,
    ) -> Result<CertificateParams, CertificateError> {
        let name = check_name(name)?;
        let mut params = dated(lifetime);
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = format!("spiffe://{}/{}/{name}", self.cluster, role.segment());
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    /// Makes a key and a certificate for it.
    ///
    /// # Errors
    /// When the name is not one, or no key can be made.
    pub fn issue(
        &self,
        role: Role,
        name: &str,
        lifetime: Duration,
    ) -> Result<Issued, CertificateError> {
        let key = KeyPair::generate()?;
        let params = self.params(role, name, lifetime)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            ca_pem: self.certificate_pem.clone(),
            certificate: read_certificate(certificate.der())?,
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// Reads a request for a certificate and checks that whoever made it has the key. Gives the public
/// key, a `SubjectPublicKeyInfo` in DER; nothing else of the request counts.
///
/// # Errors
/// When it is no such request, or its signature does not fit.
pub fn check_request(request: &[u8]) -> Result<Vec<u8>, CertificateError> {
    let request = CertificateSigningRequestDer::from(request.to_vec());
    let read = CertificateSigningRequestParams::from_der(&request)?;
    Ok(read.public_key.subject_public_key_info())
}

fn dated(lifetime: Duration) -> CertificateParams {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let at = |since: Duration| date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs());
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = at(now.saturating_sub(BACKDATED));
    params.not_after = at(now + lifetime);
    params
}
