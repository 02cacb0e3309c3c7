//! Gateways of their own: pods that answer the API and hold no data.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Resources;
use super::rules::rules;

/// Gateways where nothing else is said.
const REPLICAS: u16 = 2;
/// Share of the processor time that they ask for, in per cent, at which there are to be more.
const CPU_PERCENT: u32 = 70;
/// Seconds for which fewer must have been enough.
const STABLE_SECONDS: u32 = 300;

const GATEWAY_RULES: &[(&str, &str)] = &[
    (
        "!has(self.autoscaling) || !has(self.replicas)",
        "spec.gateway may have replicas or autoscaling, not both: with autoscaling, minReplicas and \
         maxReplicas say how many there are",
    ),
    (
        "!has(self.autoscaling) || !has(self.resources) || !has(self.resources.requests) || \
         size(self.resources.requests) == 0 || 'cpu' in self.resources.requests",
        "spec.gateway.autoscaling goes by the share of the processor time that gateways ask for: say cpu in \
         spec.gateway.resources.requests",
    ),
];

const AUTOSCALING_RULES: &[(&str, &str)] = &[(
    "(has(self.minReplicas) ? self.minReplicas : 2) <= self.maxReplicas",
    "spec.gateway.autoscaling.maxReplicas must be at least minReplicas, which is 2 where it is not given",
)];

/// Gateways of their own. While there are any that are ready, the Service of applications goes to them, else
/// to the storage pods, which answer the API too.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(GATEWAY_RULES)))]
pub struct GatewaySpec {
    /// Whether there are any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enabled: bool,
    /// How many; 2 where neither this nor autoscaling is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 64))]
    pub replicas: Option<u16>,
    /// A HorizontalPodAutoscaler says how many. It needs the cluster's metrics API (metrics-server).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// What their pods ask for; 250m and 256Mi where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels that their Kubernetes nodes must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of Kubernetes nodes that they bear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Their priority class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// By what there are more or fewer gateways.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(AUTOSCALING_RULES)))]
pub struct Autoscaling {
    /// How many there are at least; 2 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 64))]
    pub min_replicas: Option<u16>,
    /// How many there are at most.
    #[schemars(range(min = 2, max = 64))]
    pub max_replicas: u16,
    /// Share of the processor time that they ask for, in per cent, that they are to use on average; 70 where
    /// it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 400))]
    pub target_cpu_percent: Option<u32>,
    /// Seconds for which fewer must have been enough before one goes; 300 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_seconds: Option<u32>,
}

impl GatewaySpec {
    /// How many there are where nobody else says so.
    #[must_use]
    pub fn replicas(&self) -> i32 {
        match &self.autoscaling {
            Some(autoscaling) => autoscaling.least(),
            None => i32::from(self.replicas.unwrap_or(REPLICAS)),
        }
    }
}

impl Autoscaling {
    /// How many there are at least.
    #[must_use]
    pub fn least(&self) -> i32 {
        i32::from(self.min_replicas.unwrap_or(REPLICAS))
    }

    /// The share of the processor time, in per cent.
    #[must_use]
    pub fn target(&self) -> u32 {
        self.target_cpu_percent.unwrap_or(CPU_PERCENT)
    }

    /// Seconds for which fewer must have been enough.
    #[must_use]
    pub fn stabilization(&self) -> u32 {
        self.stabilization_seconds.unwrap_or(STABLE_SECONDS)
    }
}
