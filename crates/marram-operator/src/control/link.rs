//! Clusters are spoken to by their API, at the addresses of their pods: so that it works before Services and
//! names do. The certificate is held to the name of the client Service.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use marram_client::{Client, ClientConfig, ConfigError, ErrorKind, RetryPolicy};
use tokio::sync::Mutex;

use super::error::ReconcileError;
use super::secrets::Access;
use crate::names::{API_PORT, Names};
use crate::view::{BucketNeed, ClusterView, PodView};

/// How long one attempt may take.
const CALL: Duration = Duration::from_secs(10);
/// Attempts at one call.
const ATTEMPTS: u32 = 4;
/// Most clusters whose connections are kept.
const LINKS_MAX: usize = 1000;

struct Kept {
    access: Access,
    addresses: Vec<String>,
    client: Client,
}

/// Connections that are kept between reconciliations.
#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<(String, String), Kept>>);

impl Links {
    /// A client of a cluster, at its pods that are ready.
    pub(crate) async fn to(
        &self,
        names: &Names,
        access: &Access,
        addresses: &[String],
    ) -> Result<Client, ConfigError> {
        let key = (names.namespace.clone(), names.name.clone());
        let mut kept = self.0.lock().await;
        if let Some(kept) = kept.get(&key)
            && kept.access == *access
            && kept.addresses == addresses
        {
            return Ok(kept.client.clone());
        }
        let client = connect(names, access, addresses)?;
        if kept.len() >= LINKS_MAX {
            kept.clear();
        }
        let link = Kept {
            access: access.clone(),
            addresses: addresses.to_vec(),
            client: client.clone(),
        };
        kept.insert(key, link);
        Ok(client)
    }
}

/// A client of the servers at these addresses.
pub(crate) fn connect(
    names: &Names,
    access: &Access,
    addresses: &[String],
) -> Result<Client, ConfigError> {
    let endpoint = |address: &String| match address.contains(':') {
        true => format!("https://[{address}]:{API_PORT}"),
        false => format!("https://{address}:{API_PORT}"),
    };
    let endpoints: Vec<String> = addresses.iter().map(endpoint).collect();
    let mut config = ClientConfig::new(endpoints.join(","), &access.id, &access.secret);
    config.ca_certificates = Some(access.ca.clone().into_bytes());
    config.server_name = Some(names.api_host());
    config.call_timeout = CALL;
    config.direct_reads = false;
    config.retry = RetryPolicy {
        attempts_max: ATTEMPTS,
        ..RetryPolicy::default()
    };
    Client::connect(config)
}

/// The addresses of pods that serve; where none is ready, of those that run and are members by their own
/// word: a cluster that has not all of its nodes yet has no pod that is ready.
pub(crate) fn serving(pods: &BTreeMap<i32, PodView>) -> Vec<String> {
    let addresses = |serves: fn(&PodView) -> bool| -> Vec<String> {
        let pods = pods.values().filter(|pod| serves(pod) && !pod.deleting);
        pods.filter_map(|pod| pod.address.clone()).collect()
    };
    let ready = addresses(|pod| pod.ready);
    match ready.is_empty() {
        false => ready,
        true => addresses(|pod| pod.running_since.is_some() && !pod.waits_for_token),
    }
}

/// What the cluster says of itself; its buckets where they matter.
pub(crate) async fn look(
    client: &Client,
    with_buckets: bool,
) -> Result<ClusterView, ReconcileError> {
    let status = client.cluster_status().await;
    let status = status.map_err(ReconcileError::cluster("say how it is"))?;
    let mut buckets = Vec::new();
    if with_buckets {
        let listed = client.list_buckets("").await;
        let listed = listed.map_err(ReconcileError::cluster("list its buckets"))?;
        for bucket in listed {
            // A profile that this release cannot read is held against nothing; the cluster itself refuses.
            let all = std::iter::once(&bucket.profile).chain(&bucket.allowed_profiles);
            let widest = all
                .filter_map(|profile| profile.parse::<marram_types::Profile>().ok())
                .max_by_key(|profile| profile.width());
            if let Some(profile) = widest {
                buckets.push(BucketNeed {
                    name: bucket.name,
                    nodes: profile.width(),
                    profile: profile.to_string(),
                });
            }
        }
    }
    Ok(ClusterView { status, buckets })
}

/// Whether an error is the cluster's refusal, which is said and waited for, and no failure.
pub(crate) fn is_refusal(error: &marram_client::ClientError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Precondition | ErrorKind::NotFound | ErrorKind::Invalid
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::pod;

    #[test]
    fn members_are_asked_where_nobody_is_ready() {
        let at = |ordinal, ready, waits_for_token| PodView {
            address: Some(format!("10.0.0.{ordinal}")),
            ready,
            waits_for_token,
            ..pod(ordinal)
        };
        let all = [at(0, false, false), at(1, false, true), at(2, true, false)];
        let some = |range: std::ops::Range<usize>| -> Vec<String> {
            let pods = all[range].iter().cloned();
            serving(&(0..).zip(pods).collect())
        };
        assert_eq!(some(0..3), ["10.0.0.2"]);
        assert_eq!(some(0..2), ["10.0.0.0"]);
        assert!(some(1..2).is_empty());
    }
}
