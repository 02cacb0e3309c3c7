//! What the operator may do, when, and how long it waits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::rules;

const DAY: u32 = 86_400;

const TLS_RULES: &[(&str, &str)] = &[(
    "(has(self.renewBeforeSeconds) ? self.renewBeforeSeconds : 2592000) < (has(self.durationSeconds) ? \
     self.durationSeconds : 7776000)",
    "spec.tls.renewBeforeSeconds must be less than spec.tls.durationSeconds (7776000 where it is not \
     given), or certificates would be renewed without end",
)];

/// Certificates of the API, issued by a CA of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(TLS_RULES)))]
pub struct Tls {
    /// Seconds that a certificate is good for; 7776000 (90 days) where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 315_360_000))]
    pub duration_seconds: Option<u32>,
    /// Seconds before its end at which it is renewed; 2592000 (30 days) where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 315_360_000))]
    pub renew_before_seconds: Option<u32>,
    /// A Secret with the API's certificate, which somebody else keeps, such as cert-manager: `tls.crt`, `tls.key` and
    /// `ca.crt`. The operator's own where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub secret_name: Option<String>,
    /// Further DNS names under which applications reach the API: of a load balancer, of a gateway that passes TLS
    /// on. Names, no addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = r"^(\*\.)?([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z]([-a-z0-9]*[a-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub dns_names: Vec<String>,
    /// How the CA of these certificates is replaced. It is by itself two years before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<AuthorityPolicy>,
}

/// How the CA of the API's certificates is replaced: another one is trusted beside it, then issues, then the one
/// before is not trusted any more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityPolicy {
    /// Seconds between these steps, within which applications take what is trusted from their Secrets; 604800 (7
    /// days) where it is not given. A change of a Secret takes up to 90 s to a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 120, max = 31_536_000))]
    pub overlap_seconds: Option<u32>,
    /// Any text: when it changes, the CA is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub trigger: Option<String>,
}

/// How a change of the pods is rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// Seconds that a pod may take to come back with all data redundant before the upgrade pauses and the
    /// pods before it are put back; 900 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 604_800))]
    pub node_timeout_seconds: Option<u32>,
}

/// How a node that is gone is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replacement {
    /// Whether the operator does it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ReplacementMode>,
    /// Seconds that its peers must not have reached a node before it counts as gone for good, where its
    /// volume and its Kubernetes node are still there; 1800 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 604_800))]
    pub after_seconds: Option<u32>,
}

/// Who replaces a node that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ReplacementMode {
    /// The operator.
    #[default]
    Auto,
    /// A person, by deleting the pod's claim and the pod.
    Manual,
}

/// What may stand against a smaller number of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleDown {
    /// Go below what the profile of a bucket needs: its stripes get narrower, and survive as many losses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_narrower: bool,
    /// How full in per cent the nodes that stay may become; 80 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 95))]
    pub max_fill_percent: Option<u8>,
    /// Seconds that must have passed since the number of nodes changed last; 0 where it is not given. A
    /// guard against an autoscaler that goes to and fro.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 604_800))]
    pub cool_down_seconds: Option<u32>,
    /// Seconds without progress after which a node that is being emptied is reported as stalled; 900 where
    /// it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 604_800))]
    pub stall_after_seconds: Option<u32>,
}

/// What becomes of a volume that is not used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum RetentionPolicy {
    /// It stays until a person deletes it.
    #[default]
    Retain,
    /// The operator deletes it.
    Delete,
}

/// What becomes of volumes that are not used any more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// The emptied volume of a node that was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_scale_down: Option<RetentionPolicy>,
    /// All volumes, and the cluster's keys, when the resource is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_delete: Option<RetentionPolicy>,
    /// The cluster's name, to confirm that onDelete Delete is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub confirm_delete: Option<String>,
}

/// How evictions are held within what the data bears.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Whether the operator makes PodDisruptionBudgets; true where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manage_budgets: Option<bool>,
    /// Seconds for which nodes that are restarted or evicted are excused; 1800 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 604_800))]
    pub maintenance_seconds: Option<u32>,
}

impl Tls {
    /// Seconds that a certificate is good for.
    #[must_use]
    pub fn duration(&self) -> i64 {
        i64::from(self.duration_seconds.unwrap_or(90 * DAY))
    }

    /// Seconds before its end at which it is renewed.
    #[must_use]
    pub fn renew_before(&self) -> i64 {
        i64::from(self.renew_before_seconds.unwrap_or(30 * DAY))
    }
}

impl AuthorityPolicy {
    /// Seconds between two steps.
    #[must_use]
    pub fn overlap(&self) -> i64 {
        i64::from(self.overlap_seconds.unwrap_or(7 * DAY))
    }
}

impl Upgrade {
    /// Seconds that a pod may take to come back.
    #[must_use]
    pub fn node_timeout(&self) -> i64 {
        i64::from(self.node_timeout_seconds.unwrap_or(900))
    }
}

impl Replacement {
    /// Seconds until a silent node counts as gone.
    #[must_use]
    pub fn after(&self) -> i64 {
        i64::from(self.after_seconds.unwrap_or(1800))
    }
}

impl ScaleDown {
    /// How full the nodes that stay may become, in per cent.
    #[must_use]
    pub fn max_fill(&self) -> u64 {
        u64::from(self.max_fill_percent.unwrap_or(80))
    }

    /// Seconds between two changes.
    #[must_use]
    pub fn cool_down(&self) -> i64 {
        i64::from(self.cool_down_seconds.unwrap_or(0))
    }

    /// Seconds without progress until a drain counts as stalled.
    #[must_use]
    pub fn stall_after(&self) -> i64 {
        i64::from(self.stall_after_seconds.unwrap_or(900))
    }
}

impl Disruption {
    /// Whether there are budgets.
    #[must_use]
    pub fn budgets(&self) -> bool {
        self.manage_budgets.unwrap_or(true)
    }

    /// Seconds for which nodes are excused.
    #[must_use]
    pub fn maintenance(&self) -> u64 {
        u64::from(self.maintenance_seconds.unwrap_or(1800))
    }
}
