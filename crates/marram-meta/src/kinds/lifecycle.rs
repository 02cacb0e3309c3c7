//! `Lifecycles`: bucket -> the rules by which what it holds goes by itself (decision 0054).
//!
//! A rule says which objects it is for, and what becomes of them when. Times are those of S3: so many days
//! after a version was written or ceased to be current, rounded up to the next midnight UTC.

use std::collections::BTreeSet;

use marram_types::caps::{KEY_BYTES_MAX, LIFECYCLE_BYTES_MAX, LIFECYCLE_RULES_MAX};
use marram_types::check_tags_form;
use marram_types::codec::{DecodeError, Reader, Writer};

use super::object::{get_metadata, put_metadata};
use crate::stored::Stored;

const VERSION: u8 = 1;

/// A day, in milliseconds.
pub const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Longest id of a rule, as in S3.
pub const RULE_ID_BYTES_MAX: usize = 255;
/// Most days of a rule: more than a century.
pub const RULE_DAYS_MAX: u32 = 36_500;
/// Most noncurrent versions that a rule keeps whatever their age, as in S3.
pub const RULE_KEEPS_MAX: u32 = 100;

const DAYS: &str = "write a number of days from 1 to 36500";

/// Which objects a rule is for: those of which all of it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleFilter {
    /// Keys that begin so; empty: all.
    pub prefix: String,
    /// More bytes than this.
    pub larger_than: Option<u64>,
    /// Fewer bytes than this.
    pub smaller_than: Option<u64>,
    /// All of these tags, in the order of their keys.
    pub tags: Vec<(String, String)>,
}

/// When current versions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// So many days after they were written.
    AfterDays(u32),
    /// From this day on, by its midnight in milliseconds since 1970, whenever they were written.
    OnDate(u64),
}

/// When versions go that are not current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoncurrentExpiry {
    /// So many days after a newer one took their place.
    pub after_days: u32,
    /// The newest so many of a key stay whatever their age.
    pub keep_newest: u32,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleRule {
    /// Names it within the bucket.
    pub id: String,
    /// A rule that is not does nothing.
    pub enabled: bool,
    /// What it is for.
    pub filter: RuleFilter,
    /// Current versions: removed, or marked as deleted where the bucket keeps versions.
    pub expire: Option<Expiry>,
    /// Versions and delete markers that are not current.
    pub noncurrent: Option<NoncurrentExpiry>,
    /// Delete markers of which nothing else of their key is left.
    pub expired_markers: bool,
    /// Uploads that are not completed so many days after they began.
    pub abort_after_days: Option<u32>,
}

/// The rules of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// In the order in which they were given, which is that in which they are tried.
    pub rules: Vec<LifecycleRule>,
}

/// Why rules are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// More than a bucket has.
    #[error("{count} rules: a bucket has at most {LIFECYCLE_RULES_MAX}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// More than groups keep of it.
    #[error(
        "the rules take {bytes} bytes, at most {LIFECYCLE_BYTES_MAX} are kept: shorten ids and prefixes"
    )]
    TooLarge {
        /// Their size.
        bytes: usize,
    },
    /// An id that does not name one rule.
    #[error("two rules have the id `{id}`: give each its own")]
    Twice {
        /// The id.
        id: String,
    },
    /// One rule is wrong in itself.
    #[error("rule `{rule}`: {field}: {problem}")]
    Rule {
        /// Its id, or its place where it has none.
        rule: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it, and what would do.
        problem: &'static str,
    },
}

/// What is known of something that may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) key: &'a str,
    pub(crate) size: u64,
    /// In the order of their keys.
    pub(crate) tags: &'a [(String, String)],
}

/// Days after a moment, rounded up to midnight UTC.
#[must_use]
pub fn days_after(ms: u64, days: u32) -> u64 {
    let then = ms.saturating_add(u64::from(days).saturating_mul(DAY_MS));
    then.div_ceil(DAY_MS).saturating_mul(DAY_MS)
}

impl RuleFilter {
    fn takes(&self, facts: &Facts<'_>) -> bool {
        facts.key.starts_with(&self.prefix)
            && self.larger_than.is_none_or(|least| facts.size > least)
            && self.smaller_than.is_none_or(|most| facts.size < most)
            && self.tags.iter().all(|tag| facts.tags.contains(tag))
    }

    /// It asks for more than a prefix.
    fn is_narrow(&self) -> bool {
        self.larger_than.is_some() || self.smaller_than.is_some() || !self.tags.is_empty()
    }
}

impl LifecycleRule {
    /// What is wrong with the rule in itself.
    fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let days = |days: u32| !(1..=RULE_DAYS_MAX).contains(&days);
        if self.id.is_empty() || self.id.len() > RULE_ID_BYTES_MAX {
            return Some(("id", "write 1 to 255 bytes"));
        }
        if self.filter.prefix.len() > KEY_BYTES_MAX {
            return Some(("prefix", "no key is longer than 1024 bytes"));
        }
        if let (Some(least), Some(most)) = (self.filter.larger_than, self.filter.smaller_than)
            && least.saturating_add(1) >= most
        {
            return Some((
                "smaller_than",
                "no size is larger than the one and smaller than the other",
            ));
        }
        if check_tags_form(&self.filter.tags).is_err() {
            return Some((
                "tags",
                "name at most 10 tags, each once, as objects can have them",
            ));
        }
        match self.expire {
            Some(Expiry::AfterDays(n)) if days(n) => return Some(("expire_after_days", DAYS)),
            Some(Expiry::OnDate(ms)) if ms % DAY_MS != 0 => {
                return Some(("expire_on_ms", "write the midnight UTC that begins a day"));
            }
            _ => {}
        }
        if self.noncurrent.is_some_and(|of| days(of.after_days)) {
            return Some(("noncurrent.after_days", DAYS));
        }
        if self
            .noncurrent
            .is_some_and(|of| of.keep_newest > RULE_KEEPS_MAX)
        {
            return Some((
                "keep_newest",
                "at most 100 versions are kept whatever their age",
            ));
        }
        if self.abort_after_days.is_some_and(days) {
            return Some(("abort_uploads_after_days", DAYS));
        }
        self.contradiction()
    }

    fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        if self.filter.is_narrow() && self.abort_after_days.is_some() {
            let why = "an upload has no size and no tags yet: give it a rule of its own with a prefix only";
            return Some(("abort_uploads_after_days", why));
        }
        if self.filter.is_narrow() && self.expired_markers {
            let why = "a delete marker has no size and no tags: give it a rule of its own with a prefix only";
            return Some(("expired_delete_markers", why));
        }
        let does_nothing = self.expire.is_none()
            && self.noncurrent.is_none()
            && self.abort_after_days.is_none()
            && !self.expired_markers;
        does_nothing.then_some(("rules", "say what the rule does: it does nothing"))
    }
}

impl Lifecycle {
    /// What is wrong with the rules, if anything.
    ///
    /// # Errors
    /// The first thing that is.
    pub fn check(&self) -> Result<(), LifecycleError> {
        let count = self.rules.len();
        if count > LIFECYCLE_RULES_MAX {
            return Err(LifecycleError::TooMany { count });
        }
        let mut ids = BTreeSet::new();
        for (at, rule) in self.rules.iter().enumerate() {
            if let Some((field, problem)) = rule.wrong() {
                let rule = match rule.id.is_empty() {
                    true => format!("number {}", at + 1),
                    false => rule.id.clone(),
                };
                return Err(LifecycleError::Rule {
                    rule,
                    field,
                    problem,
                });
            }
            if !ids.insert(rule.id.as_str()) {
                let id = rule.id.clone();
                return Err(LifecycleError::Twice { id });
            }
        }
        let bytes = self.ser_value().len();
        if bytes > LIFECYCLE_BYTES_MAX {
            return Err(LifecycleError::TooLarge { bytes });
        }
        Ok(())
    }

    /// The first enabled rule that `takes`.
    fn first(&self, takes: impl Fn(&LifecycleRule) -> bool) -> Option<usize> {
        self.rules
            .iter()
            .position(|rule| rule.enabled && takes(rule))
    }

    /// The rule by which a current version goes now.
    pub(crate) fn expires(&self, facts: &Facts<'_>, written_ms: u64, now_ms: u64) -> Option<usize> {
        self.first(|rule| {
            let due_ms = match rule.expire {
                None => return false,
                Some(Expiry::AfterDays(days)) => days_after(written_ms, days),
                Some(Expiry::OnDate(ms)) => ms,
            };
            due_ms <= now_ms && rule.filter.takes(facts)
        })
    }

    /// The rule by which a version goes that ceased to be current at `since_ms`, and of whose key
    /// `newer` versions are that are not current either.
    pub(crate) fn expires_noncurrent(
        &self,
        facts: &Facts<'_>,
        (since_ms, newer): (u64, u32),
        now_ms: u64,
    ) -> Option<usize> {
        self.first(|rule| {
            rule.noncurrent.is_some_and(|of| {
                newer >= of.keep_newest && days_after(since_ms, of.after_days) <= now_ms
            }) && rule.filter.takes(facts)
        })
    }

    /// The same of a delete marker that is not current: it goes as a version would, by rules that ask for
    /// no more than a prefix.
    pub(crate) fn expires_old_marker(
        &self,
        key: &str,
        (since_ms, newer): (u64, u32),
        now_ms: u64,
    ) -> Option<usize> {
        self.first(|rule| {
            rule.noncurrent.is_some_and(|of| {
                newer >= of.keep_newest && days_after(since_ms, of.after_days) <= now_ms
            }) && !rule.filter.is_narrow()
                && key.starts_with(&rule.filter.prefix)
        })
    }

    /// The rule by which a delete marker goes, when nothing else of its key is left.
    pub(crate) fn removes_marker(&self, key: &str) -> Option<usize> {
        self.first(|rule| rule.expired_markers && key.starts_with(&rule.filter.prefix))
    }

    /// The rule by which an upload is ended now.
    pub(crate) fn aborts(&self, key: &str, began_ms: u64, now_ms: u64) -> Option<usize> {
        self.first(|rule| {
            let days = rule.abort_after_days;
            days.is_some_and(|days| days_after(began_ms, days) <= now_ms)
                && key.starts_with(&rule.filter.prefix)
        })
    }

    /// Whether an enabled rule is of this kind: where none is, nothing needs to be looked at.
    pub(crate) fn any(&self, is: impl Fn(&LifecycleRule) -> bool) -> bool {
        self.first(is).is_some()
    }
}

fn put_number(out: &mut Writer, number: Option<u64>) {
    out.option(number.as_ref(), |out, number| {
        out.varint(*number);
    });
}

fn get_u32(from: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(from.varint()?).map_err(|_| DecodeError::Invalid("number of a rule"))
}

impl Stored for LifecycleRule {
    fn encode(&self, out: &mut Writer) {
        out.str(&self.id)
            .bool(self.enabled)
            .str(&self.filter.prefix);
        put_number(out, self.filter.larger_than);
        put_number(out, self.filter.smaller_than);
        put_metadata(out, &self.filter.tags);
        match self.expire {
            None => out.u8(0),
            Some(Expiry::AfterDays(days)) => out.u8(1).varint(u64::from(days)),
            Some(Expiry::OnDate(ms)) => out.u8(2).varint(ms),
        };
        out.option(self.noncurrent.as_ref(), |out, of| {
            out.varint(u64::from(of.after_days))
                .varint(u64::from(of.keep_newest));
        });
        out.bool(self.expired_markers);
        put_number(out, self.abort_after_days.map(u64::from));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: from.str()?.to_owned(),
            enabled: from.bool()?,
            filter: RuleFilter {
                prefix: from.str()?.to_owned(),
                larger_than: from.option(Reader::varint)?,
                smaller_than: from.option(Reader::varint)?,
                tags: get_metadata(from)?,
            },
            expire: match from.u8()? {
                0 => None,
                1 => Some(Expiry::AfterDays(get_u32(from)?)),
                2 => Some(Expiry::OnDate(from.varint()?)),
                other => {
                    return Err(DecodeError::Unknown {
                        what: "expiry of a rule",
                        found: u64::from(other),
                    });
                }
            },
            noncurrent: from.option(|from| {
                Ok(NoncurrentExpiry {
                    after_days: get_u32(from)?,
                    keep_newest: get_u32(from)?,
                })
            })?,
            expired_markers: from.bool()?,
            abort_after_days: from.option(get_u32)?,
        })
    }
}

impl Stored for Lifecycle {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .list(&self.rules, |out, rule| rule.encode(out));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("lifecycle version", VERSION)?;
        Ok(Self {
            rules: from.list(LifecycleRule::decode)?,
        })
    }
}
