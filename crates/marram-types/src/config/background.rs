//! What work in the background may use.

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::ConfigError;

/// Bounds of what a drive or a link can do, in MiB a second.
const MIB_PER_S: RangeInclusive<u64> = 16..=100_000;
/// Bounds of a share.
const PERCENT: RangeInclusive<u64> = 1..=100;
/// Bounds of how much longer than usual the foreground may take, in percent of it.
const RISE_PERCENT: RangeInclusive<u64> = 110..=10_000;
/// Bounds of a latency that is never called too long, in milliseconds.
const CALM_MS: RangeInclusive<u64> = 1..=10_000;

/// What moves, repairs, scrubs and re-encoding of a server may use: a share of what each drive and the
/// link can do, smaller while the foreground takes longer than usual, the whole while there is no
/// foreground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackgroundConfig {
    /// What a drive can do, in MiB a second.
    pub drive_mib_per_s: u64,
    /// What the node's network link can do each way, in MiB a second.
    pub link_mib_per_s: u64,
    /// The largest share of both, in percent, while the foreground is at work.
    pub share_percent: u64,
    /// The smallest share, in percent, where it is below the largest. No drive or link gets less than 16 MiB a second.
    pub share_min_percent: u64,
    /// How long requests of the foreground may take, in percent of what is usual, before the share falls.
    pub rise_percent: u64,
    /// Latencies up to this are never called too long, in milliseconds.
    pub calm_ms: u64,
}

impl Default for BackgroundConfig {
    fn default() -> Self {
        Self {
            drive_mib_per_s: 200,
            link_mib_per_s: 1000,
            share_percent: 50,
            share_min_percent: 10,
            rise_percent: 200,
            calm_ms: 10,
        }
    }
}

impl BackgroundConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let settings = [
            (
                "background.drive_mib_per_s",
                self.drive_mib_per_s,
                MIB_PER_S,
            ),
            ("background.link_mib_per_s", self.link_mib_per_s, MIB_PER_S),
            ("background.share_percent", self.share_percent, PERCENT),
            (
                "background.share_min_percent",
                self.share_min_percent,
                PERCENT,
            ),
            ("background.rise_percent", self.rise_percent, RISE_PERCENT),
            ("background.calm_ms", self.calm_ms, CALM_MS),
        ];
        let wrong = settings
            .into_iter()
            .find(|(_, v, range)| !range.contains(v));
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
