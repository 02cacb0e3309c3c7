//! Reads that take their time, while what they read is deleted and its garbage collected.

use std::sync::atomic::Ordering;
use std::time::Duration;

use marram_meta::{CollectedEntry, ObjectAnswer, ObjectCommand, ObjectQuery};
use marram_proto::v1;
use marram_proto::v1::get_object_response::Message as Got;
use marram_types::GroupId;
use tonic::{Status, Streaming};

use super::kit::{Client, cluster, content, eventually};
use super::reason;
use crate::core::Core;

const WITHIN: Duration = Duration::from_secs(5);

/// Collects as servers do whose lag is over: every floor rises as far as it may, and what is below goes.
async fn collect(core: &Core) -> usize {
    let groups: Vec<GroupId> = core.view().groups.keys().copied().collect();
    let mut removed = 0;
    for group in groups.into_iter().filter(|group| *group != GroupId::ROOT) {
        let raise = ObjectCommand::RaiseFloors {
            gc_floor: u64::MAX,
            read_floor: u64::MAX,
        };
        core.internal_command(group, &raise).await.unwrap();
        let query = ObjectQuery::Garbage {
            after: None,
            limit: 100,
        };
        let ObjectAnswer::Garbage(due) = core.ask(group, &query, true).await.unwrap() else {
            panic!("another answer");
        };
        for entry in &due {
            for drive in entry.places.iter().flatten() {
                let place = core.places().place(*drive).unwrap();
                let data = vec![entry.extent.data];
                core.drives.remove(place, data, WITHIN).await.unwrap();
            }
        }
        removed += due.len();
        let collected = due.iter().map(|entry| CollectedEntry {
            at: entry.at,
            data: entry.extent.data,
        });
        let collected = ObjectCommand::Collected(collected.collect());
        core.internal_command(group, &collected).await.unwrap();
    }
    removed
}

/// Begins a read, and takes no more than its header.
async fn begin(client: &mut Client, key: &str) -> Streaming<v1::GetObjectResponse> {
    let request = v1::GetObjectRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        ..v1::GetObjectRequest::default()
    };
    let answer = client.objects.get_object(request).await.unwrap();
    let mut stream = answer.into_inner();
    stream.message().await.unwrap().expect("a header");
    stream
}

async fn rest(mut stream: Streaming<v1::GetObjectResponse>) -> Result<Vec<u8>, Status> {
    let mut data = Vec::new();
    while let Some(next) = stream.message().await? {
        if let Some(Got::Chunk(chunk)) = next.message {
            data.extend_from_slice(&chunk.data);
        }
    }
    Ok(data)
}

async fn delete(client: &mut Client, key: &str) {
    let request = v1::DeleteObjectRequest {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        ..v1::DeleteObjectRequest::default()
    };
    client.objects.delete_object(request).await.unwrap();
}

#[tokio::test]
async fn a_slow_read_of_a_version_that_is_deleted_meanwhile_finishes() {
    let (cluster, mut client) = cluster(6).await;
    let bytes = content(60_000_000, 9);
    client.put("slow", &bytes).await.unwrap();
    let core = &cluster.core;
    let told = || core.long_reads.told.load(Ordering::Relaxed);
    let slow = begin(&mut client, "slow").await;
    // It lasts, so its group hears of it: before the lag of readers is over.
    eventually("the group knows of the read", || told() == 1).await;
    delete(&mut client, "slow").await;
    client.put("other", &bytes[..300_000]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(collect(core).await, 0, "it is still needed");
    }
    assert!(client.get("slow").await.is_err(), "it is deleted");
    assert!(rest(slow).await.unwrap() == bytes, "to its last byte");
    // Then nobody needs it.
    eventually("the group knows that it ended", || told() == 2).await;
    assert!(collect(core).await > 0);
    assert_eq!(client.get("other").await.unwrap(), bytes[..300_000]);
}

/// A read that its group was not told of in time gets an error that says what happened, and no wrong byte.
#[tokio::test]
async fn a_read_whose_version_is_gone_says_so() {
    let (cluster, mut client) = cluster(6).await;
    let bytes = content(60_000_000, 9);
    client.put("k", &bytes).await.unwrap();
    let late = begin(&mut client, "k").await;
    delete(&mut client, "k").await;
    assert!(collect(&cluster.core).await > 0, "no lag at all");
    let ended = rest(late).await.expect_err("its bytes are gone");
    assert_eq!(reason(&ended), "OBJECT_CHANGED", "{ended}");
}
