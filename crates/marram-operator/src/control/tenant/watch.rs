//! What has a Bucket or an AccessKey looked at: a change of itself, of its cluster, of its Secret, of a Bucket that
//! it names.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;

use super::super::context::Context;
use super::super::error::ReconcileError;
use super::super::reconcile::RETRY;
use super::{bucket, key};
use crate::api::{AccessKey, Bucket, ClusterRef, MarramCluster};
use crate::names::{ACCESS_KEY_LABEL, CLUSTER_LABEL};

/// Resources of one kind that are looked at at once.
const CONCURRENCY: u16 = 4;

/// Looks after both kinds, until it is dropped.
pub(in super::super) async fn control(context: Arc<Context>) {
    tokio::join!(
        Box::pin(buckets(Arc::clone(&context))),
        Box::pin(keys(context))
    );
}

fn after_error(name: &str, error: &ReconcileError) -> Action {
    tracing::warn!(name, %error, "a resource could not be looked after");
    Action::requeue(RETRY)
}

async fn buckets(context: Arc<Context>) {
    let all = watcher::Config::default();
    let controller = Controller::new(context.watched::<Bucket>(), all.clone());
    let store = controller.store();
    let done = controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .watches(
            context.watched::<MarramCluster>(),
            all,
            move |cluster: MarramCluster| {
                of_cluster(&store, &cluster, |b: &Bucket| &b.spec.cluster_ref)
            },
        )
        .run(
            bucket::reconcile,
            |bucket, error, _| after_error(&bucket.name_any(), error),
            context,
        );
    done.for_each(|result| async {
        if let Err(error) = result {
            tracing::debug!(%error, "the controller of Buckets");
        }
    })
    .await;
}

async fn keys(context: Arc<Context>) {
    let all = watcher::Config::default();
    let controller = Controller::new(context.watched::<AccessKey>(), all.clone());
    let (by_cluster, by_secret, by_bucket) =
        (controller.store(), controller.store(), controller.store());
    let reference = |key: &AccessKey| key.spec.cluster_ref.clone();
    let done = controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .owns(
            context.watched::<Secret>(),
            watcher::Config::default().labels(ACCESS_KEY_LABEL),
        )
        .watches(
            context.watched::<MarramCluster>(),
            all.clone(),
            move |cluster: MarramCluster| {
                of_cluster(&by_cluster, &cluster, |key: &AccessKey| {
                    &key.spec.cluster_ref
                })
            },
        )
        // The CA of the API is in a Secret of the cluster.
        .watches(
            context.watched::<Secret>(),
            watcher::Config::default().labels(CLUSTER_LABEL),
            move |secret: Secret| {
                let cluster = secret.labels().get(CLUSTER_LABEL).cloned();
                let namespace = secret.namespace();
                chosen(&by_secret, move |key: &AccessKey| {
                    let own = key.namespace().unwrap_or_default();
                    let (of, name) = reference(key).from(&own);
                    Some(of) == namespace && Some(name) == cluster
                })
            },
        )
        .watches(context.watched::<Bucket>(), all, move |bucket: Bucket| {
            chosen(&by_bucket, |key: &AccessKey| names(key, &bucket))
        })
        .run(
            key::reconcile,
            |key, error, _| after_error(&key.name_any(), error),
            context,
        );
    done.for_each(|result| async {
        if let Err(error) = result {
            tracing::debug!(%error, "the controller of AccessKeys");
        }
    })
    .await;
}

/// Whether a key has a grant in a Bucket.
fn names(key: &AccessKey, bucket: &Bucket) -> bool {
    let own = key.namespace();
    key.spec.grants.iter().any(|grant| {
        let of = grant.bucket_ref.namespace.as_ref().or(own.as_ref());
        of == bucket.namespace().as_ref() && grant.bucket_ref.name == bucket.name_any()
    })
}

/// The resources that name a cluster.
fn of_cluster<K>(
    store: &Store<K>,
    cluster: &MarramCluster,
    reference: impl Fn(&K) -> &ClusterRef,
) -> Vec<ObjectRef<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    let place = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    chosen(store, |resource: &K| {
        let own = resource.meta().namespace.clone().unwrap_or_default();
        reference(resource).from(&own) == place
    })
}

fn chosen<K>(store: &Store<K>, of: impl Fn(&K) -> bool) -> Vec<ObjectRef<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    let state = store.state();
    let chosen = state.iter().filter(|resource| of(resource));
    chosen
        .map(|resource| ObjectRef::from_obj(resource.as_ref()))
        .collect()
}
