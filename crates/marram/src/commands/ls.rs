//! `marram ls`.

use marram_client::{ListPage, ListQuery, ObjectSummary};
use serde_json::json;

use crate::cli::LsArgs;
use crate::commands::{Context, versions};
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::{Output, printable};
use crate::units::date;

/// Lists buckets, or the objects below a prefix.
pub(super) async fn run(context: &Context<'_>, args: LsArgs) -> Result<(), Failure> {
    match args.location.as_deref() {
        None | Some("m://") if args.versions => Err(Failure::Usage(
            "--versions goes with a bucket, as m://bucket",
        )),
        None | Some("m://") => buckets(context).await,
        Some(location) if args.versions => {
            versions::list(context, &Remote::parse(location)?, args.recursive).await
        }
        Some(location) => objects(context, &Remote::parse(location)?, args.recursive).await,
    }
}

async fn buckets(context: &Context<'_>) -> Result<(), Failure> {
    let buckets = context
        .client()?
        .list_buckets("")
        .await
        .map_err(Failure::at("m://"))?;
    for bucket in buckets {
        if context.output.json {
            context.output.value(&bucket)?;
        } else {
            let line = format!(
                "{}  {:>6}  m://{}",
                date(bucket.created_ms),
                bucket.profile,
                bucket.name
            );
            context.output.line(&line)?;
        }
    }
    Ok(())
}

async fn objects(context: &Context<'_>, below: &Remote, recursive: bool) -> Result<(), Failure> {
    let delimiter = if recursive { "" } else { "/" };
    let query = ListQuery {
        prefix: below.key.clone(),
        delimiter: delimiter.to_owned(),
        ..ListQuery::default()
    };
    let mut pages = context.client()?.list(&below.bucket, query);
    while let Some(page) = pages.next().await.map_err(Failure::at(below))? {
        print(&context.output, page)?;
    }
    Ok(())
}

/// Objects and prefixes of a page, merged into the order of their bytes.
fn print(output: &Output, page: ListPage) -> Result<(), Failure> {
    let mut prefixes = page.prefixes.into_iter().peekable();
    for object in page.objects {
        while let Some(prefix) = prefixes.next_if(|prefix| *prefix < object.key) {
            print_prefix(output, &prefix)?;
        }
        print_object(output, &object)?;
    }
    prefixes.try_for_each(|prefix| print_prefix(output, &prefix))
}

fn print_object(output: &Output, object: &ObjectSummary) -> Result<(), Failure> {
    if output.json {
        return output.value(object);
    }
    let (date, key) = (date(object.modified_ms), printable(&object.key));
    output.line(&format!("{date}  {:>14}  {key}", object.size))
}

fn print_prefix(output: &Output, prefix: &str) -> Result<(), Failure> {
    if output.json {
        return output.value(&json!({ "prefix": prefix }));
    }
    output.line(&format!("{:19}  {:>14}  {}", "", "-", printable(prefix)))
}
