//! A call without a certificate: how a newcomer asks to join.
//!
//! It knows one thing of the cluster, the hash of its CA (rules.md 4). The server shows its CA in the
//! handshake; when that is another one, the handshake ends and nothing was sent.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, version::TLS13};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};
use tokio_util::sync::CancellationToken;

use crate::class::Class;
use crate::client::Connection;
use crate::figures::{Figures, Side};
use crate::frame::{OutFrame, Prefix};
use crate::identity::{Role, fingerprint, is_signed_by, read_certificate};
use crate::rpc::{CallError, Rpc};
use crate::socket::Socket;
use crate::tls::{check_begin, peer_certificate, server_name};

/// How long connecting and shaking hands may take: the next address may be a better one.
const DIAL_WITHIN: Duration = Duration::from_secs(2);

/// Why a stranger's call brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrangerError {
    /// The server has another CA than the one that was asked for.
    #[error(
        "{addr} has another CA than the token names: it belongs to another cluster, or the CA was \
         replaced since the token was made. Nothing was sent to it"
    )]
    OtherAuthority {
        /// Who.
        addr: String,
    },
    /// The call failed as any other.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Calls a method of whichever node with this CA answers at an address, without a certificate.
///
/// # Errors
/// See [`StrangerError`].
pub async fn call_as_stranger<R: Rpc>(
    addr: &str,
    authority: [u8; 32],
    request: R::Request,
    deadline: Duration,
) -> Result<R::Response, StrangerError> {
    let peer = || addr.to_owned();
    let other = Arc::new(AtomicBool::new(false));
    let call = async {
        let dialled = tokio::time::timeout(DIAL_WITHIN, dial(addr, authority, Arc::clone(&other)));
        let connection = dialled
            .await
            .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
        let connection = connection.map_err(|reason| CallError::Unreachable {
            peer: peer(),
            reason: reason.to_string(),
        })?;
        let frame = |prefix: Prefix| OutFrame::message(prefix, &request, Bytes::new());
        connection.call(R::METHOD, deadline, frame).await
    };
    let answer = match tokio::time::timeout(deadline, call).await {
        Ok(Ok((header, _))) => header,
        Ok(Err(_)) if other.load(Ordering::Relaxed) => {
            return Err(StrangerError::OtherAuthority { addr: peer() });
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(CallError::Deadline { peer: peer() }.into()),
    };
    R::Response::decode(answer).map_err(|error| {
        StrangerError::Call(CallError::Malformed {
            peer: peer(),
            reason: error.to_string(),
        })
    })
}

async fn dial(
    addr: &str,
    authority: [u8; 32],
    other: Arc<AtomicBool>,
) -> std::io::Result<Arc<Connection>> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Pinned {
        authority,
        other,
        provider: Arc::clone(&provider),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![Class::Control.alpn().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    let tcp = TcpStream::connect(addr).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let tls = connector.connect(server_name(), Socket::new(tcp)?).await?;
    let presented = peer_certificate(tls.get_ref().1.peer_certificates());
    let presented = presented.ok_or_else(|| std::io::Error::other("it has no certificate"))?;
    Ok(Connection::start(
        TlsStream::Client(tls),
        Class::Control,
        presented,
        addr.into(),
        // Nobody asks how this one does.
        (
            Arc::default(),
            Arc::<Figures>::default().opened(Side::Dialed, Class::Control),
        ),
        CancellationToken::new(),
    ))
}

/// Trusts one CA, by its hash.
#[derive(Debug)]
struct Pinned {
    authority: [u8; 32],
    other: Arc<AtomicBool>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let known = |der: &&CertificateDer<'_>| fingerprint(der) == self.authority;
        let Some(authority) = intermediates.iter().find(known) else {
            self.other.store(true, Ordering::Relaxed);
            return Err(Error::General("it has another CA".to_owned()));
        };
        let read = read_certificate(end_entity)
            .map_err(|error| Error::General(format!("its certificate is of no use: {error}")))?;
        if read.role != Role::Node {
            return Err(Error::General("it is not a storage node".to_owned()));
        }
        check_begin(&read, now)?;
        if is_signed_by(end_entity, read.not_after, authority) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General(
                "its certificate was not signed by the CA that it shows".to_owned(),
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
