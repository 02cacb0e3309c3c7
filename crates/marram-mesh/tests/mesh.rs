//! Meshes of one process speaking over loopback.

#![allow(clippy::unwrap_used, clippy::panic)] // a test says what is wrong by panicking

#[path = "mesh/kit.rs"]
mod kit;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use kit::{Answer, Kit, LONG, query, raft_threads, until};
use marram_mesh::{
    CallError, Class, Identity, Join, Liveness, Mesh, Method, Peer, Ping, Propose, Query,
    ReadShard, Role, RootView, RpcCode, StrangerError, WriteRun, call_as_stranger, fingerprint,
    make_ca,
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

fn denied(error: &CallError) {
    assert_eq!(error.code(), Some(RpcCode::Denied), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_join_and_nothing_else() {
    let kit = Kit::new(1).await;
    let addr = kit.nodes[0].addr.clone();
    let authority = fingerprint(kit.authority.certificate());
    let join = wire::JoinRequest::default();
    call_as_stranger::<Join>(&addr, authority, join.clone(), LONG)
        .await
        .unwrap();
    let service = &kit.nodes[0].service;
    assert_eq!(service.last_peer(), Some(Peer::Stranger));
    let view = wire::RootViewRequest::default();
    let error = call_as_stranger::<RootView>(&addr, authority, view, LONG).await;
    let Err(StrangerError::Call(error)) = error else {
        panic!("{error:?}");
    };
    denied(&error);
    assert_eq!(service.calls.load(Ordering::SeqCst), 1);

    // Another cluster: the handshake ends before anything was sent.
    let error = call_as_stranger::<Join>(&addr, [7; 32], join, LONG).await;
    let other = StrangerError::OtherAuthority { addr };
    assert_eq!(error.unwrap_err(), other);
    assert_eq!(service.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_alone_is_no_membership() {
    let kit = Kit::new(1).await;
    let addr = kit.nodes[0].addr.clone();
    for role in [Role::Node, Role::Gateway] {
        let unknown = kit.outsider(&kit.authority, role, "who-knows").await;
        let view = wire::RootViewRequest::default();
        let asked = unknown
            .mesh
            .call_addr::<RootView>(&addr, view, Bytes::new(), LONG)
            .await;
        denied(&asked.unwrap_err());
        let join = wire::JoinRequest::default();
        let asked = unknown
            .mesh
            .call_addr::<Join>(&addr, join, Bytes::new(), LONG)
            .await;
        denied(&asked.unwrap_err());
    }
    assert_eq!(kit.nodes[0].service.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_read_until_they_are_removed() {
    let kit = Kit::new(1).await;
    let gateway = kit.outsider(&kit.authority, Role::Gateway, "edge").await;
    gateway.mesh.set_peers(kit.entries().into_iter().collect());
    let mut entry = gateway.gateway_entry();
    kit.nodes[0].mesh.set_peers(kit.table_with(entry.clone()));
    let ask = async || {
        gateway
            .mesh
            .call::<Query>(NodeId(1), query(b""), Bytes::new(), LONG)
            .await
    };
    ask().await.unwrap();
    let vote = gateway.mesh.call_raw(
        NodeId(1),
        Method::RaftVote,
        Bytes::new(),
        Bytes::new(),
        LONG,
    );
    denied(&vote.await.unwrap_err());
    entry.removed = true;
    kit.nodes[0].mesh.set_peers(kit.table_with(entry));
    denied(&ask().await.unwrap_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_is_refused_at_once_on_the_connections_that_it_has() {
    let kit = Kit::new(2).await;
    let ask = async || {
        kit.nodes[1]
            .mesh
            .call::<Query>(NodeId(1), query(b""), Bytes::new(), LONG)
            .await
    };
    ask().await.unwrap();
    let served = kit.nodes[0].service.calls.load(Ordering::SeqCst);
    let mut entries = kit.entries();
    entries[1].tombstoned = true;
    kit.nodes[0].mesh.set_peers(entries.into_iter().collect());
    denied(&ask().await.unwrap_err());
    let raft = kit.nodes[1].mesh.call_raw(
        NodeId(1),
        Method::RaftAppend,
        Bytes::new(),
        Bytes::new(),
        LONG,
    );
    denied(&raft.await.unwrap_err());
    assert_eq!(kit.nodes[0].service.calls.load(Ordering::SeqCst), served);
    until("it knows that it was removed", || {
        kit.nodes[1].mesh.is_removed()
    })
    .await;
    assert!(!kit.nodes[0].mesh.is_removed());
    let error = kit.nodes[0]
        .mesh
        .call::<Query>(NodeId(2), query(b""), Bytes::new(), LONG)
        .await
        .unwrap_err();
    assert_eq!(error, CallError::UnknownNode(NodeId(2)));
}

/// A kit of one node, and a second node whose certificate has expired.
async fn with_an_expired_one() -> (Kit, kit::Node) {
    let kit = Kit::new(1).await;
    let late = kit
        .member(2, kit.issue(Role::Node, "node-2", Duration::ZERO))
        .await;
    let mut entries = kit.entries();
    entries.push(late.entry());
    for mesh in [&kit.nodes[0].mesh, &late.mesh] {
        mesh.set_peers(entries.iter().cloned().collect());
    }
    until("the certificate expires", || {
        late.mesh.certificate().not_after < kit::unix_seconds()
    })
    .await;
    (kit, late)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_node_keeps_raft_and_renewal_only() {
    let (kit, late) = with_an_expired_one().await;
    let (node, own) = (&kit.nodes[0].mesh, &late.mesh);
    for (from, to) in [(own, NodeId(1)), (node, NodeId(2))] {
        for method in [Method::RaftAppend, Method::Renew] {
            from.call_raw(to, method, Bytes::new(), Bytes::new(), LONG)
                .await
                .unwrap();
        }
    }
    let ask = async |from: &Mesh, to| {
        from.call::<Query>(NodeId(to), query(b""), Bytes::new(), LONG)
            .await
    };
    let error = ask(own, 1).await.unwrap_err();
    denied(&error);
    assert!(error.to_string().contains("expired"), "{error}");
    // Nor is it asked for anything.
    let served = late.service.calls.load(Ordering::SeqCst);
    let error = ask(node, 2).await.unwrap_err();
    assert!(
        error.not_sent() && error.to_string().contains("expired"),
        "{error}"
    );
    assert_eq!(late.service.calls.load(Ordering::SeqCst), served);

    // The table learns that it was renewed: that counts on the same connections.
    let mut renewed = late.entry();
    renewed.until_s = kit::unix_seconds() + 3600;
    let mut entries = kit.entries();
    entries.push(renewed);
    for mesh in [node, own] {
        mesh.set_peers(entries.iter().cloned().collect());
    }
    ask(own, 1).await.unwrap();
    ask(node, 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_ca_takes_over_while_calls_go_on() {
    let mut kit = Kit::new(2).await;
    let ask = async |kit: &Kit| {
        for (from, to) in [(0, 2), (1, 1)] {
            let mesh = &kit.nodes[from].mesh;
            mesh.call::<Query>(NodeId(to), query(b""), Bytes::new(), LONG)
                .await
                .unwrap();
        }
    };
    ask(&kit).await;
    let next = make_ca(kit::CLUSTER).unwrap();
    let both = [
        kit.authority.certificate().to_vec(),
        next.certificate().to_vec(),
    ];
    let lifetime = Duration::from_secs(3600);
    for (signer, trusted) in [
        (&kit.authority, &both[..]),
        (&next, &both),
        (&next, &both[1..]),
    ] {
        for node in &kit.nodes {
            let key = node.key();
            let name = node.mesh.certificate().name.to_string();
            let signed = signer.sign(&key.public_key_info(), Role::Node, &name, lifetime);
            let identity = Identity::new(&key, &signed.unwrap(), trusted).unwrap();
            node.mesh.set_identity(identity).unwrap();
            // Each step with members that have not made it yet.
            ask(&kit).await;
        }
    }
    // New connections too; and the CA that was dropped opens none.
    let (old, new) = (fingerprint(&both[0]), fingerprint(&both[1]));
    let join = wire::JoinRequest::default();
    let addr = &kit.nodes[0].addr;
    call_as_stranger::<Join>(addr, new, join.clone(), LONG)
        .await
        .unwrap();
    let refused = call_as_stranger::<Join>(addr, old, join, LONG).await;
    assert!(matches!(refused, Err(StrangerError::OtherAuthority { .. })));
    let stale = kit.outsider(&kit.authority, Role::Node, "stale").await;
    let ping = stale
        .mesh
        .call_addr::<Ping>(addr, wire::PingRequest {}, Bytes::new(), LONG);
    assert!(matches!(ping.await, Err(CallError::Unreachable { .. })));
    let other = kit.issue(Role::Node, "node-1", lifetime);
    let other = Identity::from_pem(&other.ca_pem, &other.certificate_pem, &other.key_pem);
    assert!(
        kit.nodes[0].mesh.set_identity(other.unwrap()).is_err(),
        "another key"
    );
    kit.nodes[1].stop().await;
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
