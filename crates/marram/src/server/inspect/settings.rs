//! The configuration that is in force, with where each value comes from. Secrets are not told.

use marram_proto::v1;
use marram_types::config::ServerConfig;

use crate::server::settings::{File, SETTINGS, Said};

/// The settings of a server that are set.
#[derive(Debug, Clone)]
pub(in crate::server) struct Settings(Vec<v1::SettingFacts>);

impl Settings {
    /// Notes them, by what flags, environment and file said.
    pub(in crate::server) fn of(config: &ServerConfig, said: &Said, file: &File) -> Self {
        let each = SETTINGS.iter().filter_map(|setting| {
            Some(v1::SettingFacts {
                name: setting.path.to_owned(),
                value: match setting.shown(config)? {
                    toml::Value::String(text) => text,
                    other => other.to_string(),
                },
                origin: setting.origin(said, file).kind().to_owned(),
            })
        });
        Self(each.collect())
    }

    /// All of them.
    pub(super) fn all(&self) -> &[v1::SettingFacts] {
        &self.0
    }
}
