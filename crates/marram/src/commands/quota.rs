//! `marram quota`.

use marram_client::{BucketQuota, BucketUsage};
use serde_json::json;

use crate::cli::QuotaArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::units::size;

/// Says or sets what a bucket may hold. A limit that is not named stays as it is.
pub(super) async fn run(context: &Context<'_>, args: QuotaArgs) -> Result<(), Failure> {
    let bucket = Remote::parse_bucket(&args.bucket)?;
    let client = context.client()?;
    if args.none || args.bytes.is_some() || args.objects.is_some() {
        let quota = if args.none {
            BucketQuota::default()
        } else {
            let info = client.head_bucket(&bucket).await;
            let held = info.map_err(Failure::at(&args.bucket))?.quota;
            BucketQuota {
                bytes: args.bytes.or(held.bytes),
                objects: args.objects.or(held.objects),
            }
        };
        let set = client.set_quota(&bucket, quota).await;
        set.map_err(Failure::at(&args.bucket))?;
    }
    let usage = client.bucket_usage(&bucket).await;
    let usage = usage.map_err(Failure::at(&args.bucket))?;
    let told = json!({ "bucket": bucket, "quota": usage.quota, "usage": usage });
    context
        .output
        .done(&told, || format!("m://{bucket}: {}", sentence(&usage)))
}

/// Usage beside the quota, for people.
pub(super) fn sentence(usage: &BucketUsage) -> String {
    let quota = usage.quota;
    let bytes = (size(usage.counted_bytes()), quota.bytes.map(size));
    let objects = usage.counted_objects().to_string();
    let objects = (objects, quota.objects.map(|most| most.to_string()));
    let beside = |(held, most): (String, Option<String>)| match most {
        Some(most) => format!("{held} of {most}"),
        None => format!("{held} without limit"),
    };
    format!("bytes: {}; objects: {}", beside(bytes), beside(objects))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_told_beside_each_limit() {
        let usage = BucketUsage {
            objects: 3,
            bytes: 1024,
            noncurrent_versions: 2,
            noncurrent_bytes: 1024,
            delete_markers: 9,
            upload_bytes: 1024,
            quota: BucketQuota {
                bytes: Some(4096),
                objects: None,
            },
        };
        let told = sentence(&usage);
        assert_eq!(told, "bytes: 3.0 KiB of 4.0 KiB; objects: 5 without limit");
    }
}
