//! What the objects of a cluster are called, and who they belong to.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::api::MarramCluster;

/// Port of the API.
pub const API_PORT: u16 = 7070;
/// Port of the mesh.
pub const MESH_PORT: u16 = 7071;
/// Port of metrics and health.
pub const METRICS_PORT: u16 = 7072;
/// The label that says which cluster an object is part of.
pub const CLUSTER_LABEL: &str = "marram.dev/cluster";
/// The label of a pod that says its failure domain.
pub const DOMAIN_LABEL: &str = "marram.dev/domain";
/// The annotation of a claim that says which member's data is on it.
pub const NODE_ANNOTATION: &str = "marram.dev/node-id";
/// The annotation of a pod that says when it got a join token, and of a Secret that says when it was made.
pub const TOKEN_ANNOTATION: &str = "marram.dev/token-made";
/// The annotation of a Secret with a token that says by which CA of the mesh its bearer knows the cluster.
pub const AUTHORITY_ANNOTATION: &str = "marram.dev/authority";
/// The label of a claim whose member was emptied and removed.
pub const RETIRED_LABEL: &str = "marram.dev/retired";
/// The label of a Secret that an AccessKey wrote: the cluster's name.
pub const ACCESS_KEY_LABEL: &str = "marram.dev/access-key";
/// The label that says what an object is for.
const COMPONENT_LABEL: &str = "app.kubernetes.io/component";

/// The names of one cluster's objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Names {
    /// The cluster's name, which its StatefulSet and client Service have too.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The domain of the names of Services.
    pub domain: String,
    owner: Option<OwnerReference>,
}

impl Names {
    /// Those of a cluster.
    #[must_use]
    pub fn of(cluster: &MarramCluster) -> Self {
        Self {
            name: cluster.name_any(),
            namespace: cluster.namespace().unwrap_or_default(),
            domain: cluster.spec.domain().to_owned(),
            owner: cluster.controller_owner_ref(&()),
        }
    }

    /// The headless Service.
    #[must_use]
    pub fn peers(&self) -> String {
        format!("{}-peers", self.name)
    }

    /// The Secret with the keys.
    #[must_use]
    pub fn keys(&self) -> String {
        format!("{}-keys", self.name)
    }

    /// The Secret with the join tokens.
    #[must_use]
    pub fn join(&self) -> String {
        format!("{}-join", self.name)
    }

    /// The Secret with the API's certificate.
    #[must_use]
    pub fn api_tls(&self) -> String {
        format!("{}-api-tls", self.name)
    }

    /// The Secret with the CA of the API's certificates, and the ConfigMap with what is to be trusted.
    #[must_use]
    pub fn api_ca(&self) -> String {
        format!("{}-api-ca", self.name)
    }

    /// The Deployment of the gateways, and what else is theirs.
    #[must_use]
    pub fn gateway(&self) -> String {
        format!("{}-gateway", self.name)
    }

    /// The Secret with the gateways' join token.
    #[must_use]
    pub fn gateway_join(&self) -> String {
        format!("{}-join", self.gateway())
    }

    /// The budget of the gateways. The dot keeps it apart from that of a failure domain called `gateway`.
    #[must_use]
    pub fn gateway_budget(&self) -> String {
        format!("{}.gateway", self.name)
    }

    /// The pod with this ordinal.
    #[must_use]
    pub fn pod(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.name)
    }

    /// The claim of the pod with this ordinal.
    #[must_use]
    pub fn claim(&self, ordinal: i32) -> String {
        format!("data-{}-{ordinal}", self.name)
    }

    /// The ordinal of a pod.
    #[must_use]
    pub fn ordinal(&self, pod: &str) -> Option<i32> {
        let rest = pod.strip_prefix(self.name.as_str())?.strip_prefix('-')?;
        rest.parse()
            .ok()
            .filter(|ordinal| *ordinal >= 0 && self.pod(*ordinal) == pod)
    }

    /// The ordinal of a claim's pod.
    #[must_use]
    pub fn claim_ordinal(&self, claim: &str) -> Option<i32> {
        self.ordinal(claim.strip_prefix("data-")?)
    }

    /// The budget of a failure domain.
    #[must_use]
    pub fn budget(&self, domain: &str) -> String {
        let plain = |c: char| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => c,
            _ => '-',
        };
        let domain: String = domain.chars().map(plain).collect();
        format!("{}-{}", self.name, domain.trim_matches('-'))
    }

    /// The host under which peers find a pod; `pod` may be a reference such as `$(POD)`.
    #[must_use]
    pub fn host(&self, pod: &str) -> String {
        format!("{pod}.{}", self.peers_host())
    }

    /// The host of all pods.
    #[must_use]
    pub fn peers_host(&self) -> String {
        format!("{}.{}.svc.{}", self.peers(), self.namespace, self.domain)
    }

    /// The host under which clients find the API.
    #[must_use]
    pub fn api_host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    /// Where clients find the API.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://{}:{API_PORT}", self.api_host())
    }

    /// The names that the API's certificate bears.
    #[must_use]
    pub fn certificate_names(&self) -> Vec<String> {
        let (name, namespace) = (&self.name, &self.namespace);
        vec![
            self.host("*"),
            format!("{}.{}", self.api_host(), self.domain),
            self.api_host(),
            format!("{name}.{namespace}"),
            name.clone(),
            "localhost".to_owned(),
        ]
    }

    /// The labels by which storage pods are selected. They never change.
    #[must_use]
    pub fn selector(&self) -> BTreeMap<String, String> {
        self.selector_of("storage")
    }

    /// The labels by which gateways are selected. They never change.
    #[must_use]
    pub fn gateway_selector(&self) -> BTreeMap<String, String> {
        self.selector_of("gateway")
    }

    fn selector_of(&self, component: &str) -> BTreeMap<String, String> {
        [
            (CLUSTER_LABEL, self.name.as_str()),
            (COMPONENT_LABEL, component),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// The selector of storage pods as text.
    #[must_use]
    pub fn selector_text(&self) -> String {
        text_of(&self.selector())
    }

    /// The selector of gateways as text.
    #[must_use]
    pub fn gateway_selector_text(&self) -> String {
        text_of(&self.gateway_selector())
    }

    /// The labels of every object of the storage nodes, and of the cluster as a whole.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.labels_of(self.selector())
    }

    /// The labels of every object of the gateways.
    #[must_use]
    pub fn gateway_labels(&self) -> BTreeMap<String, String> {
        self.labels_of(self.gateway_selector())
    }

    fn labels_of(&self, mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
        for (key, value) in [
            ("app.kubernetes.io/name", "marram"),
            ("app.kubernetes.io/instance", self.name.as_str()),
            ("app.kubernetes.io/managed-by", "marram-operator"),
        ] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        labels
    }

    /// The metadata of an object that goes with the cluster's resource.
    pub(crate) fn owned(&self, name: &str) -> Value {
        let mut metadata = self.kept(name);
        if let Some(owner) = &self.owner {
            metadata["ownerReferences"] = json!([owner]);
        }
        metadata
    }

    /// The metadata of an object of the gateways; it goes with the cluster's resource.
    pub(crate) fn owned_by_gateways(&self, name: &str) -> Value {
        let mut metadata = self.owned(name);
        metadata["labels"] = json!(self.gateway_labels());
        metadata
    }

    /// The metadata of an object that outlives the cluster's resource.
    pub(crate) fn kept(&self, name: &str) -> Value {
        json!({ "name": name, "namespace": self.namespace, "labels": self.labels() })
    }
}

fn text_of(selector: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn names() -> Names {
        Names {
            name: "store".into(),
            namespace: "data".into(),
            domain: "cluster.local".into(),
            owner: None,
        }
    }

    #[test]
    fn names_follow_the_pods() {
        let names = names();
        assert_eq!(names.pod(3), "store-3");
        assert_eq!(names.claim(3), "data-store-3");
        assert_eq!(names.ordinal("store-3"), Some(3));
        for other in [
            "store-03",
            "store",
            "store--1",
            "store-x",
            "stores-1",
            "store-peers",
        ] {
            assert_eq!(names.ordinal(other), None, "{other}");
        }
        assert_eq!(names.claim_ordinal("data-store-11"), Some(11));
        assert_eq!(names.claim_ordinal("other-store-11"), None);
        assert_eq!(
            names.host("$(POD)"),
            "$(POD).store-peers.data.svc.cluster.local"
        );
        assert_eq!(names.budget("eu-west_1a"), "store-eu-west-1a");
        let said = "app.kubernetes.io/component=storage,marram.dev/cluster=store";
        assert_eq!(names.selector_text(), said);
        // A gateway's pod is none of the StatefulSet's, and a domain of that name has a budget of its own.
        assert_eq!(names.ordinal("store-gateway-5d4f-x2x"), None);
        assert_eq!(names.gateway_join(), "store-gateway-join");
        assert_ne!(names.budget("gateway"), names.gateway_budget());
    }

    #[test]
    fn certificates_are_good_for_pods_and_service() {
        let names = names().certificate_names();
        assert_eq!(names[0], "*.store-peers.data.svc.cluster.local");
        assert_eq!(names[1], "store.data.svc.cluster.local");
        assert_eq!(
            names[2..],
            ["store.data.svc", "store.data", "store", "localhost"]
        );
    }
}
