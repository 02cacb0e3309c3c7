//! What is kept for those who watch objects.

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::ConfigError;
use crate::caps::{EVENTS_KEPT_BYTES, EVENTS_KEPT_MS, MIB};

/// Bounds of how long events are kept, in seconds: up to 30 days.
const EVENTS_KEPT_S: RangeInclusive<u64> = 1..=30 * 24 * 3600;
/// Bounds of how many MiB of them are kept: up to 64 GiB, on each server's metadata drive.
const EVENTS_KEPT_MIB: RangeInclusive<u64> = 1..=64 * 1024;

/// For how long a watcher may be away (rules.md 30). The settings of the server that leads the root group
/// hold for the cluster, so all servers have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchConfig {
    /// Seconds that events are kept.
    pub events_kept_s: u64,
    /// MiB of events that all groups of the cluster keep together at most.
    pub events_kept_mib: u64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            events_kept_s: EVENTS_KEPT_MS / 1000,
            events_kept_mib: EVENTS_KEPT_BYTES / MIB as u64,
        }
    }
}

impl WatchConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let settings = [
            ("watch.events_kept_s", self.events_kept_s, EVENTS_KEPT_S),
            (
                "watch.events_kept_mib",
                self.events_kept_mib,
                EVENTS_KEPT_MIB,
            ),
        ];
        let mut settings = settings.into_iter();
        let wrong = settings.find(|(_, v, range)| !range.contains(v));
        wrong.map_or(Ok(()), |(what, value, range)| {
            Err(ConfigError::Background {
                what,
                value,
                least: *range.start(),
                most: *range.end(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_bounds() {
        let default = WatchConfig::default();
        assert_eq!(
            (default.events_kept_s, default.events_kept_mib),
            (3600, 1024)
        );
        assert_eq!(default.validate(), Ok(()));
        for (events_kept_s, events_kept_mib) in [(0, 1), (1, 0), (2_592_001, 1), (1, 65_537)] {
            let wrong = WatchConfig {
                events_kept_s,
                events_kept_mib,
            };
            let refused = wrong.validate().expect_err("out of range");
            assert!(
                refused.to_string().starts_with("watch.events_kept_"),
                "{refused}"
            );
        }
    }
}
