//! Prints the figures of docs/performance.md: a cluster of real processes on this machine, measured
//! beside what the machine itself can do in the same run.
//!
//! ```text
//! cargo run --release -p marram-cluster-tests --bin figures -- repair|reads|growth|watchers [--folder DIR] [--mib N]
//! ```
//!
//! `marram` is taken from the same profile, and built if need be. The folder's default is the one for
//! temporary files. `--mib` is what is stored for `repair`, and the largest object for `reads`; the
//! folder needs three times as much.
#![expect(
    clippy::panic,
    reason = "a measurement that cannot go on says why and ends"
)]

mod foreground;
mod growth;
mod io;
mod machine;
mod reads;
mod repair;
mod watchers;

use std::path::PathBuf;
use std::process::ExitCode;

/// One MiB, for rates.
const MIB: f64 = 1024.0 * 1024.0;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let (mut folder, mut mib) = (std::env::temp_dir(), None);
    while let Some(flag) = args.next() {
        match (flag.as_str(), args.next()) {
            ("--folder", Some(given)) => folder = PathBuf::from(given),
            ("--mib", Some(given)) if given.parse::<u64>().is_ok() => mib = given.parse().ok(),
            _ => return usage(),
        }
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let scratch = tempfile::Builder::new()
        .prefix("marram-figures-")
        .tempdir_in(folder)
        .expect("the folder can be written");
    match what.as_str() {
        "repair" => runtime.block_on(repair::run(scratch.path(), mib.unwrap_or(1024))),
        "reads" => runtime.block_on(reads::run(scratch.path(), mib.unwrap_or(4096))),
        "growth" => runtime.block_on(growth::run(scratch.path())),
        "watchers" => runtime.block_on(watchers::run(scratch.path())),
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("figures repair|reads|growth|watchers [--folder DIR] [--mib N]");
    ExitCode::from(2)
}
