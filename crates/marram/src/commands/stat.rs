//! `marram stat`.

use marram_client::{BucketInfo, ObjectInfo};

use crate::cli::StatArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::{Output, printable};
use crate::units::{date, size};

/// Says what a bucket or an object is.
pub(super) async fn run(context: &Context<'_>, args: StatArgs) -> Result<(), Failure> {
    let place = Remote::parse(&args.location)?;
    let client = context.client()?;
    if place.key.is_empty() {
        let found = client.head_bucket(&place.bucket).await;
        return bucket(
            &context.output,
            &found.map_err(Failure::at(&args.location))?,
        );
    }
    let found = client.head(&place.bucket, &place.key).await;
    object(&context.output, &found.map_err(Failure::at(&place))?)
}

fn bucket(output: &Output, bucket: &BucketInfo) -> Result<(), Failure> {
    if output.json {
        return output.value(bucket);
    }
    output.line(&format!("bucket    {}", bucket.name))?;
    output.line(&format!("profile   {}", bucket.profile))?;
    output.line(&format!("created   {} UTC", date(bucket.created_ms)))
}

fn object(output: &Output, object: &ObjectInfo) -> Result<(), Failure> {
    if output.json {
        return output.value(object);
    }
    let line = |name: &str, value: &str| output.line(&format!("{name:<13} {value}"));
    line("key", &printable(&object.key))?;
    line("size", &format!("{} ({})", object.size, size(object.size)))?;
    line("modified", &format!("{} UTC", date(object.modified_ms)))?;
    line("etag", &printable(&object.etag))?;
    line("generation", &object.generation.to_string())?;
    line("version", &object.version_id)?;
    line("content type", &printable(&object.content_type))?;
    line("crc64nvme", &format!("{:016x}", object.crc64nvme))?;
    line("kept as", &object.profiles.join(", "))?;
    if object.under_protected {
        let text = "survives fewer losses than its bucket promises, until it is repaired";
        line("protection", text)?;
    }
    for (name, value) in &object.metadata {
        line("metadata", &printable(&format!("{name} = {value}")))?;
    }
    Ok(())
}
