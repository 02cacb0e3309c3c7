//! Every stored form is read back as it was written, and damage is an error, never a panic.

use std::fmt::Debug;

use marram_types::{BucketId, Generation, Grant, UploadId, VersionId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::data_ref::DataRef;
use super::event::{EventPlace, EventsKept};
use super::layout_row::LayoutRow;
use super::noncurrent::{NoncurrentCursor, Past, PastHead};
use super::object::{BodyKind, deser_body_kind, deser_head};
use super::state::{GroupState, HeldReads};
use super::upload_drop::{Dropped, UploadDrop};
use super::{
    data_ref, extent, garbage, inline, layout_row, noncurrent, object, part, request, upload,
    upload_drop,
};
use crate::stored::Stored;
use crate::testing::{arb, forms};
use crate::{
    AccessKeyRecord, Body, BucketRecord, ClusterRecord, DeleteMarker, GroupRecord, NodeRecord,
    PartRow, RepairTicket, UploadRow, Usage, VersionRow,
};

/// Reads back what it writes, refuses every shorter form, and refuses a newer version.
fn round_trip<T: Stored + PartialEq + Debug>(value: &T) {
    let mut bytes = value.ser_value();
    assert_eq!(T::deser_value(&bytes).as_ref(), Ok(value));
    for cut in 0..bytes.len() {
        assert!(T::deser_value(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    bytes[0] += 1;
    assert!(T::deser_value(&bytes).is_err());
    bytes[0] = 0;
    assert!(T::deser_value(&bytes).is_err());
}

/// Keys were written without grants once: they could do everything, and still can.
#[test]
fn an_access_key_of_version_1_may_do_everything() {
    for (off, disabled) in [(0, false), (1, true)] {
        let bytes = [&[1, 3], b"MK1".as_slice(), &[2, 7, 8, off]].concat();
        let key = AccessKeyRecord::deser_value(&bytes).unwrap();
        let wanted = AccessKeyRecord {
            disabled,
            ..AccessKeyRecord::of_admin("MK1".to_owned(), vec![7, 8])
        };
        assert_eq!(key, wanted);
        assert_eq!(key.grants, [Grant::everything()]);
    }
}

proptest! {
    #[test]
    fn root_records(
        cluster in arb::cluster(),
        node in arb::node(),
        group in arb::group(),
        bucket in arb::bucket(),
        key in arb::access_key(),
        pool in arb::pool_table(),
    ) {
        round_trip::<ClusterRecord>(&cluster);
        round_trip::<NodeRecord>(&node);
        round_trip::<GroupRecord>(&group);
        round_trip::<BucketRecord>(&bucket);
        round_trip::<AccessKeyRecord>(&key);
        round_trip(&pool);
    }

    #[test]
    fn version_rows(row in arb::version_row()) {
        round_trip::<VersionRow>(&row);
        let bytes = row.ser_value();
        let head = deser_head(&bytes).unwrap();
        prop_assert_eq!(head.etag, &row.etag);
        prop_assert_eq!(
            (head.generation, head.modified_ms, head.size),
            (row.generation, row.modified_ms, row.size)
        );
        let kind = match row.body {
            Body::Inline { data } => BodyKind::Inline(data),
            Body::Extents(_) => BodyKind::Extents,
            Body::Spilled { .. } => BodyKind::Spilled,
            Body::Parts(_) => BodyKind::Parts,
        };
        prop_assert_eq!(deser_body_kind(&bytes), Ok(kind));
    }

    #[test]
    fn noncurrent_versions(row in arb::version_row(), n in any::<[u64; 2]>(), key in arb::text()) {
        let (bucket, generation) = (BucketId(n[0]), Generation(n[1]));
        let row_key = noncurrent::ser_key(bucket, &key, generation);
        prop_assert!(row_key.starts_with(&noncurrent::ser_prefix(bucket, &key, true)));
        let older = noncurrent::ser_key(bucket, &key, Generation(n[1] / 2));
        prop_assert!(row_key <= older, "the newest comes first");
        prop_assert_eq!(noncurrent::deser_key(&row_key), Ok((bucket, key.clone(), generation)));
        let marker = DeleteMarker { generation, modified_ms: n[0], numbered: row.numbered };
        let stored = Past::Marker(marker).ser_value();
        let head = noncurrent::deser_past_head(&stored).unwrap();
        prop_assert!(matches!(head, PastHead::Marker(read) if read == marker));
        round_trip(&Past::Marker(marker));
        round_trip(&NoncurrentCursor { after: Some((key, generation)) });
        let past = Past::Version(Box::new(row));
        round_trip(&past);
        let stored = past.ser_value();
        let head = noncurrent::deser_past_head(&stored).unwrap();
        let (Past::Version(row), PastHead::Version { modified_ms, size, etag, numbered, took_its_place_ms: _ }) =
            (past, head)
        else {
            panic!("a version");
        };
        prop_assert_eq!((modified_ms, size, etag), (row.modified_ms, row.size, &row.etag[..]));
        prop_assert_eq!(numbered, row.numbered);
    }

    #[test]
    fn uploads(
        row in arb::upload_row(),
        part in arb::part_row(),
        numbers in (any::<u64>(), any::<u16>(), any::<u128>()),
        key in arb::text(),
    ) {
        round_trip::<UploadRow>(&row);
        round_trip::<PartRow>(&part);
        let (bucket, after) = (numbers.0, numbers.1);
        round_trip(&UploadDrop { bucket, key: key.clone(), after });
        let upload = UploadId(numbers.2);
        let bucket = BucketId(bucket);
        round_trip(&DataRef::Part { bucket, key: key.clone(), upload, part: after });
        let row_key = upload::ser_key(bucket, &key, upload);
        prop_assert!(row_key.starts_with(&upload::ser_prefix(bucket, &key)));
        prop_assert_eq!(upload::deser_key(&row_key), Ok((bucket, key, upload)));
        let part_key = part::ser_key(upload, after);
        prop_assert_eq!(part::deser_number(&part_key), Ok(after));
        for dropped in [Dropped::Bucket(bucket), Dropped::Upload(upload)] {
            let key = upload_drop::ser_key(dropped);
            prop_assert_eq!(upload_drop::deser_key(&key), Ok(dropped));
        }
    }

    #[test]
    fn uploads_lie_in_the_order_of_their_keys(
        one in "[a\\x00\\x01\u{ff}]{0,4}",
        two in "[a\\x00\\x01\u{ff}]{0,4}",
        ids in any::<[u128; 2]>(),
    ) {
        let key = |key: &str, id| upload::ser_key(BucketId(1), key, UploadId(id));
        prop_assert_eq!(key(&one, ids[0]).cmp(&key(&two, ids[1])), (one, ids[0]).cmp(&(two, ids[1])));
    }

    #[test]
    fn small_values(
        numbers in any::<[u64; 9]>(),
        ticket in arb::ticket(),
        bucket in any::<u64>(),
        key in arb::text(),
        row in arb::row(5),
    ) {
        round_trip::<RepairTicket>(&ticket);
        round_trip(&LayoutRow { fenced_at: numbers[0], row });
        round_trip(&DataRef::Displaced { at: numbers[0] });
        round_trip(&DataRef::Discarded { at: numbers[0] });
        round_trip(&DataRef::Noncurrent {
            bucket: BucketId(bucket),
            key: key.clone(),
            generation: Generation(numbers[1]),
        });
        round_trip(&DataRef::Live { bucket: BucketId(bucket), key });
        round_trip(&GroupState {
            applied: numbers[0],
            time_ms: numbers[1],
            generation_offset: numbers[2],
            gc_floor: numbers[3],
            read_floor: numbers[4],
            requests: numbers[5],
            sweep_ms: numbers[6],
            held_until_ms: numbers[7],
            held_at: numbers[8],
            events: None,
            reads: Vec::new(),
        });
        let held = |server| HeldReads {
            server,
            index: numbers[1],
            since_ms: numbers[2],
            until_ms: numbers[3],
        };
        round_trip(&GroupState {
            applied: numbers[0],
            reads: vec![held(numbers[4])],
            ..GroupState::default()
        });
        round_trip(&GroupState {
            read_floor: numbers[0],
            reads: vec![held(numbers[4]), held(numbers[5])],
            events: Some(EventsKept {
                floor: EventPlace::behind(numbers[1]),
                bytes: numbers[2],
                oldest_ms: numbers[3],
                for_ms: numbers[4],
                bytes_max: numbers[5],
            }),
            ..GroupState::default()
        });
        round_trip(&GroupState {
            applied: numbers[0],
            events: Some(EventsKept {
                floor: EventPlace::behind(numbers[1]),
                bytes: numbers[2],
                oldest_ms: numbers[3],
                for_ms: numbers[4],
                bytes_max: numbers[5],
            }),
            ..GroupState::default()
        });
        round_trip(&Usage {
            objects: numbers[0],
            bytes: numbers[1],
            narrowed: numbers[2],
            under_protected: numbers[3],
            off_profile: numbers[0],
            noncurrent: numbers[4],
            noncurrent_bytes: numbers[5],
            markers: numbers[6],
            part_bytes: numbers[7],
        });
    }

    #[test]
    fn keys_and_plain_values(
        at in any::<u64>(),
        data in arb::data_id(),
        request in arb::request(),
        bucket in any::<u64>(),
        name in arb::key(),
        bytes in vec(any::<u8>(), 0..100),
        extents in vec(arb::extent(), 1..17),
    ) {
        let bucket = BucketId(bucket);
        prop_assert_eq!(garbage::deser_key(&garbage::ser_key(at, data)), Ok((at, data)));
        let expiry = request::ser_expiry_key(at, request);
        prop_assert_eq!(request::deser_expiry_key(&expiry), Ok((at, request)));
        let row_key = object::ser_key(bucket, name.as_str());
        prop_assert_eq!(object::deser_key(&row_key), Ok((bucket, name.as_str())));
        let (inlined, recorded) = (inline::ser_value(&bytes), request::ser_value(at, &bytes));
        prop_assert_eq!(inline::deser_value(&inlined), Ok(&bytes[..]));
        prop_assert_eq!(request::deser_value(&recorded), Ok((Some(at), &bytes[..])));
        prop_assert_eq!(extent::deser_chunk(&extent::ser_chunk(&extents)), Ok(extents.clone()));
        let places = vec![vec![marram_types::DriveId(at)], Vec::new()];
        let entry = garbage::ser_value(at, &extents[0], &places);
        let extent = extents[0].clone();
        let wanted = garbage::GarbageEntry { at: 3, since_ms: at, extent, places };
        prop_assert_eq!(garbage::deser_value(3, &entry), Ok(wanted));
        let reference = data_ref::ser_key(extents[0].pg, data);
        prop_assert_eq!(data_ref::deser_key(&reference), Ok((extents[0].pg, data)));
    }

    /// Keys order as what they name, which scans rely on.
    #[test]
    fn keys_keep_order(
        a in (any::<u64>(), arb::data_id(), arb::pg(), arb::text()),
        b in (any::<u64>(), arb::data_id(), arb::pg(), arb::text()),
    ) {
        let by_time = |x: &(u64, _, _, _)| garbage::ser_key(x.0, x.1);
        prop_assert_eq!(by_time(&a).cmp(&by_time(&b)), (a.1.begin, a.0, a.1).cmp(&(b.1.begin, b.0, b.1)));
        let by_pg = |x: &(_, _, _, _)| data_ref::ser_key(x.2, x.1);
        prop_assert_eq!(by_pg(&a).cmp(&by_pg(&b)), (a.2, a.1).cmp(&(b.2, b.1)));
        let of_row = |x: &(_, _, _, _)| layout_row::ser_key(x.2);
        prop_assert_eq!(of_row(&a).cmp(&of_row(&b)), a.2.cmp(&b.2));
        let by_name = |x: &(u64, _, _, String)| object::ser_key(BucketId(x.0), &x.3);
        prop_assert_eq!(by_name(&a).cmp(&by_name(&b)), (a.0, &a.3).cmp(&(b.0, &b.3)));
    }

    #[test]
    fn noise_is_an_error_or_a_value(bytes in vec(any::<u8>(), 0..300), version in 1..3_u8) {
        // Versions are made to fit, so that the noise reaches the fields.
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        let _ = VersionRow::deser_value(&bytes);
        let _ = NodeRecord::deser_value(&bytes);
        let _ = deser_body_kind(&bytes);
        let _ = extent::deser_chunk(&bytes);
        let _ = crate::ClusterView::decode(&bytes);
        let _ = crate::ObjectQuery::decode(&bytes);
        let _ = crate::ObjectAnswer::decode(&bytes.clone().into());
        let _ = crate::check_object(&bytes);
        let _ = crate::check_root(&bytes);
    }
}

/// What the first release wrote is still read.
#[test]
fn first_forms_of_references_and_request_records_are_read() {
    assert_eq!(request::deser_value(&[1, 7, 8]), Ok((None, &[7, 8][..])));
    let displaced = DataRef::deser_value(&[1, 2, 9]);
    assert_eq!(displaced, Ok(DataRef::Displaced { at: 9 }));
    let mut live = vec![1, 1];
    live.extend_from_slice(&5_u64.to_be_bytes());
    live.extend_from_slice(&[1, b'k']);
    let expected = DataRef::Live {
        bucket: BucketId(5),
        key: "k".to_owned(),
    };
    assert_eq!(DataRef::deser_value(&live), Ok(expected));
}

/// Rows that former releases wrote are on drives.
#[test]
fn rows_of_former_releases_are_read() {
    forms::kept("cluster", arb::cluster());
    forms::kept("node", arb::node());
    forms::kept("group", arb::group());
    forms::kept("bucket", arb::bucket());
    forms::kept("access-key", arb::access_key());
    forms::kept("version", arb::version_row());
    forms::kept("upload", arb::upload_row());
    forms::kept("part", arb::part_row());
    forms::kept("ticket", arb::ticket());
    forms::kept("lease", arb::lease());
    forms::kept("lifecycle", arb::lifecycle());
}

/// Rows on drives must be readable for ever: these forms never change, they only get successors.
#[test]
fn the_forms_of_a_row_stay() {
    let row = VersionRow {
        version: VersionId(1),
        generation: Generation(2),
        modified_ms: 3,
        placed_ms: None,
        size: 4,
        crc64: 5,
        etag: "e".to_owned(),
        content_type: "c".to_owned(),
        metadata: vec![("n".to_owned(), "v".to_owned())],
        tags: Vec::new(),
        body: Body::Inline {
            data: crate::testing::data(6, 7),
        },
        nominal: crate::testing::profile("1+2"),
        own: None,
        narrowed: false,
        under_protected: true,
        off_profile: false,
        numbered: false,
    };
    // The second form has one flag more.
    let form = |version: u8, flags: &[u8]| {
        [
            &[version, 2, 3, 4, 1, b'e'][..],
            &1_u128.to_be_bytes(),
            &5_u64.to_be_bytes(),
            &[1, 2],
            flags,
            &[1, 0, 1],
            &6_u64.to_be_bytes(),
            &7_u64.to_be_bytes(),
            &[1, b'c', 1, 1, b'n', 1, b'v'],
        ]
        .concat()
    };
    let second = form(2, &[0, 1, 0]);
    assert_eq!(row.ser_value(), second);
    let numbered = VersionRow {
        numbered: true,
        ..row.clone()
    };
    let third = [form(3, &[0, 1, 0]), vec![1]].concat();
    assert_eq!(numbered.ser_value(), third);
    assert_eq!(VersionRow::deser_value(&third), Ok(numbered.clone()));
    for (version, untagged, end) in [(4, &row, &[][..]), (5, &numbered, &[1])] {
        let tagged = VersionRow {
            tags: vec![("t".to_owned(), "w".to_owned())],
            ..untagged.clone()
        };
        let form = [&form(version, &[0, 1, 0])[..], &[1, 1, b't', 1, b'w'], end].concat();
        assert_eq!(tagged.ser_value(), form);
        assert_eq!(VersionRow::deser_value(&form), Ok(tagged));
    }
    for form in [form(1, &[0, 1]), second] {
        let inline = BodyKind::Inline(crate::testing::data(6, 7));
        assert_eq!(deser_body_kind(&form), Ok(inline));
        assert_eq!(VersionRow::deser_value(&form), Ok(row.clone()));
    }
}

/// What is said of a row beside that has flags, behind the entity tag.
#[test]
fn the_form_of_a_described_row_stays() {
    let plain = [
        [2, 2, 3, 4, 1, b'e'].to_vec(),
        1_u128.to_be_bytes().to_vec(),
        5_u64.to_be_bytes().to_vec(),
        vec![1, 2, 0, 1, 0, 3, 1, 1, b'c', 0],
    ]
    .concat();
    let row = VersionRow::deser_value(&plain).unwrap();
    let tag = vec![("t".to_owned(), "w".to_owned())];
    for (version, numbered, tags, end) in [
        (6, false, Vec::new(), &[0][..]),
        (6, false, tag.clone(), &[1, 1, b't', 1, b'w']),
        (7, true, Vec::new(), &[0, 1]),
        (7, true, tag, &[1, 1, b't', 1, b'w', 1]),
    ] {
        let described = VersionRow {
            placed_ms: Some(9),
            numbered,
            tags,
            ..row.clone()
        };
        let form = [&[version], &plain[1..6], &[1, 9], &plain[6..], end].concat();
        assert_eq!(described.ser_value(), form);
        assert_eq!(VersionRow::deser_value(&form), Ok(described.clone()));
        let head = deser_head(&form).unwrap();
        assert_eq!((head.modified_ms, head.took_its_place_ms), (3, 9));
        assert_eq!(deser_body_kind(&form), Ok(BodyKind::Spilled));
        let own = VersionRow {
            own: Some(crate::testing::profile("8+3")),
            ..described.clone()
        };
        let form = [&[version], &plain[1..6], &[3, 9, 8, 3], &plain[6..], end].concat();
        assert_eq!(own.ser_value(), form);
        assert_eq!(VersionRow::deser_value(&form), Ok(own.clone()));
        let head = deser_head(&form).unwrap();
        assert_eq!((head.modified_ms, head.took_its_place_ms), (3, 9));
        assert_eq!(deser_body_kind(&form), Ok(BodyKind::Spilled));
        let own = VersionRow {
            placed_ms: None,
            ..own
        };
        let form = [&[version], &plain[1..6], &[2, 8, 3], &plain[6..], end].concat();
        assert_eq!(own.ser_value(), form);
        assert_eq!(VersionRow::deser_value(&form), Ok(own));
        assert_eq!(deser_head(&form).unwrap().took_its_place_ms, 3);
        let unknown = [&[version], &plain[1..6], &[4, 9], &plain[6..], end].concat();
        assert!(VersionRow::deser_value(&unknown).is_err());
        assert!(deser_head(&unknown).is_err() && deser_body_kind(&unknown).is_err());
    }
}

/// Forms that no release wrote are refused by their version, not misread.
#[test]
fn forms_from_before_the_first_release_are_refused() {
    use marram_types::codec::DecodeError;
    let unknown = |what| DecodeError::Unknown { what, found: 1 };
    let first = &[1, 0, 0][..];
    let ticket = RepairTicket::deser_value(first);
    assert_eq!(ticket, Err(unknown("repair ticket version")));
    let node = NodeRecord::deser_value(first);
    assert_eq!(node, Err(unknown("node record version")));
    let garbage = garbage::deser_value(1, first);
    assert_eq!(garbage, Err(unknown("garbage entry version")));
    let view = crate::ClusterView::decode(first);
    assert_eq!(view, Err(unknown("cluster view version")));
    let query = crate::ObjectQuery::decode(first);
    assert_eq!(query, Err(unknown("query version")));
    let answer = crate::ObjectAnswer::decode(&first.to_vec().into());
    assert_eq!(answer, Err(unknown("answer version")));
}
