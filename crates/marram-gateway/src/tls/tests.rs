use std::fs;
use std::sync::Arc;
use std::time::Duration;

use marram_types::config::ApiTlsFiles;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{ApiTls, ApiTlsError};
use crate::gateway::connections::{Doorkeeper, Held};

/// How long a handshake of these tests may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(20);

/// A certificate for `localhost` that signed itself, and its key.
pub(crate) struct Pair {
    certificate: String,
    der: rustls::pki_types::CertificateDer<'static>,
    key: String,
}

pub(crate) fn pair() -> Pair {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Pair {
        certificate: certificate.pem(),
        der: certificate.der().clone(),
        key: key.serialize_pem(),
    }
}

pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    pub(crate) fn new(pair: &Pair) -> Self {
        let files = Self {
            folder: TempDir::new().unwrap(),
        };
        files.write("tls.crt", &pair.certificate);
        files.write("tls.key", &pair.key);
        files
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    pub(crate) fn named(&self) -> ApiTlsFiles {
        ApiTlsFiles {
            certificate: self.folder.path().join("tls.crt"),
            key: self.folder.path().join("tls.key"),
        }
    }

    fn refused(&self) -> ApiTlsError {
        ApiTls::load(self.named()).expect_err("it cannot be used")
    }
}

/// Shakes hands with somebody who has to show a certificate that `trusted` vouches for.
async fn connect(address: std::net::SocketAddr, trusted: &Pair) -> std::io::Result<()> {
    let _: TlsStream<TcpStream> = connected(address, trusted).await?;
    Ok(())
}

pub(crate) async fn connected(
    address: std::net::SocketAddr,
    trusted: &Pair,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let hands = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    tokio::time::timeout(WITHIN, hands).await.unwrap()
}

/// The connections that have shaken hands.
fn incoming(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    stop: CancellationToken,
) -> ReceiverStream<std::io::Result<Held>> {
    let (lane, connections) = mpsc::channel(8);
    let keeper = Doorkeeper::new(Some(config.into()), 64, Arc::default(), vec![lane]);
    tokio::spawn(keeper.accept(listener, stop));
    ReceiverStream::new(connections)
}

#[test]
fn what_cannot_be_used_is_named() {
    let (one, other) = (pair(), pair());
    let files = Files::new(&one);
    assert!(ApiTls::load(files.named()).is_ok());

    files.write("tls.key", &other.key);
    let error = files.refused();
    assert!(matches!(error, ApiTlsError::Pair { .. }), "{error}");
    assert!(error.to_string().contains("tls.crt") && error.to_string().contains("tls.key"));

    files.write("tls.key", &one.certificate);
    assert!(matches!(files.refused(), ApiTlsError::NoKey(_)));
    files.write("tls.crt", &one.key);
    assert!(matches!(files.refused(), ApiTlsError::NoCertificate(_)));
    files.write("tls.crt", "");
    assert!(matches!(files.refused(), ApiTlsError::NoCertificate(_)));
    files.write("tls.crt", &"x".repeat((1 << 20) + 1));
    assert!(matches!(files.refused(), ApiTlsError::TooLarge(_)));
    fs::remove_file(files.named().certificate).unwrap();
    let error = files.refused();
    assert!(matches!(error, ApiTlsError::Read { .. }), "{error}");
}

#[test]
fn the_end_of_a_certificate_is_known() {
    let files = Files::new(&pair());
    let tls = ApiTls::load(files.named()).unwrap();
    // What rcgen writes where nothing else is said.
    let end = rcgen::date_time_ymd(4096, 1, 1).unix_timestamp();
    assert_eq!(tls.not_after(), Some(end));
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_and_a_bad_one_never() {
    let (old, new) = (pair(), pair());
    let files = Files::new(&old);
    let tls = Arc::new(ApiTls::load(files.named()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let mut served = Box::pin(incoming(listener, tls.server_config(), stop.clone()));
    tokio::spawn(async move { while served.next().await.is_some() {} });
    connect(address, &old).await.expect("the first certificate");
    assert!(connect(address, &new).await.is_err(), "not shown yet");

    // Half of the replacement is no replacement, and is complained of at the second look only.
    files.write("tls.crt", &new.certificate);
    let first = tls.look(None).expect("refused");
    assert!(!first.told);
    let second = tls.look(Some(first)).expect("refused still");
    assert!(
        second.told && second.error.contains("tls.key"),
        "{second:?}"
    );
    connect(address, &old).await.expect("the old one stays");

    files.write("tls.key", &new.key);
    assert!(tls.look(Some(second)).is_none());
    connect(address, &new).await.expect("the new one");
    assert!(connect(address, &old).await.is_err(), "the old one is gone");
}

#[tokio::test]
async fn the_files_are_looked_at_again_and_again() {
    let (old, new) = (pair(), pair());
    let files = Files::new(&old);
    let tls = Arc::new(ApiTls::load(files.named()).unwrap());
    let stop = CancellationToken::new();
    let pause = Duration::from_millis(5);
    let looking = tokio::spawn(Arc::clone(&tls).look_every(pause, stop.clone()));
    files.write("tls.crt", &new.certificate);
    files.write("tls.key", &new.key);
    let shown = || tls.shown.0.read().cert[0].clone();
    let replaced = async {
        while shown() != new.der {
            tokio::time::sleep(pause).await;
        }
    };
    tokio::time::timeout(WITHIN, replaced).await.unwrap();
    stop.cancel();
    looking.await.unwrap();
}

#[tokio::test]
async fn who_is_silent_or_speaks_no_tls_holds_nobody_up() {
    let pair = pair();
    let files = Files::new(&pair);
    let tls = ApiTls::load(files.named()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let mut served = Box::pin(incoming(listener, tls.server_config(), stop.clone()));
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\n").await.unwrap();
    let (client, server) = tokio::join!(
        connected(address, &pair),
        tokio::time::timeout(WITHIN, served.next())
    );
    assert!(client.is_ok());
    assert!(server.unwrap().expect("open").is_ok());
    stop.cancel();
    let end = tokio::time::timeout(WITHIN, served.next()).await.unwrap();
    assert!(end.is_none(), "nothing comes after the stop");
}
