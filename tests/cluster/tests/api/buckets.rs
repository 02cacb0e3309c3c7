//! Buckets: made, seen, refused, removed.

use marram_client::{ErrorKind, ListQuery, Preconditions};
use marram_cluster_tests::{Pool, Shared, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_lives_and_goes() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    let made = client
        .create_bucket("lives-and-goes", None)
        .await
        .expect("made");
    assert_eq!(made.profile, "4+2");
    // Every node knows it as soon as the call has answered.
    for node in 1..=cluster.nodes() + 1 {
        let seen = cluster.client_of(node).head_bucket("lives-and-goes").await;
        assert_eq!(seen.expect("known everywhere"), made);
    }
    let again = client
        .create_bucket("lives-and-goes", None)
        .await
        .expect_err("there already");
    assert_eq!(
        (again.kind(), again.reason()),
        (ErrorKind::AlreadyExists, Some("BUCKET_EXISTS"))
    );
    let all = client.list_buckets("lives-").await.expect("listed");
    assert_eq!(all, [made]);
    client
        .delete_bucket("lives-and-goes")
        .await
        .expect("removed");
    let gone = client
        .head_bucket("lives-and-goes")
        .await
        .expect_err("gone");
    assert_eq!(gone.reason(), Some("BUCKET_NOT_FOUND"));
    client
        .create_bucket("lives-and-goes", None)
        .await
        .expect("made anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_objects_stays() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("not-empty", None).await.expect("made");
    let object = Pool::new(1, 1 << 20).object("a", 10);
    put(&client, "not-empty", &object).await.expect("put");
    let refused = client
        .delete_bucket("not-empty")
        .await
        .expect_err("not empty");
    assert_eq!(
        (refused.kind(), refused.reason()),
        (ErrorKind::Precondition, Some("BUCKET_NOT_EMPTY"))
    );
    // The attempt left it as it was: readable and writable.
    put(&client, "not-empty", &object).await.expect("put again");
    client.head("not-empty", "a").await.expect("there");
    client
        .delete("not-empty", "a", &Preconditions::default())
        .await
        .expect("deleted");
    client.delete_bucket("not-empty").await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_must_keep_the_rules() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    let long = "a".repeat(64);
    for name in [
        "",
        "ab",
        &long,
        "Upper",
        "under_score",
        "-begin",
        "end-",
        "two..dots",
        ".dot",
        "dot.",
        "192.168.1.1",
        "xn--a",
        "a-s3alias",
        "sp ace",
        "\u{fc}ber",
        "a/b",
        "../up",
    ] {
        let error = client.create_bucket(name, None).await.expect_err(name);
        assert_eq!(
            (error.kind(), error.reason()),
            (ErrorKind::Invalid, Some("INVALID_BUCKET_NAME")),
            "{name:?}"
        );
    }
    for name in ["abc", "1.2.3", &"a".repeat(63), "a.b-c.0"] {
        client.create_bucket(name, None).await.expect(name);
        client.delete_bucket(name).await.expect(name);
    }
    let error = client
        .create_bucket("odd-profile", Some("4+"))
        .await
        .expect_err("no profile");
    assert_eq!(error.reason(), Some("INVALID_PROFILE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_is_said_to_be_missing() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    let none = "no-such-bucket";
    let small = Pool::new(2, 1 << 20).object("a", 10);
    let large = Pool::new(3, 1 << 22).object("a", 1 << 20);
    let mut errors = vec![
        client.head(none, "a").await.expect_err("head"),
        client.get(none, "a", None).await.expect_err("get"),
        client
            .delete(none, "a", &Preconditions::default())
            .await
            .expect_err("delete"),
        client
            .list(none, ListQuery::all(""))
            .next()
            .await
            .expect_err("list"),
        client.delete_bucket(none).await.expect_err("delete bucket"),
        client.head_bucket(none).await.expect_err("head bucket"),
    ];
    errors.push(put(&client, none, &small).await.expect_err("put"));
    errors.push(put(&client, none, &large).await.expect_err("put"));
    for error in errors {
        assert_eq!(
            (error.kind(), error.reason()),
            (ErrorKind::NotFound, Some("BUCKET_NOT_FOUND")),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_the_buckets_own() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    let made = client
        .create_bucket("two-and-two", Some("2+2"))
        .await
        .expect("made");
    assert_eq!(made.profile, "2+2");
    let object = Pool::new(4, 4 << 20).object("a", 3 << 20);
    let info = put(&client, "two-and-two", &object).await.expect("put");
    assert_eq!(info.profiles, ["2+2"]);
    marram_cluster_tests::verify(&client, "two-and-two", &object)
        .await
        .expect("exact");
}
