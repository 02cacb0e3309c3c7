//! The `marram` program: servers, a whole development cluster, and the commands of a client.
//!
//! ```text
//! cli        what can be said on the command line
//! commands   the client commands, one file each
//! plugin     kubectl marram: this program under another name
//! server, dev   the servers; daemon   how they begin and end; recent   their newest log lines
//! logging    what is logged, in which form; otlp   traces on their way to a collector
//! failure    what can go wrong in a command, and the exit code of each
//! filter     which names a command is about (pure)
//! location, paths, units   m://bucket/key, keys <-> file names, sizes and times as text (pure)
//! backup_file   backups of the metadata on this machine
//! walk, sums   files below a folder; their checksums    transfer, output   moving one object; what is printed
//! ```

mod backup_file;
mod cli;
mod commands;
mod daemon;
mod dev;
mod failure;
mod filter;
mod location;
mod logging;
mod nameless;
mod otlp;
mod output;
mod paths;
mod plugin;
mod profile;
mod recent;
mod server;
mod sums;
mod transfer;
mod units;
mod walk;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, Command};

/// Freed memory that each arena of the allocator keeps is twice this.
const KEPT_BYTES: usize = 16 << 20;

/// Has glibc keep a little of what is freed. It starts out giving pages back whenever 256 KiB are free,
/// and a transfer, which frees a buffer of 1 MiB for each that it takes, then has the kernel clear
/// pages for every byte that it moves: a quarter of the CPU of a large read. The thresholds follow the
/// largest block that was ever mapped and freed (mallopt(3), `M_MMAP_THRESHOLD`), so one is freed
/// here; its pages are never touched. Other allocators do not mind.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_BYTES)));
}

fn main() -> ExitCode {
    keep_freed_memory();
    if plugin::is_called(std::env::args_os().next().as_deref()) {
        return plugin::run();
    }
    let said = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&said) {
        Ok(cli) => cli,
        Err(error) => error.format(&mut Cli::command()).exit(),
    };
    match cli.command {
        Command::Server(args) => {
            let said = server::Said::to(&Cli::command(), &said);
            daemon::run(daemon::Threads::PerCore, server::run_server(*args, said))
        }
        Command::Gateway(args) => daemon::run(daemon::Threads::PerCore, server::run_gateway(*args)),
        Command::Dev(args) => daemon::run(daemon::Threads::Two, dev::run(args)),
        Command::Config(command) => commands::config(&cli.globals, &said, command),
        command => commands::run(&cli.globals, command),
    }
}
