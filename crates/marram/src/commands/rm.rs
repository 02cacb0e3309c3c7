//! `marram rm`.

use std::sync::Arc;

use marram_client::{Client, ListQuery};
use serde_json::json;
use tokio::sync::mpsc;

use crate::cli::RmArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::transfer::{Crew, JOBS_AHEAD, Job, Order, delete};

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
    let crew = Crew {
        client: client.clone(),
        output: Arc::clone(&context.output),
        progress: context.output.progress(),
        moving: false,
        jobs,
    };
    let (to, orders) = mpsc::channel(JOBS_AHEAD);
    let find = async move {
        for place in places {
            below(&client, place, to.clone()).await?;
        }
        Ok(())
    };
    let (found, tally) = tokio::join!(find, crew.work(orders));
    let told = || format!("{} deleted", tally.deleted);
    context.output.done(&tally, told)?;
    found.and_then(|()| tally.verdict())
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
