//! What the pods of a cluster tell Prometheus, and whom.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::rules;

const METRICS_RULES: &[(&str, &str)] = &[(
    "!has(self.buckets) || self.buckets == 0 || has(self.tokenSecret)",
    "spec.metrics.buckets tells names of buckets to whoever can scrape: ask them for a token, with \
     spec.metrics.tokenSecret",
)];

/// Who may read the metrics of the pods, and whether they name buckets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(METRICS_RULES)))]
pub struct Metrics {
    /// A Secret whose key token, 16 to 1024 characters, is asked as a bearer token of whoever reads the metrics;
    /// anybody may read them where it is not given. Another token in it holds some two minutes later, without a
    /// restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub token_secret: Option<String>,
    /// Metrics of so many buckets, those that hold most, with their names; none where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 500))]
    pub buckets: Option<u16>,
}
