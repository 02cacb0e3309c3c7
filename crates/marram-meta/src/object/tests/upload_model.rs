//! Random histories of uploads against a model of maps: parts, streams with their writers and runs,
//! completions, aborts, overwrites, deletions and removals in every order, entries late and twice.
//!
//! What a version or an upload has is never garbage, what is garbage is never had, and what nobody has
//! becomes garbage.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use proptest::collection::vec;
use proptest::prelude::*;

use super::streams::{RUN, begin, open, run as run_of};
use super::uploads::{complete, create, data_of, drop_all, name, part, uploaded};
use super::versions::version;
use super::{striped, usage};
use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::part::PartTotals;
use crate::kinds::upload_drop::{Dropped, ser_key as drop_key};
use crate::kinds::{garbage, part as parts};
use crate::kv::{KvRead, Table};
use crate::live::part_rows;
use crate::object::drops;
use crate::stored::Stored;
use crate::testing::{
    Group, data, delete, delete_version, extent, profile, request, versioned, wrote,
};
use crate::{
    Body, ObjectCommand, ObjectOutcome, UploadCommand, UploadRow, Usage, VersionAnswer, VersionRow,
    Versioning,
};

const KEYS: [&str; 2] = ["a", "b"];
const PROFILES: [&str; 3] = ["4+2", "2+2", "1+1"];

#[derive(Debug, Clone)]
enum Op {
    Create(usize),
    Stream(usize),
    /// A writer begins where the stream ends.
    Open(usize),
    /// Upload, profile, a writer from before; applied now, or by a later `Late` if ever.
    Run(usize, usize, bool, bool),
    /// Upload, number, profile; applied now, or by a later `Late` if ever.
    Part(usize, u16, usize, bool),
    /// Upload, which of its parts, applied now or late.
    Complete(usize, u8, bool),
    Abort(usize),
    Put(usize),
    Delete(usize),
    /// The nth of what a key has, for good.
    DeleteVersion(usize, usize),
    /// An earlier entry, applied before or not.
    Late(usize),
    Drop,
    Reencode(usize),
    Lose(usize),
    Collect,
}

fn op() -> impl Strategy<Value = Op> {
    let upload = || 0..6_usize;
    let now = || prop::sample::select(vec![true, true, false]);
    prop_oneof![
        3 => (0..KEYS.len()).prop_map(Op::Create),
        2 => (0..KEYS.len()).prop_map(Op::Stream),
        3 => upload().prop_map(Op::Open),
        9 => (upload(), 0..PROFILES.len(), prop::sample::select(vec![false, false, true]), now())
            .prop_map(|(u, p, stale, now)| Op::Run(u, p, stale, now)),
        9 => (upload(), 1..5_u16, 0..PROFILES.len(), now())
            .prop_map(|(u, n, p, now)| Op::Part(u, n, p, now)),
        4 => (upload(), 1..16_u8, now()).prop_map(|(u, mask, now)| Op::Complete(u, mask, now)),
        1 => upload().prop_map(Op::Abort),
        1 => (0..KEYS.len()).prop_map(Op::Put),
        1 => (0..KEYS.len()).prop_map(Op::Delete),
        2 => (0..KEYS.len(), 0..5_usize).prop_map(|(k, n)| Op::DeleteVersion(k, n)),
        4 => (0..60_usize).prop_map(Op::Late),
        3 => Just(Op::Drop),
        2 => (0..60_usize).prop_map(Op::Reencode),
        1 => (0..60_usize).prop_map(Op::Lose),
        1 => Just(Op::Collect),
    ]
}

/// An entry that was made, and what it does to the model when it is carried out.
#[derive(Debug, Clone)]
enum Effect {
    Part(u128, u16, u64),
    /// Upload, epoch, where it goes on, data.
    Run(u128, u64, u64, u64),
    Complete(usize, u128, Vec<u16>),
    Abort(u128),
    Put(usize, u64),
    Delete(usize),
    DeleteVersion(usize, u64),
}

#[derive(Default)]
struct Model {
    /// By upload: key, and data by part.
    uploads: BTreeMap<u128, (usize, BTreeMap<u16, Vec<u64>>)>,
    /// By stream that is under way: the epochs of its writers.
    writers: BTreeMap<u128, Vec<u64>>,
    /// By key: generation and data of the current version.
    objects: BTreeMap<usize, (u64, Vec<u64>)>,
    /// By key and generation: what else is kept; no data is a marker.
    past: BTreeMap<(usize, u64), Option<Vec<u64>>>,
    /// The bucket keeps versions.
    keeps: bool,
}

impl Model {
    fn take_current(&mut self, key: usize) {
        if let Some((generation, data)) = self.objects.remove(&key)
            && self.keeps
        {
            self.past.insert((key, generation), Some(data));
        }
    }

    fn replace(&mut self, key: usize, generation: u64, data: Vec<u64>) {
        self.take_current(key);
        self.objects.insert(key, (generation, data));
    }

    fn delete_version(&mut self, key: usize, generation: u64) {
        if self
            .objects
            .get(&key)
            .is_some_and(|(g, _)| *g == generation)
        {
            self.objects.remove(&key);
        }
        self.past.remove(&(key, generation));
        if self.objects.contains_key(&key) {
            return;
        }
        let newest = self.past.range((key, 0)..=(key, u64::MAX)).next_back();
        if let Some((at, Some(data))) = newest.map(|(at, data)| (*at, data.clone())) {
            self.past.remove(&at);
            self.objects.insert(key, (at.1, data));
        }
    }

    fn generations(&self, key: usize) -> Vec<u64> {
        let past = self.past.range((key, 0)..=(key, u64::MAX));
        let current = self.objects.get(&key).map(|(generation, _)| *generation);
        current
            .into_iter()
            .chain(past.map(|(at, _)| at.1))
            .collect()
    }

    /// All data of versions.
    fn had(&self) -> impl Iterator<Item = u64> {
        let current = self.objects.values().flat_map(|(_, data)| data);
        current
            .chain(self.past.values().flatten().flatten())
            .copied()
    }

    fn rename(&mut self, old: u64, new: u64) {
        let current = self.objects.values_mut().flat_map(|(_, data)| data);
        let past = self.past.values_mut().flatten().flatten();
        current
            .chain(past)
            .filter(|data| **data == old)
            .for_each(|data| *data = new);
    }
}

struct Run {
    group: Group,
    model: Model,
    ids: u64,
    uploads: Vec<(usize, u128)>,
    sent: Vec<(Vec<u8>, Effect)>,
    /// All data that came with an entry that was applied.
    known: BTreeSet<u64>,
}

impl Run {
    fn new(keeps: bool) -> Self {
        let mut group = Group::ready();
        if keeps {
            group.run(&versioned(2, Versioning::On));
        }
        Self {
            group,
            model: Model {
                keeps,
                ..Model::default()
            },
            ids: 1000,
            uploads: Vec::new(),
            sent: Vec::new(),
            known: BTreeSet::new(),
        }
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn send(&mut self, command: &ObjectCommand, effect: &Effect, now: bool) {
        let id = request(self.id());
        let entry = self.group.seal(Some(id), command);
        self.sent.push((entry.clone(), effect.clone()));
        if now {
            self.apply(&entry, effect, true);
        }
    }

    /// Applies an entry; the model follows when the outcome says that this very apply did it.
    fn apply(&mut self, entry: &[u8], effect: &Effect, first: bool) {
        let outcome = self.group.apply(entry);
        if let Effect::Part(_, _, data) | Effect::Run(.., data) | Effect::Put(_, data) = effect {
            self.known.insert(*data);
        }
        if !first {
            return;
        }
        match (&outcome, effect) {
            (ObjectOutcome::PartStored { .. }, Effect::Part(upload, number, data)) => {
                let (_, held) = self.model.uploads.get_mut(upload).unwrap();
                held.insert(*number, vec![*data]);
            }
            (
                ObjectOutcome::RunRecorded { persisted, .. },
                Effect::Run(upload, epoch, offset, data),
            ) => {
                assert_eq!(
                    self.model.writers[upload].last(),
                    Some(epoch),
                    "a stale writer"
                );
                assert_eq!(*persisted, offset + RUN, "at the end and nowhere else");
                let (_, held) = self.model.uploads.get_mut(upload).unwrap();
                let runs = held.entry(1).or_default();
                assert_eq!(runs.len() as u64 * RUN, *offset);
                runs.push(*data);
            }
            (ObjectOutcome::UploadCompleted(done), Effect::Complete(key, upload, numbers)) => {
                let (_, held) = self.model.uploads.remove(upload).unwrap();
                self.model.writers.remove(upload);
                let object = numbers.iter().flat_map(|n| held[n].clone()).collect();
                self.model.replace(*key, done.generation.0, object);
            }
            (ObjectOutcome::Done, Effect::Abort(upload)) => {
                self.model.uploads.remove(upload).unwrap();
                self.model.writers.remove(upload);
            }
            (ObjectOutcome::Committed { generation, .. }, Effect::Put(key, data)) => {
                self.model.replace(*key, generation.0, vec![*data]);
            }
            (ObjectOutcome::Deleted { .. }, Effect::Delete(key)) => {
                self.model.objects.remove(key);
            }
            (ObjectOutcome::Marked { generation, .. }, Effect::Delete(key)) => {
                self.model.take_current(*key);
                self.model.past.insert((*key, generation.0), None);
            }
            (ObjectOutcome::VersionDeleted { .. }, Effect::DeleteVersion(key, generation)) => {
                self.model.delete_version(*key, *generation);
            }
            (ObjectOutcome::Refused(_) | ObjectOutcome::AlreadyCommitted, _) => {}
            (outcome, effect) => panic!("{outcome:?} for {effect:?}"),
        }
    }

    /// A live extent's data.
    fn nth_held(&self, nth: usize) -> Option<u64> {
        let uploads = self.model.uploads.values();
        let parts = uploads.flat_map(|(_, held)| held.values().flatten().copied());
        let all: Vec<u64> = self.model.had().chain(parts).collect();
        (!all.is_empty()).then(|| all[nth % all.len()])
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Create(key) => {
                let upload = u128::from(self.id());
                self.group.run(&create(KEYS[*key], upload));
                self.uploads.push((*key, upload));
                self.model.uploads.insert(upload, (*key, BTreeMap::new()));
            }
            Op::Stream(_) | Op::Open(_) | Op::Run(..) => self.step_of_stream(op),
            Op::Part(nth, number, written, now) => {
                let Some((key, upload)) = self.nth_upload(*nth) else {
                    return;
                };
                let id = self.id();
                let command = part(KEYS[key], upload, *number, PROFILES[*written], id);
                self.send(&command, &Effect::Part(upload, *number, id), *now);
            }
            Op::Complete(nth, mask, now) => {
                let Some((key, upload)) = self.nth_upload(*nth) else {
                    return;
                };
                let held = self.model.uploads.get(&upload);
                let wanted = |n: &u16| mask & (1 << (n - 1)) != 0;
                let numbers: Vec<u16> = held
                    .map(|(_, held)| held.keys().copied().filter(wanted).collect())
                    .unwrap_or_default();
                let version = u128::from(self.id());
                let command = complete(&self.group, KEYS[key], upload, &numbers, version);
                self.send(&command, &Effect::Complete(key, upload, numbers), *now);
            }
            Op::Abort(nth) => {
                let Some((key, upload)) = self.nth_upload(*nth) else {
                    return;
                };
                let command = UploadCommand::Abort(name(KEYS[key], upload));
                self.send(
                    &ObjectCommand::Upload(command),
                    &Effect::Abort(upload),
                    true,
                );
            }
            Op::Put(key) => {
                let id = self.id();
                let command = striped(KEYS[*key], u128::from(id), "4+2", 5);
                self.send(&command, &Effect::Put(*key, id), true);
            }
            Op::Delete(key) => self.send(&delete(KEYS[*key]), &Effect::Delete(*key), true),
            Op::DeleteVersion(key, nth) => {
                let has = self.model.generations(*key);
                let generation = has.get(*nth).copied().unwrap_or(3);
                let command = delete_version(KEYS[*key], generation);
                self.send(&command, &Effect::DeleteVersion(*key, generation), true);
            }
            Op::Late(nth) if !self.sent.is_empty() => {
                let at = nth % self.sent.len();
                let (entry, effect) = self.sent[at].clone();
                let before = self
                    .group
                    .kv
                    .get(Table::Requests, &request_of(&entry))
                    .unwrap();
                self.apply(&entry, &effect, before.is_none());
            }
            other => self.work(other),
        }
    }

    fn step_of_stream(&mut self, op: &Op) {
        match op {
            Op::Stream(key) => {
                let upload = u128::from(self.id());
                self.group.run(&begin(KEYS[*key], upload));
                self.uploads.push((*key, upload));
                self.model.uploads.insert(upload, (*key, BTreeMap::new()));
                self.model.writers.insert(upload, Vec::new());
            }
            Op::Open(nth) => {
                let Some((key, upload)) = self.nth_upload(*nth) else {
                    return;
                };
                let offset = self.persisted(upload);
                let outcome = self.group.run(&open(KEYS[key], upload, offset));
                match (outcome, self.model.writers.get_mut(&upload)) {
                    (ObjectOutcome::WriteOpened { epoch }, Some(writers)) => writers.push(epoch),
                    (ObjectOutcome::Refused(_), None) => {}
                    other => panic!("{other:?}"),
                }
            }
            Op::Run(nth, written, stale, now) => {
                let Some((key, upload)) = self.nth_upload(*nth) else {
                    return;
                };
                let writers = self.model.writers.get(&upload).cloned().unwrap_or_default();
                let Some(epoch) = writers.iter().rev().nth(usize::from(*stale)).copied() else {
                    return;
                };
                let (offset, id) = (self.persisted(upload), self.id());
                let command = run_of(KEYS[key], upload, (epoch, offset), PROFILES[*written], id);
                self.send(&command, &Effect::Run(upload, epoch, offset, id), *now);
            }
            _ => {}
        }
    }

    /// How many bytes a stream has; 0 of what is none.
    fn persisted(&self, upload: u128) -> u64 {
        let held = self.model.uploads.get(&upload).map(|(_, held)| held);
        let runs = held.and_then(|held| held.get(&1)).map_or(0, Vec::len);
        runs as u64 * RUN
    }

    fn work(&mut self, op: &Op) {
        match op {
            Op::Drop => {
                self.group.run(&ObjectCommand::Upload(UploadCommand::Drop));
            }
            Op::Reencode(nth) => {
                let Some(old) = self.nth_held(*nth) else {
                    return;
                };
                let held = self.find(old);
                let id = self.id();
                let new = extent(data(6, id), profile("4+2"), held.length);
                let outcome = self.group.run(&ObjectCommand::Reencode {
                    pg: held.pg,
                    data: held.data,
                    extents: vec![wrote(new)],
                });
                assert_eq!(outcome, ObjectOutcome::Reencoded);
                self.known.insert(id);
                for (_, held) in self.model.uploads.values_mut() {
                    held.values_mut()
                        .flatten()
                        .filter(|d| **d == old)
                        .for_each(|d| *d = id);
                }
                self.model.rename(old, id);
            }
            Op::Lose(nth) => {
                let Some(held) = self.nth_held(*nth).map(|data| self.find(data)) else {
                    return;
                };
                let row = crate::testing::first_row(held.pg.index);
                self.group.run(&ObjectCommand::ShardMissing {
                    pg: held.pg,
                    data: held.data,
                    shard: 1,
                    at: row.drives[1],
                });
            }
            Op::Collect => self.collect(),
            _ => {}
        }
    }

    /// What is due is deleted and forgotten, as collectors do.
    fn collect(&mut self) {
        let index = self.group.index;
        self.group.run(&ObjectCommand::RaiseFloors {
            gc_floor: 0,
            read_floor: index,
        });
    }

    fn nth_upload(&self, nth: usize) -> Option<(usize, u128)> {
        (!self.uploads.is_empty()).then(|| self.uploads[nth % self.uploads.len()])
    }

    fn find(&self, random: u64) -> crate::Extent {
        let mut found = None;
        each(&self.group, Table::DataRefs, |key, _| {
            let (pg, data) = data_ref::deser_key(key).unwrap();
            if data.random == random {
                found = crate::live::find(&self.group.kv, pg, data).unwrap();
            }
        });
        found.expect("what the model has is held").extent().clone()
    }

    fn check(&self) {
        for (key, name) in KEYS.iter().enumerate() {
            let wanted = self.model.objects.get(&key).map(|(_, data)| data.clone());
            let wanted = wanted.unwrap_or_default();
            assert_eq!(data_of(&self.group, name), wanted, "object {name}");
        }
        for ((key, generation), wanted) in &self.model.past {
            let found = match version(&self.group, KEYS[*key], Some(*generation)) {
                VersionAnswer::Version { head, is_current } => {
                    assert!(!is_current);
                    Some(data_in(&head.row))
                }
                VersionAnswer::Marker { .. } => None,
                VersionAnswer::Absent => panic!("{key} {generation} is gone"),
            };
            assert_eq!(&found, wanted, "{key} {generation}");
        }
        let kept = self.group.kv.len(Table::Noncurrent);
        assert_eq!(kept, self.model.past.len());
        for (key, upload) in &self.uploads {
            let seen = uploaded(&self.group, KEYS[*key], *upload);
            let wanted = self.model.uploads.get(upload);
            assert_eq!(seen.is_some(), wanted.is_some(), "upload {upload}");
            let (Some(seen), Some((_, wanted))) = (seen, wanted) else {
                continue;
            };
            let numbers: Vec<u16> = seen.parts.iter().map(|p| p.part).collect();
            assert_eq!(numbers, wanted.keys().copied().collect::<Vec<_>>());
            let epoch = seen.row.stream.map(|stream| stream.epoch);
            let writers = self.model.writers.get(upload);
            let heard = writers.map(|writers| writers.last().copied().unwrap_or_default());
            assert_eq!(epoch, heard, "upload {upload}");
            let rows = part_rows(&self.group.kv, name("a", *upload).upload, 0, 99, |_| true);
            let totals = rows.unwrap().into_iter().map(|(_, row)| row.totals());
            let totals = totals.fold(PartTotals::default(), PartTotals::plus);
            assert_eq!(seen.row.totals, totals);
        }
        self.check_references();
        self.check_usage();
    }

    /// References and holders agree both ways; garbage has neither.
    fn check_references(&self) {
        let kv = &self.group.kv;
        let mut garbage_data = BTreeSet::new();
        each(&self.group, Table::Garbage, |key, _| {
            garbage_data.insert(garbage::deser_key(key).unwrap().1);
        });
        each(&self.group, Table::DataRefs, |key, value| {
            let (pg, data) = data_ref::deser_key(key).unwrap();
            let reference = DataRef::deser_value(value).unwrap();
            let is_held = reference.is_held();
            assert_ne!(is_held, garbage_data.contains(&data), "{reference:?}");
            let held = crate::live::held_by(kv, reference, (pg, data)).unwrap();
            assert_eq!(held.is_some(), is_held);
        });
        each(&self.group, Table::UploadParts, |key, value| {
            let row = crate::PartRow::deser_value(value).unwrap();
            let number = parts::deser_number(key).unwrap();
            for extent in &row.extents {
                let held = crate::live::find(kv, extent.pg, extent.data)
                    .unwrap()
                    .unwrap();
                assert_eq!(held.extent(), extent, "part {number}");
            }
        });
        each(&self.group, Table::Tickets, |_, value| {
            let ticket = crate::RepairTicket::deser_value(value).unwrap();
            assert!(
                crate::live::find(kv, ticket.pg, ticket.data)
                    .unwrap()
                    .is_some()
            );
        });
    }

    fn check_usage(&self) {
        let mut wanted = Usage::default();
        for name in KEYS {
            if let Some(head) = super::head(&self.group, name) {
                wanted = wanted.plus(Usage {
                    objects: 1,
                    bytes: head.row.size,
                    ..flags_of(head.row)
                });
            }
        }
        for (key, generation) in self.model.past.keys() {
            let found = version(&self.group, KEYS[*key], Some(*generation));
            wanted = wanted.plus(match found {
                VersionAnswer::Version { head, .. } => Usage {
                    noncurrent: 1,
                    noncurrent_bytes: head.row.size,
                    ..flags_of(head.row)
                },
                _ => Usage {
                    markers: 1,
                    ..Usage::default()
                },
            });
        }
        each(&self.group, Table::Uploads, |_, value| {
            wanted.part_bytes += UploadRow::deser_value(value).unwrap().totals.bytes;
        });
        assert_eq!(usage(&self.group), wanted);
    }

    /// Once all drops ran, every part belongs to somebody, and all other data is garbage.
    fn check_end(&mut self) {
        drop_all(&mut self.group);
        self.check();
        assert!(!drops::any(&self.group.kv).unwrap());
        let uploads = self.model.uploads.values();
        let parts = uploads.flat_map(|(_, held)| held.values().flatten().copied());
        let had: BTreeSet<u64> = self.model.had().chain(parts).collect();
        let mut held = BTreeSet::new();
        let mut garbage_data = BTreeSet::new();
        each(&self.group, Table::DataRefs, |key, value| {
            let data = data_ref::deser_key(key).unwrap().1.random;
            let is_held = DataRef::deser_value(value).unwrap().is_held();
            if is_held {
                &mut held
            } else {
                &mut garbage_data
            }
            .insert(data);
        });
        assert_eq!(held, had);
        let rest: BTreeSet<u64> = self.known.difference(&had).copied().collect();
        assert_eq!(garbage_data, rest, "what nobody has is garbage");
    }
}

/// What its extents say of a version, which must be what its row says.
fn flags_of(mut row: VersionRow) -> Usage {
    let flags = (row.narrowed, row.under_protected, row.off_profile);
    let Body::Extents(extents) = row.body.clone() else {
        panic!("{row:?}");
    };
    row.judge(&extents);
    assert_eq!((row.narrowed, row.under_protected, row.off_profile), flags);
    Usage {
        narrowed: u64::from(row.narrowed),
        under_protected: u64::from(row.under_protected),
        off_profile: u64::from(row.off_profile),
        ..Usage::default()
    }
}

fn data_in(row: &VersionRow) -> Vec<u64> {
    let Body::Extents(extents) = &row.body else {
        panic!("{row:?}");
    };
    extents.iter().map(|e| e.data.random).collect()
}

fn request_of(entry: &[u8]) -> Vec<u8> {
    let envelope = crate::Envelope::decode(entry).unwrap();
    crate::kinds::request::ser_key(envelope.request.unwrap()).to_vec()
}

fn each(group: &Group, table: Table, mut each: impl FnMut(&[u8], &[u8])) {
    let all = (Bound::Unbounded, Bound::Unbounded);
    let visit = &mut |key: &[u8], value: &[u8]| {
        each(key, value);
        ControlFlow::Continue(())
    };
    group.kv.scan(table, all.0, all.1, visit).unwrap();
}

proptest! {
    #[test]
    fn histories_of_uploads_match_the_model(ops in vec(op(), 1..120), keeps in any::<bool>()) {
        let mut run = Run::new(keeps);
        for op in &ops {
            run.step(op);
            run.check();
        }
        run.check_end();
    }
}

#[test]
fn drops_of_uploads_have_keys_of_their_own() {
    let upload = drop_key(Dropped::Upload(name("a", 1).upload));
    let bucket = drop_key(Dropped::Bucket(name("a", 1).bucket));
    assert!(bucket < upload);
}
