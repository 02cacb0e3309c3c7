//! Random histories against a model of ordinary maps, which knows the rules but no encoding, in a
//! world of drives that hold shards, lose them, and clean up.
//!
//! After every step the outcome, every object with its places, the counters, the references both
//! ways, the garbage queue, the tickets and the layout must be what the model says; every shard that
//! a row claims must be on the drive where readers look, unless that drive itself lost it; and what
//! is queued as garbage must be where its entry says. In the end, when the garbage is collected and every
//! drive searched, nothing is on the drives but what rows want. A second replica that applies the same entries
//! must give the same outcomes and hold the same bytes.

mod check;
mod expiry;
mod reference;
mod workers;
mod world;

use std::collections::BTreeMap;

use bytes::Bytes;
use marram_types::{DataId, Generation, RequestId};
use proptest::collection::vec;
use proptest::prelude::*;

use self::reference::{Model, Waste};
use self::world::{World, some_pg};
use super::annotate::describe;
use super::events::{Replay, keep};
use crate::testing::{
    Group, PGS, data, delete, delete_version, extent, first_row, given, pg, profile, put, request,
    wrote_by,
};
use crate::{
    BucketState, ExpireCommand, Extent, NewBody, NewExtent, ObjectCommand, Precondition,
    apply_object,
};

const KEYS: [&str; 4] = ["a", "a/b", "../x", "\u{1f680}"];
const PROFILES: [&str; 4] = ["4+2", "2+2", "1+1", "5+1"];
const BYTES: [u8; 9] = *b"123456789";
const EXTENT_BYTES: u64 = 1 << 20;

/// How an extent is written.
#[derive(Debug, Clone)]
struct Spec {
    profile: usize,
    pg: u16,
    /// Which slot takes the first shard.
    turn: u8,
    /// By how many changes of its row the writer is late.
    back: usize,
    /// Of two places: both, the first, the second.
    ends: u8,
}

#[derive(Debug, Clone)]
enum Body {
    Inline(usize),
    Extents(Vec<Spec>),
}

#[derive(Debug, Clone)]
enum Guard {
    None,
    Absent,
    Exists,
    Current,
}

impl Guard {
    fn holds(&self, present: u64, seen: u64) -> bool {
        match self {
            Self::None => true,
            Self::Absent => present == 0,
            Self::Exists => present != 0,
            Self::Current => present == seen,
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    /// The flag: applied now, or by a later `Replay` if ever.
    Put(usize, Body, Guard, bool),
    Delete(usize, Guard),
    /// Removes the nth of what a key has, or what it does not have.
    DeleteVersion(usize, usize, Guard),
    /// Gives the current version a new generation.
    Describe(usize, Guard),
    /// Another attempt of an earlier request, with ids of its own.
    Retry(usize),
    /// The id of an earlier request for what is mostly something else.
    Reuse(usize, usize, Body),
    /// An earlier command under a fresh request id, as if its record had been lost.
    Reseal(usize),
    /// An earlier entry once more, byte for byte.
    Replay(usize),
    Fence(u64, BucketState),
    /// Steps of moves in the root.
    Begin(u16, u8, u64),
    Copy(u16),
    Cut(u16),
    End(u16),
    Cancel(u16),
    /// The root's present rows come to the group.
    Tell,
    /// A fence made before, and applied before.
    OldFence(usize),
    /// A claim or a result of work, made before and perhaps applied before.
    Late(usize),
    /// A worker mends the nth ticket: at both ends, at one, or by what lies where the row says, or
    /// anywhere.
    Repair(usize, u8, bool),
    Reencode(usize, Vec<Spec>, bool),
    Lose(usize, usize, usize),
    /// What a worker mended is lost again, and reported.
    LoseAgain(usize),
    Scrub(bool),
    Raise(u64, u64),
    Collect(bool),
    /// A node asks what it may delete, and does it later.
    Sweep(u64),
    Clean,
    /// Things of keys that may be due, of each the key, which of what it has, and what it is taken for:
    /// removed now, or by a later `ExpireLate` if ever.
    Expire(Vec<(usize, usize, u8)>, bool),
    /// What was found before, and perhaps removed before.
    ExpireLate(usize),
}

fn spec() -> impl Strategy<Value = Spec> {
    let pg = prop_oneof![3 => Just(0_u16), 1 => 0..PGS];
    (0..PROFILES.len(), pg, 0..6_u8, 0..4_usize, 0..4_u8).prop_map(
        |(profile, pg, turn, back, ends)| Spec {
            profile,
            pg,
            turn,
            back: back.saturating_sub(1),
            ends,
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        1 => (0..9_usize).prop_map(Body::Inline),
        4 => vec(spec(), 1..4).prop_map(Body::Extents),
        1 => vec(spec(), 15..35).prop_map(Body::Extents),
    ]
}

fn user_op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS.len();
    let guard = prop::sample::select(vec![
        Guard::None,
        Guard::None,
        Guard::Absent,
        Guard::Exists,
        Guard::Current,
    ]);
    let states = prop::sample::select(vec![
        BucketState::Active,
        BucketState::Active,
        BucketState::Active,
        BucketState::Changing,
        BucketState::Deleting,
    ]);
    let now = prop::sample::select(vec![true, true, false]);
    prop_oneof![
        8 => (key.clone(), body(), guard.clone(), now).prop_map(|(k, b, g, n)| Op::Put(k, b, g, n)),
        2 => (key.clone(), guard.clone()).prop_map(|(k, g)| Op::Delete(k, g)),
        2 => (key.clone(), guard.clone()).prop_map(|(k, g)| Op::Describe(k, g)),
        2 => (key.clone(), 0..6_usize, guard).prop_map(|(k, n, g)| Op::DeleteVersion(k, n, g)),
        2 => (0..50_usize).prop_map(Op::Retry),
        1 => (0..50_usize, key, body()).prop_map(|(n, k, b)| Op::Reuse(n, k, b)),
        2 => (0..50_usize).prop_map(Op::Reseal),
        3 => (0..50_usize).prop_map(Op::Replay),
        2 => (0..6_u64, states).prop_map(|(e, s)| Op::Fence(e, s)),
        3 => (vec((0..KEYS.len(), 0..4_usize, 0..4_u8), 1..5), any::<bool>())
            .prop_map(|(found, now)| Op::Expire(found, now)),
        1 => (0..20_usize).prop_map(Op::ExpireLate),
    ]
}

fn system_op() -> impl Strategy<Value = Op> {
    // Most moves are of one placement group, so that they get through all phases.
    let moved = || prop_oneof![3 => Just(0_u16), 1 => 0..PGS];
    let nth = || 0..60_usize;
    prop_oneof![
        3 => (moved(), 0..6_u8, 1..10_u64).prop_map(|(p, s, d)| Op::Begin(p, s, d)),
        3 => moved().prop_map(Op::Copy),
        3 => moved().prop_map(Op::Cut),
        3 => moved().prop_map(Op::End),
        1 => moved().prop_map(Op::Cancel),
        6 => Just(Op::Tell),
        1 => nth().prop_map(Op::OldFence),
        8 => nth().prop_map(Op::Late),
        6 => (nth(), 0..5_u8, any::<bool>()).prop_map(|(n, e, now)| Op::Repair(n, e, now)),
        2 => (nth(), vec(spec(), 1..4), any::<bool>())
            .prop_map(|(n, s, now)| Op::Reencode(n, s, now)),
        3 => (nth(), 0..6_usize, 0..3_usize).prop_map(|(n, s, f)| Op::Lose(n, s, f)),
        2 => nth().prop_map(Op::LoseAgain),
        3 => prop::sample::select(vec![true, true, false]).prop_map(Op::Scrub),
        1 => (0..30_u64, 0..10_u64).prop_map(|(g, r)| Op::Raise(g, r)),
        1 => any::<bool>().prop_map(Op::Collect),
        3 => (1..10_u64).prop_map(Op::Sweep),
        2 => Just(Op::Clean),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![1 => user_op(), 3 => system_op()]
}

/// A version on its way in.
#[derive(Debug, Clone)]
struct NewObject {
    version: u128,
    size: u64,
    extents: Vec<NewExtent>,
}

/// A mutation as the model sees it.
#[derive(Debug, Clone)]
struct Mutation {
    request: RequestId,
    key: usize,
    /// None for a delete.
    body: Option<Body>,
    /// It is no delete: the current version is described anew.
    describes: bool,
    /// The one version that a delete is about.
    version: Option<u64>,
    object: Option<NewObject>,
    guard: Guard,
    /// The generation that `Guard::Current` names, fixed when the command was made.
    seen: u64,
}

impl Mutation {
    fn key(&self) -> &'static str {
        KEYS[self.key]
    }

    fn extents(&self) -> &[NewExtent] {
        self.object.as_ref().map_or(&[], |object| &object.extents)
    }
}

fn precondition(guard: &Guard, seen: u64) -> Precondition {
    let mut wanted = Precondition::default();
    match guard {
        Guard::None => {}
        Guard::Absent => wanted.if_generation_match = Some(Generation(0)),
        Guard::Exists => wanted.if_generation_not_match = Some(Generation(0)),
        Guard::Current => wanted.if_generation_match = Some(Generation(seen)),
    }
    wanted
}

/// The real group, the model, the world around them, and what was sent so far.
struct Run {
    group: Group,
    model: Model,
    world: World,
    /// Who has watched from the beginning.
    replay: Replay,
    ids: u64,
    sent: Vec<(ObjectCommand, Vec<u8>, Mutation)>,
    fences: Vec<ObjectCommand>,
    claims: Vec<ObjectCommand>,
    /// What was found to be due.
    expiries: Vec<ExpireCommand>,
    /// Index, entry and outcome.
    entries: Vec<(u64, Vec<u8>, Vec<u8>)>,
}

impl Run {
    fn new() -> Self {
        let mut group = Group::ready();
        let fenced_at = group.index;
        group.run(&keep(3_600_000, 1 << 20));
        let model = Model {
            bucket: Some((1, BucketState::Active)),
            rows: (0..PGS)
                .map(|index| (pg(index), (fenced_at, first_row(index))))
                .collect(),
            ..Model::default()
        };
        Self {
            replay: Replay::from_now(&group),
            group,
            model,
            world: World::new(),
            ids: 0,
            sent: Vec::new(),
            fences: Vec::new(),
            claims: Vec::new(),
            expiries: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Writes an extent's shards as far as its writer gets, and says where.
    fn new_extent(&mut self, spec: &Spec, length: u64) -> NewExtent {
        self.ids += 1;
        let one = extent(
            data(self.group.index, self.ids),
            profile(PROFILES[spec.profile]),
            length,
        );
        let one = Extent {
            pg: some_pg(spec.pg),
            slots: one.slots.iter().map(|s| (s + spec.turn) % 6).collect(),
            ..one
        };
        let row = self.world.old_row(spec.pg, spec.back).clone();
        let mut new = wrote_by(&row, one);
        if let Some(moving) = row.moving {
            let lacks = |drive| match spec.ends {
                1 => drive == moving.to,
                2 => drive == moving.from,
                _ => false,
            };
            let all = new.wrote.clone();
            new.wrote.retain(|(shard, drive)| {
                let ends = all.iter().filter(|(of, _)| of == shard).count();
                ends == 1 || !lacks(*drive)
            });
        }
        self.world.write_all(&new, row.epoch);
        new
    }

    fn new_object(&mut self, body: &Body) -> (NewBody, NewObject) {
        self.ids += 1;
        let version = u128::from(self.ids);
        match body {
            Body::Inline(length) => {
                let body = NewBody::Inline {
                    data: data(0, self.ids),
                    bytes: Bytes::from_static(&BYTES[..*length]),
                };
                let object = NewObject {
                    version,
                    size: *length as u64,
                    extents: Vec::new(),
                };
                (body, object)
            }
            Body::Extents(specs) => {
                let extents: Vec<_> = specs
                    .iter()
                    .map(|spec| self.new_extent(spec, EXTENT_BYTES))
                    .collect();
                let object = NewObject {
                    version,
                    size: EXTENT_BYTES * extents.len() as u64,
                    extents: extents.clone(),
                };
                (NewBody::Extents(extents), object)
            }
        }
    }

    fn fresh(&self) -> RequestId {
        request(1000 + self.sent.len() as u64)
    }

    fn mutation(
        &self,
        request: RequestId,
        key: usize,
        body: Option<&Body>,
        guard: Guard,
    ) -> Mutation {
        let current = self.model.objects.get(KEYS[key]);
        Mutation {
            request,
            key,
            body: body.cloned(),
            describes: false,
            version: None,
            object: None,
            guard,
            seen: current.map_or(0, |o| o.generation),
        }
    }

    /// Makes an attempt with ids of its own, and sends it now or not yet.
    fn attempt(&mut self, mut mutation: Mutation, now: bool) {
        let key = mutation.key();
        let command = match &mutation.body {
            None if mutation.describes => describe(key, Some("text/html"), None),
            None => match mutation.version {
                None => delete(key),
                Some(generation) => delete_version(key, generation),
            },
            Some(body) => {
                let (body, object) = self.new_object(&body.clone());
                let version = object.version;
                mutation.object = Some(object);
                put(key, version, body)
            }
        };
        let command = given(command, precondition(&mutation.guard, mutation.seen));
        self.seal(command, &mutation, now);
    }

    fn seal(&mut self, command: ObjectCommand, mutation: &Mutation, now: bool) {
        let entry = self.group.seal(Some(mutation.request), &command);
        self.sent.push((command, entry.clone(), mutation.clone()));
        if now {
            self.mutate(&entry, mutation);
        }
    }

    fn mutate(&mut self, entry: &[u8], mutation: &Mutation) {
        let outcome = self.group.apply(entry);
        let (index, time_ms) = (self.group.index, self.group.time_ms);
        self.entries.push((index, entry.to_vec(), outcome.encode()));
        assert_eq!(outcome, self.model.mutate(mutation, index, time_ms));
        self.replay.follow(&self.group);
    }

    /// Applies a command of the system.
    fn internal(&mut self, command: &ObjectCommand) {
        let entry = self.group.seal(None, command);
        let outcome = self.group.apply(&entry);
        let index = self.group.index;
        self.entries.push((index, entry, outcome.encode()));
        let collected = match command {
            ObjectCommand::Collected(_) => self.model.garbage.clone(),
            _ => BTreeMap::new(),
        };
        assert_eq!(outcome, self.model.internal(command, index), "{command:?}");
        self.forgotten(&collected);
        let told = self.replay.follow(&self.group);
        assert_eq!(told, [], "nobody changed an object: {command:?}");
        self.check();
    }

    /// The queue has forgotten some of these. What a collector did not remove although it said so is
    /// found by scans only: should the data be queued again, by a repeated attempt, then with the
    /// places that its writer knows.
    fn forgotten(&mut self, queued: &BTreeMap<DataId, Waste>) {
        for (data, waste) in queued {
            if self.model.garbage.contains_key(data) {
                continue;
            }
            for (shard, _) in waste.extent.shards() {
                let left = self.world.holders(&waste.extent, shard).into_iter();
                let left = left.map(|drive| (*data, shard, drive));
                self.model.leftovers.extend(left);
            }
        }
    }

    /// The end of every history: the floors rise, the queue is worked off, nodes ask for all they hold
    /// and clean up. What drives hold then is what rows want there, or the only one of its shard.
    fn nothing_stays_behind(&mut self) {
        self.step(&Op::Tell);
        // The second time also what the first entry's own index kept.
        self.step(&Op::Raise(0, 0));
        self.step(&Op::Raise(0, 0));
        while !self.model.garbage.is_empty() {
            let before = self.model.garbage.len();
            self.step(&Op::Collect(true));
            assert!(
                self.model.garbage.len() < before,
                "garbage that is due stays"
            );
        }
        for drive in 1..=9 {
            self.step(&Op::Sweep(drive));
        }
        self.step(&Op::Clean);
        self.check_leftovers();
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Put(key, body, guard, now) => {
                let put = self.mutation(self.fresh(), *key, Some(body), guard.clone());
                self.attempt(put, *now);
            }
            Op::Delete(key, guard) => {
                let delete = self.mutation(self.fresh(), *key, None, guard.clone());
                self.attempt(delete, true);
            }
            Op::Describe(key, guard) => {
                let mut mutation = self.mutation(self.fresh(), *key, None, guard.clone());
                mutation.describes = true;
                self.attempt(mutation, true);
            }
            Op::DeleteVersion(key, nth, guard) => {
                let mut delete = self.mutation(self.fresh(), *key, None, guard.clone());
                let has = self.model.generations(KEYS[*key]);
                delete.version = Some(has.get(*nth).copied().unwrap_or(3));
                self.attempt(delete, true);
            }
            Op::Retry(nth) if !self.sent.is_empty() => {
                let (_, _, mutation) = self.sent[nth % self.sent.len()].clone();
                self.attempt(mutation, true);
            }
            Op::Reuse(nth, key, body) if !self.sent.is_empty() => {
                let reused = self.sent[nth % self.sent.len()].2.request;
                let put = self.mutation(reused, *key, Some(body), Guard::None);
                self.attempt(put, true);
            }
            Op::Reseal(nth) if !self.sent.is_empty() => {
                let (command, _, mut mutation) = self.sent[nth % self.sent.len()].clone();
                mutation.request = self.fresh();
                self.seal(command, &mutation, true);
            }
            Op::Replay(nth) if !self.sent.is_empty() => {
                let (_, entry, mutation) = self.sent[nth % self.sent.len()].clone();
                self.mutate(&entry, &mutation);
            }
            Op::Expire(found, now) => self.find_due(found, *now),
            Op::ExpireLate(nth) if !self.expiries.is_empty() => {
                let command = self.expiries[nth % self.expiries.len()].clone();
                self.expire(command);
            }
            other => self.work(other),
        }
        self.check();
    }
}

proptest! {
    #[test]
    fn histories_match_the_model(ops in vec(op(), 1..160)) {
        let mut run = Run::new();
        let mut replica = run.group.kv.clone();
        for op in &ops {
            run.step(op);
        }
        run.nothing_stays_behind();
        for (index, entry, outcome) in &run.entries {
            let again = apply_object(&mut replica, *index, entry).unwrap();
            prop_assert_eq!(&again, outcome);
        }
        prop_assert_eq!(replica, run.group.kv);
    }
}
