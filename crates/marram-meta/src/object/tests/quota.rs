//! Quotas by leases: a root and its object groups under messages that are lost, late and sent twice. What
//! groups hold together never exceeds the quota, and all of it can be had.

use marram_types::{BucketName, ClusterId, GroupId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::refused;
use crate::kinds::quota::ser_key;
use crate::kv::Table;
use crate::stored::load;
use crate::testing::{BUCKET, Group, bucket_record, delete, delete_version, inline, profile, put};
use crate::{
    Amount, BucketRecord, BucketState, ClusterRecord, Envelope, Lease, LeaseCommand, MemKv,
    ObjectCommand, ObjectOutcome, OverLease, Quota, QuotaCommand, QuotaLeases, QuotaRefusal,
    Refusal, RootCommand, RootOutcome, Usage, Versioning, apply_root, stamp,
};

const GROUPS: u16 = 3;
static BYTES: [u8; 4096] = [7; 4096];

/// A root and its groups, with everything that was ever said between them.
struct World {
    root: MemKv,
    index: u64,
    groups: Vec<Group>,
    versions: u128,
    said_root: Vec<RootCommand>,
    said: Vec<(usize, ObjectCommand)>,
}

impl World {
    /// One bucket, known everywhere, without a quota.
    fn new() -> Self {
        let mut world = Self {
            root: MemKv::new(),
            index: BUCKET.0 - 3,
            groups: (0..GROUPS).map(|_| Group::ready()).collect(),
            versions: 0,
            said_root: Vec::new(),
            said: Vec::new(),
        };
        world.root(&RootCommand::Bootstrap {
            cluster: ClusterRecord {
                cluster: ClusterId(1),
                name: "dune".to_owned(),
                version: 4,
                object_groups: GROUPS,
                expected_nodes: 1,
                default_profile: None,
            },
            keys: Vec::new(),
        });
        world.root(&RootCommand::SetDefaultProfile(profile("4+2")));
        let name = name();
        world.root(&RootCommand::CreateBucket {
            name,
            profile: None,
        });
        world.spread();
        world
    }

    fn root(&mut self, command: &RootCommand) -> RootOutcome {
        self.index += 1;
        let mut entry = Envelope::seal_internal(command);
        stamp(&mut entry, 1_000).expect("an envelope");
        let outcome = apply_root(&mut self.root, self.index, &entry).expect("applies");
        RootOutcome::decode(&outcome).expect("an outcome")
    }

    fn record(&self) -> BucketRecord {
        let key = crate::kinds::bucket::ser_key(BUCKET);
        load(&self.root, Table::Buckets, &key)
            .unwrap()
            .expect("made")
    }

    fn leases(&self) -> QuotaLeases {
        let held = load(&self.root, Table::QuotaLeases, &ser_key(BUCKET)).unwrap();
        held.unwrap_or_else(|| QuotaLeases::new(BUCKET))
    }

    fn lease(&self, group: usize) -> Option<Lease> {
        load(&self.groups[group].kv, Table::Leases, &ser_key(BUCKET)).unwrap()
    }

    fn held(&self, group: usize) -> Amount {
        let kv = &self.groups[group].kv;
        let usage: Option<Usage> = load(kv, Table::Usage, &ser_key(BUCKET)).unwrap();
        usage.unwrap_or_default().held()
    }

    fn used(&self) -> Amount {
        let all = (0..self.groups.len()).map(|group| self.held(group));
        all.fold(Amount::default(), Amount::plus)
    }

    /// What the root's leader does with a changed record.
    fn spread(&mut self) {
        let record = self.record();
        for group in 0..self.groups.len() {
            self.groups[group].run(&ObjectCommand::BucketFence(record.clone()));
        }
        if let Some(quota) = record.quota {
            let leases = (0..self.groups.len()).map(|at| {
                let settle = settle(quota.since, Amount::default(), false);
                match self.groups[at].run(&settle) {
                    ObjectOutcome::Lease { lease, .. } => (number(at), lease),
                    other => panic!("{other:?}"),
                }
            });
            let leases = leases.collect();
            self.root(&RootCommand::Quota(QuotaCommand::Report {
                bucket: BUCKET,
                leases,
            }));
        }
        let active = RootCommand::BucketActive {
            bucket: BUCKET,
            epoch: record.epoch,
        };
        self.root(&active);
    }

    fn set(&mut self, bytes: Option<u64>, objects: Option<u64>) {
        self.root(&RootCommand::Quota(QuotaCommand::Set {
            name: name(),
            bytes,
            objects,
        }));
    }

    fn tell(&mut self, group: usize, command: ObjectCommand) -> ObjectOutcome {
        let outcome = self.groups[group].run(&command);
        self.said.push((group, command));
        outcome
    }

    fn ask(&mut self, command: QuotaCommand) -> Option<QuotaLeases> {
        let command = RootCommand::Quota(command);
        self.said_root.push(command.clone());
        match self.root(&command) {
            RootOutcome::Leases(leases) => Some(leases),
            _ => None,
        }
    }

    fn try_put(&mut self, group: usize, key: &str, size: usize) -> Result<(), Box<OverLease>> {
        self.versions += 1;
        let random = u64::try_from(self.versions).unwrap();
        let command = put(key, self.versions, inline(random, &BYTES[..size]));
        match self.groups[group].run(&command) {
            ObjectOutcome::Refused(Refusal::Quota(QuotaRefusal::OverLease(over))) => Err(over),
            ObjectOutcome::Committed { .. } => Ok(()),
            other => panic!("{other:?}"),
        }
    }

    /// What a gateway does for a group that lacks something; it dies after `steps` steps.
    fn make_room(&mut self, group: usize, over: &OverLease, mut steps: usize) {
        let mut alive = || {
            steps = steps.saturating_sub(1);
            steps > 0
        };
        let since = over.quota.since;
        for _ in 0..2 {
            if !alive() {
                return;
            }
            let asked = self.ask(QuotaCommand::Ask {
                bucket: BUCKET,
                group: number(group),
                since,
                seen: over.granted,
                lack: over.lack,
            });
            let Some(leases) = asked.filter(|_| alive()) else {
                return;
            };
            let granted = leases.groups[&number(group)].granted;
            if granted != over.granted {
                self.tell(group, settle(since, granted, false));
                return;
            }
            let mut now = Vec::new();
            for other in (0..self.groups.len()).filter(|other| *other != group) {
                if !alive() {
                    return;
                }
                let granted = leases.groups[&number(other)].granted;
                let told = self.tell(other, settle(since, granted, true));
                if let ObjectOutcome::Lease { lease, .. } = told {
                    now.push((number(other), lease));
                }
            }
            if !alive() {
                return;
            }
            self.ask(QuotaCommand::Report {
                bucket: BUCKET,
                leases: now,
            });
        }
    }

    /// A put by a gateway that lives, when nobody else writes: whether it went in.
    fn put_whole(&mut self, group: usize, key: &str, size: usize) -> bool {
        for _ in 0..3 {
            let Err(over) = self.try_put(group, key, size) else {
                return true;
            };
            let after = self.used().plus(over.asked).each();
            let limits = over.quota.limits();
            if (0..2).any(|at| limits[at].is_some_and(|limit| after[at] > u128::from(limit))) {
                return false;
            }
            self.make_room(group, &over, usize::MAX);
        }
        panic!("there is room, and it is not found");
    }

    /// What groups hold, and may hold, is within the quota, or within what they held when it came.
    fn check(&self) {
        let record = self.record();
        let Some(quota) = record.quota else { return };
        let knows = |at: usize| self.lease(at).filter(|lease| lease.since == quota.since);
        let leases: Vec<Lease> = (0..self.groups.len()).filter_map(knows).collect();
        if leases.len() < self.groups.len() {
            return;
        }
        let sum = |each: &dyn Fn(&Lease) -> Amount| {
            leases
                .iter()
                .map(each)
                .fold(Amount::default(), Amount::plus)
        };
        let (allotted, claimed) = (sum(&Lease::allotted), sum(&|lease| lease.claimed));
        for at in 0..2 {
            let Some(limit) = quota.limits()[at] else {
                continue;
            };
            let most = u128::from(limit).max(claimed.each()[at]);
            assert!(allotted.each()[at] <= most, "leases beyond the quota");
            assert!(
                self.used().each()[at] <= most,
                "more than the quota is held"
            );
        }
        for (at, lease) in leases.iter().enumerate() {
            let known = self.leases().groups.get(&number(at)).copied();
            if let Some(known) = known.filter(|known| known.since == quota.since) {
                let (is, thought) = (lease.allotted().each(), known.allotted().each());
                assert!(
                    is[0] <= thought[0] && is[1] <= thought[1],
                    "smaller than it is"
                );
            }
        }
    }
}

fn name() -> BucketName {
    BucketName::new("photos").expect("a name")
}

fn number(at: usize) -> GroupId {
    GroupId(u16::try_from(at + 1).expect("few"))
}

fn settle(since: u64, granted: Amount, give_back: bool) -> ObjectCommand {
    ObjectCommand::Lease(LeaseCommand::Settle {
        bucket: BUCKET,
        since,
        granted,
        give_back,
    })
}

#[derive(Debug, Clone)]
enum Op {
    /// Puts by a gateway that dies after so many steps, if it lacks something.
    Put(usize, usize, usize, usize),
    Delete(usize, usize),
    Set(Option<u64>, Option<u64>),
    /// The record reaches one group, without the root hearing of it.
    Fence(usize),
    Spread,
    /// Something that was said before, once more.
    AgainRoot(usize),
    Again(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let group = 0..usize::from(GROUPS);
    let key = 0..4_usize;
    let limits = (
        prop::option::of(0..12_000_u64),
        prop::option::weighted(0.3, 0..9_u64),
    );
    prop_oneof![
        12 => (group.clone(), key.clone(), 0..2000_usize, 0..14_usize)
            .prop_map(|(g, k, size, steps)| Op::Put(g, k, size, steps)),
        4 => (group.clone(), key).prop_map(|(g, k)| Op::Delete(g, k)),
        1 => limits.prop_map(|(bytes, objects)| Op::Set(bytes, objects)),
        1 => group.prop_map(Op::Fence),
        2 => Just(Op::Spread),
        3 => (0..200_usize).prop_map(Op::AgainRoot),
        3 => (0..200_usize).prop_map(Op::Again),
    ]
}

proptest! {
    #[test]
    fn groups_never_hold_more_than_the_quota(ops in vec(op(), 1..120)) {
        let mut world = World::new();
        world.set(Some(9000), None);
        world.spread();
        for op in ops {
            match op {
                Op::Put(group, key, size, steps) => {
                    let key = format!("{group}-{key}");
                    if let Err(over) = world.try_put(group, &key, size) {
                        world.make_room(group, &over, steps);
                        let _ = world.try_put(group, &key, size);
                    }
                }
                Op::Delete(group, key) => {
                    let gone = world.groups[group].run(&delete(&format!("{group}-{key}")));
                    let is_gone = matches!(gone, ObjectOutcome::Deleted { .. });
                    prop_assert!(is_gone, "deleting always works");
                }
                Op::Set(bytes, objects) => world.set(bytes, objects),
                Op::Fence(group) => {
                    let record = world.record();
                    world.groups[group].run(&ObjectCommand::BucketFence(record));
                }
                Op::Spread => world.spread(),
                Op::AgainRoot(nth) if !world.said_root.is_empty() => {
                    let command = world.said_root[nth % world.said_root.len()].clone();
                    world.root(&command);
                }
                Op::Again(nth) if !world.said.is_empty() => {
                    let (group, command) = world.said[nth % world.said.len()].clone();
                    world.groups[group].run(&command);
                }
                Op::AgainRoot(_) | Op::Again(_) => {}
            }
            world.check();
        }
        // Whatever was lost on the way: everything that the quota allows can be had in the end.
        world.set(Some(20_000), Some(40));
        world.spread();
        let mut filled = 0;
        while world.put_whole(filled % 3, &format!("fill-{filled}"), 700) {
            filled += 1;
            world.check();
        }
        let free = Amount { bytes: 20_000, objects: 40 }.minus(world.used());
        prop_assert!(free.bytes < 700 || free.objects == 0, "{free:?} is left");
        if free.objects > 0 {
            let rest = usize::try_from(free.bytes).unwrap();
            prop_assert!(world.put_whole(0, "rest", rest), "to the last byte");
            prop_assert!(!world.put_whole(1, "more", 1));
        }
    }
}

/// A group with a quota of its own, which it has all of.
fn alone(bytes: Option<u64>, objects: Option<u64>) -> Group {
    let mut group = Group::ready();
    group.run(&fenced(
        2,
        BucketState::Active,
        Versioning::Off,
        bytes,
        objects,
    ));
    let granted = Amount::of([bytes, objects].map(|most| u128::from(most.unwrap_or(0))));
    group.run(&settle(2, granted, false));
    group
}

fn fenced(
    epoch: u64,
    state: BucketState,
    versioning: Versioning,
    bytes: Option<u64>,
    objects: Option<u64>,
) -> ObjectCommand {
    ObjectCommand::BucketFence(BucketRecord {
        versioning,
        quota: Some(Quota {
            bytes,
            objects,
            since: 2,
        }),
        ..bucket_record(epoch, state)
    })
}

fn lack(outcome: ObjectOutcome) -> Amount {
    match refused(outcome) {
        Refusal::Quota(QuotaRefusal::OverLease(over)) => over.lack,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_replaced_makes_room_for_what_replaces_it() {
    let mut group = alone(Some(10), None);
    group.run(&put("a", 1, inline(1, b"12345678")));
    let over = lack(group.run(&put("b", 2, inline(2, b"1234"))));
    assert_eq!(
        over,
        Amount {
            bytes: 2,
            objects: 0
        }
    );
    let done = group.run(&put("a", 3, inline(3, b"1234567890")));
    assert!(matches!(done, ObjectOutcome::Committed { .. }));
    assert_eq!(
        lack(group.run(&put("a", 4, inline(4, b"12345678901")))).bytes,
        1
    );
    group.run(&delete("a"));
    let done = group.run(&put("b", 5, inline(5, b"1234567890")));
    assert!(matches!(done, ObjectOutcome::Committed { .. }));
}

#[test]
fn versions_that_are_kept_count_and_markers_do_not() {
    let mut group = alone(Some(100), Some(2));
    group.run(&fenced(
        3,
        BucketState::Active,
        Versioning::On,
        Some(100),
        Some(2),
    ));
    group.run(&put("a", 1, inline(1, b"1")));
    let first = group.index;
    group.run(&put("a", 2, inline(2, b"2")));
    assert_eq!(lack(group.run(&put("a", 3, inline(3, b"3")))).objects, 1);
    let marked = group.run(&delete("a"));
    assert!(
        matches!(marked, ObjectOutcome::Marked { .. }),
        "deleting always works"
    );
    assert_eq!(lack(group.run(&put("b", 4, inline(4, b"3")))).objects, 1);
    group.run(&delete_version("a", first));
    let done = group.run(&put("b", 5, inline(5, b"3")));
    assert!(matches!(done, ObjectOutcome::Committed { .. }));
}

/// Suspended versioning replaces the null version, wherever it lies.
#[test]
fn the_null_version_makes_room_too() {
    let mut group = alone(Some(8), None);
    group.run(&put("a", 1, inline(1, b"12345")));
    group.run(&fenced(
        3,
        BucketState::Active,
        Versioning::On,
        Some(8),
        None,
    ));
    group.run(&put("a", 2, inline(2, b"1")));
    group.run(&fenced(
        4,
        BucketState::Active,
        Versioning::Suspended,
        Some(8),
        None,
    ));
    let done = group.run(&put("a", 3, inline(3, b"1234567")));
    assert!(matches!(done, ObjectOutcome::Committed { .. }), "{done:?}");
    assert_eq!(
        lack(group.run(&put("a", 4, inline(4, b"12345678")))).bytes,
        1
    );
}

#[test]
fn a_quota_below_what_is_there_keeps_everything_but_growth_out_of_it() {
    let mut group = Group::ready();
    group.run(&put("a", 1, inline(1, b"12345")));
    group.run(&fenced(
        2,
        BucketState::Active,
        Versioning::Off,
        Some(3),
        Some(0),
    ));
    assert_eq!(
        lack(group.run(&put("b", 2, inline(2, b"1")))),
        Amount {
            bytes: 1,
            objects: 1
        }
    );
    let smaller = group.run(&put("a", 3, inline(3, b"1234")));
    assert!(matches!(smaller, ObjectOutcome::Committed { .. }));
    let again = group.run(&put("a", 4, inline(4, b"12345")));
    assert!(
        matches!(again, ObjectOutcome::Committed { .. }),
        "it was claimed"
    );
    // A seal and its end leave the lease as it is: the root counts with what it knows of it.
    let before: Option<Lease> = load(&group.kv, Table::Leases, &ser_key(BUCKET)).unwrap();
    group.run(&delete("a"));
    group.run(&fenced(
        3,
        BucketState::Deleting,
        Versioning::Off,
        Some(3),
        Some(0),
    ));
    group.run(&fenced(
        4,
        BucketState::Active,
        Versioning::Off,
        Some(3),
        Some(0),
    ));
    let after: Option<Lease> = load(&group.kv, Table::Leases, &ser_key(BUCKET)).unwrap();
    assert_eq!(before, after);
    assert_eq!(
        after.unwrap().claimed,
        Amount {
            bytes: 5,
            objects: 1
        }
    );
}

/// What a full bucket kept out is garbage at once, and its late entry commits nothing.
#[test]
fn data_that_a_quota_kept_out_is_given_up() {
    let mut group = alone(Some(10), None);
    let new = super::striped("big", 1, "4+2", 5);
    let ObjectCommand::Put { content, .. } = &new else {
        unreachable!("a put")
    };
    let crate::NewBody::Extents(extents) = content.body.clone() else {
        unreachable!("of extents")
    };
    assert!(lack(group.run(&new)).bytes > 0);
    assert_eq!(group.kv.len(Table::Garbage), 0, "it may be sent again");
    let give_up = ObjectCommand::Lease(LeaseCommand::GiveUp { extents });
    assert_eq!(group.run(&give_up), ObjectOutcome::Done);
    assert_eq!(group.kv.len(Table::Garbage), 1);
    group.run(&settle(
        2,
        Amount {
            bytes: 1 << 30,
            objects: 0,
        },
        false,
    ));
    assert_eq!(refused(group.run(&new)), Refusal::DataDiscarded);
    // What was committed stays, whoever gives it up.
    let kept = super::striped("kept", 2, "4+2", 5);
    group.run(&kept);
    let ObjectCommand::Put { content, .. } = &kept else {
        unreachable!("a put")
    };
    let crate::NewBody::Extents(extents) = content.body.clone() else {
        unreachable!("of extents")
    };
    group.run(&ObjectCommand::Lease(LeaseCommand::GiveUp { extents }));
    assert_eq!(group.kv.len(Table::Garbage), 1);
}
