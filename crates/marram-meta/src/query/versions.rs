//! The versions of objects, not only the current ones (decision 0032): one of them by its generation, or
//! a page of all.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow};

use marram_types::caps::LIST_PAGE_MAX;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, Generation, ObjectKey};

use super::answer::{HeadAnswer, ListItem, ListPage};
use super::list::{common_prefix, successor};
use super::messages::{ListQuery, ListStart};
use super::run::head_of;
use crate::kinds::noncurrent::{self as past, DeleteMarker, Past, PastHead, deser_past_head};
use crate::kinds::object::{VersionRow, deser_head, deser_key, ser_key};
use crate::kv::{KvRead, Table};
use crate::object::versions::newest;
use crate::refusal::unknown;
use crate::stored::{StateError, Stored, load};

/// Rows that are read ahead of what a page takes.
const ROWS_AHEAD: usize = 64;

/// What a key has, of one generation or at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionAnswer {
    /// Nothing.
    Absent,
    /// A delete marker.
    Marker {
        /// The marker.
        marker: DeleteMarker,
        /// Nothing is newer.
        is_current: bool,
    },
    /// A version.
    Version {
        /// The version.
        head: Box<HeadAnswer>,
        /// It is what the key has at present.
        is_current: bool,
    },
}

/// A version or delete marker in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionEntry {
    /// The key.
    pub key: String,
    /// Its generation.
    pub generation: Generation,
    /// Bytes; 0 of a marker.
    pub size: u64,
    /// Quotes included; empty of a marker.
    pub etag: String,
    /// Leader time of the commit.
    pub modified_ms: u64,
    /// It is a delete marker.
    pub is_marker: bool,
    /// Nothing of the key is newer.
    pub is_current: bool,
    /// It was written while its bucket kept versions; else it is the key's null version.
    pub numbered: bool,
}

/// What a key has of a generation; without one what it has at present.
pub(super) fn version(
    kv: &dyn KvRead,
    bucket: BucketId,
    key: &ObjectKey,
    generation: Option<Generation>,
) -> Result<VersionAnswer, StateError> {
    let name = (bucket, key.as_str());
    let current: Option<VersionRow> = load(kv, Table::Objects, &ser_key(bucket, key.as_str()))?;
    let is_absent = current.is_none();
    let asked = |of: &VersionRow| generation.is_none_or(|g| g == of.generation);
    if let Some(row) = current.filter(asked) {
        return Ok(VersionAnswer::Version {
            head: Box::new(head_of(kv, row)?),
            is_current: true,
        });
    }
    let found = match generation {
        None => newest(kv, name)?,
        Some(generation) => {
            let row_key = past::ser_key(bucket, key.as_str(), generation);
            load(kv, Table::Noncurrent, &row_key)?
        }
    };
    Ok(match found {
        None => VersionAnswer::Absent,
        Some(Past::Version(row)) => VersionAnswer::Version {
            head: Box::new(head_of(kv, *row)?),
            is_current: false,
        },
        Some(Past::Marker(marker)) => {
            let latest = newest(kv, name)?.map(|newest| newest.generation());
            VersionAnswer::Marker {
                is_current: is_absent && latest == Some(marker.generation),
                marker,
            }
        }
    })
}

/// One of the two tables, from where the page has come to.
struct Source {
    table: Table,
    from: Bound<Vec<u8>>,
    /// Rows read and not taken.
    ahead: VecDeque<VersionEntry>,
    /// There are none after those.
    ended: bool,
}

impl Source {
    fn new(table: Table, from: Bound<Vec<u8>>) -> Self {
        Self {
            table,
            from,
            ahead: VecDeque::new(),
            ended: false,
        }
    }

    /// The next row.
    fn peek(
        &mut self,
        kv: &dyn KvRead,
        to: Bound<&[u8]>,
    ) -> Result<Option<&VersionEntry>, StateError> {
        if self.ahead.is_empty() && !self.ended {
            self.read(kv, to)?;
        }
        Ok(self.ahead.front())
    }

    fn read(&mut self, kv: &dyn KvRead, to: Bound<&[u8]>) -> Result<(), StateError> {
        let (table, mut last, mut damage) = (self.table, None, None);
        let ahead = &mut self.ahead;
        let from = self.from.as_ref().map(Vec::as_slice);
        kv.scan(table, from, to, &mut |key, value| {
            let entry = match table {
                Table::Objects => current(key, value),
                _ => earlier(key, value),
            };
            match entry {
                Ok(entry) => ahead.push_back(entry),
                Err(source) => damage = Some(source),
            }
            last = Some(key.to_vec());
            if damage.is_some() || ahead.len() == ROWS_AHEAD {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if let Some(source) = damage {
            return Err(StateError::Corrupt { table, source });
        }
        self.ended = self.ahead.len() < ROWS_AHEAD;
        if let Some(last) = last {
            self.from = Bound::Excluded(last);
        }
        Ok(())
    }

    /// Goes on behind all keys that begin with `prefix`.
    fn skip(&mut self, bucket: BucketId, prefix: &str) {
        while self
            .ahead
            .front()
            .is_some_and(|e| e.key.starts_with(prefix))
        {
            self.ahead.pop_front();
        }
        if !self.ahead.is_empty() || self.ended {
            return;
        }
        let base = match self.table {
            Table::Objects => ser_key(bucket, prefix),
            _ => past::ser_prefix(bucket, prefix, false),
        };
        match successor(base) {
            Some(next) => self.from = Bound::Included(next),
            None => self.ended = true,
        }
    }
}

fn current(key: &[u8], value: &[u8]) -> Result<VersionEntry, DecodeError> {
    let (_, name) = deser_key(key)?;
    let head = deser_head(value)?;
    Ok(VersionEntry {
        key: name.to_owned(),
        generation: head.generation,
        size: head.size,
        etag: head.etag.to_owned(),
        modified_ms: head.modified_ms,
        is_marker: false,
        is_current: true,
        numbered: head.numbered,
    })
}

/// Whether a marker is current is not seen here.
fn earlier(key: &[u8], value: &[u8]) -> Result<VersionEntry, DecodeError> {
    let (_, key, generation) = past::deser_key(key)?;
    let entry = VersionEntry {
        key,
        generation,
        size: 0,
        etag: String::new(),
        modified_ms: 0,
        is_marker: true,
        is_current: false,
        numbered: false,
    };
    Ok(match deser_past_head(value)? {
        PastHead::Marker(marker) => VersionEntry {
            modified_ms: marker.modified_ms,
            numbered: marker.numbered,
            ..entry
        },
        PastHead::Version {
            modified_ms,
            size,
            etag,
            numbered,
            ..
        } => VersionEntry {
            size,
            etag: etag.to_owned(),
            modified_ms,
            is_marker: false,
            numbered,
            ..entry
        },
    })
}

/// By key, the newest of each first.
fn order(a: &VersionEntry, b: &VersionEntry) -> Ordering {
    let keys = a.key.cmp(&b.key);
    keys.then_with(|| b.generation.cmp(&a.generation))
}

/// Where the page begins in each table.
fn first(query: &ListQuery) -> [Bound<Vec<u8>>; 2] {
    let bucket = query.bucket;
    let base = [
        ser_key(bucket, &query.prefix),
        past::ser_prefix(bucket, &query.prefix, false),
    ];
    let start = match &query.start {
        ListStart::Begin => return base.map(Bound::Included),
        ListStart::AfterKey(key) => [
            Bound::Excluded(ser_key(bucket, key)),
            Bound::Excluded(past::ser_key(bucket, key, Generation(0))),
        ],
        // What is current may be older: what was newer may have been removed since.
        ListStart::AfterVersion(key, generation) => [
            Bound::Included(ser_key(bucket, key)),
            Bound::Excluded(past::ser_key(bucket, key, *generation)),
        ],
        ListStart::AfterPrefix(prefix) => {
            let behind = [
                successor(ser_key(bucket, prefix)),
                successor(past::ser_prefix(bucket, prefix, false)),
            ];
            let [Some(one), Some(two)] = behind else {
                return base.map(Bound::Included);
            };
            [Bound::Included(one), Bound::Included(two)]
        }
    };
    let mut base = base.into_iter();
    start.map(|start| {
        let base = base.next().expect("two tables");
        match &start {
            Bound::Included(key) | Bound::Excluded(key) if *key >= base => start,
            _ => Bound::Included(base),
        }
    })
}

/// Whether a key has a version or marker of this generation or a newer one.
fn has_from(
    kv: &dyn KvRead,
    (bucket, key): (BucketId, &str),
    generation: Generation,
) -> Result<bool, StateError> {
    let current: Option<VersionRow> = load(kv, Table::Objects, &ser_key(bucket, key))?;
    let newest = match current {
        Some(row) => Some(row.generation),
        None => newest(kv, (bucket, key))?.map(|newest| newest.generation()),
    };
    Ok(newest.is_some_and(|newest| newest >= generation))
}

/// A page of versions and delete markers. Common prefixes are skipped, not read through.
pub(super) fn list_versions(kv: &dyn KvRead, query: &ListQuery) -> Result<ListPage, StateError> {
    let limit = usize::try_from(query.limit.min(LIST_PAGE_MAX)).expect("a u32 fits a usize");
    let mut page = ListPage::default();
    if limit == 0 {
        return Ok(page);
    }
    let ends = [
        successor(ser_key(query.bucket, &query.prefix)),
        successor(past::ser_prefix(query.bucket, &query.prefix, false)),
    ];
    let to = ends
        .each_ref()
        .map(|end| end.as_deref().map_or(Bound::Unbounded, Bound::Excluded));
    let [objects, earlier] = first(query);
    let mut objects = Source::new(Table::Objects, objects);
    let mut earlier = Source::new(Table::Noncurrent, earlier);
    // The newest of its key is current, and was shown before where the page begins behind it.
    let mut seen = match &query.start {
        ListStart::AfterVersion(key, generation) => {
            has_from(kv, (query.bucket, key), *generation)?.then(|| key.clone())
        }
        _ => None,
    };
    loop {
        let source = match (objects.peek(kv, to[0])?, earlier.peek(kv, to[1])?) {
            (None, None) => return Ok(page),
            (Some(a), Some(b)) if order(a, b) == Ordering::Greater => &mut earlier,
            (None, Some(_)) => &mut earlier,
            (Some(_), _) => &mut objects,
        };
        let Some(mut entry) = source.ahead.pop_front() else {
            return Ok(page);
        };
        if let ListStart::AfterVersion(key, generation) = &query.start
            && entry.key == *key
            && entry.generation >= *generation
        {
            continue;
        }
        if page.items.len() == limit {
            page.more = true;
            return Ok(page);
        }
        if let Some(prefix) = common_prefix(query, &entry.key) {
            objects.skip(query.bucket, prefix);
            earlier.skip(query.bucket, prefix);
            page.items.push(ListItem::Prefix(prefix.to_owned()));
            continue;
        }
        entry.is_current |= seen.as_ref() != Some(&entry.key);
        seen = Some(entry.key.clone());
        page.items.push(ListItem::Version(entry));
    }
}

impl Stored for VersionEntry {
    fn encode(&self, out: &mut Writer) {
        out.str(&self.key)
            .varint(self.generation.0)
            .varint(self.size)
            .str(&self.etag)
            .varint(self.modified_ms)
            .bool(self.is_marker)
            .bool(self.is_current)
            .bool(self.numbered);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: from.str()?.to_owned(),
            generation: Generation(from.varint()?),
            size: from.varint()?,
            etag: from.str()?.to_owned(),
            modified_ms: from.varint()?,
            is_marker: from.bool()?,
            is_current: from.bool()?,
            numbered: from.bool()?,
        })
    }
}

impl VersionAnswer {
    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Absent => {
                out.u8(1);
            }
            Self::Marker { marker, is_current } => {
                marker.encode(out.u8(2));
                out.bool(*is_current);
            }
            Self::Version { head, is_current } => {
                out.u8(3).bool(*is_current);
                head.encode(out);
            }
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>, whole: &bytes::Bytes) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Absent,
            2 => Self::Marker {
                marker: DeleteMarker::decode(from)?,
                is_current: from.bool()?,
            },
            3 => Self::Version {
                is_current: from.bool()?,
                head: Box::new(HeadAnswer::decode(from, whole)?),
            },
            other => return Err(unknown("version answer", other)),
        })
    }
}
