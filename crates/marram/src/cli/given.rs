//! Where the settings of a long-running command come from.

use std::collections::{BTreeMap, BTreeSet};

use clap::ArgMatches;
use clap::parser::ValueSource;

/// What was given, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    /// By the id of the flag.
    flags: BTreeMap<String, &'static str>,
    /// Names in the file, those of tables with a dot.
    file: BTreeSet<String>,
}

impl Given {
    /// What flags and environment gave to the command that is run.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let Some((_, command)) = matches.subcommand() else {
            return Self::default();
        };
        let given = command.ids().filter_map(|id| {
            let origin = match command.value_source(id.as_str())? {
                ValueSource::CommandLine => "flag",
                ValueSource::EnvVariable => "environment",
                _ => return None,
            };
            Some((id.as_str().to_owned(), origin))
        });
        Self {
            flags: given.collect(),
            file: BTreeSet::new(),
        }
    }

    /// The same with what a file says.
    pub(crate) fn with_file(mut self, table: &toml::Table) -> Self {
        for (name, value) in table {
            match value.as_table() {
                Some(inner) => {
                    let names = inner.keys().map(|key| format!("{name}.{key}"));
                    self.file.extend(names);
                }
                None => {
                    self.file.insert(name.clone());
                }
            }
        }
        self
    }

    /// Where a setting comes from: by its name in the file, and the id of its flag.
    pub(crate) fn origin(&self, name: &str, flag: &str) -> &'static str {
        match self.flags.get(flag) {
            Some(origin) => origin,
            None if self.file.contains(name) => "file",
            None => "default",
        }
    }

    /// The same with one more flag, for tests.
    #[cfg(test)]
    pub(crate) fn with(mut self, flag: &str, origin: &'static str) -> Self {
        self.flags.insert(flag.to_owned(), origin);
        self
    }
}
