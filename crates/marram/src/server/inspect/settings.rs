//! The configuration that is in force, with where each value comes from. Only what is named here is
//! told: a new setting that is secret does not get out by being forgotten.

use std::path::Path;

use marram_proto::v1;
use marram_types::config::ServerConfig;

use crate::cli::Given;

/// The settings of a server.
#[derive(Debug, Clone)]
pub(in crate::server) struct Settings(Vec<v1::SettingFacts>);

impl Settings {
    /// Notes them. `given` is what flags, environment and file said.
    pub(super) fn of(config: &ServerConfig, given: &Given) -> Self {
        let mut all = Vec::new();
        for (name, flag, value) in rows(config) {
            if let Some(value) = value {
                let origin = given.origin(name, flag).to_owned();
                let name = name.to_owned();
                all.push(v1::SettingFacts {
                    name,
                    value,
                    origin,
                });
            }
        }
        Self(all)
    }

    /// All of them.
    pub(super) fn all(&self) -> &[v1::SettingFacts] {
        &self.0
    }
}

type Row = (&'static str, &'static str, Option<String>);

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// Each setting: its name in the file, the id of its flag, its value.
fn rows(config: &ServerConfig) -> Vec<Row> {
    let mut rows = of_the_node(config);
    rows.extend(of_listeners(config));
    rows.extend(of_work(config));
    rows
}

fn of_the_node(c: &ServerConfig) -> Vec<Row> {
    let data: Vec<String> = c.data.iter().map(|folder| path(folder)).collect();
    let lifetime = c.certificate_lifetime_s.to_string();
    let number = |n: Option<u64>| n.map(|n| n.to_string());
    vec![
        ("name", "name", c.name.clone()),
        ("data", "data", Some(data.join(","))),
        ("zone", "zone", c.zone.clone()),
        (
            "token_file",
            "token_file",
            c.token_file.as_deref().map(path),
        ),
        (
            "await_token",
            "await_token",
            Some(c.await_token.to_string()),
        ),
        (
            "certificate_lifetime_s",
            "certificate_lifetime",
            Some(lifetime),
        ),
        ("kek_file", "kek_file", Some(path(&c.kek_file))),
        ("join", "join", Some(c.join.join(","))),
        ("segment_mib", "segment_mib", number(Some(c.segment_mib))),
        ("drive_capacity", "drive_capacity", number(c.drive_capacity)),
        ("metadata_free", "metadata_free", number(c.metadata_free)),
    ]
}

fn of_listeners(c: &ServerConfig) -> Vec<Row> {
    let api = &c.api;
    let (connections, age) = (api.connections, api.connection_age_s);
    let (cert, key) = (c.api_tls_cert.as_deref(), c.api_tls_key.as_deref());
    vec![
        ("api_listen", "api_listen", Some(c.api_listen.to_string())),
        ("api_advertise", "api_advertise", c.api_advertise.clone()),
        ("api_tls_cert", "api_tls_cert", cert.map(path)),
        ("api_tls_key", "api_tls_key", key.map(path)),
        (
            "api.connections",
            "api_connections",
            Some(connections.to_string()),
        ),
        (
            "api.connection_age_s",
            "api_connection_age",
            Some(age.to_string()),
        ),
        (
            "api.stop_grace_s",
            "stop_grace",
            Some(api.stop_grace_s.to_string()),
        ),
        (
            "mesh_listen",
            "mesh_listen",
            Some(c.mesh_listen.to_string()),
        ),
        ("mesh_advertise", "mesh_advertise", c.mesh_advertise.clone()),
        (
            "metrics_listen",
            "metrics_listen",
            Some(c.metrics_listen.to_string()),
        ),
    ]
}

fn of_work(c: &ServerConfig) -> Vec<Row> {
    let (pace, upkeep) = (&c.background, &c.upkeep);
    let numbers = [
        ("gc_floor_lag_s", "gc_floor_lag", c.gc_floor_lag_s),
        ("gc_read_lag_s", "gc_read_lag", c.gc_read_lag_s),
        ("gc_drain_grace_s", "gc_drain_grace", c.gc_drain_grace_s),
        ("gc_scan_every_s", "gc_scan_every", c.gc_scan_every_s),
        ("narrow_grace_s", "narrow_grace", c.narrow_grace_s),
        ("repair_grace_s", "repair_grace", c.repair_grace_s),
        (
            "background.drive_mib_per_s",
            "background_drive",
            pace.drive_mib_per_s,
        ),
        (
            "background.link_mib_per_s",
            "background_link",
            pace.link_mib_per_s,
        ),
        (
            "background.share_percent",
            "background_share",
            pace.share_percent,
        ),
        ("background.share_min_percent", "", pace.share_min_percent),
        ("background.rise_percent", "", pace.rise_percent),
        ("background.calm_ms", "", pace.calm_ms),
        ("upkeep.scrub_every_s", "scrub_every", upkeep.scrub_every_s),
        (
            "upkeep.scrub_mib_per_s",
            "scrub_rate",
            upkeep.scrub_mib_per_s,
        ),
        (
            "upkeep.drive_failed_grace_s",
            "drive_failed_grace",
            upkeep.drive_failed_grace_s,
        ),
        (
            "upkeep.drive_away_grace_s",
            "drive_away_grace",
            upkeep.drive_away_grace_s,
        ),
    ];
    let row = |(name, flag, number): (&'static str, &'static str, u64)| {
        (name, flag, Some(number.to_string()))
    };
    numbers.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_their_origin_and_the_token_is_none_of_them() {
        let text = "data = [\"/a\", \"/b\"]\nkek_file = \"/kek\"\ntoken = \"very.secret\"\n[upkeep]\nscrub_every_s = 5\n";
        let table: toml::Table = text.parse().expect("valid");
        let config: ServerConfig = toml::Value::Table(table.clone())
            .try_into()
            .expect("complete");
        let given = Given::default()
            .with("kek_file", "environment")
            .with_file(&table);
        let settings = Settings::of(&config, &given);
        let of = |name: &str| {
            let found = settings.all().iter().find(|one| one.name == name);
            found.map(|one| (one.value.as_str(), one.origin.as_str()))
        };
        assert_eq!(of("data"), Some(("/a,/b", "file")));
        assert_eq!(of("kek_file"), Some(("/kek", "environment")));
        assert_eq!(of("upkeep.scrub_every_s"), Some(("5", "file")));
        assert_eq!(of("segment_mib").map(|(_, origin)| origin), Some("default"));
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn flags_of_settings_exist() {
        use clap::CommandFactory;
        let command = crate::cli::Cli::command();
        let server = command.find_subcommand("server").expect("there");
        let flags: Vec<&str> = server
            .get_arguments()
            .map(|flag| flag.get_id().as_str())
            .collect();
        let table: toml::Table = "data = [\"/a\"]\nkek_file = \"/k\"".parse().expect("valid");
        let config: ServerConfig = toml::Value::Table(table).try_into().expect("complete");
        for (name, flag, _) in rows(&config) {
            assert!(flag.is_empty() || flags.contains(&flag), "{name}: {flag}");
        }
    }
}
