//! How connections end: at their age, and when the server stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use marram_proto::v1;
use marram_types::config::ApiLimits;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::kit::{Client, content, header, messages};
use crate::testing::Cluster;

/// Counts the connections that a client makes through it.
async fn counted(to: SocketAddr) -> (Channel, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let count = Arc::<AtomicUsize>::default();
    let counting = count.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{at}")).unwrap();
    (endpoint.connect_lazy(), count)
}

/// An upload whose last messages are sent when it is told to go on.
fn slow_put(
    client: &Client,
    data: &[u8],
) -> (
    mpsc::Sender<v1::PutObjectRequest>,
    Vec<v1::PutObjectRequest>,
    tokio::task::JoinHandle<v1::ObjectInfo>,
) {
    let mut first = messages(header("bucket", "slow", Some(data.len() as u64)), data);
    let last = first.split_off(2);
    let (sender, receiver) = mpsc::channel(16);
    for message in first {
        sender.try_send(message).unwrap();
    }
    let mut objects = client.objects.clone();
    let put = tokio::spawn(async move {
        let answer = objects
            .put_object(ReceiverStream::new(receiver))
            .await
            .unwrap();
        answer.into_inner().object.unwrap()
    });
    (sender, last, put)
}

#[tokio::test]
async fn connections_end_at_their_age_and_calls_do_not() {
    let limits = ApiLimits {
        connection_age_s: 1,
        ..ApiLimits::default()
    };
    let cluster = Cluster::start_limited(3, limits).await;
    let (channel, connections) = counted(cluster.addr).await;
    let mut client = Client::over(channel);
    client.make_bucket("bucket").await;
    let data = content(900_000, 3);
    let (sender, last, slow) = slow_put(&client, &data);
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_millis(2600) {
        if let Err(status) = client.put("quick", b"x").await {
            // The client had it in its queue for the connection that ended: it was never sent, and may be
            // sent again. A call that reached the server does not fail.
            let unsent = status.code() == Code::Cancelled;
            assert!(
                unsent && status.message() == "operation was canceled",
                "{status:?}"
            );
            client
                .put("quick", b"x")
                .await
                .expect("on the next connection");
        }
        count += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(count > 20, "{count}");
    let seen = connections.load(Ordering::Relaxed);
    assert!(
        (3..=5).contains(&seen),
        "one a second, give or take a fifth: {seen}"
    );
    for message in last {
        sender.send(message).await.unwrap();
    }
    drop(sender);
    assert_eq!(
        slow.await.unwrap().size,
        900_000,
        "it began on the first connection"
    );
    assert_eq!(client.get("slow").await.unwrap(), data);
}

#[tokio::test]
async fn a_stop_lets_calls_end_and_those_who_watch_go() {
    let mut cluster = Cluster::start(3).await;
    let mut client = Client::of(&cluster).await;
    client.make_bucket("bucket").await;
    let data = content(900_000, 4);
    let (sender, last, slow) = slow_put(&client, &data);
    let watched = client
        .admin
        .watch_cluster_status(v1::WatchClusterStatusRequest {})
        .await;
    let mut watched = watched.unwrap().into_inner();
    watched.message().await.unwrap().unwrap();
    let mut health = HealthClient::new(cluster.channel().await);
    let health = health.watch(HealthCheckRequest::default()).await;
    let mut health = health.unwrap().into_inner();
    health.message().await.unwrap().unwrap();
    let began = Instant::now();
    let finish = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for message in last {
            sender.send(message).await.unwrap();
        }
        drop(sender);
    };
    let (put, (), ()) = tokio::join!(slow, finish, cluster.stopped());
    assert_eq!(put.unwrap().size, 900_000);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "long before the grace is over"
    );
    while let Ok(Some(_)) = watched.message().await {}
    let told = health
        .message()
        .await
        .unwrap()
        .expect("told before it is let go");
    assert_eq!(told.status(), ServingStatus::NotServing);
    assert_eq!(health.message().await.unwrap(), None);
}
