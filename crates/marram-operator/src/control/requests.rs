//! ClusterOperations: listed, told how far they are, and removed when they have been over for long enough.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use kube::ResourceExt;
use kube::api::ListParams;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;

use super::context::{Context, now};
use super::error::{ReconcileError, is_status};
use super::kube_api::Objects;
use super::observe::Seen;
use super::reconcile::{RETRY, ended as looked};
use super::writer;
use crate::api::{ClusterOperation, MarramCluster, MarramClusterStatus, Request};
use crate::names::Names;
use crate::report;
use crate::tenant::Hold;
use crate::tenant::said::{State, conditions};
use crate::view::{RequestView, View};

/// Those that are over, of one cluster, which are kept, however young they are.
const OVER_MAX: usize = 64;
/// Resources that are looked at at once.
const CONCURRENCY: u16 = 2;
/// Looks at those that name no cluster come so many times more rarely than those at a cluster.
const RESYNC_TIMES: u32 = 4;

/// Those that name this cluster, the oldest first.
pub(super) async fn list(
    objects: &Objects,
    names: &Names,
) -> Result<Vec<ClusterOperation>, ReconcileError> {
    let listed = objects
        .of::<ClusterOperation>()
        .list(&ListParams::default())
        .await;
    let listed = match listed {
        Ok(listed) => listed.items,
        // The definition is not installed yet: there are none.
        Err(error) if is_status(&error, 404) => return Ok(Vec::new()),
        Err(error) => {
            return Err(ReconcileError::kubernetes("list the ClusterOperations")(
                error,
            ));
        }
    };
    let ours = listed.into_iter();
    let mut ours: Vec<ClusterOperation> = ours
        .filter(|it| it.spec.cluster_ref.name == names.name)
        .collect();
    ours.sort_by_key(|it| {
        let created = it.metadata.creation_timestamp.as_ref();
        let created = created.map_or(0, |time| time.0.as_second());
        (created, it.name_any())
    });
    Ok(ours)
}

/// One as it is seen.
pub(super) fn view(resource: &ClusterOperation) -> RequestView {
    RequestView {
        request: Request {
            name: resource.name_any(),
            uid: resource.uid().unwrap_or_default(),
        },
        kind: resource.spec.kind,
        node: resource.spec.node.clone(),
        domain: resource.spec.domain.clone(),
        accept_data_loss: resource.spec.accept_data_loss,
        over: resource.is_over(),
        deleting: resource.metadata.deletion_timestamp.is_some(),
    }
}

/// The cluster that one is about.
pub(super) fn cluster(resource: &ClusterOperation) -> Option<ObjectRef<MarramCluster>> {
    let namespace = resource.namespace()?;
    Some(ObjectRef::new(&resource.spec.cluster_ref.name).within(&namespace))
}

/// Says how far each is. It comes before the cluster's own status: what is over there is over here already, and
/// is not begun again.
pub(super) async fn tell(
    context: &Context,
    objects: &Objects,
    seen: &Seen,
    ended: Option<(&Request, &str)>,
) -> Result<(), ReconcileError> {
    let view = &seen.view;
    for (resource, request) in seen.requests.iter().zip(&view.requests) {
        if request.over || request.deleting {
            continue;
        }
        let note = ended.filter(|(asked, _)| **asked == request.request);
        let note = note.map(|(_, note)| note);
        let (status, state) = report::request(view, &view.status, (resource, request), note);
        let before = resource.status.clone().unwrap_or_default();
        if resource.status.as_ref() == Some(&status) {
            continue;
        }
        writer::tell(context, resource, &before.conditions, &state).await;
        let mut next = resource.clone();
        next.status = Some(status);
        writer::replace(objects, &next).await?;
    }
    for gone in outlived(&seen.requests, view) {
        let uid = gone.uid().unwrap_or_default();
        objects
            .delete::<ClusterOperation>(&gone.name_any(), &uid, false)
            .await?;
    }
    Ok(())
}

/// Those that have been over for longer than they are to be kept, and the oldest where there are too many. One
/// that is still written down as under way stays.
fn outlived<'a>(resources: &'a [ClusterOperation], view: &View) -> Vec<&'a ClusterOperation> {
    let mut over: Vec<(i64, &ClusterOperation)> = resources
        .iter()
        .filter(|it| it.is_over() && !written_down(&view.status, it))
        .filter_map(|it| Some((finished(it)?, it)))
        .collect();
    over.sort_by_key(|(since, _)| -since);
    let over = over.into_iter().enumerate();
    over.filter(|(place, (_, it))| *place >= OVER_MAX || is_old(it, view.now))
        .map(|(_, (_, it))| it)
        .collect()
}

/// When it was over, in seconds since 1970.
fn finished(resource: &ClusterOperation) -> Option<i64> {
    let finished = resource.status.as_ref()?.finished_at.as_ref()?;
    Some(finished.0.as_second())
}

/// Whether it has been over for longer than it is to be kept.
fn is_old(resource: &ClusterOperation, now: i64) -> bool {
    finished(resource).is_some_and(|since| now - since >= resource.spec.ttl())
}

fn written_down(status: &MarramClusterStatus, resource: &ClusterOperation) -> bool {
    let uid = resource.uid();
    let is = |request: Option<&Request>| request.map(|it| &it.uid) == uid.as_ref();
    status.operation.as_ref().is_some_and(|operation| {
        let mut waiting = operation.suspended.iter();
        is(operation.request.as_ref()) || waiting.any(|it| is(it.request.as_ref()))
    })
}

/// Looks after those whose cluster is not there: the others are looked after with it.
pub(super) async fn control(context: Arc<Context>) {
    let all = watcher::Config::default();
    let controller = Controller::new(context.watched::<ClusterOperation>(), all);
    let done = controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .run(
            reconcile,
            |resource, error, _| {
                tracing::warn!(name = resource.name_any(), %error, "a resource could not be looked after");
                Action::requeue(RETRY)
            },
            context,
        );
    done.for_each(|result| async {
        if let Err(error) = result {
            tracing::debug!(%error, "the controller of ClusterOperations");
        }
    })
    .await;
}

async fn reconcile(
    cached: Arc<ClusterOperation>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    let done = Box::pin(without_cluster(&cached, &context)).await;
    looked(&context, began, done)
}

async fn without_cluster(
    cached: &ClusterOperation,
    context: &Context,
) -> Result<Action, ReconcileError> {
    let again = Ok(Action::requeue(context.resync * RESYNC_TIMES));
    let namespace = cached.namespace().ok_or(ReconcileError::Nameless)?;
    let objects = Objects::new(context.client.clone(), &namespace);
    let cluster = cached.spec.cluster_ref.name.as_str();
    if objects.get::<MarramCluster>(cluster).await?.is_some() {
        return again;
    }
    let Some(resource) = objects.get::<ClusterOperation>(&cached.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let before = resource.status.clone().unwrap_or_default();
    if resource.is_over() {
        if is_old(&resource, now()) {
            let uid = resource.uid().unwrap_or_default();
            objects
                .delete::<ClusterOperation>(&resource.name_any(), &uid, false)
                .await?;
        }
        return again;
    }
    let message = format!("there is no MarramCluster {cluster} in the namespace {namespace}");
    let state = State::Held(Hold::waits("NoCluster", message.clone()));
    let mut status = before.clone();
    let generation = resource.metadata.generation;
    (status.observed_generation, status.message) = (generation, message);
    status.conditions = conditions(&before.conditions, &state, (generation, now()));
    if resource.status.as_ref() != Some(&status) {
        writer::tell(context, &resource, &before.conditions, &state).await;
        let mut next = resource.clone();
        next.status = Some(status);
        writer::replace(&objects, &next).await?;
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{OperationKind, Phase};
    use crate::step::tests::{operation, resting};

    fn over(name: &str, since: &str, ttl: u32) -> ClusterOperation {
        let text = format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"data","uid":"{name}"}},
                "spec":{{"clusterRef":{{"name":"store"}},"type":"Scrub","ttlSecondsAfterFinished":{ttl}}},
                "status":{{"phase":"Succeeded","message":"read","finishedAt":"{since}"}}}}"#
        );
        serde_json::from_str(&text).expect("valid")
    }

    fn names(resources: &[ClusterOperation], view: &View) -> Vec<String> {
        let gone = outlived(resources, view);
        gone.into_iter().map(ResourceExt::name_any).collect()
    }

    #[test]
    fn what_is_over_goes_after_its_time_unless_it_is_still_written_down() {
        // The time of the view: 1,000,000 s.
        let old = over("old", "1970-01-12T13:45:30Z", 60);
        let young = over("young", "1970-01-12T13:46:30Z", 60);
        let all = [old, young];
        assert_eq!(names(&all, &resting(3)), ["old"]);
        let mut op = operation(OperationKind::Scrub, Phase::Reading, 3, 3);
        op.request = Some(view(&all[0]).request);
        assert!(names(&all, &resting(3).at(op)).is_empty());
        assert!(view(&all[0]).over);
    }

    #[test]
    fn no_more_than_so_many_are_kept() {
        let one = |n: usize| over(&n.to_string(), "1970-01-12T13:46:30Z", 86_400);
        let all: Vec<ClusterOperation> = (0..OVER_MAX + 3).map(one).collect();
        assert_eq!(names(&all, &resting(3)).len(), 3);
        assert!(names(&all[..OVER_MAX], &resting(3)).is_empty());
    }
}
