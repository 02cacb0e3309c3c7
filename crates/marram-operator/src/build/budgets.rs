//! How many pods of a failure domain may be evicted: one budget a domain, with a number of pods that must
//! stay. A share, or a number that may be missing, would count by the StatefulSet, which has pods in
//! every domain.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::names::{DOMAIN_LABEL, Names};

/// The budget of one failure domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// The domain.
    pub domain: String,
    /// Pods of it that must stay.
    pub min_available: usize,
}

/// The budgets, by the pods of each domain. At rest each domain lets one pod go. A domain that is open
/// lets one go, or with `whole` all of them, and every other none; `closed` lets none go anywhere else.
#[must_use]
pub fn budgets(
    pods: &BTreeMap<String, usize>,
    open: Option<(&str, bool)>,
    closed: bool,
) -> Vec<Budget> {
    let all: usize = pods.values().sum();
    // With two pods, a budget would only stand against every drain.
    if all <= 2 {
        return Vec::new();
    }
    let of = |(domain, count): (&String, &usize)| {
        let goes = match open {
            Some((open, whole)) if open == domain => {
                if whole {
                    *count
                } else {
                    1
                }
            }
            Some(_) => 0,
            None => usize::from(!closed),
        };
        Budget {
            domain: domain.clone(),
            min_available: count.saturating_sub(goes),
        }
    };
    pods.iter().map(of).collect()
}

/// The object of a budget.
#[must_use]
pub fn budget(names: &Names, budget: &Budget) -> Value {
    let mut labels = names.selector();
    labels.insert(DOMAIN_LABEL.to_owned(), budget.domain.clone());
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": names.owned(&names.budget(&budget.domain)),
        "spec": {
            "minAvailable": budget.min_available,
            "selector": { "matchLabels": labels },
            // A pod that is not ready may always go: it protects nothing.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    })
}
