//! openraft's settings (rules.md 8).

use std::sync::Arc;

use marram_types::GroupId;
use openraft::{Config, ConfigError, SnapshotPolicy};

/// Entries of one append message at most; their bytes are limited by
/// [`crate::log::APPEND_BYTES_MAX`].
const APPEND_ENTRIES_MAX: u64 = 1024;
/// How long a snapshot may take to send and install. Far above openraft's default, which makes
/// large snapshots start over for ever.
const SNAPSHOT_TIMEOUT_MS: u64 = 600_000;

/// Timers of Raft in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftTimers {
    /// How often a leader tells its followers that it is there.
    pub heartbeat_ms: u64,
    /// Shortest time without a leader after which a replica asks for votes.
    pub election_min_ms: u64,
    /// Longest such time.
    pub election_max_ms: u64,
}

impl Default for RaftTimers {
    /// Heartbeat 200 ms, election 500 to 900 ms (rules.md 8).
    fn default() -> Self {
        Self {
            heartbeat_ms: 200,
            election_min_ms: 500,
            election_max_ms: 900,
        }
    }
}

/// The settings of one group.
pub(crate) fn raft_config(
    group: GroupId,
    timers: RaftTimers,
    log_kept: u64,
) -> Result<Arc<Config>, ConfigError> {
    let config = Config {
        cluster_name: format!("group-{}", group.0),
        heartbeat_interval: timers.heartbeat_ms,
        election_timeout_min: timers.election_min_ms,
        election_timeout_max: timers.election_max_ms,
        // A follower that has just answered entries needs no heartbeat. The sum of both intervals
        // and a tick stays below the election timeout.
        heartbeat_min_interval: Some(timers.heartbeat_ms * 3 / 4),
        install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
        max_payload_entries: APPEND_ENTRIES_MAX,
        replication_lag_threshold: log_kept,
        // What openraft calls a snapshot is the machine's durable checkpoint (see `machine`); the
        // host asks for one by time and by bytes.
        snapshot_policy: SnapshotPolicy::Never,
        // openraft purges what a snapshot on its way is followed by; the host does not (see
        // `Group::purge_old`).
        max_in_snapshot_log_to_keep: u64::MAX,
        backoff: "50ms 100ms 200ms ...500ms".to_owned(),
        enable_pre_vote: Some(true),
        // Applies are not durable on return, so a restarted leader must win an election first.
        enable_leader_restore: Some(false),
        // A follower whose log went back has lost what it acknowledged: never accept that.
        allow_log_reversion: Some(false),
        ..Config::default()
    };
    config.validate().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_valid_and_safe() {
        let config = raft_config(GroupId(3), RaftTimers::default(), 100).expect("valid");
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.allow_log_reversion, Some(false));
        let inverted = RaftTimers {
            election_min_ms: 900,
            election_max_ms: 500,
            ..RaftTimers::default()
        };
        assert!(raft_config(GroupId(3), inverted, 100).is_err());
    }
}
