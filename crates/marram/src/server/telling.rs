//! The settings of what a process tells of itself: its log, and its traces.

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use marram_types::config::{LogConfig, LogFormat, TracingConfig};
use serde::de::DeserializeOwned;

/// In which form log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Human,
    /// An object in JSON for each line
    Json,
}

/// What a process tells of itself.
#[derive(Debug, clap::Args)]
pub(crate) struct TellingArgs {
    /// In which form log lines are written; `RUST_LOG` chooses which ones [default: human]
    #[arg(long, env = "MARRAM_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<Format>,
    /// An OpenTelemetry collector that takes traces by OTLP over gRPC, such as http://localhost:4317;
    /// nothing is recorded without one
    #[arg(long, env = "MARRAM_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Of a million calls that do not say themselves whether they want it, so many are recorded
    /// [default: 1000]
    #[arg(long, env = "MARRAM_TRACE_SAMPLE", value_name = "N")]
    pub trace_sample: Option<u32>,
}

impl TellingArgs {
    /// Lays the flags over the file's `[log]` and `[tracing]`, which are taken out of `table`.
    pub(super) fn over(&self, table: &mut toml::Table) -> Result<(LogConfig, TracingConfig)> {
        let mut log: LogConfig = section(table, "log")?;
        let mut tracing: TracingConfig = section(table, "tracing")?;
        if let Some(format) = self.log_format {
            log.format = match format {
                Format::Human => LogFormat::Human,
                Format::Json => LogFormat::Json,
            };
        }
        // An empty variable is none: charts and units set it either way.
        let endpoint = self.otlp_endpoint.clone().filter(|given| !given.is_empty());
        tracing.otlp_endpoint = endpoint.or(tracing.otlp_endpoint);
        tracing.sample_per_million = self.trace_sample.unwrap_or(tracing.sample_per_million);
        Ok((log, tracing))
    }
}

fn section<T: DeserializeOwned + Default>(table: &mut toml::Table, name: &str) -> Result<T> {
    match table.remove(name) {
        None => Ok(T::default()),
        Some(value @ toml::Value::Table(_)) => {
            value.try_into().with_context(|| format!("section {name}"))
        }
        Some(other) => bail!("{name} is {}, not a table", other.type_str()),
    }
}

/// The name of a format, as it stands in the file.
pub(super) fn name_of(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Human => "human",
        LogFormat::Json => "json",
    }
}
