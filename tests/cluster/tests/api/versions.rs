//! A bucket that keeps versions, by the command line, and by writers through several servers at once.

use std::fs;

use marram_client::{Preconditions, PutBody, PutOptions, VersionQuery, Versioning};
use marram_cluster_tests::{Cluster, Pool, Scratch, Shared, run};

const MIB: usize = 1 << 20;

/// Generation, and whether it is a marker and current, of all versions below.
fn versions_of(cluster: &Cluster, below: &str) -> Vec<(u64, bool, bool)> {
    let listed = run(cluster, &["ls", "--versions", "-r", "--json", below]).done();
    let lines = listed.json_lines();
    let each = lines.iter().map(|line| {
        let generation = line["generation"].as_u64().expect("a number");
        let is = |name: &str| line[name] == true;
        (generation, is("delete_marker"), is("is_current"))
    });
    each.collect()
}

#[test]
fn an_object_is_replaced_deleted_and_brought_back() {
    let cluster = Shared::cluster();
    let scratch = Scratch::new("versions");
    let mut pool = Pool::new(77, 8 << 20);
    let (old, new) = (pool.content(3 * MIB).to_vec(), pool.content(MIB).to_vec());
    let file = |name: &str, bytes: &[u8]| {
        let path = scratch.path().join(name);
        fs::write(&path, bytes).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (first, second) = (file("first", &old), file("second", &new));
    let object = "m://versions/x/a.bin";
    let _ = run(&cluster, &["mb", "m://versions"]).done();
    let told = run(&cluster, &["versioning", "m://versions", "on", "--json"]).done();
    assert_eq!(told.json_lines()[0]["versioning"], "on");
    let _ = run(&cluster, &["cp", "-q", &first, object]).done();
    let _ = run(&cluster, &["cp", "-q", &second, object]).done();
    let versions = || versions_of(&cluster, "m://versions/");
    let listed = versions();
    assert_eq!(listed.len(), 2);
    assert!(listed[0].2 && !listed[1].2);
    let oldest = listed[1].0.to_string();
    let cat = |args: &[&str]| run(&cluster, &[&["cat", object], args].concat());
    assert!(cat(&["--version", &oldest]).done().out == old);
    assert!(cat(&[]).done().out == new);
    // Deleted: it says that the versions are there.
    let removed = run(&cluster, &["rm", object]).done();
    assert!(
        removed.text().contains("delete marker"),
        "{}",
        removed.text()
    );
    let gone = cat(&[]);
    assert_eq!(gone.code, 3);
    assert!(gone.err.contains("deleted"), "{}", gone.err);
    let marker = versions()[0];
    assert!(marker.1 && marker.2);
    assert_eq!(cat(&["--version", &marker.0.to_string()]).code, 1);
    assert_eq!(cat(&["--version", "1"]).code, 3);
    assert_ne!(run(&cluster, &["rb", "m://versions"]).code, 0);
    // And back, first what was there, then what was there before.
    let _ = run(&cluster, &["restore", object]).done();
    assert!(cat(&[]).done().out == new);
    let _ = run(&cluster, &["restore", object, "--version", &oldest]).done();
    assert!(cat(&[]).done().out == old);
    let back = scratch.path().join("back");
    let back_text = back.to_str().expect("UTF-8");
    let copy = ["cp", "-q", "--version", &oldest, object, back_text];
    let _ = run(&cluster, &copy).done();
    assert!(fs::read(&back).expect("read") == old);
    let stat = run(&cluster, &["stat", "--json", "m://versions"]).done();
    let usage = &stat.json_lines()[0]["usage"];
    assert_eq!(usage["objects"], 1);
    assert_eq!(usage["noncurrent_versions"], 2);
    assert_eq!(usage["noncurrent_bytes"], (4 * MIB) as u64);
    let _ = run(&cluster, &["rm", "--version", &oldest, object]).done();
    assert_eq!(versions().len(), 2);
    let told = run(&cluster, &["versioning", "m://versions", "suspend"]).done();
    assert!(told.text().contains("suspended"), "{}", told.text());
    let _ = run(&cluster, &["rb", "--force", "m://versions"]).done();
}

/// Writers at several servers replace, delete and remove one key at the same time: what each was told is
/// what is there in the end, version by version.
#[tokio::test(flavor = "multi_thread")]
async fn what_every_writer_was_told_is_there() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 8;
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("raced", None).await.expect("made");
    let on = client.set_versioning("raced", Versioning::On).await;
    assert_eq!(on.expect("set").versioning, Versioning::On);
    let writers = (0..WRITERS).map(|writer| {
        let client = cluster.client_of(u16::try_from(1 + writer).expect("small"));
        tokio::spawn(async move {
            let (mut kept, any) = (Vec::new(), Preconditions::default());
            for round in 0..ROUNDS {
                let bytes = vec![u8::try_from(writer * ROUNDS + round).expect("small"); 200_000];
                let body = PutBody::from(bytes.clone());
                let put = client.put("raced", "key", body, PutOptions::default());
                let generation = put.await.expect("put").generation;
                match round % 4 {
                    1 => {
                        let done = client.delete_version("raced", "key", None, &any).await;
                        kept.push((done.expect("marked").generation, None));
                        kept.push((generation, Some(bytes)));
                    }
                    2 => {
                        let of = Some(generation);
                        let done = client.delete_version("raced", "key", of, &any).await;
                        assert!(done.expect("removed").existed);
                    }
                    _ => kept.push((generation, Some(bytes))),
                }
            }
            kept
        })
    });
    let mut told = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        told.extend(writer.await.expect("a writer"));
    }
    told.sort();
    let mut found = Vec::new();
    let mut pages = client.list_versions("raced", VersionQuery::default());
    while let Some(page) = pages.next().await.expect("a page") {
        for (at, version) in page.versions.into_iter().enumerate() {
            assert_eq!(version.is_current, at == 0);
            let generation = version.generation;
            let bytes = match version.delete_marker {
                true => None,
                false => {
                    let got = client.get_version("raced", "key", generation, None).await;
                    Some(got.expect("there").bytes(MIB).await.expect("read"))
                }
            };
            found.push((generation, bytes));
        }
    }
    found.reverse();
    assert!(found == told, "versions and bytes are those that were told");
}
