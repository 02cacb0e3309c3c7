//! Gateways of their own: made, given a token, scaled, and forgotten by the cluster when their pods are gone.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Resource, ResourceExt};
use marram_client::{CaStatus, Client, ErrorKind, JoinRole};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::error::ReconcileError;
use super::kube_api::{LABELS, Objects, SCALE};
use super::observe::Seen;
use super::secrets::text;
use crate::api::GatewayStatus;
use crate::build;
use crate::fault;
use crate::gateway::{Plan, is_pod};
use crate::names::{AUTHORITY_ANNOTATION, Names, TOKEN_ANNOTATION};
use crate::step::TOKEN_SECONDS;

/// A token this old is replaced: gateways come at any time, and need one that is good.
const RENEW_SECONDS: i64 = 1800;

/// Makes it so, and says how it is. What is written down first is that there are to be gateways: so an operator
/// that was killed knows that there may be some.
pub(super) async fn ensure(
    objects: &Objects,
    seen: &Seen,
    plan: Option<&Plan>,
) -> Result<Option<GatewayStatus>, ReconcileError> {
    let view = &seen.view;
    let known = view.status.gateway.clone();
    let Some(plan) = plan.filter(|_| view.status.cluster_id.is_some()) else {
        return match known {
            Some(known) => remove(objects, seen, known).await,
            None => Ok(None),
        };
    };
    if known.is_none() {
        return Ok(Some(GatewayStatus {
            serving: false,
            ..plan.status()
        }));
    }
    let authorities = authorities(seen).await;
    if has_token(objects, seen, authorities.as_ref()).await? {
        make(objects, seen, plan).await?;
    }
    if let (Some(client), Some(authorities)) = (&seen.cluster, &authorities) {
        forget(objects, &view.names, client, authorities).await?;
    }
    Ok(Some(plan.status()))
}

async fn make(objects: &Objects, seen: &Seen, plan: &Plan) -> Result<(), ReconcileError> {
    let view = &seen.view;
    let (names, Some(gateway)) = (&view.names, view.spec.gateways()) else {
        return Ok(());
    };
    objects.apply(&build::gateway_policy(names)).await?;
    objects.apply(&build::gateway_budget(names)).await?;
    let deployment = build::deployment(names, &view.spec, gateway, &plan.image);
    fault::point("gateways.before");
    objects.apply(&deployment).await?;
    fault::point("gateways.after");
    match &gateway.autoscaling {
        Some(autoscaling) => {
            objects
                .apply(&build::autoscaler(names, autoscaling))
                .await?;
        }
        None => delete::<HorizontalPodAutoscaler>(objects, &names.gateway()).await?,
    }
    if let Some(replicas) = plan.scale {
        let patch = json!({ "spec": { "replicas": replicas } });
        objects
            .merge::<Deployment>(&names.gateway(), SCALE, &patch)
            .await?;
    }
    Ok(())
}

/// How the CA of the mesh and the certificates are; none where the cluster does not say.
async fn authorities(seen: &Seen) -> Option<CaStatus> {
    match seen.cluster.as_ref()?.ca_status().await {
        Ok(status) => Some(status),
        Err(error) => {
            tracing::warn!(%error, "the cluster does not say which gateways it knows");
            None
        }
    }
}

/// Whether gateways find a token; a new one is made in time, and when the CA by which its bearer knows the
/// cluster goes.
async fn has_token(
    objects: &Objects,
    seen: &Seen,
    authorities: Option<&CaStatus>,
) -> Result<bool, ReconcileError> {
    let names = &seen.view.names;
    let live = objects.get::<Secret>(&names.gateway_join()).await?;
    let kept = live.filter(|live| text(live, "token").is_some());
    let issues = authorities.and_then(|ca| ca.authorities.iter().find(|ca| ca.issues));
    let (Some(issues), Some(client)) = (issues, &seen.cluster) else {
        return Ok(kept.is_some());
    };
    if let Some(kept) = &kept {
        let said = |key: &str| kept.annotations().get(key).cloned().unwrap_or_default();
        let made: i64 = said(TOKEN_ANNOTATION).parse().unwrap_or(0);
        let same = said(AUTHORITY_ANNOTATION) == issues.fingerprint;
        if same && seen.view.now - made < RENEW_SECONDS {
            return Ok(true);
        }
    }
    // A token is made where there is a place for it: else each look would make another one.
    objects
        .create(&build::gateway_join(names, "", (0, "")))
        .await?;
    let ttl = Duration::from_secs(TOKEN_SECONDS.unsigned_abs());
    let made = client
        .create_join_token(JoinRole::Gateway, ttl, (None, None))
        .await
        .map_err(ReconcileError::cluster("make a join token"))?;
    fault::point("gateway_token.between");
    let secret = build::gateway_join(names, &made.token, (seen.view.now, &issues.fingerprint));
    objects.apply(&secret).await?;
    // A change of a pod has its kubelet look at the mounted Secret now.
    let mark =
        json!({ "metadata": { "annotations": { TOKEN_ANNOTATION: seen.view.now.to_string() } } });
    let waiting = seen.view.gateways.pods.iter();
    for pod in waiting.filter(|pod| !pod.ready && !pod.deleting) {
        objects.merge::<Pod>(&pod.name, LABELS, &mark).await?;
    }
    Ok(true)
}

/// Removes members from the cluster that were pods which are gone. The pods are listed after the members: a
/// member that is not among them had its pod before.
async fn forget(
    objects: &Objects,
    names: &Names,
    client: &Client,
    authorities: &CaStatus,
) -> Result<bool, ReconcileError> {
    let selected = ListParams::default().labels(&names.gateway_selector_text());
    let pods = objects.of::<Pod>().list(&selected).await;
    let pods = pods.map_err(ReconcileError::kubernetes("list the gateways' pods"))?;
    let there: BTreeSet<String> = pods.iter().map(ResourceExt::name_any).collect();
    let members = authorities.members.iter();
    let ours = members.filter(|it| it.role == JoinRole::Gateway && is_pod(names, &it.name));
    for gone in ours.filter(|member| !there.contains(&member.name)) {
        match client.remove_gateway(&gone.name).await {
            Ok(name) => tracing::info!(name, "a gateway whose pod is gone is removed"),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(ReconcileError::cluster("remove a gateway")(error)),
        }
    }
    Ok(there.is_empty())
}

/// Takes all of them away; applications are sent to the storage pods already. None when nothing is left.
async fn remove(
    objects: &Objects,
    seen: &Seen,
    known: GatewayStatus,
) -> Result<Option<GatewayStatus>, ReconcileError> {
    let names = &seen.view.names;
    let name = names.gateway();
    delete::<HorizontalPodAutoscaler>(objects, &name).await?;
    delete::<Deployment>(objects, &name).await?;
    delete::<PodDisruptionBudget>(objects, &names.gateway_budget()).await?;
    let left = Some(GatewayStatus {
        replicas: 0,
        ready_replicas: 0,
        serving: false,
        ..known
    });
    let (Some(client), Some(authorities)) = (&seen.cluster, authorities(seen).await) else {
        return Ok(left);
    };
    if !forget(objects, names, client, &authorities).await? {
        return Ok(left);
    }
    delete::<NetworkPolicy>(objects, &name).await?;
    delete::<Secret>(objects, &names.gateway_join()).await?;
    Ok(None)
}

/// Deletes an object where it is there.
async fn delete<K>(objects: &Objects, name: &str) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let Some(live) = objects.get::<K>(name).await? else {
        return Ok(());
    };
    if live.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    let uid = live.meta().uid.clone().unwrap_or_default();
    objects.delete::<K>(name, &uid, false).await
}
