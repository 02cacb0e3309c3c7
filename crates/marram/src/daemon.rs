//! How the long-running commands begin and end: logs, runtime, exit code.

use std::future::Future;
use std::process::ExitCode;

use crate::logging;

/// Threads of the runtime.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Threads {
    /// One for each core and at least two: a server, which has threads of Raft and of the drives
    /// beside them.
    PerCore,
    /// Two: a supervisor.
    Two,
}

/// Runs a command to its end. Logs go to standard error, and the newest of them are kept in memory;
/// `RUST_LOG` chooses what is logged.
pub(crate) fn run(threads: Threads, command: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    logging::start();
    let count = match threads {
        Threads::PerCore => std::thread::available_parallelism()
            .map_or(2, usize::from)
            .max(2),
        Threads::Two => 2,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(count)
        .enable_all()
        .build();
    let ran = match runtime {
        Ok(runtime) => {
            let ran = runtime.block_on(command);
            // A thread that waits for standard input must not hold the process.
            runtime.shutdown_background();
            ran
        }
        Err(error) => Err(error.into()),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("marram: {error:#}");
            ExitCode::FAILURE
        }
    }
}
