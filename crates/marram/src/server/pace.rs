//! The pace of this server's background work: its settings, and the foreground that it goes by.

use std::time::Duration;

use anyhow::{Result, bail};
use marram_maintain::{Lane, Pace, PaceSettings};
use marram_mesh::{RpcCode, RpcFailure};
use marram_types::DriveId;
use marram_types::caps::{MIB, SHARD_RUN_BYTES_MAX};
use marram_types::config::BackgroundConfig;

/// What background work may use; the other settings of `[background]` stand in the file only.
#[derive(Debug, clap::Args)]
pub(crate) struct BackgroundArgs {
    /// What a drive can do, in MiB a second; moves and repairs use a share of it [default: 200]
    #[arg(long, env = "MARRAM_BACKGROUND_DRIVE", value_name = "MIB")]
    pub background_drive: Option<u64>,
    /// What the network link can do, in MiB a second; moves and repairs use a share of it
    /// [default: 1000]
    #[arg(long, env = "MARRAM_BACKGROUND_LINK", value_name = "MIB")]
    pub background_link: Option<u64>,
    /// The largest share of drives and link for moves and repairs while applications read and
    /// write, in percent [default: 50]
    #[arg(long, env = "MARRAM_BACKGROUND_SHARE", value_name = "PERCENT")]
    pub background_share: Option<u64>,
}

impl BackgroundArgs {
    /// Lays the flags over the file's `[background]`.
    pub(super) fn over(&self, file: Option<toml::Value>) -> Result<toml::Value> {
        let mut table = match file {
            None => toml::Table::new(),
            Some(toml::Value::Table(table)) => table,
            Some(other) => bail!("background is {}, not a table", other.type_str()),
        };
        let flags = [
            ("drive_mib_per_s", self.background_drive),
            ("link_mib_per_s", self.background_link),
            ("share_percent", self.background_share),
        ];
        for (key, value) in flags {
            if let Some(value) = value.and_then(|n| i64::try_from(n).ok()) {
                table.insert(key.to_owned(), value.into());
            }
        }
        Ok(toml::Value::Table(table))
    }
}

/// Takes what a peer's work in the background wants of a drive and of the link, or says that it has to wait.
pub(super) fn turn(
    pace: &Pace,
    (drive, link): (DriveId, Option<Lane>),
    bytes: u64,
) -> Result<(), RpcFailure> {
    if bytes > SHARD_RUN_BYTES_MAX as u64 {
        // So many at once would keep everybody from the lane for as long as it takes.
        let message = format!("{bytes} bytes at once: a run has at most {SHARD_RUN_BYTES_MAX}");
        return Err(RpcFailure::new(RpcCode::Refused, message));
    }
    let not_yet = |_| RpcFailure::new(RpcCode::Overloaded, "background work has to wait");
    let lanes = std::iter::once(Lane::Drive(drive)).chain(link);
    pace.try_take_all(lanes, bytes).map_err(not_yet)
}

/// The settings as the pace has them.
pub(super) fn settings(config: &BackgroundConfig) -> PaceSettings {
    let percent = |value: u64| value as f64 / 100.0;
    PaceSettings {
        drive_bytes_per_s: config.drive_mib_per_s * MIB as u64,
        link_bytes_per_s: config.link_mib_per_s * MIB as u64,
        share: percent(config.share_percent),
        share_min: percent(config.share_min_percent.min(config.share_percent)),
        rise: percent(config.rise_percent),
        calm: Duration::from_millis(config.calm_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_take_turns_at_a_drive_and_at_the_link() {
        let mib = MIB as u64;
        let slow = PaceSettings {
            drive_bytes_per_s: 16 * mib,
            link_bytes_per_s: u64::MAX,
            ..PaceSettings::default()
        };
        let pace = Pace::new(slow);
        let code = |result: Result<(), RpcFailure>| result.map_err(|failure| failure.code);
        let (one, two) = (DriveId(1), DriveId(2));
        assert_eq!(
            code(turn(&pace, (one, Some(Lane::Received)), 8 * mib)),
            Ok(())
        );
        // What was let through at once is waited for, at this drive alone.
        let again = turn(&pace, (one, Some(Lane::Received)), 8 * mib);
        assert_eq!(code(again), Err(RpcCode::Overloaded));
        assert_eq!(
            code(turn(&pace, (two, Some(Lane::Received)), 8 * mib)),
            Ok(())
        );
        // The loopback takes nothing of the link.
        let narrow = PaceSettings {
            link_bytes_per_s: 1,
            ..PaceSettings::default()
        };
        let pace = Pace::new(narrow);
        assert_eq!(code(turn(&pace, (one, Some(Lane::Sent)), 16 * mib)), Ok(()));
        let elsewhere = turn(&pace, (two, Some(Lane::Sent)), mib);
        assert_eq!(code(elsewhere), Err(RpcCode::Overloaded));
        let drive = DriveId(3);
        assert_eq!(code(turn(&pace, (drive, None), mib)), Ok(()));
        // No request keeps everybody waiting for long.
        let huge = turn(&pace, (drive, None), u64::MAX);
        assert_eq!(code(huge), Err(RpcCode::Refused));
    }
}
