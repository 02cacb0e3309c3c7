//! Rules that the API server checks, in the form in which a schema holds them.

use serde_json::{Value, json};

/// What `x-kubernetes-validations` holds for rules, each with the sentence that its refusal says.
pub(super) fn rules(rules: &[(&str, &str)]) -> Value {
    let rule = |(rule, message): &(&str, &str)| json!({ "rule": rule, "message": message });
    rules.iter().map(rule).collect()
}
