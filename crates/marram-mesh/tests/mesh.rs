//! Meshes of one process speaking over loopback.

#![allow(clippy::unwrap_used, clippy::panic)] // a test says what is wrong by panicking

#[path = "mesh/kit.rs"]
mod kit;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use kit::{Answer, Kit, LONG, query, raft_threads, until};
use marram_mesh::{
    CallError, Class, Join, Liveness, Method, Peer, Ping, Propose, Query, ReadShard, Role,
    RootView, RpcCode, WriteRun, make_ca,
};
use marram_proto::mesh::v1 as wire;
use marram_types::{ClusterId, NodeId};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_carries_header_and_payload_both_ways() {
    let kit = Kit::new(2).await;
    let payload = Bytes::from_static(b"some bytes");
    let (response, echoed) = kit.nodes[0]
        .mesh
        .call::<Query>(NodeId(2), query(b"what"), payload.clone(), LONG)
        .await
        .unwrap();
    assert_eq!(&response.answer[..], b"what");
    assert_eq!(echoed, payload);
    assert_eq!(
        kit.nodes[1].service.last_peer(),
        Some(Peer::Node(NodeId(1)))
    );
    let (pong, _) = kit.nodes[0]
        .mesh
        .call::<Ping>(NodeId(2), wire::PingRequest {}, Bytes::new(), LONG)
        .await
        .unwrap();
    assert_eq!(pong.node, 2);
    assert!(pong.started_ms > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_ourselves_copies_nothing() {
    let kit = Kit::new(1).await;
    let payload = Bytes::from(vec![1; 100_000]);
    let (_, echoed) = kit.nodes[0]
        .mesh
        .call::<WriteRun>(
            NodeId(1),
            wire::WriteRunRequest::default(),
            payload.clone(),
            LONG,
        )
        .await
        .unwrap();
    assert_eq!(echoed.as_ptr(), payload.as_ptr());
    assert!(kit.nodes[0].mesh.is_up(NodeId(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_payloads_cross_whole_and_side_by_side() {
    let kit = Kit::new(2).await;
    let calls = (0..12_u8).map(|i| {
        let mesh = kit.nodes[0].mesh.clone();
        tokio::spawn(async move {
            let bytes = if i == 0 {
                16 << 20
            } else {
                (2 << 20) + usize::from(i)
            };
            let payload = Bytes::from((0..bytes).map(|n| (n % 251) as u8 ^ i).collect::<Vec<u8>>());
            let request = wire::WriteRunRequest::default();
            let (_, echoed) = mesh
                .call::<WriteRun>(NodeId(2), request, payload.clone(), LONG)
                .await
                .unwrap();
            assert!(echoed == payload, "payload {i} came back changed");
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let huge = Bytes::from(vec![0; 18 << 20]);
    let error = kit.nodes[0]
        .mesh
        .call::<WriteRun>(NodeId(2), wire::WriteRunRequest::default(), huge, LONG)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::TooLarge { .. }) && error.not_sent());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_arrive_as_they_were_sent() {
    let kit = Kit::new(2).await;
    let mesh = &kit.nodes[0].mesh;
    kit.nodes[1].service.answer(Answer::NotLeader(7));
    let error = mesh
        .call::<Query>(NodeId(2), query(b""), Bytes::new(), LONG)
        .await
        .unwrap_err();
    let CallError::Failed(failure) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (failure.code, failure.leader),
        (RpcCode::NotLeader, Some(7))
    );
    kit.nodes[1].service.answer(Answer::Panic);
    let error = mesh
        .call::<Query>(NodeId(2), query(b""), Bytes::new(), LONG)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(RpcCode::Internal));
    let error = mesh
        .call::<Query>(NodeId(77), query(b""), Bytes::new(), LONG)
        .await
        .unwrap_err();
    assert_eq!(error, CallError::UnknownNode(NodeId(77)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_is_refused_by_both_sides() {
    let kit = Kit::new(1).await;
    // Another CA; and our own CA's signature under another cluster's name.
    let stranger = make_ca(ClusterId(99)).unwrap();
    let forged = kit.authority_for(ClusterId(99));
    for (authority, serves) in [(&stranger, true), (&forged, true), (&stranger, false)] {
        let other = kit.outsider(authority, Role::Node, "node-9").await;
        let (from, to) = if serves {
            (&kit.nodes[0].mesh, &other.addr)
        } else {
            (&other.mesh, &kit.nodes[0].addr)
        };
        let error = from
            .call_addr::<Ping>(to, wire::PingRequest {}, Bytes::new(), LONG)
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
        other.mesh.close();
    }
    assert_eq!(kit.nodes[0].service.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_key_at_an_address_is_not_the_node() {
    let kit = Kit::new(2).await;
    let impostor = kit.outsider(&kit.authority, Role::Node, "node-2").await;
    let mut entries = kit.entries();
    entries[1].addr.clone_from(&impostor.addr);
    kit.nodes[0].mesh.set_peers(entries.into_iter().collect());
    let error = kit.nodes[0]
        .mesh
        .call::<Query>(NodeId(2), query(b""), Bytes::new(), LONG)
        .await
        .unwrap_err();
    let CallError::Unreachable { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("another node"), "{reason}");
    assert_eq!(impostor.service.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_join_gateways_read_and_tombstones_do_nothing() {
    let kit = Kit::new(2).await;
    let addr = kit.nodes[0].addr.clone();
    let denied = |error: CallError| assert_eq!(error.code(), Some(RpcCode::Denied), "{error:?}");

    let joiner = kit.outsider(&kit.authority, Role::Node, "node-3").await;
    let join = wire::JoinRequest::default();
    joiner
        .mesh
        .call_addr::<Join>(&addr, join, Bytes::new(), LONG)
        .await
        .unwrap();
    assert!(matches!(
        kit.nodes[0].service.last_peer(),
        Some(Peer::Joiner { name, .. }) if &*name == "node-3"
    ));
    let view = wire::RootViewRequest::default();
    denied(
        joiner
            .mesh
            .call_addr::<RootView>(&addr, view, Bytes::new(), LONG)
            .await
            .unwrap_err(),
    );

    let gateway = kit.outsider(&kit.authority, Role::Gateway, "edge").await;
    gateway.mesh.set_peers(kit.entries().into_iter().collect());
    gateway
        .mesh
        .call::<Query>(NodeId(1), query(b""), Bytes::new(), LONG)
        .await
        .unwrap();
    denied(
        gateway
            .mesh
            .call_raw(
                NodeId(1),
                Method::RaftVote,
                Bytes::new(),
                Bytes::new(),
                LONG,
            )
            .await
            .unwrap_err(),
    );

    let mut entries = kit.entries();
    entries[1].tombstoned = true;
    kit.nodes[0].mesh.set_peers(entries.into_iter().collect());
    denied(
        kit.nodes[1]
            .mesh
            .call::<Query>(NodeId(1), query(b""), Bytes::new(), LONG)
            .await
            .unwrap_err(),
    );
    let error = kit.nodes[0]
        .mesh
        .call::<Query>(NodeId(2), query(b""), Bytes::new(), LONG)
        .await
        .unwrap_err();
    assert_eq!(error, CallError::UnknownNode(NodeId(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_node_keeps_raft_only() {
    let kit = Kit::new(1).await;
    let late = kit
        .member(2, kit.issue(Role::Node, "node-2", Duration::ZERO))
        .await;
    let mut entries = kit.entries();
    entries.push(late.entry());
    kit.nodes[0]
        .mesh
        .set_peers(entries.iter().cloned().collect());
    late.mesh.set_peers(entries.into_iter().collect());
    until("the certificate expires", || {
        late.mesh.certificate().not_after < kit::unix_seconds()
    })
    .await;
    let error = late
        .mesh
        .call::<Query>(NodeId(1), query(b""), Bytes::new(), LONG)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(RpcCode::Denied));
    let raft = Method::RaftAppend;
    late.mesh
        .call_raw(NodeId(1), raft, Bytes::new(), Bytes::new(), LONG)
        .await
        .unwrap();
    kit.nodes[0]
        .mesh
        .call_raw(NodeId(2), raft, Bytes::new(), Bytes::new(), LONG)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_peer_is_away_and_comes_back() {
    let mut kit = Kit::new(2).await;
    let mesh = kit.nodes[0].mesh.clone();
    until("node 2 is up", || mesh.is_up(NodeId(2))).await;

    kit.nodes[1].service.answer(Answer::Hang);
    let hanging = {
        let mesh = mesh.clone();
        tokio::spawn(async move {
            mesh.call::<Propose>(
                NodeId(2),
                wire::ProposeRequest::default(),
                Bytes::new(),
                LONG,
            )
            .await
        })
    };
    let service = &kit.nodes[1].service;
    until("the request arrives", || {
        service.calls.load(Ordering::SeqCst) == 1
    })
    .await;
    kit.nodes[1].stop().await;
    let error = hanging.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Lost { .. }), "{error:?}");
    assert!(!error.not_sent());
    until("node 2 is away", || !mesh.is_up(NodeId(2))).await;
    let error = mesh
        .call::<Query>(NodeId(2), query(b""), Bytes::new(), LONG)
        .await
        .unwrap_err();
    assert!(error.not_sent(), "{error:?}");

    kit.restart(1).await;
    let mut view = mesh.liveness();
    view.wait_for(|view| view.get(&NodeId(2)) == Some(&Liveness::Up))
        .await
        .unwrap();
    mesh.call::<Query>(NodeId(2), query(b""), Bytes::new(), LONG)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_the_call_and_the_work() {
    let kit = Kit::new(2).await;
    let service = &kit.nodes[1].service;
    service.answer(Answer::Hang);
    let short = Duration::from_millis(50);
    let mesh = &kit.nodes[0].mesh;
    let error = mesh
        .call::<Query>(NodeId(2), query(b""), Bytes::new(), short)
        .await
        .unwrap_err();
    let deadline = matches!(error, CallError::Deadline { .. })
        || error.code() == Some(RpcCode::DeadlineExceeded);
    assert!(deadline, "{error:?}");
    // Withdrawn calls end too, long before their deadline.
    for class in [Class::Control, Class::Bulk] {
        let started = service.calls.load(Ordering::SeqCst);
        let mesh = mesh.clone();
        let task = tokio::spawn(async move {
            let method = if class == Class::Bulk {
                Method::ReadShard
            } else {
                Method::Query
            };
            mesh.call_raw(NodeId(2), method, Bytes::new(), Bytes::new(), LONG)
                .await
        });
        until("the request arrives", || {
            service.calls.load(Ordering::SeqCst) > started
        })
        .await;
        task.abort();
    }
    until("all work has ended", || {
        service.running.load(Ordering::SeqCst) == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_accepts_and_says_nothing_is_away() {
    let kit = Kit::new(2).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut entries = kit.entries();
    entries[1].addr = silent.local_addr().unwrap().to_string();
    let mesh = &kit.nodes[0].mesh;
    mesh.set_peers(entries.into_iter().collect());
    let error = mesh
        .call::<Query>(
            NodeId(2),
            query(b""),
            Bytes::new(),
            Duration::from_millis(100),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Deadline { .. }), "{error:?}");
    until("node 2 is away", || !mesh.is_up(NodeId(2))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_over_the_limit_wait_their_turn() {
    let kit = Kit::new(2).await;
    let service = &kit.nodes[1].service;
    // Many at once go over both connections: when all have gone through, both are up, and no call
    // of the test meets a dial that failed.
    loop {
        let warming = (0..16).map(|_| {
            let request = wire::ReadShardRequest::default();
            kit.nodes[0]
                .mesh
                .call::<ReadShard>(NodeId(2), request, Bytes::new(), LONG)
        });
        if futures::future::join_all(warming)
            .await
            .iter()
            .all(Result::is_ok)
        {
            break;
        }
    }
    service.calls.store(0, Ordering::SeqCst);
    service.answer(Answer::Gate);
    let calls: Vec<_> = (0..300)
        .map(|_| {
            let mesh = kit.nodes[0].mesh.clone();
            tokio::spawn(async move {
                let request = wire::ReadShardRequest::default();
                mesh.call::<ReadShard>(NodeId(2), request, Bytes::new(), LONG)
                    .await
            })
        })
        .collect();
    // Two bulk connections of 64 requests each.
    until("the connections are full", || {
        service.running.load(Ordering::SeqCst) == 128
    })
    .await;
    service.open_gate();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(service.most_running.load(Ordering::SeqCst) <= 128);
    assert_eq!(service.calls.load(Ordering::SeqCst), 300);
}

#[test]
fn raft_travels_on_its_own_threads() {
    let raft = raft_threads();
    let main = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("main")
        .enable_all()
        .build()
        .unwrap();
    main.block_on(async {
        let kit = Kit::with_raft(2, Some(raft.handle().clone())).await;
        let mesh = &kit.nodes[0].mesh;
        let service = &kit.nodes[1].service;
        for (method, thread) in [(Method::RaftAppend, "raft"), (Method::Query, "main")] {
            mesh.call_raw(NodeId(2), method, Bytes::new(), Bytes::new(), LONG)
                .await
                .unwrap();
            assert_eq!(service.last_thread().as_deref(), Some(thread));
        }
        kit.close();
    });
}
