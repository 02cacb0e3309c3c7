//! The settings of a server one by one: where each stands in the file, which flag says the same, and
//! where the one in force comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use marram_types::config::{BootstrapConfig, ServerConfig};
use toml::Value;
use toml::de::{DeTable, DeValue};

use super::telling::name_of;

/// How like a known setting an unknown one must be for the known one to be proposed (Jaro-Winkler,
/// 1 is equal).
const LIKE_MIN: f64 = 0.8;

/// A setting of a server.
pub(crate) struct Setting {
    /// Where it stands in the file: `key`, or `section.key`.
    pub path: &'static str,
    /// The argument of `marram server` that says the same, by clap's id.
    argument: Option<&'static str>,
    /// Not to be shown.
    secret: bool,
    /// The one in force, if it is set.
    value: fn(&ServerConfig) -> Option<Value>,
}

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag, with its dashes.
    Flag(String),
    /// An environment variable.
    Environment(String),
    /// The file of `--config`.
    File(PathBuf),
    /// Nobody said anything else.
    Default,
}

impl Origin {
    /// What kind of place that is, in one word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Environment(_) => "environment",
            Self::File(_) => "file",
            Self::Default => "default",
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Setting {
    /// The value in force, as it would stand in the file; a secret is not told.
    pub(crate) fn shown(&self, config: &ServerConfig) -> Option<Value> {
        let value = (self.value)(config)?;
        Some(if self.secret {
            Value::from("(not shown)")
        } else {
            value
        })
    }

    /// Where it comes from.
    pub(crate) fn origin(&self, said: &Said, file: &File) -> Origin {
        let given = self.argument.and_then(|argument| said.0.get(argument));
        match (given, &file.path) {
            (Some(origin), _) => origin.clone(),
            (None, Some(path)) if file.has(self.path) => Origin::File(path.clone()),
            _ => Origin::Default,
        }
    }
}

/// What flags and environment said to the command that is run, by clap's ids of its arguments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said(BTreeMap<String, Origin>);

impl Said {
    /// `command` and `matches` are the whole command line, as it is defined and as it was given.
    pub(crate) fn to(mut command: &Command, mut matches: &ArgMatches) -> Self {
        while let Some((name, below)) = matches.subcommand() {
            let Some(found) = command.find_subcommand(name) else {
                break;
            };
            (command, matches) = (found, below);
        }
        let given = command.get_arguments().filter_map(|argument| {
            let id = argument.get_id().as_str();
            let origin = match matches.value_source(id)? {
                ValueSource::CommandLine => {
                    Origin::Flag(format!("--{}", argument.get_long().unwrap_or(id)))
                }
                ValueSource::EnvVariable => {
                    let name = argument.get_env().unwrap_or_default();
                    Origin::Environment(name.to_string_lossy().into_owned())
                }
                _ => return None,
            };
            Some((id.to_owned(), origin))
        });
        Self(given.collect())
    }
}

/// The configuration file, if there is one, with settings that are all known.
#[derive(Debug, Default)]
pub(crate) struct File {
    path: Option<PathBuf>,
    pub(super) table: toml::Table,
}

impl File {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or has a setting that is not known: with the line, and the
    /// setting that was perhaps meant.
    pub(super) fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        let table = text
            .parse()
            .with_context(|| format!("{} is not valid TOML", path.display()))?;
        all_known(&text, path)?;
        Ok(Self {
            path: Some(path.to_owned()),
            table,
        })
    }

    fn has(&self, path: &str) -> bool {
        match path.split_once('.') {
            None => self.table.contains_key(path),
            Some((section, key)) => self
                .table
                .get(section)
                .is_some_and(|section| section.get(key).is_some()),
        }
    }
}

fn all_known(text: &str, path: &Path) -> Result<()> {
    let table = DeTable::parse(text).with_context(|| format!("{}", path.display()))?;
    for (key, value) in table.get_ref() {
        match value.get_ref() {
            DeValue::Table(section) if is_section(key.get_ref()) => {
                for inner in section.keys() {
                    let name = format!("{}.{}", key.get_ref(), inner.get_ref());
                    known(&name, text, inner.span().start, path)?;
                }
            }
            _ => known(key.get_ref(), text, key.span().start, path)?,
        }
    }
    Ok(())
}

fn is_section(name: &str) -> bool {
    sections().any(|section| section == name)
}

fn sections() -> impl Iterator<Item = &'static str> {
    SETTINGS
        .iter()
        .filter_map(|setting| setting.path.split_once('.'))
        .map(|(section, _)| section)
}

fn known(name: &str, text: &str, at: usize, path: &Path) -> Result<()> {
    let names = || SETTINGS.iter().map(|setting| setting.path);
    if is_section(name) || names().any(|known| known == name) {
        return Ok(());
    }
    let line = 1 + text.bytes().take(at).filter(|b| *b == b'\n').count();
    let likeness = |known: &str| strsim::jaro_winkler(known, name);
    let nearest = names()
        .chain(sections())
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .filter(|nearest| likeness(nearest) >= LIKE_MIN);
    let place = format!("{}:{line}", path.display());
    match nearest {
        Some(nearest) => {
            bail!("{place}: there is no setting {name:?}; perhaps {nearest:?} is meant")
        }
        None => bail!(
            "{place}: there is no setting {name:?}; `marram config show` prints those that there are"
        ),
    }
}

fn text(value: Option<&String>) -> Option<Value> {
    value.cloned().map(Value::from)
}

fn path(value: Option<&PathBuf>) -> Option<Value> {
    value.map(|path| Value::from(path.to_string_lossy().into_owned()))
}

fn number(value: u64) -> Option<Value> {
    Some(i64::try_from(value).map_or_else(|_| Value::from(value.to_string()), Value::from))
}

fn found(
    config: &ServerConfig,
    value: impl FnOnce(&BootstrapConfig) -> Option<Value>,
) -> Option<Value> {
    config.bootstrap.as_ref().and_then(value)
}

const fn setting(
    path: &'static str,
    argument: &'static str,
    value: fn(&ServerConfig) -> Option<Value>,
) -> Setting {
    Setting {
        path,
        argument: Some(argument),
        secret: false,
        value,
    }
}

const fn in_file_only(path: &'static str, value: fn(&ServerConfig) -> Option<Value>) -> Setting {
    Setting {
        path,
        argument: None,
        secret: false,
        value,
    }
}

const fn secret(
    path: &'static str,
    argument: &'static str,
    value: fn(&ServerConfig) -> Option<Value>,
) -> Setting {
    Setting {
        secret: true,
        ..setting(path, argument, value)
    }
}

/// All settings, those of sections last, as they stand in a file.
#[rustfmt::skip] // A table, a line each.
pub(crate) const SETTINGS: &[Setting] = &[
    setting("name", "name", |c| text(c.name.as_ref())),
    setting("zone", "zone", |c| text(c.zone.as_ref())),
    setting("data", "data", |c| Some(c.data.iter().filter_map(|p| path(Some(p))).collect::<Vec<_>>().into())),
    setting("api_listen", "api_listen", |c| Some(c.api_listen.to_string().into())),
    setting("api_advertise", "api_advertise", |c| text(c.api_advertise.as_ref())),
    setting("api_tls_cert", "api_tls_cert", |c| path(c.api_tls_cert.as_ref())),
    setting("api_tls_key", "api_tls_key", |c| path(c.api_tls_key.as_ref())),
    setting("mesh_listen", "mesh_listen", |c| Some(c.mesh_listen.to_string().into())),
    setting("mesh_advertise", "mesh_advertise", |c| text(c.mesh_advertise.as_ref())),
    setting("metrics_listen", "metrics_listen", |c| Some(c.metrics_listen.to_string().into())),
    setting("metrics_token_file", "metrics_token_file", |c| path(c.metrics_token_file.as_ref())),
    setting("metrics_buckets", "metrics_buckets", |c| number(c.metrics_buckets.into())),
    setting("join", "join", |c| (!c.join.is_empty()).then(|| c.join.clone().into())),
    secret("token", "token", |c| text(c.token.as_ref())),
    setting("token_file", "token_file", |c| path(c.token_file.as_ref())),
    setting("await_token", "await_token", |c| Some(c.await_token.into())),
    setting("certificate_lifetime_s", "certificate_lifetime", |c| number(c.certificate_lifetime_s)),
    setting("kek_file", "kek_file", |c| path(Some(&c.kek_file))),
    setting("operator_key_file", "operator_key_file", |c| path(c.operator_key_file.as_ref())),
    setting("admin_key_file", "admin_key_file", |c| path(c.admin_key_file.as_ref())),
    setting("segment_mib", "segment_mib", |c| number(c.segment_mib)),
    setting("drive_capacity", "drive_capacity", |c| c.drive_capacity.and_then(number)),
    setting("metadata_free", "metadata_free", |c| c.metadata_free.and_then(number)),
    setting("gc_floor_lag_s", "gc_floor_lag", |c| number(c.gc_floor_lag_s)),
    setting("gc_read_lag_s", "gc_read_lag", |c| number(c.gc_read_lag_s)),
    setting("gc_drain_grace_s", "gc_drain_grace", |c| number(c.gc_drain_grace_s)),
    setting("gc_scan_every_s", "gc_scan_every", |c| number(c.gc_scan_every_s)),
    setting("narrow_grace_s", "narrow_grace", |c| number(c.narrow_grace_s)),
    setting("repair_grace_s", "repair_grace", |c| number(c.repair_grace_s)),
    setting("balance_quiet_s", "balance_quiet", |c| number(c.balance_quiet_s)),
    setting("api.connections", "api_connections", |c| number(c.api.connections as u64)),
    setting("api.connection_age_s", "api_connection_age", |c| number(c.api.connection_age_s)),
    setting("api.stop_grace_s", "stop_grace", |c| number(c.api.stop_grace_s)),
    setting("background.drive_mib_per_s", "background_drive", |c| number(c.background.drive_mib_per_s)),
    setting("background.link_mib_per_s", "background_link", |c| number(c.background.link_mib_per_s)),
    setting("background.share_percent", "background_share", |c| number(c.background.share_percent)),
    in_file_only("background.share_min_percent", |c| number(c.background.share_min_percent)),
    in_file_only("background.rise_percent", |c| number(c.background.rise_percent)),
    in_file_only("background.calm_ms", |c| number(c.background.calm_ms)),
    setting("upkeep.scrub_every_s", "scrub_every", |c| number(c.upkeep.scrub_every_s)),
    setting("upkeep.scrub_mib_per_s", "scrub_rate", |c| number(c.upkeep.scrub_mib_per_s)),
    setting("upkeep.drive_failed_grace_s", "drive_failed_grace", |c| number(c.upkeep.drive_failed_grace_s)),
    setting("upkeep.drive_away_grace_s", "drive_away_grace", |c| number(c.upkeep.drive_away_grace_s)),
    setting("watch.events_kept_s", "events_kept", |c| number(c.watch.events_kept_s)),
    setting("watch.events_kept_mib", "events_kept_mib", |c| number(c.watch.events_kept_mib)),
    setting("log.format", "log_format", |c| Some(name_of(c.log.format).into())),
    setting("tracing.otlp_endpoint", "otlp_endpoint", |c| text(c.tracing.otlp_endpoint.as_ref())),
    setting("tracing.sample_per_million", "trace_sample", |c| number(c.tracing.sample_per_million.into())),
    setting("bootstrap.cluster_name", "bootstrap", |c| found(c, |b| Some(b.cluster_name.clone().into()))),
    setting("bootstrap.expected_nodes", "expected_nodes", |c| found(c, |b| number(b.expected_nodes.into()))),
    setting("bootstrap.object_groups", "object_groups", |c| found(c, |b| number(b.object_groups.into()))),
    setting("bootstrap.admin_key_file", "admin_key_file", |c| found(c, |b| path(Some(&b.admin_key_file)))),
];

#[cfg(test)]
mod tests;
