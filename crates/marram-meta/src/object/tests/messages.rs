//! Commands, outcomes and refusals cross the mesh and lie in logs: each is read back as written.

use marram_types::{BucketId, Generation, UploadId, VersionId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::stored::Stored;
use crate::testing::{arb, forms};
use crate::{
    AnnotateCommand, CollectedEntry, CompletedUpload, Completion, CopiedVersion, Due, DueWhat,
    ExpireCommand, Expired, LeaseCommand, Measure, NewPart, NewRun, ObjectCommand, ObjectOutcome,
    OverLease, QuotaRefusal, Refusal, Tombstone, UploadCommand, UploadName, UploadRefusal,
    VersionCommand,
};

fn object_command() -> impl Strategy<Value = ObjectCommand> {
    use marram_types::PoolId;
    let target = || (any::<u64>().prop_map(BucketId), arb::key());
    let entry = (any::<u64>(), arb::data_id()).prop_map(|(at, data)| CollectedEntry { at, data });
    prop_oneof![
        (target(), arb::new_version(), arb::precondition()).prop_map(
            |((bucket, key), content, precondition)| ObjectCommand::Put {
                bucket,
                key,
                content,
                precondition,
            }
        ),
        (target(), arb::precondition()).prop_map(|((bucket, key), precondition)| {
            ObjectCommand::Delete {
                bucket,
                key,
                precondition,
            }
        }),
        arb::bucket().prop_map(ObjectCommand::BucketFence),
        (any::<u16>(), vec((any::<u16>(), arb::row(4)), 0..4)).prop_map(|(pool, rows)| {
            let pool = PoolId(pool);
            ObjectCommand::LayoutFence { pool, rows }
        }),
        shard_command(),
        (arb::pg(), arb::data_id(), vec(arb::new_extent(), 0..4))
            .prop_map(|(pg, data, extents)| ObjectCommand::Reencode { pg, data, extents }),
        (any::<u64>(), any::<u64>()).prop_map(|(gc_floor, read_floor)| {
            ObjectCommand::RaiseFloors {
                gc_floor,
                read_floor,
            }
        }),
        vec(entry, 0..5).prop_map(ObjectCommand::Collected),
        tombstone().prop_map(ObjectCommand::Tombstone),
        target().prop_map(|(bucket, key)| ObjectCommand::JudgeVersions {
            bucket,
            after: Some(key),
        }),
        upload_command().prop_map(ObjectCommand::Upload),
        version_command().prop_map(ObjectCommand::Version),
        (any::<u64>(), any::<u64>())
            .prop_map(|(for_ms, bytes)| ObjectCommand::KeepEvents { for_ms, bytes }),
        any::<[u64; 3]>().prop_map(|[server, index, for_ms]| ObjectCommand::HoldReads {
            server,
            index,
            for_ms,
        }),
        annotate_command().prop_map(ObjectCommand::Annotate),
        lease_command().prop_map(ObjectCommand::Lease),
        expire_command().prop_map(ObjectCommand::Expire),
    ]
}

fn annotate_command() -> impl Strategy<Value = AnnotateCommand> {
    let target = || (any::<u64>().prop_map(BucketId), arb::key());
    let generation = option::of(any::<u64>().prop_map(Generation));
    prop_oneof![
        (target(), generation, arb::metadata(), arb::precondition()).prop_map(
            |((bucket, key), generation, tags, precondition)| AnnotateCommand::SetTags {
                bucket,
                key,
                generation,
                tags,
                precondition,
            }
        ),
        (
            target(),
            option::of(arb::text()),
            option::of(arb::metadata()),
            arb::precondition(),
        )
            .prop_map(|((bucket, key), content_type, metadata, precondition)| {
                AnnotateCommand::Describe {
                    bucket,
                    key,
                    content_type,
                    metadata,
                    precondition,
                }
            }),
    ]
}

fn lease_command() -> impl Strategy<Value = LeaseCommand> {
    let settle = (any::<[u64; 2]>(), arb::amount(), any::<bool>());
    prop_oneof![
        settle.prop_map(
            |([bucket, since], granted, give_back)| LeaseCommand::Settle {
                bucket: BucketId(bucket),
                since,
                granted,
                give_back,
            }
        ),
        vec(arb::new_extent(), 0..4).prop_map(|extents| LeaseCommand::GiveUp { extents }),
    ]
}

fn expire_command() -> impl Strategy<Value = ExpireCommand> {
    let what = prop_oneof![
        any::<u64>().prop_map(|n| DueWhat::Current(Generation(n))),
        any::<[u64; 2]>().prop_map(|[generation, next]| DueWhat::Noncurrent {
            generation: Generation(generation),
            next: Generation(next),
        }),
        any::<u64>().prop_map(|n| DueWhat::Marker(Generation(n))),
        any::<u128>().prop_map(|n| DueWhat::Upload(UploadId(n))),
    ];
    let due = (arb::key(), what).prop_map(|(key, what)| Due { key, what });
    (any::<u64>(), vec(due, 0..5)).prop_map(|(bucket, due)| ExpireCommand {
        bucket: BucketId(bucket),
        due,
    })
}

fn quota_outcome() -> impl Strategy<Value = ObjectOutcome> {
    let over = (arb::quota(), arb::amount(), arb::amount(), arb::amount());
    let refusal = prop_oneof![
        over.prop_map(|(quota, granted, lack, asked)| {
            QuotaRefusal::OverLease(Box::new(OverLease {
                quota,
                granted,
                lack,
                asked,
            }))
        }),
        (any::<[u64; 3]>(), any::<bool>()).prop_map(|([limit, used, asked], bytes)| {
            QuotaRefusal::Exceeded {
                what: if bytes {
                    Measure::Bytes
                } else {
                    Measure::Objects
                },
                limit,
                used,
                asked,
            }
        }),
        Just(QuotaRefusal::NotKnown),
    ];
    prop_oneof![
        (arb::lease(), arb::amount())
            .prop_map(|(lease, held)| ObjectOutcome::Lease { lease, held }),
        any::<[u64; 5]>().prop_map(|n| ObjectOutcome::Expired(Expired {
            current: n[0],
            noncurrent: n[1],
            markers: n[2],
            uploads: n[3],
            bytes: n[4],
        })),
        refusal.prop_map(|refusal| ObjectOutcome::Refused(refusal.into())),
    ]
}

fn version_command() -> impl Strategy<Value = VersionCommand> {
    let place = option::of((arb::text(), any::<u64>().prop_map(Generation)));
    prop_oneof![
        (any::<[u64; 2]>(), arb::key(), arb::precondition()).prop_map(
            |([bucket, generation], key, precondition)| VersionCommand::Delete {
                bucket: BucketId(bucket),
                key,
                generation: Generation(generation),
                precondition,
            }
        ),
        (any::<u64>(), place).prop_map(|(bucket, after)| VersionCommand::Judge {
            bucket: BucketId(bucket),
            after,
        }),
    ]
}

fn version_outcome() -> impl Strategy<Value = ObjectOutcome> {
    let place = option::of((arb::text(), any::<u64>().prop_map(Generation)));
    prop_oneof![
        (any::<u64>(), any::<bool>()).prop_map(|(generation, existed)| ObjectOutcome::Marked {
            generation: Generation(generation),
            existed,
        }),
        any::<[u64; 2]>().prop_map(|[generation, modified_ms]| ObjectOutcome::Annotated {
            generation: Generation(generation),
            modified_ms,
        }),
        any::<[bool; 2]>()
            .prop_map(|[existed, marker]| ObjectOutcome::VersionDeleted { existed, marker }),
        (place, any::<bool>())
            .prop_map(|(after, done)| ObjectOutcome::NoncurrentJudged { after, done }),
    ]
}

fn upload_name() -> impl Strategy<Value = UploadName> {
    (any::<u64>(), arb::key(), any::<u128>()).prop_map(|(bucket, key, upload)| UploadName {
        bucket: BucketId(bucket),
        key,
        upload: UploadId(upload),
    })
}

fn upload_command() -> impl Strategy<Value = UploadCommand> {
    let part = (
        (any::<u16>(), any::<[u64; 2]>(), arb::text()),
        (arb::part_sums(), vec(arb::new_extent(), 0..3)),
    );
    let part = part.prop_map(|((part, n, etag), (sums, extents))| NewPart {
        part,
        size: n[0],
        crc64: n[1],
        etag,
        sums,
        extents,
    });
    let run = (
        any::<[u64; 4]>(),
        any::<u32>(),
        vec(arb::new_extent(), 0..3),
    );
    let run = run.prop_map(|(n, crc32c, extents)| NewRun {
        epoch: n[0],
        offset: n[1],
        size: n[2],
        crc64: n[3],
        crc32c,
        extents,
    });
    let whole = (
        any::<u128>(),
        any::<[u64; 4]>(),
        arb::text(),
        arb::part_ranges(),
    );
    let whole = whole.prop_map(|(version, n, etag, parts)| Completion {
        version: VersionId(version),
        revision: n[0],
        parts,
        size: n[1],
        crc64: n[2],
        etag,
        asked: n[3],
    });
    prop_oneof![
        (
            (upload_name(), any::<bool>(), option::of(arb::profile())),
            (arb::text(), arb::metadata(), arb::metadata())
        )
            .prop_map(|((name, stream, own), (content_type, metadata, tags))| {
                UploadCommand::Create {
                    name,
                    content_type,
                    metadata,
                    tags,
                    stream,
                    own,
                }
            }),
        (upload_name(), any::<u64>())
            .prop_map(|(name, offset)| UploadCommand::Open { name, offset }),
        (upload_name(), run).prop_map(|(name, content)| UploadCommand::Run { name, content }),
        (upload_name(), part).prop_map(|(name, content)| UploadCommand::Part { name, content }),
        (upload_name(), whole, arb::precondition()).prop_map(|(name, content, precondition)| {
            UploadCommand::Complete {
                name,
                content,
                precondition,
            }
        }),
        upload_name().prop_map(UploadCommand::Abort),
        Just(UploadCommand::Drop),
    ]
}

fn tombstone() -> impl Strategy<Value = Tombstone> {
    let stone = (any::<[u64; 2]>(), any::<bool>(), vec(arb::drive(), 0..3));
    stone.prop_map(|([node, epoch], stands, drives)| Tombstone {
        node: marram_types::NodeId(node),
        epoch,
        stands,
        drives,
    })
}

fn shard_command() -> impl Strategy<Value = ObjectCommand> {
    let named = || (arb::pg(), arb::data_id(), any::<u8>());
    prop_oneof![
        (named(), vec(arb::drive(), 0..3), any::<u64>()).prop_map(
            |((pg, data, shard), at, seen)| ObjectCommand::ShardPlaced {
                pg,
                data,
                shard,
                at,
                seen,
            }
        ),
        (named(), arb::drive()).prop_map(|((pg, data, shard), at)| ObjectCommand::ShardMissing {
            pg,
            data,
            shard,
            at,
        }),
        any::<u64>().prop_map(|until_ms| ObjectCommand::HoldFloors { until_ms }),
    ]
}

fn layout_refusal() -> impl Strategy<Value = Refusal> {
    use marram_types::{GroupId, NodeId, ReplicaId};
    let pair = (any::<u64>(), arb::pg(), arb::drive(), arb::duty());
    (pair, any::<[u16; 2]>(), arb::duty()).prop_flat_map(|((n, pg, drive, from), small, to)| {
        let node = NodeId(n);
        prop::sample::select(vec![
            Refusal::PgUnknown { pg },
            Refusal::Stale { since: n },
            Refusal::LayoutGap { pg, epoch: n },
            Refusal::DriveGone { drive },
            Refusal::LayoutMoved {
                given: n,
                epoch: n / 2,
            },
            Refusal::DutyChanged {
                node,
                now: to,
                expected: from,
            },
            Refusal::NotBuried { node, epoch: n },
            Refusal::ProfileNeedsNodes {
                width: small[0],
                nodes: small[1],
            },
            Refusal::DutyChange { node, from, to },
            Refusal::NodeServes { node },
            Refusal::NodeExcused { node, until_ms: 9 },
            Refusal::NodeInLayout { node, pg, drive },
            Refusal::NodeInMove { node, pg, drive },
            Refusal::NodeVotes {
                node,
                group: GroupId(small[0]),
                replica: ReplicaId(n),
            },
            Refusal::NodeTooOld { node, version: 7 },
            Refusal::LayoutHeld { until_ms: n },
            Refusal::Malformed(crate::Malformed::Index),
        ])
    })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    use marram_types::{ClusterId, NodeId, PoolId, ReplicaId};
    (any::<u64>(), any::<u128>(), any::<[u16; 3]>()).prop_flat_map(|(n, wide, small)| {
        let bucket = BucketId(n);
        let (node, pool, epoch) = (NodeId(n), PoolId(small[0]), n);
        prop::sample::select(vec![
            Refusal::DeadlinePassed,
            Refusal::TooManyRequests,
            Refusal::Malformed(crate::Malformed::Key),
            Refusal::Malformed(crate::Malformed::Deadline),
            Refusal::PreconditionFailed {
                current: Generation(n),
            },
            Refusal::BucketUnknown { bucket },
            Refusal::BucketSealed { bucket },
            Refusal::BucketDeleted { bucket },
            Refusal::PoolUnknown { pool },
            Refusal::BelowFloor { floor: n },
            Refusal::NotBootstrapped,
            Refusal::AlreadyBootstrapped {
                cluster: ClusterId(wide),
            },
            Refusal::NodeUnknown { node },
            Refusal::NodeTombstoned { node },
            Refusal::ReplicaExists {
                replica: ReplicaId(n),
            },
            Refusal::GroupsExist,
            Refusal::PoolExists { pool, epoch },
            Refusal::BucketExists { bucket },
            Refusal::NoSuchBucket,
            Refusal::StaleEpoch { epoch },
            Refusal::TooManyBuckets,
            Refusal::NoProfile,
            Refusal::ProfileTooWide {
                width: small[0],
                drives: small[1],
            },
            Refusal::TooFewVoters {
                m: small[0],
                voters: small[1],
                needed: small[2],
            },
            Refusal::VersionNotHigher { current: 3 },
            Refusal::RequestIdReused,
            Refusal::DataDiscarded,
            Refusal::VersioningStays,
            Refusal::LifecycleMalformed,
            Refusal::TooManyProfiles,
            Refusal::ProfileNotAllowed {
                profile: crate::testing::profile("8+4"),
            },
        ])
    })
}

fn upload_outcome() -> impl Strategy<Value = ObjectOutcome> {
    prop_oneof![
        (any::<u128>(), any::<u64>()).prop_map(|(upload, created_ms)| {
            ObjectOutcome::UploadCreated {
                upload: UploadId(upload),
                created_ms,
            }
        }),
        any::<u64>().prop_map(|epoch| ObjectOutcome::WriteOpened { epoch }),
        any::<[u64; 2]>()
            .prop_map(|[persisted, crc64]| ObjectOutcome::RunRecorded { persisted, crc64 }),
        (any::<u64>(), any::<bool>()).prop_map(|(modified_ms, under_protected)| {
            ObjectOutcome::PartStored {
                modified_ms,
                under_protected,
            }
        }),
        any::<bool>().prop_map(|done| ObjectOutcome::PartsDropped { done }),
        (any::<u128>(), any::<[u64; 4]>(), arb::text(), any::<bool>()).prop_map(
            |(version, n, etag, under_protected)| {
                ObjectOutcome::UploadCompleted(CompletedUpload {
                    version: VersionId(version),
                    generation: Generation(n[0]),
                    modified_ms: n[1],
                    size: n[2],
                    crc64: n[3],
                    etag,
                    under_protected,
                })
            }
        ),
        any::<u64>().prop_map(|n| {
            let generation = Generation(n);
            ObjectOutcome::Refused(UploadRefusal::Completed { generation }.into())
        }),
        prop::sample::select(vec![
            UploadRefusal::Unknown,
            UploadRefusal::Changed,
            UploadRefusal::TooManyExtents,
            UploadRefusal::IsStream,
            UploadRefusal::NotStream,
            UploadRefusal::StaleWriter { epoch: 7 },
            UploadRefusal::WrongOffset { persisted: 1 << 40 },
        ])
        .prop_map(|refusal| ObjectOutcome::Refused(refusal.into())),
    ]
}

fn outcome() -> impl Strategy<Value = ObjectOutcome> {
    let flags = (any::<bool>(), any::<bool>());
    prop_oneof![
        (any::<u128>(), any::<u64>(), any::<u64>(), flags).prop_map(
            |(version, generation, modified_ms, flags)| ObjectOutcome::Committed {
                version: VersionId(version),
                generation: Generation(generation),
                modified_ms,
                narrowed: flags.0,
                under_protected: flags.1,
            }
        ),
        Just(ObjectOutcome::AlreadyCommitted),
        (
            arb::new_version(),
            vec(arb::profile(), 0..3),
            any::<u64>(),
            any::<bool>()
        )
            .prop_map(|(new, profiles, number, under_protected)| {
                ObjectOutcome::Copied(Box::new(CopiedVersion {
                    version: new.version,
                    generation: Generation(number),
                    modified_ms: number,
                    size: new.size,
                    crc64: new.crc64,
                    etag: new.etag,
                    content_type: new.content_type,
                    metadata: new.metadata,
                    tags: new.tags,
                    profiles,
                    under_protected,
                }))
            }),
        (any::<u64>(), any::<bool>()).prop_map(|(generation, existed)| ObjectOutcome::Deleted {
            generation: Generation(generation),
            existed,
        }),
        (any::<u64>(), any::<u64>(), arb::bucket_state())
            .prop_map(|(live, epoch, state)| ObjectOutcome::Fenced { live, epoch, state }),
        any::<u64>().prop_map(|epoch| ObjectOutcome::LayoutFenced { epoch }),
        (arb::drive(), any::<bool>(), any::<bool>()).prop_map(|(place, missing, overridden)| {
            ObjectOutcome::Shard {
                place,
                missing,
                overridden,
            }
        }),
        prop::sample::select(vec![
            ObjectOutcome::NotLive,
            ObjectOutcome::Reencoded,
            ObjectOutcome::Superseded,
        ]),
        Just(ObjectOutcome::Done),
        (option::of(arb::text()), any::<bool>())
            .prop_map(|(after, done)| ObjectOutcome::Judged { after, done }),
        upload_outcome(),
        version_outcome(),
        quota_outcome(),
        refusal().prop_map(ObjectOutcome::Refused),
        layout_refusal().prop_map(ObjectOutcome::Refused),
    ]
}

/// What the log of a former release, or a member that runs it, has and says.
#[test]
fn commands_and_outcomes_of_former_releases_are_read() {
    forms::kept("object-command", object_command());
    forms::kept("object-outcome", outcome());
}

proptest! {
    #[test]
    fn commands_round_trip(command in object_command()) {
        let bytes = command.ser_value();
        prop_assert_eq!(ObjectCommand::deser_value(&bytes), Ok(command));
        for cut in 0..bytes.len() {
            prop_assert!(ObjectCommand::deser_value(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn outcomes_round_trip(outcome in outcome()) {
        let bytes = outcome.encode();
        prop_assert_eq!(ObjectOutcome::decode(&bytes), Ok(outcome));
        for cut in 0..bytes.len() {
            prop_assert!(ObjectOutcome::decode(&bytes[..cut]).is_err());
        }
    }
}
