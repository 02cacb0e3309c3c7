//! Listings are complete, ordered and paged, with prefix and delimiter, at every server.

use std::collections::BTreeSet;

use marram_client::{Client, ListQuery};
use marram_cluster_tests::{Object, Pool, Raw, Shared, put_all, reason};
use marram_proto::v1;

/// What a listing must show, by looking at every key.
fn expected(keys: &BTreeSet<String>, query: &ListQuery) -> (Vec<String>, Vec<String>) {
    let (mut objects, mut prefixes) = (Vec::new(), BTreeSet::new());
    for key in keys.iter().filter(|key| key.starts_with(&query.prefix)) {
        let rest = &key[query.prefix.len()..];
        let cut = match query.delimiter.as_str() {
            "" => None,
            delimiter => rest.find(delimiter).map(|at| at + delimiter.len()),
        };
        match cut {
            Some(cut) => {
                let rolled = format!("{}{}", query.prefix, &rest[..cut]);
                if rolled > query.start_after {
                    prefixes.insert(rolled);
                }
            }
            None if *key > query.start_after => objects.push(key.clone()),
            None => {}
        }
    }
    (objects, prefixes.into_iter().collect())
}

async fn listed(client: &Client, query: &ListQuery) -> (Vec<String>, Vec<String>) {
    let mut pages = client.list("listing", query.clone());
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    while let Some(page) = pages.next().await.expect("listed") {
        let most = usize::from(if query.page_size == 0 {
            1000
        } else {
            query.page_size
        });
        assert!(
            page.objects.len() + page.prefixes.len() <= most,
            "a page is not longer"
        );
        objects.extend(page.objects.into_iter().map(|object| object.key));
        prefixes.extend(page.prefixes);
    }
    (objects, prefixes)
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_what_they_must_be() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("listing", None).await.expect("made");
    assert_eq!(
        listed(&client, &ListQuery::default()).await,
        (vec![], vec![])
    );
    let mut pool = Pool::new(40, 1 << 20);
    let mut keys = BTreeSet::new();
    for i in 0..300 {
        let folder = ["", "a/", "a/b/", "a/b/c/", "b/", "b//", "aa/", "z"][pool.below(8)];
        keys.insert(format!("{folder}{}", ["x", "y/", "key"][pool.below(3)]).repeat(1 + i % 2));
        keys.insert(format!("{folder}{i:03}"));
    }
    let objects: Vec<Object> = keys.iter().map(|key| pool.object(key.clone(), 3)).collect();
    put_all(&client, "listing", &objects).await;
    for prefix in ["", "a", "a/", "a/b/", "b//", "zz", "none/"] {
        for delimiter in ["", "/", "b/"] {
            for page_size in [0, 1, 7, 100] {
                if page_size == 1 && prefix.len() < 4 {
                    continue; // 300 calls that say nothing new
                }
                let query = ListQuery {
                    prefix: prefix.to_owned(),
                    delimiter: delimiter.to_owned(),
                    page_size,
                    ..ListQuery::default()
                };
                assert_eq!(
                    listed(&client, &query).await,
                    expected(&keys, &query),
                    "{query:?}"
                );
            }
        }
    }
    for start_after in ["a", "a/b/c/100", "b/", "zzz"] {
        let query = ListQuery {
            start_after: start_after.to_owned(),
            page_size: 50,
            ..ListQuery::default()
        };
        assert_eq!(
            listed(&client, &query).await,
            expected(&keys, &query),
            "{query:?}"
        );
    }
    for node in 1..=cluster.nodes() + 1 {
        let query = ListQuery::all("");
        let here = listed(&cluster.client_of(node), &query).await;
        assert_eq!(here, expected(&keys, &query), "server {node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_tampered_with_is_refused() {
    let cluster = Shared::cluster();
    let client = cluster.client();
    client.create_bucket("tokens", None).await.expect("made");
    let mut pool = Pool::new(41, 1 << 20);
    let objects: Vec<Object> = (0..9).map(|i| pool.object(format!("{i}"), 3)).collect();
    put_all(&client, "tokens", &objects).await;
    let raw = Raw::connect(&cluster, 1).await;
    let ask = |page_token: String, prefix: &str| v1::ListObjectsRequest {
        bucket: "tokens".to_owned(),
        prefix: prefix.to_owned(),
        page_size: 3,
        page_token,
        ..v1::ListObjectsRequest::default()
    };
    let first = raw
        .objects()
        .list_objects(raw.request(ask(String::new(), "")))
        .await;
    let token = first.expect("listed").into_inner().next_page_token;
    assert!(!token.is_empty(), "there is more");
    // Another server takes it.
    let other = Raw::connect(&cluster, 5).await;
    let second = other
        .objects()
        .list_objects(other.request(ask(token.clone(), "")))
        .await;
    assert_eq!(second.expect("listed").into_inner().objects[0].key, "3");
    let mut changed = token.clone();
    let flipped = if changed.ends_with('0') { '1' } else { '0' };
    changed.pop();
    changed.push(flipped);
    let middle = token.len() / 2;
    let cut = token[..middle].to_owned();
    for (bad, prefix) in [
        (changed, ""),
        (cut, ""),
        ("nonsense".to_owned(), ""),
        (token, "x"),
    ] {
        let error = raw
            .objects()
            .list_objects(raw.request(ask(bad.clone(), prefix)))
            .await;
        assert_eq!(
            reason(&error.expect_err("refused")),
            "INVALID_PAGE_TOKEN",
            "{bad} {prefix}"
        );
    }
}
