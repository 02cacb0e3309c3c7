//! One look at one `AccessKey`, and one step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event, finalizer};
use marram_client::{
    AccessKeyChange, AccessKeyInfo, AccessKeySecret, Client, ClientError, ErrorKind,
};
use sha2::{Digest, Sha256};

use super::super::context::{Context, now};
use super::super::error::ReconcileError;
use super::super::kube_api::{OWNER, Objects};
use super::super::reconcile::{SOON, ended, unwrapped};
use super::super::secrets::text;
use super::super::writer;
use super::{Place, RESYNC_TIMES, place, refused, unreachable};
use crate::api::{AccessKey, AccessKeyStatus, Bucket};
use crate::build::{Credentials, credentials};
use crate::fault;
use crate::names::{ACCESS_KEY_LABEL, Names};
use crate::tenant::Hold;
use crate::tenant::admission::grants;
use crate::tenant::key::{KeyView, SecretView, Step, again, next, state};
use crate::tenant::said::{State, conditions, time};

/// What keeps a resource from going before its key is removed.
const FINALIZER: &str = "marram.dev/access-key";
/// Longest note of a key.
const NOTE_MAX: usize = marram_types::caps::KEY_NOTE_BYTES_MAX;

/// One look at one access key.
pub(super) async fn reconcile(
    key: Arc<AccessKey>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    let namespace = key.namespace().ok_or(ReconcileError::Nameless)?;
    let api: Api<AccessKey> = Api::namespaced(context.client.clone(), &namespace);
    let shared = Arc::clone(&context);
    let done = finalizer(&api, FINALIZER, key, |event| async move {
        match event {
            Event::Apply(key) => Box::pin(apply(&key, &shared)).await,
            Event::Cleanup(key) => Box::pin(cleanup(&key, &shared)).await,
        }
    })
    .await
    .map_err(unwrapped);
    ended(&context, began, done)
}

/// How a key of the cluster is known again: the resource's uid, which no other ever has.
fn mark(key: &AccessKey) -> String {
    format!("kubernetes:{}", key.uid().unwrap_or_default())
}

/// What a key's note says: the mark, and for people the resource.
fn note(key: &AccessKey) -> String {
    let namespace = key.namespace().unwrap_or_default();
    let mut note = format!("{} {namespace}/{}", mark(key), key.name_any());
    // Names are ASCII.
    note.truncate(NOTE_MAX);
    note
}

fn hash(secret: &str) -> String {
    let digest = Sha256::digest(secret.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn apply(cached: &AccessKey, context: &Context) -> Result<Action, ReconcileError> {
    let namespace = cached.namespace().ok_or(ReconcileError::Nameless)?;
    let objects = Objects::new(context.client.clone(), &namespace);
    let Some(key) = objects.get::<AccessKey>(&cached.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let place = place(context, &key.spec.cluster_ref, &namespace).await?;
    let known = match &place.client {
        Some(client) => known(client, &key).await,
        None => Ok(Vec::new()),
    };
    let (known, hold) = match known {
        Ok(known) => (known, place.hold.clone()),
        Err(error) => (Vec::new(), Some(unreachable(&error))),
    };
    let (held, without) = resolved(context, &key).await?;
    let mut view = KeyView {
        now: now(),
        secret: secret(&objects, &key, &place).await?,
        grants: held,
        without,
        known,
        refused: hold,
        key,
    };
    // What is to be trusted follows the cluster also while that does not answer, or does not want a change.
    let stands = view.refused.as_ref().is_some_and(|hold| hold.stalled);
    if let SecretView::Ours { current: false, .. } = view.secret
        && !stands
    {
        refresh(&objects, &place, &view).await?;
        view.secret = secret(&objects, &view.key, &place).await?;
    }
    let mut step = next(&view);
    let mut status = view.key.status.clone().unwrap_or_default();
    if let Some(client) = &place.client {
        match act(&objects, (client, &place), &view, &step, &mut status).await? {
            Some(hold) => step = Step::Hold(hold),
            None if !matches!(step, Step::Rest | Step::Hold(_)) => {
                tracing::info!(key = view.key.name_any(), step = word(&step), "a step");
            }
            None => {}
        }
    }
    write(context, &objects, &view, &step, status).await?;
    Ok(Action::requeue(match &step {
        Step::Rest => {
            let rest = (context.resync * RESYNC_TIMES).as_secs();
            Duration::from_secs(again(&view, rest))
        }
        Step::Hold(hold) if hold.stalled => context.resync,
        Step::Hold(_) => context.poll,
        _ => SOON,
    }))
}

/// A step in a word; the whole of it may be long.
fn word(step: &Step) -> &'static str {
    match step {
        Step::Rest => "rest",
        Step::Hold(_) => "hold",
        Step::Note(_) => "note",
        Step::Create => "create",
        Step::Rotate { .. } => "rotate",
        Step::Remove(_) => "remove",
        Step::Disable(_) => "disable",
        Step::Change { .. } => "change",
        Step::Refresh => "refresh",
    }
}

/// The keys of the cluster that are this resource's.
async fn known(client: &Client, key: &AccessKey) -> Result<Vec<AccessKeyInfo>, ClientError> {
    let mark = mark(key);
    let mut keys = client.access_keys().await?;
    keys.retain(|key| key.note.split(' ').next() == Some(mark.as_str()));
    Ok(keys)
}

/// The grants that hold, by Buckets as the API server has them now: what was taken back is taken back.
async fn resolved(
    context: &Context,
    key: &AccessKey,
) -> Result<(Vec<marram_types::Grant>, Vec<String>), ReconcileError> {
    let own = key.namespace().unwrap_or_default();
    let mut buckets: Vec<Bucket> = Vec::new();
    for grant in &key.spec.grants {
        let of = grant.bucket_ref.namespace.as_deref().unwrap_or(&own);
        let name = grant.bucket_ref.name.as_str();
        let same = |b: &Bucket| b.namespace().as_deref() == Some(of) && b.name_any() == name;
        let watched = context.namespace.as_deref().is_none_or(|w| w == of);
        if watched && !buckets.iter().any(same) {
            let objects = Objects::new(context.client.clone(), of);
            buckets.extend(objects.get::<Bucket>(name).await?);
        }
    }
    Ok(grants(key, &buckets))
}

async fn secret(
    objects: &Objects,
    key: &AccessKey,
    place: &Place,
) -> Result<SecretView, ReconcileError> {
    let Some(live) = objects.get::<Secret>(&key.secret_name()).await? else {
        return Ok(SecretView::Missing);
    };
    let mut owners = live.metadata.owner_references.iter().flatten();
    let ours = owners.any(|owner| Some(&owner.uid) == key.uid().as_ref());
    if !ours {
        return Ok(SecretView::Foreign);
    }
    let endpoint = place.names.as_ref().map(Names::endpoint);
    let labels = live.metadata.labels.as_ref();
    let label = labels.and_then(|labels| labels.get(ACCESS_KEY_LABEL));
    Ok(SecretView::Ours {
        id: text(&live, "MARRAM_ACCESS_KEY"),
        hash: text(&live, "MARRAM_SECRET_KEY").map(|secret| hash(&secret)),
        // Where nobody knows what is to be trusted, nothing is written.
        current: place.ca.is_empty()
            || text(&live, "MARRAM_ENDPOINT") == endpoint
                && text(&live, "ca.crt").as_ref() == Some(&place.ca)
                && label == Some(&key.spec.cluster_ref.name),
    })
}

/// Does it. Some: it was refused, and this is said.
async fn act(
    objects: &Objects,
    (client, place): (&Client, &Place),
    view: &KeyView,
    step: &Step,
    status: &mut AccessKeyStatus,
) -> Result<Option<Hold>, ReconcileError> {
    fault::point(&format!("key.{}.before", word(step)));
    let done = match step {
        Step::Rest | Step::Hold(_) => return Ok(None),
        Step::Note(pending) => {
            status.pending = Some(*pending);
            return Ok(None);
        }
        Step::Refresh => return refresh(objects, place, view).await.map(|()| None),
        Step::Create => {
            let note = note(&view.key);
            let ends = view.expires_ms();
            client
                .create_access_key(&view.grants, &note, ends)
                .await
                .map(Some)
        }
        Step::Rotate {
            id,
            overlap_seconds,
        } => {
            let overlap = Duration::from_secs(*overlap_seconds);
            client.rotate_access_key(id, overlap).await.map(Some)
        }
        Step::Remove(id) => client.delete_access_key(id).await.map(|_| None),
        Step::Disable(id) => {
            let change = AccessKeyChange {
                disabled: Some(true),
                ..AccessKeyChange::default()
            };
            client.update_access_key(id, change).await.map(|_| None)
        }
        Step::Change {
            id,
            add,
            remove,
            expires_ms,
            enable,
        } => {
            let change = AccessKeyChange {
                disabled: enable.then_some(false),
                expires_ms: *expires_ms,
                add_grants: add.clone(),
                remove_grants: remove.clone(),
            };
            client.update_access_key(id, change).await.map(|_| None)
        }
    };
    fault::point(&format!("key.{}.after", word(step)));
    match done {
        Ok(Some(made)) => publish(objects, place, view, &made, status)
            .await
            .map(|()| None),
        Ok(None) => Ok(None),
        // It went meanwhile: it is looked at again.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => refused("change an access key", error).map(Some),
    }
}

/// Puts the secret that the cluster just showed into the Secret, and into the status which one it is.
async fn publish(
    objects: &Objects,
    place: &Place,
    view: &KeyView,
    made: &AccessKeySecret,
    status: &mut AccessKeyStatus,
) -> Result<(), ReconcileError> {
    put(objects, place, view, (&made.key.id, &made.secret)).await?;
    fault::point("key.published");
    status.access_key_id = Some(made.key.id.clone());
    status.secret_hash = Some(hash(&made.secret));
    status.rotated_at = Some(time(now()));
    status.secret_name = Some(view.key.secret_name());
    let rotation = view.key.spec.rotation.as_ref();
    status.trigger = rotation.and_then(|rotation| rotation.trigger.clone());
    status.pending = None;
    Ok(())
}

/// Writes the Secret anew around what is in it.
async fn refresh(objects: &Objects, place: &Place, view: &KeyView) -> Result<(), ReconcileError> {
    let live = objects.get::<Secret>(&view.key.secret_name()).await?;
    let values = live.and_then(|live| {
        let id = text(&live, "MARRAM_ACCESS_KEY")?;
        Some((id, text(&live, "MARRAM_SECRET_KEY")?))
    });
    match values {
        Some((id, secret)) => put(objects, place, view, (&id, &secret)).await,
        // It went meanwhile: the next look has it made anew.
        None => Ok(()),
    }
}

async fn put(
    objects: &Objects,
    place: &Place,
    view: &KeyView,
    (id, secret): (&str, &str),
) -> Result<(), ReconcileError> {
    let endpoint = place.names.as_ref().map(Names::endpoint);
    let value = credentials(
        &view.key,
        &Credentials {
            endpoint: endpoint.unwrap_or_default(),
            id: id.to_owned(),
            secret: secret.to_owned(),
            ca: place.ca.clone(),
        },
    );
    if view.secret != SecretView::Missing {
        return objects.apply(&value).await;
    }
    // Made, not applied: what another put there in the same moment is not written over.
    match objects.create(&value).await? {
        true => Ok(()),
        false => Err(ReconcileError::Waits(
            "the Secret was made by another".to_owned(),
        )),
    }
}

async fn write(
    context: &Context,
    objects: &Objects,
    view: &KeyView,
    step: &Step,
    mut status: AccessKeyStatus,
) -> Result<(), ReconcileError> {
    let said = state(view, step);
    let before = view.key.status.clone().unwrap_or_default();
    let generation = view.key.metadata.generation;
    status.observed_generation = generation;
    status.conditions = conditions(&before.conditions, &said, (generation, now()));
    writer::tell(context, &view.key, &before.conditions, &said).await;
    if view.key.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut next = view.key.clone();
    next.status = Some(status);
    writer::replace(objects, &next).await
}

/// The resource goes, and with it the key. The Secret goes by its owner.
async fn cleanup(key: &AccessKey, context: &Context) -> Result<Action, ReconcileError> {
    let namespace = key.namespace().ok_or(ReconcileError::Nameless)?;
    let objects = Objects::new(context.client.clone(), &namespace);
    let Some(fresh) = objects.get::<AccessKey>(&key.name_any()).await? else {
        return Ok(Action::await_change());
    };
    // What is done is written down first: without a note there is no key, and no cluster to wait for.
    let touched =
        |status: &AccessKeyStatus| status.access_key_id.is_some() || status.pending.is_some();
    if !fresh.status.as_ref().is_some_and(touched) {
        return Ok(Action::await_change());
    }
    let place = place(context, &key.spec.cluster_ref, &namespace).await?;
    let paused = place.hold.as_ref().filter(|h| h.reason == "ClusterPaused");
    let hold = match (&place.names, paused, &place.client) {
        (None, _, _) => return Ok(Action::await_change()),
        (_, Some(hold), _) => hold.clone(),
        (_, None, None) => Hold::waits("ClusterUnreachable", "no pod of the cluster is ready"),
        (_, None, Some(client)) => match remove_all(client, key).await {
            Ok(()) => return Ok(Action::await_change()),
            Err(error) => unreachable(&error),
        },
    };
    let message = format!("{}: the key is removed then", hold.message);
    let mut next = fresh.clone();
    let mut status = fresh.status.clone().unwrap_or_default();
    let generation = fresh.metadata.generation;
    let said = State::Held(hold);
    writer::tell(context, &fresh, &status.conditions, &said).await;
    status.conditions = conditions(&status.conditions, &said, (generation, now()));
    if fresh.status.as_ref() != Some(&status) {
        next.status = Some(status);
        writer::replace(&objects, &next).await?;
    }
    tracing::debug!(writer = OWNER, message, "a key waits to be removed");
    Err(ReconcileError::Waits(message))
}

async fn remove_all(client: &Client, key: &AccessKey) -> Result<(), ClientError> {
    for known in known(client, key).await? {
        client.delete_access_key(&known.id).await?;
        tracing::info!(key = key.name_any(), id = known.id, "a key is removed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_within_its_limit_and_begins_with_the_mark() {
        let mut key = AccessKey::new(&"k".repeat(253), crate::api::AccessKeySpec::default());
        key.metadata.namespace = Some("n".repeat(63));
        key.metadata.uid = Some("8f7f9a3e-0000-4000-8000-000000000000".into());
        let note = note(&key);
        assert_eq!(note.len(), NOTE_MAX);
        assert_eq!(note.split(' ').next(), Some(mark(&key).as_str()));
    }
}
