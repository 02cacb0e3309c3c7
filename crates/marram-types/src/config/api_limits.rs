//! How many connections the API takes, how old they get, and how they end.

use serde::Deserialize;

use super::ConfigError;

/// Bounds of the number of connections.
const CONNECTIONS: std::ops::RangeInclusive<u64> = 1..=1_000_000;
/// Bounds of their age, in seconds.
const AGE_S: std::ops::RangeInclusive<u64> = 1..=30 * 24 * 3600;
/// Bounds of the time that calls may go on after the order to stop, in seconds.
const GRACE_S: std::ops::RangeInclusive<u64> = 1..=24 * 3600;

/// Limits of the public API's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiLimits {
    /// Connections at once; more are closed at once, and their clients ask another server.
    pub connections: usize,
    /// Seconds after which a connection takes no new calls, give or take a fifth; calls that run end
    /// first. Clients connect anew, and so find servers that came since.
    pub connection_age_s: u64,
    /// Seconds that calls which run may go on after the server was told to stop.
    pub stop_grace_s: u64,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connection_age_s: 60,
            stop_grace_s: 10,
        }
    }
}

impl ApiLimits {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let connections = u64::try_from(self.connections).unwrap_or(u64::MAX);
        for (what, value, bounds) in [
            ("api.connections", connections, CONNECTIONS),
            ("api.connection_age_s", self.connection_age_s, AGE_S),
            ("api.stop_grace_s", self.stop_grace_s, GRACE_S),
        ] {
            if !bounds.contains(&value) {
                return Err(ConfigError::Background {
                    what,
                    value,
                    least: *bounds.start(),
                    most: *bounds.end(),
                });
            }
        }
        Ok(())
    }
}
