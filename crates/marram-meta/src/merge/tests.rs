//! The merge without groups behind it: what it asks for, and how it ends.

use super::*;
use crate::query::answer::ListEntry;
use marram_types::Generation;

fn object(key: &str) -> ListItem {
    ListItem::Object(ListEntry {
        key: key.to_owned(),
        size: 1,
        etag: String::new(),
        modified_ms: 1,
        generation: Generation(1),
    })
}

fn page(items: &[ListItem], more: bool) -> ListPage {
    ListPage {
        items: items.to_vec(),
        more,
    }
}

fn prefix(text: &str) -> ListItem {
    ListItem::Prefix(text.to_owned())
}

#[test]
fn every_group_is_asked_for_its_share_and_a_little_more() {
    let merge = ListMerge::new(8, 1000, &ListStart::Begin);
    let asks = merge.asks();
    assert_eq!(asks.len(), 8);
    assert!(asks.iter().all(|ask| ask.limit == 171));
    let one = ListMerge::new(1, 1000, &ListStart::Begin).asks();
    assert_eq!(one[0].limit, 1000, "never more than the page");
    assert!(ListMerge::new(8, 0, &ListStart::Begin).asks().is_empty());
}

#[test]
fn a_prefix_of_several_groups_is_one_item() {
    let mut merge = ListMerge::new(2, 10, &ListStart::Begin);
    merge.feed(0, page(&[prefix("a/"), object("b")], false));
    merge.feed(1, page(&[prefix("a/"), prefix("c/")], false));
    assert!(merge.asks().is_empty());
    let found = merge.finish();
    assert_eq!(found.items, [prefix("a/"), object("b"), prefix("c/")]);
    assert_eq!(found.next, None);
}

#[test]
fn nothing_is_given_past_a_group_that_has_not_shown_its_next_item() {
    let mut merge = ListMerge::new(2, 10, &ListStart::Begin);
    merge.feed(0, page(&[object("a")], true));
    merge.feed(1, page(&[object("b"), object("d")], false));
    let expected = GroupAsk {
        group: 0,
        start: ListStart::AfterKey("a".to_owned()),
        limit: 9,
    };
    assert_eq!(merge.asks(), [expected]);
    merge.feed(0, page(&[object("c")], false));
    assert!(merge.asks().is_empty());
    let names: Vec<_> = merge.finish().items;
    assert_eq!(names, [object("a"), object("b"), object("c"), object("d")]);
}

#[test]
fn a_full_page_says_exactly_whether_there_is_more() {
    let full = |more| {
        let mut merge = ListMerge::new(2, 2, &ListStart::Begin);
        merge.feed(0, page(&[prefix("a/"), object("b")], more));
        merge.feed(1, page(&[prefix("a/")], false));
        assert!(merge.asks().is_empty());
        merge.finish().next
    };
    assert_eq!(full(false), None);
    assert_eq!(full(true), Some(ListStart::AfterKey("b".to_owned())));
}

#[test]
fn an_empty_page_ends_a_group_whatever_it_says() {
    let mut merge = ListMerge::new(1, 5, &ListStart::Begin);
    merge.feed(0, page(&[], true));
    assert!(merge.asks().is_empty());
    assert_eq!(merge.finish(), MergedPage::default());
}
