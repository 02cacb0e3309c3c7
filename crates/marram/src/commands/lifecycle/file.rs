//! Rules in files: TOML, or JSON.

use std::collections::BTreeMap;
use std::path::Path;

use marram_client::LifecycleRule;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::units::{date, parse_date};

/// Larger files are no rules.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file of rules.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_yes(enabled: &bool) -> bool {
    *enabled
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_no(set: &bool) -> bool {
    !*set
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// A rule as people write it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    id: String,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    enabled: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    larger_than: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smaller_than: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_after_days: Option<u32>,
    /// As 2027-01-31.
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_on: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    noncurrent_after_days: Option<u32>,
    #[serde(default, skip_serializing_if = "is_none")]
    keep_newest: u32,
    #[serde(default, skip_serializing_if = "is_no")]
    expired_delete_markers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    abort_uploads_after_days: Option<u32>,
    /// Last, because it is a table of its own in TOML.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

impl RuleFile {
    /// The rules of a bucket, to be written.
    pub(super) fn of(rules: Vec<LifecycleRule>) -> Self {
        let rule = |rule: LifecycleRule| Rule {
            id: rule.id,
            enabled: rule.enabled,
            prefix: rule.prefix,
            larger_than: rule.larger_than,
            smaller_than: rule.smaller_than,
            expire_after_days: rule.expire_after_days,
            // The date alone: rules have whole days.
            expire_on: rule
                .expire_on_ms
                .map(|ms| date(ms).chars().take(10).collect()),
            noncurrent_after_days: rule.noncurrent_after_days,
            keep_newest: rule.keep_newest,
            expired_delete_markers: rule.expired_delete_markers,
            abort_uploads_after_days: rule.abort_uploads_after_days,
            tags: rule.tags,
        };
        Self {
            rules: rules.into_iter().map(rule).collect(),
        }
    }

    fn rules(self) -> Result<Vec<LifecycleRule>, String> {
        let rule = |rule: Rule| {
            let day = rule.expire_on.as_deref().map(parse_date).transpose();
            let day = day.map_err(|error| format!("rule `{}`: expire_on: {error}", rule.id))?;
            Ok(LifecycleRule {
                id: rule.id,
                enabled: rule.enabled,
                prefix: rule.prefix,
                larger_than: rule.larger_than,
                smaller_than: rule.smaller_than,
                expire_after_days: rule.expire_after_days,
                expire_on_ms: day,
                noncurrent_after_days: rule.noncurrent_after_days,
                keep_newest: rule.keep_newest,
                expired_delete_markers: rule.expired_delete_markers,
                abort_uploads_after_days: rule.abort_uploads_after_days,
                tags: rule.tags,
            })
        };
        self.rules.into_iter().map(rule).collect()
    }
}

fn parse(text: &str, json: bool) -> Result<Vec<LifecycleRule>, String> {
    let file: RuleFile = if json {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        toml::from_str(text).map_err(|error| error.to_string())?
    };
    file.rules()
}

/// Reads a file of rules.
pub(super) fn read(path: &Path) -> Result<Vec<LifecycleRule>, Failure> {
    let wrong = |problem: String| Failure::Rules {
        path: path.to_owned(),
        problem,
    };
    let meta = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if meta.len() > FILE_BYTES_MAX {
        return Err(wrong("the file is larger than 1 MiB".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let json = path.extension().is_some_and(|end| end == "json");
    parse(&text, json).map_err(wrong)
}

/// Writes rules as [`read`] reads them.
pub(super) fn write(rules: Vec<LifecycleRule>) -> Result<String, Failure> {
    if rules.is_empty() {
        return Ok("# nothing goes by itself".to_owned());
    }
    toml::to_string(&RuleFile::of(rules)).map_err(|error| Failure::Rules {
        path: "standard output".into(),
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[[rule]]
id = "logs"
prefix = "logs/"
expire_after_days = 30
noncurrent_after_days = 7
keep_newest = 3

[[rule]]
id = "campaign"
enabled = false
expire_on = "2027-01-31"
larger_than = 1024
tags = { class = "temp" }
"#;

    #[test]
    fn what_is_read_is_written() {
        let rules = parse(TEXT, false).unwrap();
        assert_eq!(rules.len(), 2);
        assert!(rules[0].enabled && !rules[1].enabled);
        assert_eq!(rules[1].tags["class"], "temp");
        assert_eq!(rules[1].expire_on_ms, Some(1_801_353_600_000));
        let again = write(rules.clone()).unwrap();
        assert_eq!(parse(&again, false).unwrap(), rules);
        let json = serde_json::to_string(&RuleFile::of(rules.clone())).unwrap();
        assert_eq!(parse(&json, true).unwrap(), rules);
    }

    #[test]
    fn what_is_no_rule_is_said() {
        let unknown = parse("[[rule]]\nid = \"a\"\nexpires = 3\n", false).unwrap_err();
        assert!(unknown.contains("expires"), "{unknown}");
        let day = parse("[[rule]]\nid = \"a\"\nexpire_on = \"2027-02-30\"\n", false);
        let day = day.unwrap_err();
        assert!(day.contains("rule `a`: expire_on"), "{day}");
        assert!(parse("{\"rule\": 3}", true).is_err());
    }
}
