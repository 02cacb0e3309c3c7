//! `marram rm`.

use std::sync::Arc;

use marram_client::{Client, ListQuery, Preconditions};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use crate::cli::RmArgs;
use crate::commands::{Context, versions};
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::Progress;
use crate::transfer::{Crew, JOBS_AHEAD, Tally, delete};

/// Objects of one call.
const BATCH_MAX: usize = 500;

/// Deletes objects, or with `-r` everything below prefixes.
pub(super) async fn run(context: &Context<'_>, args: RmArgs) -> Result<(), Failure> {
    let parse = if args.recursive {
        Remote::parse
    } else {
        Remote::parse_object
    };
    let mut places: Vec<Remote> = args
        .locations
        .iter()
        .map(|text| parse(text))
        .collect::<Result<_, _>>()?;
    match (&mut places[..], args.generation) {
        (_, None) => {}
        ([place], generation) => place.generation = generation,
        _ => return Err(Failure::Usage("--version goes with exactly one object")),
    }
    if args.conditions.are_given() && (args.recursive || places.len() > 1) {
        return Err(Failure::Usage(
            "conditions go with exactly one object, and not with -r",
        ));
    }
    let wanted = args.conditions.preconditions();
    let client = context.client()?;
    if args.all_versions {
        return all_versions(context, client, &places, args.jobs).await;
    }
    if args.recursive {
        return recursive(context, client, &places, args.jobs).await;
    }
    for place in &places {
        let done = delete(&client, place, &wanted).await?;
        let marked = done.delete_marker && place.generation.is_none();
        if !done.existed && !marked && !args.force {
            return Err(Failure::NothingThere(place.to_string()));
        }
        let told = json!({
            "bucket": place.bucket,
            "key": place.key,
            "deleted": done.existed,
            "delete_marker": done.delete_marker,
            "generation": done.generation,
        });
        if context.output.json {
            context.output.value(&told)?;
        } else if marked && !context.output.quiet {
            // The versions are there: who meant to free room must know.
            let generation = done.generation;
            context.output.line(&format!(
                "{place} is hidden by delete marker {generation}; `marram ls --versions` shows what is kept"
            ))?;
        }
    }
    Ok(())
}

/// Deletes all versions and markers below prefixes, for good.
async fn all_versions(
    context: &Context<'_>,
    client: Client,
    places: &[Remote],
    jobs: u16,
) -> Result<(), Failure> {
    let crew = Crew {
        client: client.clone(),
        output: Arc::clone(&context.output),
        progress: context.output.progress(),
        moving: false,
        resume: false,
        how: Arc::default(),
        jobs,
    };
    let (to, orders) = mpsc::channel(JOBS_AHEAD);
    let find = async {
        for place in places {
            versions::below(&client, place, to.clone()).await?;
        }
        drop(to);
        Ok::<(), Failure>(())
    };
    let (found, tally) = tokio::join!(find, crew.work(orders));
    let told = || format!("{} versions and markers deleted", tally.deleted);
    context.output.done(&tally, told)?;
    found.and_then(|()| tally.verdict())
}

async fn recursive(
    context: &Context<'_>,
    client: Client,
    places: &[Remote],
    jobs: u16,
) -> Result<(), Failure> {
    let progress = context.output.progress();
    let (mut tally, mut running) = (Tally::default(), JoinSet::new());
    let (mut found, mut marked) = (Ok(()), 0);
    for place in places {
        let mut pages = client.list(&place.bucket, ListQuery::all(&place.key));
        while found.is_ok() {
            let page = match pages.next().await.map_err(Failure::at(place)) {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(failure) => {
                    found = Err(failure);
                    break;
                }
            };
            if running.len() >= usize::from(jobs)
                && let Some(done) = running.join_next().await
            {
                marked += count(done, context, &progress, &mut tally);
            }
            let keys = page.objects.into_iter().map(|object| object.key).collect();
            running.spawn(batch(client.clone(), place.clone(), keys));
        }
    }
    while let Some(done) = running.join_next().await {
        marked += count(done, context, &progress, &mut tally);
    }
    progress.finish();
    let told = || match marked {
        0 => format!("{} deleted", tally.deleted),
        marked => format!(
            "{} deleted; {marked} of them are hidden by delete markers: `marram ls --versions` shows what is kept",
            tally.deleted
        ),
    };
    context.output.done(&tally, told)?;
    found.and_then(|()| tally.verdict())
}

/// What came of a batch.
#[derive(Default)]
struct Batch {
    failures: Vec<Failure>,
    deleted: u64,
    /// Those of them that are hidden by a delete marker.
    marked: u64,
}

/// Deletes the objects of one page. What was deleted meanwhile by others counts as deleted.
async fn batch(client: Client, place: Remote, keys: Vec<String>) -> Batch {
    let named: Vec<_> = keys
        .into_iter()
        .map(|key| (key, Preconditions::default()))
        .collect();
    let mut done = Batch::default();
    // A page of the longest keys is more than one call takes.
    for part in named.chunks(BATCH_MAX) {
        match client.delete_many(&place.bucket, part).await {
            Err(error) => done.failures.push(Failure::at(&place)(error)),
            Ok(results) => {
                for ((key, _), result) in part.iter().zip(results) {
                    match result {
                        Ok(told) => {
                            done.deleted += 1;
                            done.marked += u64::from(told.delete_marker);
                        }
                        Err(error) => {
                            let place = place.with_key(key.as_str());
                            done.failures.push(Failure::at(place)(error));
                        }
                    }
                }
            }
        }
    }
    done
}

/// Counts a batch and tells its failures; returns how many were hidden by delete markers.
fn count(
    done: Result<Batch, JoinError>,
    context: &Context<'_>,
    progress: &Progress,
    tally: &mut Tally,
) -> u64 {
    // A task that panicked has told so itself.
    let Ok(batch) = done else {
        tally.failed += 1;
        return 0;
    };
    tally.deleted += batch.deleted;
    for failure in batch.failures {
        tally.failed += 1;
        progress.aside(|| failure.tell(context.output.json));
    }
    batch.marked
}
