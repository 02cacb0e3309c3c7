//! Listing, by group and merged, against a brute-force listing of the same keys.

use std::collections::{BTreeMap, BTreeSet};

use marram_types::{BucketId, DriveId, Generation, GroupId, ObjectKey, UploadId};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::stored::Stored;
use crate::testing::{BUCKET, Group, arb, inline, put};
use crate::{
    BeginAnswer, DeleteMarker, DueAnswer, DuePlace, DueQuery, Event, EventKind, EventPlace,
    EventsAnswer, EventsFound, EventsQuery, Extent, GarbageEntry, GarbageTotals, GroupCounters,
    HeadAnswer, Lacking, Lease, Lifecycle, ListEntry, ListItem, ListMerge, ListPage, ListQuery,
    ListStart, LiveExtent, LostTotals, NamedCursor, ObjectAnswer, ObjectQuery, OnDrive,
    OnDriveAnswer, PartItem, PartRow, PastPlace, Reference, RequestAnswer, RowsAnswer, TicketItem,
    TicketWork, TicketsAnswer, UploadAnswer, UploadFound, UploadItem, UploadName, UploadQuery,
    UploadRow, UploadsAnswer, UploadsQuery, Usage, UsagesAnswer, VersionAnswer, VersionEntry,
    VersionRow, answer,
};

const GROUPS: u16 = 3;

fn keys() -> impl Strategy<Value = BTreeSet<String>> {
    // Few characters, so that prefixes and delimiters meet.
    let letter = prop::sample::select(vec!["a", "b", "/", "//", "-", "\u{e9}"]);
    let key = vec(letter, 1..7).prop_map(|letters| letters.concat());
    vec(key, 0..40).prop_map(|keys| keys.into_iter().collect())
}

#[derive(Debug, Clone)]
struct Listing {
    prefix: String,
    delimiter: String,
    start: ListStart,
    limit: u32,
}

fn listing() -> impl Strategy<Value = Listing> {
    let prefix = prop::sample::select(vec!["", "", "a", "a/", "b", "\u{e9}", "/", "zz"]);
    let delimiter = prop::sample::select(vec!["", "/", "/", "//", "b", "\u{e9}"]);
    let start = prop_oneof![
        3 => Just(ListStart::Begin),
        1 => prop::sample::select(vec!["a", "a/", "b/a", "\u{e9}"])
            .prop_map(|key| ListStart::AfterKey(key.to_owned())),
    ];
    (prefix, delimiter, start, 1..12_u32).prop_map(|(prefix, delimiter, start, limit)| Listing {
        prefix: prefix.to_owned(),
        delimiter: delimiter.to_owned(),
        start,
        limit,
    })
}

/// All items of a listing, by looking at every key.
fn brute_force(keys: &BTreeSet<String>, listing: &Listing) -> Vec<String> {
    let after = match &listing.start {
        ListStart::AfterKey(key) => key.as_str(),
        _ => "",
    };
    let mut items = BTreeSet::new();
    for key in keys.iter().filter(|key| key.as_str() > after) {
        let Some(rest) = key.strip_prefix(&listing.prefix) else {
            continue;
        };
        let item = match rest.split_once(&listing.delimiter) {
            Some((head, _)) if !listing.delimiter.is_empty() => {
                format!("{}{head}{} (prefix)", listing.prefix, listing.delimiter)
            }
            _ => key.clone(),
        };
        items.insert(item);
    }
    // A prefix sorts by its own bytes, without the mark.
    let mut items: Vec<String> = items.into_iter().collect();
    items.sort_by_key(|item| item.trim_end_matches(" (prefix)").to_owned());
    items
}

fn names(items: &[ListItem]) -> Vec<String> {
    let name = |item: &ListItem| match item {
        ListItem::Object(entry) => entry.key.clone(),
        ListItem::Prefix(prefix) => format!("{prefix} (prefix)"),
        ListItem::Version(_) => panic!("a listing of objects"),
    };
    items.iter().map(name).collect()
}

/// The keys in the groups that hash64 gives them to.
fn groups(keys: &BTreeSet<String>) -> Vec<Group> {
    let mut groups: Vec<_> = (0..GROUPS).map(|_| Group::ready()).collect();
    for (version, key) in (1..).zip(keys) {
        let group = GroupId::of_key(BUCKET, key, GROUPS).0 - 1;
        groups[usize::from(group)].run(&put(key, version, inline(1, b"x")));
    }
    groups
}

fn page(group: &Group, listing: &Listing, start: ListStart, limit: u32) -> ListPage {
    let query = ObjectQuery::List(ListQuery {
        bucket: BUCKET,
        prefix: listing.prefix.clone(),
        delimiter: listing.delimiter.clone(),
        start,
        limit,
    });
    match answer(&group.kv, group.index, &query).unwrap() {
        ObjectAnswer::List(page) => page,
        other => panic!("{other:?}"),
    }
}

/// All pages of a merged listing; each page must be full but the last.
fn merged(groups: &[Group], listing: &Listing) -> Vec<String> {
    let mut all = Vec::new();
    let mut start = listing.start.clone();
    loop {
        let mut merge = ListMerge::new(groups.len(), listing.limit, &start);
        let mut rounds = 0;
        loop {
            let asks = merge.asks();
            if asks.is_empty() {
                break;
            }
            rounds += 1;
            assert!(rounds < 50, "the merge does not end");
            for ask in asks {
                merge.feed(
                    ask.group,
                    page(&groups[ask.group], listing, ask.start, ask.limit),
                );
            }
        }
        let found = merge.finish();
        all.extend(names(&found.items));
        let Some(next) = found.next else {
            return all;
        };
        assert_eq!(
            found.items.len(),
            listing.limit as usize,
            "a short page in the middle"
        );
        assert_eq!(ListStart::decode(&next.encode()), Ok(next.clone()));
        start = next;
    }
}

fn counters(n: [u64; 6]) -> GroupCounters {
    GroupCounters {
        applied: n[0],
        time_ms: n[1],
        gc_floor: n[2],
        read_floor: n[3],
        requests: n[4],
        tickets: n[5],
        reencodings: n[0],
        judging: n[1],
    }
}

fn of_upkeep(extent: &Extent, n: [u64; 6]) -> [ObjectAnswer; 4] {
    [
        ObjectAnswer::OnDrive(OnDriveAnswer {
            extents: vec![OnDrive {
                extent: extent.clone(),
                shards: vec![0, 3],
            }],
            next: Some((extent.pg, extent.data)),
        }),
        ObjectAnswer::GarbageTotals(GarbageTotals {
            entries: n[0],
            bytes: n[1],
            due: n[2],
            oldest_ms: Some(n[3]),
            now_ms: n[4],
            more: true,
        }),
        ObjectAnswer::LostTotals(LostTotals {
            spare: [(-1, n[0]), (2, n[1])].into(),
            bytes: n[2],
            misplaced: n[3],
            more: n[4].is_multiple_of(2),
            lacking: [(
                (2, -1),
                Lacking {
                    extents: n[0],
                    bytes: n[5],
                },
            )]
            .into(),
        }),
        ObjectAnswer::Usages(UsagesAnswer {
            buckets: vec![(
                BucketId(n[0]),
                Usage {
                    bytes: n[1],
                    ..Usage::default()
                },
            )],
            more: n[2].is_multiple_of(2),
        }),
    ]
}

fn of_events(n: [u64; 6]) -> [ObjectAnswer; 4] {
    let event = Event {
        kind: EventKind::VersionDeleted,
        bucket: BUCKET,
        key: "a/b".to_owned(),
        generation: Generation(n[0]),
        size: n[1],
        etag: "\"x\"".to_owned(),
        time_ms: n[2],
        is_null: n[3].is_multiple_of(2),
        is_marker: n[4].is_multiple_of(2),
        is_noncurrent: n[5].is_multiple_of(2),
    };
    let page = EventsFound::Page {
        events: vec![(
            EventPlace {
                index: n[3],
                ordinal: 7,
            },
            event,
        )],
        next: EventPlace::behind(n[4]),
        more: true,
    };
    let others = [
        EventsFound::Compacted,
        EventsFound::NotKept,
        EventsFound::Behind,
    ];
    let [a, b, c] = others;
    let applied = n[5];
    [page, a, b, c].map(|found| ObjectAnswer::Events(EventsAnswer { applied, found }))
}

fn of_uploads(row: UploadRow, part: PartRow) -> [ObjectAnswer; 6] {
    let item = PartItem {
        part: 9,
        size: part.size,
        crc64: part.crc64,
        etag: part.etag.clone(),
        sums: part.sums,
        modified_ms: part.modified_ms,
    };
    let listed = UploadItem {
        key: part.etag,
        upload: UploadId(u128::from(part.crc64)),
        created_ms: row.created_ms,
        parts: row.totals.parts,
        bytes: row.totals.bytes,
        stream: row.stream.is_some(),
    };
    [
        ObjectAnswer::Live(None),
        ObjectAnswer::Upload(UploadFound::Open(UploadAnswer {
            row,
            parts: vec![item],
            more: true,
        })),
        ObjectAnswer::Upload(UploadFound::Completed(Generation(7))),
        ObjectAnswer::Upload(UploadFound::Unknown),
        ObjectAnswer::Uploads(UploadsAnswer {
            uploads: vec![listed],
            more: true,
        }),
        ObjectAnswer::Drops(true),
    ]
}

/// A version in a listing, made of a row.
fn entry_of(row: &VersionRow, size: u64) -> VersionEntry {
    VersionEntry {
        key: row.etag.clone(),
        generation: row.generation,
        size,
        etag: row.etag.clone(),
        modified_ms: row.modified_ms,
        is_marker: row.narrowed,
        is_current: row.off_profile,
        numbered: row.numbered,
    }
}

/// Answers about versions.
fn version_answers(
    row: &VersionRow,
    inline: Option<Vec<u8>>,
    places: &[Vec<DriveId>],
) -> [ObjectAnswer; 4] {
    let head = HeadAnswer {
        row: row.clone(),
        inline: inline.map(Into::into),
        places: places.to_vec(),
    };
    let marker = DeleteMarker {
        generation: row.generation,
        modified_ms: row.modified_ms,
        numbered: row.numbered,
    };
    let place = (row.etag.clone(), row.generation);
    [
        ObjectAnswer::Version(VersionAnswer::Absent),
        ObjectAnswer::Version(VersionAnswer::Marker {
            marker,
            is_current: true,
        }),
        ObjectAnswer::Version(VersionAnswer::Version {
            head: Box::new(head),
            is_current: false,
        }),
        ObjectAnswer::JudgingNoncurrent(vec![(BUCKET, Some(place)), (BUCKET, None)]),
    ]
}

/// Questions about versions.
fn of_versions(key: &ObjectKey, text: &str, limit: u32) -> [ObjectQuery; 4] {
    let version = |generation| ObjectQuery::Version {
        bucket: BUCKET,
        key: key.clone(),
        generation,
    };
    let generation = Generation(u64::from(limit));
    [
        version(None),
        version(Some(generation)),
        ObjectQuery::JudgingNoncurrent,
        ObjectQuery::ListVersions(ListQuery {
            bucket: BUCKET,
            prefix: String::new(),
            start: ListStart::AfterVersion(text.to_owned(), generation),
            delimiter: String::new(),
            limit,
        }),
    ]
}

proptest! {
    #[test]
    fn group_pages_equal_brute_force(keys in keys(), listing in listing()) {
        let mut group = Group::ready();
        for (version, key) in (1..).zip(&keys) {
            group.run(&put(key, version, inline(1, b"x")));
        }
        let expected = brute_force(&keys, &listing);
        let first = page(&group, &listing, listing.start.clone(), listing.limit);
        let limit = listing.limit as usize;
        prop_assert_eq!(names(&first.items), &expected[..expected.len().min(limit)]);
        prop_assert_eq!(first.more, expected.len() > limit);
        prop_assert_eq!(merged(&[group], &listing), expected);
    }

    #[test]
    fn merged_pages_equal_brute_force(keys in keys(), listing in listing()) {
        prop_assert_eq!(merged(&groups(&keys), &listing), brute_force(&keys, &listing));
    }

    #[test]
    fn answers_round_trip(
        row in arb::version_row(),
        inline in proptest::option::of(vec(any::<u8>(), 0..50)),
        bucket in arb::bucket(),
        extent in arb::extent(),
        ticket in arb::ticket(),
        n in any::<[u64; 6]>(),
        places in vec(vec(arb::drive(), 0..3), 0..4),
        layout in arb::row(3),
        (upload, part) in (arb::upload_row(), arb::part_row()),
    ) {
        let entry = ListEntry {
            key: row.content_type.clone(),
            size: n[0],
            etag: row.etag.clone(),
            modified_ms: n[1],
            generation: row.generation,
        };
        let live = LiveExtent {
            crc64: None,
            bucket: BUCKET,
            key: row.etag.clone(),
            version: row.version,
            nominal: row.nominal,
            extent: extent.clone(),
            places: places.concat(),
        };
        let items = vec![
            ListItem::Object(entry),
            ListItem::Prefix(row.etag.clone()),
            ListItem::Version(entry_of(&row, n[0])),
        ];
        let versions = version_answers(&row, inline.clone(), &places);
        let answers = [
            ObjectAnswer::Head(None),
            ObjectAnswer::Head(Some(HeadAnswer {
                row,
                inline: inline.map(Into::into),
                places: places.clone(),
            })),
            ObjectAnswer::List(ListPage { items, more: true }),
            ObjectAnswer::Begin(BeginAnswer {
                index: n[0],
                bucket: Some(bucket),
                time_ms: n[1],
            }),
            ObjectAnswer::Usage(Usage { objects: n[0], bytes: n[1], ..Usage::default() }),
            ObjectAnswer::Status(counters(n)),
            ObjectAnswer::Garbage(vec![GarbageEntry {
                at: n[0],
                since_ms: n[1],
                extent: extent.clone(),
                places: places.clone(),
            }]),
            ObjectAnswer::References(vec![
                Reference::Live { epoch: n[0], missing: n[1], belongs: places },
                Reference::Displaced,
                Reference::Unreferenced,
            ]),
            ObjectAnswer::Rows(RowsAnswer {
                index: n[0],
                row: Some(layout.clone()),
                extents: vec![live.clone()],
                more: true,
            }),
            ObjectAnswer::Tickets(TicketsAnswer {
                index: n[0],
                tickets: vec![TicketItem { ticket, extent: live, row: layout }],
                more: false,
            }),
        ];
        for answer in answers.into_iter().chain(versions).chain(of_upkeep(&extent, n)).chain(of_uploads(upload, part)).chain(of_events(n)) {
            let bytes = answer.encode();
            prop_assert_eq!(ObjectAnswer::decode(&bytes.clone().into()), Ok(answer));
            for cut in 0..bytes.len() {
                let short = bytes[..cut].to_vec();
                prop_assert!(ObjectAnswer::decode(&short.into()).is_err());
            }
        }
    }

    #[test]
    fn queries_round_trip(
        key in arb::key(),
        texts in (arb::text(), arb::text()),
        data in arb::data_id(),
        pg in arb::pg(),
        limit in any::<u32>(),
    ) {
        let list = |start| ObjectQuery::List(ListQuery {
            bucket: BUCKET,
            prefix: texts.0.clone(),
            start,
            delimiter: texts.1.clone(),
            limit,
        });
        let upload = UploadName {
            bucket: BUCKET,
            key: key.clone(),
            upload: UploadId(u128::from(limit)),
        };
        let versions = of_versions(&key, &texts.1, limit);
        let queries = [
            ObjectQuery::Head { bucket: BUCKET, key },
            list(ListStart::Begin),
            list(ListStart::AfterKey(texts.1.clone())),
            list(ListStart::AfterPrefix(texts.0.clone())),
            ObjectQuery::Begin { bucket: BUCKET },
            ObjectQuery::Usage { bucket: Some(BUCKET) },
            ObjectQuery::Usage { bucket: None },
            ObjectQuery::Status,
            ObjectQuery::Garbage { after: None, limit },
            ObjectQuery::Garbage { after: Some((u64::from(limit), data)), limit },
            ObjectQuery::References(vec![(pg, data)]),
            ObjectQuery::Tickets { after: Some(data), limit },
            ObjectQuery::Rows { pg, after: Some(data), limit },
            ObjectQuery::Rows { pg, after: None, limit },
            ObjectQuery::OnDrive {
                drive: DriveId(u64::from(limit)),
                after: Some((pg, data)),
                limit,
            },
            ObjectQuery::GarbageTotals,
            ObjectQuery::Events(EventsQuery {
                after: EventPlace::behind(u64::from(limit)),
                scope: Some((BUCKET, texts.1.clone())),
                limit,
            }),
            ObjectQuery::Named { drives: vec![DriveId(u64::from(limit))], after: None, limit },
            ObjectQuery::Named {
                drives: Vec::new(),
                after: Some(NamedCursor { table: 1, key: vec![1, 2] }),
                limit,
            },
            ObjectQuery::Judging,
            ObjectQuery::Drops,
            ObjectQuery::Live { pg, data },
            ObjectQuery::Upload(UploadQuery { name: upload.clone(), after: 7, limit }),
            ObjectQuery::Uploads(UploadsQuery {
                bucket: BUCKET,
                prefix: texts.0.clone(),
                after: Some((texts.1.clone(), upload.upload)),
                limit,
            }),
            ObjectQuery::Queue {
                from: TicketWork::Missing,
                to: TicketWork::Reshape,
                after: Some((TicketWork::Narrowed, data)),
                limit,
            },
        ];
        for query in queries.into_iter().chain(versions).chain([ObjectQuery::LostTotals, ObjectQuery::Usages { after: Some(BUCKET), limit }]) {
            let bytes = query.encode();
            prop_assert_eq!(ObjectQuery::decode(&bytes), Ok(query.clone()));
            for cut in 0..bytes.len() {
                prop_assert!(ObjectQuery::decode(&bytes[..cut]).is_err());
            }
            prop_assert_eq!(<ObjectQuery as Stored>::deser_value(&query.ser_value()), Ok(query));
        }
    }
}

/// A directory of many keys costs one step, not a walk through them: keys are counted as the scan
/// shows them.
#[test]
fn common_prefixes_are_skipped() {
    use std::cell::Cell;
    use std::ops::{Bound, ControlFlow};

    use crate::kv::{KvError, KvRead, Table};

    struct Counting<'a>(&'a dyn KvRead, Cell<usize>);

    impl KvRead for Counting<'_> {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
            self.0.get(table, key)
        }

        fn scan(
            &self,
            table: Table,
            from: Bound<&[u8]>,
            to: Bound<&[u8]>,
            each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
        ) -> Result<(), KvError> {
            self.0.scan(table, from, to, &mut |key, value| {
                self.1.set(self.1.get() + 1);
                each(key, value)
            })
        }
    }

    let mut group = Group::ready();
    for i in 0..500_u128 {
        group.run(&put(&format!("dir/{i:04}"), 1 + i, inline(1, b"x")));
    }
    group.run(&put("file", 999, inline(1, b"x")));
    let counting = Counting(&group.kv, Cell::new(0));
    let query = ObjectQuery::List(ListQuery {
        bucket: BUCKET,
        prefix: String::new(),
        start: ListStart::Begin,
        delimiter: "/".to_owned(),
        limit: 100,
    });
    let ObjectAnswer::List(page) = answer(&counting, 0, &query).unwrap() else {
        panic!("asked for a list");
    };
    assert_eq!(names(&page.items), ["dir/ (prefix)", "file"]);
    assert_eq!(counting.1.get(), 2);
}

/// Other buckets are not in the way, whatever their ids.
#[test]
fn a_listing_keeps_to_its_bucket() {
    let mut group = Group::ready();
    group.run(&put("a", 1, inline(1, b"x")));
    let listing = Listing {
        prefix: String::new(),
        delimiter: String::new(),
        start: ListStart::Begin,
        limit: 5,
    };
    assert_eq!(merged(std::slice::from_ref(&group), &listing), ["a"]);
    for bucket in [6, 8, u64::MAX] {
        let query = ObjectQuery::List(ListQuery {
            bucket: BucketId(bucket),
            prefix: String::new(),
            start: ListStart::Begin,
            delimiter: String::new(),
            limit: 5,
        });
        let found = answer(&group.kv, 0, &query).unwrap();
        assert_eq!(found, ObjectAnswer::List(ListPage::default()));
    }
    let by_name: BTreeMap<_, _> = [("a", 1)].into();
    assert_eq!(by_name.len(), group.kv.len(crate::Table::Objects));
}

/// What is asked and answered about quotas and rules.
#[test]
fn leases_and_what_is_due_round_trip() {
    let queries = [
        ObjectQuery::Lease { bucket: BUCKET },
        ObjectQuery::Due(DueQuery {
            bucket: BUCKET,
            now_ms: 7,
            rules: Some(Lifecycle::default()),
            from: DuePlace::Uploads(Some(("k".to_owned(), UploadId(3)))),
            rows: 9,
        }),
    ];
    let of_request = ObjectQuery::Request(crate::testing::request(7));
    for query in queries.into_iter().chain([of_request]) {
        assert_eq!(ObjectQuery::decode(&query.encode()), Ok(query));
    }
    let place = PastPlace {
        key: "k".to_owned(),
        generation: Generation(4),
        written_ms: 5,
        versions: 6,
    };
    let answers = [
        ObjectAnswer::Lease {
            usage: Usage {
                part_bytes: 3,
                ..Usage::default()
            },
            lease: Some(Lease {
                since: 2,
                ..Lease::default()
            }),
        },
        ObjectAnswer::Due(DueAnswer {
            items: Vec::new(),
            rows: 5,
            next: Some(DuePlace::Noncurrent(Some(place))),
        }),
    ];
    let requests = [
        None,
        Some(RequestAnswer {
            asked: Some(7),
            outcome: vec![1, 2],
        }),
    ];
    for answer in answers
        .into_iter()
        .chain(requests.map(ObjectAnswer::Request))
    {
        assert_eq!(ObjectAnswer::decode(&answer.encode().into()), Ok(answer));
    }
}
