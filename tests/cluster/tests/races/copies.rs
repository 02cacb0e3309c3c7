//! Objects are copied through one gateway while their sources are overwritten through another: a copy is one
//! of the contents that its source had, whole, or it is not there.

use marram_client::{Client, CopyOptions, ErrorKind, Preconditions, PutBody, PutOptions};
use marram_cluster_tests::get;

use super::kit::{Arena, counted};

const BUCKET: &str = "copies";
/// Inline, copies, stripes.
const SIZES: [usize; 3] = [1000, 100_000, 700_000];
const COPIERS: usize = 3;

fn source(at: usize) -> String {
    format!("source/{at}")
}

/// Every byte says which content it is of.
fn content(number: u64, size: usize) -> Vec<u8> {
    let number = number.to_le_bytes();
    number.iter().copied().cycle().take(size).collect()
}

fn number_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"))
}

async fn overwrite(client: Client, at: usize, over: impl Fn() -> bool) -> u64 {
    let (key, mut number) = (source(at), 1);
    while !over() {
        let body = PutBody::from(content(number, SIZES[at]));
        let put = client.put(BUCKET, &key, body, PutOptions::default());
        put.await.expect("written");
        number += 1;
    }
    number - 1
}

/// What a copier did: the copies that were acknowledged, each with the checksum of what it is a copy of, and
/// the keys of those that were refused.
struct Done {
    copied: Vec<(String, usize, u64)>,
    refused: Vec<String>,
}

async fn copy(client: Client, copier: usize, over: impl Fn() -> bool) -> Done {
    let mut done = Done {
        copied: Vec::new(),
        refused: Vec::new(),
    };
    for round in 0.. {
        if over() {
            break;
        }
        let at = (copier + round) % SIZES.len();
        let target = format!("copy/{copier}/{round}");
        let options = CopyOptions {
            preconditions: Preconditions {
                if_generation_match: Some(0),
                ..Preconditions::default()
            },
            ..CopyOptions::default()
        };
        let (from, to) = (source(at), (BUCKET, target.as_str()));
        match client.copy((BUCKET, &from), to, options).await {
            Ok(copied) => {
                assert_eq!(copied.source.crc64nvme, copied.target.crc64nvme);
                done.copied.push((target, at, copied.source.crc64nvme));
            }
            // It was replaced between the look at it and its copy.
            Err(error) if error.kind() == ErrorKind::Precondition => done.refused.push(target),
            Err(error) => panic!("{target}: {error}"),
        }
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_whole_while_its_source_is_overwritten() {
    let mut arena = Arena::new("copies").await;
    let client = arena.cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    for (at, size) in SIZES.into_iter().enumerate() {
        let (key, body) = (source(at), PutBody::from(content(0, size)));
        let put = client.put(BUCKET, &key, body, PutOptions::default());
        put.await.expect("written");
    }
    arena.harm();
    let writers = (0..SIZES.len()).map(|at| {
        let task = overwrite(arena.gateway(0), at, arena.over());
        tokio::spawn(task)
    });
    let writers: Vec<_> = writers.collect();
    let copiers = (0..COPIERS).map(|copier| {
        let task = copy(arena.gateway(1), copier, arena.over());
        tokio::spawn(task)
    });
    let copiers: Vec<_> = copiers.collect();
    arena.race().await;
    let mut last = Vec::new();
    for writer in writers {
        last.push(writer.await.expect("no writer fails"));
    }
    let (mut copied, mut refused) = (Vec::new(), Vec::new());
    for copier in copiers {
        let done = copier.await.expect("no copier fails");
        copied.extend(done.copied);
        refused.extend(done.refused);
    }
    arena.peace().await;
    println!(
        "{} copies, {} refused, sources written {last:?} times",
        copied.len(),
        refused.len()
    );
    assert!(copied.len() > 20 && last.iter().all(|n| *n > 5), "no race");
    let mut contents = std::collections::BTreeSet::new();
    for (target, at, crc64) in &copied {
        let bytes = get(&client, BUCKET, target).await.expect("read");
        let number = number_of(&bytes);
        assert!(
            number <= last[*at],
            "{target}: a content that was never written"
        );
        assert!(bytes == content(number, SIZES[*at]), "{target} is mixed");
        assert_eq!(marram_types::Crc64Nvme::of(&bytes), *crc64, "{target}");
        contents.insert((*at, number));
    }
    assert!(contents.len() > 3, "the sources stood still: {contents:?}");
    let (all, _) = counted(&client, BUCKET).await;
    for target in &refused {
        assert!(
            !all.contains_key(target),
            "{target} was refused and is there"
        );
    }
    assert_eq!(all.len(), copied.len() + SIZES.len());
    for (at, number) in last.iter().enumerate() {
        let bytes = get(&client, BUCKET, &source(at)).await.expect("read");
        assert!(bytes == content(*number, SIZES[at]), "the last one of {at}");
    }
}
