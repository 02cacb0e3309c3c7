//! Tags and metadata by the command line and the client library, through several servers.

use marram_client::{Description, Preconditions, PutBody, PutOptions};
use marram_cluster_tests::{Shared, run};

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_tagged_and_described_where_they_are() {
    let cluster = Shared::cluster();
    let _ = run(&cluster, &["mb", "m://annotate"]).done();
    let object = "m://annotate/a.bin";
    let client = cluster.client();
    let bytes = vec![7_u8; 300_000];
    let options = PutOptions {
        tags: [("stage".to_owned(), "raw".to_owned())].into(),
        ..PutOptions::default()
    };
    let put = client.put("annotate", "a.bin", PutBody::from(bytes.clone()), options);
    let written = put.await.expect("written");
    let listed = run(&cluster, &["tags", "ls", object]).done();
    assert_eq!(listed.text(), "stage=raw\n");
    let _ = run(&cluster, &["tags", "set", object, "stage=done", "by=me"]).done();
    let tags = run(&cluster, &["tags", "ls", "--json", object]).done();
    let expected = serde_json::json!({ "by": "me", "stage": "done" });
    assert_eq!(tags.json_lines()[0], expected);
    let bad = run(&cluster, &["tags", "set", object, "stage=*"]);
    assert!(bad.code == 1 && bad.err.contains("stage"), "{}", bad.err);

    let told = run(
        &cluster,
        &[
            "describe",
            "--json",
            object,
            "--content-type",
            "image/png",
            "--metadata",
            "n=v",
        ],
    )
    .done();
    let generation = told.json_lines()[0]["generation"]
        .as_u64()
        .expect("a number");
    assert!(generation > written.generation);
    let stale = run(
        &cluster,
        &[
            "describe",
            object,
            "--no-metadata",
            "--if-generation-match",
            &written.generation.to_string(),
        ],
    );
    assert_eq!(stale.code, 1, "{}", stale.err);
    let stat = run(&cluster, &["stat", "--json", object]).done();
    let stat = &stat.json_lines()[0];
    assert_eq!(
        (&stat["content_type"], &stat["metadata"]["n"]),
        (&"image/png".into(), &"v".into())
    );
    assert_eq!(
        (&stat["tags"], &stat["version_id"]),
        (&expected, &written.version_id.into())
    );
    assert!(run(&cluster, &["cat", object]).done().out == bytes);
    let ranges = [
        "cat", object, "--range", "5-9", "--range", "-3", "--range", "0-0",
    ];
    assert_eq!(run(&cluster, &ranges).done().out, [7; 9]);

    let _ = run(&cluster, &["tags", "rm", object]).done();
    assert_eq!(run(&cluster, &["tags", "ls", object]).done().text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_describe_one_generation_exactly_one_does() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    let made = client.create_bucket("annotate-race", None).await;
    made.expect("made");
    let put = client.put(
        "annotate-race",
        "a.bin",
        PutBody::from("x"),
        PutOptions::default(),
    );
    let generation = put.await.expect("written").generation;
    let racers = (0..4).map(|n| {
        let description = Description {
            metadata: Some([("n".to_owned(), n.to_string())].into()),
            ..Description::default()
        };
        let preconditions = Preconditions {
            if_generation_match: Some(generation),
            ..Preconditions::default()
        };
        let client = client.clone();
        async move {
            let name = ("annotate-race", "a.bin");
            client.describe(name, description, &preconditions).await
        }
    });
    let done = futures::future::join_all(racers).await;
    assert_eq!(
        done.iter().filter(|done| done.is_ok()).count(),
        1,
        "{done:?}"
    );
}
