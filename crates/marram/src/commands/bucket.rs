//! `marram mb` and `marram rb`.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;

use crate::cli::{MbArgs, RbArgs};
use crate::commands::{Context, versions};
use crate::failure::Failure;
use crate::location::Remote;
use crate::transfer::{Crew, JOBS_AHEAD};

/// Deletions at once under `rb --force`.
const JOBS: u16 = 16;

/// Makes a bucket.
pub(super) async fn make(context: &Context<'_>, args: MbArgs) -> Result<(), Failure> {
    let bucket = Remote::parse_bucket(&args.bucket)?;
    let made = context
        .client()?
        .create_bucket(&bucket, args.profile.as_deref())
        .await
        .map_err(Failure::at(&args.bucket))?;
    context.output.done(&made, || {
        format!("m://{} made, profile {}", made.name, made.profile)
    })
}

/// Removes a bucket, with `--force` after emptying it.
pub(super) async fn remove(context: &Context<'_>, args: RbArgs) -> Result<(), Failure> {
    let bucket = Remote::parse_bucket(&args.bucket)?;
    let client = context.client()?;
    if args.force {
        let crew = Crew {
            client: client.clone(),
            output: Arc::clone(&context.output),
            progress: context.output.progress(),
            moving: false,
            resume: false,
            how: Arc::default(),
            jobs: JOBS,
        };
        let all = Remote {
            bucket: bucket.clone(),
            key: String::new(),
            generation: None,
        };
        let (to, orders) = mpsc::channel(JOBS_AHEAD);
        let (found, tally) = tokio::join!(versions::below(&client, &all, to), crew.work(orders));
        found?;
        tally.verdict()?;
    }
    client
        .delete_bucket(&bucket)
        .await
        .map_err(Failure::at(&args.bucket))?;
    let told = json!({ "name": bucket, "removed": true });
    context
        .output
        .done(&told, || format!("m://{bucket} removed"))
}
