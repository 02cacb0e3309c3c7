//! Buckets and access keys: looked at one by one, a step at a time.

mod bucket;
mod key;
mod watch;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use marram_client::{Client, ClientError, ErrorKind};

use super::context::Context;
use super::error::ReconcileError;
use super::kube_api::Objects;
use super::{link, pods, secrets, trust};
use crate::api::{ClusterRef, MarramCluster};
use crate::names::Names;
use crate::tenant::Hold;
use crate::tenant::admission::admit;
pub(super) use watch::control;

/// Looks at a resource at rest come so many times more rarely than those at a cluster: each asks the
/// cluster, and there may be thousands.
const RESYNC_TIMES: u32 = 8;

/// The cluster that a resource names.
struct Place {
    /// None: there is no such cluster.
    names: Option<Names>,
    /// What stands against the resource there.
    hold: Option<Hold>,
    /// The cluster, where it can be spoken to.
    client: Option<Client>,
    /// The CA of its API.
    ca: String,
}

/// Looks for the cluster that a resource of this namespace names.
async fn place(
    context: &Context,
    reference: &ClusterRef,
    namespace: &str,
) -> Result<Place, ReconcileError> {
    let (of, name) = reference.from(namespace);
    let nothing = |hold: Option<Hold>| Place {
        names: None,
        hold,
        client: None,
        ca: String::new(),
    };
    if let Some(watched) = context.namespace.as_ref().filter(|w| **w != of) {
        let message =
            format!("this operator looks after the namespace {watched} only, not after {of}");
        return Ok(nothing(Some(Hold::stalled("NamespaceNotWatched", message))));
    }
    let objects = Objects::new(context.client.clone(), &of);
    let cluster = objects.get::<MarramCluster>(&name).await?;
    let hold = admit(cluster.as_ref(), reference, namespace);
    let Some(cluster) = cluster else {
        return Ok(nothing(hold));
    };
    let names = Names::of(&cluster);
    let sleeps = cluster.spec.hibernate;
    let others = trust::others(&objects, &names, &cluster.spec).await?;
    let access = secrets::access(&objects, &names, &others).await?;
    let mut place = nothing(hold);
    if let Some(access) = access {
        let selected = ListParams::default().labels(&names.selector_text());
        let there = objects.of::<Pod>().list(&selected).await;
        let there = there.map_err(ReconcileError::kubernetes("list the pods"))?;
        let views = there
            .iter()
            .filter_map(|pod| Some((names.ordinal(&pod.name_any())?, pods::pod(pod))))
            .collect();
        let addresses = link::serving(&views);
        if !addresses.is_empty() {
            place.client = Some(context.links.to(&names, &access, &addresses).await?);
        }
        place.ca = access.ca;
    }
    if place.client.is_none() && place.hold.is_none() {
        place.hold = Some(match sleeps {
            true => {
                let message = format!("the MarramCluster {of}/{name} is hibernated");
                Hold::waits("ClusterHibernated", message)
            }
            false => {
                let message = format!("no pod of the MarramCluster {of}/{name} is ready");
                Hold::waits("ClusterUnreachable", message)
            }
        });
    }
    place.names = Some(names);
    Ok(place)
}

/// What is said of a cluster that does not answer.
fn unreachable(error: &ClientError) -> Hold {
    Hold::waits(
        "ClusterUnreachable",
        format!("the cluster does not answer: {error}"),
    )
}

/// The cluster's refusal, which somebody has to do something about; other errors are tried again.
fn refused(what: &'static str, error: ClientError) -> Result<Hold, ReconcileError> {
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Precondition => {
            Ok(Hold::stalled("Refused", error.to_string()))
        }
        ErrorKind::Exhausted | ErrorKind::Denied => Ok(Hold::waits("Refused", error.to_string())),
        _ => Err(ReconcileError::cluster(what)(error)),
    }
}
