//! `marram cp` and `marram mv`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use marram_client::{Client, PutBody};
use tokio::sync::mpsc;

use crate::cli::CpArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::{Location, Remote};
use crate::transfer::{Crew, How, JOBS_AHEAD, Job, Order, Tally, put, write_out};
use crate::units::size;

mod plan;

/// Copies, or moves.
pub(super) async fn run(context: &Context<'_>, args: CpArgs, moving: bool) -> Result<(), Failure> {
    let mut places: Vec<Location> = args
        .paths
        .iter()
        .map(|text| Location::parse(text))
        .collect::<Result<_, _>>()?;
    let target = places
        .pop()
        .ok_or(Failure::Usage("the target is missing"))?;
    if args.generation.is_some() {
        pick_version(&mut places, &args, moving)?;
    }
    let how = How::new(&args.conditions, args.written)?;
    how.check(&places, &target, args.recursive)?;
    let client = context.client()?;
    if let Some(streamed) = streams(&client, &places, &target, &how, moving).await {
        return streamed;
    }
    check(&places, &target, args.recursive)?;
    for bucket in buckets(&places, &target) {
        // One clear error instead of one for each file.
        let found = client.head_bucket(&bucket).await;
        found.map_err(Failure::at(format_args!("m://{bucket}")))?;
    }
    let crew = Crew {
        client,
        output: Arc::clone(&context.output),
        progress: context.output.progress(),
        moving,
        resume: args.resume,
        how: Arc::new(how),
        jobs: args.jobs,
    };
    if let ([source], false) = (&places[..], args.recursive) {
        let job = plan::single(&crew.client, source, &target, false).await?;
        return one(context, &crew, job).await;
    }
    many(context, &crew, &places, &target, args.recursive).await
}

/// Has the one source mean a version that need not be current.
fn pick_version(places: &mut [Location], args: &CpArgs, moving: bool) -> Result<(), Failure> {
    match places {
        [Location::Remote(from)] if !moving && !args.recursive && !from.key.is_empty() => {
            from.generation = args.generation;
            Ok(())
        }
        _ => Err(Failure::Usage(
            "--version goes with cp and exactly one source, as m://bucket/key",
        )),
    }
}

/// The standard streams have neither size nor name: they are no jobs.
async fn streams(
    client: &Client,
    sources: &[Location],
    target: &Location,
    how: &How,
    moving: bool,
) -> Option<Result<(), Failure>> {
    let piped = sources.contains(&Location::Pipe) || *target == Location::Pipe;
    let result = match (sources, target) {
        _ if !piped => return None,
        _ if moving => Err(Failure::Usage("the standard streams cannot be moved")),
        ([Location::Pipe], Location::Remote(to)) if !to.key.is_empty() => {
            let body = PutBody::reader(tokio::io::stdin());
            match how.put_options(None).await {
                Ok(options) => put(client, body, to, options).await.map(|_| ()),
                Err(failure) => Err(failure),
            }
        }
        ([Location::Remote(from)], Location::Pipe) if !from.key.is_empty() => {
            let wanted = how.read_conditions();
            write_out(client, from, &wanted, None, io::stdout()).await
        }
        _ => Err(Failure::Usage(
            "- goes with exactly one object, as in: marram cp - m://bucket/key",
        )),
    };
    Some(result)
}

fn check(sources: &[Location], target: &Location, recursive: bool) -> Result<(), Failure> {
    if let (Location::Local(path), true) = (target, sources.len() > 1)
        && !recursive
        && !path.is_dir()
    {
        return Err(Failure::NotFolder(path.clone()));
    }
    for source in sources {
        match (source, target) {
            (Location::Local(_), Location::Local(_)) => {
                return Err(Failure::Usage(
                    "source or target must be in the cluster, as m://bucket/key",
                ));
            }
            (Location::Remote(from), Location::Remote(to)) if recursive => {
                let (from, to) = (from.with_key(from.folder()), to.with_key(to.folder()));
                if from.bucket == to.bucket && to.key.starts_with(&from.key) {
                    return Err(Failure::SamePlace(from.to_string()));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The buckets that a command names.
fn buckets(sources: &[Location], target: &Location) -> Vec<String> {
    let mut names: Vec<String> = sources
        .iter()
        .chain([target])
        .filter_map(|place| match place {
            Location::Remote(remote) => Some(remote.bucket.clone()),
            Location::Local(_) | Location::Pipe => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// One file: its failure is the failure of the command, with the exit code it has.
async fn one(context: &Context<'_>, crew: &Crew, job: Job) -> Result<(), Failure> {
    let began = Instant::now();
    let tally = crew.single(job).await?;
    report(context, &tally, began)
}

async fn many(
    context: &Context<'_>,
    crew: &Crew,
    sources: &[Location],
    target: &Location,
    recursive: bool,
) -> Result<(), Failure> {
    let began = Instant::now();
    let (to, orders) = mpsc::channel(JOBS_AHEAD);
    let client = &crew.client;
    let find = async move {
        for source in sources {
            let is_folder = matches!(source, Location::Local(path) if path.is_dir());
            if recursive && (is_folder || matches!(source, Location::Remote(_))) {
                plan::recursive(client, source, target, &to).await?;
                continue;
            }
            let order = match plan::single(client, source, target, true).await {
                Ok(job) => Order::Do(job),
                Err(failure) => Order::Failed(failure),
            };
            if to.send(order).await.is_err() {
                break;
            }
        }
        Ok::<(), Failure>(())
    };
    let (found, tally) = tokio::join!(find, crew.work(orders));
    report(context, &tally, began)?;
    found.and_then(|()| tally.verdict())
}

/// Says what was done; without a person looking only when JSON was asked for.
fn report(context: &Context<'_>, tally: &Tally, began: Instant) -> Result<(), Failure> {
    if context.output.json {
        return context.output.value(tally);
    }
    if !context.output.quiet && io::IsTerminal::is_terminal(&io::stderr()) {
        let (copied, bytes) = (tally.copied, size(tally.bytes));
        let seconds = began.elapsed().as_secs_f64();
        eprintln!("{copied} copied, {bytes} in {seconds:.1} s");
    }
    Ok(())
}

/// The key below a target: its own, or the source's name below it when it is a folder.
fn key_below(target: &Remote, name: &str, as_folder: bool) -> Remote {
    if as_folder || target.key.is_empty() || target.key.ends_with('/') {
        target.with_key(format!("{}{name}", target.folder()))
    } else {
        target.clone()
    }
}

/// True when a path of this machine is meant as a folder.
fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// Where a link of this machine leads: the file there is replaced, not the link.
fn resolved(path: PathBuf) -> PathBuf {
    fs::canonicalize(&path).unwrap_or(path)
}
