//! What must hold of a version for it to be read.

use marram_meta::{VersionRow, etag_matches};
use marram_proto::v1;

use crate::status::{Fault, Reason};
use crate::validate::{self, InvalidField};

/// Conditions of a read, checked in form.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Conditions(v1::ReadConditions);

/// A condition that does not hold, with the version that is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unmet {
    #[error("the object is another version than asked for: it has generation {generation}")]
    Other { generation: u64, etag: String },
    #[error("the object is not modified: it has generation {generation}")]
    NotModified { generation: u64, etag: String },
}

impl Fault for Unmet {
    fn reason(&self) -> Reason {
        match self {
            Self::Other { .. } => Reason::PreconditionFailed,
            Self::NotModified { .. } => Reason::NotModified,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let (Self::Other { generation, etag } | Self::NotModified { generation, etag }) = self;
        vec![
            ("current_generation", generation.to_string()),
            ("current_etag", etag.clone()),
        ]
    }
}

impl Conditions {
    /// Checks the form.
    pub(crate) fn new(given: Option<v1::ReadConditions>) -> Result<Self, InvalidField> {
        let given = given.unwrap_or_default();
        validate::etag("if_etag_match", given.if_etag_match.as_deref())?;
        validate::etag("if_etag_none_match", given.if_etag_none_match.as_deref())?;
        Ok(Self(given))
    }

    /// Judges a version. As in HTTP, a tag that is compared makes the time of its kind void.
    pub(crate) fn check(&self, row: &VersionRow) -> Result<(), Unmet> {
        let given = &self.0;
        let generation = row.generation.0;
        let modified_ms = i64::try_from(row.modified_ms).unwrap_or(i64::MAX);
        let tag_is = |tag: &String| etag_matches(tag, &row.etag);
        let etag = row.etag.clone();
        let later = |since: i64| modified_ms > since;
        let right_time = given.if_etag_match.is_some()
            || given
                .if_unmodified_since_ms
                .is_none_or(|since| !later(since));
        let is_it = given.if_generation_match.is_none_or(|g| g == generation)
            && given.if_etag_match.as_ref().is_none_or(tag_is)
            && right_time;
        if !is_it {
            return Err(Unmet::Other { generation, etag });
        }
        let news =
            given.if_etag_none_match.is_some() || given.if_modified_since_ms.is_none_or(later);
        let is_new = given
            .if_generation_not_match
            .is_none_or(|g| g != generation)
            && given
                .if_etag_none_match
                .as_ref()
                .is_none_or(|tag| !tag_is(tag))
            && news;
        if is_new {
            Ok(())
        } else {
            Err(Unmet::NotModified { generation, etag })
        }
    }
}

#[cfg(test)]
mod tests {
    use marram_meta::Body;
    use marram_types::{DataId, Generation, GroupId, VersionId};

    use super::*;

    fn row() -> VersionRow {
        VersionRow {
            version: VersionId(1),
            generation: Generation(7),
            modified_ms: 1_000,
            placed_ms: None,
            size: 3,
            crc64: 5,
            etag: "\"tag\"".to_owned(),
            content_type: String::new(),
            metadata: Vec::new(),
            tags: Vec::new(),
            body: Body::Inline {
                data: DataId {
                    group: GroupId(1),
                    begin: 1,
                    random: 1,
                },
            },
            nominal: "1+0".parse().unwrap(),
            own: None,
            narrowed: false,
            under_protected: false,
            off_profile: false,
            numbered: false,
        }
    }

    /// `=`: it is read; `!`: it is another one; `~`: it is not modified.
    fn judged(set: impl FnOnce(&mut v1::ReadConditions)) -> char {
        let mut given = v1::ReadConditions::default();
        set(&mut given);
        match Conditions::new(Some(given)).unwrap().check(&row()) {
            Ok(()) => '=',
            Err(Unmet::Other { generation: 7, .. }) => '!',
            Err(Unmet::NotModified { generation: 7, .. }) => '~',
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_condition_alone() {
        assert_eq!(judged(|_| ()), '=');
        for (generation, is, is_not) in [(7, '=', '~'), (8, '!', '=')] {
            assert_eq!(judged(|c| c.if_generation_match = Some(generation)), is);
            assert_eq!(
                judged(|c| c.if_generation_not_match = Some(generation)),
                is_not
            );
        }
        for (tag, is, is_not) in [("\"tag\"", '=', '~'), ("*", '=', '~'), ("tag", '!', '=')] {
            assert_eq!(judged(|c| c.if_etag_match = Some(tag.to_owned())), is);
            assert_eq!(
                judged(|c| c.if_etag_none_match = Some(tag.to_owned())),
                is_not
            );
        }
        for (since, modified, unmodified) in [(999, '=', '!'), (1_000, '~', '='), (1_001, '~', '=')]
        {
            assert_eq!(judged(|c| c.if_modified_since_ms = Some(since)), modified);
            assert_eq!(
                judged(|c| c.if_unmodified_since_ms = Some(since)),
                unmodified
            );
        }
    }

    #[test]
    fn a_tag_makes_the_time_of_its_kind_void_and_all_others_count() {
        let tag = || Some("\"tag\"".to_owned());
        let both = judged(|c| (c.if_etag_match, c.if_unmodified_since_ms) = (tag(), Some(1)));
        assert_eq!(both, '=');
        let other = Some("\"x\"".to_owned());
        let both =
            judged(|c| (c.if_etag_none_match, c.if_modified_since_ms) = (other, Some(2_000)));
        assert_eq!(both, '=');
        let both = judged(|c| (c.if_etag_match, c.if_generation_match) = (tag(), Some(8)));
        assert_eq!(both, '!');
        let both = judged(|c| (c.if_etag_match, c.if_generation_not_match) = (tag(), Some(7)));
        assert_eq!(both, '~');
    }

    #[test]
    fn a_tag_that_is_too_long_is_refused() {
        let given = v1::ReadConditions {
            if_etag_match: Some("x".repeat(257)),
            ..v1::ReadConditions::default()
        };
        assert!(Conditions::new(Some(given)).is_err());
    }
}
