//! `marram admin bucket set-profile`, `allow-profile` and `profile`.

use std::time::{Duration, Instant};

use marram_client::{BucketProfile, Client};

use crate::cli::{AllowProfileArgs, ProfileArgs, SetProfileArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::{Output, printable};

/// How often a change that is watched is looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Gives a bucket another profile.
pub(super) async fn set(context: &Context<'_>, args: SetProfileArgs) -> Result<(), Failure> {
    let bucket = Remote::parse_bucket(&args.bucket)?;
    let client = context.client()?;
    let set = client.set_bucket_profile(&bucket, &args.profile).await;
    let set = set.map_err(Failure::at(&args.bucket))?;
    say(&context.output, &set, None)?;
    if args.watch {
        watch(&context.output, &client, &args.bucket, set).await?;
    }
    Ok(())
}

/// Lets writes to a bucket ask for a profile, or not any more.
pub(super) async fn allow(context: &Context<'_>, args: AllowProfileArgs) -> Result<(), Failure> {
    let bucket = Remote::parse_bucket(&args.bucket)?;
    let client = context.client()?;
    let set = client.allow_bucket_profile(&bucket, &args.profile, args.withdraw);
    let set = set.await.map_err(Failure::at(&args.bucket))?;
    context.output.done(&set, || {
        let (bucket, profile) = (printable(&set.bucket), printable(&set.profile));
        match &set.allowed_profiles[..] {
            [] => format!("m://{bucket}: {profile}, and writes may ask for no other profile"),
            allowed => format!(
                "m://{bucket}: {profile}, and writes may ask for {}",
                printable(&allowed.join(", "))
            ),
        }
    })?;
    if args.watch {
        watch(&context.output, &client, &args.bucket, set).await?;
    }
    Ok(())
}

/// Says how far a bucket's objects follow its profile.
pub(super) async fn show(context: &Context<'_>, args: ProfileArgs) -> Result<(), Failure> {
    let bucket = Remote::parse_bucket(&args.bucket)?;
    let client = context.client()?;
    let found = client.bucket_profile(&bucket).await;
    let found = found.map_err(Failure::at(&args.bucket))?;
    say(&context.output, &found, None)?;
    if args.watch {
        watch(&context.output, &client, &args.bucket, found).await?;
    }
    Ok(())
}

/// Says how far it is until every object has the profile.
async fn watch(
    output: &Output,
    client: &Client,
    place: &str,
    mut said: BucketProfile,
) -> Result<(), Failure> {
    let (began, first) = (Instant::now(), said.clone());
    while !said.is_done() {
        output.flush()?;
        tokio::time::sleep(WATCH_EVERY).await;
        let now = client.bucket_profile(&said.bucket).await;
        let now = now.map_err(Failure::at(place))?;
        if now != said {
            say(output, &now, left(&first, &now, began.elapsed()))?;
            said = now;
        }
    }
    Ok(())
}

/// About how long the rest takes, once a part of it is done.
fn left(first: &BucketProfile, now: &BucketProfile, took: Duration) -> Option<Duration> {
    let done = first.versions_to_go.checked_sub(now.versions_to_go)?;
    let each = took.as_secs_f64() / f64::from(u32::try_from(done).ok().filter(|n| *n > 0)?);
    let rest = each * f64::from(u32::try_from(now.versions_to_go).ok()?);
    (now.versions_to_go > 0).then(|| Duration::from_secs_f64(rest.ceil()))
}

fn say(output: &Output, now: &BucketProfile, left: Option<Duration>) -> Result<(), Failure> {
    output.done(now, || {
        let (bucket, profile) = (printable(&now.bucket), printable(&now.profile));
        if now.is_done() {
            let own = match now.allowed_profiles.is_empty() {
                true => "",
                false => ", or what they asked for",
            };
            return format!(
                "m://{bucket}: all {} objects are {profile}{own}",
                now.versions
            );
        }
        let looking = match now.groups_looking {
            0 => String::new(),
            groups => format!(", {groups} metadata groups are still looking"),
        };
        let left = left.map_or_else(String::new, |left| {
            format!(", about {} s left", left.as_secs())
        });
        format!(
            "m://{bucket}: {} of {} objects are to become {profile}{looking}{left}",
            now.versions_to_go, now.versions
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(versions_to_go: u64) -> BucketProfile {
        BucketProfile {
            bucket: "photos".to_owned(),
            profile: "4+2".to_owned(),
            versions: 100,
            versions_to_go,
            groups_looking: 0,
            allowed_profiles: Vec::new(),
        }
    }

    #[test]
    fn the_rest_is_estimated_from_what_is_done() {
        let took = Duration::from_secs(10);
        assert_eq!(left(&at(100), &at(80), took), Some(Duration::from_secs(40)));
        assert_eq!(left(&at(100), &at(100), took), None, "nothing is done");
        assert_eq!(left(&at(10), &at(20), took), None, "more came");
        assert_eq!(left(&at(10), &at(0), took), None, "all is done");
    }
}
