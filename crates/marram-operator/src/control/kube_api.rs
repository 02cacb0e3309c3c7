//! Objects of Kubernetes: applied, created, deleted. Each writer has a name of its own.

use k8s_openapi::NamespaceResourceScope;
use kube::api::{
    Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
    PropagationPolicy,
};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ReconcileError, is_status};

/// Who applies the objects of a cluster.
pub(crate) const OWNER: &str = "marram-operator";
/// Who writes tokens.
pub(crate) const TOKENS: &str = "marram-operator-tokens";
/// Who changes the number of replicas downwards.
pub(crate) const SCALE: &str = "marram-operator-scale";
/// Who says how large volumes are to be.
pub(crate) const VOLUMES: &str = "marram-operator-volumes";
/// Who labels pods and claims.
pub(crate) const LABELS: &str = "marram-operator-labels";

/// The object with this uid, and no other one of its name.
fn preconditions(uid: &str) -> Option<Preconditions> {
    Some(Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    })
}

/// The objects of one namespace.
#[derive(Clone)]
pub(crate) struct Objects {
    client: Client,
    namespace: String,
}

impl Objects {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        let namespace = namespace.to_owned();
        Self { client, namespace }
    }

    /// Those of one type.
    pub(crate) fn of<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Those of the whole cluster.
    pub(crate) fn global<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }

    fn dynamic(
        &self,
        value: &Value,
    ) -> Result<(Api<DynamicObject>, String, String), ReconcileError> {
        let types: TypeMeta =
            serde_json::from_value(value.clone()).map_err(|_| ReconcileError::Nameless)?;
        let name = value["metadata"]["name"]
            .as_str()
            .ok_or(ReconcileError::Nameless)?;
        let kind = GroupVersionKind::try_from(&types).map_err(|_| ReconcileError::Nameless)?;
        let resource = ApiResource::from_gvk(&kind);
        let api = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        Ok((api, name.to_owned(), format!("{} {name}", kind.kind)))
    }

    /// Makes an object so: what it does not say of what was applied before is taken out.
    pub(crate) async fn apply(&self, value: &Value) -> Result<(), ReconcileError> {
        let (api, name, what) = self.dynamic(value)?;
        let params = PatchParams::apply(OWNER).force();
        let done = api.patch(&name, &params, &Patch::Apply(value)).await;
        done.map_err(ReconcileError::kubernetes(format!("apply the {what}")))?;
        Ok(())
    }

    /// Makes an object where there is none. True: it was made now.
    pub(crate) async fn create(&self, value: &Value) -> Result<bool, ReconcileError> {
        let (api, _, what) = self.dynamic(value)?;
        let object: DynamicObject =
            serde_json::from_value(value.clone()).map_err(|_| ReconcileError::Nameless)?;
        let params = PostParams {
            field_manager: Some(OWNER.to_owned()),
            ..PostParams::default()
        };
        match api.create(&params, &object).await {
            Ok(_) => Ok(true),
            Err(error) if is_status(&error, 409) => Ok(false),
            Err(error) => Err(ReconcileError::kubernetes(format!("create the {what}"))(
                error,
            )),
        }
    }

    /// Changes parts of an object, as this writer; says what it is then.
    pub(crate) async fn merge<K>(
        &self,
        name: &str,
        writer: &str,
        patch: &Value,
    ) -> Result<K, ReconcileError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let params = PatchParams {
            field_manager: Some(writer.to_owned()),
            ..PatchParams::default()
        };
        let done = self
            .of::<K>()
            .patch(name, &params, &Patch::Merge(patch))
            .await;
        done.map_err(ReconcileError::kubernetes(format!("change {name}")))
    }

    /// Deletes the object with this uid, and no other one of its name. One that is gone is deleted.
    pub(crate) async fn delete<K>(
        &self,
        name: &str,
        uid: &str,
        force: bool,
    ) -> Result<(), ReconcileError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let params = DeleteParams {
            grace_period_seconds: force.then_some(0),
            preconditions: preconditions(uid),
            ..DeleteParams::default()
        };
        self.deleted::<K>(name, &params).await
    }

    async fn deleted<K>(&self, name: &str, params: &DeleteParams) -> Result<(), ReconcileError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        match self.of::<K>().delete(name, params).await {
            Ok(_) => Ok(()),
            Err(error) if is_status(&error, 404) || is_status(&error, 409) => Ok(()),
            Err(error) => Err(ReconcileError::kubernetes(format!("delete {name}"))(error)),
        }
    }

    /// Deletes the object with this uid and leaves what it owns. One that is gone is deleted.
    pub(crate) async fn orphan<K>(&self, name: &str, uid: &str) -> Result<(), ReconcileError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Orphan),
            preconditions: preconditions(uid),
            ..DeleteParams::default()
        };
        self.deleted::<K>(name, &params).await
    }

    /// An object, where it is there.
    pub(crate) async fn get<K>(&self, name: &str) -> Result<Option<K>, ReconcileError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let found = self.of::<K>().get_opt(name).await;
        found.map_err(ReconcileError::kubernetes(format!("read {name}")))
    }
}
