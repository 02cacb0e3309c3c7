//! The root group's rules, one test each.

mod absence;
mod drains;
mod drives;
mod duties;
mod identity;
mod keys;
mod limits;
mod messages;
mod moves;
mod wayback;

use marram_placement::{PgRow, PoolTable, Spread};
use marram_types::{
    BucketName, ClusterId, DriveId, GroupId, NodeId, PoolId, Profile, ReplicaId, RequestId,
};

use marram_types::caps::ALLOWED_PROFILES_MAX;

use crate::testing::profile;
use crate::{
    AccessKeyRecord, ApplyError, BucketRecord, BucketState, COMMAND_VERSION, ClusterRecord,
    ClusterView, DriveJoin, EndingCommand, Envelope, FOUNDER, GroupRecord, Malformed, MemKv,
    NodeJoin, ProfileCommand, Refusal, RootCommand, RootOutcome, apply_root, stamp, view,
};

struct Root {
    kv: MemKv,
    index: u64,
}

impl Root {
    fn empty() -> Self {
        Self {
            kv: MemKv::new(),
            index: 2,
        }
    }

    /// A cluster of `nodes` nodes with one drive each and groups of `voters` voters.
    fn ready(nodes: u8, voters: u64) -> Self {
        let mut root = Self::empty();
        root.run(&bootstrap());
        for n in 0..nodes {
            root.run(&RootCommand::AddNode(join(n)));
        }
        let groups = (1..=2)
            .map(|group| GroupRecord::new(GroupId(group), (1..=voters).map(ReplicaId).collect()));
        root.run(&RootCommand::CreateGroups(groups.collect()));
        root
    }

    fn apply(&mut self, entry: &[u8]) -> RootOutcome {
        self.index += 1;
        let outcome = apply_root(&mut self.kv, self.index, entry).expect("applies");
        RootOutcome::decode(&outcome).expect("an outcome")
    }

    fn run(&mut self, command: &RootCommand) -> RootOutcome {
        let mut entry = Envelope::seal_internal(command);
        stamp(&mut entry, 1_000).unwrap();
        self.apply(&entry)
    }

    /// As an attempt at a request, at a leader time, with a deadline.
    fn run_as(
        &mut self,
        request: RequestId,
        (at_ms, deadline_ms): (u64, u64),
        command: &RootCommand,
    ) -> RootOutcome {
        let mut entry = Envelope::seal(Some(request), deadline_ms, command);
        stamp(&mut entry, at_ms).unwrap();
        self.apply(&entry)
    }

    fn refused(&mut self, command: &RootCommand) -> Refusal {
        match self.run(command) {
            RootOutcome::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    fn bucket(&mut self, command: &RootCommand) -> BucketRecord {
        match self.run(command) {
            RootOutcome::Bucket(record) => record,
            other => panic!("{other:?}"),
        }
    }

    fn view(&self) -> ClusterView {
        view(&self.kv).unwrap()
    }
}

fn access_key() -> AccessKeyRecord {
    AccessKeyRecord::of_admin("MARRAM".to_owned(), vec![1, 2, 3])
}

fn bootstrap() -> RootCommand {
    RootCommand::Bootstrap {
        cluster: ClusterRecord {
            cluster: ClusterId(42),
            name: "dune".to_owned(),
            version: COMMAND_VERSION,
            object_groups: 2,
            expected_nodes: 3,
            default_profile: None,
        },
        keys: vec![access_key()],
    }
}

fn join(n: u8) -> NodeJoin {
    NodeJoin {
        name: format!("node-{n}"),
        mesh_addr: format!("10.0.0.{n}:7071"),
        api_addr: format!("10.0.0.{n}:7070"),
        public_key: [n; 32],
        zone: String::new(),
        drives: vec![DriveJoin {
            ordinal: 0,
            capacity: 1 << 40,
        }],
    }
}

fn name(text: &str) -> BucketName {
    BucketName::new(text).unwrap()
}

fn create(text: &str, profile: Option<Profile>) -> RootCommand {
    RootCommand::CreateBucket {
        name: name(text),
        profile,
    }
}

#[test]
fn a_cluster_is_made_once_and_first() {
    let mut root = Root::empty();
    let before = root.refused(&RootCommand::AddNode(join(1)));
    assert_eq!(before, Refusal::NotBootstrapped);
    assert_eq!(root.run(&bootstrap()), RootOutcome::Done);
    let again = root.refused(&bootstrap());
    let cluster = ClusterId(42);
    assert_eq!(again, Refusal::AlreadyBootstrapped { cluster });
    assert_eq!(root.view().access_keys["MARRAM"], access_key());
}

#[test]
fn a_node_is_who_proves_its_key() {
    let mut root = Root::empty();
    root.run(&bootstrap());
    let mut two_drives = join(1);
    two_drives.drives.insert(
        0,
        DriveJoin {
            ordinal: 1,
            capacity: 5,
        },
    );
    let first = root.run(&RootCommand::AddNode(two_drives.clone()));
    let node = NodeId(root.index);
    let drives = vec![DriveId(node.0 << 8), DriveId(node.0 << 8 | 1)];
    assert_eq!(first, RootOutcome::NodeAdded { node, drives });
    two_drives.mesh_addr = "10.1.1.1:7071".to_owned();
    let again = root.run(&RootCommand::AddNode(two_drives.clone()));
    assert_eq!(again, first);
    assert_eq!(root.view().nodes.len(), 1);
    assert_eq!(root.view().nodes[&node].mesh_addr, "10.1.1.1:7071");
    root.run(&RootCommand::UpdateNode {
        node,
        mesh_addr: "m:1".to_owned(),
        api_addr: "a:1".to_owned(),
    });
    assert_eq!(root.view().nodes[&node].api_addr, "a:1");
    two_drives.public_key = [9; 32];
    two_drives.drives[0].ordinal = 0;
    let twice = root.refused(&RootCommand::AddNode(two_drives));
    assert_eq!(twice, Refusal::Malformed(Malformed::Drives));
}

#[test]
fn replica_ids_are_fresh_and_never_return() {
    let mut root = Root::ready(2, 1);
    let nodes: Vec<_> = root.view().nodes.into_keys().collect();
    let add = |node, founder| RootCommand::AddReplica { node, founder };
    let founder = RootOutcome::ReplicaAdded { replica: FOUNDER };
    assert_eq!(root.run(&add(nodes[0], true)), founder);
    assert_eq!(root.run(&add(nodes[0], true)), founder);
    let taken = root.refused(&add(nodes[1], true));
    assert_eq!(taken, Refusal::ReplicaExists { replica: FOUNDER });
    let second = root.run(&add(nodes[0], false));
    let replica = ReplicaId(root.index);
    assert_eq!(second, RootOutcome::ReplicaAdded { replica });
    let record = &root.view().nodes[&nodes[0]];
    assert_eq!(record.replica, Some(replica));
    assert_eq!(record.replicas_past, [FOUNDER]);
    // The founder's id is past even for its own node.
    let back = root.refused(&add(nodes[0], true));
    assert_eq!(back, Refusal::ReplicaExists { replica: FOUNDER });
    let node = NodeId(77);
    let nobody = root.refused(&add(node, false));
    assert_eq!(nobody, Refusal::NodeUnknown { node });
}

#[test]
fn object_groups_and_pools_are_made_once() {
    let mut root = Root::empty();
    root.run(&bootstrap());
    let groups = |ids: &[u16]| {
        let record = |id: &u16| GroupRecord::new(GroupId(*id), vec![FOUNDER]);
        RootCommand::CreateGroups(ids.iter().map(record).collect())
    };
    for wrong in [&[1][..], &[1, 2, 3], &[2, 1], &[0, 1], &[]] {
        let refusal = root.refused(&groups(wrong));
        assert_eq!(refusal, Refusal::Malformed(Malformed::Groups));
    }
    assert_eq!(root.run(&groups(&[1, 2])), RootOutcome::Done);
    assert_eq!(root.refused(&groups(&[1, 2])), Refusal::GroupsExist);
    let grown = GroupRecord::new(GroupId::ROOT, vec![FOUNDER, ReplicaId(9)]);
    root.run(&RootCommand::UpdateGroup(grown.clone()));
    assert_eq!(root.view().groups[&GroupId::ROOT], grown);
    assert_eq!(root.view().groups.len(), 3);
    let changed = GroupRecord {
        joining: vec![ReplicaId(12)],
        at: 40,
        ..GroupRecord::new(GroupId(1), vec![FOUNDER, ReplicaId(9)])
    };
    assert_eq!(
        root.run(&RootCommand::UpdateGroup(changed.clone())),
        RootOutcome::Done
    );
    let late = GroupRecord {
        at: 39,
        ..GroupRecord::new(GroupId(1), vec![FOUNDER])
    };
    let refusal = root.refused(&RootCommand::UpdateGroup(late));
    assert_eq!(refusal, Refusal::StaleEpoch { epoch: 40 });
    assert_eq!(root.view().groups[&GroupId(1)], changed);

    let table = PoolTable {
        width: 2,
        epoch: 1,
        rows: vec![PgRow::stable(1, vec![DriveId(1), DriveId(2)])],
        domains: Spread::default(),
    };
    let pool = PoolId(2);
    assert_eq!(
        root.run(&RootCommand::CreatePool(table.clone())),
        RootOutcome::Done
    );
    let again = root.refused(&RootCommand::CreatePool(table.clone()));
    assert_eq!(again, Refusal::PoolExists { pool, epoch: 1 });
    assert_eq!(root.view().pools[&pool], table);
}

#[test]
fn a_bucket_lives_and_dies() {
    let mut root = Root::ready(6, 5);
    root.run(&RootCommand::SetDefaultProfile(profile("4+2")));
    let made = root.bucket(&create("photos", None));
    let bucket = made.bucket;
    assert_eq!((made.epoch, made.state), (1, BucketState::Creating));
    assert_eq!((made.profile, made.created_ms), (profile("4+2"), 1_000));
    let twice = root.refused(&create("photos", None));
    assert_eq!(twice, Refusal::BucketExists { bucket });
    let active = |epoch| RootCommand::BucketActive { bucket, epoch };
    assert_eq!(root.bucket(&active(1)).state, BucketState::Active);

    let delete = RootCommand::DeleteBucket {
        name: name("photos"),
    };
    let sealed = |epoch, nonempty| RootCommand::BucketSealed {
        bucket,
        epoch,
        nonempty,
    };
    let early = root.refused(&sealed(1, false));
    assert_eq!(early, Refusal::StaleEpoch { epoch: 1 }, "it is not sealed");
    let dying = root.bucket(&delete);
    assert_eq!((dying.epoch, dying.state), (2, BucketState::Deleting));
    assert_eq!(root.bucket(&delete), dying, "a deletion under way");
    assert_eq!(root.bucket(&active(2)), dying, "not to be made active");
    let back = root.bucket(&sealed(2, true));
    assert_eq!((back.epoch, back.state), (3, BucketState::Changing));
    let late = root.refused(&sealed(2, false));
    assert_eq!(late, Refusal::StaleEpoch { epoch: 3 });
    assert_eq!(root.bucket(&active(3)).state, BucketState::Active);

    let dying = root.bucket(&delete);
    let removed = match root.run(&sealed(dying.epoch, false)) {
        RootOutcome::BucketRemoved(record) => record,
        other => panic!("{other:?}"),
    };
    assert_eq!((removed.epoch, removed.state), (4, BucketState::Deleted));
    assert!(removed.is_newer_than(&dying));
    assert_eq!(root.refused(&delete), Refusal::NoSuchBucket);
    assert_eq!(root.refused(&active(4)), Refusal::NoSuchBucket);
    let again = root.bucket(&create("photos", None));
    assert!(again.bucket > bucket, "ids are not reused");
}

/// The record says what is still to be told until all of it was told (rules.md 12).
#[test]
fn a_deletion_ends_when_every_group_was_told() {
    let mut root = Root::ready(6, 5);
    root.run(&RootCommand::SetDefaultProfile(profile("4+2")));
    let bucket = root.bucket(&create("photos", None)).bucket;
    let begin = |epoch| RootCommand::Ending(EndingCommand::Begin { bucket, epoch });
    let end = |epoch| RootCommand::Ending(EndingCommand::End { bucket, epoch });
    let delete = RootCommand::DeleteBucket {
        name: name("photos"),
    };
    let stale = Refusal::StaleEpoch { epoch: 1 };
    assert_eq!(root.refused(&begin(1)), stale, "it is not sealed");
    assert_eq!(root.refused(&end(1)), stale);
    let dying = root.bucket(&delete);
    let stale = Refusal::StaleEpoch { epoch: 2 };
    assert_eq!(root.refused(&begin(1)), stale, "of an earlier seal");
    assert_eq!(root.refused(&end(2)), stale, "nobody was told");
    let ending = root.bucket(&begin(2));
    assert_eq!((ending.epoch, ending.state), (2, BucketState::Deleted));
    assert!(ending.is_newer_than(&dying) && ending.state.is_pending());
    assert_eq!(root.bucket(&begin(2)), ending, "again");
    assert_eq!(root.view().buckets[&name("photos")], ending);

    // It is not taken back, and is not used any more; its name is free only when it has ended.
    let late = RootCommand::BucketSealed {
        bucket,
        epoch: 2,
        nonempty: true,
    };
    assert_eq!(root.refused(&late), stale);
    assert_eq!(root.bucket(&delete), ending, "deleted once more");
    let set = RootCommand::SetBucketProfile {
        name: name("photos"),
        profile: profile("4+2"),
    };
    assert_eq!(root.refused(&set), Refusal::NoSuchBucket);
    let taken = root.refused(&create("photos", None));
    assert_eq!(taken, Refusal::BucketExists { bucket });
    assert_eq!(root.run(&end(2)), RootOutcome::BucketRemoved(ending));
    assert_eq!(root.refused(&end(2)), Refusal::NoSuchBucket);
    assert_eq!(root.refused(&delete), Refusal::NoSuchBucket);
    assert!(root.bucket(&create("photos", None)).bucket > bucket);
}

#[test]
fn a_profile_must_find_drives_and_voters() {
    let mut root = Root::ready(6, 3);
    assert_eq!(root.refused(&create("abc", None)), Refusal::NoProfile);
    let wide = root.refused(&create("abc", Some(profile("6+1"))));
    let (width, nodes) = (7, 6);
    assert_eq!(wide, Refusal::ProfileNeedsNodes { width, nodes });
    let weak = root.refused(&create("abc", Some(profile("4+2"))));
    let (m, voters, needed) = (2, 3, 5);
    assert_eq!(weak, Refusal::TooFewVoters { m, voters, needed });
    root.bucket(&create("abc", Some(profile("4+1"))));
    // The default is what a cluster of this size can have.
    root.run(&RootCommand::SetDefaultProfile(profile("1+2")));
    root.bucket(&create("def", Some(profile("1+2"))));
    root.bucket(&create("ghi", Some(profile("2+2"))));
}

#[test]
fn a_users_request_is_answered_twice_and_done_once() {
    let mut root = Root::ready(6, 5);
    let request = RequestId {
        client: 1,
        sequence: 1,
    };
    let command = create("photos", Some(profile("4+2")));
    let mut entry = Envelope::seal(Some(request), 9_000, &command);
    stamp(&mut entry, 1_000).unwrap();
    let first = root.apply(&entry);
    assert_eq!(root.apply(&entry), first);
    assert_eq!(root.view().buckets.len(), 1);
    stamp(&mut entry, 10_000).unwrap();
    assert_eq!(root.apply(&entry), first, "even after the deadline");
    let mut reused = Envelope::seal(Some(request), 20_000, &create("photos", None));
    stamp(&mut reused, 10_000).unwrap();
    let refused = RootOutcome::Refused(Refusal::RequestIdReused);
    assert_eq!(root.apply(&reused), refused, "another profile");
    let other = RootCommand::DeleteBucket {
        name: BucketName::new("photos").unwrap(),
    };
    let mut reused = Envelope::seal(Some(request), 20_000, &other);
    stamp(&mut reused, 10_000).unwrap();
    assert_eq!(root.apply(&reused), refused, "another command");
    assert_eq!(root.apply(&entry), first, "the record is as it was");
    let late = Envelope::seal(
        Some(RequestId {
            sequence: 2,
            ..request
        }),
        9_000,
        &create("other", Some(profile("4+2"))),
    );
    let refused = RootOutcome::Refused(Refusal::DeadlinePassed);
    assert_eq!(root.apply(&late), refused);
}

#[test]
fn the_version_gate_rises_as_far_as_the_release_knows() {
    let mut root = Root::ready(1, 1);
    let finalize = |version| RootCommand::FinalizeVersion { version };
    let same = root.refused(&finalize(COMMAND_VERSION));
    let current = COMMAND_VERSION;
    assert_eq!(same, Refusal::VersionNotHigher { current });
    let newer = Envelope::seal_internal(&finalize(COMMAND_VERSION + 1));
    assert!(crate::check_root(&newer).is_err());
    let before = root.kv.clone();
    let stopped = apply_root(&mut root.kv, 99, &newer);
    assert!(matches!(stopped, Err(ApplyError::UnknownVersion { .. })));
    assert_eq!(root.kv, before);
}

#[test]
fn the_view_crosses_the_mesh() {
    let mut root = Root::ready(3, 3);
    root.run(&RootCommand::SetDefaultProfile(profile("1+2")));
    root.bucket(&create("photos", None));
    let mut disabled = access_key();
    disabled.disabled = true;
    root.run(&RootCommand::PutAccessKey(disabled.clone()));
    let seen = root.view();
    assert_eq!(seen.index, root.index);
    assert_eq!(seen.access_keys["MARRAM"], disabled);
    let bytes = seen.encode();
    assert_eq!(ClusterView::decode(&bytes), Ok(seen));
    for cut in 0..bytes.len() {
        assert!(ClusterView::decode(&bytes[..cut]).is_err());
    }
    assert_eq!(view(&MemKv::new()).unwrap(), ClusterView::default());
}

#[test]
fn a_new_profile_is_a_higher_epoch_on_its_way_to_every_group() {
    let mut root = Root::ready(6, 5);
    let made = root.bucket(&create("photos", Some(profile("2+1"))));
    let active = RootCommand::BucketActive {
        bucket: made.bucket,
        epoch: 1,
    };
    root.run(&active);
    let set = |wanted: &str| RootCommand::SetBucketProfile {
        name: made.name.clone(),
        profile: profile(wanted),
    };
    let pool = PoolId(6);
    assert_eq!(root.refused(&set("4+2")), Refusal::PoolUnknown { pool });
    for width in [3_u8, 6] {
        root.run(&RootCommand::CreatePool(PoolTable {
            width,
            epoch: 1,
            rows: vec![PgRow::stable(
                1,
                (1..=u64::from(width)).map(DriveId).collect(),
            )],
            domains: Spread::default(),
        }));
    }
    let (width, nodes) = (7, 6);
    let wide = root.refused(&set("5+2"));
    assert_eq!(wide, Refusal::ProfileNeedsNodes { width, nodes });
    let deep = root.refused(&set("2+3"));
    assert!(
        matches!(deep, Refusal::TooFewVoters { m: 3, .. }),
        "{deep:?}"
    );
    let changed = root.bucket(&set("4+2"));
    let expected = (2, BucketState::Changing, profile("4+2"));
    assert_eq!((changed.epoch, changed.state, changed.profile), expected);
    assert_eq!(root.bucket(&set("4+2")), changed, "again");
    let stale = root.refused(&active);
    assert_eq!(stale, Refusal::StaleEpoch { epoch: 2 });
    let done = root.bucket(&RootCommand::BucketActive {
        bucket: made.bucket,
        epoch: 2,
    });
    assert_eq!((done.epoch, done.state), (2, BucketState::Active));
    let name = made.name.clone();
    root.bucket(&RootCommand::DeleteBucket { name });
    let bucket = made.bucket;
    assert_eq!(root.refused(&set("2+1")), Refusal::BucketSealed { bucket });
}

#[test]
fn profiles_that_writes_may_ask_for_are_held_to_what_the_buckets_own_is() {
    let mut root = Root::ready(6, 5);
    let made = root.bucket(&create("photos", Some(profile("2+1"))));
    let allow = |wanted: &str| {
        RootCommand::Profiles(ProfileCommand::Allow {
            name: made.name.clone(),
            profile: profile(wanted),
        })
    };
    let withdraw = |wanted: &str| {
        RootCommand::Profiles(ProfileCommand::Withdraw {
            name: made.name.clone(),
            profile: profile(wanted),
        })
    };
    let pool = PoolId(6);
    assert_eq!(root.refused(&allow("4+2")), Refusal::PoolUnknown { pool });
    for width in 2..=6_u8 {
        root.run(&RootCommand::CreatePool(PoolTable {
            width,
            epoch: 1,
            rows: vec![PgRow::stable(
                1,
                (1..=u64::from(width)).map(DriveId).collect(),
            )],
            domains: Spread::default(),
        }));
    }
    let (width, nodes) = (7, 6);
    let wide = root.refused(&allow("5+2"));
    assert_eq!(wide, Refusal::ProfileNeedsNodes { width, nodes });
    let deep = root.refused(&allow("2+3"));
    assert!(matches!(deep, Refusal::TooFewVoters { .. }), "{deep:?}");
    let changed = root.bucket(&allow("4+2"));
    assert_eq!(changed.state, BucketState::Creating, "still on its way");
    assert_eq!((changed.epoch, changed.profile), (2, profile("2+1")));
    assert_eq!(changed.allowed, [profile("4+2")]);
    assert_eq!(root.bucket(&allow("4+2")), changed, "again");

    // Nodes must stay for the widest of them; the pools that they use survive as little as the least of them.
    let view = root.view();
    let node = *view.nodes.keys().next().unwrap();
    let lacks = Refusal::LeavesTooFew {
        left: 5,
        bucket: made.name.clone(),
        profile: profile("4+2"),
    };
    assert_eq!(view.leaves_too_few(node, false), Some(lacks));
    assert_eq!(view.leaves_too_few(node, true), None);
    assert_eq!(
        (view.pool_parity(pool), view.pool_losses(pool)),
        (Some(2), 2)
    );
    let kept = root.bucket(&allow("1+2"));
    assert_eq!(kept.allowed, [profile("1+2"), profile("4+2")]);

    for more in ["3+1", "3+2"] {
        root.bucket(&allow(more));
    }
    assert_eq!(root.refused(&allow("2+2")), Refusal::TooManyProfiles);
    let fewer = root.bucket(&withdraw("4+2"));
    assert_eq!(fewer.allowed.len(), ALLOWED_PROFILES_MAX - 1);
    assert_eq!(root.bucket(&withdraw("4+2")), fewer, "again");
    assert_eq!(root.view().leaves_too_few(node, false), None);
    root.bucket(&allow("2+2"));
}
