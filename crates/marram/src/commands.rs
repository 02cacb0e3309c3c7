//! The client commands: each in a file of its own, and how they are run.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory};
use marram_client::{Client, ClientConfig};
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, Globals};
use crate::failure::Failure;
use crate::output::Output;
use crate::server::{ConfigCommand, run_config};

mod admin;
mod annotate;
mod bench;
mod bucket;
mod cat;
mod check;
mod completions;
mod cp;
mod du;
mod find;
mod lifecycle;
mod ls;
mod quota;
mod rm;
mod stat;
mod sync;
mod uploads;
mod versions;
mod watch;

/// How long work that nobody waits for may take to end.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// What every command gets.
struct Context<'a> {
    globals: &'a Globals,
    output: Arc<Output>,
    /// The trace that this command belongs to.
    trace: Option<marram_trace::Context>,
}

/// The trace of this command: a new one that is recorded where `--trace` asks for it, else the one that
/// `TRACEPARENT` names, which is how a program that traces says so to those that it starts.
fn trace(wanted: bool) -> Option<marram_trace::Context> {
    let given = std::env::var("TRACEPARENT").ok();
    let given = given.and_then(|text| marram_trace::Context::parse(&text));
    if !wanted {
        return given;
    }
    let mut trace = given.unwrap_or_else(|| marram_trace::Context::new_trace(true));
    trace.sampled = true;
    eprintln!("trace {}", trace.trace);
    Some(trace)
}

impl Context<'_> {
    /// The handle to the cluster that flags or environment name.
    fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(self.config()?)?)
    }

    fn config(&self) -> Result<ClientConfig, Failure> {
        let given = |value: &Option<String>, name| {
            value
                .clone()
                .filter(|value| !value.is_empty())
                .ok_or(Failure::NotConfigured(name))
        };
        let endpoint = given(&self.globals.endpoint, "MARRAM_ENDPOINT")?;
        let (access_key, secret_key) = match &self.globals.key_file {
            Some(file) => read_key(file)?,
            None => (
                given(&self.globals.access_key, "MARRAM_ACCESS_KEY")?,
                given(&self.globals.secret_key, "MARRAM_SECRET_KEY")?,
            ),
        };
        let mut config = ClientConfig::new(endpoint, access_key, secret_key);
        let ca_file = self.globals.ca_file.as_deref();
        config.ca_certificates = ca_file.map(read_ca).transpose()?;
        config.server_name = self.globals.tls_server_name.clone();
        config.direct_reads = !self.globals.no_direct;
        config.first_request = self.globals.request_id;
        config.traceparent = self.trace.as_ref().map(ToString::to_string);
        Ok(config)
    }
}

/// The access key and its secret, as `marram server --admin-key-file` reads them.
fn read_key(file: &Path) -> Result<(String, String), Failure> {
    let failed = |error| Failure::KeyFile {
        path: file.to_owned(),
        error,
    };
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [id, secret] => Ok((id.to_owned(), secret.to_owned())),
        _ => Err(failed(io::Error::other(
            "it must hold an access key and its secret, separated by a space",
        ))),
    }
}

fn read_ca(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::CaFile {
        path: file.to_owned(),
        error,
    })
}

/// Runs `marram config`. `said` is the whole command line.
pub(crate) fn config(globals: &Globals, said: &ArgMatches, command: ConfigCommand) -> ExitCode {
    start_logging(globals);
    let output = Output::new(globals);
    let told = run_config(&Cli::command(), said, command).map_err(Failure::Settings);
    let told = told.and_then(|told| {
        if globals.json {
            let mut settings = told.settings().iter();
            settings.try_for_each(|setting| output.value(setting))
        } else if globals.quiet && told.settings().is_empty() {
            Ok(())
        } else {
            let lines = told.lines();
            lines.iter().try_for_each(|line| output.line(line))
        }
    });
    end(globals, output.flush().and(told))
}

/// Runs a client command to its end, or until it is interrupted.
pub(crate) fn run(globals: &Globals, command: Command) -> ExitCode {
    start_logging(globals);
    let context = Context {
        globals,
        output: Arc::new(Output::new(globals)),
        trace: trace(globals.trace),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("marram: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = Box::pin(dispatch(&context, command)) => result,
            () = told_to_end() => Err(Failure::Interrupted),
        }
    });
    // Tasks that are dropped here take their temporary files with them.
    runtime.shutdown_timeout(SHUTDOWN);
    // What was printed before a failure is part of the result.
    end(globals, context.output.flush().and(result))
}

/// Waits until somebody wants the command to end: by Ctrl-C, or by ending its terminal or what it is part of.
async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let told = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            // It has its usual effect then.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = told(SignalKind::interrupt()) => {}
        () = told(SignalKind::terminate()) => {}
        () = told(SignalKind::hangup()) => {}
    }
}

fn end(globals: &Globals, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(globals.json);
            failure.exit_code()
        }
    }
}

async fn dispatch(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    match command {
        Command::Mb(args) => bucket::make(context, args).await,
        Command::Rb(args) => bucket::remove(context, args).await,
        Command::Ls(args) => ls::run(context, args).await,
        Command::Cp(args) => cp::run(context, args, false).await,
        Command::Mv(args) => cp::run(context, args, true).await,
        Command::Cat(args) => cat::run(context, args).await,
        Command::Rm(args) => rm::run(context, args).await,
        Command::Tags(command) => annotate::tags(context, command).await,
        Command::Describe(args) => annotate::describe(context, args).await,
        Command::Versioning(args) => versions::versioning(context, args).await,
        Command::Lifecycle(args) => lifecycle::run(context, args).await,
        Command::Quota(args) => quota::run(context, args).await,
        Command::Restore(args) => versions::restore(context, args).await,
        Command::Check(command) => check::run(context, command).await,
        Command::Stat(args) => stat::run(context, args).await,
        Command::Sync(args) => sync::run(context, args).await,
        Command::Find(args) => find::run(context, args).await,
        Command::Du(args) => du::run(context, args).await,
        Command::Watch(args) => watch::run(context, args).await,
        Command::Uploads(command) => uploads::run(context, command).await,
        Command::Admin(command) => admin::run(context, command).await,
        Command::Bench(args) => bench::run(context, args).await,
        Command::Completions { shell } => completions::print(shell),
        Command::Dev(_) | Command::Server(_) | Command::Gateway(_) | Command::Config(_) => {
            Err(Failure::Usage("this is not a client command"))
        }
    }
}

/// Warnings go to standard error; `-v` and `MARRAM_LOG` ask for more.
fn start_logging(globals: &Globals) {
    let level = match globals.verbose {
        0 => "error",
        1 => "marram=debug,marram_client=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("MARRAM_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}
