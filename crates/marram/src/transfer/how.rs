//! How objects are written, and on which conditions objects are written and read.

use std::collections::BTreeMap;
use std::path::Path;

use marram_client::{Client, CopyOptions, Preconditions, PutOptions, ReadConditions};

use crate::cli::{ConditionArgs, ReadConditionArgs, WrittenArgs};
use crate::failure::Failure;
use crate::location::{Location, Remote};
use crate::sums;
use crate::transfer::look;

/// What the command line says of each object that is written or read.
#[derive(Debug, Clone, Default)]
pub(crate) struct How {
    conditions: ConditionArgs,
    content_type: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    tags: Option<BTreeMap<String, String>>,
    profile: Option<String>,
    checksums: Vec<sums::Known>,
}

impl ConditionArgs {
    /// For changes.
    pub(crate) fn preconditions(&self) -> Preconditions {
        Preconditions {
            if_generation_match: self.if_generation_match,
            if_generation_not_match: self.if_generation_not_match,
            if_etag_match: self.if_etag_match.clone(),
            if_etag_none_match: self.if_none_match.clone(),
        }
    }

    /// Whether there are any.
    pub(crate) fn are_given(&self) -> bool {
        *self != Self::default()
    }

    fn read_conditions(&self) -> ReadConditions {
        ReadConditions {
            if_generation_match: self.if_generation_match,
            if_generation_not_match: self.if_generation_not_match,
            if_etag_match: self.if_etag_match.clone(),
            if_etag_none_match: self.if_none_match.clone(),
            ..ReadConditions::default()
        }
    }
}

impl ReadConditionArgs {
    /// For reads. `generation` is the version that is to be read, which the conditions are not about.
    pub(crate) fn read_conditions(
        &self,
        generation: Option<u64>,
    ) -> Result<ReadConditions, Failure> {
        if generation.is_some() && *self != Self::default() {
            return Err(VERSION_AND_CONDITIONS);
        }
        Ok(ReadConditions {
            if_modified_since_ms: self.if_modified_since,
            if_unmodified_since_ms: self.if_unmodified_since,
            ..self.of_version.read_conditions()
        })
    }
}

const VERSION_AND_CONDITIONS: Failure = Failure::Usage(
    "--version names what is read, and conditions are about the current version: give one of both",
);

impl How {
    /// Reads the command line.
    pub(crate) fn new(conditions: &ConditionArgs, written: WrittenArgs) -> Result<Self, Failure> {
        if sums::has_twice(&written.checksums) {
            return Err(Failure::Twice("kind of checksum"));
        }
        Ok(Self {
            conditions: conditions.clone(),
            content_type: written.content_type,
            metadata: some(pairs("metadata", written.metadata)?),
            tags: some(pairs("tag", written.tags)?),
            profile: written.profile,
            checksums: written.checksums,
        })
    }

    /// Refuses what does not go together.
    pub(crate) fn check(
        &self,
        sources: &[Location],
        target: &Location,
        recursive: bool,
    ) -> Result<(), Failure> {
        let one = !recursive && sources.len() == 1;
        let from_here = |place: &Location| !matches!(place, Location::Remote(_));
        let has = |problem| Err(Failure::Usage(problem));
        if self.conditions.are_given() && !one {
            return has("conditions go with exactly one source, and not with -r");
        }
        let describes = self.content_type.is_some()
            || self.metadata.is_some()
            || self.tags.is_some()
            || self.profile.is_some();
        if from_here(target) {
            if describes {
                return has(
                    "--content-type, --metadata, --tag and --profile are for objects: the target is a file",
                );
            }
            let version =
                |place: &Location| matches!(place, Location::Remote(r) if r.generation.is_some());
            if self.conditions.are_given() && sources.iter().any(version) {
                return Err(VERSION_AND_CONDITIONS);
            }
        }
        if self.checksums.is_empty() {
            return Ok(());
        }
        if from_here(target) || !sources.iter().all(from_here) {
            return has(
                "--checksum is for files that go into the cluster; reads and copies are verified anyway",
            );
        }
        if !one && self.checksums.iter().any(sums::Known::is_given) {
            return has("the value of a checksum goes with exactly one file, and not with -r");
        }
        let piped = sources.contains(&Location::Pipe);
        if piped && !self.checksums.iter().all(sums::Known::is_given) {
            return has(
                "standard input can be read only once: give the checksum, as --checksum sha256=HEX",
            );
        }
        Ok(())
    }

    /// For objects that are read into files.
    pub(crate) fn read_conditions(&self) -> ReadConditions {
        self.conditions.read_conditions()
    }

    /// For a file, or for the standard input where there is none.
    pub(crate) async fn put_options(&self, path: Option<&Path>) -> Result<PutOptions, Failure> {
        let checksums = match path {
            None => sums::given(&self.checksums),
            Some(path) => {
                let (wanted, file) = (self.checksums.clone(), path.to_owned());
                let read = tokio::task::spawn_blocking(move || sums::of_file(&wanted, &file)).await;
                read.unwrap_or_else(|stopped| Err(stopped.into()))
                    .map_err(Failure::local("read", path))?
            }
        };
        Ok(PutOptions {
            content_type: self.content_type.clone().unwrap_or_default(),
            metadata: self.metadata.clone().unwrap_or_default(),
            tags: self.tags.clone().unwrap_or_default(),
            profile: self.profile.clone(),
            preconditions: self.conditions.preconditions(),
            checksums,
            ..PutOptions::default()
        })
    }

    /// For a copy. Media type and metadata are replaced together: where only one of them is given, the
    /// other is that of the source, which is then pinned.
    pub(crate) async fn copy_options(
        &self,
        client: &Client,
        from: &Remote,
    ) -> Result<CopyOptions, Failure> {
        let mut options = CopyOptions {
            source_generation: from.generation,
            preconditions: self.conditions.preconditions(),
            replace_tags: self.tags.clone(),
            profile: self.profile.clone(),
            ..CopyOptions::default()
        };
        options.replace = match (&self.content_type, &self.metadata) {
            (None, None) => None,
            (Some(content_type), Some(metadata)) => Some((content_type.clone(), metadata.clone())),
            (content_type, metadata) => {
                let source = look(client, from).await?;
                if from.generation.is_none() {
                    options.source_conditions.if_generation_match = Some(source.generation);
                }
                let content_type = content_type.clone().unwrap_or(source.content_type);
                Some((content_type, metadata.clone().unwrap_or(source.metadata)))
            }
        };
        Ok(options)
    }
}

/// Pairs of the command line, each name once.
pub(crate) fn pairs(
    what: &'static str,
    given: Vec<(String, String)>,
) -> Result<BTreeMap<String, String>, Failure> {
    let count = given.len();
    let pairs: BTreeMap<_, _> = given.into_iter().collect();
    if pairs.len() < count {
        return Err(Failure::Twice(what));
    }
    Ok(pairs)
}

fn some(pairs: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!pairs.is_empty()).then_some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sums::Known;

    fn place(text: &str) -> Location {
        Location::parse(text).expect("valid")
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let known = |text| Known::parse(text).expect("a checksum");
        let conditional = How {
            conditions: ConditionArgs {
                if_generation_match: Some(0),
                ..ConditionArgs::default()
            },
            ..How::default()
        };
        let described = How {
            metadata: Some(BTreeMap::new()),
            ..How::default()
        };
        let profiled = How {
            profile: Some("2+1".to_owned()),
            ..How::default()
        };
        let summed = |text| How {
            checksums: vec![known(text)],
            ..How::default()
        };
        let takes = |how: &How, from: &[&str], to: &str, recursive| {
            let from: Vec<_> = from.iter().map(|text| place(text)).collect();
            how.check(&from, &place(to), recursive).is_ok()
        };
        assert!(takes(&conditional, &["f"], "m://abc/k", false));
        assert!(takes(&conditional, &["m://abc/k"], "f", false));
        assert!(!takes(&conditional, &["f", "g"], "m://abc/k", false));
        assert!(!takes(&conditional, &["f"], "m://abc/k", true));
        assert!(takes(&described, &["f", "g"], "m://abc/k", true));
        assert!(takes(&described, &["m://abc/j"], "m://abc/k", false));
        assert!(!takes(&described, &["m://abc/k"], "f", false));
        assert!(takes(&profiled, &["f", "g"], "m://abc/k", true));
        assert!(!takes(&profiled, &["m://abc/k"], "f", false));
        assert!(takes(&summed("md5"), &["f", "g"], "m://abc/k", true));
        assert!(!takes(&summed("md5"), &["-"], "m://abc/k", false));
        assert!(!takes(&summed("md5"), &["m://abc/j"], "m://abc/k", false));
        assert!(!takes(&summed("md5"), &["m://abc/j"], "f", false));
        assert!(takes(
            &summed("crc32c=00000000"),
            &["-"],
            "m://abc/k",
            false
        ));
        assert!(!takes(
            &summed("crc32c=00000000"),
            &["f", "g"],
            "m://abc/k",
            false
        ));
    }

    #[test]
    fn a_version_is_no_condition() {
        let args = ReadConditionArgs {
            if_modified_since: Some(1),
            ..ReadConditionArgs::default()
        };
        let read = args.read_conditions(None).expect("the current version");
        assert_eq!(read.if_modified_since_ms, Some(1));
        assert!(args.read_conditions(Some(7)).is_err());
        assert!(
            ReadConditionArgs::default()
                .read_conditions(Some(7))
                .is_ok()
        );
    }
}
