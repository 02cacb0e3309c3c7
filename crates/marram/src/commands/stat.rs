//! `marram stat`.

use marram_client::{BucketInfo, BucketUsage, ObjectInfo, ReadConditions, Versioning};
use serde_json::json;

use crate::cli::StatArgs;
use crate::commands::Context;
use crate::commands::versions::kept;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::{Output, printable};
use crate::transfer::look;
use crate::units::{date, size};

/// Says what a bucket or an object is.
pub(super) async fn run(context: &Context<'_>, args: StatArgs) -> Result<(), Failure> {
    let mut place = Remote::parse(&args.location)?;
    place.generation = args.generation;
    let wanted = args.conditions.read_conditions(args.generation)?;
    let client = context.client()?;
    if place.key.is_empty() {
        if args.generation.is_some() || wanted != ReadConditions::default() {
            return Err(Failure::Usage(
                "--version and conditions go with an object, as m://bucket/key",
            ));
        }
        let at = || Failure::at(&args.location);
        let found = client.head_bucket(&place.bucket).await.map_err(at())?;
        let usage = client.bucket_usage(&place.bucket).await;
        return bucket(&context.output, &found, usage.ok());
    }
    let found = match place.generation {
        Some(_) => look(&client, &place).await?,
        None => {
            let found = client.head_if(&place.bucket, &place.key, &wanted).await;
            found.map_err(Failure::at(&place))?
        }
    };
    object(&context.output, &found)
}

/// Who may not list a bucket may still know that it is there: then nothing is said of what it holds.
fn bucket(output: &Output, bucket: &BucketInfo, usage: Option<BucketUsage>) -> Result<(), Failure> {
    if output.json {
        let mut told = json!(bucket);
        if let Some(usage) = usage {
            told["usage"] = json!(usage);
        }
        return output.value(&told);
    }
    output.line(&format!("bucket    {}", bucket.name))?;
    output.line(&format!("profile   {}", bucket.profile))?;
    if !bucket.allowed_profiles.is_empty() {
        let allowed = bucket.allowed_profiles.join(", ");
        output.line(&format!("allowed   {}", printable(&allowed)))?;
    }
    output.line(&format!("created   {} UTC", date(bucket.created_ms)))?;
    output.line(&format!("versions  {}", bucket.versioning))?;
    let Some(usage) = usage else { return Ok(()) };
    let bytes = size(usage.bytes);
    output.line(&format!("objects   {} of {bytes}", usage.objects))?;
    if bucket.versioning == Versioning::Off {
        return Ok(());
    }
    output.line(&format!("kept      {}", kept(&usage)))
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
    if let Some(own) = &object.own_profile {
        line("own profile", &printable(own))?;
    }
    if object.under_protected {
        let text = "survives fewer losses than its bucket promises, until it is repaired";
        line("protection", text)?;
    }
    for (name, value) in &object.metadata {
        line("metadata", &printable(&format!("{name} = {value}")))?;
    }
    for (key, value) in &object.tags {
        line("tag", &printable(&format!("{key} = {value}")))?;
    }
    Ok(())
}
