//! The transport's rates, beside raw TCP on the same loopback in the same run.
//!
//! `cargo bench -p marram-mesh`. Both ends are in this process, so both are paid for here.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use marram_mesh::{
    Identity, Mesh, MeshOptions, Method, Peer, PeerEntry, Role, RpcFailure, Service, make_ca,
};
use marram_types::{ClusterId, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const RUN: usize = 2 << 20;
const SMALL: usize = 512;
const LIMIT: Duration = Duration::from_secs(30);

struct Sink;

#[async_trait]
impl Service for Sink {
    async fn call(
        &self,
        _: Peer,
        _: Method,
        _: Bytes,
        payload: Bytes,
    ) -> Result<(Bytes, Bytes), RpcFailure> {
        black_box(payload.len());
        Ok((Bytes::new(), Bytes::new()))
    }
}

/// Two meshes that know each other; the first one calls.
async fn pair() -> Result<(Mesh, Mesh), Box<dyn std::error::Error>> {
    let ca = make_ca(ClusterId(1))?;
    let mut meshes = Vec::new();
    let mut entries = Vec::new();
    for id in [1, 2] {
        let issued = ca.issue(Role::Node, &format!("node-{id}"), LIMIT * 100)?;
        let identity =
            Identity::from_pem(&issued.ca_pem, &issued.certificate_pem, &issued.key_pem)?;
        let mesh = Mesh::new(MeshOptions {
            identity,
            node: Some(NodeId(id)),
            raft_runtime: None,
        })?;
        mesh.set_service(Arc::new(Sink));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        entries.push(PeerEntry {
            node: NodeId(id),
            addr: listener.local_addr()?.to_string(),
            public_key: issued.certificate.public_key,
            tombstoned: false,
            until_s: 0,
        });
        let serving = mesh.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        meshes.push(mesh);
    }
    for mesh in &meshes {
        mesh.set_peers(entries.iter().cloned().collect());
    }
    let second = meshes.pop().ok_or("two meshes")?;
    Ok((meshes.pop().ok_or("two meshes")?, second))
}

async fn calls(mesh: &Mesh, method: Method, payload: &Bytes, count: u64, at_once: usize) {
    let each = count.div_ceil(at_once as u64);
    join_all((0..at_once).map(|_| {
        let (mesh, payload) = (mesh.clone(), payload.clone());
        tokio::spawn(async move {
            for _ in 0..each {
                let call = mesh.call_raw(NodeId(2), method, Bytes::new(), payload.clone(), LIMIT);
                call.await.expect("the peer answers");
            }
        })
    }))
    .await;
}

/// One writer, one reader into one buffer, an answer byte per run.
async fn raw_tcp(count: u64) -> std::io::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut near = TcpStream::connect(listener.local_addr()?).await?;
    let (mut far, _) = listener.accept().await?;
    let reader = tokio::spawn(async move {
        let mut buffer = vec![0; RUN];
        for _ in 0..count {
            far.read_exact(&mut buffer).await?;
            black_box(&buffer);
        }
        far.write_all(&[1]).await
    });
    let run = vec![7; RUN];
    let start = Instant::now();
    for _ in 0..count {
        near.write_all(&run).await?;
    }
    near.read_exact(&mut [0]).await?;
    let took = start.elapsed();
    reader.await??;
    Ok(took)
}

fn bench(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (mesh, _other) = runtime.block_on(pair()).expect("two meshes");
    let timed = |method: Method, payload: &Bytes, count: u64, at_once: usize| {
        runtime.block_on(async {
            calls(&mesh, method, payload, 1, 1).await;
            let start = Instant::now();
            calls(&mesh, method, payload, count, at_once).await;
            start.elapsed()
        })
    };

    let mut group = c.benchmark_group("2 MiB runs");
    group.throughput(Throughput::Bytes(RUN as u64));
    group.bench_function("raw TCP", |b| {
        b.iter_custom(|n| runtime.block_on(raw_tcp(n)).expect("loopback works"));
    });
    let run = Bytes::from(vec![7; RUN]);
    for at_once in [1, 4] {
        group.bench_function(format!("mesh, {at_once} at once"), |b| {
            b.iter_custom(|n| timed(Method::WriteRun, &run, n, at_once));
        });
    }
    group.finish();

    let mut group = c.benchmark_group("512 B requests");
    group.throughput(Throughput::Elements(1));
    let small = Bytes::from(vec![7; SMALL]);
    for (method, at_once) in [
        (Method::RaftAppend, 1),
        (Method::RaftAppend, 16),
        (Method::Query, 1),
        (Method::Query, 16),
    ] {
        group.bench_function(format!("{method:?}, {at_once} at once"), |b| {
            b.iter_custom(|n| timed(method, &small, n, at_once));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
