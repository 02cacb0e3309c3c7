//! `marram du`.

use std::collections::BTreeMap;

use marram_client::{BucketQuota, ListQuery};
use serde::Serialize;
use serde_json::json;

use crate::cli::DuArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::output::printable;
use crate::units::size;

/// Most prefixes that are told apart; the sums of a larger depth would not fit in memory some day.
const PREFIXES_MAX: usize = 1_000_000;

/// Objects and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Sum {
    objects: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The sums of all prefixes down to a depth.
#[derive(Debug)]
struct Sums {
    depth: usize,
    of: BTreeMap<String, Sum>,
}

#[derive(Serialize)]
struct Told<'a> {
    bucket: &'a str,
    prefix: &'a str,
    #[serde(flatten)]
    sum: Sum,
}

impl Sums {
    fn new(top: &str, depth: usize) -> Self {
        Self {
            depth,
            // The whole is told where it is empty too.
            of: BTreeMap::from([(top.to_owned(), Sum::default())]),
        }
    }

    /// Counts an object in `top` and in each folder below it, down to the depth.
    fn add(&mut self, top: &str, key: &str, bytes: u64) -> Result<(), Failure> {
        let below = &key[top.len()..];
        let folders = below.match_indices('/').take(self.depth);
        let ends = folders.map(|(at, slash)| top.len() + at + slash.len());
        for end in std::iter::once(top.len()).chain(ends) {
            let prefix = &key[..end];
            if let Some(sum) = self.of.get_mut(prefix) {
                sum.add(bytes);
                continue;
            }
            if self.of.len() >= PREFIXES_MAX {
                return Err(Failure::Usage(
                    "more than a million folders: ask with a smaller --depth, or for a part",
                ));
            }
            self.of.entry(prefix.to_owned()).or_default().add(bytes);
        }
        Ok(())
    }
}

/// Prints how many objects and bytes are below a place, and below each folder of it.
pub(super) async fn run(context: &Context<'_>, args: DuArgs) -> Result<(), Failure> {
    let place = Remote::parse(&args.location)?;
    let mut sums = Sums::new(&place.key, args.depth.into());
    let mut pages = context
        .client()?
        .list(&place.bucket, ListQuery::all(&place.key));
    while let Some(page) = pages.next().await.map_err(Failure::at(&place))? {
        for object in page.objects {
            sums.add(&place.key, &object.key, object.size)?;
        }
    }
    // Beside the listing, which has current versions only: what counts, and how much may.
    let quota = match place.key.is_empty() {
        true => {
            let usage = context.client()?.bucket_usage(&place.bucket).await;
            Some(usage.map_err(Failure::at(&place))?)
        }
        false => None,
    };
    // As of `du`: what is inside goes before the whole.
    for (prefix, sum) in sums.of.iter().rev() {
        if context.output.json {
            let bucket = &place.bucket;
            let sum = *sum;
            context.output.value(&Told {
                bucket,
                prefix,
                sum,
            })?;
        } else {
            let uri = place.with_key(prefix.as_str()).to_string();
            let (bytes, objects) = (size(sum.bytes), sum.objects);
            context
                .output
                .line(&format!("{bytes:>10}  {objects:>9}  {}", printable(&uri)))?;
        }
    }
    if let Some(usage) = quota.filter(|usage| usage.quota != BucketQuota::default()) {
        if context.output.json {
            let (bucket, quota) = (&place.bucket, usage.quota);
            let told = json!({ "bucket": bucket, "quota": quota, "usage": usage });
            context.output.value(&told)?;
        } else {
            context
                .output
                .line(&format!("quota: {}", super::quota::sentence(&usage)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(top: &str, depth: usize, objects: &[(&str, u64)]) -> Vec<(String, u64, u64)> {
        let mut sums = Sums::new(top, depth);
        for (key, bytes) in objects {
            sums.add(top, key, *bytes).unwrap();
        }
        let each = sums.of.into_iter();
        each.map(|(prefix, sum)| (prefix, sum.objects, sum.bytes))
            .collect()
    }

    const OBJECTS: [(&str, u64); 5] = [
        ("a/1", 1),
        ("a/b/2", 2),
        ("a/b/c/3", 4),
        ("a//4", 8),
        ("abc", 16),
    ];

    #[test]
    fn the_whole_only() {
        assert_eq!(sums("", 0, &OBJECTS), [(String::new(), 5, 31)]);
        assert_eq!(sums("x", 3, &[]), [("x".to_owned(), 0, 0)]);
    }

    #[test]
    fn folders_down_to_the_depth() {
        let told = sums("", 2, &OBJECTS);
        let told: Vec<(&str, u64, u64)> =
            told.iter().map(|(p, o, b)| (p.as_str(), *o, *b)).collect();
        assert_eq!(
            told,
            [("", 5, 31), ("a/", 4, 15), ("a//", 1, 8), ("a/b/", 2, 6)]
        );
    }

    #[test]
    fn a_prefix_need_not_be_a_folder() {
        let told = sums("a", 1, &OBJECTS);
        assert_eq!(told, [("a".to_owned(), 5, 31), ("a/".to_owned(), 4, 15)]);
    }
}
