use std::collections::BTreeSet;
use std::io::Write;

use clap::{Args, FromArgMatches};

use super::super::args::{ServerArgs, server_config};
use super::*;

/// Arguments that are no settings: they say what to do once, or where the file is.
const NO_SETTINGS: [&str; 9] = [
    "config",
    "stop_when_stdin_closes",
    "restore",
    "recover",
    "gone",
    "i_know_that_newer_writes_are_lost",
    "export_metadata",
    "adopt_drives",
    "give_up_metadata",
];

/// Every setting with another value than its default.
const ALL: &str = r#"
name = "node-9"
zone = "z3"
data = ["/d1", "/d2"]
api_listen = "127.0.0.1:1"
api_advertise = "a:1"
api_tls_cert = "/c"
api_tls_key = "/k"
mesh_listen = "127.0.0.1:2"
mesh_advertise = "a:2"
metrics_listen = "127.0.0.1:3"
metrics_token_file = "/m"
metrics_buckets = 31
join = ["peer:7071"]
token_file = "/t"
await_token = true
certificate_lifetime_s = 100
kek_file = "/kek"
operator_key_file = "/o"
admin_key_file = "/a"
segment_mib = 16
drive_capacity = 1000
metadata_free = 2000
gc_floor_lag_s = 11
gc_read_lag_s = 12
gc_drain_grace_s = 13
gc_scan_every_s = 14
narrow_grace_s = 15
repair_grace_s = 16
balance_quiet_s = 30
[api]
connections = 17
connection_age_s = 18
stop_grace_s = 19
[background]
drive_mib_per_s = 20
link_mib_per_s = 21
share_percent = 22
share_min_percent = 23
rise_percent = 124
calm_ms = 25
[upkeep]
scrub_every_s = 26
scrub_mib_per_s = 27
drive_failed_grace_s = 28
drive_away_grace_s = 29
[watch]
events_kept_s = 31
events_kept_mib = 32
[log]
format = "json"
[tracing]
otlp_endpoint = "http://collector:4317"
sample_per_million = 30
"#;

fn server() -> Command {
    ServerArgs::augment_args(Command::new("server"))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load(words: &[&str]) -> (ServerConfig, Said, File) {
    let matches = server()
        .try_get_matches_from([&["server"], words].concat())
        .unwrap();
    let args = ServerArgs::from_arg_matches(&matches).unwrap();
    let (config, file) = server_config(&args).unwrap();
    (config, Said::to(&server(), &matches), file)
}

fn refused(text: &str) -> String {
    let file = file(text);
    let error = File::read(Some(file.path())).unwrap_err();
    let told = format!("{error:#}");
    told.replace(file.path().to_str().unwrap(), "FILE")
}

#[test]
fn each_argument_of_a_server_is_a_setting_and_the_other_way_round() {
    let command = server();
    let arguments: BTreeSet<&str> = command
        .get_arguments()
        .map(|argument| argument.get_id().as_str())
        .filter(|id| !NO_SETTINGS.contains(id))
        .collect();
    let named: BTreeSet<&str> = SETTINGS.iter().filter_map(|s| s.argument).collect();
    assert_eq!(arguments, named);
}

#[test]
fn what_is_shown_says_the_same_again() {
    let path = file(ALL);
    let (config, _, _) = load(&["--config", path.path().to_str().unwrap()]);
    let mut shown = toml::Table::new();
    for setting in SETTINGS {
        let Some(value) = setting.shown(&config) else {
            continue;
        };
        match setting.path.split_once('.') {
            None => drop(shown.insert(setting.path.to_owned(), value)),
            Some((section, key)) => {
                let inner = shown
                    .entry(section)
                    .or_insert_with(|| toml::Table::new().into());
                inner.as_table_mut().unwrap().insert(key.to_owned(), value);
            }
        }
    }
    assert_eq!(shown, ALL.parse::<toml::Table>().unwrap());
}

#[test]
fn flags_go_before_the_file_and_each_origin_is_told() {
    let path =
        file("zone = \"z1\"\nkek_file = \"/k\"\nname = \"n\"\n[upkeep]\nscrub_every_s = 7\n");
    let path_text = path.path().to_str().unwrap();
    let words = [
        "--config",
        path_text,
        "--zone",
        "z2",
        "--data",
        "/d",
        "--stop-grace",
        "3",
    ];
    let (config, said, file) = load(&words);
    let origin = |name: &str| {
        let setting = SETTINGS.iter().find(|s| s.path == name).unwrap();
        setting.origin(&said, &file)
    };
    assert_eq!(config.zone.as_deref(), Some("z2"));
    assert_eq!(origin("zone"), Origin::Flag("--zone".to_owned()));
    assert_eq!(
        origin("api.stop_grace_s"),
        Origin::Flag("--stop-grace".to_owned())
    );
    assert_eq!(origin("name"), Origin::File(path.path().to_owned()));
    assert_eq!(
        origin("upkeep.scrub_every_s"),
        Origin::File(path.path().to_owned())
    );
    assert_eq!(origin("upkeep.scrub_mib_per_s"), Origin::Default);
    assert_eq!(origin("await_token"), Origin::Default);
}

#[test]
fn a_token_is_not_shown() {
    let words = [
        "--data",
        "/d",
        "--kek-file",
        "/k",
        "--join",
        "a:1",
        "--token",
        "mj1-secret",
    ];
    let (config, _, _) = load(&words);
    let shown: Vec<String> = SETTINGS
        .iter()
        .filter_map(|setting| setting.shown(&config))
        .map(|value| value.to_string())
        .collect();
    assert!(!shown.iter().any(|value| value.contains("mj1-secret")));
    assert!(shown.contains(&"\"(not shown)\"".to_owned()));
}

#[test]
fn what_is_not_known_is_refused_with_its_line_and_what_was_perhaps_meant() {
    assert_eq!(
        refused("name = \"n\"\n\ngc_floor_lag = 3\n"),
        "FILE:3: there is no setting \"gc_floor_lag\"; perhaps \"gc_floor_lag_s\" is meant"
    );
    assert_eq!(
        refused("[upkeep]\nscrub_every = 3\n"),
        "FILE:2: there is no setting \"upkeep.scrub_every\"; perhaps \"upkeep.scrub_every_s\" is meant"
    );
    assert_eq!(
        refused("[upkeeep]\nscrub_every_s = 3\n"),
        "FILE:1: there is no setting \"upkeeep\"; perhaps \"upkeep\" is meant"
    );
    assert_eq!(
        refused("xyz = 3\n"),
        "FILE:1: there is no setting \"xyz\"; `marram config show` prints those that there are"
    );
    assert!(refused("name = \n").contains("is not valid TOML"));
}
