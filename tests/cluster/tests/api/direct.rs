//! Reads from the nodes themselves: the same bytes, and tickets that allow what they say and no more.

use marram_cluster_tests::{Pool, Raw, Shared, put, reason, verify};
use marram_proto::v1;
use marram_proto::v1::get_object_response::Message;
use tonic::{Code, Status};

const MIB: usize = 1 << 20;
const SIZES: [usize; 4] = [8 * MIB, 8 * MIB + 1, 20 * MIB + 4321, 40 * MIB - 1];

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_come_from_the_nodes_as_through_a_gateway() {
    let cluster = Shared::cluster();
    let (direct, through) = (cluster.client(), cluster.client_through_gateways());
    direct.create_bucket("direct", None).await.expect("made");
    let mut pool = Pool::new(71, 41 * MIB);
    for size in SIZES {
        let object = pool.object(format!("{size}"), size);
        put(&direct, "direct", &object).await.expect("put");
        for client in [&direct, &through] {
            verify(client, "direct", &object).await.expect("exact");
        }
    }
}

/// The plan of an object.
async fn plan(raw: &Raw, key: &str) -> v1::ReadPlan {
    let message = v1::GetObjectRequest {
        bucket: "tickets".to_owned(),
        key: key.to_owned(),
        range: None,
        accept_plan: true,
        ..v1::GetObjectRequest::default()
    };
    let answer = raw.objects().get_object(raw.request(message)).await;
    let mut stream = answer.expect("answered").into_inner();
    let header = stream.message().await.expect("read").expect("a header");
    assert!(matches!(header.message, Some(Message::Header(_))));
    let second = stream.message().await.expect("read").expect("a plan");
    assert!(stream.message().await.expect("read").is_none());
    let plan = match second.message {
        Some(Message::Plan(plan)) => Some(plan),
        _ => None,
    };
    plan.expect("a plan, not bytes")
}

async fn redeem(
    raw: &Raw,
    ticket: &[u8],
    offset: u64,
    length: u32,
) -> Result<v1::ReadShardResponse, Status> {
    let message = v1::ReadShardRequest {
        ticket: ticket.to_vec().into(),
        offset,
        length,
    };
    let answer = raw.objects().read_shard(raw.request(message)).await?;
    Ok(answer.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_holds_at_its_node_for_its_bytes() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("tickets", None).await.expect("made");
    let mut pool = Pool::new(72, 13 * MIB);
    let object = pool.object("k", 12 * MIB);
    put(&client, "tickets", &object).await.expect("put");
    let asked = Raw::connect(&cluster, 1).await;
    let plan = plan(&asked, "k").await;
    let extent = &plan.extents[0];
    assert_eq!((extent.k, extent.m, extent.offset), (4, 2, 0));
    let shard = &extent.shards[1];
    let address = &plan.nodes[shard.node.expect("it is there") as usize].api_address;
    let has = |node: &u16| cluster.endpoint(*node) == address;
    let own = (1..=cluster.nodes())
        .find(has)
        .expect("a node of the cluster");
    let (own, other) = (
        Raw::connect(&cluster, own).await,
        Raw::connect(&cluster, own % cluster.nodes() + 1).await,
    );

    let part = redeem(&own, &shard.ticket, 4096, 1000).await.expect("read");
    let cell = extent.cell as usize;
    let expected = &object.content[cell + 4096..cell + 5096];
    assert_eq!(part.chunk.expect("bytes").data, expected);

    let refused = |answer: Result<v1::ReadShardResponse, Status>| {
        let status = answer.expect_err("refused");
        (status.code(), reason(&status))
    };
    let elsewhere = refused(redeem(&other, &shard.ticket, 0, 10).await);
    assert_eq!(elsewhere, (Code::NotFound, "SHARD_NOT_FOUND".to_owned()));
    let mut changed = shard.ticket.to_vec();
    changed[20] ^= 1;
    let invalid = (Code::PermissionDenied, "TICKET_INVALID".to_owned());
    assert_eq!(refused(redeem(&own, &changed, 0, 10).await), invalid);
    assert_eq!(refused(redeem(&own, b"", 0, 10).await), invalid);
    let bad = (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned());
    for (offset, length) in [(0, 0), (0, 1 << 21), (3 * MIB as u64, 1), (u64::MAX, 9)] {
        let answer = redeem(&own, &shard.ticket, offset, length).await;
        assert_eq!(refused(answer), bad, "{offset} {length}");
    }
}
