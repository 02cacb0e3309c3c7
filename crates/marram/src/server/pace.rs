//! The pace of this server's background work: its settings, and the foreground that it goes by.

use std::time::Duration;

use anyhow::{Result, bail};
use marram_maintain::PaceSettings;
use marram_types::caps::MIB;
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
