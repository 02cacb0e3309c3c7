//! The definitions of the resources, as YAML.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::api::{AccessKey, Bucket, ClusterOperation, MarramCluster};

/// Descriptions longer than this come from Kubernetes' own types and are documented there; in a
/// definition they only make it too large for `kubectl apply`.
const DESCRIPTION_MAX: usize = 320;

/// The definitions cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// As JSON.
    #[error("a definition cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// As YAML.
    #[error("a definition cannot be written as YAML: {0}")]
    Yaml(String),
}

/// The definitions, each with its file's name.
///
/// # Errors
/// When one cannot be written.
pub fn definitions() -> Result<Vec<(String, String)>, CrdError> {
    all().into_iter().map(|crd| document(&crd)).collect()
}

fn all() -> Vec<CustomResourceDefinition> {
    vec![
        MarramCluster::crd(),
        Bucket::crd(),
        AccessKey::crd(),
        ClusterOperation::crd(),
    ]
}

fn document(crd: &CustomResourceDefinition) -> Result<(String, String), CrdError> {
    let name = format!("{}.yaml", crd.spec.names.plural);
    let mut value = serde_json::to_value(crd)?;
    tidy(&mut value);
    let yaml =
        serde_saphyr::to_string(&value).map_err(|error| CrdError::Yaml(error.to_string()))?;
    Ok((name, yaml))
}

/// Takes out long descriptions, the formats that the API server does not know and warns of, and that
/// null may stand for what is not given: `has()` would hold for it. Whole numbers are written as such.
fn tidy(value: &mut Value) {
    const KNOWN_FORMATS: [&str; 4] = ["int32", "int64", "double", "date-time"];
    match value {
        Value::Object(map) => {
            let long = |v: &Value| v.as_str().is_some_and(|text| text.len() > DESCRIPTION_MAX);
            if map.get("description").is_some_and(long) {
                map.remove("description");
            }
            let unknown = |v: &Value| {
                v.as_str()
                    .is_some_and(|text| !KNOWN_FORMATS.contains(&text))
            };
            if map.get("format").is_some_and(unknown) {
                map.remove("format");
            }
            if map.get("nullable").is_some_and(Value::is_boolean) {
                map.remove("nullable");
            }
            for bound in ["minimum", "maximum"] {
                if let Some(number) = map.get(bound).and_then(Value::as_f64) {
                    // Bounds are far below what a whole number holds.
                    map.insert(bound.to_owned(), Value::from(number as i64));
                }
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(list) => list.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schemas of all kinds.
    fn schemas() -> Vec<Value> {
        let schema = |crd| {
            let mut crd = serde_json::to_value(crd).expect("JSON");
            tidy(&mut crd);
            crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
        };
        all().into_iter().map(schema).collect()
    }

    /// The API server refuses rules whose cost it cannot bound: every string, list and map under
    /// a specification says how large it may be.
    #[test]
    fn whatever_a_person_writes_is_bounded() {
        fn visit(path: &str, node: &Value) {
            let has = |key: &str| node.get(key).is_some();
            match node["type"].as_str() {
                // A time has a size by its format.
                Some("string") if node["format"] == "date-time" => {}
                Some("string") if !has("enum") && !path.contains("tolerations") => {
                    assert!(has("maxLength") || path.ends_with('*'), "{path}");
                }
                Some("array") => assert!(has("maxItems"), "{path}"),
                Some("object") if has("additionalProperties") => {
                    assert!(has("maxProperties"), "{path}");
                }
                _ => {}
            }
            for (name, child) in node["properties"].as_object().into_iter().flatten() {
                visit(&format!("{path}.{name}"), child);
            }
            if has("items") {
                visit(&format!("{path}[]"), &node["items"]);
            }
            if has("additionalProperties") {
                visit(&format!("{path}.*"), &node["additionalProperties"]);
            }
        }
        for schema in schemas() {
            visit("spec", &schema["properties"]["spec"]);
        }
    }

    #[test]
    fn the_definition_can_be_scaled_and_says_how_it_is() {
        let crd = serde_json::to_value(MarramCluster::crd()).expect("JSON");
        let version = &crd["spec"]["versions"][0];
        let scale = &version["subresources"]["scale"];
        assert_eq!(scale["specReplicasPath"], ".spec.storage.nodes");
        assert_eq!(scale["statusReplicasPath"], ".status.nodes");
        assert_eq!(scale["labelSelectorPath"], ".status.selector");
        let columns = version["additionalPrinterColumns"]
            .as_array()
            .expect("some");
        let names: Vec<&str> = columns.iter().filter_map(|c| c["name"].as_str()).collect();
        let plain = "Phase Nodes Ready Redundant Version Used Operation Age";
        assert_eq!(names[..8].join(" "), plain);
        for schema in schemas() {
            let status = &schema["properties"]["status"]["properties"];
            assert_eq!(status["observedGeneration"]["type"], "integer");
            let conditions = &status["conditions"];
            let generation = &conditions["items"]["properties"]["observedGeneration"];
            assert_eq!(generation["type"], "integer");
            assert_eq!(conditions["x-kubernetes-list-map-keys"][0], "type");
        }
    }

    /// A rule on a field that may be missing is got round by taking it out first: rules about changes
    /// stand on what is always there.
    #[test]
    fn rules_about_changes_stand_where_they_hold() {
        fn visit(node: &Value, always: bool, seen: &mut usize) {
            for rule in node["x-kubernetes-validations"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let text = rule["rule"].as_str().expect("a rule");
                let message = rule["message"].as_str().expect("a sentence");
                assert!(message.len() > 20, "{message}");
                if text.contains("oldSelf") {
                    assert!(always, "{text}");
                    *seen += 1;
                }
            }
            let required: Vec<&Value> = node["required"].as_array().into_iter().flatten().collect();
            for (name, child) in node["properties"].as_object().into_iter().flatten() {
                let always = always && required.contains(&&Value::from(name.as_str()));
                visit(child, always, seen);
            }
        }
        let mut seen = 0;
        for schema in schemas() {
            visit(&schema, true, &mut seen);
        }
        assert_eq!(seen, 11);
    }

    #[test]
    fn the_definitions_are_small_enough_for_kubectl_apply() {
        for (name, yaml) in definitions().expect("written") {
            assert!(yaml.len() < 60_000, "{name}: {} bytes", yaml.len());
            assert!(yaml.contains("x-kubernetes-validations"), "{name}");
        }
    }
}
