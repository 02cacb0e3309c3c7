//! `marram find`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use marram_client::{ListQuery, ObjectSummary};
use serde::Serialize;

use crate::cli::FindArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::filter::Filter;
use crate::location::Remote;
use crate::output::printable;

/// What an object must be like.
struct Wanted {
    filter: Filter,
    /// Bytes, the least and the most.
    larger: u64,
    smaller: u64,
    /// Milliseconds since 1970, the earliest and the latest.
    since: i64,
    until: i64,
}

#[derive(Serialize)]
struct Found<'a> {
    bucket: &'a str,
    #[serde(flatten)]
    object: &'a ObjectSummary,
}

impl Wanted {
    fn new(args: &FindArgs, now: SystemTime) -> Result<Self, Failure> {
        let ago = |age: Option<Duration>, otherwise: i64| {
            age.map_or(otherwise, |age| moment(now).saturating_sub(millis(age)))
        };
        Ok(Self {
            filter: Filter::new(&args.filter)?,
            larger: args.larger.unwrap_or(0),
            smaller: args.smaller.unwrap_or(u64::MAX),
            since: ago(args.newer_than, i64::MIN),
            until: ago(args.older_than, i64::MAX),
        })
    }

    fn is(&self, relative: &str, object: &ObjectSummary) -> bool {
        (self.larger..=self.smaller).contains(&object.size)
            && (self.since..=self.until).contains(&object.modified_ms)
            && self.filter.takes(relative)
    }
}

/// Prints the objects below a place that are as they are wanted.
pub(super) async fn run(context: &Context<'_>, args: FindArgs) -> Result<(), Failure> {
    let place = Remote::parse(&args.location)?;
    let wanted = Wanted::new(&args, SystemTime::now())?;
    let names_begin = place.names_begin();
    let query = ListQuery::all(&place.key);
    let mut pages = context.client()?.list(&place.bucket, query);
    while let Some(page) = pages.next().await.map_err(Failure::at(&place))? {
        for object in page.objects {
            if !wanted.is(&object.key[names_begin..], &object) {
                continue;
            }
            if context.output.json {
                let bucket = &place.bucket;
                context.output.value(&Found {
                    bucket,
                    object: &object,
                })?;
            } else {
                let uri = place.with_key(object.key).to_string();
                context.output.line(&printable(&uri))?;
            }
        }
    }
    Ok(())
}

fn moment(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(args: &FindArgs) -> Wanted {
        Wanted::new(args, UNIX_EPOCH + Duration::from_millis(10_000)).unwrap()
    }

    fn object(size: u64, modified_ms: i64) -> ObjectSummary {
        ObjectSummary {
            key: "k".to_owned(),
            size,
            etag: String::new(),
            generation: 1,
            modified_ms,
        }
    }

    #[test]
    fn sizes_are_bounds_that_count() {
        let args = FindArgs {
            larger: Some(5),
            smaller: Some(7),
            ..FindArgs::default()
        };
        let is: Vec<bool> = (4..=8)
            .map(|size| wanted(&args).is("k", &object(size, 0)))
            .collect();
        assert_eq!(is, [false, true, true, true, false]);
    }

    #[test]
    fn ages_are_from_now() {
        let old = wanted(&FindArgs {
            older_than: Some(Duration::from_secs(2)),
            ..FindArgs::default()
        });
        assert!(old.is("k", &object(1, 8000)) && !old.is("k", &object(1, 8001)));
        let new = wanted(&FindArgs {
            newer_than: Some(Duration::from_secs(2)),
            ..FindArgs::default()
        });
        assert!(new.is("k", &object(1, 8000)) && !new.is("k", &object(1, 7999)));
        assert!(wanted(&FindArgs::default()).is("k", &object(0, -5)));
    }
}
