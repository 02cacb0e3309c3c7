//! Places of connections and of handshakes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use marram_metrics::{Connections, Format, Sources};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Doorkeeper, Held};
use crate::tls::ApiTls;
use crate::tls::testing::{Files, connected, pair};

const WITHIN: Duration = Duration::from_secs(20);

struct Door {
    address: SocketAddr,
    served: mpsc::Receiver<std::io::Result<Held>>,
    counts: Arc<Connections>,
    _stop: DropGuard,
}

async fn open(tls: Option<&ApiTls>, connections: usize, handshakes: usize) -> Door {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (lane, served) = mpsc::channel(8);
    let counts = Arc::<Connections>::default();
    let keeper = Doorkeeper {
        tls: tls.map(|tls| tls.server_config().into()),
        places: Arc::new(Semaphore::new(connections)),
        handshakes,
        counts: counts.clone(),
        lanes: vec![lane].into(),
    };
    let stop = CancellationToken::new();
    tokio::spawn(keeper.accept(listener, stop.clone()));
    Door {
        address,
        served,
        counts,
        _stop: stop.drop_guard(),
    }
}

impl Door {
    async fn next(&mut self) -> Held {
        let next = tokio::time::timeout(WITHIN, self.served.recv()).await;
        next.expect("in time").expect("open").unwrap()
    }

    async fn says(&self, line: &str) {
        let sources = Sources::default();
        sources.add(self.counts.clone());
        let page = sources.scrape(Format::Prometheus).await.unwrap();
        assert!(page.lines().any(|l| l == line), "{line}\n{page}");
    }
}

async fn closed(mut client: TcpStream) {
    let mut byte = [0];
    let read = tokio::time::timeout(WITHIN, client.read(&mut byte)).await;
    assert!(!matches!(read.expect("closed in time"), Ok(1)));
}

#[tokio::test]
async fn there_are_so_many_connections_and_no_more() {
    let mut door = open(None, 2, 8).await;
    let _one = TcpStream::connect(door.address).await.unwrap();
    let first = door.next().await;
    let _two = TcpStream::connect(door.address).await.unwrap();
    let _second = door.next().await;
    door.says("marram_api_connections 2").await;
    closed(TcpStream::connect(door.address).await.unwrap()).await;
    door.says("marram_api_connections_refused_total 1").await;
    // The place of one that ended is free.
    drop(first);
    let _four = TcpStream::connect(door.address).await.unwrap();
    let _third = door.next().await;
    door.says("marram_api_connections 2").await;
}

#[tokio::test]
async fn those_who_say_nothing_make_room_for_those_who_do() {
    let pair = pair();
    let files = Files::new(&pair);
    let tls = ApiTls::load(files.named()).unwrap();
    let mut door = open(Some(&tls), 2, 4).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(door.address).await.unwrap());
    }
    let began = std::time::Instant::now();
    let client = connected(door.address, &pair).await.unwrap();
    let held = door.next().await;
    assert!(
        began.elapsed() < super::HANDSHAKE_TIME,
        "it did not wait for them"
    );
    closed(silent.remove(0)).await;
    door.says("marram_api_handshakes_failed_total 5").await;
    door.says("marram_api_connections_refused_total 0").await;
    drop((client, held, silent));
}
