//! `marram lifecycle`.

mod file;

use std::path::Path;

use marram_client::{LifecycleAction, LifecycleItem, LifecycleRule, LifecycleTotal};
use serde_json::json;

use crate::cli::{LifecycleArgs, LifecycleCommand};
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::{Output, printable};
use crate::units::size;

/// Shows, sets, removes or tries a bucket's rules.
pub(super) async fn run(context: &Context<'_>, args: LifecycleArgs) -> Result<(), Failure> {
    let bucket = Remote::parse_bucket(&args.bucket)?;
    let client = context.client()?;
    match args.command.unwrap_or(LifecycleCommand::Get) {
        LifecycleCommand::Get => {
            let rules = client.lifecycle(&bucket).await;
            let rules = rules.map_err(Failure::at(&args.bucket))?;
            if context.output.json {
                return context.output.value(&file::RuleFile::of(rules));
            }
            context.output.line(file::write(rules)?.trim_end())
        }
        LifecycleCommand::Set { file } => {
            let rules = file::read(&file)?;
            set(context, (&args.bucket, &bucket), rules).await
        }
        LifecycleCommand::Remove => set(context, (&args.bucket, &bucket), Vec::new()).await,
        LifecycleCommand::DryRun { file, at, summary } => {
            let asked = (file.as_deref(), at, summary);
            dry_run(context, (&args.bucket, &bucket), asked).await
        }
    }
}

async fn set(
    context: &Context<'_>,
    (place, bucket): (&str, &str),
    rules: Vec<LifecycleRule>,
) -> Result<(), Failure> {
    let count = rules.len();
    let set = context.client()?.set_lifecycle(bucket, rules).await;
    set.map_err(Failure::at(place))?;
    let told = json!({ "bucket": bucket, "rules": count });
    context.output.done(&told, || match count {
        0 => format!("m://{bucket}: nothing goes by itself"),
        1 => format!("m://{bucket}: 1 rule is set"),
        many => format!("m://{bucket}: {many} rules are set"),
    })
}

async fn dry_run(
    context: &Context<'_>,
    (place, bucket): (&str, &str),
    (rules, at, summary): (Option<&Path>, Option<i64>, bool),
) -> Result<(), Failure> {
    let rules = rules.map(file::read).transpose()?;
    let client = context.client()?;
    let preview = client.preview_lifecycle(bucket, rules, at).await;
    let mut preview = preview.map_err(Failure::at(place))?;
    while let Some(page) = preview.next().await.map_err(Failure::at(place))? {
        if !summary {
            for item in &page.items {
                show(&context.output, item)?;
            }
        }
        for total in &page.totals {
            sum(&context.output, total)?;
        }
    }
    Ok(())
}

fn named(action: LifecycleAction) -> &'static str {
    match action {
        LifecycleAction::Expire => "expire",
        LifecycleAction::ExpireNoncurrent => "expire old version",
        LifecycleAction::RemoveMarker => "remove marker",
        LifecycleAction::AbortUpload => "abort upload",
    }
}

fn show(output: &Output, item: &LifecycleItem) -> Result<(), Failure> {
    if output.json {
        return output.value(item);
    }
    let (action, key, rule) = (
        named(item.action),
        printable(&item.key),
        printable(&item.rule),
    );
    let which = match item.action {
        LifecycleAction::AbortUpload => item.upload_id.clone(),
        _ => item.generation.to_string(),
    };
    let bytes = item.bytes;
    output.line(&format!(
        "{action:18}  {bytes:>14}  {which:>12}  {key}  ({rule})"
    ))
}

fn sum(output: &Output, total: &LifecycleTotal) -> Result<(), Failure> {
    if output.json {
        return output.value(&json!({ "total": total }));
    }
    let (count, bytes) = (total.count, size(total.bytes));
    let (rule, action) = (printable(&total.rule), named(total.action));
    output.line(&format!("rule {rule}: {action}: {count}, {bytes}"))
}
