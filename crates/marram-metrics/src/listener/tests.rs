use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::catalogue::READY;
use crate::health::Condition;
use crate::{Sheet, Source};

struct One;

#[async_trait]
impl Source for One {
    async fn collect(&self, sheet: &mut Sheet) {
        sheet.set(&READY, &[], 1);
    }
}

struct Running {
    address: SocketAddr,
    ready: watch::Sender<Arc<Verdict>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start() -> Running {
    start_within(LIMITS).await
}

async fn start_within(limits: Limits) -> Running {
    start_with(limits, Arc::new(One), None).await
}

async fn start_with(
    limits: Limits,
    source: Arc<dyn Source>,
    token: Option<watch::Receiver<BearerToken>>,
) -> Running {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    let (ready, seen) = watch::channel(Arc::default());
    let sources = Arc::new(Sources::default());
    sources.add(source);
    let listener = Listener {
        sources,
        ready: seen,
        token,
    };
    let task = tokio::spawn(serve_within(socket, listener, limits));
    Running {
        address,
        ready,
        task,
    }
}

impl Running {
    async fn say(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("accepted");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .expect("answered and closed");
        answer
    }

    async fn get(&self, path: &str, more: &str) -> String {
        self.say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n"))
            .await
    }
}

#[tokio::test]
async fn metrics_are_for_those_with_the_token_and_probes_for_all() {
    let token = |text| BearerToken::new(text).expect("long enough");
    let (now, asked) = watch::channel(token("s3cret-token-of-16"));
    let running = start_with(LIMITS, Arc::new(One), Some(asked)).await;
    let with = |value: &str| format!("Authorization: {value}\r\n");
    for value in ["Bearer s3cret-token-of-16", "bearer s3cret-token-of-16"] {
        let given = running.get("/metrics", &with(value)).await;
        assert!(given.starts_with("HTTP/1.1 200"), "{value}: {given}");
    }
    let wrong = [
        String::new(),
        with("Bearer s3cret-token-of-17"),
        with("Bearer s3cret-token-of-1"),
        with("Bearer "),
        with("Basic s3cret-token-of-16"),
        with("s3cret-token-of-16"),
    ];
    for value in wrong {
        let refused = running.get("/metrics", &value).await;
        assert!(refused.starts_with("HTTP/1.1 401"), "{value}: {refused}");
        assert!(refused.contains("www-authenticate: Bearer"), "{refused}");
        assert!(!refused.contains("marram_ready"), "{refused}");
    }
    assert!(running.get("/livez", "").await.starts_with("HTTP/1.1 200"));
    assert!(running.get("/readyz", "").await.starts_with("HTTP/1.1 503"));
    now.send_replace(token("another-token-of-20"));
    for (value, status) in [
        ("Bearer s3cret-token-of-16", "HTTP/1.1 401"),
        ("Bearer another-token-of-20", "HTTP/1.1 200"),
    ] {
        let answer = running.get("/metrics", &with(value)).await;
        assert!(answer.starts_with(status), "{value}: {answer}");
    }
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let running = start().await;
    let plain = running.get("/metrics", "").await;
    assert!(plain.starts_with("HTTP/1.1 200"), "{plain}");
    assert!(
        plain.contains("content-type: text/plain; version=0.0.4"),
        "{plain}"
    );
    assert!(plain.contains("\nmarram_ready 1\n"), "{plain}");
    assert!(
        plain.contains("\nmarram_metrics_dropped_samples 0\n"),
        "{plain}"
    );
    let open = "Accept: application/openmetrics-text; version=1.0.0\r\n";
    let open = running.get("/metrics", open).await;
    assert!(
        open.contains("content-type: application/openmetrics-text"),
        "{open}"
    );
    assert!(open.ends_with("# EOF\n"), "{open}");
}

#[tokio::test]
async fn readiness_follows_what_holds() {
    let running = start().await;
    let alive = running.get("/livez", "").await;
    assert!(
        alive.starts_with("HTTP/1.1 200") && alive.ends_with("alive\n"),
        "{alive}"
    );
    let early = running.get("/readyz", "").await;
    assert!(early.starts_with("HTTP/1.1 503"), "{early}");
    let conditions = vec![Condition::good("member", "node 3 of dune")];
    running.ready.send_replace(Arc::new(Verdict { conditions }));
    let ready = running.get("/readyz?verbose", "").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(
        ready.ends_with("[+] member: node 3 of dune\nready\n"),
        "{ready}"
    );
    let conditions = vec![Condition::bad("api", "this process stops")];
    running.ready.send_replace(Arc::new(Verdict { conditions }));
    let stopping = running.get("/readyz", "").await;
    assert!(stopping.starts_with("HTTP/1.1 503"), "{stopping}");
    assert!(
        stopping.ends_with("[-] api: this process stops\nnot ready\n"),
        "{stopping}"
    );
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let running = start().await;
    let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nxxxx";
    let post = running.say(post).await;
    assert!(
        post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"),
        "{post}"
    );
    let other = running.get("/debug", "").await;
    assert!(
        other.starts_with("HTTP/1.1 404") && other.contains("/readyz?verbose"),
        "{other}"
    );
    let long = format!("X-Long: {}\r\n", "x".repeat(HEAD_BYTES_MAX + 1));
    let mut stream = TcpStream::connect(running.address).await.expect("accepted");
    let request = format!("GET /livez HTTP/1.1\r\nHost: x\r\n{long}\r\n");
    let _broken = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("alive"), "{answer}");
    let noise = running.say("\u{1}\u{2}\u{3} no HTTP\r\n\r\n").await;
    assert!(!noise.starts_with("HTTP/1.1 200"), "{noise}");
    let alive = running.get("/livez", "").await;
    assert!(alive.ends_with("alive\n"), "{alive}");
}

#[tokio::test]
async fn connections_that_say_nothing_are_closed_and_others_get_their_turn() {
    let limits = Limits {
        connections: 4,
        scrapes: 1,
        head_within: Duration::from_millis(100),
        connection_within: Duration::from_secs(20),
    };
    let running = start_within(limits).await;
    let mut silent = Vec::new();
    for _ in 0..limits.connections * 2 {
        silent.push(TcpStream::connect(running.address).await.expect("queued"));
    }
    // Behind all of those, after the time that they may take.
    let began = std::time::Instant::now();
    let answer = running.get("/livez", "").await;
    assert!(answer.ends_with("alive\n"), "{answer}");
    assert!(
        began.elapsed() >= limits.head_within * 2,
        "two rounds of four went before"
    );
    let mut left = Vec::new();
    let _closed = silent[0].read_to_end(&mut left).await;
    assert!(
        left.is_empty() || left.starts_with(b"HTTP/1.1 4"),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_caller_that_does_not_read_is_let_go() {
    let limits = Limits {
        connections: 1,
        scrapes: 1,
        head_within: Duration::from_secs(20),
        connection_within: Duration::from_millis(200),
    };
    let running = start_within(limits).await;
    let mut slow = TcpStream::connect(running.address).await.expect("accepted");
    slow.write_all(b"GET /met").await.expect("sent");
    let answer = running.get("/livez", "").await;
    assert!(answer.ends_with("alive\n"), "{answer}");
}

struct Hanging;

#[async_trait]
impl Source for Hanging {
    async fn collect(&self, _sheet: &mut Sheet) {
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn scrapes_that_hang_keep_no_probe_from_its_answer() {
    let limits = Limits {
        connections: 1,
        scrapes: 2,
        head_within: Duration::from_secs(20),
        connection_within: Duration::from_secs(60),
    };
    let running = start_with(limits, Arc::new(Hanging), None).await;
    let mut scrapes = Vec::new();
    for _ in 0..limits.scrapes {
        let mut stream = TcpStream::connect(running.address).await.expect("accepted");
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        scrapes.push(stream);
    }
    let began = std::time::Instant::now();
    let alive = running.get("/livez", "").await;
    assert!(alive.ends_with("alive\n"), "{alive}");
    let ready = running.get("/readyz", "").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    let more = running.get("/metrics", "").await;
    assert!(more.starts_with("HTTP/1.1 503"), "{more}");
    // The scrapes hang for longer than all of this took.
    assert!(began.elapsed() < Duration::from_secs(4));
}
