//! What an object group should hold, in ordinary maps: the rules without any encoding.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use marram_placement::{PgRow, Phase};
use marram_types::{DataId, DriveId, Generation, PgId, RequestId, VersionId};

use super::{Mutation, precondition};
use crate::testing::BUCKET;
use crate::{
    BucketState, Extent, Malformed, NewExtent, ObjectCommand, ObjectOutcome, Precondition, Refusal,
    Usage, VersionRefusal, Versioning,
};

/// Buckets are versioned from the second epoch on, as no bucket ever ceases to be.
pub(super) fn versioning_of(epoch: u64) -> Versioning {
    match epoch {
        0 | 1 => Versioning::Off,
        even if even % 2 == 0 => Versioning::On,
        _ => Versioning::Suspended,
    }
}

/// What a key has beside its current version.
#[derive(Debug, Clone)]
pub(super) struct Past {
    /// None of a delete marker.
    pub(super) object: Option<Object>,
    pub(super) numbered: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) generation: u64,
    pub(super) version: u128,
    pub(super) size: u64,
    pub(super) numbered: bool,
    pub(super) extents: Vec<Extent>,
}

impl Object {
    fn narrowed(&self) -> bool {
        self.extents.iter().any(is_narrow)
    }

    fn weak(&self) -> bool {
        self.extents.iter().any(|e| e.profile.m() < 2)
    }

    fn is_off(&self) -> bool {
        let asked = |e: &Extent| (e.profile.k(), e.profile.m()) == (4, 2);
        !self.extents.iter().all(asked)
    }
}

/// Objects of the test with extents are above the size of copies: the bucket asks for 4+2.
fn is_narrow(extent: &Extent) -> bool {
    extent.profile.k() < 4 || extent.profile.m() < 2
}

/// Data in the garbage queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waste {
    pub(super) at: u64,
    pub(super) extent: Extent,
    pub(super) places: Vec<BTreeSet<DriveId>>,
    /// It was never committed.
    pub(super) discarded: bool,
}

/// A ticket: since when, and the last report of a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filed {
    pub(super) since: u64,
    pub(super) missing_at: u64,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) objects: BTreeMap<&'static str, Object>,
    /// By key and generation.
    pub(super) past: BTreeMap<(&'static str, u64), Past>,
    pub(super) garbage: BTreeMap<DataId, Waste>,
    pub(super) filed: BTreeMap<DataId, Filed>,
    pub(super) requests: HashMap<RequestId, (Asked, ObjectOutcome)>,
    pub(super) bucket: Option<(u64, BucketState)>,
    /// Rows, with the index of the fence that brought each.
    pub(super) rows: BTreeMap<PgId, (u64, PgRow)>,
    pub(super) gc_floor: u64,
    pub(super) read_floor: u64,
    /// Shards at places that rows stopped naming, or never named, by what writers and workers said:
    /// only a node's own scan finds them.
    pub(super) leftovers: BTreeSet<(DataId, u8, DriveId)>,
}

/// What a request id stands for: key, size of the new version or the version to be deleted, or what no
/// version has where one is described, precondition.
type Asked = (&'static str, [Option<u64>; 2], Precondition);

fn asked(mutation: &Mutation) -> Asked {
    let size = mutation.object.as_ref().map(|object| object.size);
    let version = mutation
        .version
        .or_else(|| mutation.describes.then_some(u64::MAX));
    let wanted = precondition(&mutation.guard, mutation.seen);
    (mutation.key(), [size, version], wanted)
}

impl Model {
    /// Where the layout wants a shard.
    pub(super) fn wants(&self, extent: &Extent, shard: u8) -> BTreeSet<DriveId> {
        let row = &self.rows[&extent.pg].1;
        let slot = extent.slots[usize::from(shard)];
        let mut wanted = BTreeSet::from([row.drives[usize::from(slot)]]);
        if let Some(m) = row.moving
            && (m.slot, m.phase) == (slot, Phase::Dual)
        {
            wanted.insert(m.to);
        }
        wanted
    }

    /// Where readers look for a shard.
    pub(super) fn reads(&self, extent: &Extent, shard: u8) -> DriveId {
        let slot = extent.slots[usize::from(shard)];
        let moved = extent.overrides.iter().find(|(of, _)| *of == shard);
        match moved {
            Some((_, drive)) => *drive,
            None => self.rows[&extent.pg].1.drives[usize::from(slot)],
        }
    }

    /// Where a shard may be.
    fn everywhere(&self, extent: &Extent, shard: u8) -> BTreeSet<DriveId> {
        let mut places = self.wants(extent, shard);
        places.insert(self.reads(extent, shard));
        let slot = extent.slots[usize::from(shard)];
        if let Some(m) = self.rows[&extent.pg].1.moving.filter(|m| m.slot == slot) {
            places.extend([m.from, m.to]);
        }
        places
    }

    /// All versions, current or not.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Object> {
        let past = self.past.values().filter_map(|past| past.object.as_ref());
        self.objects.values().chain(past)
    }

    fn versions_mut(&mut self) -> impl Iterator<Item = &mut Object> {
        let past = self
            .past
            .values_mut()
            .filter_map(|past| past.object.as_mut());
        self.objects.values_mut().chain(past)
    }

    pub(super) fn extents(&self) -> impl Iterator<Item = &Extent> {
        self.versions().flat_map(|o| &o.extents)
    }

    /// The generations of what a key has, the newest first.
    pub(super) fn generations(&self, key: &'static str) -> Vec<u64> {
        let current = self.objects.get(key).map(|object| object.generation);
        let past = self.past.range((key, 0)..=(key, u64::MAX)).rev();
        current
            .into_iter()
            .chain(past.map(|((_, g), _)| *g))
            .collect()
    }

    fn versioning(&self) -> Versioning {
        versioning_of(self.bucket.map_or(0, |(epoch, _)| epoch))
    }

    /// What a new version or marker replaces.
    pub(super) fn make_way(&mut self, key: &'static str, index: u64) {
        let versioning = self.versioning();
        if let Some(old) = self.objects.remove(key) {
            if versioning == Versioning::Off
                || (versioning == Versioning::Suspended && !old.numbered)
            {
                self.displace(&old.extents, index);
                return;
            }
            let past = Past {
                numbered: old.numbered,
                object: Some(old.clone()),
            };
            self.past.insert((key, old.generation), past);
        }
        if versioning == Versioning::Suspended {
            let of_key = self.past.range((key, 0)..=(key, u64::MAX));
            let null = of_key.filter(|(_, past)| !past.numbered).map(|(at, _)| *at);
            let null: Vec<_> = null.collect();
            assert!(null.len() <= 1, "two null versions of {key}");
            for at in null {
                self.forget(at, index);
            }
        }
    }

    pub(super) fn forget(&mut self, at: (&'static str, u64), index: u64) -> Option<Past> {
        let past = self.past.remove(&at)?;
        let extents = past.object.iter().flat_map(|object| object.extents.clone());
        self.displace(&extents.collect::<Vec<_>>(), index);
        Some(past)
    }

    fn delete_version(&mut self, key: &'static str, generation: u64, index: u64) -> ObjectOutcome {
        let is_current = |object: &Object| object.generation == generation;
        let (existed, marker) = if self.objects.get(key).is_some_and(is_current) {
            let old = self.objects.remove(key).expect("just seen");
            self.displace(&old.extents, index);
            (true, false)
        } else {
            let past = self.forget((key, generation), index);
            let marker = past.as_ref().is_some_and(|past| past.object.is_none());
            (past.is_some(), marker)
        };
        if !self.objects.contains_key(key) {
            let newest = self.past.range((key, 0)..=(key, u64::MAX)).next_back();
            let newest = newest.map(|(at, past)| (*at, past.object.clone()));
            if let Some((at, Some(object))) = newest {
                self.past.remove(&at);
                self.objects.insert(key, object);
            }
        }
        ObjectOutcome::VersionDeleted { existed, marker }
    }

    fn is_known(&self, data: DataId) -> bool {
        self.extents().any(|e| e.data == data) || self.garbage.contains_key(&data)
    }

    fn was_discarded(&self, data: DataId) -> bool {
        self.garbage.get(&data).is_some_and(|waste| waste.discarded)
    }

    fn discard(&mut self, extents: &[NewExtent], at: u64) {
        for new in extents {
            let data = new.extent.data;
            if !self.is_known(data) {
                let waste = Waste {
                    at,
                    extent: new.extent.clone(),
                    places: (0..new.extent.slots.len())
                        .map(|shard| written(new, shard).into_iter().collect())
                        .collect(),
                    discarded: true,
                };
                self.garbage.insert(data, waste);
            }
        }
    }

    fn displace(&mut self, extents: &[Extent], at: u64) {
        for extent in extents {
            let shards = (0..=u8::MAX).zip(&extent.slots);
            let waste = Waste {
                at,
                extent: extent.clone(),
                places: shards.map(|(s, _)| self.everywhere(extent, s)).collect(),
                discarded: false,
            };
            self.garbage.insert(extent.data, waste);
            self.filed.remove(&extent.data);
        }
    }

    fn settle(&mut self, new: &NewExtent, index: u64) -> Extent {
        let mut extent = new.extent.clone();
        for shard in (0..=u8::MAX).take(extent.slots.len()) {
            let wanted = self.wants(&extent, shard);
            let wrote = written(new, usize::from(shard));
            if !wanted.iter().all(|drive| wrote.contains(drive)) {
                let best = wrote.iter().find(|drive| wanted.contains(drive));
                extent.overrides.push((shard, *best.unwrap_or(&wrote[0])));
            }
            self.leave(&extent, shard, wrote);
        }
        self.file(&extent, index, None);
        extent
    }

    /// What is at places that the row does not name is left over. The old place of a move counts as
    /// one: its cleanup may be over.
    fn leave(&mut self, extent: &Extent, shard: u8, at: impl IntoIterator<Item = DriveId>) {
        let mut named = self.wants(extent, shard);
        named.insert(self.reads(extent, shard));
        let left = at.into_iter().filter(|drive| !named.contains(drive));
        self.leftovers
            .extend(left.map(|drive| (extent.data, shard, drive)));
    }

    fn file(&mut self, extent: &Extent, index: u64, report: Option<u64>) {
        if extent.overrides.is_empty() && extent.missing == 0 && !is_narrow(extent) {
            self.filed.remove(&extent.data);
            return;
        }
        let filed = self.filed.entry(extent.data).or_insert(Filed {
            since: index,
            missing_at: 0,
        });
        filed.missing_at = report.unwrap_or(filed.missing_at);
    }

    pub(super) fn mutate(
        &mut self,
        mutation: &Mutation,
        index: u64,
        time_ms: u64,
    ) -> ObjectOutcome {
        let data = mutation.extents();
        if let Some((known, outcome)) = self.requests.get(&mutation.request).cloned() {
            self.discard(data, index);
            return if known == asked(mutation) {
                outcome
            } else {
                ObjectOutcome::Refused(Refusal::RequestIdReused)
            };
        }
        if self.bucket.is_some_and(|(_, s)| s == BucketState::Deleting) {
            return ObjectOutcome::Refused(Refusal::BucketSealed { bucket: BUCKET });
        }
        let outcome = self.decide(mutation, index, time_ms);
        if !matches!(
            outcome,
            ObjectOutcome::Refused(Refusal::DataDiscarded | Refusal::BelowFloor { .. })
        ) {
            let record = (asked(mutation), outcome.clone());
            self.requests.insert(mutation.request, record);
        }
        outcome
    }

    fn decide(&mut self, mutation: &Mutation, index: u64, time_ms: u64) -> ObjectOutcome {
        let current = self.objects.get(mutation.key());
        let present = current.map_or(0, |o| o.generation);
        let data = mutation.extents();
        if let Some(new) = &mutation.object {
            let same = current.is_some_and(|o| o.version == new.version);
            if !same && data.iter().any(|d| self.was_discarded(d.extent.data)) {
                self.discard(data, index);
                return ObjectOutcome::Refused(Refusal::DataDiscarded);
            }
            if same || data.iter().any(|d| self.is_known(d.extent.data)) {
                return ObjectOutcome::AlreadyCommitted;
            }
        }
        let floor = self.gc_floor;
        if data.iter().any(|d| d.extent.data.begin < floor) {
            return ObjectOutcome::Refused(Refusal::BelowFloor { floor });
        }
        if !mutation.guard.holds(present, mutation.seen) {
            self.discard(data, index);
            return ObjectOutcome::Refused(Refusal::PreconditionFailed {
                current: Generation(present),
            });
        }
        if mutation.describes {
            return self.describe(mutation.key(), index, time_ms);
        }
        if let Some(generation) = mutation.version {
            return self.delete_version(mutation.key(), generation, index);
        }
        self.make_way(mutation.key(), index);
        let numbered = self.versioning() == Versioning::On;
        let Some(new) = &mutation.object else {
            return self.deleted(mutation.key(), present != 0, index);
        };
        let object = Object {
            generation: index,
            version: new.version,
            size: new.size,
            numbered,
            extents: data.iter().map(|new| self.settle(new, index)).collect(),
        };
        let (narrowed, under_protected) = (object.narrowed(), object.weak());
        self.objects.insert(mutation.key(), object);
        ObjectOutcome::Committed {
            version: VersionId(new.version),
            generation: Generation(index),
            modified_ms: time_ms,
            narrowed,
            under_protected,
        }
    }

    /// The current version goes on under another generation.
    fn describe(&mut self, key: &'static str, index: u64, modified_ms: u64) -> ObjectOutcome {
        let generation = Generation(index);
        let newest = self.generations(key).first().copied().map(Generation);
        match (self.objects.get_mut(key), newest) {
            (Some(object), _) => {
                object.generation = index;
                ObjectOutcome::Annotated {
                    generation,
                    modified_ms,
                }
            }
            (None, None) => ObjectOutcome::Refused(VersionRefusal::Absent.into()),
            (None, Some(generation)) => {
                ObjectOutcome::Refused(VersionRefusal::Deleted { generation }.into())
            }
        }
    }

    /// After a deletion of no version in particular.
    pub(super) fn deleted(
        &mut self,
        key: &'static str,
        existed: bool,
        index: u64,
    ) -> ObjectOutcome {
        let generation = Generation(index);
        if self.versioning() == Versioning::Off {
            return ObjectOutcome::Deleted {
                generation,
                existed,
            };
        }
        let marker = Past {
            object: None,
            numbered: self.versioning() == Versioning::On,
        };
        self.past.insert((key, index), marker);
        ObjectOutcome::Marked {
            generation,
            existed,
        }
    }

    /// What a command of the system itself does.
    pub(super) fn internal(&mut self, command: &ObjectCommand, index: u64) -> ObjectOutcome {
        match command {
            ObjectCommand::Upload(_) => panic!("uploads have a model of their own"),
            ObjectCommand::BucketFence(record) => {
                let (epoch, state) = (record.epoch, record.state);
                self.bucket = self.bucket.max(Some((epoch, state)));
                let (epoch, state) = self.bucket.expect("just set");
                let live = (self.objects.len() + self.past.len()) as u64;
                ObjectOutcome::Fenced { live, epoch, state }
            }
            ObjectCommand::LayoutFence { pool, rows } => {
                let mut epoch = 0;
                for (at, row) in rows {
                    let pg = crate::testing::pg(*at);
                    assert_eq!(pg.pool, *pool);
                    let held = &mut self.rows.get_mut(&pg).expect("known from the start");
                    if row.epoch > held.1.epoch {
                        **held = (index, row.clone());
                    }
                    epoch = epoch.max(held.1.epoch);
                }
                ObjectOutcome::LayoutFenced { epoch }
            }
            ObjectCommand::RaiseFloors {
                gc_floor,
                read_floor,
            } => {
                self.gc_floor = self.gc_floor.max(*gc_floor.min(&index));
                self.read_floor = self.read_floor.max(*read_floor.min(&index));
                ObjectOutcome::Done
            }
            ObjectCommand::Collected(entries) => {
                for entry in entries {
                    let is_due = entry.at < self.read_floor && entry.data.begin < self.gc_floor;
                    let waste = self.garbage.get(&entry.data);
                    if is_due && waste.is_some_and(|waste| waste.at == entry.at) {
                        self.garbage.remove(&entry.data);
                    }
                }
                ObjectOutcome::Done
            }
            ObjectCommand::ShardPlaced {
                data,
                shard,
                at,
                seen,
                ..
            } => self.placed(*data, *shard, at, (*seen, index)),
            ObjectCommand::ShardMissing {
                data, shard, at, ..
            } => self.missing(*data, *shard, *at, index),
            ObjectCommand::Reencode { data, extents, .. } => self.reencode(*data, extents, index),
            ObjectCommand::KeepEvents { .. } => unreachable!("they are kept from the beginning"),
            ObjectCommand::HoldFloors { .. } => unreachable!("this model has no backups"),
            ObjectCommand::HoldReads { .. } => unreachable!("they have a model of their own"),
            ObjectCommand::Tombstone(_) => ObjectOutcome::Done,
            ObjectCommand::JudgeVersions { .. } => unreachable!("the profile stays"),
            ObjectCommand::Expire(_) => unreachable!("it removes what is a user's"),
            ObjectCommand::Lease(_) => unreachable!("quotas have a model of their own"),
            ObjectCommand::Put { .. }
            | ObjectCommand::Delete { .. }
            | ObjectCommand::Annotate(_)
            | ObjectCommand::Version(_) => {
                unreachable!("a user's")
            }
        }
    }

    fn live(&self, data: DataId) -> Option<Extent> {
        self.extents().find(|e| e.data == data).cloned()
    }

    fn shard(&mut self, extent: Extent, shard: u8) -> ObjectOutcome {
        let outcome = ObjectOutcome::Shard {
            place: self.reads(&extent, shard),
            missing: extent.missing & (1 << shard) != 0,
            overridden: extent.overrides.iter().any(|(of, _)| *of == shard),
        };
        let mut all = self.versions_mut().flat_map(|o| &mut o.extents);
        let place = all.find(|e| e.data == extent.data).expect("live");
        *place = extent;
        outcome
    }

    fn placed(
        &mut self,
        data: DataId,
        shard: u8,
        at: &[DriveId],
        (seen, index): (u64, u64),
    ) -> ObjectOutcome {
        let Some(mut extent) = self.live(data) else {
            return ObjectOutcome::NotLive;
        };
        let reported = self.filed.get(&data).map_or(0, |filed| filed.missing_at);
        let since = reported.max(self.rows[&extent.pg].0);
        if since > seen {
            return ObjectOutcome::Refused(Refusal::Stale { since });
        }
        let wanted = self.wants(&extent, shard);
        let read = self.reads(&extent, shard);
        let over = extent.overrides.iter().find(|(of, _)| *of == shard);
        let over = over.map(|(_, drive)| *drive);
        let lost = extent.missing & (1 << shard) != 0;
        let found = at.iter().find(|drive| wanted.contains(drive)).copied();
        let next = if wanted.iter().all(|drive| at.contains(drive)) {
            Some(None)
        } else if at.contains(&read) && (lost || over.is_some()) {
            Some(Some(read))
        } else if lost || over.is_some_and(|drive| !wanted.contains(&drive)) {
            found.map(Some)
        } else {
            None
        };
        if let Some(place) = next {
            extent.missing &= !(1 << shard);
            extent.overrides.retain(|(of, _)| *of != shard);
            extent.overrides.extend(place.map(|drive| (shard, drive)));
            extent.overrides.sort_unstable();
            self.leave(&extent, shard, over);
            self.file(&extent, index, None);
        }
        self.shard(extent, shard)
    }

    fn missing(&mut self, data: DataId, shard: u8, at: DriveId, index: u64) -> ObjectOutcome {
        let Some(mut extent) = self.live(data) else {
            return ObjectOutcome::NotLive;
        };
        if self.reads(&extent, shard) == at {
            extent.missing |= 1 << shard;
            self.file(&extent, index, Some(index));
        }
        self.shard(extent, shard)
    }

    fn reencode(&mut self, old: DataId, extents: &[NewExtent], index: u64) -> ObjectOutcome {
        let ids: Vec<_> = extents.iter().map(|new| new.extent.data).collect();
        if ids.iter().any(|id| self.was_discarded(*id)) {
            self.discard(extents, index);
            return ObjectOutcome::Superseded;
        }
        if ids.iter().any(|id| self.is_known(*id)) {
            return ObjectOutcome::AlreadyCommitted;
        }
        let floor = self.gc_floor;
        if ids.iter().any(|id| id.begin < floor) {
            return ObjectOutcome::Refused(Refusal::BelowFloor { floor });
        }
        let Some(displaced) = self.live(old) else {
            self.discard(extents, index);
            return ObjectOutcome::Superseded;
        };
        let asked = displaced.profile.m().min(2);
        if extents.iter().any(|new| new.extent.profile.m() < asked) {
            return ObjectOutcome::Refused(Malformed::Protection.into());
        }
        self.displace(&[displaced], index);
        let settled: Vec<_> = extents.iter().map(|new| self.settle(new, index)).collect();
        for object in self.versions_mut() {
            if let Some(at) = object.extents.iter().position(|e| e.data == old) {
                object.extents.splice(at..=at, settled);
                break;
            }
        }
        ObjectOutcome::Reencoded
    }

    pub(super) fn usage(&self) -> Usage {
        let count =
            |each: &dyn Fn(&Object) -> bool| self.versions().filter(|o| each(o)).count() as u64;
        let past = self.past.values().filter_map(|past| past.object.as_ref());
        let noncurrent = past.clone().count();
        Usage {
            objects: self.objects.len() as u64,
            bytes: self.objects.values().map(|o| o.size).sum(),
            narrowed: count(&Object::narrowed),
            under_protected: count(&Object::weak),
            off_profile: count(&Object::is_off),
            noncurrent: noncurrent as u64,
            noncurrent_bytes: past.map(|o| o.size).sum(),
            markers: (self.past.len() - noncurrent) as u64,
            part_bytes: 0,
        }
    }
}

fn written(new: &NewExtent, shard: usize) -> Vec<DriveId> {
    let of = new.wrote.iter().filter(|(of, _)| usize::from(*of) == shard);
    of.map(|(_, drive)| *drive).collect()
}
