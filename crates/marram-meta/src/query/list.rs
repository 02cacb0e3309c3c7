//! A page of one group's keys.

use std::ops::{Bound, ControlFlow};

use marram_types::caps::LIST_PAGE_MAX;
use marram_types::codec::DecodeError;

use super::answer::{ListEntry, ListItem, ListPage};
use super::messages::{ListQuery, ListStart};
use crate::kinds::object::{deser_head, deser_key, ser_key};
use crate::kv::{KvRead, Table};
use crate::stored::StateError;

/// Reads a page. Common prefixes are skipped, not read through: after one is found the scan goes on
/// behind all of its keys.
pub(super) fn list(kv: &dyn KvRead, query: &ListQuery) -> Result<ListPage, StateError> {
    let limit = usize::try_from(query.limit.min(LIST_PAGE_MAX)).expect("a u32 fits a usize");
    let mut page = PageBuilder {
        query,
        limit,
        page: ListPage::default(),
        damage: None,
    };
    if limit == 0 {
        return Ok(page.page);
    }
    let base = ser_key(query.bucket, &query.prefix);
    let end = successor(base.clone());
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut next = Some(first_bound(query, base));
    while let Some(from) = next.take() {
        kv.scan(
            Table::Objects,
            from.as_ref().map(Vec::as_slice),
            to,
            &mut |key, value| match page.add(key, value) {
                Step::Next => ControlFlow::Continue(()),
                Step::SkipTo(bound) => {
                    next = bound;
                    ControlFlow::Break(())
                }
            },
        )?;
    }
    match page.damage {
        None => Ok(page.page),
        Some(source) => Err(StateError::Corrupt {
            table: Table::Objects,
            source,
        }),
    }
}

/// Where the scan begins: at the prefix, or later when the page before ended later.
fn first_bound(query: &ListQuery, base: Vec<u8>) -> Bound<Vec<u8>> {
    let start = match &query.start {
        ListStart::Begin => return Bound::Included(base),
        ListStart::AfterKey(key) | ListStart::AfterVersion(key, _) => {
            Bound::Excluded(ser_key(query.bucket, key))
        }
        ListStart::AfterPrefix(prefix) => match successor(ser_key(query.bucket, prefix)) {
            Some(key) => Bound::Included(key),
            None => return Bound::Included(base),
        },
    };
    match &start {
        Bound::Included(key) | Bound::Excluded(key) if *key >= base => start,
        _ => Bound::Included(base),
    }
}

/// The first key after all that begin with `prefix`; none when there can be no such key.
pub(super) fn successor(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return Some(prefix);
        }
        prefix.pop();
    }
    None
}

enum Step {
    Next,
    /// End this scan, and go on there if there is more to do.
    SkipTo(Option<Bound<Vec<u8>>>),
}

struct PageBuilder<'a> {
    query: &'a ListQuery,
    limit: usize,
    page: ListPage,
    damage: Option<DecodeError>,
}

impl PageBuilder<'_> {
    fn add(&mut self, key: &[u8], value: &[u8]) -> Step {
        self.try_add(key, value).unwrap_or_else(|damage| {
            self.damage = Some(damage);
            Step::SkipTo(None)
        })
    }

    fn try_add(&mut self, key: &[u8], value: &[u8]) -> Result<Step, DecodeError> {
        if self.page.items.len() == self.limit {
            self.page.more = true;
            return Ok(Step::SkipTo(None));
        }
        let (bucket, name) = deser_key(key)?;
        if let Some(prefix) = common_prefix(self.query, name) {
            let next = successor(ser_key(bucket, prefix)).map(Bound::Included);
            self.page.items.push(ListItem::Prefix(prefix.to_owned()));
            return Ok(Step::SkipTo(next));
        }
        let head = deser_head(value)?;
        self.page.items.push(ListItem::Object(ListEntry {
            key: name.to_owned(),
            size: head.size,
            etag: head.etag.to_owned(),
            modified_ms: head.modified_ms,
            generation: head.generation,
        }));
        Ok(Step::Next)
    }
}

/// The key up to and with the first delimiter after the query's prefix.
pub(super) fn common_prefix<'k>(query: &ListQuery, name: &'k str) -> Option<&'k str> {
    let delimiter = query.delimiter.as_str();
    if delimiter.is_empty() {
        return None;
    }
    let rest = name.get(query.prefix.len()..)?;
    let at = rest.find(delimiter)?;
    name.get(..query.prefix.len() + at + delimiter.len())
}
