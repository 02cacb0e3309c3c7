//! A new beginning from an old state: one replica alone goes on with it, every other one is past
//! (decision 0021). Used where a backup is restored, or a majority of voters is lost; it edits a state
//! before the first entry of its new log.
//!
//! Every id, generation and begin index is an index of a log. The new logs begin a [`Jump`] behind the old
//! ones, so none of them is used twice whatever happened after the state was taken, a former beginning from
//! the same state included.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use marram_placement::{PgRow, PoolTable};
use marram_types::{DriveId, GroupId, NodeId, PgId, ReplicaId};

use crate::envelope::Envelope;
use crate::kinds::cluster::{self, ClusterRecord};
use crate::kinds::event::EventPlace;
use crate::kinds::group::{self, GroupRecord};
use crate::kinds::layout_row::{self, LayoutRow};
use crate::kinds::lost_ids::LostIds;
use crate::kinds::node::{self, NodeState};
use crate::kinds::pool;
use crate::kinds::state::GroupState;
use crate::kv::{KvRead, KvWrite, Table};
use crate::requests::ApplyError;
use crate::root::apply::apply_root;
use crate::root::command::{NodeJoin, RootCommand};
use crate::root::hold;
use crate::root::nodes::all_nodes;
use crate::root::outcome::RootOutcome;
use crate::root::quota;
use crate::stored::{StateError, Stored, load, store};

/// How far behind the last index that is known the logs of a new beginning begin.
///
/// More entries than a group commits between a backup and its restore, and beyond that so many for each
/// second of the calendar that a group commits fewer: a state from which the cluster begins twice, at times
/// that differ, gives no id out twice. Few enough that an index, and a drive's id, which is 256 times one of the root
/// group, stays exact in every program that reads it as a double, for a hundred beginnings (decision 0021).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// Of the root group's log.
    pub root: u64,
    /// Of every object group's log.
    pub objects: u64,
}

impl Jump {
    /// 2026-01-01T00:00:00Z, in seconds since 1970. A clock before it counts as this one.
    const EPOCH_S: u64 = 1_767_225_600;
    /// A clock far in the future cannot use up the indexes.
    const SECONDS_MAX: u64 = 1 << 33;
    const ROOT_AT_LEAST: u64 = 1 << 34;
    const ROOT_EACH_SECOND: u64 = 1 << 10;
    const OBJECTS_AT_LEAST: u64 = 1 << 40;
    const OBJECTS_EACH_SECOND: u64 = 1 << 18;

    /// That of a beginning at this time, in seconds since 1970.
    #[must_use]
    pub fn at(now_s: u64) -> Self {
        let seconds = now_s.saturating_sub(Self::EPOCH_S).min(Self::SECONDS_MAX);
        Self {
            root: Self::ROOT_AT_LEAST + seconds * Self::ROOT_EACH_SECOND,
            objects: Self::OBJECTS_AT_LEAST + seconds * Self::OBJECTS_EACH_SECOND,
        }
    }

    /// The index at which [`refound_root`] leaves the root group, when the state's last entry is `index`.
    #[must_use]
    pub fn root_ends_at(self, index: u64) -> u64 {
        index + self.root + 1
    }
}

/// Why a state cannot be the beginning of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum RefoundError {
    /// The state holds no cluster.
    #[error("the state holds no cluster")]
    NoCluster,
    /// The root's state refuses the node.
    #[error("the root group refuses this node: {0}")]
    Refused(crate::refusal::Refusal),
    /// The state cannot be read.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl From<StateError> for RefoundError {
    fn from(error: StateError) -> Self {
        Self::Apply(error.into())
    }
}

impl From<crate::kv::KvError> for RefoundError {
    fn from(error: crate::kv::KvError) -> Self {
        Self::Apply(error.into())
    }
}

/// Who goes on with a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refounded {
    /// The node.
    pub node: NodeId,
    /// Its drives, in the order of their ordinals.
    pub drives: Vec<DriveId>,
    /// Its replica, the only voter of every group.
    pub replica: ReplicaId,
    /// Rows of the layout that an object group knew newer than the root's state did.
    pub newer_rows: usize,
}

/// Makes the node that describes itself so the only one with the metadata. `index` is that of the
/// state's last entry, `jump` how far behind it the new log begins, `rows` the object groups' copies of the layout: what a group knows, the root
/// has decided, even where its own last entries are lost.
///
/// # Errors
/// See [`RefoundError`]; `kv` must be thrown away then.
pub fn refound_root(
    kv: &mut dyn KvWrite,
    (index, jump): (u64, Jump),
    join: NodeJoin,
    rows: &BTreeMap<PgId, PgRow>,
) -> Result<Refounded, RefoundError> {
    let cluster: Option<ClusterRecord> = load(kv, Table::Meta, cluster::KEY)?;
    let cluster = cluster.ok_or(RefoundError::NoCluster)?;
    for mut record in all_nodes(kv)? {
        record.replicas_past.extend(record.replica.take());
        store(kv, Table::Nodes, &node::ser_key(record.node), &record)?;
    }
    hold::clear(kv)?;
    quota::begin_all_anew(kv)?;
    know_by_name(kv, &join)?;
    LostIds::note(kv, index, index + jump.root)?;
    let newer_rows = take_newer_rows(kv, rows)?;
    let RootOutcome::NodeAdded { node, drives } =
        run(kv, index + jump.root, &RootCommand::AddNode(join))?
    else {
        unreachable!("a node is added or refused");
    };
    let add = RootCommand::AddReplica {
        node,
        founder: false,
    };
    let at = jump.root_ends_at(index);
    let RootOutcome::ReplicaAdded { replica } = run(kv, at, &add)? else {
        unreachable!("a replica is added or refused");
    };
    for group in (0..=cluster.object_groups).map(GroupId) {
        let mut record = GroupRecord::new(group, vec![replica]);
        if group != GroupId::ROOT {
            // Begun already, and below every index of the new logs: what they say later replaces it.
            record.at = jump.objects;
        }
        store(kv, Table::Groups, &group::ser_key(group), &record)?;
    }
    Ok(Refounded {
        node,
        drives,
        replica,
        newer_rows,
    })
}

/// A node that lost its key with its metadata drive, and begins anew here, is the one of its name.
fn know_by_name(kv: &mut dyn KvWrite, join: &NodeJoin) -> Result<(), StateError> {
    if kv.get(Table::NodeKeys, &join.public_key)?.is_some() {
        return Ok(());
    }
    let nodes = all_nodes(kv)?.into_iter();
    let mut named = nodes.filter(|n| n.state == NodeState::Active && n.name == join.name);
    let (Some(mut record), None) = (named.next(), named.next()) else {
        return Ok(());
    };
    kv.delete(Table::NodeKeys, &record.public_key)?;
    record.public_key = join.public_key;
    let key = node::ser_key(record.node);
    kv.put(Table::NodeKeys, &record.public_key, &key)?;
    store(kv, Table::Nodes, &key, &record)?;
    Ok(())
}

/// Applies one command outside of any log.
fn run(
    kv: &mut dyn KvWrite,
    index: u64,
    command: &RootCommand,
) -> Result<RootOutcome, RefoundError> {
    let outcome = apply_root(kv, index, &Envelope::seal_internal(command))?;
    match RootOutcome::decode(&outcome).map_err(ApplyError::bad_command)? {
        RootOutcome::Refused(refusal) => Err(RefoundError::Refused(refusal)),
        done => Ok(done),
    }
}

fn take_newer_rows(
    kv: &mut dyn KvWrite,
    rows: &BTreeMap<PgId, PgRow>,
) -> Result<usize, StateError> {
    let mut newer = 0;
    for (pg, row) in rows {
        let key = pool::ser_key(pg.pool);
        let Some(mut table) = load::<PoolTable>(kv, Table::Pools, &key)? else {
            continue;
        };
        let held = table.rows.get_mut(usize::from(pg.index));
        if let Some(held) = held.filter(|held| held.epoch < row.epoch) {
            *held = row.clone();
            table.epoch = table.epoch.max(row.epoch);
            newer += 1;
            store(kv, Table::Pools, &key, &table)?;
        }
    }
    Ok(newer)
}

/// Prepares an object group's state for a log that begins behind `at`, and says what it knows of the
/// layout.
///
/// # Errors
/// When the state cannot be read or written.
pub fn refound_object(
    kv: &mut dyn KvWrite,
    at: u64,
) -> Result<BTreeMap<PgId, PgRow>, RefoundError> {
    let mut state = GroupState::load(kv)?;
    state.applied = at;
    // What the cluster did after the state was taken is in no table: whoever watched it lists anew.
    if let Some(kept) = &mut state.events {
        kept.floor = EventPlace::behind(at);
    }
    state.store(kv)?;
    Ok(layout_rows(kv)?)
}

/// An object group's copies of the layout's rows.
fn layout_rows(kv: &dyn KvRead) -> Result<BTreeMap<PgId, PgRow>, StateError> {
    let mut found = Vec::new();
    let (from, to) = (Bound::Unbounded, Bound::Unbounded);
    kv.scan(Table::LayoutRows, from, to, &mut |key, value| {
        let row = layout_row::deser_key(key)
            .and_then(|pg| LayoutRow::deser_value(value).map(|row| (pg, row.row)));
        found.push(row);
        ControlFlow::Continue(())
    })?;
    found
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(StateError::corrupt(Table::LayoutRows))
}

#[cfg(test)]
mod tests;
