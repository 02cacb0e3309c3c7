//! `marram versioning`, `marram restore`, and the versions that `marram ls` and `marram rm` work on.

use marram_client::{
    BucketUsage, Client, CopyOptions, ObjectVersion, Preconditions, VersionPage, VersionQuery,
    Versioning,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::cli::{RestoreArgs, VersioningArgs, VersioningState};
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::{Output, printable};
use crate::transfer::{Job, Order};
use crate::units::{date, size};

/// Says or changes whether a bucket keeps versions.
pub(super) async fn versioning(context: &Context<'_>, args: VersioningArgs) -> Result<(), Failure> {
    let bucket = Remote::parse_bucket(&args.bucket)?;
    let client = context.client()?;
    let info = match args.state {
        VersioningState::Status => client.head_bucket(&bucket).await,
        VersioningState::On => client.set_versioning(&bucket, Versioning::On).await,
        VersioningState::Suspend => client.set_versioning(&bucket, Versioning::Suspended).await,
    };
    let info = info.map_err(Failure::at(&args.bucket))?;
    let usage = client.bucket_usage(&bucket).await;
    let usage = usage.map_err(Failure::at(&args.bucket))?;
    let told = json!({ "bucket": bucket, "versioning": info.versioning, "usage": usage });
    context.output.done(&told, || {
        let kept = kept(&usage);
        format!("m://{bucket}: versioning is {}; {kept}", info.versioning)
    })
}

/// What a bucket keeps beside its objects, for people.
pub(super) fn kept(usage: &BucketUsage) -> String {
    format!(
        "{} older versions of {} and {} delete markers are kept",
        usage.noncurrent_versions,
        size(usage.noncurrent_bytes),
        usage.delete_markers
    )
}

/// Lists versions and delete markers below a prefix.
pub(super) async fn list(
    context: &Context<'_>,
    below: &Remote,
    recursive: bool,
) -> Result<(), Failure> {
    let query = VersionQuery {
        prefix: below.key.clone(),
        delimiter: if recursive { "" } else { "/" }.to_owned(),
        ..VersionQuery::default()
    };
    let mut pages = context.client()?.list_versions(&below.bucket, query);
    while let Some(page) = pages.next().await.map_err(Failure::at(below))? {
        print(&context.output, page)?;
    }
    Ok(())
}

/// Versions and prefixes of a page, merged into the order of their bytes.
fn print(output: &Output, page: VersionPage) -> Result<(), Failure> {
    let mut prefixes = page.prefixes.into_iter().peekable();
    for version in page.versions {
        while let Some(prefix) = prefixes.next_if(|prefix| *prefix < version.key) {
            print_prefix(output, &prefix)?;
        }
        print_version(output, &version)?;
    }
    prefixes.try_for_each(|prefix| print_prefix(output, &prefix))
}

fn print_version(output: &Output, version: &ObjectVersion) -> Result<(), Failure> {
    if output.json {
        return output.value(version);
    }
    let bytes = match version.delete_marker {
        true => "deleted".to_owned(),
        false => version.size.to_string(),
    };
    let (date, key) = (date(version.modified_ms), printable(&version.key));
    let mut line = format!("{date}  {bytes:>14}  {:>12}  {key}", version.generation);
    if version.is_current {
        line.push_str("  (current)");
    }
    output.line(&line)
}

fn print_prefix(output: &Output, prefix: &str) -> Result<(), Failure> {
    if output.json {
        return output.value(&json!({ "prefix": prefix }));
    }
    let prefix = printable(prefix);
    output.line(&format!("{:19}  {:>14}  {:>12}  {prefix}", "", "-", ""))
}

/// Brings an object back: an old version is copied to a new one, or, without a version, the delete
/// markers that hide the newest version are removed.
pub(super) async fn restore(context: &Context<'_>, args: RestoreArgs) -> Result<(), Failure> {
    let place = Remote::parse_object(&args.object)?;
    let client = context.client()?;
    let (generation, removed) = match args.generation {
        Some(generation) => (copy_back(&client, &place, generation).await?, 0),
        None => unmark(&client, &place).await?,
    };
    let told = json!({
        "bucket": place.bucket,
        "key": place.key,
        "generation": generation,
        "from": args.generation,
        "markers_removed": removed,
    });
    context
        .output
        .done(&told, || match (args.generation, removed) {
            (Some(from), _) => {
                format!("{place} is generation {generation} now, a copy of {from}")
            }
            (None, 0) => format!("{place} is not deleted; its generation is {generation}"),
            (None, _) => format!("{place} is generation {generation} again"),
        })
}

/// The new current version, a copy of an old one with its metadata.
async fn copy_back(client: &Client, place: &Remote, generation: u64) -> Result<u64, Failure> {
    let options = CopyOptions {
        source_generation: Some(generation),
        ..CopyOptions::default()
    };
    let object = (place.bucket.as_str(), place.key.as_str());
    let copied = client.copy(object, object, options).await;
    Ok(copied.map_err(Failure::at(place))?.target.generation)
}

/// Removes the markers that are newer than any version. Says which generation is current then, and how
/// many there were.
async fn unmark(client: &Client, place: &Remote) -> Result<(u64, u64), Failure> {
    let mut markers = Vec::new();
    let mut pages = client.list_versions(
        &place.bucket,
        VersionQuery {
            prefix: place.key.clone(),
            ..VersionQuery::default()
        },
    );
    let newest = loop {
        let page = pages.next().await.map_err(Failure::at(place))?;
        let Some(page) = page else { break None };
        let of_key = page.versions.into_iter().take_while(|v| v.key == place.key);
        let (mut seen, mut version) = (false, None);
        for found in of_key {
            seen = true;
            match found.delete_marker {
                true => markers.push(found.generation),
                false => {
                    version = Some(found.generation);
                    break;
                }
            }
        }
        if version.is_some() || !seen {
            break version;
        }
    };
    // Nothing is removed where nothing is there to come back.
    let newest = newest.ok_or_else(|| Failure::NothingThere(place.to_string()))?;
    // The oldest first: until the last one is gone the object is as it was.
    for generation in markers.iter().rev() {
        client
            .delete_version(
                &place.bucket,
                &place.key,
                Some(*generation),
                &Preconditions::default(),
            )
            .await
            .map_err(Failure::at(place))?;
    }
    Ok((newest, markers.len() as u64))
}

/// Finds all versions and markers below a prefix, to be deleted for good.
pub(super) async fn below(
    client: &Client,
    place: &Remote,
    to: mpsc::Sender<Order>,
) -> Result<(), Failure> {
    let query = VersionQuery {
        prefix: place.key.clone(),
        ..VersionQuery::default()
    };
    let mut pages = client.list_versions(&place.bucket, query);
    while let Some(page) = pages.next().await.map_err(Failure::at(place))? {
        for version in page.versions {
            let job = Job::DeleteVersion {
                place: Remote {
                    generation: Some(version.generation),
                    ..place.with_key(version.key)
                },
            };
            if to.send(Order::Do(job)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
