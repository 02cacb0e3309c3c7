//! The operation that is under way: written down before each of its side effects, so that an operator that
//! was killed anywhere goes on where it was.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kinds of operations there are, the most urgent first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum OperationKind {
    /// The cluster is founded, or taken over with its volumes.
    Create,
    /// A node that is gone is replaced by a new one.
    Replace,
    /// All pods stop, and come back when they are wanted again.
    Hibernate,
    /// A node that was to go stays.
    Cancel,
    /// Volumes get larger.
    Expand,
    /// A node is added.
    Grow,
    /// Pods are replaced by such of the new template.
    Upgrade,
    /// A node is emptied and taken away.
    Shrink,
    /// The nodes of a failure domain are emptied, or take data again.
    Drain,
    /// Data moves until every node holds its share.
    Rebalance,
    /// All data is read and compared.
    Scrub,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Keys and certificates are made.
    Keys,
    /// The pods are started.
    Starting,
    /// One of them founds the cluster.
    Founding,
    /// Pods get tokens and become members.
    Joining,
    /// A node takes no new data.
    Cordoning,
    /// A node gives its data to the others.
    Draining,
    /// It is made sure that nothing is left on it.
    Verifying,
    /// It is removed from the cluster.
    Removing,
    /// Its pod goes.
    Shrinking,
    /// Its volume is marked, or deleted.
    Retiring,
    /// It takes data again.
    Uncordoning,
    /// The cluster is told that a node never comes back.
    Fencing,
    /// Its volume and its pod make room.
    Clearing,
    /// The next pods to restart are chosen.
    Choosing,
    /// Pods restart.
    Restarting,
    /// What was lost is rebuilt.
    Rebuilding,
    /// Gateways end their calls.
    Closing,
    /// The storage pods stop.
    Stopping,
    /// No pod runs.
    Asleep,
    /// The pods come back.
    Waking,
    /// Data moves.
    Moving,
    /// Data is read.
    Reading,
    /// Volumes are told to get larger, and do.
    Resizing,
    /// The StatefulSet is made anew around its pods.
    Templating,
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The operation under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// What it is.
    pub kind: OperationKind,
    /// How far it is.
    pub phase: Phase,
    /// Replicas of the StatefulSet before it.
    pub from: i32,
    /// Replicas of the StatefulSet after it.
    pub to: i32,
    /// The pods that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub pods: Vec<String>,
    /// The member that it is about, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub node_id: Option<String>,
    /// The uid of the volume's claim that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub claim_uid: Option<String>,
    /// The revision of the pods that were there before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub proven_revision: Option<String>,
    /// The pods' template that it rolls out, as a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub template_hash: Option<String>,
    /// The ClusterOperation that it is done for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// When it began, in seconds since 1970.
    pub started_at: i64,
    /// When its phase began, in seconds since 1970.
    pub phase_since: i64,
    /// When it last came closer to its end, in seconds since 1970.
    pub progress_at: i64,
    /// What is yet to be done of the phase: slots of a node that is emptied, for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<i64>,
    /// The same in a few words.
    #[schemars(length(max = 256))]
    pub summary: String,
    /// What it waits for, or does, in a sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Operations that wait until this one is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub suspended: Vec<Suspended>,
}

/// A ClusterOperation that an operation is done for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its uid.
    #[schemars(length(max = 64))]
    pub uid: String,
}

/// An operation that waits until a more urgent one is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suspended {
    /// What it is.
    pub kind: OperationKind,
    /// How far it was.
    pub phase: Phase,
    /// Replicas of the StatefulSet before it.
    pub from: i32,
    /// Replicas of the StatefulSet after it.
    pub to: i32,
    /// The pods that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub pods: Vec<String>,
    /// The member that it is about, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub node_id: Option<String>,
    /// The revision of the pods that were there before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub proven_revision: Option<String>,
    /// The pods' template that it rolls out, as a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub template_hash: Option<String>,
    /// The ClusterOperation that it is done for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// When it began, in seconds since 1970.
    pub started_at: i64,
}
