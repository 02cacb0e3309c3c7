//! The next step of a `Bucket`. A bucket is a resource's once that stands in its status, which is written before
//! the bucket is made: so an operator that dies in between knows it again, and none is taken by accident.

use k8s_openapi::jiff::civil::Date;
use k8s_openapi::jiff::tz::TimeZone;
use marram_client::{BucketInfo, BucketQuota, BucketUsage, LifecycleRule};
use marram_types::{BucketName, Profile};

use super::Hold;
use super::admission::{already_there, owns, rival};
use super::said::State;
use crate::api::{self, Bucket, BucketStatus, Quota, Versioning};

/// What was seen of a bucket in its cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The bucket.
    pub info: BucketInfo,
    /// Its rules.
    pub lifecycle: Vec<LifecycleRule>,
    /// What it holds.
    pub usage: BucketUsage,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing: it is as it should be.
    Rest,
    /// Something stands against it.
    Hold(Hold),
    /// Write down that the bucket is this resource's.
    Claim,
    /// Make it.
    Create,
    /// Give it another profile.
    Profile(String),
    /// Have it keep versions, or not any more.
    Versioning(Versioning),
    /// Say what it may hold.
    Quota(BucketQuota),
    /// Give it these rules.
    Lifecycle(Vec<LifecycleRule>),
}

/// What to do next, by the resource, by all resources of the kind, and by what is in the cluster.
#[must_use]
pub fn next(bucket: &Bucket, all: &[Bucket], found: Option<&Found>) -> Step {
    match decide(bucket, all, found) {
        Ok(step) => step,
        Err(hold) => Step::Hold(hold),
    }
}

fn decide(bucket: &Bucket, all: &[Bucket], found: Option<&Found>) -> Result<Step, Hold> {
    let spec = &bucket.spec;
    let name = bucket.bucket();
    if let Err(error) = BucketName::new(name.as_str()) {
        return Err(Hold::stalled("BadName", error.to_string()));
    }
    let profile = spec.profile.as_deref().map(str::parse::<Profile>);
    let profile = profile.transpose();
    let profile = profile.map_err(|error| Hold::stalled("BadProfile", error.to_string()))?;
    let quota = quota(spec.quota.as_ref())?;
    let rules = spec.lifecycle.iter().map(rule);
    let rules = rules.collect::<Result<Vec<_>, _>>()?;
    if let Some(rival) = rival(bucket, all) {
        let place = rival.metadata.namespace.as_deref().unwrap_or_default();
        let other = rival.metadata.name.as_deref().unwrap_or_default();
        let message = format!(
            "the bucket {name} is that of the Bucket {place}/{other}: choose another name in spec.bucket"
        );
        return Err(Hold::stalled("Taken", message));
    }
    let Some(found) = found else {
        return Ok(match owns(bucket) {
            true => Step::Create,
            false => Step::Claim,
        });
    };
    if !owns(bucket) {
        return already_there(bucket, &found.info).map_or(Ok(Step::Claim), Err);
    }
    let info = &found.info;
    let profile = profile.map(|profile| profile.to_string());
    if let Some(profile) = profile.filter(|wanted| *wanted != info.profile) {
        return Ok(Step::Profile(profile));
    }
    let versioning = spec.versioning;
    if let Some(wanted) = versioning.filter(|wanted| *wanted != seen(info.versioning)) {
        if wanted == Versioning::Off {
            let message = format!(
                "the bucket {name} keeps versions already, which cannot be off again: write Suspended in \
                 spec.versioning"
            );
            return Err(Hold::stalled("VersionsKept", message));
        }
        return Ok(Step::Versioning(wanted));
    }
    if quota != info.quota {
        return Ok(Step::Quota(quota));
    }
    if rules != found.lifecycle {
        return Ok(Step::Lifecycle(rules));
    }
    Ok(Step::Rest)
}

fn seen(versioning: marram_client::Versioning) -> Versioning {
    match versioning {
        marram_client::Versioning::Off => Versioning::Off,
        marram_client::Versioning::On => Versioning::On,
        marram_client::Versioning::Suspended => Versioning::Suspended,
    }
}

/// What the resource says of the quota, as the cluster takes it.
fn quota(quota: Option<&Quota>) -> Result<BucketQuota, Hold> {
    let Some(quota) = quota else {
        return Ok(BucketQuota::default());
    };
    let bytes = quota.size.as_deref().map(|size| {
        bytes(size).ok_or_else(|| {
            let message = format!(
                "spec.quota.size {size} is no number of bytes: write a whole number, with Ki, Mi, Gi, Ti, Pi, k, \
                 M, G, T or P behind it, below 8Ei"
            );
            Hold::stalled("BadQuota", message)
        })
    });
    Ok(BucketQuota {
        bytes: bytes.transpose()?,
        objects: quota.objects,
    })
}

/// The bytes that a quantity says; none where it is none, or more than any cluster holds.
fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 10] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
    ];
    let (number, unit) = UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
        .unwrap_or((text, 1));
    let bytes = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (bytes <= i64::MAX.unsigned_abs()).then_some(bytes)
}

/// A rule as the cluster takes it.
fn rule(rule: &api::LifecycleRule) -> Result<LifecycleRule, Hold> {
    let expire_on_ms = rule.expire_on.as_deref().map(|day| {
        midnight_ms(day).ok_or_else(|| {
            let message = format!(
                "rule {} of spec.lifecycle: expireOn {day} is no day: write it as 2027-01-31",
                rule.id
            );
            Hold::stalled("BadLifecycle", message)
        })
    });
    Ok(LifecycleRule {
        enabled: !rule.disabled,
        prefix: rule.prefix.clone().unwrap_or_default(),
        larger_than: rule.larger_than,
        smaller_than: rule.smaller_than,
        tags: rule.tags.clone(),
        expire_after_days: rule.expire_after_days,
        expire_on_ms: expire_on_ms.transpose()?,
        noncurrent_after_days: rule.noncurrent_after_days,
        keep_newest: rule.keep_newest.unwrap_or(0),
        expired_delete_markers: rule.expired_delete_markers,
        abort_uploads_after_days: rule.abort_uploads_after_days,
        ..LifecycleRule::new(rule.id.clone())
    })
}

/// The midnight UTC of a day, in milliseconds since 1970.
fn midnight_ms(day: &str) -> Option<i64> {
    let day: Date = day.parse().ok()?;
    let midnight = day.to_zoned(TimeZone::UTC).ok()?;
    Some(midnight.timestamp().as_millisecond())
}

/// How the resource is after this look, for its conditions.
#[must_use]
pub fn state(bucket: &Bucket, step: &Step) -> State {
    let name = bucket.bucket();
    match step {
        Step::Rest => State::Ready(format!("the bucket {name} is as it should be")),
        Step::Hold(hold) => State::Held(hold.clone()),
        Step::Claim | Step::Create => State::Working(format!("the bucket {name} is being made")),
        Step::Profile(_) | Step::Versioning(_) | Step::Quota(_) | Step::Lifecycle(_) => {
            State::Working(format!("the bucket {name} is being changed"))
        }
    }
}

/// The status with what was seen.
#[must_use]
pub fn report(bucket: &Bucket, step: &Step, found: Option<&Found>) -> BucketStatus {
    let mut status = bucket.status.clone().unwrap_or_default();
    let taken = matches!(step, Step::Hold(hold) if hold.reason == "Taken");
    if *step == Step::Claim {
        status.bucket = Some(bucket.bucket());
    } else if taken {
        status.bucket = None;
    }
    // Of a bucket that is not this resource's, nothing is told.
    let found = found.filter(|_| status.bucket.is_some());
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    status.profile = found.map(|found| found.info.profile.clone());
    status.versioning = found.map(|found| seen(found.info.versioning));
    status.objects = found.map(|found| whole(found.usage.counted_objects()));
    status.bytes = found.map(|found| whole(found.usage.counted_bytes()));
    status
}
