//! What of a bucket is due by its rules, a page at a time: where a worker has to look, and what a dry run
//! shows. What is said here is judged again when it is to be removed.

use std::ops::Bound;

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Generation, ObjectKey, UploadId};

use super::run::page;
use crate::kinds::bucket;
use crate::kinds::bucket::BucketRecord;
use crate::kinds::lifecycle::{Facts, Lifecycle};
use crate::kinds::noncurrent::{self as past, Past, PastHead};
use crate::kinds::object::{VersionRow, deser_head, deser_key, ser_key};
use crate::kinds::upload::{self as uploads, UploadRow};
use crate::kv::{KvRead, Table};
use crate::object::expire::{is_last_marker, rules_of};
use crate::object::expire_command::{Due, DueWhat};
use crate::refusal::unknown;
use crate::stored::{StateError, Stored, load};

/// Most rows that one page looks at.
pub const DUE_ROWS_MAX: u32 = 1000;

/// Where a walk through a bucket has come to: its current versions, then the others with the delete
/// markers, then its uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DuePlace {
    /// Current versions after this key; none: all.
    Objects(Option<String>),
    /// Versions that are not current after this one.
    Noncurrent(Option<PastPlace>),
    /// Uploads after this one.
    Uploads(Option<(String, UploadId)>),
}

/// A version or marker that was looked at, and what the next one of its key needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastPlace {
    /// The key.
    pub key: String,
    /// Of the version or marker.
    pub generation: Generation,
    /// When it was written.
    pub written_ms: u64,
    /// Versions of the key up to here that are not current.
    pub versions: u32,
}

/// Asks for what is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueQuery {
    /// The bucket.
    pub bucket: BucketId,
    /// By this time.
    pub now_ms: u64,
    /// By these rules; none: by those that the group knows.
    pub rules: Option<Lifecycle>,
    /// From here on.
    pub from: DuePlace,
    /// Most rows to look at; at most [`DUE_ROWS_MAX`] are.
    pub rows: u32,
}

/// Something that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueItem {
    /// What.
    pub due: Due,
    /// By which rule, by its place.
    pub rule: u32,
    /// Bytes that go with it.
    pub bytes: u64,
}

/// What is due of the rows that were looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueAnswer {
    /// In the order of the rows.
    pub items: Vec<DueItem>,
    /// Rows that were looked at.
    pub rows: u32,
    /// Where to go on; none: that was all.
    pub next: Option<DuePlace>,
}

/// One page of a walk.
pub(super) fn due(kv: &dyn KvRead, query: &DueQuery) -> Result<DueAnswer, StateError> {
    let record: Option<BucketRecord> = load(kv, Table::Buckets, &bucket::ser_key(query.bucket))?;
    let Some(record) = record else {
        return Ok(DueAnswer::default());
    };
    let rules = match &query.rules {
        Some(rules) => rules.clone(),
        None => rules_of(kv, query.bucket)?,
    };
    let walk = Walk {
        kv,
        record: &record,
        rules: &rules,
        now_ms: query.now_ms,
        tagged: rules.any(|rule| !rule.filter.tags.is_empty()),
        rows: query.rows.clamp(1, DUE_ROWS_MAX),
    };
    let mut from = query.from.clone();
    // Kinds that no rule is about are passed over.
    loop {
        match from {
            DuePlace::Objects(after) if rules.any(|rule| rule.expire.is_some()) => {
                return walk.objects(after.as_deref());
            }
            DuePlace::Objects(_) => from = DuePlace::Noncurrent(None),
            DuePlace::Noncurrent(after)
                if rules.any(|rule| rule.noncurrent.is_some() || rule.expired_markers) =>
            {
                return walk.noncurrent(after);
            }
            DuePlace::Noncurrent(_) => from = DuePlace::Uploads(None),
            DuePlace::Uploads(after) if rules.any(|rule| rule.abort_after_days.is_some()) => {
                return walk.uploads(after);
            }
            DuePlace::Uploads(_) => return Ok(DueAnswer::default()),
        }
    }
}

struct Walk<'a> {
    kv: &'a dyn KvRead,
    record: &'a BucketRecord,
    rules: &'a Lifecycle,
    now_ms: u64,
    /// A rule asks for tags: else they are not read.
    tagged: bool,
    rows: u32,
}

/// A bound after a key of a table, or at the first one of the bucket.
fn start(bucket: BucketId, after: Option<Vec<u8>>) -> Bound<Vec<u8>> {
    match after {
        Some(key) => Bound::Excluded(key),
        None => Bound::Included(bucket.0.to_be_bytes().to_vec()),
    }
}

fn borrow(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
}

fn named(key: &str) -> Result<ObjectKey, DecodeError> {
    ObjectKey::new(key).map_err(|_| DecodeError::Invalid("object key"))
}

/// Counts are far below.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A version or marker that is not current.
struct Seen {
    written_ms: u64,
    /// None of a marker.
    size: Option<u64>,
    tags: Vec<(String, String)>,
}

/// What a key's next older version or marker needs to know of what is newer.
struct Newer {
    key: String,
    /// The nearest: its generation, and when it was written; none: nothing is newer.
    next: Option<(Generation, u64)>,
    versions: u32,
}

impl Walk<'_> {
    fn end(&self) -> [u8; 8] {
        (self.record.bucket.0 + 1).to_be_bytes()
    }

    fn objects(&self, after: Option<&str>) -> Result<DueAnswer, StateError> {
        let bucket = self.record.bucket;
        let from = start(bucket, after.map(|key| ser_key(bucket, key)));
        let end = self.end();
        let range = (borrow(&from), Bound::Excluded(&end[..]));
        let each = |key: &[u8], value: &[u8]| {
            let (_, key) = deser_key(key)?;
            let head = deser_head(value)?;
            let tags = match self.tagged {
                true => VersionRow::deser_value(value)?.tags,
                false => Vec::new(),
            };
            let facts = Facts {
                key,
                size: head.size,
                tags: &tags,
            };
            let rule = self.rules.expires(&facts, head.modified_ms, self.now_ms);
            let item = rule.map(|rule| {
                let due = Due {
                    key: named(key)?,
                    what: DueWhat::Current(head.generation),
                };
                Ok::<_, DecodeError>(self.item(due, rule, head.size))
            });
            Ok(Some((key.to_owned(), item.transpose()?)))
        };
        let found = page(self.kv, Table::Objects, range, self.rows, each)?;
        let last = found.items.last().map(|(key, _)| key.clone());
        let next = match found.more {
            true => DuePlace::Objects(last),
            false => DuePlace::Noncurrent(None),
        };
        Ok(answer(found.items.into_iter().map(|(_, item)| item), next))
    }

    fn item(&self, due: Due, rule: usize, bytes: u64) -> DueItem {
        DueItem {
            due,
            rule: small(rule),
            bytes,
        }
    }

    fn noncurrent(&self, after: Option<PastPlace>) -> Result<DueAnswer, StateError> {
        let bucket = self.record.bucket;
        let place = after
            .as_ref()
            .map(|at| past::ser_key(bucket, &at.key, at.generation));
        let from = start(bucket, place);
        let end = self.end();
        let range = (borrow(&from), Bound::Excluded(&end[..]));
        let each = |key: &[u8], value: &[u8]| {
            let (_, key, generation) = past::deser_key(key)?;
            Ok(Some((key, generation, self.seen(value)?)))
        };
        let found = page(self.kv, Table::Noncurrent, range, self.rows, each)?;
        let mut newer = after.map(|at| Newer {
            key: at.key,
            next: Some((at.generation, at.written_ms)),
            versions: at.versions,
        });
        let mut items = Vec::with_capacity(found.items.len());
        for (key, generation, seen) in found.items {
            let mut of = match newer.take().filter(|newer| newer.key == key) {
                Some(of) => of,
                None => self.newest(key)?,
            };
            items.push(self.judge(&of, generation, &seen)?);
            of.versions += u32::from(seen.size.is_some());
            of.next = Some((generation, seen.written_ms));
            newer = Some(of);
        }
        let place = newer.and_then(|newer| {
            let (generation, written_ms) = newer.next?;
            Some(PastPlace {
                key: newer.key,
                generation,
                written_ms,
                versions: newer.versions,
            })
        });
        let next = match found.more {
            true => DuePlace::Noncurrent(place),
            false => DuePlace::Uploads(None),
        };
        Ok(answer(items.into_iter(), next))
    }

    fn seen(&self, value: &[u8]) -> Result<Seen, DecodeError> {
        let tags = match self.tagged {
            true => match Past::deser_value(value)? {
                Past::Version(row) => row.tags,
                Past::Marker(_) => Vec::new(),
            },
            false => Vec::new(),
        };
        let (written_ms, size) = match past::deser_past_head(value)? {
            PastHead::Version {
                took_its_place_ms,
                size,
                ..
            } => (took_its_place_ms, Some(size)),
            PastHead::Marker(marker) => (marker.modified_ms, None),
        };
        Ok(Seen {
            written_ms,
            size,
            tags,
        })
    }

    /// What is newer than all of a key's noncurrent rows.
    fn newest(&self, key: String) -> Result<Newer, StateError> {
        let row_key = ser_key(self.record.bucket, &key);
        let current = self.kv.get(Table::Objects, &row_key)?;
        let next = current.map(|row| {
            let head = deser_head(&row)?;
            Ok::<_, DecodeError>((head.generation, head.took_its_place_ms))
        });
        let next = next
            .transpose()
            .map_err(StateError::corrupt(Table::Objects))?;
        Ok(Newer {
            key,
            next,
            versions: 0,
        })
    }

    /// Whether a version or marker is due.
    fn judge(
        &self,
        newer: &Newer,
        generation: Generation,
        seen: &Seen,
    ) -> Result<Option<DueItem>, StateError> {
        let key = newer.key.as_str();
        let of_key = |what| {
            let key = named(key).map_err(StateError::corrupt(Table::Noncurrent))?;
            Ok::<_, StateError>(Due { key, what })
        };
        match (seen.size, newer.next) {
            (Some(size), Some((next, since_ms))) => {
                let tags = &seen.tags;
                let facts = Facts { key, size, tags };
                let since = (since_ms, newer.versions);
                let rule = self.rules.expires_noncurrent(&facts, since, self.now_ms);
                let what = DueWhat::Noncurrent { generation, next };
                let item = |rule| Ok(self.item(of_key(what)?, rule, size));
                rule.map(item).transpose()
            }
            (None, Some((next, since_ms))) => {
                let since = (since_ms, newer.versions);
                let rule = self.rules.expires_old_marker(key, since, self.now_ms);
                let what = DueWhat::Noncurrent { generation, next };
                rule.map(|rule| Ok(self.item(of_key(what)?, rule, 0)))
                    .transpose()
            }
            (None, None) => {
                let rule = self.rules.removes_marker(key);
                match rule {
                    Some(rule) if is_last_marker(self.kv, self.record, key, generation)? => {
                        let due = of_key(DueWhat::Marker(generation))?;
                        Ok(Some(self.item(due, rule, 0)))
                    }
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    fn uploads(&self, after: Option<(String, UploadId)>) -> Result<DueAnswer, StateError> {
        let bucket = self.record.bucket;
        let place = after.map(|(key, upload)| uploads::ser_key(bucket, &key, upload));
        let from = start(bucket, place);
        let end = self.end();
        let range = (borrow(&from), Bound::Excluded(&end[..]));
        let each = |key: &[u8], value: &[u8]| {
            let (_, key, upload) = uploads::deser_key(key)?;
            let row = UploadRow::deser_value(value)?;
            let rule = self.rules.aborts(&key, row.created_ms, self.now_ms);
            let item = rule.map(|rule| {
                let due = Due {
                    key: named(&key)?,
                    what: DueWhat::Upload(upload),
                };
                Ok::<_, DecodeError>(self.item(due, rule, row.totals.bytes))
            });
            Ok(Some(((key, upload), item.transpose()?)))
        };
        let found = page(self.kv, Table::Uploads, range, self.rows, each)?;
        let last = found.items.last().map(|(place, _)| place.clone());
        let next = found.more.then_some(DuePlace::Uploads(last));
        let items = found.items.into_iter().map(|(_, item)| item);
        let mut answer = answer(items, DuePlace::Uploads(None));
        answer.next = next;
        Ok(answer)
    }
}

fn answer(items: impl ExactSizeIterator<Item = Option<DueItem>>, next: DuePlace) -> DueAnswer {
    DueAnswer {
        rows: small(items.len()),
        items: items.flatten().collect(),
        next: Some(next),
    }
}

impl Stored for DuePlace {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Objects(after) => {
                out.u8(1).option(after.as_ref(), |out, key| {
                    out.str(key);
                });
            }
            Self::Noncurrent(after) => {
                out.u8(2).option(after.as_ref(), |out, at| {
                    out.str(&at.key)
                        .varint(at.generation.0)
                        .varint(at.written_ms)
                        .varint(u64::from(at.versions));
                });
            }
            Self::Uploads(after) => {
                out.u8(3).option(after.as_ref(), |out, (key, upload)| {
                    out.str(key).u128_be(upload.0);
                });
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Objects(from.option(|from| from.str().map(str::to_owned))?),
            2 => Self::Noncurrent(from.option(|from| {
                Ok(PastPlace {
                    key: from.str()?.to_owned(),
                    generation: Generation(from.varint()?),
                    written_ms: from.varint()?,
                    versions: get_u32(from)?,
                })
            })?),
            3 => Self::Uploads(
                from.option(|from| Ok((from.str()?.to_owned(), UploadId(from.u128_be()?))))?,
            ),
            other => return Err(unknown("place of a walk", other)),
        })
    }
}

fn get_u32(from: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(from.varint()?).map_err(|_| DecodeError::Invalid("count"))
}

impl Stored for DueQuery {
    fn encode(&self, out: &mut Writer) {
        out.u64_be(self.bucket.0)
            .varint(self.now_ms)
            .option(self.rules.as_ref(), |out, rules| rules.encode(out));
        self.from.encode(out);
        out.varint(u64::from(self.rows));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            bucket: BucketId(from.u64_be()?),
            now_ms: from.varint()?,
            rules: from.option(Lifecycle::decode)?,
            from: DuePlace::decode(from)?,
            rows: get_u32(from)?,
        })
    }
}

impl Stored for DueAnswer {
    fn encode(&self, out: &mut Writer) {
        out.list(&self.items, |out, item| {
            item.due.encode(out);
            out.varint(u64::from(item.rule)).varint(item.bytes);
        })
        .varint(u64::from(self.rows))
        .option(self.next.as_ref(), |out, next| next.encode(out));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            items: from.list(|from| {
                Ok(DueItem {
                    due: Due::decode(from)?,
                    rule: get_u32(from)?,
                    bytes: from.varint()?,
                })
            })?,
            rows: get_u32(from)?,
            next: from.option(DuePlace::decode)?,
        })
    }
}
