//! Objects over the API while nodes are away, stuck, full or lying.

use marram_proto::v1;
use marram_proto::v1::put_object_request::Message;
use marram_types::GroupId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::kit::{chunk, cluster, content, eventually, header, message, reason};

const LARGE: usize = 20_000_000;
/// Objects in stripes, of which at least one has data on any node: a third of them has not.
const STUCK_OBJECTS: usize = 40;
const STUCK_BYTES: usize = 200_000;

#[tokio::test]
async fn any_two_of_six_nodes_may_be_away_for_reads_and_writes() {
    let (cluster, mut client) = cluster(6).await;
    let before = content(LARGE, 1);
    let small = content(50_000, 2);
    client.put("before", &before).await.unwrap();
    client.put("small", &small).await.unwrap();
    for first in 0..6 {
        for second in 0..first {
            let (a, b) = (cluster.nodes[first], cluster.nodes[second]);
            cluster.drives.stop(a);
            cluster.drives.stop(b);
            assert!(client.get("before").await.unwrap() == before, "{a} {b}");
            assert!(client.get("small").await.unwrap() == small, "{a} {b}");
            let now = content(1_000_000, first as u64);
            let put = client.put("now", &now).await.unwrap();
            assert_eq!(put.profiles, ["2+2"], "k shrinks and m does not");
            assert!(client.get("now").await.unwrap() == now);
            cluster.drives.start(a);
            cluster.drives.start(b);
        }
    }
}

#[tokio::test]
async fn a_node_that_goes_in_the_middle_of_a_write_costs_no_promise() {
    let (cluster, mut client) = cluster(6).await;
    for runs in [0, 3, 7, 14] {
        let gone = cluster.nodes[runs % 6];
        cluster.drives.stop_after(gone, runs);
        let data = content(LARGE, runs as u64);
        let put = client.put("k", &data).await.unwrap();
        assert!(!put.under_protected);
        let others = cluster.nodes.iter().filter(|node| **node != gone);
        for lost in others {
            cluster.drives.stop(*lost);
            // The one that went has none of the last extents; one more may go beside it.
            assert!(client.get("k").await.unwrap() == data);
            cluster.drives.start(*lost);
        }
        cluster.drives.start(gone);
        // What was held against the drive is forgotten after a while.
        tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    }
}

#[tokio::test]
async fn a_stuck_node_is_read_around() {
    let (cluster, mut client) = cluster(6).await;
    let data = content(LARGE, 1);
    // Of an object whose parity is on the stuck node nothing is asked of it, so there are many.
    for number in 0..STUCK_OBJECTS {
        let key = format!("{number}");
        client.put(&key, &data[..STUCK_BYTES]).await.unwrap();
    }
    client.put("k", &data).await.unwrap();
    cluster.drives.stick(cluster.nodes[1]);
    let started = std::time::Instant::now();
    assert!(client.get("k").await.unwrap() == data);
    assert!(
        started.elapsed() < std::time::Duration::from_secs(3),
        "nobody waited for it"
    );
    for number in 0..STUCK_OBJECTS {
        let got = client.get(&format!("{number}")).await.unwrap();
        assert!(got == data[..STUCK_BYTES]);
        if cluster.core.calls.hedges().1 > 0 {
            break;
        }
    }
    let (asked, won) = cluster.core.calls.hedges();
    assert!(won > 0 && asked >= won, "{won} of {asked} hedges");
}

#[tokio::test]
async fn lost_shards_are_decoded_around() {
    let (cluster, mut client) = cluster(6).await;
    let data = content(LARGE, 5);
    client.put("k", &data).await.unwrap();
    cluster.drives.lose_one_shard_each();
    assert!(client.get("k").await.unwrap() == data);
    let range = v1::ByteRange {
        offset: 3_000_000,
        length: 100,
    };
    let (_, part) = client.get_range("k", Some(range)).await.unwrap();
    assert_eq!(part, &data[3_000_000..3_000_100]);
}

#[tokio::test]
async fn what_a_read_does_not_find_is_repaired_without_a_scrub() {
    let (cluster, mut client) = cluster(6).await;
    let data = content(LARGE, 5);
    client.put("k", &data).await.unwrap();
    cluster.drives.lose_shards(0);
    assert!(client.get("k").await.unwrap() == data);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let asked = client.admin.get_repair(v1::GetRepairRequest {}).await;
        let repair = asked.unwrap().into_inner().repair.unwrap();
        let lost = repair.levels.iter().filter(|level| level.spare == 1);
        if lost.map(|level| level.extents).sum::<u64>() > 0 && repair.bytes > 0 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{repair:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn wrong_bytes_are_never_a_whole_answer() {
    let (cluster, mut client) = cluster(6).await;
    client.put("k", &content(3_000_000, 5)).await.unwrap();
    cluster.drives.corrupt_silently();
    let failed = client.get("k").await.unwrap_err();
    assert_eq!(failed.code(), Code::DataLoss);
    assert_eq!(reason(&failed), "OBJECT_CHECKSUM_MISMATCH");
}

#[tokio::test]
async fn too_few_nodes_refuse_writes_and_reads_retryably() {
    let (cluster, mut client) = cluster(6).await;
    client.put("k", &content(1_000_000, 5)).await.unwrap();
    for node in &cluster.nodes[..5] {
        cluster.drives.stop(*node);
    }
    let put = client
        .put("other", &content(1_000_000, 5))
        .await
        .unwrap_err();
    assert_eq!(
        (put.code(), reason(&put).as_str()),
        (Code::Unavailable, "NOT_ENOUGH_NODES")
    );
    let get = client.get("k").await.unwrap_err();
    assert_eq!(
        (get.code(), reason(&get).as_str()),
        (Code::Unavailable, "DATA_UNAVAILABLE")
    );
}

#[tokio::test]
async fn full_drives_refuse_writes_and_serve_reads() {
    let (cluster, mut client) = cluster(1).await;
    let data = content(1_000_000, 5);
    client.put("k", &data).await.unwrap();
    let view = cluster.groups.view().borrow().clone();
    for drive in view.nodes.values().flat_map(|node| &node.drives) {
        cluster.drives.fill(drive.drive);
    }
    let refused = client.put("other", &data).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::ResourceExhausted, "DRIVES_FULL")
    );
    assert!(client.get("k").await.unwrap() == data);
    assert_eq!(
        reason(&client.get("other").await.unwrap_err()),
        "OBJECT_NOT_FOUND"
    );
}

/// The client has a runtime of its own, which ends with everything in it, as a process does.
#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let (cluster, mut client) = cluster(6).await;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let endpoint = cluster.endpoint();
    runtime.spawn(async move {
        let mut leaving = super::kit::Client::over(endpoint.connect().await.unwrap());
        let (send, receive) = mpsc::channel(1);
        let feed = async {
            let head = message(Message::Header(header("bucket", "k", None)));
            send.send(head).await.unwrap();
            for _ in 0..20 {
                send.send(chunk(&content(1 << 20, 1))).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        tokio::join!(
            feed,
            leaving.objects.put_object(ReceiverStream::new(receive))
        )
    });
    eventually("bytes are on drives", || cluster.drives.bytes() > 0).await;
    runtime.shutdown_background();
    eventually("the space comes back", || cluster.drives.shards() == 0).await;
    assert_eq!(
        reason(&client.get("k").await.unwrap_err()),
        "OBJECT_NOT_FOUND"
    );
}

#[tokio::test]
async fn an_unknown_outcome_is_said_to_be_unknown() {
    let (cluster, mut client) = cluster(1).await;
    // The begin token is known by now, so the puts below get as far as their commit.
    for i in 0..20 {
        client.put(&format!("warm-{i}"), b"x").await.unwrap();
    }
    for group in 1..=crate::testing::GROUPS {
        cluster.groups.silence(GroupId(group));
    }
    let unknown = client.put("k", b"x").await.unwrap_err();
    assert_eq!(
        (unknown.code(), reason(&unknown).as_str()),
        (Code::Unknown, "OUTCOME_UNKNOWN")
    );
    let unread = client.get("k").await.unwrap_err();
    assert_eq!(
        (unread.code(), reason(&unread).as_str()),
        (Code::Unavailable, "METADATA_UNAVAILABLE")
    );
}

#[tokio::test]
async fn the_status_says_what_losses_mean() {
    let (cluster, mut client) = cluster(6).await;
    let status = |client: &super::kit::Client| {
        let mut admin = client.admin.clone();
        async move {
            let request = v1::GetClusterStatusRequest {};
            admin
                .get_cluster_status(request)
                .await
                .unwrap()
                .into_inner()
        }
    };
    let well = status(&client).await;
    let redundancy = well.redundancy.unwrap();
    assert_eq!(
        (redundancy.tolerated_losses, redundancy.writable),
        (2, true)
    );
    assert_eq!((well.nodes.len(), well.groups.len()), (6, 4));
    assert_eq!(well.answered_by, "gateway-1");
    cluster.drives.stop(cluster.nodes[1]);
    cluster.drives.stop(cluster.nodes[4]);
    client.put("narrow", &content(200_000, 1)).await.unwrap();
    let hurt = status(&client).await.redundancy.unwrap();
    assert_eq!(
        (hurt.tolerated_losses, hurt.writable, hurt.narrowed_versions),
        (0, true, 1)
    );
    let text = hurt.sentences.join("\n");
    assert!(
        text.contains("2 of 6 nodes are away: node-2, node-5."),
        "{text}"
    );
    assert!(text.contains("written 2+2 for now"), "{text}");
}

#[tokio::test]
async fn a_status_that_may_be_old_promises_nothing() {
    let (cluster, client) = cluster(6).await;
    let mut admin = client.admin.clone();
    let mut redundancy = async || {
        let request = v1::GetClusterStatusRequest {};
        let status = admin.get_cluster_status(request).await.unwrap();
        status.into_inner().redundancy.unwrap()
    };
    assert!(redundancy().await.fully_redundant);
    cluster.groups.silence(GroupId::ROOT);
    let old = redundancy().await;
    let text = old.under_way.join("\n");
    assert!(
        !old.fully_redundant && text.contains("may be old"),
        "{text}"
    );
}
