//! Compares everything that the group holds with the model, and with what is on the drives.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use marram_types::{DataId, Generation};

use super::reference::{Filed, Object, Waste};
use super::{BYTES, KEYS, Run};
use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::layout_row::{self, LayoutRow};
use crate::kinds::state::GroupState;
use crate::kinds::{garbage, inline};
use crate::kv::{KvRead, Table};
use crate::object::tests::versions::{all_versions, version};
use crate::object::tests::{ask, head, usage};
use crate::stored::{Stored, load};
use crate::testing::{BUCKET, PGS, pg};
use crate::{
    Body, HeadAnswer, ListItem, ObjectAnswer, ObjectQuery, RepairTicket, TicketReason,
    VersionAnswer, VersionEntry,
};

impl Run {
    pub(super) fn check(&self) {
        self.check_objects();
        self.check_references();
        self.check_garbage();
        self.check_tickets();
        self.check_rows();
        self.check_drives();
        self.check_replay();
        let kv = &self.group.kv;
        assert_eq!(usage(&self.group), self.model.usage());
        assert_eq!(kv.len(Table::Requests), self.model.requests.len());
        assert_eq!(kv.len(Table::RequestExpiry), self.model.requests.len());
        let state = GroupState::load(kv).unwrap();
        let floors = (self.model.gc_floor, self.model.read_floor);
        assert_eq!((state.gc_floor, state.read_floor), floors);
    }

    /// Who replays the events knows the objects, and all of their versions.
    fn check_replay(&self) {
        for key in KEYS {
            let current = self.model.objects.get(key).map(|object| object.generation);
            assert_eq!(self.replay.current(key), current, "{key}");
            let all = self.model.generations(key);
            assert_eq!(self.replay.generations(key), all, "{key}");
        }
    }

    /// The whole of a table.
    fn table(&self, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        let each = &mut |key: &[u8], value: &[u8]| {
            all.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        let kv = &self.group.kv;
        kv.scan(table, Bound::Unbounded, Bound::Unbounded, each)
            .unwrap();
        all
    }

    fn check_objects(&self) {
        let mut held = (0, 0);
        for key in KEYS {
            let found = head(&self.group, key);
            let wanted = self.model.objects.get(key);
            assert_eq!(found.is_some(), wanted.is_some(), "{key}");
            if let (Some(found), Some(wanted)) = (found, wanted) {
                self.check_version(&found, wanted, &mut held);
            }
        }
        for ((key, generation), past) in &self.model.past {
            let found = version(&self.group, key, Some(*generation));
            match (found, &past.object) {
                (VersionAnswer::Version { head, is_current }, Some(wanted)) => {
                    assert!(!is_current);
                    self.check_version(&head, wanted, &mut held);
                }
                (VersionAnswer::Marker { marker, is_current }, None) => {
                    assert_eq!(marker.generation.0, *generation);
                    assert_eq!(marker.numbered, past.numbered);
                    assert_eq!(is_current, self.model.generations(key)[0] == *generation);
                }
                (found, _) => panic!("{key} {generation}: {found:?}"),
            }
        }
        let kv = &self.group.kv;
        assert_eq!(kv.len(Table::Inline), held.0);
        assert_eq!(kv.len(Table::ExtentRows), held.1);
        assert_eq!(kv.len(Table::Noncurrent), self.model.past.len());
        let null = self.model.past.values().filter(|past| !past.numbered);
        assert_eq!(kv.len(Table::NullVersions), null.count());
        self.check_listing();
    }

    /// One version, and the inline rows and chunks that it has.
    fn check_version(&self, found: &HeadAnswer, wanted: &Object, held: &mut (usize, usize)) {
        assert_eq!(found.row.generation.0, wanted.generation);
        assert_eq!(found.row.version.0, wanted.version);
        assert_eq!(found.row.size, wanted.size);
        assert_eq!(found.row.numbered, wanted.numbered);
        match &found.row.body {
            Body::Inline { data } => {
                held.0 += 1;
                let length = usize::try_from(wanted.size).unwrap();
                assert_eq!(found.inline.as_ref().unwrap(), &BYTES[..length]);
                let stored = self.group.kv.get(Table::Inline, &inline::ser_key(*data));
                assert!(stored.unwrap().is_some());
                assert!(found.places.is_empty());
            }
            Body::Parts(_) => panic!("answers have extents"),
            Body::Extents(extents) => {
                assert_eq!(extents, &wanted.extents);
                let places = wanted.extents.iter().map(|e| {
                    let shards = e.shards();
                    shards.map(|(s, _)| self.model.reads(e, s)).collect()
                });
                assert_eq!(found.places, places.collect::<Vec<Vec<_>>>());
                held.1 += match extents.len() {
                    0..=16 => 0,
                    many => many.div_ceil(16),
                };
            }
            Body::Spilled { .. } => panic!("answers hold the extents"),
        }
    }

    /// All versions and markers as a listing shows them, in pages of three.
    fn check_listing(&self) {
        let mut wanted = Vec::new();
        for key in KEYS.into_iter().collect::<BTreeSet<_>>() {
            for (at, generation) in self.model.generations(key).into_iter().enumerate() {
                let past = self.model.past.get(&(key, generation));
                let is_marker = past.is_some_and(|past| past.object.is_none());
                wanted.push((key.to_owned(), generation, is_marker, at == 0));
            }
        }
        let shown = |entry: VersionEntry| {
            let VersionEntry {
                key, generation, ..
            } = entry;
            (key, generation.0, entry.is_marker, entry.is_current)
        };
        let found = all_versions(&self.group, "", "", 3)
            .into_iter()
            .map(|item| match item {
                ListItem::Version(entry) => shown(entry),
                other => panic!("{other:?}"),
            });
        assert_eq!(found.collect::<Vec<_>>(), wanted);
    }

    fn check_references(&self) {
        let mut wanted = BTreeMap::new();
        for (key, object) in &self.model.objects {
            for extent in &object.extents {
                let live = DataRef::Live {
                    bucket: BUCKET,
                    key: (*key).to_owned(),
                };
                wanted.insert((extent.pg, extent.data), live);
            }
        }
        for ((key, generation), past) in &self.model.past {
            for extent in past.object.iter().flat_map(|object| &object.extents) {
                let noncurrent = DataRef::Noncurrent {
                    bucket: BUCKET,
                    key: (*key).to_owned(),
                    generation: Generation(*generation),
                };
                wanted.insert((extent.pg, extent.data), noncurrent);
            }
        }
        for waste in self.model.garbage.values() {
            let at = waste.at;
            let reference = if waste.discarded {
                DataRef::Discarded { at }
            } else {
                DataRef::Displaced { at }
            };
            wanted.insert((waste.extent.pg, waste.extent.data), reference);
        }
        let found = self.table(Table::DataRefs).into_iter().map(|(key, value)| {
            let value = DataRef::deser_value(&value).unwrap();
            (data_ref::deser_key(&key).unwrap(), value)
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), wanted);
    }

    fn check_garbage(&self) {
        let mut found = BTreeMap::new();
        for (key, value) in self.table(Table::Garbage) {
            let (at, data) = garbage::deser_key(&key).unwrap();
            let entry = garbage::deser_value(at, &value).unwrap();
            let discarded = self.model.garbage[&data].discarded;
            let waste = Waste {
                at,
                extent: entry.extent,
                places: entry.places.into_iter().map(BTreeSet::from_iter).collect(),
                discarded,
            };
            assert_eq!(found.insert(data, waste), None, "queued twice");
        }
        assert_eq!(found, self.model.garbage);
        // What was queued now is where its entry says, and nowhere else that rows told of.
        for (data, waste) in &found {
            if waste.at != self.group.index {
                continue;
            }
            for (shard, _) in waste.extent.shards() {
                for drive in self.world.holders(&waste.extent, shard) {
                    let is_known = waste.places[usize::from(shard)].contains(&drive)
                        || self.model.leftovers.contains(&(*data, shard, drive));
                    assert!(is_known, "shard {shard} of {data} is left on {drive}");
                }
            }
        }
    }

    fn check_tickets(&self) {
        let mut found = BTreeMap::new();
        for (_, value) in self.table(Table::Tickets) {
            let ticket = RepairTicket::deser_value(&value).unwrap();
            let extent = self.model.extents().find(|e| e.data == ticket.data);
            let extent = extent.expect("a ticket of a live extent");
            assert_eq!(ticket.pg, extent.pg);
            let reasons = [
                (TicketReason::Misplaced, !extent.overrides.is_empty()),
                (TicketReason::Missing, extent.missing != 0),
                (TicketReason::UnderProtected, extent.profile.m() < 2),
            ];
            for (reason, holds) in reasons {
                assert_eq!(ticket.reasons.contains(reason), holds);
            }
            let filed = Filed {
                since: ticket.since,
                missing_at: ticket.missing_at,
            };
            found.insert(ticket.data, filed);
        }
        assert_eq!(found, self.model.filed);
    }

    fn check_rows(&self) {
        for (pg, (fenced_at, row)) in &self.model.rows {
            let held = load(&self.group.kv, Table::LayoutRows, &layout_row::ser_key(*pg)).unwrap();
            let wanted = LayoutRow {
                fenced_at: *fenced_at,
                row: row.clone(),
            };
            assert_eq!(held, Some(wanted));
        }
        for index in 0..PGS {
            let found = self.live_extents(index).into_iter().map(|live| {
                let holds = |o: &&Object| o.extents.iter().any(|e| e.data == live.extent.data);
                let wanted = self.model.versions().find(holds).expect("in the model");
                assert_eq!(live.version.0, wanted.version);
                (live.extent.data, live.extent)
            });
            let found: BTreeMap<DataId, _> = found.collect();
            let wanted = self.model.extents().filter(|e| e.pg == pg(index));
            let wanted: BTreeMap<_, _> = wanted.map(|e| (e.data, e.clone())).collect();
            assert_eq!(found, wanted);
        }
    }

    /// The live extents of a placement group, page by page.
    pub(super) fn live_extents(&self, index: u16) -> Vec<crate::LiveExtent> {
        let mut all: Vec<crate::LiveExtent> = Vec::new();
        loop {
            let query = ObjectQuery::Rows {
                pg: pg(index),
                after: all.last().map(|live| live.extent.data),
                limit: 7,
            };
            let ObjectAnswer::Rows(page) = ask(&self.group, &query) else {
                panic!("asked for rows");
            };
            assert_eq!(page.row.as_ref(), Some(&self.model.rows[&pg(index)].1));
            all.extend(page.extents);
            if !page.more {
                return all;
            }
        }
    }

    /// After a search of all drives: whatever is on a drive belongs there, or is kept because the shard
    /// is not where it belongs.
    pub(super) fn check_leftovers(&self) {
        for (drive, held) in &self.world.drives {
            for shard in held {
                let (_, data, of) = *shard;
                let extent = self.model.extents().find(|extent| extent.data == data);
                let extent = extent.unwrap_or_else(|| panic!("{data} is left on {drive}"));
                let place = self.model.reads(extent, of);
                let is_elsewhere = !extent.is_missing(of) && self.world.holds(place, extent, of);
                assert!(
                    place == *drive
                        || self.model.wants(extent, of).contains(drive)
                        || !is_elsewhere,
                    "shard {of} of {data} is left on {drive}"
                );
            }
        }
    }

    /// What a row claims is there, unless the drive itself lost it (placement-protocol.md, P1).
    fn check_drives(&self) {
        for extent in self.model.extents() {
            for (shard, _) in extent.shards() {
                let place = self.model.reads(extent, shard);
                let excused = extent.is_missing(shard)
                    || self.world.lost.contains(&(extent.data, shard, place));
                assert!(
                    excused || self.world.holds(place, extent, shard),
                    "shard {shard} of {} is not on drive {place}",
                    extent.data
                );
            }
        }
    }
}
