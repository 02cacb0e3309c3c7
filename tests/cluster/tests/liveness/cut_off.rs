//! What operators see of a server that is cut off from all others: not ready, and no leaders, although
//! it led groups and believes that it still does.

use std::time::Duration;

use marram_cluster_tests::{Cluster, Options, Scratch, http_get, read_page, room, until};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(60);

/// How many groups have a leader, by the word of the server with this metrics address.
fn led(metrics: &str) -> Result<usize, String> {
    let (_, page) = http_get(metrics, "/metrics", "")?;
    let page = read_page(&page)?;
    let family = page.get("marram_raft_has_leader");
    let samples = family.map_or(&[][..], |family| &family.samples);
    Ok(samples.iter().filter(|(.., value)| *value > 0.5).count())
}

async fn until_seen(metrics: &str, status: u16, says: &str, leaders: usize) {
    until(
        &format!("{status} with {leaders} leaders"),
        SOON,
        async || {
            let (got, said) = http_get(metrics, "/readyz?verbose", "")?;
            let led = led(metrics)?;
            match got == status && said.contains(says) && led == leaders {
                true => Ok(()),
                false => Err(format!("{got}, {led} leaders: {said}")),
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_cut_off_says_so() {
    let _room = room().await;
    let scratch = Scratch::new("cut-off");
    let options = Options {
        nodes: 3,
        ..Options::default()
    };
    let cluster = Cluster::start(scratch.path(), &options);
    let status = cluster.client().cluster_status().await.expect("answered");
    let first = status.nodes.iter().find(|node| node.name == "node-1");
    let metrics = &first.expect("there").metrics_address;
    until_seen(metrics, 200, "[+] groups: a majority of 8 of 8", 9).await;
    for other in [2, 3] {
        cluster.signal(other, Signal::STOP);
    }
    until_seen(metrics, 503, "[-] groups: a majority of 0 of 8", 0).await;
    let (status, _) = http_get(metrics, "/livez", "").expect("it lives");
    assert_eq!(status, 200, "a restart would not help");
    for other in [2, 3] {
        cluster.signal(other, Signal::CONT);
    }
    until_seen(metrics, 200, "[+] groups: a majority of 8 of 8", 9).await;
}
