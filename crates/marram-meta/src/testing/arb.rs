//! Strategies for the types that are stored or sent.

use bytes::Bytes;
use marram_placement::{PgRow, PoolTable, Spread};
use marram_types::{
    BucketId, BucketName, ClusterId, DataId, DriveId, Generation, GroupId, NodeId, ObjectKey, PgId,
    PoolId, Profile, ReplicaId, RequestId, UploadId, VersionId,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{
    Absence, AccessKeyRecord, Amount, Body, BucketRecord, BucketState, ClusterRecord, DriveDuty,
    DriveRecord, Expiry, Extent, GroupRecord, Lease, Lifecycle, LifecycleRule, Lost, NewBody,
    NewExtent, NewVersion, NodeDuty, NodeRecord, NodeState, NoncurrentExpiry, OldSecret,
    PartRanges, PartRow, PartSums, PartTally, PartTotals, PartsBody, Pause, Precondition, Quota,
    RepairTicket, RuleFilter, StreamState, TicketReasons, UploadRow, VersionRow, Versioning,
};

pub(crate) fn profile() -> impl Strategy<Value = Profile> {
    (1..=32_u8, 0..=8_u8).prop_map(|(k, m)| Profile::new(k, m).unwrap())
}

pub(crate) fn data_id() -> impl Strategy<Value = DataId> {
    (any::<u16>(), any::<u64>(), any::<u64>()).prop_map(|(group, begin, random)| DataId {
        group: GroupId(group),
        begin,
        random,
    })
}

pub(crate) fn pg() -> impl Strategy<Value = PgId> {
    (any::<u16>(), any::<u16>()).prop_map(|(pool, index)| PgId {
        pool: PoolId(pool),
        index,
    })
}

pub(crate) fn request() -> impl Strategy<Value = RequestId> {
    (any::<u128>(), any::<u64>()).prop_map(|(client, sequence)| RequestId { client, sequence })
}

/// Text with characters of every width.
pub(crate) fn text() -> impl Strategy<Value = String> {
    vec(
        prop_oneof![
            proptest::char::range('\0', '\u{7f}'),
            proptest::char::range('\u{80}', '\u{7ff}'),
            proptest::char::range('\u{1f300}', '\u{1f6ff}'),
        ],
        0..24,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

pub(crate) fn key() -> impl Strategy<Value = ObjectKey> {
    text().prop_filter_map("keys are not empty", |text| ObjectKey::new(text).ok())
}

pub(crate) fn bucket_name() -> impl Strategy<Value = BucketName> {
    vec(proptest::char::range('a', 'z'), 3..63)
        .prop_map(|chars| chars.into_iter().collect::<String>())
        .prop_filter_map("names keep S3's rules", |name| BucketName::new(name).ok())
}

pub(crate) fn extent() -> impl Strategy<Value = Extent> {
    (
        data_id(),
        pg(),
        profile(),
        any::<u32>(),
        any::<u64>(),
        vec(any::<u8>(), 0..40),
        any::<u64>(),
        vec((any::<u8>(), any::<u64>().prop_map(DriveId)), 0..3),
    )
        .prop_map(
            |(data, pg, profile, cell, length, slots, missing, overrides)| Extent {
                data,
                pg,
                profile,
                cell,
                length,
                slots,
                missing,
                overrides,
            },
        )
}

pub(crate) fn drive() -> impl Strategy<Value = DriveId> {
    any::<u64>().prop_map(DriveId)
}

pub(crate) fn new_extent() -> impl Strategy<Value = NewExtent> {
    (extent(), vec((any::<u8>(), drive()), 0..4))
        .prop_map(|(extent, wrote)| NewExtent { extent, wrote })
}

pub(crate) fn drive_duty() -> impl Strategy<Value = DriveDuty> {
    prop::sample::select(vec![
        DriveDuty::Serving,
        DriveDuty::Draining,
        DriveDuty::Away,
        DriveDuty::AwayDraining,
        DriveDuty::Failed,
        DriveDuty::Removed,
    ])
}

pub(crate) fn duty() -> impl Strategy<Value = NodeDuty> {
    prop::sample::select(vec![
        NodeDuty::Serving,
        NodeDuty::Cordoned,
        NodeDuty::Draining,
        NodeDuty::Fenced,
    ])
}

pub(crate) fn pause() -> impl Strategy<Value = Pause> {
    prop::sample::select(vec![Pause::Maintenance, Pause::Leading])
}

pub(crate) fn absence() -> impl Strategy<Value = Absence> {
    let lost = (any::<u64>(), any::<bool>());
    let lost = lost.prop_map(|(since_ms, rebuild)| Lost { since_ms, rebuild });
    let until = || option::of(any::<u64>());
    (option::of(lost), until(), until()).prop_map(|(lost, maintenance, leading)| Absence {
        lost,
        maintenance_until_ms: maintenance,
        leads_not_until_ms: leading,
    })
}

/// A row in any phase.
pub(crate) fn row(width: u8) -> impl Strategy<Value = PgRow> {
    (any::<u32>(), any::<u32>(), 0..width, 0..5_u8).prop_map(move |(epoch, first, slot, steps)| {
        let epoch = u64::from(epoch);
        let first = u64::from(first);
        let drives = (0..u64::from(width)).map(|i| DriveId(first + i)).collect();
        let target = DriveId(first + 100);
        let stable = PgRow::stable(epoch, drives);
        let dual = stable.begin(slot, target, epoch + 1).unwrap();
        match steps {
            0 => stable,
            1 => dual,
            2 => dual.cut(epoch + 2).unwrap(),
            3 => dual.cancel(epoch + 2).unwrap(),
            _ => dual.cut(epoch + 2).unwrap().end(epoch + 3).unwrap(),
        }
    })
}

pub(crate) fn part_ranges() -> impl Strategy<Value = PartRanges> {
    proptest::collection::btree_set(1..=10_000_u16, 0..20)
        .prop_map(|numbers| PartRanges::new(numbers).expect("ascending"))
}

pub(crate) fn part_totals() -> impl Strategy<Value = PartTotals> {
    (any::<[u32; 5]>(), any::<u64>()).prop_map(|(n, bytes)| PartTotals {
        parts: n[0],
        extents: n[1],
        bytes,
        tally: PartTally {
            narrowed: n[2],
            under_protected: n[3],
            off_profile: n[4],
        },
    })
}

pub(crate) fn part_sums() -> impl Strategy<Value = PartSums> {
    (
        option::of(any::<u32>()),
        option::of(any::<[u8; 32]>()),
        option::of(any::<[u8; 16]>()),
    )
        .prop_map(|(crc32c, sha256, md5)| PartSums {
            crc32c,
            sha256,
            md5,
        })
}

pub(crate) fn part_row() -> impl Strategy<Value = PartRow> {
    (
        (any::<[u64; 3]>(), text()),
        (part_sums(), profile(), vec(extent(), 0..4)),
    )
        .prop_map(|((n, etag), (sums, nominal, extents))| PartRow {
            size: n[0],
            crc64: n[1],
            etag,
            sums,
            modified_ms: n[2],
            nominal,
            extents,
        })
}

pub(crate) fn upload_row() -> impl Strategy<Value = UploadRow> {
    (
        (any::<[u64; 2]>(), text(), metadata()),
        (
            profile(),
            any::<bool>(),
            part_totals(),
            metadata(),
            option::of(profile()),
        ),
    )
        .prop_map(|((n, content_type, metadata), rest)| UploadRow {
            created_ms: n[0],
            revision: n[1],
            content_type,
            metadata,
            profile: rest.0,
            mixed: rest.1,
            totals: rest.2,
            tags: rest.3,
            counted: n[0] % 2 == 0 || n[1] % 3 == 0 || rest.4.is_some(),
            own: rest.4,
            stream: (n[1] % 3 == 0).then_some(StreamState {
                epoch: n[0],
                crc64: n[1],
                crc32c: 7,
            }),
        })
}

pub(crate) fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        data_id().prop_map(|data| Body::Inline { data }),
        vec(extent(), 0..16).prop_map(Body::Extents),
        any::<u32>().prop_map(|extents| Body::Spilled { extents }),
        (any::<u128>(), part_ranges(), part_totals()).prop_map(|(upload, ranges, totals)| {
            Body::Parts(PartsBody {
                upload: UploadId(upload),
                ranges,
                totals,
            })
        }),
    ]
}

pub(crate) fn metadata() -> impl Strategy<Value = Vec<(String, String)>> {
    vec((text(), text()), 0..4)
}

pub(crate) fn version_row() -> impl Strategy<Value = VersionRow> {
    (
        (any::<u128>(), any::<u64>(), any::<u64>(), any::<u64>()),
        (any::<u64>(), text(), text(), metadata()),
        (
            body(),
            profile(),
            any::<[bool; 4]>(),
            metadata(),
            option::of(any::<u64>()),
            option::of(profile()),
        ),
    )
        .prop_map(|(numbers, texts, rest)| VersionRow {
            version: VersionId(numbers.0),
            generation: Generation(numbers.1),
            modified_ms: numbers.2,
            placed_ms: rest.4,
            size: numbers.3,
            crc64: texts.0,
            etag: texts.1,
            content_type: texts.2,
            metadata: texts.3,
            tags: rest.3,
            body: rest.0,
            nominal: rest.1,
            own: rest.5,
            narrowed: rest.2[0],
            under_protected: rest.2[1],
            off_profile: rest.2[2],
            numbered: rest.2[3],
        })
}

pub(crate) fn precondition() -> impl Strategy<Value = Precondition> {
    (
        option::of(any::<u64>().prop_map(Generation)),
        option::of(any::<u64>().prop_map(Generation)),
        option::of(text()),
        option::of(text()),
    )
        .prop_map(|(is, is_not, etag, other)| Precondition {
            if_generation_match: is,
            if_generation_not_match: is_not,
            if_etag_match: etag,
            if_etag_none_match: other,
        })
}

pub(crate) fn new_version() -> impl Strategy<Value = NewVersion> {
    let body = prop_oneof![
        (data_id(), vec(any::<u8>(), 0..200)).prop_map(|(data, bytes)| NewBody::Inline {
            data,
            bytes: Bytes::from(bytes),
        }),
        vec(new_extent(), 0..20).prop_map(NewBody::Extents),
    ];
    (
        (any::<u128>(), any::<u64>(), any::<u64>()),
        (text(), text(), metadata(), metadata()),
        body,
        (option::of(any::<u64>()), option::of(profile())),
    )
        .prop_map(|(numbers, texts, body, (asked, own))| NewVersion {
            version: VersionId(numbers.0),
            size: numbers.1,
            crc64: numbers.2,
            etag: texts.0,
            content_type: texts.1,
            metadata: texts.2,
            tags: texts.3,
            body,
            asked,
            own,
        })
}

pub(crate) fn bucket_state() -> impl Strategy<Value = BucketState> {
    prop::sample::select(vec![
        BucketState::Creating,
        BucketState::Changing,
        BucketState::Active,
        BucketState::Deleting,
        BucketState::Deleted,
    ])
}

pub(crate) fn bucket() -> impl Strategy<Value = BucketRecord> {
    (
        any::<u64>(),
        bucket_name(),
        any::<u64>(),
        bucket_state(),
        profile(),
        (
            any::<u64>(),
            versioning(),
            option::of(quota()),
            option::of(lifecycle()),
            vec(profile(), 0..4),
        ),
    )
        .prop_map(|(bucket, name, epoch, state, profile, rest)| {
            let (created_ms, versioning, quota, lifecycle, allowed) = rest;
            BucketRecord {
                bucket: BucketId(bucket),
                name,
                epoch,
                state,
                profile,
                created_ms,
                versioning,
                quota,
                lifecycle: lifecycle.map(std::sync::Arc::new),
                allowed,
            }
        })
}

pub(crate) fn quota() -> impl Strategy<Value = Quota> {
    (
        option::of(any::<u64>()),
        option::of(any::<u64>()),
        any::<u64>(),
    )
        .prop_map(|(bytes, objects, since)| Quota {
            bytes,
            objects,
            since,
        })
}

pub(crate) fn lifecycle() -> impl Strategy<Value = Lifecycle> {
    let expire = prop_oneof![
        any::<u32>().prop_map(Expiry::AfterDays),
        any::<u64>().prop_map(Expiry::OnDate),
    ];
    let noncurrent = any::<[u32; 2]>().prop_map(|[after_days, keep_newest]| NoncurrentExpiry {
        after_days,
        keep_newest,
    });
    let sizes = (option::of(any::<u64>()), option::of(any::<u64>()));
    let filter = (text(), sizes, metadata());
    let filter = filter.prop_map(|(prefix, (larger_than, smaller_than), tags)| RuleFilter {
        prefix,
        larger_than,
        smaller_than,
        tags,
    });
    let rule = (
        (text(), any::<bool>(), filter),
        (option::of(expire), option::of(noncurrent), any::<bool>()),
        option::of(any::<u32>()),
    );
    let rule = rule.prop_map(
        |((id, enabled, filter), actions, abort_after_days)| LifecycleRule {
            id,
            enabled,
            filter,
            expire: actions.0,
            noncurrent: actions.1,
            expired_markers: actions.2,
            abort_after_days,
        },
    );
    vec(rule, 0..4).prop_map(|rules| Lifecycle { rules })
}

pub(crate) fn amount() -> impl Strategy<Value = Amount> {
    any::<[u128; 2]>().prop_map(Amount::of)
}

pub(crate) fn lease() -> impl Strategy<Value = Lease> {
    (any::<u64>(), amount(), amount(), amount()).prop_map(|(since, granted, claimed, returned)| {
        Lease {
            since,
            granted,
            claimed,
            returned,
        }
    })
}

pub(crate) fn versioning() -> impl Strategy<Value = Versioning> {
    prop::sample::select(vec![Versioning::Off, Versioning::On, Versioning::Suspended])
}

pub(crate) fn cluster() -> impl Strategy<Value = ClusterRecord> {
    (
        any::<u128>(),
        text(),
        any::<u8>(),
        any::<u16>(),
        any::<u16>(),
        option::of(profile()),
    )
        .prop_map(
            |(cluster, name, version, object_groups, expected_nodes, default_profile)| {
                ClusterRecord {
                    cluster: ClusterId(cluster),
                    name,
                    version,
                    object_groups,
                    expected_nodes,
                    default_profile,
                }
            },
        )
}

pub(crate) fn node() -> impl Strategy<Value = NodeRecord> {
    let numbers = (any::<u64>(), any::<u8>(), any::<u64>(), any::<u128>());
    let drive =
        (numbers, drive_duty()).prop_map(|((drive, ordinal, capacity, label), duty)| DriveRecord {
            drive: DriveId(drive),
            ordinal,
            capacity,
            duty,
            label,
        });
    (
        (any::<u64>(), text(), text(), text()),
        (any::<[u8; 32]>(), text(), vec(drive, 0..4)),
        option::of(any::<u64>().prop_map(ReplicaId)),
        vec(any::<u64>().prop_map(ReplicaId), 0..3),
        (
            prop::sample::select(vec![NodeState::Active, NodeState::Tombstoned]),
            duty(),
            absence(),
        ),
    )
        .prop_map(
            |(who, rest, replica, replicas_past, (state, duty, absence))| NodeRecord {
                node: NodeId(who.0),
                name: who.1,
                mesh_addr: who.2,
                api_addr: who.3,
                public_key: rest.0,
                zone: rest.1,
                drives: rest.2,
                replica,
                replicas_past,
                state,
                duty,
                absence,
            },
        )
}

pub(crate) fn group() -> impl Strategy<Value = GroupRecord> {
    let replicas = || vec(any::<u64>().prop_map(ReplicaId), 0..7);
    (any::<u16>(), replicas(), replicas(), any::<u64>()).prop_map(|(group, voters, joining, at)| {
        GroupRecord {
            group: GroupId(group),
            voters,
            joining,
            at,
        }
    })
}

pub(crate) fn access_key() -> impl Strategy<Value = AccessKeyRecord> {
    (text(), vec(any::<u8>(), 0..80), any::<bool>()).prop_map(|(id, wrapped_secret, disabled)| {
        AccessKeyRecord {
            disabled,
            note: id.clone(),
            expires_ms: disabled.then_some(7),
            old_secrets: vec![OldSecret {
                wrapped: wrapped_secret.clone(),
                until_ms: 9,
            }],
            ..AccessKeyRecord::of_admin(id, wrapped_secret)
        }
    })
}

/// A ticket with reasons that its extent gives.
pub(crate) fn ticket() -> impl Strategy<Value = RepairTicket> {
    (extent(), profile(), any::<u64>(), any::<u64>()).prop_map(
        |(mut extent, nominal, since, missing_at)| {
            extent.missing |= 1;
            RepairTicket {
                data: extent.data,
                pg: extent.pg,
                reasons: TicketReasons::of(&extent, nominal),
                nominal,
                since,
                missing_at,
            }
        },
    )
}

pub(crate) fn pool_table() -> impl Strategy<Value = PoolTable> {
    (1..=5_u8, any::<u64>(), any::<[u8; 4]>()).prop_flat_map(|(width, epoch, domains)| {
        vec(row(width), 1..5).prop_map(move |rows| PoolTable {
            width,
            epoch,
            rows,
            domains: Spread {
                zones: domains[0],
                nodes: domains[1],
                most_in_zone: domains[2],
                most_in_node: domains[3],
            },
        })
    })
}
