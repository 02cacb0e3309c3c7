//! One look at one `Bucket`, and one step.

use std::sync::Arc;
use std::time::Instant;

use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event, finalizer};
use marram_client::{Client, ClientError, ErrorKind};

use super::super::context::{Context, now};
use super::super::error::ReconcileError;
use super::super::kube_api::Objects;
use super::super::reconcile::{SOON, ended, unwrapped};
use super::super::writer;
use super::{Place, RESYNC_TIMES, place, refused, unreachable};
use crate::api::{Bucket, DeletionPolicy, Versioning};
use crate::fault;
use crate::tenant::Hold;
use crate::tenant::admission::owns;
use crate::tenant::bucket::{Found, Step, next, report, state};
use crate::tenant::said::{State, conditions};

/// What keeps a resource from going before its bucket is taken care of.
const FINALIZER: &str = "marram.dev/bucket";

/// One look at one bucket.
pub(super) async fn reconcile(
    bucket: Arc<Bucket>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    let namespace = bucket.namespace().ok_or(ReconcileError::Nameless)?;
    let api: Api<Bucket> = Api::namespaced(context.client.clone(), &namespace);
    let shared = Arc::clone(&context);
    let done = finalizer(&api, FINALIZER, bucket, |event| async move {
        match event {
            Event::Apply(bucket) => Box::pin(apply(&bucket, &shared)).await,
            Event::Cleanup(bucket) => Box::pin(cleanup(&bucket, &shared)).await,
        }
    })
    .await
    .map_err(unwrapped);
    ended(&context, began, done)
}

async fn apply(cached: &Bucket, context: &Context) -> Result<Action, ReconcileError> {
    let namespace = cached.namespace().ok_or(ReconcileError::Nameless)?;
    let objects = Objects::new(context.client.clone(), &namespace);
    let Some(bucket) = objects.get::<Bucket>(&cached.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let place = place(context, &bucket.spec.cluster_ref, &namespace).await?;
    let (mut step, found) = decide(context, &bucket, &place).await?;
    if let Some(client) = &place.client
        && let Err(error) = act(client, &bucket, &step).await
    {
        step = Step::Hold(refused("change a bucket", error)?);
    }
    write(context, &objects, &bucket, &step, found.as_ref()).await?;
    Ok(Action::requeue(match step {
        Step::Rest => context.resync * RESYNC_TIMES,
        Step::Hold(hold) if hold.stalled => context.resync,
        Step::Hold(_) => context.poll,
        _ => SOON,
    }))
}

/// Looks, and says what to do. Whose a bucket is, is decided for one resource after another.
async fn decide(
    context: &Context,
    bucket: &Bucket,
    place: &Place,
) -> Result<(Step, Option<Found>), ReconcileError> {
    if let Some(hold) = &place.hold {
        return Ok((Step::Hold(hold.clone()), None));
    }
    let Some(client) = &place.client else {
        return Ok((
            Step::Hold(Hold::waits("ClusterUnreachable", "no pod is ready")),
            None,
        ));
    };
    let found = match look(client, &bucket.bucket()).await {
        Ok(found) => found,
        Err(error) => return Ok((Step::Hold(unreachable(&error)), None)),
    };
    let all = match owns(bucket) && found.is_some() {
        true => Vec::new(),
        false => {
            let api: Api<Bucket> = context.watched();
            let all = api.list(&ListParams::default()).await;
            all.map_err(ReconcileError::kubernetes("list the Buckets"))?
                .items
        }
    };
    Ok((next(bucket, &all, found.as_ref()), found))
}

async fn look(client: &Client, name: &str) -> Result<Option<Found>, ClientError> {
    let info = match client.head_bucket(name).await {
        Ok(info) => info,
        // A name that cannot be is no bucket's; the step says so.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    Ok(Some(Found {
        info,
        lifecycle: client.lifecycle(name).await?,
        usage: client.bucket_usage(name).await?,
    }))
}

async fn act(client: &Client, bucket: &Bucket, step: &Step) -> Result<(), ClientError> {
    let name = bucket.bucket();
    let done = match step {
        Step::Rest | Step::Hold(_) | Step::Claim => return Ok(()),
        Step::Create => {
            fault::point("bucket.before");
            let profile = bucket.spec.profile.as_deref();
            match client.create_bucket(&name, profile).await {
                // An answer was lost, and the bucket made: that is written down as this resource's.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                made => made.map(drop),
            }
        }
        Step::Profile(profile) => client.set_bucket_profile(&name, profile).await.map(drop),
        Step::Versioning(versioning) => {
            let wanted = match versioning {
                Versioning::Off => marram_client::Versioning::Off,
                Versioning::On => marram_client::Versioning::On,
                Versioning::Suspended => marram_client::Versioning::Suspended,
            };
            client.set_versioning(&name, wanted).await.map(drop)
        }
        Step::Quota(quota) => client.set_quota(&name, *quota).await.map(drop),
        Step::Lifecycle(rules) => client.set_lifecycle(&name, rules.clone()).await,
    };
    tracing::info!(bucket = name, ?step, failed = done.is_err(), "a step");
    fault::point("bucket.after");
    done
}

async fn write(
    context: &Context,
    objects: &Objects,
    bucket: &Bucket,
    step: &Step,
    found: Option<&Found>,
) -> Result<(), ReconcileError> {
    let said = state(bucket, step);
    let mut status = report(bucket, step, found);
    let before = bucket.status.clone().unwrap_or_default();
    let generation = bucket.metadata.generation;
    status.observed_generation = generation;
    status.conditions = conditions(&before.conditions, &said, (generation, now()));
    writer::tell(context, bucket, &before.conditions, &said).await;
    if bucket.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut next = bucket.clone();
    next.status = Some(status);
    writer::replace(objects, &next).await
}

/// The resource goes: the bucket stays, or goes with it as soon as it is empty.
async fn cleanup(bucket: &Bucket, context: &Context) -> Result<Action, ReconcileError> {
    let policy = bucket.spec.deletion_policy.unwrap_or_default();
    if policy == DeletionPolicy::Retain || !owns(bucket) {
        return Ok(Action::await_change());
    }
    let namespace = bucket.namespace().ok_or(ReconcileError::Nameless)?;
    let place = place(context, &bucket.spec.cluster_ref, &namespace).await?;
    let hold = match (&place.names, &place.hold, &place.client) {
        // Without the cluster there is nothing to delete; without its leave, nothing may be.
        (None, _, _) => return Ok(Action::await_change()),
        (_, Some(hold), _) if hold.stalled => return Ok(Action::await_change()),
        (_, Some(hold), _) => hold.clone(),
        (_, None, None) => Hold::waits("ClusterUnreachable", "no pod is ready"),
        (_, None, Some(client)) => match client.delete_bucket(&bucket.bucket()).await {
            Ok(()) => return Ok(Action::await_change()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Action::await_change()),
            Err(error) if error.kind() == ErrorKind::Precondition => Hold::waits(
                "NotEmpty",
                format!(
                    "{error}; the resource stays until it is empty, or until spec.deletionPolicy is Retain"
                ),
            ),
            Err(error) => unreachable(&error),
        },
    };
    let objects = Objects::new(context.client.clone(), &namespace);
    let Some(fresh) = objects.get::<Bucket>(&bucket.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let message = hold.message.clone();
    let mut next = fresh.clone();
    let mut status = fresh.status.clone().unwrap_or_default();
    let generation = fresh.metadata.generation;
    let said = State::Held(hold);
    writer::tell(context, &fresh, &status.conditions, &said).await;
    status.observed_generation = generation;
    status.conditions = conditions(&status.conditions, &said, (generation, now()));
    if fresh.status.as_ref() != Some(&status) {
        next.status = Some(status);
        writer::replace(&objects, &next).await?;
    }
    Err(ReconcileError::Waits(message))
}
