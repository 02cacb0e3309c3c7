//! Rules as the API has them.

use std::collections::HashMap;

use marram_meta::{Expiry, Lifecycle, LifecycleRule, NoncurrentExpiry, RuleFilter};
use marram_proto::v1;

use super::LifecycleFault;
use crate::convert;

/// Reads rules, and checks them.
pub(super) fn read(given: v1::Lifecycle) -> Result<Lifecycle, LifecycleFault> {
    let rules = given.rules.into_iter().map(read_rule);
    let lifecycle = Lifecycle {
        rules: rules.collect::<Result<_, _>>()?,
    };
    lifecycle.check()?;
    Ok(lifecycle)
}

fn read_rule(given: v1::LifecycleRule) -> Result<LifecycleRule, LifecycleFault> {
    let wrong = |field, problem| LifecycleFault::Contradiction {
        rule: given.id.clone(),
        field,
        problem,
    };
    let expire = match (given.expire_after_days, given.expire_on_ms) {
        (Some(_), Some(_)) => {
            return Err(wrong(
                "expire_on_ms",
                "say after how many days or on which day, not both",
            ));
        }
        (Some(days), None) => Some(Expiry::AfterDays(days)),
        (None, Some(ms)) => {
            let ms = u64::try_from(ms);
            let ms = ms.map_err(|_| wrong("expire_on_ms", "write milliseconds since 1970"))?;
            Some(Expiry::OnDate(ms))
        }
        (None, None) => None,
    };
    let filter = given.filter.unwrap_or_default();
    Ok(LifecycleRule {
        id: given.id,
        enabled: given.enabled,
        filter: RuleFilter {
            prefix: filter.prefix,
            larger_than: filter.larger_than,
            smaller_than: filter.smaller_than,
            tags: sorted(filter.tags),
        },
        expire,
        noncurrent: given.noncurrent.map(|of| NoncurrentExpiry {
            after_days: of.after_days,
            keep_newest: of.keep_newest,
        }),
        expired_markers: given.expired_delete_markers,
        abort_after_days: given.abort_uploads_after_days,
    })
}

/// Tags in the order of their keys.
fn sorted(tags: HashMap<String, String>) -> Vec<(String, String)> {
    let mut tags: Vec<_> = tags.into_iter().collect();
    tags.sort_unstable();
    tags
}

/// What [`read`] reads.
pub(super) fn write(lifecycle: Lifecycle) -> v1::Lifecycle {
    let rule = |rule: LifecycleRule| v1::LifecycleRule {
        id: rule.id,
        enabled: rule.enabled,
        filter: Some(v1::LifecycleFilter {
            prefix: rule.filter.prefix,
            larger_than: rule.filter.larger_than,
            smaller_than: rule.filter.smaller_than,
            tags: rule.filter.tags.into_iter().collect(),
        }),
        expire_after_days: match rule.expire {
            Some(Expiry::AfterDays(days)) => Some(days),
            _ => None,
        },
        expire_on_ms: match rule.expire {
            Some(Expiry::OnDate(ms)) => Some(convert::ms(ms)),
            _ => None,
        },
        noncurrent: rule.noncurrent.map(|of| v1::NoncurrentExpiration {
            after_days: of.after_days,
            keep_newest: of.keep_newest,
        }),
        expired_delete_markers: rule.expired_markers,
        abort_uploads_after_days: rule.abort_after_days,
    };
    v1::Lifecycle {
        rules: lifecycle.rules.into_iter().map(rule).collect(),
    }
}
