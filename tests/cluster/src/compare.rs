//! Drives and metadata, compared both ways.

use std::time::Duration;

use crate::{Cluster, run, until};

/// Waits until every shard that the metadata wants is on its drive, and nothing else is there but what
/// waits for its time. To be asked when nothing is written and nothing moves any more.
///
/// # Panics
/// When that does not come to be; the message names the first differences.
pub async fn equal_both_ways(cluster: &Cluster, within: Duration) {
    until("drives hold what the metadata wants", within, async || {
        let compared = run(cluster, &["admin", "compare"]);
        match compared.code {
            0 => Ok(()),
            _ => Err(format!("{}{}", compared.text(), compared.err)),
        }
    })
    .await;
}
