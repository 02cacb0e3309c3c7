//! The settings of this server's upkeep of its drives.

use anyhow::{Result, bail};

/// When drives are read through, and when they are given up.
#[derive(Debug, clap::Args)]
pub(crate) struct UpkeepArgs {
    /// Seconds from the end of a drive's scrub to the next [default: 2592000, 30 days]
    #[arg(long, env = "MARRAM_SCRUB_EVERY", value_name = "SECONDS")]
    pub scrub_every: Option<u64>,
    /// Most that a scrub reads of a drive, in MiB a second [default: 64]
    #[arg(long, env = "MARRAM_SCRUB_RATE", value_name = "MIB")]
    pub scrub_rate: Option<u64>,
    /// Seconds until what a failed drive held is rebuilt elsewhere [default: 30]
    #[arg(long, env = "MARRAM_DRIVE_FAILED_GRACE", value_name = "SECONDS")]
    pub drive_failed_grace: Option<u64>,
    /// Seconds until what a drive held that is not there is rebuilt elsewhere [default: 600]
    #[arg(long, env = "MARRAM_DRIVE_AWAY_GRACE", value_name = "SECONDS")]
    pub drive_away_grace: Option<u64>,
}

impl UpkeepArgs {
    /// Lays the flags over the file's `[upkeep]`.
    pub(in crate::server) fn over(&self, file: Option<toml::Value>) -> Result<toml::Value> {
        let mut table = match file {
            None => toml::Table::new(),
            Some(toml::Value::Table(table)) => table,
            Some(other) => bail!("upkeep is {}, not a table", other.type_str()),
        };
        let flags = [
            ("scrub_every_s", self.scrub_every),
            ("scrub_mib_per_s", self.scrub_rate),
            ("drive_failed_grace_s", self.drive_failed_grace),
            ("drive_away_grace_s", self.drive_away_grace),
        ];
        for (key, value) in flags {
            if let Some(value) = value.and_then(|n| i64::try_from(n).ok()) {
                table.insert(key.to_owned(), value.into());
            }
        }
        Ok(toml::Value::Table(table))
    }
}
