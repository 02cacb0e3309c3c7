//! Objects that are always there, and the StatefulSet.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use serde_json::Value;

use super::error::ReconcileError;
use super::kube_api::Objects;
use super::observe::Seen;
use crate::api::{MarramClusterSpec, MarramClusterStatus, OperationKind, Phase};
use crate::build::{self, Template};
use crate::names::Names;
use crate::replicas::replicas;
use crate::view::View;

/// Applies what pods need before they start, and where applications are sent.
pub(super) async fn before_pods(
    objects: &Objects,
    names: &Names,
    to_gateways: bool,
) -> Result<(), ReconcileError> {
    for object in [
        build::account(names),
        build::peer_service(names),
        build::client_service(names, to_gateways),
        build::network_policy(names),
    ] {
        objects.apply(&object).await?;
    }
    super::secrets::ensure_join(objects, names).await
}

/// Whether there shall be pods: keys are there, and the cluster is one or is to become one.
fn has_pods(view: &View) -> bool {
    let starts = view.status.operation.as_ref().is_some_and(|operation| {
        operation.kind == OperationKind::Create && operation.phase != Phase::Keys
    });
    view.keys_exist && (starts || view.status.cluster_id.is_some())
}

/// Applies the StatefulSet, with as many replicas as the operation that is written down says.
pub(super) async fn statefulset(
    objects: &Objects,
    seen: &Seen,
    template: &Template,
) -> Result<(), ReconcileError> {
    let view = &seen.view;
    if !has_pods(view) || view.set.as_ref().is_some_and(|set| set.deleting) {
        return Ok(());
    }
    let live = view.set.as_ref().map(|set| set.replicas);
    let count = replicas(live, view.status.operation.as_ref(), view.status.nodes);
    // One that is made anew because volumes got larger takes its pods over: it has as many as before.
    let size = build::claim_template_size(&view.spec, live_size(seen.live.as_ref()).as_deref());
    let set = build::statefulset(&view.names, &view.spec, template, (count, &size));
    crate::fault::point("statefulset.before");
    objects.apply(&set).await?;
    crate::fault::point("statefulset.after");
    Ok(())
}

pub(super) fn live_size(live: Option<&StatefulSet>) -> Option<String> {
    let claims = live?.spec.as_ref()?.volume_claim_templates.as_ref()?;
    let resources = claims.first()?.spec.as_ref()?.resources.as_ref()?;
    Some(resources.requests.as_ref()?.get("storage")?.0.clone())
}

/// The revision of the pods that is kept instead of the wanted template, where there is one: that which was
/// proven, where the wanted one did not do; and that of before a hibernation, until it is over.
fn kept<'a>(status: &'a MarramClusterStatus, wanted: &str) -> Option<&'a str> {
    let operation = status.operation.iter().map(|op| {
        let known = (op.template_hash.as_deref(), op.proven_revision.as_deref());
        (op.kind, known)
    });
    let suspended = status.operation.iter().flat_map(|op| &op.suspended);
    let suspended = suspended.map(|op| {
        let known = (op.template_hash.as_deref(), op.proven_revision.as_deref());
        (op.kind, known)
    });
    let mut sleeps = operation
        .chain(suspended)
        .filter(|(kind, _)| *kind == OperationKind::Hibernate);
    if let Some((_, (hash, revision))) = sleeps.next() {
        return revision.filter(|_| hash != Some(wanted));
    }
    let failed = status.upgrade.as_ref()?;
    (failed.failed_template == wanted).then_some(failed.proven_revision.as_str())
}

/// The template that is wanted, and the one to apply.
pub(super) async fn template(
    objects: &Objects,
    (names, spec, image): (&Names, &MarramClusterSpec, &str),
    status: Option<&MarramClusterStatus>,
) -> Result<(Template, Template), ReconcileError> {
    let wanted = build::template(names, spec, image);
    let Some(revision) = status.and_then(|status| kept(status, &wanted.hash)) else {
        return Ok((wanted.clone(), wanted));
    };
    let proven = objects.get::<ControllerRevision>(revision).await?;
    let Some(value) = proven
        .and_then(|revision| revision.data)
        .and_then(|data| of_revision(&data.0))
    else {
        // Nothing to put back is left: the wanted one stays, and its pods are said to be in trouble.
        return Ok((wanted.clone(), wanted));
    };
    let hash = build::template_hash(&value);
    Ok((wanted, Template { value, hash }))
}

/// The pods' template in a revision of a StatefulSet.
fn of_revision(data: &Value) -> Option<Value> {
    let mut template = data.pointer("/spec/template")?.clone();
    let fields = template.as_object_mut()?;
    fields.remove("$patch");
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.retain(|_, value| !value.is_null());
    }
    Some(template)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::UpgradeStatus;
    use crate::step::tests::operation;

    #[test]
    fn the_revision_of_before_a_hibernation_is_kept_until_it_is_over() {
        let mut status = MarramClusterStatus::default();
        assert_eq!(kept(&status, "t2"), None);
        let mut sleeps = operation(OperationKind::Hibernate, Phase::Asleep, 3, 0);
        sleeps.template_hash = Some("t1".into());
        sleeps.proven_revision = Some("store-a".into());
        status.operation = Some(sleeps);
        assert_eq!(kept(&status, "t1"), None, "nothing changed");
        assert_eq!(kept(&status, "t2"), Some("store-a"));
        status.upgrade = Some(UpgradeStatus {
            failed_template: "t3".into(),
            proven_revision: "store-b".into(),
            reason: String::new(),
        });
        assert_eq!(kept(&status, "t3"), Some("store-a"));
        status.operation = None;
        assert_eq!(kept(&status, "t3"), Some("store-b"));
        assert_eq!(kept(&status, "t2"), None);
    }

    #[test]
    fn a_revision_holds_the_template_that_was_proven() {
        let data = json!({ "spec": { "template": {
            "$patch": "replace",
            "metadata": { "creationTimestamp": null, "labels": { "a": "b" } },
            "spec": { "containers": [] },
        } } });
        let template = of_revision(&data).expect("one");
        assert_eq!(
            template,
            json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [] } })
        );
        assert_eq!(of_revision(&json!({})), None);
    }
}
