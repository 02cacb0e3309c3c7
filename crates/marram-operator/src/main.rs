//! The operator's program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use marram_operator::crdgen;

/// Runs Marram clusters on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "marram-operator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the definitions of the resources as YAML
    Crdgen {
        /// Write each into a file of its own in this folder instead
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Crdgen { out } => print_definitions(out.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_definitions(out: Option<&Path>) -> Result<()> {
    for (name, yaml) in crdgen::definitions()? {
        match out {
            None => println!("---\n{}", yaml.trim_end()),
            Some(folder) => {
                let file = folder.join(name);
                std::fs::write(&file, yaml)
                    .with_context(|| format!("cannot write {}", file.display()))?;
            }
        }
    }
    Ok(())
}
