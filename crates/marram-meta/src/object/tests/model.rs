//! Random histories against a model of ordinary maps, which knows the rules but no encoding.
//!
//! After every step the outcome, every object, the counters, the references, the garbage queue and
//! the tickets must be what the model says; and a second replica that applies the same entries
//! must hold the same bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use marram_types::{DataId, Generation, RequestId, VersionId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{head, usage};
use crate::kinds::garbage;
use crate::kv::{KvRead, Table};
use crate::testing::{
    BUCKET, Group, bucket_record, data, delete, extent, given, profile, put, request,
};
use crate::{
    BucketState, NewBody, ObjectCommand, ObjectOutcome, Precondition, Refusal, Usage, apply_object,
};

const KEYS: [&str; 4] = ["a", "a/b", "../x", "\u{1f680}"];
const PROFILES: [&str; 4] = ["4+2", "2+2", "1+1", "5+1"];

#[derive(Debug, Clone)]
enum Body {
    Inline(usize),
    Extents(Vec<usize>),
}

#[derive(Debug, Clone)]
enum Guard {
    None,
    Absent,
    Exists,
    Current,
}

#[derive(Debug, Clone)]
enum Op {
    Put(usize, Body, Guard),
    Delete(usize, Guard),
    /// Another attempt of an earlier request, with ids of its own.
    Retry(usize),
    /// The id of an earlier request for what is mostly something else.
    Reuse(usize, usize, Body),
    /// An earlier command under a fresh request id, as if its record had been lost.
    Reseal(usize),
    /// An earlier entry once more, byte for byte.
    Replay(usize),
    Fence(u64, BucketState),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS.len();
    let body = || {
        prop_oneof![
            (0..9_usize).prop_map(Body::Inline),
            vec(0..PROFILES.len(), 1..4).prop_map(Body::Extents),
            vec(0..PROFILES.len(), 15..35).prop_map(Body::Extents),
        ]
    };
    let guard = prop::sample::select(vec![
        Guard::None,
        Guard::None,
        Guard::Absent,
        Guard::Exists,
        Guard::Current,
    ]);
    let states = prop::sample::select(vec![
        BucketState::Active,
        BucketState::Unsealing,
        BucketState::Deleting,
    ]);
    prop_oneof![
        6 => (key.clone(), body(), guard.clone()).prop_map(|(k, b, g)| Op::Put(k, b, g)),
        3 => (key.clone(), guard).prop_map(|(k, g)| Op::Delete(k, g)),
        2 => (0..50_usize).prop_map(Op::Retry),
        2 => (0..50_usize, key, body()).prop_map(|(n, k, b)| Op::Reuse(n, k, b)),
        2 => (0..50_usize).prop_map(Op::Reseal),
        2 => (0..50_usize).prop_map(Op::Replay),
        1 => (0..6_u64, states).prop_map(|(e, s)| Op::Fence(e, s)),
    ]
}

#[derive(Debug, Clone)]
struct Object {
    generation: u64,
    version: u128,
    size: u64,
    extents: Vec<DataId>,
    narrow: Vec<DataId>,
    weak: bool,
}

#[derive(Default)]
struct Model {
    objects: BTreeMap<&'static str, Object>,
    garbage: BTreeMap<DataId, u64>,
    /// The part of the garbage that was never committed.
    discarded: BTreeSet<DataId>,
    requests: HashMap<RequestId, (Asked, ObjectOutcome)>,
    fence: Option<(u64, BucketState)>,
}

/// What a request id stands for: key, size of the new version, precondition.
type Asked = (&'static str, Option<u64>, Precondition);

/// A mutation as the model sees it.
#[derive(Debug, Clone)]
struct Mutation {
    request: RequestId,
    key: usize,
    /// None for a delete.
    body: Option<Body>,
    object: Option<Object>,
    guard: Guard,
    /// The generation that `Guard::Current` names, fixed when the command was made.
    seen: u64,
}

impl Mutation {
    fn key(&self) -> &'static str {
        KEYS[self.key]
    }

    fn asked(&self) -> Asked {
        let size = self.object.as_ref().map(|object| object.size);
        (self.key(), size, precondition(&self.guard, self.seen))
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

impl Model {
    fn is_known(&self, data: DataId) -> bool {
        let live = self.objects.values().any(|o| o.extents.contains(&data));
        live || self.garbage.contains_key(&data)
    }

    fn discard(&mut self, mutation: &Mutation, index: u64) {
        for data in mutation.object.iter().flat_map(|o| &o.extents) {
            if !self.is_known(*data) {
                self.garbage.insert(*data, index);
                self.discarded.insert(*data);
            }
        }
    }

    fn displace(&mut self, key: &str, index: u64) -> bool {
        let Some(old) = self.objects.remove(key) else {
            return false;
        };
        self.garbage.extend(old.extents.iter().map(|d| (*d, index)));
        true
    }

    fn mutate(&mut self, mutation: &Mutation, index: u64, time_ms: u64) -> ObjectOutcome {
        if let Some((asked, outcome)) = self.requests.get(&mutation.request).cloned() {
            self.discard(mutation, index);
            return if asked == mutation.asked() {
                outcome
            } else {
                ObjectOutcome::Refused(Refusal::RequestIdReused)
            };
        }
        if self.fence.is_some_and(|(_, s)| s == BucketState::Deleting) {
            return ObjectOutcome::Refused(Refusal::BucketSealed { bucket: BUCKET });
        }
        let outcome = self.decide(mutation, index, time_ms);
        if outcome != ObjectOutcome::Refused(Refusal::DataDiscarded) {
            let record = (mutation.asked(), outcome.clone());
            self.requests.insert(mutation.request, record);
        }
        outcome
    }

    fn decide(&mut self, mutation: &Mutation, index: u64, time_ms: u64) -> ObjectOutcome {
        let current = self.objects.get(mutation.key());
        let present = current.map_or(0, |o| o.generation);
        if let Some(new) = &mutation.object {
            let same = current.is_some_and(|o| o.version == new.version);
            if !same && new.extents.iter().any(|d| self.discarded.contains(d)) {
                self.discard(mutation, index);
                return ObjectOutcome::Refused(Refusal::DataDiscarded);
            }
            if same || new.extents.iter().any(|d| self.is_known(*d)) {
                return ObjectOutcome::AlreadyCommitted;
            }
        }
        let holds = match mutation.guard {
            Guard::None => true,
            Guard::Absent => present == 0,
            Guard::Exists => present != 0,
            Guard::Current => present == mutation.seen,
        };
        if !holds {
            self.discard(mutation, index);
            return ObjectOutcome::Refused(Refusal::PreconditionFailed {
                current: Generation(present),
            });
        }
        let existed = self.displace(mutation.key(), index);
        let Some(mut new) = mutation.object.clone() else {
            return ObjectOutcome::Deleted {
                generation: Generation(index),
                existed,
            };
        };
        new.generation = index;
        let (narrowed, under_protected) = (!new.narrow.is_empty(), new.weak);
        let version = VersionId(new.version);
        self.objects.insert(mutation.key(), new);
        ObjectOutcome::Committed {
            version,
            generation: Generation(index),
            modified_ms: time_ms,
            narrowed,
            under_protected,
        }
    }

    fn fence(&mut self, epoch: u64, state: BucketState) -> ObjectOutcome {
        self.fence = self.fence.max(Some((epoch, state)));
        let (epoch, state) = self.fence.expect("just set");
        ObjectOutcome::Fenced {
            live: self.objects.len() as u64,
            epoch,
            state,
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            objects: self.objects.len() as u64,
            bytes: self.objects.values().map(|o| o.size).sum(),
            narrowed: self
                .objects
                .values()
                .filter(|o| !o.narrow.is_empty())
                .count() as u64,
            under_protected: self.objects.values().filter(|o| o.weak).count() as u64,
        }
    }
}

/// The real group, the model, and what was sent so far.
struct Run {
    group: Group,
    model: Model,
    ids: u64,
    sent: Vec<(ObjectCommand, Vec<u8>, Mutation)>,
    entries: Vec<(u64, Vec<u8>)>,
}

const BYTES: [u8; 9] = *b"123456789";
const EXTENT_BYTES: u64 = 1 << 20;

impl Run {
    fn new() -> Self {
        let group = Group::ready();
        let model = Model {
            fence: Some((1, BucketState::Active)),
            ..Model::default()
        };
        Self {
            group,
            model,
            ids: 0,
            sent: Vec::new(),
            entries: Vec::new(),
        }
    }

    fn new_object(&mut self, body: &Body) -> (NewBody, Object) {
        self.ids += 1;
        let mut object = Object {
            generation: 0,
            version: u128::from(self.ids),
            size: 0,
            extents: Vec::new(),
            narrow: Vec::new(),
            weak: false,
        };
        let body = match body {
            Body::Inline(length) => {
                object.size = *length as u64;
                NewBody::Inline {
                    data: data(0, self.ids),
                    bytes: Bytes::from_static(&BYTES[..*length]),
                }
            }
            Body::Extents(profiles) => {
                let mut extents = Vec::new();
                for written in profiles {
                    self.ids += 1;
                    let id = data(5, self.ids);
                    let written = profile(PROFILES[*written]);
                    object.extents.push(id);
                    if written.k() < 4 || written.m() < 2 {
                        object.narrow.push(id);
                    }
                    object.weak |= written.m() < 2;
                    object.size += EXTENT_BYTES;
                    extents.push(extent(id, written, EXTENT_BYTES));
                }
                NewBody::Extents(extents)
            }
        };
        (body, object)
    }

    fn fresh(&self) -> RequestId {
        request(1000 + self.sent.len() as u64)
    }

    fn send(&mut self, request: RequestId, key: usize, body: Option<&Body>, guard: Guard) {
        let current = self.model.objects.get(KEYS[key]);
        let mutation = Mutation {
            request,
            key,
            body: body.cloned(),
            object: None,
            guard,
            seen: current.map_or(0, |o| o.generation),
        };
        self.attempt(mutation);
    }

    /// Sends an attempt with ids of its own.
    fn attempt(&mut self, mut mutation: Mutation) {
        let key = mutation.key();
        let command = match &mutation.body {
            None => delete(key),
            Some(body) => {
                let (body, object) = self.new_object(body);
                let version = object.version;
                mutation.object = Some(object);
                put(key, version, body)
            }
        };
        let command = given(command, precondition(&mutation.guard, mutation.seen));
        self.seal(command, &mutation);
    }

    fn seal(&mut self, command: ObjectCommand, mutation: &Mutation) {
        let entry = self.group.seal(Some(mutation.request), &command);
        self.sent.push((command, entry.clone(), mutation.clone()));
        self.mutate(&entry, mutation);
    }

    fn mutate(&mut self, entry: &[u8], mutation: &Mutation) {
        let outcome = self.group.apply(entry);
        let (index, time_ms) = (self.group.index, self.group.time_ms);
        self.entries.push((index, entry.to_vec()));
        assert_eq!(outcome, self.model.mutate(mutation, index, time_ms));
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Put(key, body, guard) => {
                self.send(self.fresh(), *key, Some(body), guard.clone());
            }
            Op::Delete(key, guard) => {
                self.send(self.fresh(), *key, None, guard.clone());
            }
            Op::Retry(nth) if !self.sent.is_empty() => {
                let (_, _, mutation) = self.sent[nth % self.sent.len()].clone();
                self.attempt(mutation);
            }
            Op::Reuse(nth, key, body) if !self.sent.is_empty() => {
                let reused = self.sent[nth % self.sent.len()].2.request;
                self.send(reused, *key, Some(body), Guard::None);
            }
            Op::Reseal(nth) if !self.sent.is_empty() => {
                let (command, _, mut mutation) = self.sent[nth % self.sent.len()].clone();
                mutation.request = self.fresh();
                self.seal(command, &mutation);
            }
            Op::Replay(nth) if !self.sent.is_empty() => {
                let (_, entry, mutation) = self.sent[nth % self.sent.len()].clone();
                self.mutate(&entry, &mutation);
            }
            Op::Fence(epoch, state) => {
                let record = bucket_record(*epoch, *state);
                let entry = self.group.seal(None, &ObjectCommand::BucketFence(record));
                let outcome = self.group.apply(&entry);
                self.entries.push((self.group.index, entry));
                assert_eq!(outcome, self.model.fence(*epoch, *state));
            }
            Op::Retry(_) | Op::Reuse(..) | Op::Reseal(_) | Op::Replay(_) => {}
        }
        self.check();
    }

    fn check(&self) {
        let kv = &self.group.kv;
        assert_eq!(usage(&self.group), self.model.usage());
        let mut inline = 0;
        let mut live = 0;
        for key in KEYS {
            let found = head(&self.group, key);
            let wanted = self.model.objects.get(key);
            assert_eq!(found.is_some(), wanted.is_some(), "{key}");
            let (Some(found), Some(wanted)) = (found, wanted) else {
                continue;
            };
            assert_eq!(found.row.generation.0, wanted.generation);
            assert_eq!(found.row.version.0, wanted.version);
            assert_eq!(found.row.size, wanted.size);
            live += wanted.extents.len();
            match found.row.body {
                crate::Body::Inline { .. } => {
                    inline += 1;
                    let length = usize::try_from(wanted.size).unwrap();
                    assert_eq!(found.inline.unwrap(), BYTES[..length]);
                }
                crate::Body::Extents(extents) => {
                    let ids: Vec<_> = extents.iter().map(|e| e.data).collect();
                    assert_eq!(ids, wanted.extents);
                }
                crate::Body::Spilled { .. } => panic!("answers hold the extents"),
            }
        }
        assert_eq!(kv.len(Table::Inline), inline);
        assert_eq!(kv.len(Table::DataRefs), live + self.model.garbage.len());
        let tickets: usize = self.model.objects.values().map(|o| o.narrow.len()).sum();
        assert_eq!(kv.len(Table::Tickets), tickets);
        assert_eq!(self.garbage(), self.model.garbage);
        assert_eq!(kv.len(Table::Requests), self.model.requests.len());
        assert_eq!(kv.len(Table::RequestExpiry), self.model.requests.len());
    }

    fn garbage(&self) -> BTreeMap<DataId, u64> {
        let mut found = BTreeMap::new();
        let all = std::ops::Bound::Unbounded;
        let each = &mut |key: &[u8], _: &[u8]| {
            let (at, data) = garbage::deser_key(key).unwrap();
            assert_eq!(found.insert(data, at), None, "queued twice");
            std::ops::ControlFlow::Continue(())
        };
        self.group.kv.scan(Table::Garbage, all, all, each).unwrap();
        found
    }
}

proptest! {
    #[test]
    fn histories_match_the_model(ops in vec(op(), 1..60)) {
        let mut run = Run::new();
        let mut replica = run.group.kv.clone();
        for op in &ops {
            run.step(op);
        }
        for (index, entry) in &run.entries {
            apply_object(&mut replica, *index, entry).unwrap();
        }
        prop_assert_eq!(replica, run.group.kv);
    }
}
