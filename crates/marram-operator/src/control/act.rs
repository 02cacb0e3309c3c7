//! Side effects. Each was decided from what was seen, and the operation that it is part of is written down
//! already; each may be done twice.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Patch, PatchParams};
use marram_client::{Client, ClientError, Consent, Founding, JoinRole, NodeDuty};
use serde_json::json;

use super::error::{ReconcileError, is_status};
use super::kube_api::{LABELS, Objects, SCALE, VOLUMES};
use super::observe::Seen;
use super::{link, secrets};
use crate::api::{MarramClusterStatus, Phase, UpgradeStatus};
use crate::fault;
use crate::names::{RETIRED_LABEL, TOKEN_ANNOTATION};
use crate::step::{self, Act, TOKEN_SECONDS};
use crate::view::View;

/// What came of it.
pub(super) enum Came {
    /// It is done.
    Done,
    /// It is done, and this is to be written down.
    Status(Box<MarramClusterStatus>),
    /// It was refused, with these words: it is waited until it holds.
    Refused(String),
}

/// Does it.
pub(super) async fn act(objects: &Objects, seen: &Seen, act: &Act) -> Result<Came, ReconcileError> {
    fault::point(&format!("{}.before", name(act)));
    let came = done(objects, seen, act).await;
    fault::point(&format!("{}.after", name(act)));
    came
}

/// In a word, for logs and faults.
pub(super) fn name(act: &Act) -> &'static str {
    match act {
        Act::MakeKeys => "make_keys",
        Act::Found { .. } => "found",
        Act::Adopt { .. } => "adopt",
        Act::Mint { .. } => "mint",
        Act::DropTokens(_) => "drop_tokens",
        Act::SetDuty { duty, .. } => match duty {
            NodeDuty::Cordoned => "cordon",
            NodeDuty::Draining => "drain",
            NodeDuty::Fenced => "fence",
            _ => "uncordon",
        },
        Act::RemoveNode { .. } => "remove_node",
        Act::Shrink { .. } => "shrink",
        Act::Retire { .. } => "retire",
        Act::DeleteClaim { .. } => "delete_claim",
        Act::DeletePod { .. } => "delete_pod",
        Act::Restart { .. } => "restart",
        Act::Excuse(_) => "excuse",
        Act::Readmit(_) => "readmit",
        Act::PutBack { .. } => "put_back",
        Act::Resize { .. } => "resize",
        Act::Orphan { .. } => "orphan",
        Act::GiveUp { .. } => "give_up",
        Act::Rebalance => "rebalance",
        Act::StopRebalance => "stop_rebalance",
        Act::Scrub { .. } => "scrub",
    }
}

async fn done(objects: &Objects, seen: &Seen, act: &Act) -> Result<Came, ReconcileError> {
    let view = &seen.view;
    match act {
        Act::MakeKeys => secrets::make_keys(objects, &view.names).await?,
        Act::Found { pod, zone, nodes } => return found(seen, (pod, zone), *nodes).await,
        Act::Adopt { cluster_id } => return Ok(with_id(view, cluster_id)),
        Act::Mint { pod, zone } => return mint(objects, seen, pod, zone).await,
        Act::DropTokens(pods) => secrets::drop_tokens(objects, &view.names, pods).await?,
        Act::SetDuty {
            node,
            duty,
            narrower,
        } => {
            let consent = consent(*narrower);
            let changed = cluster(seen)?
                .set_node_duty(node, *duty, consent, None)
                .await;
            return refusal("change the duty of a node", changed);
        }
        Act::RemoveNode { node, narrower } => {
            let removed = cluster(seen)?
                .remove_node(node, consent(*narrower), None)
                .await;
            return refusal("remove a node", removed);
        }
        Act::Shrink { from, to } => return shrink(objects, view, *from, *to).await,
        Act::Retire { claim, uid, delete } if *delete => {
            objects
                .delete::<PersistentVolumeClaim>(claim, uid, false)
                .await?;
        }
        Act::Retire { claim, .. } => {
            let patch = json!({ "metadata": { "labels": { RETIRED_LABEL: "true" } } });
            objects
                .merge::<PersistentVolumeClaim>(claim, LABELS, &patch)
                .await?;
        }
        Act::DeleteClaim { claim, uid } => {
            objects
                .delete::<PersistentVolumeClaim>(claim, uid, false)
                .await?;
        }
        Act::DeletePod { pod, uid, force } => objects.delete::<Pod>(pod, uid, *force).await?,
        Act::Restart { pods, margin } => return restart(objects, seen, pods, *margin).await,
        Act::Excuse(members) => return maintain(seen, members, Some(excused_for(view))).await,
        Act::Readmit(members) => return maintain(seen, members, None).await,
        Act::PutBack { reason, revision } => return put_back(seen, reason, revision).await,
        Act::Resize { claim, uid, size } => return resize(objects, claim, (uid, size)).await,
        Act::Orphan { uid } => objects.orphan::<StatefulSet>(&view.names.name, uid).await?,
        Act::GiveUp { .. } | Act::Rebalance | Act::StopRebalance | Act::Scrub { .. } => {
            return asked(seen, act).await;
        }
    }
    Ok(Came::Done)
}

/// Tells a claim how large its volume is to be. What is refused, by a quota for example, is said.
async fn resize(
    objects: &Objects,
    claim: &str,
    (uid, size): (&str, &str),
) -> Result<Came, ReconcileError> {
    let patch = json!({
        "metadata": { "uid": uid },
        "spec": { "resources": { "requests": { "storage": size } } },
    });
    match objects
        .merge::<PersistentVolumeClaim>(claim, VOLUMES, &patch)
        .await
        .map(drop)
    {
        Ok(()) => Ok(Came::Done),
        Err(error) if error.is_refusal() => Ok(Came::Refused(error.to_string())),
        Err(error) => Err(error),
    }
}

/// What ClusterOperations ask for. That it was begun is written down with its next phase: begun again by an
/// operator that was killed in between, it is the same.
async fn asked(seen: &Seen, act: &Act) -> Result<Came, ReconcileError> {
    let client = cluster(seen)?;
    match act {
        Act::GiveUp { node } => {
            let given_up = client.set_node_duty(node, NodeDuty::Fenced, Consent::FORCE, None);
            refusal("give a node up", given_up.await)
        }
        Act::StopRebalance => refusal("stop a rebalance", client.rebalance(None, true).await),
        Act::Rebalance => match client.rebalance(None, false).await {
            Ok(begun) => Ok(in_phase(seen, Phase::Moving, begun.placement_groups)),
            answer => refusal("rebalance", answer),
        },
        Act::Scrub { node } => match client.start_scrub(node.as_deref()).await {
            Ok(_) => Ok(in_phase(seen, Phase::Reading, step::SCRUB_LEFT)),
            answer => refusal("scrub", answer),
        },
        _ => Ok(Came::Done),
    }
}

/// The operation in its next phase, with what is to be done of it.
fn in_phase(seen: &Seen, phase: Phase, left: u64) -> Came {
    let view = &seen.view;
    let mut status = view.status.clone();
    if let Some(operation) = &mut status.operation {
        (operation.phase, operation.left) = (phase, i64::try_from(left).ok());
        (operation.phase_since, operation.progress_at) = (view.now, view.now);
        operation.summary = step::summary(operation);
    }
    Came::Status(Box::new(status))
}

/// Gives the upgrade up: the pods before it come back.
async fn put_back(seen: &Seen, reason: &str, revision: &str) -> Result<Came, ReconcileError> {
    let view = &seen.view;
    let restarted = view.status.operation.as_ref().map(|op| op.pods.clone());
    let restarted = restarted.filter(|pods| !pods.is_empty());
    // That it cannot be said keeps nothing: the excuse ends by itself.
    if let (Some(pods), Ok(client)) = (restarted, cluster(seen)) {
        drop(client.set_maintenance(&pods, None, None).await);
    }
    let mut status = view.status.clone();
    status.upgrade = Some(UpgradeStatus {
        failed_template: view.template_hash.clone(),
        proven_revision: revision.to_owned(),
        reason: reason.to_owned(),
    });
    status.operation = None;
    Ok(Came::Status(Box::new(status)))
}

fn cluster(seen: &Seen) -> Result<&Client, ReconcileError> {
    // Steps that need the cluster are decided only where it answered.
    seen.cluster.as_ref().ok_or(ReconcileError::Nameless)
}

/// Excuses members for so long, or no longer.
async fn maintain(
    seen: &Seen,
    members: &[String],
    time: Option<Duration>,
) -> Result<Came, ReconcileError> {
    let changed = cluster(seen)?.set_maintenance(members, None, time).await;
    refusal("change the maintenance of nodes", changed)
}

/// How long members that stop are excused.
fn excused_for(view: &View) -> Duration {
    let disruption = view.spec.disruption.clone().unwrap_or_default();
    Duration::from_secs(disruption.maintenance())
}

fn consent(narrower: bool) -> Consent {
    match narrower {
        true => Consent::NARROWER,
        false => Consent::NONE,
    }
}

/// A refusal is said and waited for; anything else that fails is tried again.
fn refusal<T>(what: &'static str, answer: Result<T, ClientError>) -> Result<Came, ReconcileError> {
    match answer {
        Ok(_) => Ok(Came::Done),
        Err(error) if link::is_refusal(&error) => Ok(Came::Refused(error.to_string())),
        Err(error) => Err(ReconcileError::cluster(what)(error)),
    }
}

fn with_id(view: &View, cluster_id: &str) -> Came {
    let mut status = view.status.clone();
    status.cluster_id = Some(cluster_id.to_owned());
    Came::Status(Box::new(status))
}

async fn found(seen: &Seen, (pod, zone): (&str, &str), nodes: u32) -> Result<Came, ReconcileError> {
    let view = &seen.view;
    let ordinal = view.names.ordinal(pod);
    let address = ordinal.and_then(|ordinal| view.pods.get(&ordinal)?.address.clone());
    let (Some(address), Some(access)) = (address, &seen.access) else {
        return Ok(Came::Refused(format!("{pod} has no address yet")));
    };
    let server = link::connect(&view.names, access, &[address])?;
    let founding = Founding {
        cluster_name: view.names.name.clone(),
        expected_nodes: nodes,
        groups: view.spec.groups.map(u32::from),
        zone: Some(zone.to_owned()),
    };
    match server.bootstrap(&founding).await {
        Ok(founded) => {
            tracing::info!(
                pod,
                id = founded.cluster_id,
                new = founded.founded,
                "the cluster is founded"
            );
            Ok(with_id(view, &founded.cluster_id))
        }
        Err(error) if error.kind().is_retryable() => {
            Ok(Came::Refused(format!("{pod} does not answer yet: {error}")))
        }
        Err(error) => Ok(Came::Refused(format!(
            "{pod} cannot found the cluster: {error}"
        ))),
    }
}

async fn mint(
    objects: &Objects,
    seen: &Seen,
    pod: &str,
    zone: &str,
) -> Result<Came, ReconcileError> {
    let ttl = Duration::from_secs(TOKEN_SECONDS.unsigned_abs());
    let made = cluster(seen)?
        .create_join_token(JoinRole::Storage, ttl, (Some(pod), Some(zone)))
        .await
        .map_err(ReconcileError::cluster("make a join token"))?;
    fault::point("mint.between");
    let names = &seen.view.names;
    secrets::put_token(objects, names, (pod, &made.token), seen.view.now).await?;
    // A change of the pod has its kubelet look at the mounted Secret now, and not within a minute or so.
    let patch =
        json!({ "metadata": { "annotations": { TOKEN_ANNOTATION: seen.view.now.to_string() } } });
    objects.merge::<Pod>(pod, LABELS, &patch).await?;
    Ok(Came::Done)
}

/// Takes one replica away, if there are still as many as were seen: a JSON patch tests it in the same
/// moment.
async fn shrink(
    objects: &Objects,
    view: &View,
    from: i32,
    to: i32,
) -> Result<Came, ReconcileError> {
    let patch = json!([
        { "op": "test", "path": "/spec/replicas", "value": from },
        { "op": "replace", "path": "/spec/replicas", "value": to },
    ]);
    let patch = serde_json::from_value(patch).map_err(|_| ReconcileError::Nameless)?;
    let params = PatchParams {
        field_manager: Some(SCALE.to_owned()),
        ..PatchParams::default()
    };
    let name = &view.names.name;
    let done = objects
        .of::<StatefulSet>()
        .patch(name, &params, &Patch::Json::<()>(patch))
        .await;
    match done {
        Ok(_) => Ok(Came::Done),
        // Another number is there now: it is looked at again.
        Err(error) if is_status(&error, 422) => Ok(Came::Refused(error.to_string())),
        Err(error) => Err(ReconcileError::kubernetes("take a replica away")(error)),
    }
}

/// Restarts pods whose members may stop: they are excused, hand their leaderships over, and go.
async fn restart(
    objects: &Objects,
    seen: &Seen,
    pods: &[(String, String)],
    margin: u32,
) -> Result<Came, ReconcileError> {
    let client = cluster(seen)?;
    let names: Vec<String> = pods.iter().map(|(name, _)| name.clone()).collect();
    let answer = client.ok_to_stop(&names, margin).await;
    let answer = answer.map_err(ReconcileError::cluster("say whether a node may stop"))?;
    if !answer.ok {
        let why = answer.reasons.join(" ");
        return Ok(Came::Refused(format!(
            "{} may not stop now: {why}",
            names.join(", ")
        )));
    }
    let time = excused_for(&seen.view);
    let excused = client.set_maintenance(&names, None, Some(time)).await;
    excused.map_err(ReconcileError::cluster("excuse a node"))?;
    for name in &names {
        let handed = client.transfer_leader(name, Duration::from_secs(60)).await;
        if let Err(error) = handed {
            tracing::warn!(%error, name, "leaderships are not handed over; an election follows");
        }
    }
    fault::point("restart.between");
    for (name, uid) in pods {
        objects.delete::<Pod>(name, uid, false).await?;
    }
    Ok(Came::Done)
}
