//! `marram watch`.

use marram_client::{ObjectEvent, WatchBatch, WatchOptions};
use serde::Serialize;

use crate::cli::WatchArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::printable;
use crate::units::date;

/// An event as JSON. Who goes on from its revision hears of everything behind it, and perhaps of what
/// came in the same message again.
#[derive(Serialize)]
struct Told<'a> {
    bucket: &'a str,
    #[serde(flatten)]
    event: &'a ObjectEvent,
    revision: &'a str,
}

/// A bookmark as JSON.
#[derive(Serialize)]
struct Bookmark<'a> {
    bucket: &'a str,
    revision: &'a str,
}

/// Says where to go on, however the watch ends, where a person reads it.
struct GoOn {
    revision: Option<String>,
    told: bool,
}

impl Drop for GoOn {
    fn drop(&mut self) {
        if let Some(revision) = self.revision.take().filter(|_| self.told) {
            eprintln!("to go on from here: --from {revision}");
        }
    }
}

/// Prints what happens until it is interrupted, or so many events were told.
pub(super) async fn run(context: &Context<'_>, args: WatchArgs) -> Result<(), Failure> {
    let below = Remote::parse(&args.location)?;
    let options = WatchOptions {
        prefix: below.key.clone(),
        from: args.from.clone(),
        bookmarks: args.bookmarks,
    };
    let mut watch = context.client()?.watch(&below.bucket, options);
    let output = &context.output;
    let mut go_on = GoOn {
        revision: args.from,
        told: !output.json && !output.quiet,
    };
    let mut left = args.count;
    loop {
        let batch = watch.next().await.map_err(Failure::at(&below))?;
        let WatchBatch { events, revision } = batch;
        let last = events.len();
        for (number, event) in (1..).zip(&events) {
            let before = go_on.revision.as_deref().unwrap_or_default();
            let behind = if number == last { &revision } else { before };
            if output.json {
                output.value(&Told {
                    bucket: &below.bucket,
                    event,
                    revision: behind,
                })?;
            } else {
                output.line(&line(&below.bucket, event))?;
            }
            left = left.map(|left| left.saturating_sub(1));
            if left == Some(0) {
                go_on.revision = Some(behind.to_owned());
                return output.flush();
            }
        }
        if events.is_empty() && output.json {
            output.value(&Bookmark {
                bucket: &below.bucket,
                revision: &revision,
            })?;
        }
        output.flush()?;
        go_on.revision = Some(revision);
    }
}

fn line(bucket: &str, event: &ObjectEvent) -> String {
    let key = printable(&event.key);
    let (date, kind) = (
        date(i64::try_from(event.time_ms).unwrap_or(i64::MAX)),
        event.kind.name(),
    );
    let (generation, size) = (event.generation, event.size);
    format!("{date}  {kind:<8}  {generation:>12}  {size:>14}  m://{bucket}/{key}")
}
