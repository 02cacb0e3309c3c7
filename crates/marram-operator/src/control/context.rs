//! What all reconciliations share.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::Api;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource};

use super::link::Links;
use super::meter::Meter;

/// Longest note of an event.
const NOTE_MAX: usize = 1000;
/// Longest action of an event.
const ACTION_MAX: usize = 128;

/// What all reconciliations share.
pub(crate) struct Context {
    pub(crate) client: Client,
    /// The one namespace that is looked after; all where `None`.
    pub(crate) namespace: Option<String>,
    pub(crate) recorder: Recorder,
    /// The image of pods whose resource names none.
    pub(crate) image: String,
    /// Connections to the clusters.
    pub(crate) links: Links,
    pub(crate) meter: Arc<Meter>,
    /// How soon a cluster is looked at again while something is under way.
    pub(crate) poll: Duration,
    /// How soon it is looked at again at rest.
    pub(crate) resync: Duration,
}

impl Context {
    /// Resources of one kind, where they are looked after.
    pub(crate) fn watched<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// Tells what happened, where a person looks for it. That it cannot be told stops nothing.
    pub(crate) async fn tell(
        &self,
        about: &ObjectReference,
        type_: EventType,
        (reason, action): (&str, &str),
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(NOTE_MAX).collect()),
            // What is told again of the same action only counts.
            action: action.chars().take(ACTION_MAX).collect(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::warn!(%error, reason, "an event cannot be published");
        }
    }
}

/// The time, in seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
