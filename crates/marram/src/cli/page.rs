//! `docs/cli.md` is what the command line says of itself. When this fails, run
//! `MARRAM_REGENERATE=1 cargo test -p marram --bin marram cli::page` and commit the result.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::Cli;

#[test]
fn the_documents_are_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let made = page();
    if std::env::var_os("MARRAM_REGENERATE").is_some() {
        std::fs::write(&file, &made).expect("written");
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == made,
        "docs/cli.md is not what the commands say: run MARRAM_REGENERATE=1 cargo test -p marram \
         --bin marram cli::page, and commit the result"
    );
}

/// What is said of an argument is a sentence: it begins with a capital letter or a place, and something is said.
#[test]
fn every_command_and_argument_says_what_it_is() {
    let mut seen = 0;
    let mut each = |name: &str, command: &Command| {
        assert!(about(command).len() > 3, "{name} says nothing");
        for arg in own(command) {
            seen += 1;
            let help = help(arg);
            let flag = arg.get_id();
            assert!(help.len() > 3, "{name}: {flag} says nothing");
            assert!(
                !help.ends_with('.'),
                "{name}: {flag} ends with a full stop: {help}"
            );
            assert!(
                !help.starts_with(|c: char| c.is_lowercase() && c != 'm'),
                "{help}"
            );
        }
    };
    walk(&root(), "marram", &mut each);
    walk(&plugin(), "kubectl marram", &mut each);
    assert!(seen > 150, "{seen}");
}

fn root() -> Command {
    let mut root = Cli::command();
    root.build();
    root
}

fn plugin() -> Command {
    let mut root = crate::plugin::definition();
    root.build();
    root
}

fn page() -> String {
    let root = root();
    let mut page = String::from(
        "# The command line\n\nMade from the program's own words by `MARRAM_REGENERATE=1 cargo test -p marram --bin \
         marram cli::page`; do not edit.\n`marram COMMAND --help` says the same.\n\n",
    );
    let _ = writeln!(page, "{}\n", sentence(&about(&root)));
    let _ = writeln!(page, "What every command understands:\n");
    commands(&mut page, &root, "marram");
    let plugin = plugin();
    let _ = writeln!(
        page,
        "\n# kubectl marram\n\n{}\n\nIt is this program under the name `kubectl-marram`, somewhere on the PATH: `ln -s \
         marram kubectl-marram`.\nWhat all of its commands understand:\n",
        sentence(&about(&plugin))
    );
    commands(&mut page, &plugin, "kubectl marram");
    page
}

fn commands(page: &mut String, root: &Command, program: &str) {
    let globals = root.get_arguments().filter(|arg| arg.is_global_set());
    globals.for_each(|arg| line(page, arg));
    for command in root.get_subcommands() {
        walk(
            command,
            &format!("{program} {}", command.get_name()),
            &mut |name, command| {
                let _ = writeln!(page, "\n## {name}\n\n{}\n", sentence(&about(command)));
                let mut arguments = own(command).peekable();
                if arguments.peek().is_none() {
                    return;
                }
                let usage = command.clone().render_usage().to_string();
                let usage = usage.trim_start_matches("Usage: ").replace('\n', " ");
                let _ = writeln!(
                    page,
                    "`{}`\n",
                    usage.split_whitespace().collect::<Vec<_>>().join(" ")
                );
                arguments.for_each(|arg| line(page, arg));
            },
        );
    }
}

fn walk(command: &Command, name: &str, each: &mut impl FnMut(&str, &Command)) {
    each(name, command);
    for sub in command.get_subcommands() {
        walk(sub, &format!("{name} {}", sub.get_name()), each);
    }
}

/// Arguments that are not every command's.
fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    let of_all = |arg: &Arg| {
        arg.is_global_set()
            || matches!(
                arg.get_action(),
                ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
            )
    };
    command
        .get_arguments()
        .filter(move |arg| !of_all(arg) && !arg.is_hide_set())
}

fn about(command: &Command) -> String {
    let said = command.get_long_about().or_else(|| command.get_about());
    said.map(ToString::to_string).unwrap_or_default()
}

fn help(arg: &Arg) -> String {
    let said = arg.get_long_help().or_else(|| arg.get_help());
    let said = said.map(ToString::to_string).unwrap_or_default();
    said.replace('\n', " ")
}

fn sentence(text: &str) -> String {
    if text.ends_with('.') {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

fn line(page: &mut String, arg: &Arg) {
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("-{short}")));
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    let aliases = arg.get_visible_aliases().unwrap_or_default();
    names.extend(aliases.into_iter().map(|alias| format!("--{alias}")));
    let takes = arg.get_action().takes_values();
    let value = arg.get_value_names().filter(|_| takes).map(|names| {
        let names: Vec<&str> = names.iter().map(clap::builder::Str::as_str).collect();
        names.join(" ")
    });
    let shown = match (names.is_empty(), value) {
        (true, value) => value.unwrap_or_else(|| arg.get_id().to_string()),
        (false, None) => names.join(", "),
        (false, Some(value)) => format!("{} {value}", names.join(", ")),
    };
    let _ = write!(page, "- `{shown}`: {}", help(arg));
    let words: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|_| takes)
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !words.is_empty() {
        let _ = write!(page, ": {}", words.join(", "));
    }
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|v| v.to_string_lossy())
        .collect();
    if takes && !defaults.is_empty() {
        let _ = write!(page, " (default: `{}`)", defaults.join(" "));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(page, " (`{}`)", variable.to_string_lossy());
    }
    page.push('\n');
}
