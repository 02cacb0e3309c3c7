//! `marram config`: the settings of a server, looked at before it starts.

use anyhow::Result;
use clap::{ArgMatches, Args, Command, Subcommand};
use marram_gateway::Kek;
use marram_types::config::ServerConfig;
use serde::Serialize;

use super::args::{ServerArgs, server_config};
use super::lifetime;
use super::scrape_token::ScrapeToken;
use super::settings::{File, SETTINGS, Said};

/// What is done with settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check them: each is known and may be as it is, keys and certificates can be read
    Check(Box<ServerArgs>),
    /// Print those in force, as a file for --config would say them
    Show(Box<ShowArgs>),
}

/// Arguments of `config show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Say of each where it comes from: a flag, the environment, the file, or nobody said anything
    #[arg(long)]
    origin: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// What is printed.
#[derive(Debug)]
pub(crate) enum Told {
    /// All is well.
    Checked,
    /// The settings that are set.
    Settings { settings: Vec<Shown>, origins: bool },
}

/// A setting that is set.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    setting: &'static str,
    value: toml::Value,
    origin: String,
}

/// Does it. `command` and `matches` are the whole command line, as it is defined and as it was given.
///
/// # Errors
/// The first setting that cannot be, with what to write instead.
pub(crate) fn run(command: &Command, matches: &ArgMatches, wanted: ConfigCommand) -> Result<Told> {
    match wanted {
        ConfigCommand::Check(args) => {
            let (config, _) = server_config(&args)?;
            check_files(&config)?;
            Ok(Told::Checked)
        }
        ConfigCommand::Show(args) => {
            let (config, file) = server_config(&args.server)?;
            Ok(Told::Settings {
                settings: shown(&Said::to(command, matches), &config, &file),
                origins: args.origin,
            })
        }
    }
}

/// What the server reads first: its files are there and hold what they should.
fn check_files(config: &ServerConfig) -> Result<()> {
    Kek::load(&config.kek_file)?;
    lifetime::api_tls(config.api_tls()?)?;
    ScrapeToken::load(config.metrics_token_file.as_deref())?;
    Ok(())
}

fn shown(said: &Said, config: &ServerConfig, file: &File) -> Vec<Shown> {
    let each = SETTINGS.iter().filter_map(|setting| {
        let origin = setting.origin(said, file);
        Some(Shown {
            setting: setting.path,
            value: setting.shown(config)?,
            origin: origin.to_string(),
        })
    });
    each.collect()
}

impl Told {
    /// The lines of a file that says the same.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Self::Settings { settings, origins } = self else {
            return vec!["the settings are good".to_owned()];
        };
        let mut lines = Vec::with_capacity(settings.len());
        let mut section = "";
        for Shown {
            setting,
            value,
            origin,
        } in settings
        {
            let (of, key) = setting.split_once('.').unwrap_or(("", setting));
            if of != section {
                lines.push(String::new());
                lines.push(format!("[{of}]"));
                section = of;
            }
            let line = format!("{key} = {value}");
            lines.push(if *origins {
                format!("{line:<48} # {origin}")
            } else {
                line
            });
        }
        lines
    }

    /// The settings one by one; none where they were only checked.
    pub(crate) fn settings(&self) -> &[Shown] {
        match self {
            Self::Checked => &[],
            Self::Settings { settings, .. } => settings,
        }
    }
}
