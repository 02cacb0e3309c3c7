//! Keys may be anything that S3 allows, and are never paths.

use marram_client::{ErrorKind, ListQuery, Preconditions};
use marram_cluster_tests::{Object, Pool, Shared, put, put_all, verify_all};

fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a",
        "/",
        "//",
        "a/",
        "/a",
        "a//b",
        ".",
        "..",
        "../",
        "../../etc/passwd",
        "a/../b",
        "a/./b",
        " ",
        " a ",
        "a b",
        "a+b",
        "a%2Fb",
        "%ff%fe",
        "%",
        "?",
        "#",
        "a\\b",
        "a:b",
        "*",
        "a\tb",
        "a\nb",
        "\u{0}",
        "a\u{0}b",
        "\u{7f}",
        "\u{fffd}",
        "\u{fffd}\u{fffd}",
        "\u{c3}\u{bf}",
        "\u{feff}",
        "e\u{301}",
        "\u{e9}",
        "\u{65e5}\u{672c}",
        "\u{10ffff}",
        "\u{1f600}",
        "$(reboot)",
        "`reboot`",
        "'",
        "\"",
        "-rf",
        "--help",
        "con",
        "~",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    keys.push("k".repeat(1024));
    keys.push("\u{1f600}".repeat(256));
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_keys_are_kept_as_they_are() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("odd-keys", None).await.expect("made");
    let mut pool = Pool::new(10, 1 << 20);
    let mut objects: Vec<Object> = odd_keys()
        .into_iter()
        .enumerate()
        .map(|(i, key)| pool.object(key, 100 + i))
        .collect();
    put_all(&client, "odd-keys", &objects).await;
    verify_all(&client, "odd-keys", &objects).await;

    objects.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
    let mut pages = client.list("odd-keys", ListQuery::all(""));
    let mut listed = Vec::new();
    while let Some(page) = pages.next().await.expect("listed") {
        listed.extend(
            page.objects
                .into_iter()
                .map(|object| (object.key, object.size)),
        );
    }
    let expected: Vec<(String, u64)> = objects
        .iter()
        .map(|o| (o.key.clone(), o.content.len() as u64))
        .collect();
    assert_eq!(listed, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_and_long_keys_are_refused() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("bad-keys", None).await.expect("made");
    let mut pool = Pool::new(11, 1 << 20);
    for key in [String::new(), "k".repeat(1025), "\u{1f600}".repeat(257)] {
        let errors = [
            put(&client, "bad-keys", &pool.object(key.clone(), 10))
                .await
                .expect_err("put"),
            client.get("bad-keys", &key, None).await.expect_err("get"),
            client.head("bad-keys", &key).await.expect_err("head"),
            client
                .delete("bad-keys", &key, &Preconditions::default())
                .await
                .expect_err("delete"),
        ];
        for error in errors {
            assert_eq!(
                (error.kind(), error.reason()),
                (ErrorKind::Invalid, Some("INVALID_KEY")),
                "{} bytes: {error}",
                key.len()
            );
        }
    }
}
