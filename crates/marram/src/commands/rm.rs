//! `marram rm`.

use marram_client::{Client, ListQuery, Preconditions};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use crate::cli::RmArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::Progress;
use crate::transfer::{Job, Order, Tally, delete};

/// Objects of one call.
const BATCH_MAX: usize = 500;

/// Deletes objects, or with `-r` everything below prefixes.
pub(super) async fn run(context: &Context<'_>, args: RmArgs) -> Result<(), Failure> {
    let parse = if args.recursive {
        Remote::parse
    } else {
        Remote::parse_object
    };
    let places: Vec<Remote> = args
        .locations
        .iter()
        .map(|text| parse(text))
        .collect::<Result<_, _>>()?;
    let client = context.client()?;
    if args.recursive {
        return recursive(context, client, &places, args.jobs).await;
    }
    for place in &places {
        let existed = delete(&client, place, None).await?;
        if !existed && !args.force {
            return Err(Failure::NothingThere(place.to_string()));
        }
        let told = json!({ "bucket": place.bucket, "key": place.key, "deleted": existed });
        if context.output.json {
            context.output.value(&told)?;
        }
    }
    Ok(())
}

async fn recursive(
    context: &Context<'_>,
    client: Client,
    places: &[Remote],
    jobs: u16,
) -> Result<(), Failure> {
    let progress = context.output.progress();
    let (mut tally, mut running) = (Tally::default(), JoinSet::new());
    let mut found = Ok(());
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
                count(done, context, &progress, &mut tally);
            }
            let keys = page.objects.into_iter().map(|object| object.key).collect();
            running.spawn(batch(client.clone(), place.clone(), keys));
        }
    }
    while let Some(done) = running.join_next().await {
        count(done, context, &progress, &mut tally);
    }
    progress.finish();
    let told = || format!("{} deleted", tally.deleted);
    context.output.done(&tally, told)?;
    found.and_then(|()| tally.verdict())
}

/// What came of a batch: failures, and how many were deleted.
type Batch = (Vec<Failure>, u64);

/// Deletes the objects of one page. What was deleted meanwhile by others counts as deleted.
async fn batch(client: Client, place: Remote, keys: Vec<String>) -> Batch {
    let named: Vec<_> = keys
        .into_iter()
        .map(|key| (key, Preconditions::default()))
        .collect();
    let (mut failures, mut deleted) = (Vec::new(), 0);
    // A page of the longest keys is more than one call takes.
    for part in named.chunks(BATCH_MAX) {
        match client.delete_many(&place.bucket, part).await {
            Err(error) => failures.push(Failure::at(&place)(error)),
            Ok(results) => {
                for ((key, _), result) in part.iter().zip(results) {
                    match result {
                        Ok(_) => deleted += 1,
                        Err(error) => {
                            failures.push(Failure::at(place.with_key(key.as_str()))(error));
                        }
                    }
                }
            }
        }
    }
    (failures, deleted)
}

/// Counts a batch and tells its failures.
fn count(
    done: Result<Batch, JoinError>,
    context: &Context<'_>,
    progress: &Progress,
    tally: &mut Tally,
) {
    // A task that panicked has told so itself.
    let Ok((failures, deleted)) = done else {
        tally.failed += 1;
        return;
    };
    tally.deleted += deleted;
    for failure in failures {
        tally.failed += 1;
        progress.aside(|| failure.tell(context.output.json));
    }
}

/// Finds everything to delete below a prefix. The prefix is taken as it stands, as `ls -r` takes
/// it: what that shows is what goes.
pub(super) async fn below(
    client: &Client,
    place: &Remote,
    to: mpsc::Sender<Order>,
) -> Result<(), Failure> {
    let mut pages = client.list(&place.bucket, ListQuery::all(&place.key));
    while let Some(page) = pages.next().await.map_err(Failure::at(place))? {
        for object in page.objects {
            let job = Job::DeleteObject {
                place: place.with_key(object.key),
                generation: None,
            };
            if to.send(Order::Do(job)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
