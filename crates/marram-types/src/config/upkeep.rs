//! What a server does for its own drives.

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::ConfigError;

/// Bounds of the time between scrubs, in seconds: up to a year.
const SCRUB_EVERY_S: RangeInclusive<u64> = 1..=366 * 24 * 3600;
/// Bounds of how fast a scrub reads, in MiB a second.
const SCRUB_MIB_PER_S: RangeInclusive<u64> = 1..=100_000;
/// Bounds of the graces, in seconds: up to a week.
const GRACE_S: RangeInclusive<u64> = 1..=7 * 24 * 3600;

/// When drives are read through, and when they are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpkeepConfig {
    /// Seconds from the end of a drive's scrub to the next.
    pub scrub_every_s: u64,
    /// Most that a scrub reads of a drive, in MiB a second.
    pub scrub_mib_per_s: u64,
    /// Seconds until what a failed drive held is rebuilt elsewhere.
    pub drive_failed_grace_s: u64,
    /// Seconds until what a drive held that is not there is rebuilt elsewhere.
    pub drive_away_grace_s: u64,
}

impl Default for UpkeepConfig {
    fn default() -> Self {
        Self {
            scrub_every_s: 30 * 24 * 3600,
            scrub_mib_per_s: 64,
            drive_failed_grace_s: 30,
            drive_away_grace_s: 10 * 60,
        }
    }
}

impl UpkeepConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let settings = [
            ("upkeep.scrub_every_s", self.scrub_every_s, SCRUB_EVERY_S),
            (
                "upkeep.scrub_mib_per_s",
                self.scrub_mib_per_s,
                SCRUB_MIB_PER_S,
            ),
            (
                "upkeep.drive_failed_grace_s",
                self.drive_failed_grace_s,
                GRACE_S,
            ),
            (
                "upkeep.drive_away_grace_s",
                self.drive_away_grace_s,
                GRACE_S,
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
