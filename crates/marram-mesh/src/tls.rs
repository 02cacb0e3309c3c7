//! The TLS configurations, and what they verify about a peer's certificate.
//!
//! Verified in the handshake: it chains to a CA that we trust, it names our cluster, and its time has
//! begun. Not here: whether the key is in the table of peers, which changes while connections live,
//! and expiry, which is judged per request, because Raft must go on with expired certificates
//! (rules.md 5). Who dials us may come without a certificate: it may ask to join, nothing else.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError as TlsCertificateError, ClientConfig, DigitallySignedStruct,
    DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme, version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::class::Class;
use crate::identity::{Identity, IdentityError, PeerCertificate, Role, read_certificate};
use marram_types::ClusterId;

/// One configuration per class for dialing, one for all classes for accepting.
#[derive(Debug)]
pub(crate) struct Tls {
    raft: Arc<ClientConfig>,
    control: Arc<ClientConfig>,
    bulk: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

impl Tls {
    pub(crate) fn new(identity: &Identity) -> Result<Self, IdentityError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(Verifier::new(identity, &provider)?);
        let client = |class: Class| -> Result<Arc<ClientConfig>, Error> {
            let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&TLS13])?
                .dangerous()
                .with_custom_certificate_verifier(verifier.clone())
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?;
            config.alpn_protocols = vec![class.alpn().to_vec()];
            config.resumption = Resumption::disabled();
            config.enable_sni = false;
            Ok(Arc::new(config))
        };
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
        server.alpn_protocols = Class::ALL.map(|c| c.alpn().to_vec()).to_vec();
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self {
            raft: client(Class::Raft)?,
            control: client(Class::Control)?,
            bulk: client(Class::Bulk)?,
            server: Arc::new(server),
        })
    }

    pub(crate) fn client(&self, class: Class) -> Arc<ClientConfig> {
        Arc::clone(match class {
            Class::Raft => &self.raft,
            Class::Control => &self.control,
            Class::Bulk => &self.bulk,
        })
    }
}

/// The name sent in a handshake: nobody looks at it.
pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from("mesh.marram.invalid").expect("a valid DNS name")
}

/// What the peer's certificate says, after the handshake.
pub(crate) fn peer_certificate(chain: Option<&[CertificateDer<'_>]>) -> Option<PeerCertificate> {
    read_certificate(chain?.first()?).ok()
}

#[derive(Debug)]
struct Verifier {
    cluster: ClusterId,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(identity: &Identity, provider: &Arc<CryptoProvider>) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for authority in &identity.authorities {
            roots.add(authority.clone())?;
        }
        let roots = Arc::new(roots);
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
                .allow_unauthenticated()
                .build()
                .map_err(|e| Error::General(e.to_string()))?;
        Ok(Self {
            cluster: identity.certificate.cluster,
            roots,
            clients,
            provider: Arc::clone(provider),
        })
    }

    /// Checks the name and gives the time at which the chain is judged: expiry does not count here.
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<(PeerCertificate, UnixTime), Error> {
        let read = read_certificate(certificate)
            .map_err(|error| Error::General(format!("its certificate is of no use: {error}")))?;
        if read.cluster != self.cluster {
            let (theirs, ours) = (read.cluster, self.cluster);
            let text = format!("it belongs to cluster {theirs}, this is cluster {ours}");
            return Err(Error::General(text));
        }
        check_begin(&read, now)?;
        let not_after = u64::try_from(read.not_after).unwrap_or(0);
        let then = now.as_secs().min(not_after);
        Ok((
            read,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(then)),
        ))
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, dss, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Certificates begin to count an hour before they are made, so that clocks may differ by as much.
pub(crate) fn check_begin(certificate: &PeerCertificate, now: UnixTime) -> Result<(), Error> {
    let begin = u64::try_from(certificate.not_before).unwrap_or(0);
    match begin.saturating_sub(now.as_secs()) {
        0 => Ok(()),
        ahead => Err(Error::General(format!(
            "the certificate of {} counts from {ahead} s in the future on, by the clock of this \
             machine: clocks of the cluster differ by more than an hour, set them",
            certificate.name
        ))),
    }
}

fn no_tls12() -> Error {
    Error::General("only TLS 1.3 is spoken here".to_owned())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (read, then) = self.judge(end_entity, now)?;
        if read.role != Role::Node {
            return Err(TlsCertificateError::NotValidForName.into());
        }
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            then,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (_, then) = self.judge(end_entity, now)?;
        self.clients
            .verify_client_cert(end_entity, intermediates, then)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::{Kept, check_request, make_ca};

    const MINUTE: u64 = 60;

    fn made(name: &str) -> Identity {
        let ca = make_ca(ClusterId(5)).expect("made");
        let mut kept = Kept::fresh().expect("made");
        let request = kept.key.request().expect("signed");
        let info = check_request(&request).expect("good");
        let lifetime = Duration::from_secs(24 * 3600);
        let signed = ca.sign(&info, Role::Node, name, lifetime);
        kept.certificate = Some(signed.expect("signed"));
        kept.authorities = vec![ca.certificate().to_vec()];
        kept.identity().expect("fits").expect("there")
    }

    /// What a peer whose clock differs says of our certificate.
    fn judged(seconds: i64) -> Result<(), String> {
        let identity = made("node-1");
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(&identity, &provider).expect("fits");
        let now = UnixTime::now().as_secs().saturating_add_signed(seconds);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let verified = verifier.verify_server_cert(
            &identity.chain[0],
            &identity.chain[1..],
            &server_name(),
            &[],
            now,
        );
        verified.map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn clocks_may_differ_by_minutes_and_are_named_when_they_differ_by_more() {
        let minutes = |count: i64| count * i64::try_from(MINUTE).expect("small");
        for good in [0, minutes(10), minutes(-10), minutes(-59)] {
            assert_eq!(judged(good), Ok(()), "{good} s");
        }
        let said = judged(minutes(-90)).expect_err("too early");
        assert!(said.contains("clocks") && said.contains("node-1"), "{said}");
        // Expiry is judged for each request, not here.
        assert_eq!(judged(minutes(60 * 24 * 365)), Ok(()));
    }
}
