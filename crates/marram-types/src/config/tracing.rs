//! Where a process sends its traces, and in which form it writes its log.

use serde::Deserialize;

use super::ConfigError;

/// What [`TracingConfig::sample_per_million`] is a part of.
const MILLION: u32 = 1_000_000;

/// Where traces go, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracingConfig {
    /// An OpenTelemetry collector that takes OTLP by gRPC, `http://host:4317`. Nothing is recorded without
    /// one.
    pub otlp_endpoint: Option<String>,
    /// Of a million calls that say nothing about it themselves, so many are recorded.
    pub sample_per_million: u32,
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            sample_per_million: 1000,
        }
    }
}

impl TracingConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.sample_per_million > MILLION {
            return Err(ConfigError::Background {
                what: "tracing.sample_per_million",
                value: self.sample_per_million.into(),
                least: 0,
                most: MILLION.into(),
            });
        }
        let Some(endpoint) = &self.otlp_endpoint else {
            return Ok(());
        };
        let address = ["http://", "https://"]
            .iter()
            .find_map(|scheme| endpoint.strip_prefix(scheme));
        let port = address
            .map(|address| address.trim_end_matches('/'))
            .and_then(|address| address.rsplit_once(':'))
            .filter(|(host, _)| !host.is_empty() && !host.contains('/'))
            .map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(()),
            _ => Err(ConfigError::Otlp(endpoint.clone())),
        }
    }
}

/// In which form log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// An object in JSON for each line.
    Json,
}

/// What is logged how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// In which form.
    pub format: LogFormat,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_has_a_scheme_and_a_port() {
        let with = |endpoint: &str| {
            let config = TracingConfig {
                otlp_endpoint: Some(endpoint.to_owned()),
                ..TracingConfig::default()
            };
            config.validate()
        };
        for good in [
            "http://localhost:4317",
            "https://otel.example:443/",
            "http://[::1]:4317",
        ] {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "localhost:4317",
            "http://localhost",
            "http://:4317",
            "http://a:b",
            "http://a/b:1",
        ] {
            assert_eq!(with(bad), Err(ConfigError::Otlp(bad.to_owned())), "{bad}");
        }
        let config = TracingConfig {
            sample_per_million: MILLION + 1,
            ..TracingConfig::default()
        };
        assert!(config.validate().is_err());
    }
}
