//! What was seen of a cluster: of its Kubernetes objects, and of itself by its API. Plain data, from which the
//! next step is decided.

use std::collections::BTreeMap;

use marram_client::{ClusterStatus, NodeDuty, NodeHealth, NodeState, NodeStatus, ScrubStatus};

use crate::api::{MarramClusterSpec, MarramClusterStatus, OperationType, Request};
use crate::names::Names;

/// All that a step is decided by.
#[derive(Debug, Clone)]
pub struct View {
    /// The time, in seconds since 1970.
    pub now: i64,
    /// What the objects are called.
    pub names: Names,
    /// What is wanted.
    pub spec: MarramClusterSpec,
    /// What was written down last.
    pub status: MarramClusterStatus,
    /// The hash of the template that is wanted.
    pub template_hash: String,
    /// The StatefulSet.
    pub set: Option<SetView>,
    /// The pods by ordinal.
    pub pods: BTreeMap<i32, PodView>,
    /// The claims by ordinal.
    pub claims: BTreeMap<i32, ClaimView>,
    /// Storage classes of claims that are to get larger, and whether theirs do; only where there are any.
    pub classes: BTreeMap<String, bool>,
    /// The gateways.
    pub gateways: GatewaysView,
    /// The Kubernetes nodes.
    pub hosts: BTreeMap<String, HostView>,
    /// The ClusterOperations that name this cluster, the oldest first.
    pub requests: Vec<RequestView>,
    /// How far the scrubs are; only where an operation waits for them.
    pub scrub: Option<ScrubStatus>,
    /// The join tokens that pods were given: when each was made, in seconds since 1970.
    pub tokens: BTreeMap<String, i64>,
    /// The Secret with the keys is there.
    pub keys_exist: bool,
    /// What the cluster says of itself, or why it does not.
    pub cluster: Result<ClusterView, String>,
}

/// The StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetView {
    /// Its replicas.
    pub replicas: i32,
    /// The revision that new pods get.
    pub update_revision: String,
    /// Its uid.
    pub uid: String,
    /// The size in its template of claims.
    pub claim_size: Option<String>,
    /// The hash of the template that was applied last.
    pub template: Option<String>,
    /// Its controller has seen its last change.
    pub is_current: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// Why it does not get its pods, in words.
    pub trouble: Option<String>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The revision of its template.
    pub revision: String,
    /// The Kubernetes node that it is on.
    pub host: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// Its container runs; since when, in seconds since 1970.
    pub running_since: Option<i64>,
    /// It is ready.
    pub ready: bool,
    /// By its own word it waits for a join token: its volume is empty.
    pub waits_for_token: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// Why it does not start, in words.
    pub trouble: Option<String>,
    /// The failure domain that its label says.
    pub domain: Option<String>,
    /// The image of its container.
    pub image: String,
    /// When it was made, in seconds since 1970.
    pub created_at: i64,
}

/// The gateways of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewaysView {
    /// Replicas of their Deployment; none where there is none.
    pub replicas: Option<i32>,
    /// The image of its template.
    pub image: Option<String>,
    /// Their pods.
    pub pods: Vec<PodView>,
    /// Why it does not get its pods, in words.
    pub trouble: Option<String>,
}

/// A claim of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimView {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The member whose data is on it.
    pub node_id: Option<String>,
    /// That member was emptied and removed.
    pub retired: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// Its volume is gone.
    pub lost: bool,
    /// The Kubernetes node that its volume is bound to, where it is bound to one.
    pub host: Option<String>,
    /// The size that it asks for.
    pub requested: Option<String>,
    /// The size that its volume has.
    pub capacity: Option<String>,
    /// Its storage class.
    pub class: Option<String>,
    /// Its file system waits for its pod to start again.
    pub resize_pending: bool,
    /// Why its volume does not get larger, in words.
    pub resize_trouble: Option<String>,
}

/// A Kubernetes node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostView {
    /// Its zone; none where it bears no label of one.
    pub zone: Option<String>,
    /// It bears the taint that says that it is out of service.
    pub out_of_service: bool,
    /// Nothing new is put on it: it is cordoned, or being drained.
    pub cordoned: bool,
    /// Its kubelet answers.
    pub ready: bool,
}

/// A ClusterOperation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestView {
    /// What it is called.
    pub request: Request,
    /// What is to be done.
    pub kind: OperationType,
    /// The node that it is about.
    pub node: Option<String>,
    /// The failure domain that it is about.
    pub domain: Option<String>,
    /// A node may be given up although objects may be lost with it.
    pub accept_data_loss: bool,
    /// It is over.
    pub over: bool,
    /// It is being deleted.
    pub deleting: bool,
}

/// What a cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// How it is.
    pub status: ClusterStatus,
    /// Its buckets, each with the nodes that its profile needs.
    pub buckets: Vec<BucketNeed>,
}

/// How many nodes a bucket needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketNeed {
    /// Its name.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// The width of the profile.
    pub nodes: usize,
}

impl View {
    /// Replicas of the StatefulSet; 0 while there is none.
    #[must_use]
    pub fn replicas(&self) -> i32 {
        self.set.as_ref().map_or(0, |set| set.replicas)
    }

    /// The zone of a pod: that of its host, or its host where no host has a zone. None while the pod is
    /// nowhere.
    #[must_use]
    pub fn zone(&self, pod: &PodView) -> Option<String> {
        let name = pod.host.as_ref()?;
        let host = self.hosts.get(name)?;
        Some(host.zone.clone().unwrap_or_else(|| name.clone()))
    }

    /// Whether some hosts have a zone and others, on which storage pods are, have none.
    #[must_use]
    pub fn zones_are_mixed(&self) -> bool {
        let used = self
            .pods
            .values()
            .filter_map(|pod| self.hosts.get(pod.host.as_ref()?));
        let (with, without): (Vec<_>, Vec<_>) = used.partition(|host| host.zone.is_some());
        !with.is_empty() && !without.is_empty()
    }

    /// The member of this name that was not given up.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&NodeStatus> {
        self.members()
            .find(|node| node.name == name && node.duty != NodeDuty::Fenced)
    }

    /// The member with this id.
    #[must_use]
    pub fn member_by_id(&self, id: &str) -> Option<&NodeStatus> {
        self.members().find(|node| node.node_id.to_string() == id)
    }

    /// All members, those that were given up too; none where the cluster does not answer.
    pub fn members(&self) -> impl Iterator<Item = &NodeStatus> {
        self.cluster
            .iter()
            .flat_map(|cluster| &cluster.status.nodes)
    }

    /// Every object has all of its shards; a reason where not, or where it is not known.
    ///
    /// # Errors
    /// The reason.
    pub fn fully_redundant(&self) -> Result<(), String> {
        let cluster = self.cluster.as_ref().map_err(Clone::clone)?;
        match &cluster.status.redundancy {
            Some(r) if r.fully_redundant => Ok(()),
            Some(r) => Err(r.under_way.first().cloned().unwrap_or_else(|| {
                "some objects have not all of their shards where they belong".to_owned()
            })),
            None => Err("the cluster does not say how redundant its data is".to_owned()),
        }
    }
}

/// Whether a member takes part: it answers, and its peers do not doubt it.
#[must_use]
pub fn is_up(node: &NodeStatus) -> bool {
    node.state == NodeState::Up
        && !matches!(
            node.condition.health,
            NodeHealth::Suspect | NodeHealth::Dead
        )
}

/// Since how many seconds the peers of a member have not reached it; none while they do, or do not say.
#[must_use]
pub fn dead_for(node: &NodeStatus) -> Option<i64> {
    let dead = node.condition.health == NodeHealth::Dead;
    dead.then(|| i64::try_from(node.condition.health_for_ms / 1000).unwrap_or(i64::MAX))
}
