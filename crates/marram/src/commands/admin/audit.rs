//! `marram admin audit`.

use marram_client::Client;
use serde::Serialize;

use crate::cli::AuditArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::printable;

/// Keys that are kept for the answer in JSON, of each kind.
const KEYS_KEPT: usize = 10_000;

/// What was found in all.
#[derive(Debug, Default, Serialize)]
struct Found {
    checked: u64,
    degraded: u64,
    lost: u64,
    unknown: u64,
    /// The first of them.
    lost_objects: Vec<String>,
    unknown_objects: Vec<String>,
}

/// Looks at every object, says which are lost, and fails when one is.
pub(super) async fn run(context: &Context<'_>, args: AuditArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let buckets = match &args.bucket {
        Some(bucket) => vec![Remote::parse_bucket(bucket)?],
        None => {
            let all = client.list_buckets("").await;
            let all = all.map_err(Failure::at("cluster"))?;
            all.into_iter().map(|bucket| bucket.name).collect()
        }
    };
    let mut found = Found::default();
    for bucket in &buckets {
        audit(context, &client, bucket, &mut found).await?;
    }
    context.output.done(&found, || {
        format!(
            "{} objects: {} have fewer shards than they should, {} may be lost with nodes that do \
             not answer, {} are lost",
            found.checked, found.degraded, found.unknown, found.lost
        )
    })?;
    match found.lost {
        0 => Ok(()),
        lost => Err(Failure::Lost(lost)),
    }
}

async fn audit(
    context: &Context<'_>,
    client: &Client,
    bucket: &str,
    found: &mut Found,
) -> Result<(), Failure> {
    let mut token = String::new();
    loop {
        let page = client.audit_objects(bucket, &token).await;
        let page = page.map_err(Failure::at(bucket))?;
        found.checked += page.checked;
        found.degraded += page.degraded;
        found.lost += page.lost.len() as u64;
        found.unknown += page.unknown.len() as u64;
        for (keys, kept, what) in [
            (page.lost, &mut found.lost_objects, "lost"),
            (page.unknown, &mut found.unknown_objects, "not known"),
        ] {
            for key in keys {
                let name = format!("m://{bucket}/{key}");
                if !context.output.json && !context.output.quiet {
                    context
                        .output
                        .line(&format!("{what}: {}", printable(&name)))?;
                }
                if kept.len() < KEYS_KEPT {
                    kept.push(name);
                }
            }
        }
        if page.next_token.is_empty() {
            return Ok(());
        }
        token = page.next_token;
    }
}
