//! The `marram` program: servers, a whole development cluster, and the commands of a client.
//!
//! ```text
//! cli        what can be said on the command line
//! commands   the client commands, one file each
//! server, dev   the servers; daemon   how they begin and end
//! failure    what can go wrong in a command, and the exit code of each
//! location, paths, units   m://bucket/key, keys <-> file names, sizes and times as text (pure)
//! walk, transfer, output   files below a folder; moving one object; what is printed
//! ```

mod cli;
mod commands;
mod daemon;
mod dev;
mod failure;
mod location;
mod output;
mod paths;
mod server;
mod transfer;
mod units;
mod walk;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Server(args) => daemon::run(daemon::Threads::PerCore, server::run_server(*args)),
        Command::Gateway(args) => daemon::run(daemon::Threads::PerCore, server::run_gateway(args)),
        Command::Dev(args) => daemon::run(daemon::Threads::Two, dev::run(args)),
        command => commands::run(&cli.globals, command),
    }
}
