//! What a gateway needs of the root group's state, as one value.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use marram_placement::{Apart, DriveInfo, PlanError, PoolPlan, PoolTable, Seat, pool_of};
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketName, GroupId, NodeId, PoolId, Profile};

use crate::kinds::access_key::AccessKeyRecord;
use crate::kinds::authority::AuthorityRecord;
use crate::kinds::bucket::{BucketRecord, BucketState};
use crate::kinds::cluster::{self, ClusterRecord};
use crate::kinds::group::GroupRecord;
use crate::kinds::identity::IdentityRecord;
use crate::kinds::layout_state::{self, LayoutState};
use crate::kinds::node::{self, NodeRecord, NodeState};
use crate::kinds::state::GroupState;
use crate::kinds::tombstone::Tombstone;
use crate::kinds::upkeep::{self, UpkeepRecord};
use crate::kv::{KvRead, Table};
use crate::refusal::Refusal;
use crate::root::versions;
use crate::stored::{StateError, Stored, load, only_version};

/// Only this one is read: a view is as new as the process that sends it.
const VERSION: u8 = 6;

/// The root group's decisions as of one index. Cheap to share behind an `Arc`; two views of one
/// cluster are ordered by their index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Index of the last root command that it reflects; 0 before the first.
    pub index: u64,
    /// The cluster; none before its bootstrap.
    pub cluster: Option<ClusterRecord>,
    /// Nodes, tombstoned ones included.
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// Groups and their voters.
    pub groups: BTreeMap<GroupId, GroupRecord>,
    /// Placement tables.
    pub pools: BTreeMap<PoolId, PoolTable>,
    /// Buckets, pending ones included.
    pub buckets: BTreeMap<BucketName, BucketRecord>,
    /// Access keys, disabled ones included.
    pub access_keys: BTreeMap<String, AccessKeyRecord>,
    /// The newest version of commands that each node has said it knows (rules.md 9).
    pub versions: BTreeMap<NodeId, u8>,
    /// Which work in the background is paused.
    pub upkeep: UpkeepRecord,
    /// Tombstones of nodes, those of removed ones and those taken back included.
    pub tombstones: BTreeMap<NodeId, Tombstone>,
    /// The layout as a whole.
    pub layout: LayoutState,
    /// CAs that are trusted, by the index that added them.
    pub authorities: BTreeMap<u64, AuthorityRecord>,
    /// What is known of certificates, by the fingerprint of the key.
    pub identities: BTreeMap<[u8; 32], IdentityRecord>,
    /// Nodes whose data may become narrower when they are emptied (rules.md 19).
    pub narrower: BTreeSet<NodeId>,
}

impl ClusterView {
    /// Every drive of the members, with what placement may ask of it.
    #[must_use]
    pub fn seats(&self) -> Vec<Seat> {
        let members = self
            .nodes
            .values()
            .filter(|node| node.state == NodeState::Active);
        let seats = members.flat_map(|node| {
            node.present_drives().map(move |drive| Seat {
                info: DriveInfo {
                    drive: drive.drive,
                    node: node.node,
                    zone: node.zone.clone(),
                    weight: drive.capacity,
                },
                standing: node.standing_of(drive),
            })
        });
        seats.collect()
    }

    /// The fewest parity shards of the profiles that use a pool, whole copies included; none where nothing
    /// with parity does.
    #[must_use]
    pub fn pool_parity(&self, pool: PoolId) -> Option<usize> {
        let buckets = self.buckets.values();
        let buckets = buckets.filter(|bucket| bucket.state != BucketState::Deleted);
        let default = self.cluster.as_ref().and_then(|c| c.default_profile);
        let profiles = buckets.flat_map(BucketRecord::profiles).chain(default);
        let all = profiles.flat_map(|profile| [profile, profile.as_copies()]);
        let using = all.filter(|profile| pool_of(profile.width()) == pool);
        using.map(Profile::m).filter(|m| *m > 0).min()
    }

    /// The most parity shards of the buckets' profiles that use a pool, whole copies included; of the
    /// default profile where no bucket's does, else 1.
    #[must_use]
    pub fn pool_losses(&self, pool: PoolId) -> usize {
        let buckets = self.buckets.values();
        let buckets = buckets.filter(|bucket| bucket.state != BucketState::Deleted);
        let default = self.cluster.as_ref().and_then(|c| c.default_profile);
        let most = |profiles: &mut dyn Iterator<Item = Profile>| {
            let all = profiles.flat_map(|profile| [profile, profile.as_copies()]);
            let using = all.filter(|profile| pool_of(profile.width()) == pool);
            using.map(Profile::m).max()
        };
        most(&mut buckets.flat_map(BucketRecord::profiles))
            .or_else(|| most(&mut default.into_iter()))
            .unwrap_or(1)
    }

    /// What is to move in a pool, by its table and what may be asked of the drives.
    ///
    /// # Errors
    /// When a drive is listed twice, or the table is damaged.
    pub fn plan_of(&self, table: &PoolTable, seats: &[Seat]) -> Result<PoolPlan, PlanError> {
        PoolPlan::of(table, seats, self.pool_losses(table.pool()))
    }

    /// What the rows of a pool are kept apart by.
    #[must_use]
    pub fn apart_in(&self, table: &PoolTable, seats: &[Seat]) -> Apart {
        Apart::of(table, seats, self.pool_losses(table.pool()))
    }

    /// The CA that certificates are issued from; none before the bootstrap has ended.
    #[must_use]
    pub fn issuing(&self) -> Option<&AuthorityRecord> {
        self.authorities.values().find(|a| a.issues)
    }

    /// The form that crosses the mesh.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(4096);
        out.u8(VERSION).varint(self.index);
        out.option(self.cluster.as_ref(), |out, cluster| cluster.encode(out));
        put_values(&mut out, &self.nodes);
        put_values(&mut out, &self.groups);
        put_values(&mut out, &self.pools);
        put_values(&mut out, &self.buckets);
        put_values(&mut out, &self.access_keys);
        out.varint(self.versions.len() as u64);
        for (node, version) in &self.versions {
            out.varint(node.0).u8(*version);
        }
        self.upkeep.encode(&mut out);
        put_values(&mut out, &self.tombstones);
        self.layout.encode(&mut out);
        put_values(&mut out, &self.authorities);
        put_values(&mut out, &self.identities);
        out.varint(self.narrower.len() as u64);
        for node in &self.narrower {
            out.varint(node.0);
        }
        out.finish()
    }

    /// Why a node may not be emptied: what stays is too few for a bucket. `narrower` says that
    /// narrower stripes are accepted: they make up for data shards (rules.md 19), not for parity.
    #[must_use]
    pub fn leaves_too_few(&self, node: NodeId, narrower: bool) -> Option<Refusal> {
        let nodes = self
            .nodes
            .values()
            .filter(|other| other.has_serving_drive());
        too_few_without(nodes, self.buckets.values(), node, narrower)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are damaged or of a newer release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        only_version(&mut from, "cluster view version", VERSION)?;
        let view = Self {
            index: from.varint()?,
            cluster: from.option(ClusterRecord::decode)?,
            nodes: get_values(&mut from, |node: &NodeRecord| node.node)?,
            groups: get_values(&mut from, |group: &GroupRecord| group.group)?,
            pools: get_values(&mut from, PoolTable::pool)?,
            buckets: get_values(&mut from, |bucket: &BucketRecord| bucket.name.clone())?,
            access_keys: get_values(&mut from, |key: &AccessKeyRecord| key.id.clone())?,
            versions: from
                .list(|from| Ok((NodeId(from.varint()?), from.u8()?)))?
                .into_iter()
                .collect(),
            upkeep: UpkeepRecord::decode(&mut from)?,
            tombstones: get_values(&mut from, |stone: &Tombstone| stone.node)?,
            layout: LayoutState::decode(&mut from)?,
            authorities: get_values(&mut from, |a: &AuthorityRecord| a.authority)?,
            identities: get_values(&mut from, |i: &IdentityRecord| i.key)?,
            narrower: from
                .list(|from| from.varint().map(NodeId))?
                .into_iter()
                .collect(),
        };
        from.finish()?;
        Ok(view)
    }
}

/// See [`ClusterView::leaves_too_few`].
pub(crate) fn too_few_without<'a>(
    nodes: impl Iterator<Item = &'a NodeRecord>,
    buckets: impl Iterator<Item = &'a BucketRecord>,
    node: NodeId,
    narrower: bool,
) -> Option<Refusal> {
    let stays = nodes.filter(|other| other.keeps_data() && other.node != node);
    let left = stays.count();
    let need = |profile: Profile| match narrower {
        true => profile.m() + 1,
        false => profile.width(),
    };
    let all = buckets.flat_map(|bucket| bucket.profiles().map(move |profile| (bucket, profile)));
    let lacks = all.filter(|(_, profile)| need(*profile) > left);
    let (bucket, profile) = lacks.max_by_key(|(_, profile)| (need(*profile), *profile))?;
    Some(Refusal::LeavesTooFew {
        left: u16::try_from(left).unwrap_or(u16::MAX),
        profile,
        bucket: bucket.name.clone(),
    })
}

fn put_values<K, V: Stored>(out: &mut Writer, map: &BTreeMap<K, V>) {
    out.varint(map.len() as u64);
    for value in map.values() {
        value.encode(out);
    }
}

fn get_values<K: Ord, V: Stored>(
    from: &mut Reader<'_>,
    key: impl Fn(&V) -> K,
) -> Result<BTreeMap<K, V>, DecodeError> {
    let values = from.list(V::decode)?;
    Ok(values.into_iter().map(|v| (key(&v), v)).collect())
}

/// Reads the view of the root group's state.
///
/// # Errors
/// When the store fails or a record is damaged.
pub fn view(kv: &dyn KvRead) -> Result<ClusterView, StateError> {
    Ok(ClusterView {
        index: GroupState::load(kv)?.applied,
        cluster: load(kv, Table::Meta, cluster::KEY)?,
        nodes: load_all(kv, Table::Nodes, |node: &NodeRecord| node.node)?,
        groups: load_all(kv, Table::Groups, |group: &GroupRecord| group.group)?,
        pools: load_all(kv, Table::Pools, PoolTable::pool)?,
        buckets: load_all(kv, Table::Buckets, |bucket: &BucketRecord| {
            bucket.name.clone()
        })?,
        access_keys: load_all(kv, Table::AccessKeys, |key: &AccessKeyRecord| {
            key.id.clone()
        })?,
        versions: versions::all(kv)?,
        upkeep: load(kv, Table::Meta, upkeep::KEY)?.unwrap_or_default(),
        tombstones: load_all(kv, Table::Tombstones, |stone: &Tombstone| stone.node)?,
        layout: layout_state::of(kv)?,
        authorities: load_all(kv, Table::Authorities, |a: &AuthorityRecord| a.authority)?,
        identities: load_all(kv, Table::Identities, |i: &IdentityRecord| i.key)?,
        narrower: narrower(kv)?,
    })
}

fn narrower(kv: &dyn KvRead) -> Result<BTreeSet<NodeId>, StateError> {
    let mut found = Vec::new();
    let all = (Bound::Unbounded, Bound::Unbounded);
    kv.scan(Table::Narrower, all.0, all.1, &mut |key, _| {
        found.push(node::deser_id(key));
        ControlFlow::Continue(())
    })?;
    let found = found.into_iter().collect::<Result<_, _>>();
    found.map_err(StateError::corrupt(Table::Narrower))
}

fn load_all<K: Ord, V: Stored>(
    kv: &dyn KvRead,
    table: Table,
    key: impl Fn(&V) -> K,
) -> Result<BTreeMap<K, V>, StateError> {
    let mut found = BTreeMap::new();
    let mut damage = None;
    kv.scan(
        table,
        Bound::Unbounded,
        Bound::Unbounded,
        &mut |_, bytes| match V::deser_value(bytes) {
            Ok(value) => {
                found.insert(key(&value), value);
                ControlFlow::Continue(())
            }
            Err(source) => {
                damage = Some(source);
                ControlFlow::Break(())
            }
        },
    )?;
    match damage {
        None => Ok(found),
        Some(source) => Err(StateError::Corrupt { table, source }),
    }
}
