//! The settings of what is kept for those who watch objects.

use anyhow::{Result, bail};

/// For how long a watcher may be away.
#[derive(Debug, clap::Args)]
pub(crate) struct EventArgs {
    /// Seconds that events are kept for those who watch objects and were away; the same on every server
    /// [default: 3600]
    #[arg(long, env = "MARRAM_EVENTS_KEPT", value_name = "SECONDS")]
    pub events_kept: Option<u64>,
    /// MiB of events that the cluster keeps at most, on the metadata drive of every server; the same on every
    /// server [default: 1024]
    #[arg(long, env = "MARRAM_EVENTS_KEPT_MIB", value_name = "MIB")]
    pub events_kept_mib: Option<u64>,
}

impl EventArgs {
    /// Lays the flags over the file's `[watch]`.
    pub(super) fn over(&self, file: Option<toml::Value>) -> Result<toml::Value> {
        let mut table = match file {
            None => toml::Table::new(),
            Some(toml::Value::Table(table)) => table,
            Some(other) => bail!("watch is {}, not a table", other.type_str()),
        };
        let flags = [
            ("events_kept_s", self.events_kept),
            ("events_kept_mib", self.events_kept_mib),
        ];
        for (key, value) in flags {
            if let Some(value) = value.and_then(|n| i64::try_from(n).ok()) {
                table.insert(key.to_owned(), value.into());
            }
        }
        Ok(toml::Value::Table(table))
    }
}
