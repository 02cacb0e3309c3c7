//! The status of a resource is replaced as a whole, on the version that was read; and what changed is told.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::PostParams;
use kube::runtime::events::EventType;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::Context;
use super::error::ReconcileError;
use super::kube_api::{OWNER, Objects};
use crate::fault;
use crate::tenant::said::State;

/// Replaces the status of this resource, as it was read.
pub(super) async fn replace<K>(objects: &Objects, next: &K) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let params = PostParams {
        field_manager: Some(OWNER.to_owned()),
        ..PostParams::default()
    };
    fault::point("status.before");
    let done = objects
        .of::<K>()
        .replace_status(&next.name_any(), &params, next)
        .await;
    done.map_err(ReconcileError::kubernetes("write the status"))?;
    fault::point("status.after");
    Ok(())
}

/// Tells, once, that a resource is as it should be, or what stands against it.
pub(super) async fn tell<K>(context: &Context, about: &K, before: &[Condition], state: &State)
where
    K: Resource<DynamicType = ()>,
{
    let said = before.iter().find(|condition| condition.type_ == "Ready");
    let (type_, reason, note, new) = match state {
        State::Working(_) => return,
        State::Ready(message) => {
            let new = said.is_none_or(|said| said.status != "True");
            (EventType::Normal, "Ready", message, new)
        }
        State::Held(hold) => {
            let new = said.is_none_or(|said| said.reason != hold.reason);
            (EventType::Warning, hold.reason, &hold.message, new)
        }
    };
    if new {
        let about = about.object_ref(&());
        context.tell(&about, type_, (reason, reason), note).await;
    }
}
