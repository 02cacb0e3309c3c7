//! Reads from the nodes themselves, and what happens where these do not do.

use marram_types::caps::MIB;

use super::fake::Fake;
use super::{bytes, client};
use crate::{ByteRange, Client};

const NOWHERE: &str = "127.0.0.1:1";

async fn read(client: &Client, range: Option<ByteRange>) -> Vec<u8> {
    let download = client.get("abc", "k", range).await.expect("opens");
    download.bytes(64 * MIB).await.expect("reads")
}

#[tokio::test]
async fn a_plan_is_carried_out_at_its_nodes_and_renewed() {
    let (gateway, node) = (Fake::start().await, Fake::start().await);
    let content = bytes(8 * MIB + 777);
    for server in [&gateway, &node] {
        server.keep(content.clone(), 5);
    }
    gateway.plan([node.address(), gateway.address()]);
    let client = client(&[&gateway], 2);
    assert_eq!(read(&client, None).await, content);
    assert_eq!(node.shard_reads() + gateway.shard_reads(), 9);
    // Six MiB in the first plan, the rest in the second.
    let first = (0, content.len());
    let rest = (6 * MIB as u64, content.len() - 6 * MIB);
    assert_eq!(gateway.ranges(), [first, rest]);
    let range = ByteRange::Span {
        offset: 5 * MIB as u64 + 3,
        length: 3 * MIB as u64,
    };
    let part = &content[5 * MIB + 3..8 * MIB + 3];
    assert_eq!(read(&client, Some(range)).await, part);
}

#[tokio::test]
async fn one_node_out_of_reach_is_covered_by_the_other() {
    let (gateway, node) = (Fake::start().await, Fake::start().await);
    let content = bytes(9 * MIB);
    for server in [&gateway, &node] {
        server.keep(content.clone(), 5);
    }
    gateway.plan([NOWHERE, node.address()]);
    assert_eq!(read(&client(&[&gateway], 2), None).await, content);
    assert_eq!(node.shard_reads(), 9);
    assert_eq!(
        gateway.ranges().len(),
        2,
        "no read went through the gateway"
    );
}

#[tokio::test]
async fn nodes_out_of_reach_leave_it_to_the_gateway() {
    let gateway = Fake::start().await;
    let content = bytes(9 * MIB);
    gateway.keep(content.clone(), 5);
    gateway.plan([NOWHERE, NOWHERE]);
    let client = client(&[&gateway], 2);
    assert_eq!(read(&client, None).await, content);
    assert_eq!(gateway.ranges(), [(0, 9 * MIB), (0, 9 * MIB)]);
    // For a while no plan is asked for.
    assert_eq!(read(&client, None).await, content);
    assert_eq!(gateway.ranges().len(), 3);
}

#[tokio::test]
async fn damaged_parts_are_never_handed_out() {
    let (gateway, node) = (Fake::start().await, Fake::start().await);
    let content = bytes(9 * MIB);
    for server in [&gateway, &node] {
        server.keep(content.clone(), 5);
    }
    node.corrupt_shards();
    gateway.plan([node.address(), node.address()]);
    assert_eq!(read(&client(&[&gateway], 2), None).await, content);
    assert!(node.shard_reads() > 0);
    assert_eq!(gateway.ranges().len(), 2);
}
