//! `marram tags` and `marram describe`.

use std::collections::BTreeMap;

use marram_client::Description;
use serde_json::json;

use crate::cli::{DescribeArgs, TagsCommand};
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::printable;
use crate::transfer::pairs;

/// Shows or changes the tags of an object.
pub(super) async fn tags(context: &Context<'_>, command: TagsCommand) -> Result<(), Failure> {
    let (TagsCommand::Ls(target)
    | TagsCommand::Rm { target, .. }
    | TagsCommand::Set { target, .. }) = &command;
    let place = Remote::parse_object(&target.object)?;
    let name = (place.bucket.as_str(), place.key.as_str());
    let version = target.generation;
    let client = context.client()?;
    let changed = match command {
        TagsCommand::Ls(_) => {
            let tags = client.tags(name.0, name.1, version).await;
            return show(context, &tags.map_err(Failure::at(&place))?);
        }
        TagsCommand::Set {
            tags, conditions, ..
        } => {
            let tags = pairs("tag", tags)?;
            let wanted = conditions.preconditions();
            client.set_tags(name, version, tags, &wanted).await
        }
        TagsCommand::Rm { conditions, .. } => {
            let wanted = conditions.preconditions();
            client.delete_tags(name, version, &wanted).await
        }
    };
    let generation = changed.map_err(Failure::at(&place))?;
    if context.output.json {
        return context.output.value(&json!({ "generation": generation }));
    }
    Ok(())
}

fn show(context: &Context<'_>, tags: &BTreeMap<String, String>) -> Result<(), Failure> {
    if context.output.json {
        return context.output.value(tags);
    }
    for (key, value) in tags {
        let line = printable(&format!("{key}={value}"));
        context.output.line(&line)?;
    }
    Ok(())
}

/// Gives an object another media type, or other metadata.
pub(super) async fn describe(context: &Context<'_>, args: DescribeArgs) -> Result<(), Failure> {
    let place = Remote::parse_object(&args.object)?;
    let given = pairs("metadata", args.what.metadata)?;
    let description = Description {
        content_type: args.what.content_type,
        metadata: (!given.is_empty() || args.what.no_metadata).then_some(given),
    };
    let preconditions = args.conditions.preconditions();
    let name = (place.bucket.as_str(), place.key.as_str());
    let client = context.client()?;
    let done = client.describe(name, description, &preconditions).await;
    let generation = done.map_err(Failure::at(&place))?;
    if context.output.json {
        return context.output.value(&json!({ "generation": generation }));
    }
    if !context.output.quiet {
        context
            .output
            .line(&format!("{place} has generation {generation} now"))?;
    }
    Ok(())
}
