//! `marram tags` and `marram describe`.

use std::collections::BTreeMap;

use marram_client::{Description, Preconditions};
use serde_json::json;

use crate::cli::{DescribeArgs, TagsCommand};
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::printable;

/// Shows or changes the tags of an object.
pub(super) async fn tags(context: &Context<'_>, command: TagsCommand) -> Result<(), Failure> {
    let (TagsCommand::Ls(target) | TagsCommand::Rm(target) | TagsCommand::Set { target, .. }) =
        &command;
    let place = Remote::parse_object(&target.object)?;
    let name = (place.bucket.as_str(), place.key.as_str());
    let version = target.generation;
    let client = context.client()?;
    let always = Preconditions::default();
    let changed = match command {
        TagsCommand::Ls(_) => {
            let tags = client.tags(name.0, name.1, version).await;
            return show(context, &tags.map_err(Failure::at(&place))?);
        }
        TagsCommand::Set { tags, .. } => {
            let tags = pairs("tag", tags)?;
            client.set_tags(name, version, tags, &always).await
        }
        TagsCommand::Rm(_) => client.delete_tags(name, version, &always).await,
    };
    let generation = changed.map_err(Failure::at(&place))?;
    if context.output.json {
        return context.output.value(&json!({ "generation": generation }));
    }
    Ok(())
}

/// Pairs of the command line, each name once.
pub(super) fn pairs(
    what: &'static str,
    given: Vec<(String, String)>,
) -> Result<BTreeMap<String, String>, Failure> {
    let count = given.len();
    let pairs: BTreeMap<_, _> = given.into_iter().collect();
    if pairs.len() < count {
        return Err(Failure::Twice(what));
    }
    Ok(pairs)
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
    let preconditions = Preconditions {
        if_generation_match: args.if_generation_match,
        ..Preconditions::default()
    };
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
