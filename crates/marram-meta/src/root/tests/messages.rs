//! Root commands and outcomes are read back as written.

use marram_placement::SlotMove;
use marram_types::{BucketId, BucketName, DriveId, Grant, GroupId, NodeId, PoolId, ReplicaId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::stored::Stored;
use crate::testing::{arb, forms};
use crate::{
    AdmittedNode, BackupNote, Command, DrainCommand, DriveCommand, DriveDuty, DriveJoin,
    DriveRefusal, EndingCommand, IdentityCommand, IdentityRefusal, KeyCommand, NewToken, Newcomer,
    NodeDuty, NodeJoin, Pausable, ProfileCommand, QuotaCommand, Refusal, RootCommand, RootOutcome,
    TokenRole,
};

fn node_join() -> impl Strategy<Value = NodeJoin> {
    let drive =
        (any::<u8>(), any::<u64>()).prop_map(|(ordinal, capacity)| DriveJoin { ordinal, capacity });
    (
        (arb::text(), arb::text(), arb::text(), arb::text()),
        any::<[u8; 32]>(),
        vec(drive, 0..4),
    )
        .prop_map(|(texts, public_key, drives)| NodeJoin {
            name: texts.0,
            mesh_addr: texts.1,
            api_addr: texts.2,
            public_key,
            zone: texts.3,
            drives,
        })
}

fn root_command() -> impl Strategy<Value = RootCommand> {
    let bucket = || any::<u64>().prop_map(BucketId);
    let node = || any::<u64>().prop_map(NodeId);
    prop_oneof![
        (arb::cluster(), vec(arb::access_key(), 0..3))
            .prop_map(|(cluster, keys)| RootCommand::Bootstrap { cluster, keys }),
        node_join().prop_map(RootCommand::AddNode),
        (node(), any::<bool>())
            .prop_map(|(node, founder)| RootCommand::AddReplica { node, founder }),
        (node(), arb::text(), arb::text()).prop_map(|(node, mesh_addr, api_addr)| {
            RootCommand::UpdateNode {
                node,
                mesh_addr,
                api_addr,
            }
        }),
        vec(arb::group(), 0..4).prop_map(RootCommand::CreateGroups),
        arb::group().prop_map(RootCommand::UpdateGroup),
        arb::pool_table().prop_map(RootCommand::CreatePool),
        arb::profile().prop_map(RootCommand::SetDefaultProfile),
        (arb::bucket_name(), option::of(arb::profile()))
            .prop_map(|(name, profile)| RootCommand::CreateBucket { name, profile }),
        (bucket(), any::<u64>())
            .prop_map(|(bucket, epoch)| RootCommand::BucketActive { bucket, epoch }),
        arb::bucket_name().prop_map(|name| RootCommand::DeleteBucket { name }),
        (bucket(), any::<u64>(), any::<bool>()).prop_map(|(bucket, epoch, nonempty)| {
            RootCommand::BucketSealed {
                bucket,
                epoch,
                nonempty,
            }
        }),
        (bucket(), any::<u64>()).prop_map(|(bucket, epoch)| {
            RootCommand::Ending(EndingCommand::Begin { bucket, epoch })
        }),
        (bucket(), any::<u64>())
            .prop_map(|(bucket, epoch)| RootCommand::Ending(EndingCommand::End { bucket, epoch })),
        arb::access_key().prop_map(RootCommand::PutAccessKey),
        key_command(),
        any::<u8>().prop_map(|version| RootCommand::FinalizeVersion { version }),
        (arb::bucket_name(), arb::profile())
            .prop_map(|(name, profile)| RootCommand::SetBucketProfile { name, profile }),
        node().prop_map(|node| RootCommand::AcceptNarrower { node }),
        (arb::bucket_name(), arb::versioning())
            .prop_map(|(name, versioning)| RootCommand::SetVersioning { name, versioning }),
        quota_command().prop_map(RootCommand::Quota),
        (arb::bucket_name(), arb::profile(), any::<bool>()).prop_map(|(name, profile, allow)| {
            RootCommand::Profiles(match allow {
                true => ProfileCommand::Allow { name, profile },
                false => ProfileCommand::Withdraw { name, profile },
            })
        }),
        (arb::bucket_name(), arb::lifecycle())
            .prop_map(|(name, lifecycle)| RootCommand::SetLifecycle { name, lifecycle }),
    ]
}

fn quota_command() -> impl Strategy<Value = QuotaCommand> {
    let limit = || option::of(any::<u64>());
    let leases = vec((any::<u16>().prop_map(GroupId), arb::lease()), 0..4);
    prop_oneof![
        (arb::bucket_name(), limit(), limit()).prop_map(|(name, bytes, objects)| {
            QuotaCommand::Set {
                name,
                bytes,
                objects,
            }
        }),
        (
            any::<[u64; 2]>(),
            any::<u16>(),
            arb::amount(),
            arb::amount()
        )
            .prop_map(|([bucket, since], group, seen, lack)| QuotaCommand::Ask {
                bucket: BucketId(bucket),
                group: GroupId(group),
                since,
                seen,
                lack,
            }),
        (any::<u64>(), leases).prop_map(|(bucket, leases)| QuotaCommand::Report {
            bucket: BucketId(bucket),
            leases,
        }),
    ]
}

fn key_command() -> impl Strategy<Value = RootCommand> {
    let grants = || {
        let texts = ["read,list:photos/2026/", "admin:*", "write:photos"];
        let grants = texts.map(|text| text.parse::<Grant>().unwrap());
        prop::sample::subsequence(grants.to_vec(), 0..3)
    };
    let secret = || vec(any::<u8>(), 0..9);
    let time = || option::of(any::<u64>());
    prop_oneof![
        (arb::text(), secret(), arb::text(), grants(), time()).prop_map(
            |(id, wrapped_secret, note, grants, expires_ms)| KeyCommand::Create {
                id,
                wrapped_secret,
                note,
                grants,
                expires_ms,
            }
        ),
        (arb::text(), secret(), any::<u64>()).prop_map(|(id, wrapped_secret, overlap_ms)| {
            KeyCommand::Rotate {
                id,
                wrapped_secret,
                overlap_ms,
            }
        }),
        (
            arb::text(),
            option::of(any::<bool>()),
            option::of(time()),
            grants(),
            grants()
        )
            .prop_map(|(id, disabled, expires, add, remove)| KeyCommand::Update {
                id,
                disabled,
                expires,
                add,
                remove,
            }),
        arb::text().prop_map(|id| KeyCommand::Delete { id }),
        arb::text().prop_map(|id| KeyCommand::Remove { id }),
    ]
    .prop_map(RootCommand::Keys)
}

fn layout_command() -> impl Strategy<Value = RootCommand> {
    let node = || any::<u64>().prop_map(NodeId);
    let pool = || any::<u16>().prop_map(PoolId);
    let planned = (any::<u16>(), any::<u8>(), arb::drive(), arb::drive())
        .prop_map(|(pg, slot, from, to)| SlotMove { pg, slot, from, to });
    let pgs = || vec((any::<u16>(), any::<u64>()), 0..4);
    prop_oneof![
        (node(), arb::duty()).prop_map(|(node, duty)| RootCommand::SetDuty { node, duty }),
        (node(), any::<u64>())
            .prop_map(|(node, tombstone)| RootCommand::RemoveNode { node, tombstone }),
        (node(), option::of(any::<u64>()))
            .prop_map(|(node, if_epoch)| RootCommand::BuryNode { node, if_epoch }),
        (any::<bool>(), option::of(any::<u64>()))
            .prop_map(|(on, if_epoch)| RootCommand::Rebalance { on, if_epoch }),
        (node(), arb::duty(), arb::duty(), option::of(any::<u64>())).prop_map(
            |(node, from, to, if_epoch)| RootCommand::ChangeDuty {
                node,
                from,
                to,
                if_epoch,
            }
        ),
        (node(), arb::duty(), option::of(any::<u64>())).prop_map(|(node, from, if_epoch)| {
            RootCommand::DrainNarrower {
                node,
                from,
                if_epoch,
            }
        }),
        (pool(), vec(planned, 0..4), any::<bool>()).prop_map(
            |(pool, moves, narrow)| match narrow {
                true => RootCommand::NarrowRows { pool, moves },
                false => RootCommand::StartMoves { pool, moves },
            }
        ),
        (pool(), pgs()).prop_map(|(pool, pgs)| RootCommand::CutMoves { pool, pgs }),
        (pool(), pgs()).prop_map(|(pool, pgs)| RootCommand::EndMoves { pool, pgs }),
        (pool(), pgs()).prop_map(|(pool, pgs)| RootCommand::CancelMoves { pool, pgs }),
        (node(), any::<u64>()).prop_map(|(node, lost)| RootCommand::RenewReplica {
            node,
            lost: ReplicaId(lost),
        }),
        (node(), any::<u8>())
            .prop_map(|(node, version)| RootCommand::ReportVersion { node, version }),
        any::<u64>().prop_map(|until_ms| RootCommand::HoldLayout { until_ms }),
        any::<[u64; 4]>().prop_map(|[made_ms, kept_until_ms, bytes, root_index]| {
            RootCommand::NoteBackup(BackupNote {
                made_ms,
                kept_until_ms,
                bytes,
                root_index,
            })
        }),
    ]
}

fn drive_command() -> impl Strategy<Value = RootCommand> {
    let drive = arb::drive;
    let work = prop::sample::select(Pausable::ALL.to_vec());
    prop_oneof![
        (any::<u64>(), any::<u128>(), any::<u64>()).prop_map(|(node, label, capacity)| {
            DriveCommand::Add {
                node: NodeId(node),
                label,
                capacity,
            }
        }),
        (drive(), arb::drive_duty())
            .prop_map(|(drive, duty)| DriveCommand::SetDuty { drive, duty }),
        drive().prop_map(|drive| DriveCommand::Remove { drive }),
        (drive(), any::<u64>())
            .prop_map(|(drive, capacity)| DriveCommand::SetCapacity { drive, capacity }),
        (work, any::<bool>()).prop_map(|(work, paused)| DriveCommand::SetPaused { work, paused }),
    ]
    .prop_map(RootCommand::Drives)
}

fn drain_command() -> impl Strategy<Value = RootCommand> {
    let seen = || option::of(any::<u32>());
    prop_oneof![
        (any::<u64>(), arb::duty(), option::of(any::<u64>()), seen()).prop_map(
            |(node, from, if_epoch, leaving)| DrainCommand::Node {
                node: NodeId(node),
                from,
                if_epoch,
                leaving,
            }
        ),
        (arb::drive(), seen()).prop_map(|(drive, leaving)| DrainCommand::Drive { drive, leaving }),
    ]
    .prop_map(RootCommand::Drain)
}

fn drive_refusal() -> impl Strategy<Value = DriveRefusal> {
    let duties = (arb::drive_duty(), arb::drive_duty());
    prop_oneof![
        arb::drive().prop_map(|drive| DriveRefusal::Unknown { drive }),
        (arb::drive(), duties).prop_map(|(drive, (from, to))| DriveRefusal::DutyChange {
            drive,
            from,
            to
        }),
        arb::drive().prop_map(|drive| DriveRefusal::Serves { drive }),
        arb::drive().prop_map(|drive| DriveRefusal::Metadata { drive }),
        (arb::drive(), arb::pg()).prop_map(|(drive, pg)| DriveRefusal::InLayout { drive, pg }),
        any::<u64>().prop_map(|node| DriveRefusal::TooMany { node: NodeId(node) }),
        Just(DriveRefusal::OthersLeave),
    ]
}

fn identity_command() -> impl Strategy<Value = RootCommand> {
    let print = any::<[u8; 32]>;
    let role = || prop::sample::select(vec![TokenRole::Storage, TokenRole::Gateway]);
    let token = (
        any::<u64>(),
        print(),
        role(),
        option::of(arb::text()),
        option::of(arb::text()),
    )
        .prop_map(|(token, secret_hash, role, name, zone)| NewToken {
            token,
            secret_hash,
            role,
            name,
            zone,
            ttl_ms: token >> 3,
        });
    let newcomer = prop_oneof![
        node_join().prop_map(Newcomer::Storage),
        (print(), arb::text()).prop_map(|(key, name)| Newcomer::Gateway { key, name }),
        (
            node_join(),
            any::<u64>().prop_map(NodeId),
            vec(arb::drive(), 0..3)
        )
            .prop_map(|(join, node, drives)| { Newcomer::Returning { join, node, drives } }),
    ];
    let command = prop_oneof![
        token.prop_map(IdentityCommand::CreateToken),
        any::<u64>().prop_map(|token| IdentityCommand::RevokeToken { token }),
        (any::<u64>(), print(), newcomer).prop_map(|(token, secret_hash, newcomer)| {
            IdentityCommand::Redeem {
                token,
                secret_hash,
                newcomer,
                until_s: token >> 1,
            }
        }),
        (print(), vec(any::<u8>(), 0..9), option::of(print())).prop_map(
            |(fingerprint, certificate, replaces)| IdentityCommand::AddAuthority {
                fingerprint,
                wrapped_key: certificate.clone(),
                certificate,
                replaces,
            }
        ),
        print().prop_map(|fingerprint| IdentityCommand::IssueFrom { fingerprint }),
        print().prop_map(|fingerprint| IdentityCommand::DropAuthority { fingerprint }),
        (
            print(),
            option::of(any::<u64>()),
            vec(print(), 0..3),
            option::of(print())
        )
            .prop_map(|(key, until_s, trusts, issuer)| IdentityCommand::Report {
                key,
                until_s,
                trusts,
                issuer,
            }),
        option::of(print()).prop_map(|key| IdentityCommand::RenewNow { key }),
        arb::text().prop_map(|name| IdentityCommand::RemoveGateway { name }),
    ];
    command.prop_map(RootCommand::Identity)
}

fn identity_refusal() -> impl Strategy<Value = IdentityRefusal> {
    let node = || any::<u64>().prop_map(NodeId);
    prop_oneof![
        Just(IdentityRefusal::TokenWrong),
        node().prop_map(|node| IdentityRefusal::TokenUsed { node }),
        node().prop_map(|node| IdentityRefusal::NodeNotLost { node }),
        node().prop_map(|node| IdentityRefusal::OtherNode { node }),
        arb::drive().prop_map(|drive| IdentityRefusal::DriveNotLost { drive }),
        any::<u64>().prop_map(|ago_ms| IdentityRefusal::TokenExpired { ago_ms }),
        (arb::text(), arb::text(), arb::text())
            .prop_map(|(what, bound, given)| IdentityRefusal::TokenBound { what, bound, given }),
        (arb::text(), node()).prop_map(|(name, node)| IdentityRefusal::NameTaken { name, node }),
        (arb::text(), node())
            .prop_map(|(address, node)| IdentityRefusal::AddressTaken { address, node }),
        (arb::text(), any::<u64>(), vec(arb::text(), 0..4)).prop_map(|(what, count, named)| {
            IdentityRefusal::NotReported { what, count, named }
        }),
    ]
}

fn root_outcome() -> impl Strategy<Value = RootOutcome> {
    prop_oneof![
        Just(RootOutcome::Done),
        (any::<u64>(), vec(any::<u64>().prop_map(DriveId), 0..4)).prop_map(|(node, drives)| {
            RootOutcome::NodeAdded {
                node: NodeId(node),
                drives,
            }
        }),
        any::<u64>().prop_map(|replica| RootOutcome::ReplicaAdded {
            replica: ReplicaId(replica),
        }),
        arb::bucket().prop_map(RootOutcome::Bucket),
        arb::bucket().prop_map(RootOutcome::BucketRemoved),
        (any::<u32>(), any::<u64>())
            .prop_map(|(applied, epoch)| RootOutcome::Moved { applied, epoch }),
        Just(RootOutcome::Refused(Refusal::GroupsExist)),
        arb::drive().prop_map(|drive| RootOutcome::DriveAdded { drive }),
        drive_refusal().prop_map(|refusal| RootOutcome::Refused(refusal.into())),
        identity_refusal().prop_map(|r| RootOutcome::Refused(Refusal::Identity(r))),
        (
            arb::text(),
            option::of((any::<u64>(), vec(arb::drive(), 0..4)))
        )
            .prop_map(|(name, node)| RootOutcome::Admitted {
                name,
                node: node.map(|(node, drives)| AdmittedNode {
                    node: NodeId(node),
                    replica: ReplicaId(node >> 1),
                    drives,
                }),
            }),
        (any::<u16>(), arb::bucket_name(), arb::profile()).prop_map(|(left, bucket, profile)| {
            RootOutcome::Refused(Refusal::LeavesTooFew {
                left,
                bucket,
                profile,
            })
        }),
    ]
}

fn absence_command() -> impl Strategy<Value = RootCommand> {
    let node = || any::<u64>().prop_map(NodeId);
    prop_oneof![
        (node(), any::<bool>()).prop_map(|(node, rebuild)| RootCommand::GiveUp { node, rebuild }),
        node().prop_map(|node| RootCommand::TakeBack { node }),
        (vec(node(), 0..4), arb::pause(), any::<u64>()).prop_map(|(nodes, pause, ttl_ms)| {
            RootCommand::Pause {
                nodes,
                pause,
                ttl_ms,
            }
        }),
        (node(), arb::pause(), option::of(any::<u64>()))
            .prop_map(|(node, pause, only)| RootCommand::EndPause { node, pause, only }),
    ]
}

fn any_command() -> impl Strategy<Value = RootCommand> {
    prop_oneof![
        3 => root_command(),
        1 => layout_command(),
        1 => drive_command(),
        1 => drain_command(),
        1 => absence_command(),
        2 => identity_command(),
    ]
}

/// What the log of a former release, or a member that runs it, has and says.
#[test]
fn commands_and_outcomes_of_former_releases_are_read() {
    forms::kept("root-command", any_command());
    forms::kept("root-outcome", root_outcome());
}

proptest! {
    #[test]
    fn commands_round_trip(command in any_command()) {
        let bytes = command.ser_value();
        prop_assert_eq!(RootCommand::deser_value(&bytes), Ok(command));
        for cut in 0..bytes.len() {
            prop_assert!(RootCommand::deser_value(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn outcomes_round_trip(outcome in root_outcome()) {
        let bytes = outcome.encode();
        prop_assert_eq!(RootOutcome::decode(&bytes), Ok(outcome));
    }

    #[test]
    fn joins_round_trip(join in node_join()) {
        prop_assert_eq!(NodeJoin::from_bytes(&join.to_bytes()), Ok(join));
    }
}

/// What is in logs and tables stays readable: these bytes never change their meaning.
#[test]
fn the_end_of_a_deletion_and_a_drive_that_was_drained_have_their_bytes() {
    let bucket = BucketId(300);
    let golden: [(RootCommand, &[u8], u8); 8] = [
        (
            RootCommand::Keys(KeyCommand::Delete { id: "K".to_owned() }),
            &[103, 1, b'K'],
            2,
        ),
        (
            RootCommand::Keys(KeyCommand::Remove { id: "K".to_owned() }),
            &[127, 1, b'K'],
            4,
        ),
        (
            RootCommand::DrainNarrower {
                node: NodeId(300),
                from: NodeDuty::Cordoned,
                if_epoch: Some(5),
            },
            &[122, 0xac, 2, NodeDuty::Cordoned as u8, 1, 5],
            4,
        ),
        (
            RootCommand::BucketSealed {
                bucket,
                epoch: 4,
                nonempty: false,
            },
            &[11, 0xac, 2, 4, 0],
            2,
        ),
        (
            RootCommand::Ending(EndingCommand::Begin { bucket, epoch: 4 }),
            &[120, 0xac, 2, 4],
            4,
        ),
        (
            RootCommand::Ending(EndingCommand::End { bucket, epoch: 4 }),
            &[121, 0xac, 2, 4],
            4,
        ),
        (
            RootCommand::Drives(DriveCommand::SetDuty {
                drive: DriveId(258),
                duty: DriveDuty::Away,
            }),
            &[46, 0x82, 2, 3],
            2,
        ),
        (
            RootCommand::Drives(DriveCommand::SetDuty {
                drive: DriveId(258),
                duty: DriveDuty::AwayDraining,
            }),
            &[46, 0x82, 2, 6],
            4,
        ),
    ];
    for (command, bytes, version) in golden {
        assert_eq!(command.ser_value(), bytes, "{command:?}");
        assert_eq!(RootCommand::deser_value(bytes), Ok(command.clone()));
        assert_eq!(command.version(), version, "{command:?}");
    }
}

#[test]
fn commands_about_the_profiles_of_writes_have_their_bytes() {
    let golden: [(RootCommand, &[u8], u8); 2] = [
        (
            RootCommand::Profiles(ProfileCommand::Allow {
                name: BucketName::new("abc").unwrap(),
                profile: crate::testing::profile("8+4"),
            }),
            &[132, 1, 3, b'a', b'b', b'c', 8, 4],
            4,
        ),
        (
            RootCommand::Profiles(ProfileCommand::Withdraw {
                name: BucketName::new("abc").unwrap(),
                profile: crate::testing::profile("8+4"),
            }),
            &[132, 2, 3, b'a', b'b', b'c', 8, 4],
            4,
        ),
    ];
    for (command, bytes, version) in golden {
        assert_eq!(command.ser_value(), bytes, "{command:?}");
        assert_eq!(RootCommand::deser_value(bytes), Ok(command.clone()));
        assert_eq!(command.version(), version, "{command:?}");
    }
}
