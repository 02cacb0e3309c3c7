//! One look at one cluster, and one step. The status is replaced as a whole, on the version of the resource that
//! was read: whoever acts on an older one fails there, before it does anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeClaim, Pod};
use kube::api::{Api, ListParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::runtime::finalizer::{Event, finalizer};
use kube::{Resource, ResourceExt};

use super::act::{self, Came};
use super::context::Context;
use super::error::{ReconcileError, is_status};
use super::kube_api::{OWNER, Objects};
use super::meter::State;
use super::observe::{Seen, observe};
use super::{authority, ensure, gateways, requests, secrets, upkeep};
use crate::api::{MarramCluster, MarramClusterStatus, Operation, OperationKind, RetentionPolicy};
use crate::fault;
use crate::gateway;
use crate::names::Names;
use crate::report::report;
use crate::step::{self, Hold, Step};

/// What keeps a resource from going before its objects are taken care of.
const FINALIZER: &str = "marram.dev/cluster";
/// How soon it is looked at again after a step.
pub(super) const SOON: Duration = Duration::from_millis(200);
/// Longest text about certificates that stands in the status.
const TROUBLE_MAX: usize = 1000;
/// How soon it is looked at again after an error, at first and at most.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// One look at one cluster.
pub(super) async fn reconcile(
    cluster: Arc<MarramCluster>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    let namespace = cluster.namespace().ok_or(ReconcileError::Nameless)?;
    let api: Api<MarramCluster> = Api::namespaced(context.client.clone(), &namespace);
    let shared = Arc::clone(&context);
    let done = finalizer(&api, FINALIZER, cluster, |event| async move {
        match event {
            Event::Apply(cluster) => Box::pin(apply(&cluster, &shared)).await,
            Event::Cleanup(cluster) => cleanup(&cluster, &shared).await,
        }
    })
    .await
    .map_err(unwrapped);
    ended(&context, began, done)
}

/// Counts a look that ended, and says when the next one is.
pub(super) fn ended(
    context: &Context,
    began: Instant,
    done: Result<Action, ReconcileError>,
) -> Result<Action, ReconcileError> {
    let error = done.as_ref().err().filter(|error| !error.is_no_failure());
    context
        .meter
        .ended(began.elapsed(), error.map(ReconcileError::kind));
    match done {
        // Somebody changed something meanwhile: it is looked at again.
        Err(error) if error.is_conflict() => Ok(Action::requeue(SOON)),
        Err(error) if error.is_no_failure() => Ok(Action::requeue(context.poll)),
        done => done,
    }
}

pub(super) fn unwrapped(error: kube::runtime::finalizer::Error<ReconcileError>) -> ReconcileError {
    use kube::runtime::finalizer::Error;
    match error {
        Error::ApplyFailed(error) | Error::CleanupFailed(error) => error,
        other => ReconcileError::Finalizer(other.to_string()),
    }
}

/// When a cluster is looked at again after an error.
pub(super) fn after_error(cluster: &MarramCluster, error: &ReconcileError) -> Action {
    tracing::warn!(cluster = cluster.name_any(), %error, "a cluster could not be looked after");
    Action::requeue(RETRY)
}

async fn apply(cached: &MarramCluster, context: &Context) -> Result<Action, ReconcileError> {
    let namespace = cached.namespace().ok_or(ReconcileError::Nameless)?;
    let objects = Objects::new(context.client.clone(), &namespace);
    let Some(resource) = objects.get::<MarramCluster>(&cached.name_any()).await? else {
        return Ok(Action::requeue(context.resync));
    };
    let names = Names::of(&resource);
    let image = context.image.as_str();
    let status = resource.status.as_ref();
    let (wanted, template) =
        ensure::template(&objects, (&names, &resource.spec, image), status).await?;
    let mut seen = observe(context, &objects, (&resource, &names), &wanted).await?;
    let status = &mut seen.view.status;
    if status
        .upgrade
        .as_ref()
        .is_some_and(|failed| failed.failed_template != wanted.hash)
    {
        status.upgrade = None;
    }
    if !resource.spec.paused {
        let plan = gateway::plan(&seen.view, image);
        let to_gateways = plan.as_ref().is_some_and(|plan| plan.serving);
        ensure::before_pods(&objects, &names, to_gateways).await?;
        certified(context, &objects, &resource, &mut seen).await?;
        ensure::statefulset(&objects, &seen, &template).await?;
        match gateways::ensure(&objects, &seen, plan.as_ref()).await {
            Ok(status) => seen.view.status.gateway = status,
            // It is said, and holds nothing up that the data needs.
            Err(error) => {
                tracing::warn!(cluster = names.name, %error, "gateways cannot be looked after");
                seen.view.gateways.trouble = Some(error.to_string());
            }
        }
        upkeep::labels(&objects, &seen.view).await?;
        seen.view.status.open_domain = upkeep::open_domain(&seen.view);
        upkeep::budgets(&objects, &seen).await?;
    }
    Box::pin(advance(context, &objects, &resource, seen)).await
}

/// Looks after the certificates of the API. Trouble with them is said, and holds nothing up that the data needs.
async fn certified(
    context: &Context,
    objects: &Objects,
    resource: &MarramCluster,
    seen: &mut Seen,
) -> Result<(), ReconcileError> {
    let about = resource.object_ref(&());
    match authority::ensure(context, objects, seen).await {
        Ok(made) => {
            seen.view.status.certificate = Some(made.status);
            if let Some(note) = made.turned {
                let reason = ("AuthorityReplaced", note);
                context.tell(&about, EventType::Normal, reason, note).await;
            }
            Ok(())
        }
        Err(error) if error.is_conflict() => Err(error),
        Err(error) => {
            let note = error.to_string();
            tracing::warn!(cluster = resource.name_any(), %error, "certificates cannot be looked after");
            let reason = ("CertificatesNotReady", note.as_str());
            context
                .tell(&about, EventType::Warning, reason, &note)
                .await;
            let mut certificate = seen.view.status.certificate.take().unwrap_or_default();
            certificate.trouble = note.chars().take(TROUBLE_MAX).collect();
            seen.view.status.certificate = Some(certificate);
            Ok(())
        }
    }
}

/// Decides, writes down, acts.
async fn advance(
    context: &Context,
    objects: &Objects,
    resource: &MarramCluster,
    mut seen: Seen,
) -> Result<Action, ReconcileError> {
    let about = resource.object_ref(&());
    let step = step::next(&seen.view);
    let before = seen.view.status.operation.clone();
    let (mut hold, mut ended) = (None, None);
    let mut again = match &before {
        Some(_) => context.poll,
        None => context.resync,
    };
    match step {
        Step::Rest => {}
        Step::Hold(held) => {
            tell_hold(context, &about, resource, &held).await;
            (hold, again) = (Some(held), context.poll);
        }
        Step::Record(operation) => {
            tell_record(context, &about, before.as_ref(), &operation).await;
            let moved = before
                .as_ref()
                .is_none_or(|old| (old.kind, old.phase) != (operation.kind, operation.phase));
            again = if moved { SOON } else { context.poll };
            seen.view.status.operation = Some(*operation);
        }
        Step::End(note) => {
            end(&mut seen, before.as_ref());
            let reason = before
                .as_ref()
                .map_or("Ended", |operation| ended_as(operation.kind));
            context
                .tell(&about, EventType::Normal, (reason, &note), &note)
                .await;
            ended = Some(note);
            again = SOON;
        }
        Step::Act(wanted) => {
            context.meter.stepped();
            let came = act::act(objects, &seen, &wanted).await?;
            tracing::info!(
                cluster = resource.name_any(),
                act = act::name(&wanted),
                "a step"
            );
            again = came_of(context, &about, &mut seen, came).await;
        }
    }
    let asked = before.as_ref().and_then(|it| it.request.as_ref());
    let told = requests::tell(context, objects, &seen, asked.zip(ended.as_deref())).await;
    match told {
        // What is over is over there first, or it would be begun again.
        Err(error) if ended.is_some() && asked.is_some() => return Err(error),
        Err(error) if error.is_conflict() => return Err(error),
        // One resource that takes no word holds up nothing that the data needs.
        Err(error) => {
            tracing::warn!(cluster = resource.name_any(), %error, "a ClusterOperation is not told how far it is");
        }
        Ok(()) => {}
    }
    write(context, objects, resource, &seen, hold.as_ref()).await?;
    Ok(Action::requeue(again))
}

async fn came_of(
    context: &Context,
    about: &ObjectReference,
    seen: &mut Seen,
    came: Came,
) -> Duration {
    match came {
        Came::Done => SOON,
        Came::Status(status) => {
            if let Some(upgrade) = status
                .upgrade
                .as_ref()
                .filter(|_| seen.view.status.upgrade.is_none())
            {
                context
                    .tell(
                        about,
                        EventType::Warning,
                        ("UpgradePaused", &upgrade.reason),
                        &upgrade.reason,
                    )
                    .await;
            }
            seen.view.status = *status;
            SOON
        }
        Came::Refused(why) => {
            if let Some(operation) = &mut seen.view.status.operation {
                operation.message = why.chars().take(1000).collect();
            }
            context.poll
        }
    }
}

/// The operation is over: the one that waited for it goes on.
fn end(seen: &mut Seen, ended: Option<&Operation>) {
    let status = &mut seen.view.status;
    status.operation = ended.and_then(|operation| step::resumed(seen.view.now, operation));
    let scaled = ended.is_some_and(|operation| {
        matches!(operation.kind, OperationKind::Grow | OperationKind::Shrink)
    });
    if scaled {
        status.scaled_at = Some(seen.view.now);
    }
}

fn ended_as(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Create => "Created",
        OperationKind::Replace => "Replaced",
        OperationKind::Hibernate => "Awake",
        OperationKind::Cancel => "Cancelled",
        OperationKind::Expand => "Expanded",
        OperationKind::Grow => "Grown",
        OperationKind::Upgrade => "Upgraded",
        OperationKind::Shrink => "Shrunk",
        OperationKind::Drain => "Drained",
        OperationKind::Rebalance => "Rebalanced",
        OperationKind::Scrub => "Scrubbed",
    }
}

async fn tell_record(
    context: &Context,
    about: &ObjectReference,
    before: Option<&Operation>,
    operation: &Operation,
) {
    let same = |old: &Operation| (old.kind, old.phase) == (operation.kind, operation.phase);
    if before.is_some_and(same) {
        return;
    }
    let note = match operation.message.as_str() {
        "" => operation.summary.clone(),
        message => format!("{}: {message}", operation.summary),
    };
    tracing::info!(operation = note, "written down");
    let reason = operation.kind.to_string();
    context
        .tell(
            about,
            EventType::Normal,
            (&reason, &operation.summary),
            &note,
        )
        .await;
}

/// Says once why something is held.
async fn tell_hold(
    context: &Context,
    about: &ObjectReference,
    resource: &MarramCluster,
    hold: &Hold,
) {
    let conditions = resource.status.iter().flat_map(|status| &status.conditions);
    let mut said = conditions.filter(|c| c.type_ == hold.condition && c.status == "True");
    if !said.any(|condition| condition.reason == hold.reason) {
        context
            .tell(
                about,
                EventType::Warning,
                (hold.condition, hold.reason),
                &hold.message,
            )
            .await;
    }
}

/// Writes the status, where it changed.
async fn write(
    context: &Context,
    objects: &Objects,
    resource: &MarramCluster,
    seen: &Seen,
    hold: Option<&Hold>,
) -> Result<(), ReconcileError> {
    let status = report(&seen.view, resource.metadata.generation, hold);
    let state = State {
        phase: status.phase.unwrap_or_default(),
        operation: status.operation.as_ref().map(|operation| operation.kind),
    };
    let key = (
        resource.namespace().unwrap_or_default(),
        resource.name_any(),
    );
    context.meter.saw(key, Some(state)).await;
    if resource.status.as_ref() == Some(&status) {
        return Ok(());
    }
    replace(objects, resource, status).await
}

async fn replace(
    objects: &Objects,
    resource: &MarramCluster,
    status: MarramClusterStatus,
) -> Result<(), ReconcileError> {
    let mut next = resource.clone();
    next.status = Some(status);
    let params = PostParams {
        field_manager: Some(OWNER.to_owned()),
        ..PostParams::default()
    };
    fault::point("status.before");
    let done = objects
        .of::<MarramCluster>()
        .replace_status(&resource.name_any(), &params, &next)
        .await;
    done.map_err(ReconcileError::kubernetes("write the status"))?;
    fault::point("status.after");
    Ok(())
}

/// The resource goes. Its objects go with it, by their owner; volumes and keys only when that was said.
async fn cleanup(resource: &MarramCluster, context: &Context) -> Result<Action, ReconcileError> {
    let namespace = resource.namespace().ok_or(ReconcileError::Nameless)?;
    let objects = Objects::new(context.client.clone(), &namespace);
    let names = Names::of(resource);
    if let Some(set) = objects.get::<StatefulSet>(&names.name).await? {
        let uid = set.metadata.uid.unwrap_or_default();
        objects
            .delete::<StatefulSet>(&names.name, &uid, false)
            .await?;
    }
    // Those that a StatefulSet has left, to be made anew around them, have nobody else who takes them along.
    let selected = ListParams::default().labels(&names.selector_text());
    let pods = objects.of::<Pod>().list(&selected).await;
    for pod in pods.map_err(ReconcileError::kubernetes("list the pods"))? {
        let uid = pod.uid().unwrap_or_default();
        objects.delete::<Pod>(&pod.name_any(), &uid, false).await?;
    }
    let retention = resource.spec.volume_retention.clone().unwrap_or_default();
    let confirmed = retention.confirm_delete.as_deref() == Some(names.name.as_str());
    if retention.on_delete == Some(RetentionPolicy::Delete) && confirmed {
        let claims = objects.of::<PersistentVolumeClaim>().list(&selected).await;
        for claim in claims.map_err(ReconcileError::kubernetes("list the claims"))? {
            let uid = claim.uid().unwrap_or_default();
            objects
                .delete::<PersistentVolumeClaim>(&claim.name_any(), &uid, false)
                .await?;
        }
        secrets::delete_keys(&objects, &names).await?;
    }
    context.meter.saw((namespace, names.name), None).await;
    Ok(Action::requeue(context.resync))
}

/// Whether an error says that the type is not there: then the definitions are not installed.
pub(super) fn is_missing(error: &kube::Error) -> bool {
    is_status(error, 404)
}
