//! Certificates of a few seconds: they are renewed without a call failing, and a cluster that was off
//! for longer comes back by itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use marram_client::CaStatus;
use marram_cluster_tests::{
    Cluster, Options, Pool, Scratch, put_all, room, run, until, verify_all,
};

const BUCKET: &str = "renewal";
const LIFETIME_S: u64 = 8;
const WITHIN: Duration = Duration::from_secs(90);
/// Time between two rounds of puts and gets.
const EVERY: Duration = Duration::from_millis(200);

fn options() -> Options {
    Options {
        nodes: 3,
        gateways: 1,
        env: vec![("MARRAM_CERTIFICATE_LIFETIME", LIFETIME_S.to_string())],
        ..Options::default()
    }
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_secs()).expect("it fits")
}

/// When the first and the last certificate expire.
fn ends(status: &CaStatus) -> (i64, i64) {
    let ends = status.members.iter().map(|m| m.expires_s.unwrap_or(0));
    (ends.clone().min().unwrap_or(0), ends.max().unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_under_load_and_after_a_long_sleep() {
    let _room = room().await;
    let scratch = Scratch::new("renewal");
    let mut cluster = Cluster::start(scratch.path(), &options());
    let client = cluster.client();
    client.create_bucket(BUCKET, None).await.expect("made");
    let first = client.ca_status().await.expect("answered");
    assert_eq!(
        first.members.len(),
        4,
        "three nodes and a gateway: {first:?}"
    );

    // For more than two lifetimes, every put and get through every node and the gateway.
    let mut pool = Pool::new(700, 4 << 20);
    let mut objects = Vec::new();
    let (_, last) = ends(&first);
    let stop_at = last.max(now_s()) + 2 * i64::try_from(LIFETIME_S).expect("small");
    let mut round = 0;
    // A pace that does not fill the machine's disk.
    let mut pace = tokio::time::interval(EVERY);
    while now_s() < stop_at {
        pace.tick().await;
        round += 1;
        let new = [50_000, 300_000].map(|size| pool.object(format!("{round}/{size}"), size));
        let through = cluster.client_of(round % 4 + 1);
        put_all(&through, BUCKET, &new).await;
        verify_all(&through, BUCKET, &new).await;
        objects.extend(new);
    }
    let renewed = client.ca_status().await.expect("answered");
    assert!(ends(&renewed).0 > last, "{renewed:?}");

    // Off until all of them have expired.
    cluster.stop();
    let (_, last) = ends(&renewed);
    let expired = last + i64::try_from(LIFETIME_S).expect("small");
    until("every certificate has expired", WITHIN, async || {
        match now_s() > expired {
            true => Ok(()),
            false => Err(format!("{} s to go", expired - now_s())),
        }
    })
    .await;
    let cluster = Cluster::start(scratch.path(), &options());
    cluster.healthy().await;
    let client = cluster.client();
    let status = client.ca_status().await.expect("answered");
    assert!(ends(&status).0 > expired, "{status:?}");
    verify_all(&client, BUCKET, &objects).await;
    verify_all(&cluster.client_of(4), BUCKET, &objects[..2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_when_an_operator_says_so() {
    let _room = room().await;
    let scratch = Scratch::new("reload");
    let options = Options {
        nodes: 3,
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let before = cluster.client().ca_status().await.expect("answered");
    let reload = run(&cluster, &["admin", "reload-tls", "node-2", "--json"]).done();
    assert_eq!(reload.json_lines()[0]["renewed"][0], "node-2");
    let all = run(&cluster, &["admin", "reload-tls", "--json"]).done();
    assert_eq!(
        all.json_lines()[0]["renewed"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(run(&cluster, &["admin", "reload-tls", "nobody"]).code, 3);
    let after = cluster.client().ca_status().await.expect("answered");
    assert!(ends(&after).1 >= ends(&before).1);
    assert!(after.members.iter().all(|member| !member.renewal_asked));
}
