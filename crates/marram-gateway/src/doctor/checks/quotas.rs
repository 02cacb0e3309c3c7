//! Whether buckets come to the end of their quotas.

use marram_proto::v1;
use v1::Severity::{Note, Warning};

use super::super::facts::Facts;
use super::super::say::{bytes, found, percent};

/// From so much of a quota on it is told of.
const NEAR_PERCENT: u64 = 90;

/// Do buckets have room within their quotas?
pub(super) fn room(facts: &Facts) -> Vec<v1::Finding> {
    let each = facts.quotas.iter();
    each.filter_map(|(name, usage)| {
        let quota = usage.quota?;
        let held = usage.bytes + usage.noncurrent_bytes + usage.upload_bytes;
        let versions = usage.objects + usage.noncurrent_versions;
        let near = |held: u64, most: Option<u64>| {
            let most = most.filter(|most| percent(held, *most) >= NEAR_PERCENT || *most == 0)?;
            Some((held >= most, most))
        };
        let (full, evidence) = match (near(held, quota.bytes), near(versions, quota.objects)) {
            (Some((true, most)), _) | (Some((false, most)), None) => (
                held >= most,
                format!("it holds {} of {}", bytes(held), bytes(most)),
            ),
            (_, Some((full, most))) => (full, format!("it holds {versions} of {most} versions")),
            (None, None) => return None,
        };
        let remedy = "delete something, older versions too, or raise it: `marram quota`";
        let severity = if full { Warning } else { Note };
        Some(found(
            severity,
            format!("quota of {name}"),
            evidence,
            remedy,
        ))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, only};
    use super::*;

    fn holding(held: u64, objects: u64, quota: v1::Quota) -> Facts {
        let mut facts = facts(7);
        let usage = v1::GetBucketUsageResponse {
            objects,
            bytes: held,
            quota: Some(quota),
            ..v1::GetBucketUsageResponse::default()
        };
        facts.quotas = vec![("photos".to_owned(), usage)];
        facts
    }

    #[test]
    fn a_quota_that_is_nearly_used_up_is_told_of() {
        let quota = v1::Quota {
            bytes: Some(1000),
            objects: Some(10),
        };
        assert_eq!(room(&holding(899, 8, quota)), []);
        let (severity, subject, evidence) = only(&room(&holding(900, 8, quota)));
        assert_eq!((severity, subject.as_str()), (Note, "quota of photos"));
        assert!(evidence.contains("900 B of 1000 B"), "{evidence}");
        assert_eq!(only(&room(&holding(1000, 8, quota))).0, Warning);
        let (severity, _, evidence) = only(&room(&holding(900, 10, quota)));
        assert_eq!(
            (severity, evidence.as_str()),
            (Warning, "it holds 10 of 10 versions")
        );
    }
}
