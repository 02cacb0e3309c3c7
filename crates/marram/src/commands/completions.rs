//! `marram completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;

/// Prints the completions of `shell`.
pub(super) fn print(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "marram", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script).map_err(Failure::Output)
}
