//! The public API under TLS, as an operator sets it up and an application uses it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use marram_client::{Client, ClientConfig, RetryPolicy};
use marram_cluster_tests::{
    Daemon, Scratch, binary, free_address, http_get, read_page, room, until,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

const ACCESS_KEY: &str = "MKTLS";
const SECRET_KEY: &str = "a-secret-that-only-this-test-knows";
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A CA that signs certificates for a server on loopback.
struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Puts a new certificate and its key where the server looks for them.
    fn issue_into(&self, folder: &Path) {
        let names = ["127.0.0.1".to_owned(), "store.example".to_owned()];
        let params = CertificateParams::new(names).expect("names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        fs::write(folder.join("tls.crt"), certificate.pem()).expect("written");
        fs::write(folder.join("tls.key"), key.serialize_pem()).expect("written");
    }
}

struct Secured {
    scratch: Scratch,
    api: String,
    metrics: String,
}

impl Secured {
    fn new() -> Self {
        let scratch = Scratch::new("api-tls");
        let key = format!("{ACCESS_KEY} {SECRET_KEY}\n");
        fs::write(scratch.path().join("admin-key"), key).expect("written");
        fs::write(scratch.path().join("kek"), "5a".repeat(32)).expect("written");
        Self {
            scratch,
            api: free_address(),
            metrics: free_address(),
        }
    }

    fn file(&self, name: &str) -> String {
        let path = self.scratch.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    fn server(&self) -> Daemon {
        let args = [
            "server".to_owned(),
            format!("--data={}", self.file("d1")),
            format!("--api-listen={}", self.api),
            format!("--api-tls-cert={}", self.file("tls.crt")),
            format!("--api-tls-key={}", self.file("tls.key")),
            format!("--mesh-listen={}", free_address()),
            format!("--metrics-listen={}", self.metrics),
            format!("--kek-file={}", self.file("kek")),
            "--bootstrap=dune".to_owned(),
            format!("--admin-key-file={}", self.file("admin-key")),
            "--segment-mib=16".to_owned(),
        ];
        Daemon::start(self.scratch.path(), "server", &args)
    }

    fn client(&self, ca: &Ca) -> Client {
        let endpoint = format!("https://{}", self.api);
        let mut config = ClientConfig::new(endpoint, ACCESS_KEY, SECRET_KEY);
        config.ca_certificates = Some(ca.pem.clone().into_bytes());
        config.retry = RetryPolicy::never();
        Client::connect(config).expect("valid")
    }

    async fn ready(&self, ca: &Ca) {
        let client = self.client(ca);
        until("the server serves", READY_WITHIN, async || {
            let status = client.cluster_status().await.map_err(|e| e.to_string())?;
            let redundancy = status.redundancy.ok_or("nothing is known yet")?;
            match redundancy.writable {
                true => Ok(()),
                false => Err("not writable yet".to_owned()),
            }
        })
        .await;
    }

    /// A command against the server at `endpoint`: its exit code, and all that it said.
    fn marram(&self, endpoint: &str, args: &[&str]) -> (i32, String) {
        let output = Command::new(binary())
            .args(args)
            .env("MARRAM_ENDPOINT", endpoint)
            .env("MARRAM_ACCESS_KEY", ACCESS_KEY)
            .env("MARRAM_SECRET_KEY", SECRET_KEY)
            .output()
            .expect("marram can be started");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.code().expect("it ended"), said)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_under_tls_from_the_first_command_to_a_new_certificate() {
    let _room = room().await;
    let cluster = Secured::new();
    let (ca, other) = (Ca::new(), Ca::new());
    ca.issue_into(cluster.scratch.path());
    fs::write(cluster.file("ca.pem"), &ca.pem).expect("written");
    fs::write(cluster.file("other.pem"), &other.pem).expect("written");
    let _server = cluster.server();
    cluster.ready(&ca).await;
    let (_, page) = http_get(&cluster.metrics, "/metrics", "").expect("answered");
    let page = read_page(&page).expect("as it should be");
    let expiry = &page["marram_api_certificate_not_after_seconds"].samples[0];
    assert!(expiry.2 > 2e9, "issued for centuries: {expiry:?}");

    // An application, at the command line.
    let secure = format!("https://{}", cluster.api);
    let trusted = format!("--ca-file={}", cluster.file("ca.pem"));
    let source = cluster.file("kek");
    for args in [
        ["mb", "m://photos", &trusted].as_slice(),
        &["cp", &source, "m://photos/a", &trusted],
    ] {
        let (code, said) = cluster.marram(&secure, args);
        assert_eq!(code, 0, "{args:?}: {said}");
    }
    let (code, said) = cluster.marram(&secure, &["cat", "m://photos/a", &trusted]);
    assert_eq!((code, said.as_str()), (0, "5a".repeat(32).as_str()));

    // Who is not who he should be is not talked to, and the reason is told.
    let wrong = format!("--ca-file={}", cluster.file("other.pem"));
    let (code, said) = cluster.marram(&secure, &["ls", "m://photos", &wrong]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("certificate"), "{said}");
    let named = "--tls-server-name=another.example";
    let (code, said) = cluster.marram(&secure, &["ls", "m://photos", &trusted, named]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("another.example"), "{said}");
    let named = "--tls-server-name=store.example";
    let (code, said) = cluster.marram(&secure, &["ls", "m://photos", &trusted, named]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = cluster.marram(&cluster.api, &["ls", "m://photos"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("https://"), "{said}");
    let (code, said) = cluster.marram(&cluster.api, &["ls", "m://photos", &trusted]);
    assert_eq!(code, 2, "{said}");

    // Another certificate, even from another CA, while the server runs and a client is connected.
    let connected = cluster.client(&ca);
    connected.cluster_status().await.expect("connected");
    other.issue_into(cluster.scratch.path());
    cluster.ready(&other).await;
    connected
        .cluster_status()
        .await
        .expect("the connection goes on");
    let late = cluster.client(&ca).cluster_status().await;
    let refused = late.expect_err("the old CA vouches for nobody here");
    assert!(refused.to_string().contains("certificate"), "{refused}");
}
