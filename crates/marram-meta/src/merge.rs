//! Merges the pages of all object groups into one page of a listing (rules.md 29).
//!
//! The merge asks, the caller fetches: [`ListMerge::asks`] says which groups to ask for what,
//! [`ListMerge::feed`] takes their pages, until nothing is asked any more. An item is given only
//! when every group has shown its next one, so the page is exact whatever the groups hold.

use std::collections::VecDeque;

use crate::query::answer::{ListItem, ListPage};
use crate::query::messages::ListStart;

/// A group is asked for its share of the page and a third more, because keys do not spread
/// perfectly; most pages then need one round.
const SHARE_NUM: usize = 13;
const SHARE_DEN: usize = 10;
/// And never for less than this beyond its share.
const SHARE_EXTRA: usize = 8;

/// A page to fetch from one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupAsk {
    /// Which group, counted from 0 in the caller's order.
    pub group: usize,
    /// Where its page begins.
    pub start: ListStart,
    /// Most items.
    pub limit: u32,
}

/// A page of the whole bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MergedPage {
    /// The items, ascending.
    pub items: Vec<ListItem>,
    /// Where the next page begins; none: this was the last one.
    pub next: Option<ListStart>,
}

struct Source {
    /// Items not given yet.
    queue: VecDeque<ListItem>,
    /// The group has items after those.
    more: bool,
    /// Where its next page begins.
    next: ListStart,
}

/// The merge of one page.
pub struct ListMerge {
    limit: usize,
    sources: Vec<Source>,
    items: Vec<ListItem>,
}

impl ListMerge {
    /// A page of at most `limit` items from `groups` groups.
    #[must_use]
    pub fn new(groups: usize, limit: u32, start: &ListStart) -> Self {
        let source = || Source {
            queue: VecDeque::new(),
            more: true,
            next: start.clone(),
        };
        Self {
            limit: usize::try_from(limit).expect("a u32 fits a usize"),
            sources: (0..groups).map(|_| source()).collect(),
            items: Vec::new(),
        }
    }

    /// The pages to fetch now, all at once if possible. None: the page is complete.
    #[must_use]
    pub fn asks(&self) -> Vec<GroupAsk> {
        let left = self.limit - self.items.len();
        if left == 0 {
            return Vec::new();
        }
        let share = (left * SHARE_NUM).div_ceil(self.sources.len().max(1) * SHARE_DEN);
        let limit = u32::try_from((share + SHARE_EXTRA).min(left)).unwrap_or(u32::MAX);
        let blocking = self.sources.iter().enumerate().filter(|(_, s)| s.blocks());
        blocking
            .map(|(group, source)| GroupAsk {
                group,
                start: source.next.clone(),
                limit,
            })
            .collect()
    }

    /// Takes the page of an asked group.
    pub fn feed(&mut self, group: usize, page: ListPage) {
        let source = &mut self.sources[group];
        if let Some(last) = page.items.last() {
            source.next = after(last);
        }
        // A page without items that promises more would be asked for ever.
        source.more = page.more && !page.items.is_empty();
        source.queue.extend(page.items);
        self.advance();
    }

    /// Gives items while every group has shown its next one.
    fn advance(&mut self) {
        while self.items.len() < self.limit && !self.sources.iter().any(Source::blocks) {
            let heads = self.sources.iter().filter_map(|s| s.queue.front());
            let Some(name) = heads.map(ListItem::name).min().map(str::to_owned) else {
                return;
            };
            // A common prefix may be at the head of several groups; it is one item.
            let mut given = None;
            for source in &mut self.sources {
                if source.queue.front().is_some_and(|item| item.name() == name) {
                    given = source.queue.pop_front();
                }
            }
            self.items.extend(given);
        }
    }

    /// The page, complete when nothing is asked any more.
    #[must_use]
    pub fn finish(self) -> MergedPage {
        let truncated = self.sources.iter().any(|s| s.more || !s.queue.is_empty());
        let next = self.items.last().filter(|_| truncated).map(after);
        MergedPage {
            items: self.items,
            next,
        }
    }
}

impl Source {
    /// Whether the group's next item is not known, though there is one.
    fn blocks(&self) -> bool {
        self.more && self.queue.is_empty()
    }
}

/// Where a page goes on after an item.
fn after(item: &ListItem) -> ListStart {
    match item {
        ListItem::Object(entry) => ListStart::AfterKey(entry.key.clone()),
        ListItem::Prefix(prefix) => ListStart::AfterPrefix(prefix.clone()),
        ListItem::Version(entry) => ListStart::AfterVersion(entry.key.clone(), entry.generation),
    }
}

#[cfg(test)]
mod tests;
