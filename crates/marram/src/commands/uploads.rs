//! `marram uploads` and `marram admin uploads`: uploads that are under way, of parts or of one stream.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use marram_client::{Client, ErrorKind, UploadInfo};
use serde_json::json;

use crate::cli::{AdminUploadsCommand, UploadsCommand};
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::{Output, printable};
use crate::units::{date, size};

/// Lists or ends uploads.
pub(super) async fn run(context: &Context<'_>, command: UploadsCommand) -> Result<(), Failure> {
    match command {
        UploadsCommand::Ls { location } => {
            let below = Remote::parse(&location)?;
            each(context, &below, |_, upload| {
                print(&context.output, &upload)?;
                Ok(None)
            })
            .await
        }
        UploadsCommand::Abort {
            location,
            upload,
            all,
        } => {
            let below = Remote::parse(&location)?;
            if below.key.is_empty() && !all && upload.is_none() {
                return Err(Failure::Usage("to end all uploads of a bucket, say --all"));
            }
            each(context, &below, |_, found| {
                let meant = upload.as_ref().is_none_or(|id| *id == found.upload_id);
                Ok(meant.then_some(found))
            })
            .await
        }
    }
}

/// Ends what was begun too long ago.
pub(super) async fn admin(
    context: &Context<'_>,
    command: AdminUploadsCommand,
) -> Result<(), Failure> {
    let AdminUploadsCommand::Expire {
        location,
        older_than,
        dry_run,
    } = command;
    let below = Remote::parse(&location)?;
    let before_ms = begun_before(SystemTime::now(), older_than);
    each(context, &below, |output, upload| {
        if upload.created_ms >= before_ms {
            return Ok(None);
        }
        if dry_run {
            print(output, &upload)?;
            return Ok(None);
        }
        Ok(Some(upload))
    })
    .await
}

/// Uploads begun before this time are older than that.
fn begun_before(now: SystemTime, older_than: Duration) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let before = since.saturating_sub(older_than);
    i64::try_from(before.as_millis()).unwrap_or(i64::MAX)
}

/// Goes through the uploads of a prefix, and ends those that `to_end` gives back.
async fn each(
    context: &Context<'_>,
    below: &Remote,
    to_end: impl Fn(&Output, UploadInfo) -> Result<Option<UploadInfo>, Failure>,
) -> Result<(), Failure> {
    let client = context.client()?;
    let mut pages = client.list_uploads(&below.bucket, &below.key);
    while let Some(page) = pages.next().await.map_err(Failure::at(below))? {
        for upload in page {
            if let Some(upload) = to_end(&context.output, upload)? {
                end(context, &client, below, &upload).await?;
            }
        }
    }
    Ok(())
}

async fn end(
    context: &Context<'_>,
    client: &Client,
    below: &Remote,
    upload: &UploadInfo,
) -> Result<(), Failure> {
    let ended = client.abort_upload(&below.bucket, &upload.key, &upload.upload_id);
    match ended.await {
        Ok(()) => {}
        // Ended or completed meanwhile, by somebody else.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Precondition) => {
            return Ok(());
        }
        Err(error) => return Err(Failure::at(below)(error)),
    }
    if context.output.json {
        let (key, upload_id) = (&upload.key, &upload.upload_id);
        return context
            .output
            .value(&json!({ "aborted": upload_id, "key": key }));
    }
    if context.output.quiet {
        return Ok(());
    }
    let (key, bytes) = (printable(&upload.key), size(upload.bytes));
    context
        .output
        .line(&format!("aborted {}  {bytes}  {key}", upload.upload_id))
}

fn print(output: &Output, upload: &UploadInfo) -> Result<(), Failure> {
    if output.json {
        return output.value(upload);
    }
    let (date, bytes) = (date(upload.created_ms), size(upload.bytes));
    let (id, key) = (&upload.upload_id, printable(&upload.key));
    let kind = match upload.stream {
        true => "stream".to_owned(),
        false => format!("{} parts", upload.parts),
    };
    output.line(&format!("{date}  {id}  {kind:>11}  {bytes:>10}  {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_counted_from_now() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(begun_before(now, Duration::from_secs(40)), 60_000);
        assert_eq!(begun_before(now, Duration::from_secs(400)), 0);
    }
}
