//! Makes certificates: the CA of a cluster, and what it issues to nodes and gateways.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use marram_types::ClusterId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{CertificateError, PeerCertificate, Role, check_name, read_certificate};

/// How long a CA is good for: 30 years, since replacing it means touching every node.
const CA_LIFETIME: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// Certificates begin to count this long before they are made, because clocks differ (rules.md 5).
const BACKDATED: Duration = Duration::from_secs(3600);

/// The CA of one cluster.
#[derive(Debug)]
pub struct Authority {
    cluster: ClusterId,
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
    let certificate_pem = params.self_signed(&key)?.pem();
    Authority::from_pem(cluster, certificate_pem, key.serialize_pem())
}

impl Authority {
    /// A CA that was made before.
    ///
    /// # Errors
    /// When certificate or key cannot be read.
    pub fn from_pem(
        cluster: ClusterId,
        certificate_pem: String,
        key_pem: String,
    ) -> Result<Self, CertificateError> {
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, KeyPair::from_pem(&key_pem)?)?;
        Ok(Self {
            cluster,
            certificate_pem,
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
        let name = check_name(name)?;
        let key = KeyPair::generate()?;
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
        let certificate_pem = params.signed_by(&key, &self.issuer)?.pem();
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| CertificateError::Unreadable)?;
        Ok(Issued {
            ca_pem: self.certificate_pem.clone(),
            certificate: read_certificate(&der)?,
            certificate_pem,
            key_pem: key.serialize_pem(),
        })
    }
}

impl Issued {
    /// Writes `ca.pem`, `cert.pem` and `key.pem` (readable by the owner only) into a folder, as
    /// [`Identity::load`](super::Identity::load) reads them.
    ///
    /// # Errors
    /// When a file cannot be written; an existing key is not replaced.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        std::fs::create_dir_all(dir)?;
        let mut key = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(dir.join("key.pem"))?;
        key.write_all(self.key_pem.as_bytes())?;
        key.sync_all()?;
        std::fs::write(dir.join("ca.pem"), &self.ca_pem)?;
        std::fs::write(dir.join("cert.pem"), &self.certificate_pem)
    }
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
