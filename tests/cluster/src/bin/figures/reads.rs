//! One client reads one large object: from the nodes that have its shards, and through a gateway.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use marram_client::{Client, PutBody, PutOptions};
use marram_cluster_tests::{Cluster, Options, Pool};
use tokio::io::{AsyncRead, ReadBuf};

use crate::{MIB, machine};

const BUCKET: &str = "figures";
/// Sizes in MiB.
const SIZES_MIB: [u64; 4] = [64, 256, 1024, 4096];
/// Bytes after which an object begins anew: a piece at the wrong place is noticed.
const PERIOD: usize = (32 << 20) + 4099;
/// Reads of each size and way, of which the fastest counts.
const TRIES: usize = 3;

pub(crate) async fn run(folder: &Path, largest_mib: u64) {
    machine::print(folder);
    let options = Options {
        segment_mib: 256,
        ..Options::default()
    };
    let cluster = Cluster::start(&folder.join("cluster"), &options);
    let (direct, gateway) = (cluster.client(), cluster.client_through_gateways());
    direct.create_bucket(BUCKET, None).await.expect("made");
    let mut pool = Pool::new(9, PERIOD + 1);
    let period = pool.content(PERIOD);
    println!("6 nodes, 4+2, one client, fastest of {TRIES} reads, every byte compared");
    for mib in SIZES_MIB.into_iter().filter(|mib| *mib <= largest_mib) {
        let (key, size) = (format!("{mib}"), mib << 20);
        let body = PutBody::reader(Repeated::new(&period, size));
        let began = Instant::now();
        let put = direct.put(BUCKET, &key, body, PutOptions::default());
        put.await.expect("written");
        let written = mib as f64 / began.elapsed().as_secs_f64();
        let (mut by_nodes, mut by_gateway) = (0.0, 0.0);
        for _ in 0..TRIES {
            by_nodes = f64::max(by_nodes, read(&direct, &key, &period, size).await);
            by_gateway = f64::max(by_gateway, read(&gateway, &key, &period, size).await);
        }
        println!(
            "{mib:5} MiB: from the nodes {by_nodes:.0} MiB/s, through a gateway {by_gateway:.0} \
             MiB/s, {:.2} times as fast; written with {written:.0} MiB/s",
            by_nodes / by_gateway
        );
    }
}

/// Reads and compares an object; returns MiB/s.
async fn read(client: &Client, key: &str, period: &Bytes, size: u64) -> f64 {
    let began = Instant::now();
    let mut download = client.get(BUCKET, key, None).await.expect("answered");
    let mut at = 0;
    while let Some(piece) = download.next().await {
        let piece = piece.expect("read");
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let start = usize::try_from(at % PERIOD as u64).expect("below the period");
            let len = rest.len().min(PERIOD - start);
            assert!(
                rest[..len] == period[start..start + len],
                "{key} differs at {at}"
            );
            rest = &rest[len..];
            at += len as u64;
        }
    }
    assert_eq!(at, size, "{key} ends early");
    size as f64 / MIB / began.elapsed().as_secs_f64()
}

/// The same bytes again and again, up to a size.
struct Repeated {
    period: Bytes,
    at: usize,
    left: u64,
}

impl Repeated {
    fn new(period: &Bytes, size: u64) -> Self {
        Self {
            period: period.clone(),
            at: 0,
            left: size,
        }
    }
}

impl AsyncRead for Repeated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let room = into.remaining().min(self.period.len() - self.at);
        let len = room.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        into.put_slice(&self.period[self.at..self.at + len]);
        self.at = (self.at + len) % self.period.len();
        self.left -= len as u64;
        Poll::Ready(Ok(()))
    }
}
