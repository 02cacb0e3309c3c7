//! Metadata groups of one replica each, without a log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use marram_meta::{
    Amount, BucketState, ClusterView, EndingCommand, Envelope, LeaseCommand, MemKv, ObjectCommand,
    ObjectOutcome, Quota, QuotaCommand, RootCommand, RootOutcome, Tombstone, answer_object,
    answer_root, apply_object, apply_root, stamp, view,
};
use marram_placement::PoolTable;
use marram_types::{BucketId, GroupId, PoolId, ReplicaId};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::groups::{Answer, GroupError, Groups};

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

struct Group {
    kv: MemKv,
    index: u64,
}

/// All groups.
pub(crate) struct FakeGroups {
    groups: Mutex<Vec<Group>>,
    view: watch::Sender<Arc<ClusterView>>,
    silent: Mutex<HashSet<GroupId>>,
    /// Commands of which the answers are lost on the way back, so many of each group.
    lost: Mutex<HashMap<GroupId, usize>>,
    /// Commands to the object groups wait while this is set.
    held: watch::Sender<bool>,
    /// Commands that wait.
    waiting: watch::Sender<usize>,
    /// Pools that the object groups know.
    fenced: Mutex<HashSet<PoolId>>,
    /// Something was applied.
    applied: watch::Sender<()>,
    /// The view that the gateway does not see yet, while it lags.
    unseen: Mutex<Option<Arc<ClusterView>>>,
}

impl FakeGroups {
    pub(crate) fn new(object_groups: u16) -> Self {
        let group = || Group {
            kv: MemKv::new(),
            index: 0,
        };
        Self {
            groups: Mutex::new((0..=object_groups).map(|_| group()).collect()),
            view: watch::Sender::default(),
            silent: Mutex::default(),
            lost: Mutex::default(),
            held: watch::Sender::default(),
            waiting: watch::Sender::default(),
            fenced: Mutex::default(),
            applied: watch::Sender::default(),
            unseen: Mutex::default(),
        }
    }

    pub(crate) fn view(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.view.subscribe()
    }

    /// The gateway sees no change of the root group from now on.
    pub(crate) fn lag(&self) {
        *self.unseen.lock() = Some(self.view.borrow().clone());
    }

    /// It sees them again.
    pub(crate) fn catch_up(&self) {
        if let Some(unseen) = self.unseen.lock().take() {
            self.view.send_replace(unseen);
        }
    }

    /// A group that does not answer from now on.
    pub(crate) fn silence(&self, group: GroupId) {
        self.silent.lock().insert(group);
    }

    /// The group's next commands are carried out, and so many answers are lost.
    pub(crate) fn lose(&self, group: GroupId, answers: usize) {
        self.lost.lock().insert(group, answers);
    }

    fn loses(&self, group: GroupId) -> bool {
        let mut lost = self.lost.lock();
        let left = lost.get_mut(&group).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }

    /// Commands to object groups wait from now on, or do not any more.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Until so many commands wait.
    pub(crate) async fn until_waiting(&self, count: usize) {
        let mut waiting = self.waiting.subscribe();
        let reached = waiting.wait_for(|waiting| *waiting >= count).await;
        reached.expect("the sender is here");
    }

    async fn let_pass(&self, group: GroupId) {
        let mut held = self.held.subscribe();
        if group == GroupId::ROOT || !*held.borrow_and_update() {
            return;
        }
        self.waiting.send_modify(|waiting| *waiting += 1);
        let passed = held.wait_for(|held| !held).await;
        passed.expect("the sender is here");
        self.waiting.send_modify(|waiting| *waiting -= 1);
    }

    fn apply(&self, group: GroupId, command: &[u8]) -> Vec<u8> {
        let mut sealed = command.to_vec();
        stamp(&mut sealed, now_ms()).unwrap();
        let mut groups = self.groups.lock();
        let state = &mut groups[usize::from(group.0)];
        state.index += 10;
        if group != GroupId::ROOT {
            let outcome = apply_object(&mut state.kv, state.index, &sealed).unwrap();
            drop(groups);
            self.applied.send_replace(());
            return outcome;
        }
        let outcome = apply_root(&mut state.kv, state.index, &sealed).unwrap();
        let new = Arc::new(view(&state.kv).unwrap());
        match &mut *self.unseen.lock() {
            Some(unseen) => *unseen = new,
            None => {
                self.view.send_replace(new);
            }
        }
        outcome
    }

    /// Has the root group carry out a command.
    pub(crate) fn root(&self, command: &RootCommand) -> RootOutcome {
        let sealed = Envelope::seal_internal(command);
        RootOutcome::decode(&self.apply(GroupId::ROOT, &sealed)).unwrap()
    }

    fn fence(&self, command: &ObjectCommand) -> Vec<ObjectOutcome> {
        let sealed = Envelope::seal_internal(command);
        let count = u16::try_from(self.groups.lock().len()).unwrap();
        (1..count)
            .map(|group| ObjectOutcome::decode(&self.apply(GroupId(group), &sealed)).unwrap())
            .collect()
    }

    /// Tells the object groups of a tombstone that the root group does not have.
    pub(crate) fn tombstone(&self, stone: Tombstone) {
        self.fence(&ObjectCommand::Tombstone(stone));
    }

    /// Has the object groups keep events.
    pub(crate) fn keep_events(&self, for_ms: u64, bytes: u64) {
        self.fence(&ObjectCommand::KeepEvents { for_ms, bytes });
    }

    pub(crate) fn fence_pool(&self, table: &PoolTable) {
        let rows = (0..).zip(table.rows.iter().cloned()).collect();
        let pool = table.pool();
        self.fenced.lock().insert(pool);
        self.fence(&ObjectCommand::LayoutFence { pool, rows });
    }

    /// Tells the root what the groups hold of a bucket with a quota.
    fn tell_leases(&self, bucket: BucketId, quota: Quota) {
        let settle = ObjectCommand::Lease(LeaseCommand::Settle {
            bucket,
            since: quota.since,
            granted: Amount::default(),
            give_back: false,
        });
        let leases = (1..).map(GroupId).zip(self.fence(&settle));
        let leases = leases.filter_map(|(group, outcome)| match outcome {
            ObjectOutcome::Lease { lease, .. } => Some((group, lease)),
            _ => None,
        });
        let leases = leases.collect();
        self.root(&RootCommand::Quota(QuotaCommand::Report { bucket, leases }));
    }

    /// What the root group's leader does: brings new pools, tombstones and pending bucket records to every
    /// group.
    fn settle(&self) {
        let pools = self.view.borrow().pools.clone();
        for (pool, table) in &pools {
            let known = self.fenced.lock().contains(pool);
            if !known {
                self.fence_pool(table);
            }
        }
        let stones = self.view.borrow().tombstones.clone();
        for stone in stones.into_values() {
            self.fence(&ObjectCommand::Tombstone(stone));
        }
        loop {
            let view = self.view.borrow().clone();
            let Some(record) = view.buckets.values().find(|b| b.state.is_pending()) else {
                return;
            };
            let (bucket, epoch) = (record.bucket, record.epoch);
            let fenced = self.fence(&ObjectCommand::BucketFence(record.clone()));
            let left = fenced.iter().map(|outcome| match outcome {
                ObjectOutcome::Fenced { live, .. } => *live,
                other => panic!("not fenced: {other:?}"),
            });
            let nonempty = left.sum::<u64>() > 0;
            if let Some(quota) = record.quota {
                self.tell_leases(bucket, quota);
            }
            self.root(&match record.state {
                BucketState::Deleting if !nonempty => {
                    RootCommand::Ending(EndingCommand::Begin { bucket, epoch })
                }
                BucketState::Deleted => RootCommand::Ending(EndingCommand::End { bucket, epoch }),
                BucketState::Deleting => RootCommand::BucketSealed {
                    bucket,
                    epoch,
                    nonempty,
                },
                _ => RootCommand::BucketActive { bucket, epoch },
            });
        }
    }
}

#[async_trait]
impl Groups for FakeGroups {
    async fn propose(
        &self,
        group: GroupId,
        command: Bytes,
        _within: Duration,
    ) -> Result<Bytes, GroupError> {
        if self.silent.lock().contains(&group) {
            return Err(GroupError::OutcomeUnknown {
                group,
                request: None,
            });
        }
        self.let_pass(group).await;
        let outcome = self.apply(group, &command);
        if group == GroupId::ROOT {
            self.settle();
        }
        if self.loses(group) {
            return Err(GroupError::OutcomeUnknown {
                group,
                request: None,
            });
        }
        Ok(outcome.into())
    }

    async fn query(
        &self,
        group: GroupId,
        query: Bytes,
        _linearizable: bool,
        _within: Duration,
    ) -> Result<Answer, GroupError> {
        if self.silent.lock().contains(&group) {
            return Err(GroupError::Unavailable(group));
        }
        let groups = self.groups.lock();
        let state = &groups[usize::from(group.0)];
        let bytes = if group == GroupId::ROOT {
            answer_root(&state.kv, &query).unwrap()
        } else {
            answer_object(&state.kv, state.index, &query).unwrap()
        };
        Ok(Answer {
            bytes: bytes.into(),
            applied: state.index,
        })
    }

    async fn query_at(
        &self,
        group: GroupId,
        query: Bytes,
        at_least: u64,
        within: Duration,
    ) -> Result<Answer, GroupError> {
        let mut applied = self.applied.subscribe();
        let index = || self.groups.lock()[usize::from(group.0)].index;
        let reached = applied.wait_for(|_| index() >= at_least);
        // In time or not, it answers.
        let _ = tokio::time::timeout(within, reached).await;
        self.query(group, query, false, within).await
    }

    fn leader(&self, _group: GroupId) -> Option<ReplicaId> {
        None
    }
}
