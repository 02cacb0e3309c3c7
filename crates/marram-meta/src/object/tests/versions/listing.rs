//! Listing versions, by group and merged, against a brute-force listing of the same.

use marram_types::Generation;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{at, on, page};
use crate::testing::{BUCKET, Group, delete, delete_version, inline, put, versioned};
use crate::{ListItem, ListMerge, ListQuery, ListStart, VersionEntry, Versioning};

const GROUPS: usize = 3;

/// What happens to a key: a put, a delete, or the nth of its versions goes for good.
#[derive(Debug, Clone)]
enum Op {
    Put,
    Delete,
    Remove(usize),
    Switch(Versioning),
}

fn ops() -> impl Strategy<Value = Vec<(String, Op)>> {
    let letter = prop::sample::select(vec!["a", "b", "/", "\u{1}", "\u{e9}"]);
    let key = vec(letter, 1..4).prop_map(|letters| letters.concat());
    let op = prop_oneof![
        6 => Just(Op::Put),
        2 => Just(Op::Delete),
        2 => (0..4_usize).prop_map(Op::Remove),
        1 => prop::sample::select(vec![Versioning::On, Versioning::Suspended])
            .prop_map(Op::Switch),
    ];
    vec((key, op), 0..60)
}

#[derive(Debug, Clone)]
struct Listing {
    prefix: String,
    delimiter: String,
    start: ListStart,
    limit: u32,
}

fn listing() -> impl Strategy<Value = Listing> {
    let text = || prop::sample::select(vec!["", "a", "a/", "b", "\u{e9}", "/", "zz", "ab"]);
    let start = prop_oneof![
        3 => Just(ListStart::Begin),
        1 => text().prop_map(|key| ListStart::AfterKey(key.to_owned())),
        2 => (text(), 0..80_u64).prop_map(|(key, generation)| {
            ListStart::AfterVersion(key.to_owned(), Generation(generation))
        }),
    ];
    let delimiter = prop::sample::select(vec!["", "", "/", "b"]);
    (text(), delimiter, start, 1..9_u32).prop_map(|(prefix, delimiter, start, limit)| Listing {
        prefix: prefix.to_owned(),
        delimiter: delimiter.to_owned(),
        start,
        limit,
    })
}

/// What a version is called, and that it is a marker, current, numbered.
type Shown = (String, u64, bool, bool, bool);

/// The listing by hand: all versions of all keys, the newest of each first.
fn by_hand(all: &[Shown], wanted: &Listing) -> Vec<String> {
    let begins = |(key, generation, ..): &Shown| match &wanted.start {
        ListStart::AfterKey(after) => key > after,
        ListStart::AfterVersion(after, g) => key > after || (key == after && *generation < g.0),
        _ => true,
    };
    let mut found: Vec<String> = Vec::new();
    for shown in all {
        if !shown.0.starts_with(&wanted.prefix) || !begins(shown) {
            continue;
        }
        let rest = &shown.0[wanted.prefix.len()..];
        let at = Some(&wanted.delimiter)
            .filter(|delimiter| !delimiter.is_empty())
            .and_then(|delimiter| rest.find(delimiter.as_str()));
        match at {
            None => found.push(format!("{shown:?}")),
            Some(at) => {
                let end = wanted.prefix.len() + at + wanted.delimiter.len();
                let prefix = format!("prefix {:?}", &shown.0[..end]);
                if found.last() != Some(&prefix) {
                    found.push(prefix);
                }
            }
        }
    }
    found
}

fn shown(item: &ListItem) -> String {
    match item {
        ListItem::Version(VersionEntry {
            key,
            generation,
            is_marker,
            is_current,
            numbered,
            ..
        }) => {
            let shown: Shown = (
                key.clone(),
                generation.0,
                *is_marker,
                *is_current,
                *numbered,
            );
            format!("{shown:?}")
        }
        ListItem::Prefix(prefix) => format!("prefix {prefix:?}"),
        ListItem::Object(_) => panic!("a listing of versions"),
    }
}

/// The same page by page, as a gateway goes on.
fn in_pages(groups: &[Group; GROUPS], wanted: &Listing) -> Vec<String> {
    let mut start = wanted.start.clone();
    let mut found = Vec::new();
    loop {
        let mut merge = ListMerge::new(GROUPS, wanted.limit, &start);
        loop {
            let asks = merge.asks();
            if asks.is_empty() {
                break;
            }
            for ask in asks {
                let query = ListQuery {
                    bucket: BUCKET,
                    prefix: wanted.prefix.clone(),
                    start: ask.start,
                    delimiter: wanted.delimiter.clone(),
                    limit: ask.limit,
                };
                merge.feed(ask.group, page(&groups[ask.group], query));
            }
        }
        let merged = merge.finish();
        assert!(merged.items.len() <= wanted.limit as usize);
        found.extend(merged.items.iter().map(shown));
        match merged.next {
            Some(next) => start = next,
            None => return found,
        }
    }
}

proptest! {
    #[test]
    fn pages_of_versions_are_what_they_are_by_hand(ops in ops(), wanted in listing()) {
        let mut groups = [on(), on(), on()];
        // Per key: generation, marker, numbered; the newest last.
        let mut model: std::collections::BTreeMap<String, Vec<(u64, bool, bool)>> =
            Default::default();
        let (mut on, mut epoch) = (true, 2);
        for (n, (key, op)) in (1_u64..).zip(ops) {
            let which = key.len() % GROUPS;
            let group = &mut groups[which];
            let held = model.entry(key.clone()).or_default();
            match op {
                Op::Put | Op::Delete => {
                    let is_marker = matches!(op, Op::Delete);
                    let command = match is_marker {
                        true => delete(&key),
                        false => put(&key, u128::from(n), inline(n, b"x")),
                    };
                    if !on {
                        held.retain(|(_, _, numbered)| *numbered);
                    }
                    held.push((at(group, &command), is_marker, on));
                }
                Op::Remove(nth) => {
                    if let Some((generation, ..)) = held.get(nth).copied() {
                        held.remove(nth);
                        group.run(&delete_version(&key, generation));
                    }
                }
                Op::Switch(versioning) => {
                    epoch += 1;
                    on = versioning == Versioning::On;
                    for group in &mut groups {
                        group.run(&versioned(epoch, versioning));
                    }
                }
            }
        }
        let mut all: Vec<Shown> = Vec::new();
        for (key, held) in &model {
            for (at, (generation, marker, numbered)) in held.iter().rev().enumerate() {
                all.push((key.clone(), *generation, *marker, at == 0, *numbered));
            }
        }
        let by_hand = by_hand(&all, &wanted);
        let found = in_pages(&groups, &wanted);
        prop_assert_eq!(found, by_hand);
    }
}
